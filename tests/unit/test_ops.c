/* tests/unit/test_ops.c - every operation of every machine against plain C,
 * by ==, what lies between rows included.
 */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "cpu/guard.h"
#include "cpu/kernels_body.h" // the functions of one number
#include "cpu/machine.h"
#include "run.h"

enum { ARRAYS = 16, CHAIN = 512, NORM_ROWS = 256, COLUMNS = 4096 };

/* 0 .. 257 rows or columns; the last two make work for two threads. */
static const size_t sizes[] = {0, 1, 31, 32, 33, 257};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct ral_rng rng;

static void setup(void)
{
    ral_rng_init(&rng, 1, 2, 3);
}

/* ----------------------------------------------------------------- machines */

/* Calls fn for each machine, kernels and number of threads that there are. */
static void for_each_dev(void (*fn)(struct ral_dev *d))
{
    const unsigned sets[] = {0, RAL_CPU_AVX2, RAL_CPU_AVX2 | RAL_CPU_AVX512};
    struct ral_err err = {0};
    unsigned have;

    ck_assert_int_eq(ral_cpu_flags(&have, NULL, NULL), 0);
    for (int i = 0; i < 9; i++) {
        const unsigned flags = sets[i / 3];
        struct ral_dev *d;

        if (flags & ~have)
            continue;
        ck_assert_msg((i % 3 == 2 ? ral_guard_open(&d, flags, 2, &err)
                                  : ral_cpu_open(&d, flags, i % 3 + 1, &err)) ==
                          0,
                      "%s", err.msg);
        setup(); // the same numbers for all
        fn(d);
        ral_dev_close(d);
    }
}

/* A case: arrays of random numbers, on a machine and on the host, where the
 * definition works on them. */
struct array {
    enum ral_dtype type;
    size_t rows, cols, ld, lead; // lead: bytes before the first number
    size_t bytes;                // with the lead
    char *host;
    struct ral_mat all, x; // U8 [1][bytes], and the view into it
};

static struct {
    struct ral_dev *d;
    struct ral_space s;
    struct array a[ARRAYS];
    size_t n;
} test;

static void begin(struct ral_dev *d)
{
    test.d = d;
    test.n = 0;
    ral_space_init(&test.s, d);
}

static float some_number(bool whole)
{
    return whole ? (float)ral_rng_below(&rng, 7) - 3
                 : (float)ral_rng_u32(&rng) * 0x1p-30f - 2; // -2 .. 2
}

static void some_of(enum ral_dtype t, char *p, bool whole)
{
    const float f = some_number(whole);
    const double d = (double)f;
    const int32_t i32 = -1;
    const int64_t i64 = -1;
    uint32_t u;

    memcpy(&u, &f, 4);
    if (t == RAL_F16) // below 2, subnormals included
        u = (uint32_t)ral_rng_below(&rng, 1 << 16) & 0xbfff;
    else
        u >>= 16;
    if (t == RAL_F32)
        memcpy(p, &f, 4);
    else if (t == RAL_F64)
        memcpy(p, &d, 8);
    else if (t == RAL_I32)
        memcpy(p, &i32, 4);
    else if (t == RAL_I64)
        memcpy(p, &i64, 8);
    else if (t == RAL_U8)
        *p = (char)u;
    else
        memcpy(p, &(uint16_t){(uint16_t)u}, 2);
}

/* whole: small integers, whose sums are exact in any order. */
static struct array *array(enum ral_dtype t, size_t rows, size_t cols,
                           size_t pad, size_t lead, bool whole)
{
    struct array *a = &test.a[test.n++];
    const size_t size = ral_dtype_size(t), n = rows * (cols + pad);

    ck_assert_uint_le(test.n, ARRAYS);
    *a = (struct array){.type = t,
                        .rows = rows,
                        .cols = cols,
                        .ld = cols + pad,
                        .lead = lead,
                        .bytes = lead + n * size};
    a->host = malloc(a->bytes + 64);
    ck_assert_ptr_nonnull(a->host);
    memset(a->host, 0, lead);
    for (size_t i = 0; i < n; i++)
        some_of(t, a->host + lead + i * size, whole);
    return a;
}

static struct array *f32(size_t rows, size_t cols)
{
    return array(RAL_F32, rows, cols, 3, 0, false);
}

static struct array *vec(enum ral_dtype t, size_t n)
{
    return array(t, 1, n, 0, 0, false);
}

/* Numbers of the host's side. */
static float *F(const struct array *a, size_t row)
{
    return (float *)(a->host + a->lead) + row * a->ld;
}

static int32_t *I(const struct array *a)
{
    return (int32_t *)a->host;
}

static double *D(const struct array *a)
{
    return (double *)a->host;
}

static void send_all(void)
{
    for (struct array *a = test.a; a < test.a + test.n; a++) {
        a->all = ral_mat_put(&test.s, RAL_U8, 1, a->bytes, a->host);
        a->x = (struct ral_mat){
            (struct ral_number *)((char *)a->all.at + a->lead), a->type,
            a->rows, a->cols, a->ld};
    }
}

/* All arrays are what the definition made of them. */
static void end(const char *what)
{
    struct ral_err err = {0};

    for (struct array *a = test.a; a < test.a + test.n; a++) {
        char *got = malloc(a->bytes + 64);
        size_t i = 0;

        ck_assert_ptr_nonnull(got);
        ck_assert_msg(ral_get(test.d, got, a->all, &err) == 0, "%s: %s", what,
                      err.msg);
        while (i < a->bytes && got[i] == a->host[i])
            i++;
        ck_assert_msg(i == a->bytes,
                      "%s on %s, %s, %d threads: array %zu [%zu][%zu], byte "
                      "%zu of %zu: %g, not %g",
                      what, test.d->ops->name, test.d->kernels,
                      test.d->threads, (size_t)(a - test.a), a->rows, a->cols,
                      i, a->bytes,
                      a->type == RAL_F32 ? (double)*(float *)(got + i / 4 * 4)
                                         : 0,
                      a->type == RAL_F32
                          ? (double)*(float *)(a->host + i / 4 * 4)
                          : 0);
        free(got);
        free(a->host);
    }
    ral_space_release(&test.s);
}

/* fn for every shape, and for one that is worth a second thread. */
static void for_each_shape(struct ral_dev *d,
                           void (*fn)(struct ral_dev *, size_t, size_t))
{
    for (size_t i = 0; i < SIZES; i++)
        for (size_t j = 0; j < SIZES; j++)
            fn(d, sizes[i], sizes[j]);
    fn(d, 700, 131);
}

