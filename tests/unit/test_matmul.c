/* tests/unit/test_matmul.c - a product's bits depend on nothing but its
 * operands; backward products are right and repeat for any thread count.
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

static struct ral_nn nns[3]; // best path with 1, 2 and 3 threads
static struct ral_nn plain;  // the definition

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

START_TEST(stored_types_need_no_alignment)
{
    enum { M = 7, N = 75, K = 530 };
    static const enum ral_dtype types[] = {RAL_F32, RAL_F16, RAL_BF16};
    static unsigned char raw[N * K * 4 + 1];
    float *x = numbers(M * K, 1), *w = numbers(N * K, 2);
    float want[M * N], y[M * N];

    for (int t = 0; t < 3; t++) {
        struct ral_cpu_weight v = {"w", types[t], N, K, raw + 1, NULL};

        for (size_t i = 0; i < N * K; i++) {
            const uint16_t h = (uint16_t)((i * 2654435761u >> 9) & 0xbbff);
            // of ordinary size in both 16-bit types, sign included

            if (types[t] == RAL_F32) {
                memcpy(raw + 1 + 4 * i, w + i, 4);
            } else {
                memcpy(raw + 1 + 2 * i, &h, 2);
                w[i] = types[t] == RAL_F16 ? ral_from_f16(h) : ral_from_bf16(h);
            }
        }
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

static void close_to(const float *x, const double *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i] - want[i]) < 2e-4))
            ck_abort_msg("element %zu: %.9g, not %.9g", i, (double)x[i],
                         want[i]);
}

/* More than one tile and chunk in every direction, with remainders. */
START_TEST(backward_is_right_for_any_threads)
{
    enum { M = 1031, N = 259, K = 517, LDY = N + 2, LDX = K + 1 };
    float *x = numbers(M * LDX, 1), *w = numbers(N * K, 2);
    float *dy = numbers(M * LDY, 3), *dx[3], *dw[3], *db[3];
    double *ref = calloc(M * K, sizeof(double));
    struct ral_cpu_weight v = {"w", RAL_F32, N, K, w, NULL};

    for (int t = 0; t < 3; t++) {
        dx[t] = numbers(M * LDX, 4);
        dw[t] = numbers(N * K, 5);
        db[t] = numbers(N, 6);
        ral_matmul_dx(&nns[t], &v, M, dy, LDY, true, dx[t], LDX);
        ral_matmul_dw(&nns[t], M, N, K, dy, LDY, x, LDX, dw[t], db[t]);
        same(dx[t], dx[0], M * LDX);
        same(dw[t], dw[0], N * K);
        same(db[t], db[0], N);
    }
    randomize(dx[1], M * LDX, 4);
    for (size_t m = 0; m < M; m += 17) {
        for (size_t k = 0; k < K; k++) {
            ref[k] = dx[1][m * LDX + k];
            for (size_t n = 0; n < N; n++)
                ref[k] += (double)dy[m * LDY + n] * w[n * K + k];
        }
        close_to(dx[0] + m * LDX, ref, K);
        ck_assert(dx[0][m * LDX + K] == dx[1][m * LDX + K]); // the gap
    }
    ral_matmul_dx(&nns[1], &v, M, dy, LDY, false, dx[1], LDX);
    randomize(dx[2], M * LDX, 4);
    for (size_t i = 0; i < K; i++)
        ref[i] = (double)dx[0][i] - dx[2][i];
    close_to(dx[1], ref, K);

    randomize(dw[1], N * K, 5);
    randomize(db[1], N, 6);
    for (size_t i = 0; i < N * K; i++)
        ref[i] = dw[1][i];
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++)
            for (size_t k = n % 7; k < K; k += 7) // every seventh will do
                ref[n * K + k] += (double)dy[m * LDY + n] * x[m * LDX + k];
    for (size_t n = 0; n < N; n++)
        for (size_t k = n % 7; k < K; k += 7)
            close_to(dw[0] + n * K + k, ref + n * K + k, 1);
    for (size_t n = 0; n < N; n++) {
        ref[n] = db[1][n];
        for (size_t m = 0; m < M; m++)
            ref[n] += dy[m * LDY + n];
    }
    close_to(db[0], ref, N);
    for (int t = 0; t < 3; t++) {
        free(dx[t]);
        free(dw[t]);
        free(db[t]);
    }
    free(x);
    free(w);
    free(dy);
    free(ref);
}
END_TEST

/* The definition: chunks of 512 rows from zero, then one add each, in order. */
START_TEST(chunks_are_added_in_order)
{
    enum { M = 1300, N = 40, K = 50 };
    float *x = numbers(M * K, 1), *dy = numbers(M * N, 2);
    float dw[N * K], want[N * K], sum[N * K];

    memset(dw, 0, sizeof(dw));
    memset(want, 0, sizeof(want));
    ral_matmul_dw(&nns[2], M, N, K, dy, N, x, K, dw, NULL);
    for (size_t m = 0; m < M; m += 512) {
        memset(sum, 0, sizeof(sum));
        ral_matmul_dw(&nns[0], M - m < 512 ? M - m : 512, N, K, dy + m * N, N,
                      x + m * K, K, sum, NULL);
        for (size_t i = 0; i < N * K; i++)
            want[i] += sum[i];
    }
    same(dw, want, N * K);
    free(x);
    free(dy);
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
    ck_assert_ptr_nonnull(ral_nn_blas());
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

int main(void)
{
    TCase *t = tcase_create("matmul");
    struct ral_err err = {0};
    unsigned cpu;
    int failed;

    ral_cpu_flags(&cpu, NULL, NULL);
    for (int i = 0; i < 4; i++)
        if (ral_nn_init(i < 3 ? &nns[i] : &plain, i < 3 ? cpu : 0,
                        i < 3 ? i + 1 : 1, &err) < 0) {
            printf("Bail out! %s\n", err.msg);
            return EXIT_FAILURE;
        }
    tcase_add_test(t, every_output_is_a_chain);
    tcase_add_test(t, a_row_does_not_know_its_batch);
    tcase_add_test(t, stored_types_need_no_alignment);
    tcase_add_test(t, backward_is_right_for_any_threads);
    tcase_add_test(t, chunks_are_added_in_order);
    tcase_add_test(t, scratch_grows);
#ifdef __x86_64__
    tcase_add_test(t, flushed_subnormals_are_refused);
#endif
    failed = run_tests(t);
    for (int i = 0; i < 3; i++)
        ral_nn_release(&nns[i]);
    ral_nn_release(&plain);
    return failed;
}
