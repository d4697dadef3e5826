/* tests/unit/test_matmul.c - a product's bits depend on nothing but its
 * operands: forward and backward are the definition's, written out here, on
 * every path and for any number of threads.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#endif

#include "base/cpu.h"
#include "base/rng.h"
#include "cpu/matmul.h"
#include "run.h"

static struct ral_nn nns[3];   // best path with 1, 2 and 3 threads
static struct ral_nn plain;    // the definition
static struct ral_nn every[9]; // every path with 1, 2 and 4 threads
static size_t paths;

static void randomize(float *x, size_t n, uint64_t stream)
{
    struct ral_rng r;

    ral_rng_init(&r, 11, stream, 0);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)ral_rng_uniform(&r) * 2 - 1;
}

static float *numbers(size_t n, uint64_t stream)
{
    float *x = malloc((n + !n) * sizeof(float));

    ck_assert_ptr_nonnull(x);
    randomize(x, n, stream);
    return x;
}

static float chain(const float *a, const float *b, size_t K)
{
    float s = 0;

    for (size_t k = 0; k < K; k++)
        s = fmaf(a[k], b[k], s);
    return s;
}

static void same(const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(x + i, y + i, sizeof(float)))
            ck_abort_msg("element %zu: %.9g, not %.9g", i, (double)x[i],
                         (double)y[i]);
}

static void pack(struct ral_cpu_weight *w)
{
    w->panels = numbers(ral_weight_panel_floats(w), 99);
    ral_weight_pack(&nns[1], w);
}

/* One weight in all ways: packed or not, 1 to 3 threads. */
static void check_shape(size_t M, size_t N, size_t K)
{
    const size_t ldx = K + 3, ldy = N + 5;
    float *x = numbers(M * ldx, 1), *w = numbers(N * K, 2);
    float *bias = numbers(N, 3), *y0 = numbers(M * ldy, 4);
    float *want = numbers(M * ldy, 4), *res = numbers(M * ldy, 4);
    float *y = numbers(M * ldy, 4);
    struct ral_cpu_weight v = {"w", RAL_F32, N, K, w, NULL};

    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            float *e = want + m * ldy + n;

            *e = chain(x + m * ldx, w + n * K, K);
            res[m * ldy + n] = y0[m * ldy + n] + (*e + bias[n]);
        }
    for (int packed = 0; packed < 2; packed++) {
        if (packed)
            pack(&v);
        for (int t = 0; t < 3; t++) {
            memcpy(y, y0, M * ldy * sizeof(float));
            ral_matmul(&nns[t], &v, M, x, ldx, NULL, false, y, ldy);
            same(y, want, M * ldy);
            memcpy(y, y0, M * ldy * sizeof(float));
            ral_matmul(&nns[t], &v, M, x, ldx, bias, true, y, ldy);
            same(y, res, M * ldy);
        }
    }
    free(x);
    free(w);
    free(bias);
    free(y0);
    free(want);
    free(res);
    free(y);
    free(v.panels);
}

START_TEST(every_output_is_a_chain)
{
    for (size_t M = 1; M <= 20; M++)
        check_shape(M, 70, 130);
    check_shape(1, 300, 1100);
    check_shape(2, 129, 1025);
    check_shape(9, 600, 513);
    check_shape(200, 33, 520);
    check_shape(97, 64, 64);
    check_shape(5, 1, 1);
    check_shape(3, 40, 0);
    check_shape(0, 40, 3);
}
END_TEST

/* A row has the same bits alone, in a batch and on the plain path. */
START_TEST(a_row_does_not_know_its_batch)
{
    enum { M = 64, N = 96, K = 200 };
    float *x = numbers(M * K, 1), *w = numbers(N * K, 2);
    float *all = numbers(M * N, 3), row[N];
    struct ral_cpu_weight v = {"w", RAL_F32, N, K, w, NULL};

    pack(&v);
    ral_matmul(&nns[1], &v, M, x, K, NULL, false, all, N);
    for (size_t m = 0; m < M; m++) {
        ral_matmul(m % 8 ? &nns[0] : &plain, &v, 1, x + m * K, K, NULL, false,
                   row, N);
        same(row, all + m * N, N);
    }
    free(x);
    free(w);
    free(all);
    free(v.panels);
}
END_TEST