#define TEST_SHAPES(name)                                                      \
    static void name##_shapes(struct ral_dev *d)                               \
    {                                                                          \
        for_each_shape(d, name##_case);                                        \
    }                                                                          \
    START_TEST(name##_everywhere)                                                           \
    {                                                                          \
        for_each_dev(name##_shapes);                                           \
    }                                                                          \
    END_TEST

#define TEST_DEVS(name)                                                        \
    START_TEST(name##_everywhere)                                                           \
    {                                                                          \
        for_each_dev(name##_case);                                             \
    }                                                                          \
    END_TEST

/* --------------------------------------------------------------------- rows */

static float widened(const struct array *a, size_t row, size_t col)
{
    const char *p = a->host + a->lead +
                    (row * a->ld + col) * ral_dtype_size(a->type);
    uint16_t h;
    float f;

    if (a->type == RAL_F32) {
        memcpy(&f, p, 4);
        return f;
    }
    memcpy(&h, p, 2);
    return a->type == RAL_F16 ? ral_from_f16(h) : ral_from_bf16(h);
}

static const enum ral_dtype weights[] = {RAL_F32, RAL_F16, RAL_BF16};

static void fill_case(struct ral_dev *d, size_t N, size_t C)
{
    struct array *y;

    begin(d);
    y = f32(N, C);
    send_all();
    RAL_DO(d, fill, y->x, 1.5f);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            F(y, i)[c] = 1.5f;
    end("fill");
}
TEST_SHAPES(fill)

static void copy_case(struct ral_dev *d, size_t N, size_t C)
{
    static const enum ral_dtype kept[] = {RAL_F64, RAL_I64, RAL_I32, RAL_U8};

    for (size_t k = 0; k < 7; k++) {
        const bool weight = k < 3;
        const enum ral_dtype t = weight ? weights[k] : kept[k - 3];
        const size_t size = ral_dtype_size(t);
        struct array *y, *x;

        begin(d);
        y = array(weight ? RAL_F32 : t, N, C, k % 2, 0, false);
        x = array(t, N, C, k % 2 * 5, weight, false);
        send_all();
        RAL_DO(d, copy, y->x, x->x);
        for (size_t i = 0; i < N; i++)
            for (size_t c = 0; c < C; c++)
                if (weight)
                    F(y, i)[c] = widened(x, i, c);
                else
                    memcpy(y->host + (i * y->ld + c) * size,
                           x->host + (i * x->ld + c) * size, size);
        end("copy");
    }
}
TEST_SHAPES(copy)

static void add_scaled_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int k = 0; k < 2; k++) {
        const float scale = k ? 0.3f : 1;
        struct array *y, *x;

        begin(d);
        y = f32(N, C);
        x = array(RAL_F32, N, C, 8, 0, false);
        send_all();
        RAL_DO(d, add, y->x, x->x, scale);
        for (size_t i = 0; i < N; i++)
            for (size_t c = 0; c < C; c++)
                F(y, i)[c] = fmaf(scale, F(x, i)[c], F(y, i)[c]);
        end("add");
    }
}
TEST_SHAPES(add_scaled)

static void gather_case(struct ral_dev *d, size_t N, size_t C)
{
    const size_t n = 2 * N + 1;

    for (size_t k = 0; k < 3; k++) {
        struct array *y, *x, *at;

        begin(d);
        y = f32(n, C);
        x = array(weights[k], N, C, 3, 1, false);
        at = vec(RAL_I32, n);
        for (size_t i = 0; i < n && N; i++)
            I(at)[i] = (int32_t)ral_rng_below(&rng, N + 1) - 1;
        send_all();
        RAL_DO(d, gather, y->x, x->x, at->x);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < C; c++)
                F(y, i)[c] =
                    I(at)[i] < 0 ? 0 : widened(x, (size_t)I(at)[i], c);
        end("gather");
    }
}
TEST_SHAPES(gather)

static void scatter_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int add_up = 0; add_up < 2; add_up++) {
        const size_t n = add_up ? 2 * N + 1 : N;
        struct array *y, *x, *at;

        begin(d);
        y = f32(N, C);
        x = f32(n, C);
        at = vec(RAL_I32, n);
        for (size_t i = 0; i < n && N; i++) // all different: a permutation
            I(at)[i] = add_up ? (int32_t)ral_rng_below(&rng, N + 1) - 1
                              : (int32_t)(N - 1 - i) - (i % 5 == 0) * 100000;
        send_all();
        RAL_DO(d, scatter, y->x, x->x, at->x, add_up);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < C && I(at)[i] >= 0; c++) {
                float *to = F(y, (size_t)I(at)[i]) + c;

                *to = add_up ? *to + F(x, i)[c] : F(x, i)[c];
            }
        end("scatter");
    }
}
TEST_SHAPES(scatter)

static void spread_case(struct ral_dev *d, size_t N, size_t K)
{
    enum { CH = 3, T = 2 };
    struct array *y, *x;

    begin(d);
    y = f32(N, CH * T * K);
    x = f32(N, CH * K);
    send_all();
    RAL_DO(d, spread, y->x, x->x, CH, T);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < CH; c++)
            for (size_t t = 0; t < T; t++)
                for (size_t k = 0; k < K; k++)
                    F(y, i)[(c * T + t) * K + k] = F(x, i)[c * K + k];
    end("spread");
}
TEST_SHAPES(spread)

/* ----------------------------------------------------------------- products */

static void matmul_one(struct ral_dev *d, size_t M, size_t N, size_t K,
                       unsigned how)
{
    const bool with_bias = how & 1, residual = how & 2, packed = how & 4;
    struct array *y, *x, *w, *b;
    struct ral_weight weight = {0};

    begin(d);
    y = f32(M, N);
    x = array(RAL_F32, M, K, 5, 0, false);
    w = array(weights[how % 3], N, K, 0, how % 2, false);
    b = vec(RAL_F32, N);
    send_all();
    weight.w = w->x;
    if (packed) {
        weight.packed = ral_mat_f32(&test.s, 1, d->ops->packed(d, N, K));
        RAL_DO(d, pack, weight);
    }
    RAL_DO(d, matmul, y->x, x->x, weight,
           with_bias ? b->x : (struct ral_mat){0}, residual);
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            float s = 0;

            for (size_t k = 0; k < K; k++)
                s = fmaf(F(x, m)[k], widened(w, n, k), s);
            if (with_bias)
                s = s + F(b, 0)[n];
            F(y, m)[n] = residual ? s + F(y, m)[n] : s;
        }
    end("matmul");
}

static void matmul_case(struct ral_dev *d, size_t M, size_t N)
{
    for (size_t k = 0; k < SIZES; k++)
        if (M * N * sizes[k] < 1 << 18)
            matmul_one(d, M, N, sizes[k], (unsigned)(M + N + k));
    if (M * N == 33 * 257)
        for (unsigned how = 0; how < 24; how++)
            matmul_one(d, M, N, 70, how);
}
TEST_SHAPES(matmul)

static void matmul_dx_one(struct ral_dev *d, size_t M, size_t N, size_t K,
                          bool add_up)
{
    struct array *dx, *dy, *w;

    begin(d);
    dx = array(RAL_F32, M, K, 3, 0, d->blas);
    dy = array(RAL_F32, M, N, 5, 0, d->blas);
    w = array(RAL_F32, N, K, 0, 0, d->blas);
    send_all();
    RAL_DO(d, matmul_dx, dx->x, dy->x, {w->x, {0}}, add_up);
    for (size_t m = 0; m < M; m++)
        for (size_t k = 0; k < K; k++) {
            float s = 0;

            for (size_t n = 0; n < N; n++)
                s = fmaf(F(dy, m)[n], F(w, n)[k], s);
            F(dx, m)[k] = add_up ? F(dx, m)[k] + s : s;
        }
    end("matmul_dx");
}

/* Rows in chunks of 512, of which each is a chain from zero. */
static void ref_dw(const struct array *dw, const struct array *db,
                   const struct array *dy, const struct array *x)
{
    for (size_t m0 = 0; m0 < x->rows; m0 += CHAIN) {
        const size_t end_of = m0 + CHAIN < x->rows ? m0 + CHAIN : x->rows;

        for (size_t n = 0; n < dw->rows; n++) {
            float s = 0;

            for (size_t m = m0; m < end_of; m++)
                s += F(dy, m)[n];
            if (db)
                F(db, 0)[n] += s;
            for (size_t k = 0; k < dw->cols; k++) {
                s = 0;
                for (size_t m = m0; m < end_of; m++)
                    s = fmaf(F(dy, m)[n], F(x, m)[k], s);
                F(dw, n)[k] += s;
            }
        }
    }
}

static void matmul_dw_one(struct ral_dev *d, size_t M, size_t N, size_t K,
                          bool bias)
{
    struct array *dw, *db, *dy, *x;

    begin(d);
    dw = array(RAL_F32, N, K, 0, 0, d->blas);
    db = array(RAL_F32, 1, N, 0, 0, d->blas);
    dy = array(RAL_F32, M, N, 5, 0, d->blas);
    x = array(RAL_F32, M, K, 3, 0, d->blas);
    send_all();
    RAL_DO(d, matmul_dw, dw->x, bias ? db->x : (struct ral_mat){0}, dy->x,
           x->x);
    ref_dw(dw, bias ? db : NULL, dy, x);
    end("matmul_dw");
}

static void matmul_back_case(struct ral_dev *d)
{
    for (size_t i = 0; i < SIZES; i++)
        for (size_t j = 0; j < SIZES; j++)
            for (size_t k = 0; k < SIZES; k++)
                if (sizes[i] * sizes[j] * sizes[k] < 1 << 17) {
                    matmul_dx_one(d, sizes[i], sizes[j], sizes[k],
                                  (i + j + k) % 2);
                    matmul_dw_one(d, sizes[i], sizes[j], sizes[k],
                                  (i + j + k) % 2);
                }
    matmul_dx_one(d, 300, 40, 70, true);
    matmul_dw_one(d, 2 * CHAIN + 1, 33, 65, true);
}
TEST_DEVS(matmul_back)

/* ------------------------------------------------------------------- layers */

static float fold_lanes(float lane[32])
{
    for (size_t h = 16; h; h /= 2)
        for (size_t l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

static float ref_norm(size_t C, const float *x, const float *w, float eps,
                      float *y)
{
    float lane[32] = {0}, r;

    for (size_t i = 0; i < C; i++)
        lane[i % 32] = fmaf(x[i], x[i], lane[i % 32]);
    r = 1 / sqrtf(fold_lanes(lane) / (float)C + eps);
    for (size_t i = 0; i < C; i++)
        y[i] = (x[i] * r) * w[i];
    return r;
}

static void norm_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int how = 0; how < 3 && C; how++) { // 1: in place, 2: without r
        struct array *y, *x, *r, *w;

        begin(d);
        y = f32(N, C);
        x = how == 1 ? y : f32(N, C);
        r = vec(RAL_F32, N);
        w = vec(RAL_F32, C);
        send_all();
        RAL_DO(d, rms_norm, y->x, x->x, how == 2 ? (struct ral_mat){0} : r->x,
               w->x, 1e-6f);
        for (size_t i = 0; i < N; i++) {
            const float root = ref_norm(C, F(x, i), F(w, 0), 1e-6f, F(y, i));

            if (how != 2)
                F(r, 0)[i] = root;
        }
        end("rms_norm");
    }
}
TEST_SHAPES(norm)

static void ref_norm_backward(size_t C, const float *x, const float *w, float r,
                              const float *dy, float *dx, float *part)
{
    float lane[32] = {0}, m;

    for (size_t i = 0; i < C; i++)
        lane[i % 32] = fmaf(w[i] * dy[i], x[i], lane[i % 32]);
    m = fold_lanes(lane) * (r * r) / (float)C;
    for (size_t i = 0; i < C; i++) {
        dx[i] += r * fmaf(w[i], dy[i], -(x[i] * m));
        part[i] = fmaf(dy[i], x[i] * r, part[i]);
    }
}

static void norm_back_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int trained = 0; trained < 2; trained++) {
        struct array *dx, *dy, *x, *r, *w, *dw;

        begin(d);
        dx = f32(N, C);
        dy = array(RAL_F32, N, C, 1, 0, false);
        x = f32(N, C);
        r = vec(RAL_F32, N);
        w = vec(RAL_F32, C);
        dw = vec(RAL_F32, C);
        send_all();
        RAL_DO(d, rms_norm_backward, dx->x, dy->x, x->x, r->x, w->x,
               trained ? dw->x : (struct ral_mat){0});
        for (size_t i = 0; i < N; i += NORM_ROWS) {
            float part[257] = {0};

            for (size_t k = i; k < N && k < i + NORM_ROWS; k++)
                ref_norm_backward(C, F(x, k), F(w, 0), F(r, 0)[k], F(dy, k),
                                  F(dx, k), part);
            for (size_t c = 0; trained && c < C; c++)
                F(dw, 0)[c] += part[c];
        }
        end("rms_norm_backward");
    }
}
TEST_SHAPES(norm_back)

static void rotary_case(struct ral_dev *d, size_t N, size_t half)
{
    enum { HEADS = 3 };

    for (int back = 0; back < 2; back++) {
        struct array *x, *cos_of, *sin_of;

        begin(d);
        x = f32(N, HEADS * 2 * half);
        cos_of = f32(N, half);
        sin_of = array(RAL_F32, N, half, 1, 0, false);
        send_all();
        RAL_DO(d, rotate, x->x, cos_of->x, sin_of->x, HEADS, back);
        for (size_t i = 0; i < N; i++)
            for (size_t h = 0; h < HEADS; h++)
                for (size_t j = 0; j < half; j++) {
                    float *lo = F(x, i) + h * 2 * half + j, *hi = lo + half;
                    const float a = *lo, b = *hi, c = F(cos_of, i)[j];
                    const float s = back ? -F(sin_of, i)[j] : F(sin_of, i)[j];

                    *lo = fmaf(a, c, -(b * s));
                    *hi = fmaf(b, c, a * s);
                }
        end("rotate");
    }
}
TEST_SHAPES(rotary)