/* n numbers of a type, of ordinary size, signs included; w has what they say
 * (F32: it says what they are).
 */
static void store(enum ral_dtype t, size_t n, float *w, unsigned char *raw)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = (uint16_t)((i * 2654435761u >> 9) & 0xbbff);

        if (t == RAL_F32) {
            memcpy(raw + 4 * i, w + i, 4);
        } else {
            memcpy(raw + 2 * i, &h, 2);
            w[i] = t == RAL_F16 ? ral_from_f16(h) : ral_from_bf16(h);
        }
    }
}

START_TEST(stored_types_need_no_alignment)
{
    enum { M = 7, N = 75, K = 530 };
    static const enum ral_dtype types[] = {RAL_F32, RAL_F16, RAL_BF16};
    static unsigned char raw[N * K * 4 + 1];
    float *x = numbers(M * K, 1), *w = numbers(N * K, 2);
    float want[M * N], y[M * N];

    for (int t = 0; t < 3; t++) {
        struct ral_cpu_weight v = {"w", types[t], N, K, raw + 1, NULL};

        store(types[t], N * K, w, raw + 1);
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < N; n++)
                want[m * N + n] = chain(x + m * K, w + n * K, K);
        for (int packed = 0; packed < 2; packed++) {
            if (packed)
                pack(&v);
            ral_matmul(&nns[1], &v, M, x, K, NULL, false, y, N);
            same(y, want, M * N);
        }
        free(v.panels);
    }
    free(x);
    free(w);
}
END_TEST

/* What a backward product reads, and what it shall write. */
struct back {
    size_t M, N, K, lddy, ldx, lddx;
    float *x, *dy, *w, *dx, *added, *dw, *db;
};

enum { DX0 = 4, DW0, DB0 }; // streams of what stands in the results before

/* The definitions, as EXACT has them. */
static struct back back_of(size_t M, size_t N, size_t K)
{
    struct back b = {M, N, K, N + 2, K + 1, K + 3, NULL, NULL, NULL,
                     NULL, NULL, NULL, NULL};

    b.x = numbers(M * b.ldx, 1);
    b.w = numbers(N * K, 2);
    b.dy = numbers(M * b.lddy, 3);
    b.dx = numbers(M * b.lddx, DX0);
    b.added = numbers(M * b.lddx, DX0);
    b.dw = numbers(N * K, DW0);
    b.db = numbers(N, DB0);
    for (size_t m = 0; m < M; m++)
        for (size_t k = 0; k < K; k++) {
            float s = 0;

            for (size_t n = 0; n < N; n++)
                s = fmaf(b.dy[m * b.lddy + n], b.w[n * K + k], s);
            b.dx[m * b.lddx + k] = s;
            b.added[m * b.lddx + k] += s;
        }
    for (size_t c = 0; c < M; c += 512)
        for (size_t n = 0; n < N; n++) {
            const size_t end = M < c + 512 ? M : c + 512;
            float s = 0;

            for (size_t m = c; m < end; m++)
                s += b.dy[m * b.lddy + n];
            b.db[n] += s;
            for (size_t k = 0; k < K; k++) {
                s = 0;
                for (size_t m = c; m < end; m++)
                    s = fmaf(b.dy[m * b.lddy + n], b.x[m * b.ldx + k], s);
                b.dw[n * K + k] += s;
            }
        }
    return b;
}

static void back_free(struct back *b)
{
    float *const all[] = {b->x, b->dy, b->w, b->dx, b->added, b->dw, b->db};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
}

static void check_backward(const struct ral_nn *nn, const struct back *b)
{
    const struct ral_cpu_weight w = {"w", RAL_F32, b->N, b->K, b->w, NULL};
    float *dx = numbers(b->M * b->lddx, DX0), *dw = numbers(b->N * b->K, DW0);
    float *db = numbers(b->N, DB0);

    ral_matmul_dx(nn, &w, b->M, b->dy, b->lddy, true, dx, b->lddx);
    same(dx, b->added, b->M * b->lddx); // the gaps between rows, too
    ral_matmul_dx(nn, &w, b->M, b->dy, b->lddy, false, dx, b->lddx);
    for (size_t m = 0; m < b->M; m++)
        same(dx + m * b->lddx, b->dx + m * b->lddx, b->K);
    ral_matmul_dw(nn, b->M, b->N, b->K, b->dy, b->lddy, b->x, b->ldx, dw, db);
    same(dw, b->dw, b->N * b->K);
    same(db, b->db, b->N);
    randomize(dw, b->N * b->K, DW0);
    ral_matmul_dw(nn, b->M, b->N, b->K, b->dy, b->lddy, b->x, b->ldx, dw, NULL);
    same(dw, b->dw, b->N * b->K);
    free(dx);
    free(dw);
    free(db);
}

START_TEST(backward_is_the_definition)
{
    static const size_t shapes[][3] = {
        {0, 5, 7},       {1, 1, 1},       {1, 70, 33},    {31, 33, 31},
        {32, 32, 32},    {33, 31, 63},    {63, 130, 19},  {64, 128, 128},
        {257, 65, 257},  {511, 7, 33},    {512, 64, 16},  {513, 13, 47},
        {1025, 40, 70},  {1540, 12, 5},   {8, 513, 9},    {31, 1030, 40},
        {400, 520, 33},  {13, 20, 2100},  {20, 2100, 13}, {5, 0, 9},
        {100, 512, 100}, {130, 511, 600},
    };

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct back b = back_of(shapes[i][0], shapes[i][1], shapes[i][2]);

        for (size_t p = 0; p < paths; p++)
            check_backward(&every[p], &b);
        back_free(&b);
    }
}
END_TEST

/* A weight that stays where it is stored: any type, at any address. */
START_TEST(dx_reads_stored_types)
{
    enum { M = 33, N = 530, K = 75 };
    static const enum ral_dtype types[] = {RAL_F32, RAL_F16, RAL_BF16};
    static unsigned char raw[N * K * 4 + 1];
    float *dy = numbers(M * N, 1), *w = numbers(N * K, 2);
    float want[M * K], dx[M * K];

    for (int t = 0; t < 3; t++) {
        const struct ral_cpu_weight v = {"w", types[t], N, K, raw + 1, NULL};

        store(types[t], N * K, w, raw + 1);
        for (size_t m = 0; m < M; m++)
            for (size_t k = 0; k < K; k++) {
                float s = 0;

                for (size_t n = 0; n < N; n++)
                    s = fmaf(dy[m * N + n], w[n * K + k], s);
                want[m * K + k] = s;
            }
        for (size_t p = 0; p < paths; p++) {
            ral_matmul_dx(&every[p], &v, M, dy, N, false, dx, K);
            same(dx, want, M * K);
        }
    }
    free(dy);
    free(w);
}
END_TEST

static void near_to(const float *x, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i] - want[i]) < 2e-4f))
            ck_abort_msg("element %zu: %.9g, not %.9g", i, (double)x[i],
                         (double)want[i]);
}