static void silu_case(struct ral_dev *d, size_t N, size_t C)
{
    struct array *y, *g, *u;

    begin(d);
    y = f32(N, C);
    g = f32(N, C);
    u = array(RAL_F32, N, C, 0, 0, false);
    send_all();
    RAL_DO(d, silu_mul, y->x, g->x, u->x);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            F(y, i)[c] =
                F(u, i)[c] * (F(g, i)[c] / (1 + exp_one(-F(g, i)[c])));
    end("silu_mul");
}
TEST_SHAPES(silu)

static void silu_back_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int alias = 0; alias < 2; alias++) {
        struct array *dg, *du, *dy, *g, *u;

        begin(d);
        dg = f32(N, C);
        du = f32(N, C);
        dy = alias ? dg : f32(N, C);
        g = f32(N, C);
        u = f32(N, C);
        send_all();
        RAL_DO(d, silu_mul_backward, dg->x, du->x, dy->x, g->x, u->x);
        for (size_t i = 0; i < N; i++)
            for (size_t c = 0; c < C; c++) {
                const float x = F(g, i)[c], s = 1 / (1 + exp_one(-x));
                const float dout = F(dy, i)[c];

                F(dg, i)[c] = dout * F(u, i)[c] * (s * (1 + x * (1 - s)));
                F(du, i)[c] = dout * (x * s);
            }
        end("silu_mul_backward");
    }
}
TEST_SHAPES(silu_back)

static void gelu_both_case(struct ral_dev *d, size_t N, size_t C)
{
    for (int how = 0; how < 3; how++) { // 0: forward; 2: in place
        struct array *y, *dy, *x;

        begin(d);
        y = array(RAL_F32, N, C, how == 1 ? 0 : 3, 0, false);
        dy = how == 2 ? y : f32(N, C);
        x = f32(N, C);
        send_all();
        if (how)
            RAL_DO(d, gelu_backward, y->x, dy->x, x->x);
        else
            RAL_DO(d, gelu, y->x, x->x);
        for (size_t i = 0; i < N; i++)
            for (size_t c = 0; c < C; c++) {
                const float v = F(x, i)[c];
                const float both = 1 + erf_one(v * 0.707106781f);
                const float pdf = 0.398942280f * exp_one(-0.5f * v * v);

                F(y, i)[c] = how ? F(dy, i)[c] * fmaf(v, pdf, 0.5f * both)
                                 : v * both * 0.5f;
            }
        end(how ? "gelu_backward" : "gelu");
    }
}
TEST_SHAPES(gelu_both)

/* ---------------------------------------------------------------- attention */

enum { H = 4, KV = 2, QUERIES = 80, PLANE = QUERIES * QUERIES };

/* Prompts with responses, a window, a query without keys, and one that sees
 * what a run repeats. Run slots are panels. */
static const struct ral_span spans[] = {
    {0, 33, {0, 0, 0}, {0, 0, 33}, true},
    {33, 5, {0, 0, 33}, {64, 33, 5}, true},
    {38, 7, {0, 0, 33}, {96, 38, 7}, true},
    {45, 1, {0, 0, 0}, {0, 0, 0}, false},
    {46, 32, {0, 0, 0}, {128, 46, 32}, false},
    {78, 2, {128, 46, 31}, {160, 78, 2}, true},
};
enum { SPANS = sizeof spans / sizeof *spans };

static const struct ral_run runs[] = {
    {0, 0, 33}, {64, 33, 5}, {96, 38, 7}, {128, 46, 32}, {160, 78, 2},
};

static size_t sees(const struct ral_span *sp, size_t i)
{
    return sp->a.n + (sp->causal ? sp->b.n - sp->nq + 1 + i : sp->b.n);
}

static size_t key_row(const struct ral_span *sp, size_t j)
{
    return j < sp->a.n ? sp->a.row + j : sp->b.row + (j - sp->a.n);
}

/* One query and head: e[n] = a's, o written. */
static void ref_attend(const struct ral_span *sp, size_t n, size_t D,
                       const float *q, const struct array *k,
                       const struct array *v, size_t kvh, float *e, float *o)
{
    const float scale = 1 / sqrtf((float)D);
    float lane[32] = {0}, m = -INFINITY, inv;

    for (size_t j = 0; j < n; j++) {
        e[j] = 0;
        for (size_t c = 0; c < D; c++)
            e[j] = fmaf(q[c] * scale, F(k, key_row(sp, j))[kvh * D + c], e[j]);
        m = e[j] > m ? e[j] : m;
    }
    for (size_t j = 0; j < n; j++) {
        e[j] = exp_one(e[j] - m);
        lane[j % 32] += e[j];
    }
    inv = n ? 1 / fold_lanes(lane) : 0;
    for (size_t c = 0; c < D; c++) {
        o[c] = 0;
        for (size_t j = 0; j < n; j++)
            o[c] = fmaf(e[j], F(v, key_row(sp, j))[kvh * D + c], o[c]);
        o[c] *= inv;
    }
    for (size_t j = 0; j < n; j++)
        e[j] *= inv;
}

static void ref_look(const struct array *at, const struct array *planes,
                     bool each, size_t q, size_t h, size_t n, const float *e)
{
    const int64_t to = ((int64_t *)at->host)[q];
    float *y = F(planes, each ? h : 0) + to;

    for (size_t j = 0; j < n && to >= 0; j++) {
        y[j] = each || h == 0 ? e[j] : y[j] + e[j];
        if (!each && h + 1 == H)
            y[j] *= 1 / (float)H;
    }
}

static void ref_attention(size_t D, const struct array *q,
                          const struct array *o, const struct array *k,
                          const struct array *v, const struct array *at,
                          const struct array *planes, bool each)
{
    float e[QUERIES];

    for (const struct ral_span *sp = spans; sp < spans + SPANS; sp++)
        for (size_t i = 0; i < sp->nq; i++)
            for (size_t h = 0; h < H; h++) {
                const size_t row = sp->q0 + i, n = sees(sp, i);

                ref_attend(sp, n, D, F(q, row) + h * D, k, v, h / (H / KV), e,
                           F(o, row) + h * D);
                ref_look(at, planes, each, row, h, n, e);
            }
}

/* Two of three queries hand theirs out. */
static void some_rows(const struct array *at)
{
    int64_t place = 5;

    for (const struct ral_span *sp = spans; sp < spans + SPANS; sp++)
        for (size_t i = 0; i < sp->nq; i++)
            if ((sp->q0 + i) % 3 != 1) {
                ((int64_t *)at->host)[sp->q0 + i] = place;
                place += (int64_t)sees(sp, i);
            }
}

static const bool each_head[] = {false};

static void attention_one(struct ral_dev *d, size_t Dh, bool each)
{
    const struct ral_attn_shape shape = {H, KV, Dh, 1 / sqrtf((float)Dh)};
    struct array *q, *o, *k, *v, *at, *planes;
    struct ral_spans table;
    struct ral_kv kv;

    begin(d);
    q = f32(QUERIES, H * Dh);
    o = array(RAL_F32, QUERIES, H * Dh, 1, 0, false);
    k = f32(QUERIES, KV * Dh);
    v = f32(QUERIES, KV * Dh);
    at = vec(RAL_I64, QUERIES);
    some_rows(at);
    planes = array(RAL_F32, each ? H : 1, PLANE, 3, 0, false);
    send_all();
    kv = ral_kv_new(&test.s, KV, Dh, 170);
    table = ral_spans_put(&test.s, spans, SPANS);
    RAL_DO(d, kv_put, kv, ral_runs_put(&test.s, runs, 5), k->x, v->x);
    RAL_DO(d, attention, shape, kv, table, q->x, o->x,
           {at->x, planes->x, each});
    ref_attention(Dh, q, o, k, v, at, planes, each);
    end("attention");
}

static void attention_case(struct ral_dev *d)
{
    static const size_t heads[] = {8, 24, 64};

    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < sizeof each_head; j++)
            attention_one(d, heads[i], each_head[j]);
}
TEST_DEVS(attention)

/* The first three arrays are what it writes. */
static void run_attention_back(struct ral_dev *d, size_t Dh, bool each)
{
    const struct ral_attn_shape shape = {H, KV, Dh, 1 / sqrtf((float)Dh)};
    struct array *dq, *dk, *dv, *q, *k, *v, *dO, *at, *planes;
    struct ral_spans table;
    struct ral_kv kv;

    setup();
    begin(d);
    dq = array(RAL_F32, QUERIES, H * Dh, 1, 0, false);
    dk = f32(QUERIES, KV * Dh);
    dv = f32(QUERIES, KV * Dh);
    q = f32(QUERIES, H * Dh);
    k = f32(QUERIES, KV * Dh);
    v = f32(QUERIES, KV * Dh);
    dO = array(RAL_F32, QUERIES, H * Dh, 5, 0, false);
    at = vec(RAL_I64, QUERIES);
    some_rows(at);
    planes = array(RAL_F32, each ? H : 1, PLANE, 3, 0, false);
    send_all();
    kv = ral_kv_new(&test.s, KV, Dh, 170);
    table = ral_spans_put(&test.s, spans, SPANS);
    RAL_DO(d, kv_put, kv, ral_runs_put(&test.s, runs, 5), k->x, v->x);
    RAL_DO(d, attention_backward, shape, kv, table, q->x, dq->x, dO->x, k->x,
           v->x, dk->x, dv->x, {at->x, planes->x, each});
}

/* test_attention compares plain C with its definition; here all with it. */
static void attention_back_case(struct ral_dev *d)
{
    for (size_t j = 0; j < 2 * sizeof each_head; j++) {
        struct array want[3];
        struct ral_dev *c;

        ck_assert_int_eq(ral_cpu_open(&c, 0, 1, NULL), 0);
        run_attention_back(c, 8 + 16 * (j % 2), each_head[j / 2]);
        for (size_t i = 0; i < test.n; i++) {
            if (i < 3)
                ral_get(c, test.a[i].host, test.a[i].all, NULL);
            if (i < 3)
                want[i] = test.a[i];
            else
                free(test.a[i].host);
        }
        ral_space_release(&test.s);
        ral_dev_close(c);
        run_attention_back(d, 8 + 16 * (j % 2), each_head[j / 2]);
        for (size_t i = 0; i < 3; i++) {
            ck_assert(memcmp(test.a[i].host, want[i].host, want[i].bytes));
            free(test.a[i].host);
            test.a[i].host = want[i].host;
        }
        end("attention_backward");
    }
}
TEST_DEVS(attention_back)

/* --------------------------------------------------------------------- head */

static const size_t vocabs[] = {1, 31, 33, 257, 4095, 4096, 4097, 9000};
enum { VOCABS = sizeof vocabs / sizeof *vocabs };

static void for_each_vocab(struct ral_dev *d,
                           void (*fn)(struct ral_dev *, size_t, size_t))
{
    for (size_t i = 0; i < VOCABS; i++) {
        fn(d, 0, vocabs[i]);
        fn(d, 1, vocabs[i]);
        fn(d, 9, vocabs[i]);
    }
}