/* More than one of its tiles and chunks in every direction. */
START_TEST(blas_is_right_for_any_threads)
{
    enum { M = 1031, N = 259, K = 517 };
    struct back b = back_of(M, N, K);
    const struct ral_cpu_weight w = {"w", RAL_F32, N, K, b.w, NULL};
    float *dx[3], *dw[3], *db = numbers(N, DB0);
    struct ral_err err = {0};

    for (int t = 0; t < 3; t++) {
        struct ral_nn nn;

        ck_assert_int_eq(ral_nn_init(&nn, 0, t + 1, &err), 0);
        ck_assert(!nn.blas);
        ck_assert_int_eq(ral_nn_use_blas(&nn, &err), 0);
        ck_assert(nn.blas);
        dx[t] = numbers(M * b.lddx, DX0);
        dw[t] = numbers(N * K, DW0);
        ral_matmul_dx(&nn, &w, M, b.dy, b.lddy, true, dx[t], b.lddx);
        ral_matmul_dw(&nn, M, N, K, b.dy, b.lddy, b.x, b.ldx, dw[t],
                      t ? NULL : db);
        same(dx[t], dx[0], M * b.lddx);
        same(dw[t], dw[0], N * K);
        ral_nn_release(&nn);
    }
    near_to(dx[0], b.added, M * b.lddx);
    near_to(dw[0], b.dw, N * K);
    same(db, b.db, N);
    for (int t = 0; t < 3; t++) {
        free(dx[t]);
        free(dw[t]);
    }
    free(db);
    back_free(&b);
}
END_TEST

START_TEST(scratch_grows)
{
    struct ral_nn nn;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_nn_init(&nn, 0, 2, &err), 0);
    ck_assert_uint_ge(nn.scratch_stride, RAL_NN_SCRATCH);
    ck_assert_int_eq(ral_nn_reserve(&nn, 10, &err), 0);
    ck_assert_int_eq(ral_nn_reserve(&nn, 3 * RAL_NN_SCRATCH + 1, &err), 0);
    ck_assert_uint_gt(nn.scratch_stride, 3 * RAL_NN_SCRATCH);
    nn.scratch[2 * nn.scratch_stride - 1] = 1;
    ck_assert_int_eq(ral_nn_reserve(&nn, (size_t)-1 / 4, &err), -RAL_ENOMEM);
    ral_nn_release(&nn);
    ral_nn_release(&nn);
    ral_nn_release(NULL);
}
END_TEST

#ifdef __x86_64__
START_TEST(flushed_subnormals_are_refused)
{
    static const unsigned bits[] = {0x8000, 0x0040, 0x4000}; // FTZ, DAZ, up
    const unsigned mode = _mm_getcsr();
    struct ral_nn nn;
    struct ral_err err = {0};

    for (int i = 0; i < 3; i++) {
        int rc;

        _mm_setcsr(mode | bits[i]);
        rc = ral_nn_init(&nn, 0, 1, &err);
        _mm_setcsr(mode);
        ck_assert_int_eq(rc, -RAL_EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "subnormal"));
    }
}
END_TEST
#endif

static void start(struct ral_nn *nn, unsigned cpu, int threads)
{
    struct ral_err err = {0};

    if (ral_nn_init(nn, cpu, threads, &err) == 0)
        return;
    printf("Bail out! %s\n", err.msg);
    exit(EXIT_FAILURE);
}

int main(void)
{
    TCase *t = tcase_create("matmul");
    unsigned cpu;
    int failed;

    ral_cpu_flags(&cpu, NULL, NULL);
    for (int i = 0; i < 4; i++)
        start(i < 3 ? &nns[i] : &plain, i < 3 ? cpu : 0, i < 3 ? i + 1 : 1);
    for (unsigned f = 0; f <= RAL_CPU_AVX512; f = f ? 2 * f : 1)
        for (int threads = 1; threads <= 4 && (cpu & f) == f; threads *= 2)
            start(&every[paths++], f, threads);
    tcase_add_test(t, every_output_is_a_chain);
    tcase_add_test(t, a_row_does_not_know_its_batch);
    tcase_add_test(t, stored_types_need_no_alignment);
    tcase_add_test(t, backward_is_the_definition);
    tcase_add_test(t, dx_reads_stored_types);
    tcase_add_test(t, blas_is_right_for_any_threads);
    tcase_add_test(t, scratch_grows);
#ifdef __x86_64__
    tcase_add_test(t, flushed_subnormals_are_refused);
#endif
    failed = run_tests(t);
    for (int i = 0; i < 3; i++)
        ral_nn_release(&nns[i]);
    for (size_t i = 0; i < paths; i++)
        ral_nn_release(&every[i]);
    ral_nn_release(&plain);
    return failed;
}