#define TEST_VOCABS(name)                                                      \
    static void name##_vocabs(struct ral_dev *d)                               \
    {                                                                          \
        for_each_vocab(d, name##_case);                                        \
    }                                                                          \
    START_TEST(name##_everywhere)                                                           \
    {                                                                          \
        for_each_dev(name##_vocabs);                                           \
    }                                                                          \
    END_TEST

/* (max, sum of exp) per 4,096 columns, joined in double. */
static double ref_lse(const float *x, size_t V)
{
    double M = 0, S = 0;

    for (size_t j = 0; j < V; j += COLUMNS) {
        const size_t n = V - j < COLUMNS ? V - j : COLUMNS;
        float lane[32] = {0}, m = x[j];
        double sum;

        for (size_t i = 0; i < n; i++)
            m = x[j + i] > m ? x[j + i] : m;
        for (size_t i = 0; i < n; i++)
            lane[i % 32] += exp_one(x[j + i] - m);
        sum = (double)fold_lanes(lane);
        if (!j || (double)m > M) {
            S = j ? fma(S, ral_exp_d(M - (double)m), sum) : sum;
            M = (double)m;
        } else {
            S = fma(sum, ral_exp_d((double)m - M), S);
        }
    }
    return M + ral_log_d(S);
}

/* The log-sum-exps of x as they are. */
static void set_lse(const struct array *x, const struct array *lse)
{
    for (size_t i = 0; i < x->rows; i++)
        D(lse)[i] = ref_lse(F(x, i), x->cols);
}

static void lse_case(struct ral_dev *d, size_t n, size_t V)
{
    for (int warm = 0; warm < 2; warm++) {
        const float scale = warm ? 1.3f : 1;
        struct array *x, *lse;

        begin(d);
        x = f32(n, V);
        lse = vec(RAL_F64, n);
        for (size_t i = 0; i < n; i++) // maxima that rise and fall
            for (size_t v = 0; v < V; v++)
                F(x, i)[v] *= 1 + (float)((v / COLUMNS + i) % 3) / 4;
        send_all();
        RAL_DO(d, lse, x->x, lse->x, scale);
        for (size_t i = 0; i < n; i++)
            for (size_t v = 0; v < V; v++)
                F(x, i)[v] *= scale;
        set_lse(x, lse);
        end("lse");
    }
}
TEST_VOCABS(lse)

static double fold_doubles(double lane[32])
{
    for (size_t h = 16; h; h /= 2)
        for (size_t l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

static void entropy_case(struct ral_dev *d, size_t n, size_t V)
{
    struct array *entropy, *x, *lse;

    begin(d);
    entropy = vec(RAL_F32, n);
    x = f32(n, V);
    lse = vec(RAL_F64, n);
    for (size_t i = 0; i < n; i++) // so that more of the sum's bits are seen
        for (size_t v = 0; v < V; v++)
            F(x, i)[v] += 1000 * (float)i;
    set_lse(x, lse);
    send_all();
    RAL_DO(d, entropy, entropy->x, x->x, lse->x);
    for (size_t i = 0; i < n; i++) {
        double lane[32] = {0};

        for (size_t v = 0; v < V; v++) {
            const float z = F(x, i)[v];

            lane[v % 32] +=
                (double)exp_one(z - (float)D(lse)[i]) * (double)z;
        }
        F(entropy, 0)[i] = (float)(D(lse)[i] - fold_doubles(lane));
    }
    end("entropy");
}
TEST_VOCABS(entropy)

/* 0 to 3 targets a row, and some of other rows before and behind. */
static void some_targets(struct array **first, struct array **id, size_t n,
                         size_t V)
{
    size_t all = 2;

    *first = vec(RAL_I32, n + 1);
    for (size_t i = 0; i <= n; i++) {
        I(*first)[i] = (int32_t)all;
        all += i < n ? ral_rng_below(&rng, 4) : 1;
    }
    *id = vec(RAL_I32, all);
    for (size_t i = 0; i < all; i++)
        I(*id)[i] = (int32_t)ral_rng_below(&rng, V);
}

static void pick_case(struct ral_dev *d, size_t n, size_t V)
{
    struct array *logp, *x, *lse, *first, *id;

    begin(d);
    some_targets(&first, &id, n, V);
    logp = vec(RAL_F32, id->cols);
    x = f32(n, V);
    lse = vec(RAL_F64, n);
    send_all();
    RAL_DO(d, pick, logp->x, x->x, lse->x, {first->x, id->x});
    for (size_t i = 0; i < n; i++)
        for (int32_t k = I(first)[i]; k < I(first)[i + 1]; k++)
            F(logp, 0)[k] =
                (float)((double)F(x, i)[I(id)[k]] - D(lse)[i]);
    end("pick");
}
TEST_VOCABS(pick)

static void softmax_back_case(struct ral_dev *d, size_t n, size_t V)
{
    const float scale = 1.3f;
    struct array *x, *lse, *dlogp, *first, *id;

    begin(d);
    some_targets(&first, &id, n, V);
    dlogp = vec(RAL_F32, id->cols);
    x = f32(n, V);
    lse = vec(RAL_F64, n);
    set_lse(x, lse);
    send_all();
    RAL_DO(d, softmax_backward, x->x, lse->x, dlogp->x, {first->x, id->x},
           scale);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (int32_t k = I(first)[i]; k < I(first)[i + 1]; k++)
            sum += (double)F(dlogp, 0)[k];
        for (size_t v = 0; v < V; v++)
            F(x, i)[v] = exp_one(F(x, i)[v] - (float)D(lse)[i]) *
                         ((float)-sum * scale);
        for (int32_t k = I(first)[i]; k < I(first)[i + 1]; k++)
            F(x, i)[I(id)[k]] += F(dlogp, 0)[k] * scale;
    }
    end("softmax_backward");
}
TEST_VOCABS(softmax_back)

static double log_ratio(const struct array *x, const struct array *y,
                        const struct array *lse, const struct array *lse_y,
                        size_t i, size_t v, float *p)
{
    const double a = (double)F(x, i)[v], b = (double)F(y, i)[v];

    *p = exp_one((float)(a - D(lse)[i]));
    return *p > 0 ? (a - b) - (D(lse)[i] - D(lse_y)[i]) : 0;
}

static void kl_case(struct ral_dev *d, size_t n, size_t V)
{
    struct array *dx, *x, *y, *lse, *lse_y, *weight, *nats;
    float p;

    begin(d);
    dx = f32(n, V);
    x = array(RAL_F32, n, V, 1, 0, false);
    y = f32(n, V);
    lse = vec(RAL_F64, n);
    lse_y = vec(RAL_F64, n);
    weight = vec(RAL_F64, n);
    nats = vec(RAL_F32, n);
    for (size_t i = 0; i < n; i++)
        for (size_t v = 0; v < V; v++)
            F(x, i)[v] *= 1 + (float)(i % 4) * 3.3f;
    set_lse(x, lse);
    set_lse(y, lse_y);
    for (size_t i = 1; i < n; i += 2) { // ln p - ln q nearly the same for all
        memcpy(F(y, i), F(x, i), V * sizeof(float));
        memset(F(dx, i), 0, V * sizeof(float));
        D(lse_y)[i] = D(lse)[i] + 1;
    }
    send_all();
    RAL_DO(d, kl, dx->x, x->x, y->x, lse->x, lse_y->x, weight->x, nats->x);
    for (size_t i = 0; i < n; i++) {
        double lane[32] = {0}, sum;

        for (size_t v = 0; v < V; v++) {
            const double r = log_ratio(x, y, lse, lse_y, i, v, &p);

            lane[v % 32] += (double)p * r;
        }
        sum = fold_doubles(lane);
        F(nats, 0)[i] = (float)sum;
        for (size_t v = 0; v < V; v++) {
            const double r = log_ratio(x, y, lse, lse_y, i, v, &p);

            F(dx, i)[v] += (float)(D(weight)[i] * (double)p * (r - sum));
        }
    }
    end("kl");
}
TEST_VOCABS(kl)

/* --------------------------------------------------------------------- draw */

/* The first that is largest of those not yet taken. */
static size_t best_left(size_t V, const float *x, const bool *taken)
{
    size_t best = V;

    for (size_t v = 0; v < V; v++)
        if (!taken[v] && (best == V || x[v] > x[best]))
            best = v;
    return best;
}

/* Which tokens top-k, then top-p leave. */
static void ref_keep(const struct ral_op_draw *o, size_t V, const float *x,
                     const float *p, bool *kept)
{
    const size_t most =
        o->top_k > 0 && (size_t)o->top_k < V ? (size_t)o->top_k : V;
    double all = 0, sum = 0;

    memset(kept, 0, V);
    for (size_t k = 0; k < most; k++) {
        const size_t v = most < V ? best_left(V, x, kept) : k;

        kept[v] = true;
        all += (double)p[v];
    }
    memset(kept, 0, V);
    for (size_t k = 0; k < most && (!k || sum < o->top_p * all); k++) {
        const size_t v = best_left(V, x, kept);

        kept[v] = true;
        sum += (double)p[v];
    }
}

/* The first whose running sum is over uniform times the whole: by 256, each a
 * sum by lanes, then one by one. */
static size_t ref_walk(const float *p, size_t n, double uniform)
{
    double total = 0, sum = 0, part[64] = {0};
    size_t i = 0;

    for (size_t c = 0; c * 256 < n; c++) {
        float lane[32] = {0};

        for (size_t j = 0; j < 256 && c * 256 + j < n; j++)
            lane[j % 32] += p[c * 256 + j];
        total += part[c] = (double)fold_lanes(lane);
    }
    while (i + 256 < n && sum + part[i / 256] <= uniform * total) {
        sum += part[i / 256];
        i += 256;
    }
    for (; i + 1 < n; i++)
        if ((sum += (double)p[i]) > uniform * total)
            break;
    while (i && !(p[i] > 0))
        i--;
    return i;
}

static size_t ref_draw(const struct ral_op_draw *o, size_t V, const float *x,
                       double lse, double uniform)
{
    bool kept[9000] = {false};
    float p[9000];
    size_t id[9000], n = 0;

    if (o->greedy)
        return best_left(V, x, kept);
    for (size_t v = 0; v < V; v++)
        p[v] = exp_one(x[v] - (float)lse);
    if (o->top_k > 0 || o->top_p < 1)
        ref_keep(o, V, x, p, kept);
    else
        memset(kept, 1, V);
    for (size_t v = 0; v < V; v++)
        if (kept[v]) {
            p[n] = p[v];
            id[n++] = v;
        }
    return id[ref_walk(p, n, uniform)];
}

/* A number near which the last bits of the sums decide. */
static double edge(size_t V, const float *x, double lse)
{
    const size_t last = V / 4 + ral_rng_below(&rng, V / 2 + 1);
    double sum = 0, all = 0;

    for (size_t v = 0; v < V; v++) {
        all += (double)exp_one(x[v] - (float)lse);
        sum = v == last ? all : sum;
    }
    return sum / all < 1 ? sum / all : 0.5;
}

static void draw_one(struct ral_dev *d, size_t n, size_t V, bool greedy,
                     double top_p, int64_t top_k)
{
    const size_t rows = n / 2 + 1;
    struct array *id, *logp, *row, *uniform, *x, *lse;
    struct ral_op_draw o;

    begin(d);
    id = vec(RAL_I32, n);
    logp = vec(RAL_F32, n);
    row = vec(RAL_I32, n);
    uniform = vec(RAL_F64, n);
    x = f32(rows, V);
    lse = vec(RAL_F64, rows);
    for (size_t i = 0; i < rows; i++) // few values, so that many are equal
        for (size_t v = 0; v < V; v++)
            F(x, i)[v] = rintf(F(x, i)[v] * 4) / 4;
    set_lse(x, lse);
    for (size_t i = 0; i < n; i++) {
        I(row)[i] = (int32_t)ral_rng_below(&rng, rows);
        D(uniform)[i] = i == 0   ? 0
                        : i == 1 ? 1 - 0x1p-53
                        : i % 3  ? edge(V, F(x, (size_t)I(row)[i]),
                                        D(lse)[I(row)[i]])
                                 : ral_rng_uniform(&rng);
    }
    send_all();
    o = (struct ral_op_draw){id->x,      logp->x, row->x,
                             uniform->x, x->x,    lse->x,
                             greedy,     top_p,   top_k};
    d->ops->draw(d, &o);
    for (size_t i = 0; i < n; i++) {
        const float *z = F(x, (size_t)I(row)[i]);
        const double l = D(lse)[I(row)[i]];

        I(id)[i] = (int32_t)ref_draw(&o, V, z, l, D(uniform)[i]);
        F(logp, 0)[i] = (float)((double)z[I(id)[i]] - l);
    }
    end("draw");
}

static void draw_case(struct ral_dev *d, size_t n, size_t V)
{
    draw_one(d, 2 * n, V, true, 1, 0);
    draw_one(d, 2 * n, V, false, 1, 0);
    draw_one(d, 2 * n, V, false, 1, 7);
    draw_one(d, 2 * n, V, false, 0.9, 40);
    if (V < 300) {
        draw_one(d, 2 * n, V, false, 0.8, 0);
        draw_one(d, 2 * n, V, false, 0.1, 400);
    }
}
TEST_VOCABS(draw)

/* ---------------------------------------------------------------- optimiser */

static const size_t lengths[] = {0, 1, 31, 33, 257, 16384, 16385, 100003};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void sumsq_case(struct ral_dev *d)
{
    for (size_t i = 0; i < LENGTHS; i++) {
        struct array *sum, *x;
        double all = 0;

        begin(d);
        sum = vec(RAL_F64, 1);
        x = vec(RAL_F32, lengths[i]);
        send_all();
        RAL_DO(d, sumsq, sum->x, x->x);
        for (size_t c = 0; c < lengths[i]; c += 16384) {
            double part = 0;

            for (size_t j = c; j < lengths[i] && j < c + 16384; j++)
                part += (double)F(x, 0)[j] * (double)F(x, 0)[j];
            all += part;
        }
        D(sum)[0] = all;
        end("sumsq");
    }
}
TEST_DEVS(sumsq)

static void adamw_case(struct ral_dev *d)
{
    const float b1 = 0.9f, b2 = 0.999f, a1 = 0.1f, a2 = 0.001f, step = 0.01f,
                root = 1.7f, eps = 1e-8f, decay = 0.999f, scale = 0.6f;

    for (size_t k = 0; k < LENGTHS; k++) {
        struct array *w, *m, *v, *g;

        begin(d);
        w = vec(RAL_F32, lengths[k]);
        m = vec(RAL_F32, lengths[k]);
        v = vec(RAL_F32, lengths[k]);
        g = vec(RAL_F32, lengths[k]);
        for (size_t i = 0; i < lengths[k]; i++)
            F(v, 0)[i] = fabsf(F(v, 0)[i]);
        send_all();
        RAL_DO(d, adamw, w->x, m->x, v->x, g->x, b1, b2, a1, a2, step, root,
               eps, decay, scale);
        for (size_t i = 0; i < lengths[k]; i++) {
            const float x = F(g, 0)[i] * scale;
            float *mi = F(m, 0) + i, *vi = F(v, 0) + i, *wi = F(w, 0) + i;

            *mi = b1 * *mi + a1 * x;
            *vi = b2 * *vi + a2 * x * x;
            *wi = decay * *wi - step * *mi / (sqrtf(*vi) * root + eps);
        }
        end("adamw");
    }
}
TEST_DEVS(adamw)

/* NaN or Inf at one place, another behind it. */
static void finite_one(struct ral_dev *d, enum ral_dtype t, size_t N, size_t C,
                       size_t place)
{
    static const uint32_t nan32 = 0x7f800001, inf32 = 0xff800000;
    const uint16_t nan16 = t == RAL_F16 ? 0x7c01 : 0x7f81;
    const bool bad = place < N * C;
    const size_t size = ral_dtype_size(t);
    struct array *at, *x;

    begin(d);
    at = vec(RAL_I64, 1);
    x = array(t, N, C, 3, 1, false);
    for (size_t i = place; i < N * C; i += 4001)
        memcpy(x->host + 1 + (i / C * x->ld + i % C) * size,
               t != RAL_F32   ? (const void *)&nan16
               : i == place ? (const void *)&inf32
                              : (const void *)&nan32,
               size);
    if (C) // behind a row: not of the view
        for (size_t i = 0; i < N; i++)
            memcpy(x->host + 1 + (i * x->ld + C) * size,
                   t != RAL_F32 ? (const void *)&nan16 : (const void *)&nan32,
                   size);
    send_all();
    RAL_DO(d, finite, at->x, x->x);
    *(int64_t *)at->host = bad ? (int64_t)place : -1;
    end("finite");
}

static void finite_case(struct ral_dev *d, size_t N, size_t C)
{
    for (size_t k = 0; k < 3; k++) {
        finite_one(d, weights[k], N, C, SIZE_MAX);
        finite_one(d, weights[k], N, C, 0);
        finite_one(d, weights[k], N, C, N * C / 2);
        finite_one(d, weights[k], N, C, N * C - 1);
    }
}
TEST_SHAPES(finite)

/* ----------------------------------------------------------------- machines */

static void put_case(struct ral_dev *d)
{
    static const size_t n[] = {1, 1000, 100000}; // few and many
    struct ral_err err = {0};

    for (size_t i = 0; i < 3; i++) {
        float *host = calloc(n[i], sizeof(float));
        struct ral_mat x, y;
        struct ral_space s;

        ck_assert_ptr_nonnull(host);
        ral_space_init(&s, d);
        y = ral_mat_zero(&s, 1, n[i]); // something is queued before
        host[n[i] - 1] = 5;
        x = ral_mat_put(&s, RAL_F32, 1, n[i], host);
        host[n[i] - 1] = 7;
        RAL_DO(d, add, y, x, 1);
        ck_assert_int_eq(ral_get(d, host, y, &err), 0);
        ck_assert(host[n[i] - 1] == 5);
        ral_space_release(&s);
        free(host);
    }
}
TEST_DEVS(put)

static void order_case(struct ral_dev *d)
{
    struct ral_space s;
    struct ral_mat x;
    float got;

    ral_space_init(&s, d);
    x = ral_mat_zero(&s, 1, 1);
    d->ops->put(d, x, &(float){2});
    RAL_DO(d, add, x, x, 1); // 4
    d->ops->put(d, x, &(float){3});
    RAL_DO(d, add, x, x, 1); // 6
    ck_assert_int_eq(ral_get(d, &got, x, NULL), 0);
    ck_assert(got == 6);
    ral_space_release(&s);
}
TEST_DEVS(order)

static void failure_case(struct ral_dev *d)
{
    struct ral_err err = {0};
    struct ral_space s;
    struct ral_mat x;
    float got = 9;

    ral_space_init(&s, d);
    x = ral_mat_zero(&s, 1, 1);
    ck_assert_int_eq(ral_sync(d, &err), 0);
    ral_dev_fail(d, -RAL_EINVAL, "the first of %d", 2);
    ral_dev_fail(d, -RAL_EIO, "the second");
    RAL_DO(d, fill, x, 1);
    d->ops->put(d, x, &(float){2});
    ck_assert_int_eq(ral_get(d, &got, x, &err), -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "the first of 2");
    ck_assert(got == 9);
    ck_assert_int_eq(ral_get(d, &got, x, &err), 0);
    ck_assert(got == 0);
    // No such memory; the operation on it does nothing.
    x = ral_mat_zero(&s, SIZE_MAX / 8, 9);
    ck_assert(!ral_mat_some(x));
    ck_assert_int_eq(ral_sync(d, &err), -RAL_ENOMEM);
    ck_assert_int_eq(ral_sync(d, &err), 0);
    ral_space_release(&s);
}
TEST_DEVS(failure)

/* Blocks that are given back while the queue names them, and taken again. */
static void blocks_case(struct ral_dev *d)
{
    enum { N = 50000 };
    float *host = calloc(N, sizeof(*host));
    struct ral_space s, other;
    struct ral_mat y;

    ck_assert_ptr_nonnull(host);
    ral_space_init(&s, d);
    y = ral_mat_zero(&s, 1, N);
    for (int i = 1; i <= 20; i++) {
        ral_space_init(&other, d);
        host[N - 1] = (float)i;
        RAL_DO(d, add, y, ral_mat_put(&other, RAL_F32, 1, N, host), 1);
        ral_space_release(&other);
        if (i % 7 == 0)
            ck_assert_int_eq(ral_sync(d, NULL), 0);
    }
    ck_assert_int_eq(ral_get(d, host, y, NULL), 0);
    ck_assert(host[N - 1] == 210 && host[0] == 0);
    ral_space_release(&s);
    free(host);
}
TEST_DEVS(blocks)

/* How a child ends that reads where a view points to. */
static int status_of_read(struct ral_mat x)
{
    int status = 0;
    const pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); // a sanitizer's would report it
        _exit(*(volatile char *)x.at ? 0 : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

START_TEST(guard_faults)
{
    const float one = 1;
    struct ral_space s;
    struct ral_mat x[2];
    struct ral_dev *d;
    int status;

    ck_assert_int_eq(ral_guard_open(&d, 0, 1, NULL), 0);
    ral_space_init(&s, d);
    x[0] = ral_mat_zero(&s, 1, 1);
    x[1] = ral_mat_over(&s, RAL_F32, 1, 1, &one); // weights included
    ck_assert_int_eq(ral_sync(d, NULL), 0);
    for (int i = 0; i < 2; i++) {
        status = status_of_read(x[i]);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
    ral_space_release(&s);
    ral_dev_close(d);
    ck_assert_int_eq(ral_cpu_open(&d, 0, 1, NULL), 0);
    ral_space_init(&s, d);
    x[0] = ral_mat_over(&s, RAL_F32, 1, 1, &one);
    ck_assert_ptr_eq((const void *)x[0].at, &one);
    status = status_of_read(x[0]);
    ck_assert(WIFEXITED(status));
    ral_space_release(&s);
    ral_dev_close(d);
}
END_TEST

/* Pages are taken as they are used. */
START_TEST(guard_has_room)
{
    struct ral_space s;
    struct ral_mat x;
    struct ral_dev *d;
    float got[3];

    ck_assert_int_eq(ral_guard_open(&d, 0, 1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        ral_space_init(&s, d);
        x = ral_mat_f32(&s, (size_t)1 << 30, 3); // 12 GB
        x = ral_mat_rows(x, ((size_t)1 << 30) - 1, 1);
        RAL_DO(d, fill, x, 2);
        ck_assert_int_eq(ral_get(d, got, x, NULL), 0);
        ck_assert(got[2] == 2);
        ral_space_release(&s);
    }
    ral_dev_close(d);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        fill_everywhere, copy_everywhere, add_scaled_everywhere,
        gather_everywhere, scatter_everywhere, spread_everywhere,
        matmul_everywhere, matmul_back_everywhere, norm_everywhere,
        norm_back_everywhere, rotary_everywhere, silu_everywhere,
        silu_back_everywhere, gelu_both_everywhere, attention_everywhere,
        attention_back_everywhere, lse_everywhere, entropy_everywhere,
        pick_everywhere, softmax_back_everywhere, kl_everywhere,
        draw_everywhere, sumsq_everywhere, adamw_everywhere, finite_everywhere,
        put_everywhere, order_everywhere, failure_everywhere,
        blocks_everywhere, guard_faults, guard_has_room,
    };
    TCase *tc = tcase_create("ops");

    (void)argc;
    ral_threads_passive(argv); // most regions here are short
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 600);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tc, tests[i]);
    return run_tests(tc);
}
