/* tests/unit/test_kernels.c - every path gives the definition's bits; the
 * definition is accurate; gradients are gradients.
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "cpu/kernels.h"
#include "run.h"
#include "cpu/kernels_body.h" // the functions of one number

enum { MOST = 131 };

static unsigned cpu; // all that this machine has
static struct ral_kernels def, fast[2];
static size_t nfast;

/* Roughly normal, by exact arithmetic alone: the same on every machine. */
static void normal(float *x, size_t n, float spread, uint64_t stream)
{
    struct ral_rng r;

    ral_rng_init(&r, 7, stream, 0);
    for (size_t i = 0; i < n; i++) {
        double s = -1.5;

        for (int j = 0; j < 3; j++)
            s += ral_rng_uniform(&r);
        x[i] = spread * (float)(2 * s);
    }
}

/* Mostly ordinary numbers, some where functions saturate. */
static void numbers(float *x, size_t n, uint64_t stream)
{
    static const float odd[] = {0,   -0.0f, 88,     88.1f,   -87,   -87.01f,
                                200, -200,  1e-20f, -1e-40f, 0.93f, 1.31522f,
                                4,   5.66f, -5.7f,  INFINITY};

    normal(x, n, 3, stream);
    for (size_t i = stream % 5; i < n; i += 5)
        x[i] = odd[(i + stream) % 16];
}

static void same(const float *x, const float *y, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (to_bits(x[i]) != to_bits(y[i]) && !(isnan(x[i]) && isnan(y[i])))
            ck_abort_msg("%s: element %zu of %zu is %.9g, not %.9g", what, i, n,
                         (double)x[i], (double)y[i]);
}

/* Calls every kernel of a table on n elements; all outputs one after another,
 * each followed by a guard.
 */
static size_t outputs(const struct ral_kernels *k, size_t n, float *out)
{
    float x[MOST + 1], g[MOST + 1], u[MOST + 1], f[MOST + 1];
    float *const start = out;

    numbers(x, n, n);
    numbers(g, n, n + 1000);
    normal(u, n, 2, n + 2000);
    normal(f, n, 1, n + 3000);
#define NEXT (out += n, *out++ = 4711)
    *out++ = k->max(x, n);
    *out++ = k->sum(f, n);
    *out++ = k->sumsq(f, n);
    k->exp_shift(n, x, 0.25f, out);
    NEXT;
    memcpy(out, x, n * sizeof(float));
    k->exp_shift(n, out, 1, out);
    NEXT;
    memcpy(out, x, n * sizeof(float));
    k->scale(n, out, 1.7f, out);
    NEXT;
    memcpy(out, u, n * sizeof(float));
    k->add(n, f, out);
    NEXT;
    k->silu_mul(n, g, u, out);
    NEXT;
    k->silu_mul_backward(n, g, u, f, out, out + n);
    out += n;
    NEXT;
    k->gelu(n, x, out);
    NEXT;
    k->gelu_backward(n, f, u, out);
    NEXT;
    out[n] = k->rms_norm(n, f, u, 1e-6f, out);
    out++;
    NEXT;
    memset(out, 0, 2 * n * sizeof(float));
    k->rms_norm_backward(n, f, u, 0.7f, g, out, out + n);
    out += n;
    NEXT;
    memcpy(out, f, n * sizeof(float));
    k->rms_norm_backward(n, u, f, 0.7f, u, out, NULL);
    NEXT;
    memcpy(out, u, n * sizeof(float));
    k->rotate(n / 2, f, x, out);
    NEXT;
    memcpy(out, u, n * sizeof(float));
    k->rotate_back(n / 2, f, x, out);
    NEXT;
    return (size_t)(out - start);
}

static float room[2][20 * (MOST + 2)];

START_TEST(every_length_has_the_definitions_bits)
{
    for (size_t n = 1; n <= MOST; n++) {
        const size_t len = outputs(&def, n, room[0]);

        for (size_t i = 0; i < nfast; i++) {
            ck_assert_uint_eq(outputs(&fast[i], n, room[1]), len);
            same(room[1], room[0], len, fast[i].name);
        }
    }
    for (size_t i = 0; i < nfast; i++) { // no elements: nothing is written
        room[1][0] = 5;
        ck_assert(fast[i].sum(NULL, 0) == 0 && fast[i].sumsq(NULL, 0) == 0);
        fast[i].exp_shift(0, room[1], 0, room[1]);
        ck_assert(room[1][0] == 5);
    }
}
END_TEST

/* The bits themselves, so that compilers and versions agree too. */
START_TEST(bits_are_those_of_other_builds)
{
    const size_t len = outputs(&def, MOST, room[0]);
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (isnan(room[0][i]) ? 0 : to_bits(room[0][i]))) *
            1099511628211u;
    ck_assert_msg(h == 0xe04bca00c23c90e5u, "hash 0x%016llx",
                  (unsigned long long)h);
}
END_TEST

START_TEST(sums_go_through_32_lanes)
{
    float x[MOST], lane[32] = {0}, sq[32] = {0};

    normal(x, MOST, 1, 1);
    for (size_t i = 0; i < MOST; i++) {
        lane[i % 32] += x[i];
        sq[i % 32] = fmaf(x[i], x[i], sq[i % 32]);
    }
    for (int h = 16; h; h /= 2)
        for (int l = 0; l < h; l++) {
            lane[l] += lane[l + h];
            sq[l] += sq[l + h];
        }
    ck_assert(def.sum(x, MOST) == lane[0]);
    ck_assert(def.sumsq(x, MOST) == sq[0]);
}
END_TEST

/* |y - want| in units of want's last place. */
static double ulps(float y, long double want)
{
    int e;

    frexpl(want, &e);
    return (double)fabsl((y - want) / ldexpl(1, (e < -125 ? -125 : e) - 24));
}

START_TEST(exp_is_within_one_ulp)
{
    double worst = 0;

    for (uint32_t u = 0; u < 0x42b00000; u += 9973) { // 0 .. 88
        const float x = from_bits(u);

        worst = fmax(worst, ulps(exp_one(x), expl(x)));
        if (x <= 87)
            worst = fmax(worst, ulps(exp_one(-x), expl(-x)));
    }
    ck_assert_double_lt(worst, 0.87);
    ck_assert(exp_one(0) == 1 && exp_one(-87.01f) == 0);
    ck_assert(exp_one(-INFINITY) == 0 && isfinite(exp_one(INFINITY)));
    ck_assert(isnan(exp_one(NAN)));
}
END_TEST

START_TEST(erf_is_within_one_ulp)
{
    double worst = 0;

    for (uint32_t u = 0x20000000; u < 0x40900000; u += 5003) { // .. 4.5
        const float x = from_bits(u);

        worst = fmax(worst, ulps(erf_one(x), erfl(x)));
        ck_assert(erf_one(-x) == -erf_one(x));
    }
    for (float x = 0.929f; x < 0.931f; x = nextafterf(x, 1))
        worst = fmax(worst, ulps(erf_one(x), erfl(x)));
    ck_assert_double_lt(worst, 1.0);
    ck_assert(erf_one(1e30f) == 1 && erf_one(-INFINITY) == -1);
    ck_assert(erf_one(0) == 0 && isnan(erf_one(NAN)));
}
END_TEST

START_TEST(silu_is_within_three_ulp)
{
    double worst = 0;

    for (float x = -80; x < 80; x += 0.0037f) {
        const float one = 1;
        float y;

        def.silu_mul(1, &x, &one, &y);
        worst = fmax(worst, ulps(y, x / (1 + expl(-(long double)x))));
    }
    ck_assert_double_lt(worst, 3);
}
END_TEST

static double ulps_d(double y, long double want)
{
    int e;

    frexpl(want, &e);
    return (double)fabsl((y - want) / ldexpl(1, (e < -1021 ? -1021 : e) - 53));
}

START_TEST(double_functions_are_within_two_ulp)
{
    struct ral_rng r;
    double we = 0, wl = 0, ws = 0, s, c;

    ral_rng_init(&r, 1, 1, 0);
    for (int i = 0; i < 200000; i++) {
        const double u = ral_rng_uniform(&r), x = (u - 0.5) * 1400;
        const double a = ldexp(u - 0.5, (int)ral_rng_below(&r, 42) - 20);
        const double p = ldexp(0.5 + u, (int)ral_rng_below(&r, 60) - 30);
        const double q = i & 1 ? p : 0.9 + u / 5;

        we = fmax(we, ulps_d(ral_exp_d(x), expl(x)));
        wl = fmax(wl, ulps_d(ral_log_d(q), logl(q)));
        ral_sincos_d(a, &s, &c);
        ws = fmax(ws, fmax(ulps_d(s, sinl(a)), ulps_d(c, cosl(a))));
    }
    for (int n = -3000; n < 3000; n++) { // next to multiples of pi/2
        const double a = (double)((float)n * 1.57079633f * 100);

        ral_sincos_d(a, &s, &c);
        ws = fmax(ws, fmax(ulps_d(s, sinl(a)), ulps_d(c, cosl(a))));
    }
    ck_assert_double_lt(we, 2);
    ck_assert_double_lt(wl, 2);
    ck_assert_double_lt(ws, 2);
    ck_assert(ral_exp_d(0) == 1 && ral_exp_d(-800) == 0);
    ck_assert(ral_exp_d(800) == (double)INFINITY && ral_log_d(1) == 0);
    ck_assert(ral_exp_d(-INFINITY) == 0 && isnan(ral_exp_d(NAN)));
    ck_assert(ulps_d(ral_exp_d(-740), expl(-740)) < 2);
    ck_assert(ulps_d(ral_log_d(0x1p-1070), logl(0x1p-1070L)) < 2);
    ck_assert(isinf(ral_log_d(0)) && isnan(ral_log_d(-1)));
    ral_sincos_d(0, &s, &c);
    ck_assert(s == 0 && c == 1);
}
END_TEST

/* Scalar chains. */
static float chain(const float *a, const float *b, size_t ldb, size_t K,
                   float from)
{
    for (size_t k = 0; k < K; k++)
        from = fmaf(a[k], b[k * ldb], from);
    return from;
}

static void chain_into(const float *a, const float *b, size_t ldb, size_t K,
                       enum ral_into into, float *c)
{
    const float s = chain(a, b, ldb, K, into == RAL_RESUME ? *c : 0);

    *c = into == RAL_ADD ? *c + s : s;
}

static void check_tile(const struct ral_kernels *k, size_t ldb)
{
    enum { K = 19, LDC = 37 };
    float a[RAL_TILE_M * K], b[K * 48], c[RAL_TILE_M * LDC];
    float want[RAL_TILE_M * LDC];

    normal(a, RAL_TILE_M * K, 1, 1);
    normal(b, K * 48, 1, 2);
    for (size_t rows = 1; rows <= RAL_TILE_M; rows++)
        for (size_t cols = 1; cols <= (ldb < 32 ? ldb : 32); cols++)
            for (size_t i = 0; i < 9; i++) {
                const size_t n = i < 3 ? K : i < 6 ? 0 : 1;
                const enum ral_into into = (enum ral_into)(i % 3);

                normal(c, RAL_TILE_M * LDC, 1, 3);
                memcpy(want, c, sizeof(c));
                for (size_t r = 0; r < rows; r++)
                    for (size_t j = 0; j < cols; j++)
                        chain_into(a + r * K, b + j, ldb, n, into,
                                   want + r * LDC + j);
                k->tile(rows, cols, n, a, K, b, ldb, c, LDC, into);
                same(c, want, RAL_TILE_M * LDC, k->name);
            }
}

START_TEST(tile_is_a_chain)
{
    check_tile(&def, 48);
    for (size_t i = 0; i < nfast; i++) {
        check_tile(&fast[i], 16);
        check_tile(&fast[i], 32);
        check_tile(&fast[i], 48);
    }
}
END_TEST

/* Rows and columns of every remainder, then rows enough for copies of b. */
static void check_block(const struct ral_kernels *k, size_t M, size_t N,
                        size_t K, enum ral_into into)
{
    enum { MOST_M = 100, MOST_N = 200, MOST_K = 150, LDC = MOST_N + 5 };
    static float a[MOST_M * MOST_K], b[7 * (MOST_K + 1) * RAL_PANEL];
    static float c[MOST_M * LDC], want[MOST_M * LDC];
    const size_t stride = (K + 1) * RAL_PANEL, lda = K + 2;

    ck_assert(M <= MOST_M && N <= MOST_N && lda <= MOST_K);
    normal(a, M * lda, 1, 1);
    normal(b, 7 * stride, 1, 2);
    normal(c, M * LDC, 1, 3);
    memcpy(want, c, M * LDC * sizeof(float));
    for (size_t r = 0; r < M; r++)
        for (size_t n = 0; n < N; n++)
            chain_into(a + r * lda,
                       b + n / RAL_PANEL * stride + n % RAL_PANEL, RAL_PANEL, K,
                       into, want + r * LDC + n);
    k->block(M, N, K, a, lda, b, stride, c, LDC, into);
    same(c, want, M * LDC, k->name);
}

START_TEST(block_is_a_chain)
{
    static const size_t ns[] = {1,  16, 17, 32,  33, 48,
                                64, 65, 96, 130, 200};

    for (size_t i = 0; i < nfast; i++)
        for (size_t m = 1; m <= 26; m++)
            for (size_t j = 0; j < sizeof(ns) / sizeof(*ns); j++)
                check_block(&fast[i], m, ns[j], 23, (m + j) % 3);
    for (size_t i = 0; i <= nfast; i++) {
        const struct ral_kernels *k = i < nfast ? &fast[i] : &def;

        for (size_t j = 0; j < 9; j++)
            check_block(k, 96 + j / 2, 65 + j, 139 + j, j % 3);
        check_block(k, 13, 40, 0, RAL_SET);
        check_block(k, 13, 40, 0, RAL_ADD);
        check_block(k, 0, 40, 9, RAL_SET);
    }
}
END_TEST

START_TEST(transpose_moves_every_element)
{
    enum { M = 43, K = 39, LDA = 50, LDO = 45 };
    float a[K * LDA], out[M * LDO], want[M * LDO];

    normal(a, K * LDA, 1, 1);
    for (size_t i = 0; i <= nfast; i++)
        for (size_t m = 0; m <= M; m += m < 17 ? 1 : 13)
            for (size_t n = 0; n <= K; n += n < 17 ? 1 : 11) {
                const struct ral_kernels *k = i < nfast ? &fast[i] : &def;

                normal(out, M * LDO, 1, 2);
                memcpy(want, out, sizeof(want));
                for (size_t r = 0; r < m; r++)
                    for (size_t j = 0; j < n; j++)
                        want[r * LDO + j] = a[j * LDA + r];
                k->transpose(m, n, a, LDA, out, LDO);
                same(out, want, M * LDO, k->name);
            }
}
END_TEST

static float stored(enum ral_dtype t, const unsigned char *p)
{
    uint16_t h;
    float f;

    if (t == RAL_F32) {
        memcpy(&f, p, 4);
        return f;
    }
    memcpy(&h, p, 2);
    return t == RAL_F16 ? ral_from_f16(h) : ral_from_bf16(h);
}

/* out[K][32], element (r, n) of what is stored at p in column r, row n. */
static void check_panel(const char *name, enum ral_dtype t,
                        const unsigned char *p, size_t down, size_t across,
                        size_t cols, size_t K, const float *out)
{
    const size_t size = ral_dtype_size(t);

    for (size_t n = 0; n < K; n++)
        for (size_t r = 0; r < RAL_PANEL; r++) {
            const float v =
                r < cols ? stored(t, p + (r * across + n * down) * size) : 0;

            if (to_bits(v) != to_bits(out[n * RAL_PANEL + r]))
                ck_abort_msg("%s: row %zu column %zu", name, r, n);
        }
}

START_TEST(panels_hold_every_stored_number)
{
    enum { K = 2048 + 13 };
    static const enum ral_dtype types[] = {RAL_F32, RAL_F16, RAL_BF16};
    static unsigned char src[33 * K * 4 + 1];
    static float out[K * RAL_PANEL];

    for (size_t i = 0; i < 33 * K * 2; i++) { // every 16-bit pattern
        const uint16_t h = (uint16_t)i;

        memcpy(src + 1 + 2 * i, &h, 2);
    }
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i <= nfast; i++)
            for (size_t cols = 3; cols <= 32; cols += 29) {
                const struct ral_kernels *k = i < nfast ? &fast[i] : &def;

                k->panel(cols, K, types[t], src + 1, K, out);
                check_panel(k->name, types[t], src + 1, 1, K, cols, K, out);
                k->row_panel(cols, K, types[t], src + 1, 33, out);
                check_panel(k->name, types[t], src + 1, 33, 1, cols, K, out);
            }
}
END_TEST

/* References in double for the gradients. */
static double silu_ref(double g, double u)
{
    return u * g / (1 + exp(-g));
}

static double gelu_ref(double x)
{
    return x * (1 + erf(x / sqrt(2))) / 2;
}

START_TEST(activation_gradients_match_differences)
{
    const double h = 1e-5;

    for (float x = -9; x < 9; x += 0.173f) {
        const float u = 0.3f - x / 5, dy = 1.25f;
        float dg, du, dx;

        def.silu_mul_backward(1, &x, &u, &dy, &dg, &du);
        def.gelu_backward(1, &x, &dy, &dx);
        ck_assert_double_eq_tol(
            dg, dy * (silu_ref(x + h, u) - silu_ref(x - h, u)) / (2 * h), 2e-6);
        ck_assert_double_eq_tol(
            du, dy * (silu_ref(x, u + h) - silu_ref(x, u - h)) / (2 * h), 2e-6);
        ck_assert_double_eq_tol(
            dx, dy * (gelu_ref(x + h) - gelu_ref(x - h)) / (2 * h), 2e-6);
    }
}
END_TEST

enum { C = 37 };

/* sum of dy times the norm of x */
static double norm_ref(const double *x, const double *w, const float *dy)
{
    double ss = 0, s = 0;

    for (int i = 0; i < C; i++)
        ss += x[i] * x[i];
    for (int i = 0; i < C; i++)
        s += dy[i] * x[i] / sqrt(ss / C + 0.01) * w[i];
    return s;
}

START_TEST(norm_gradients_match_differences)
{
    float x[C], w[C], dy[C], y[C], dx[C], dw[C], r;
    double xd[C], wd[C];

    normal(x, C, 1, 1);
    normal(w, C, 1, 2);
    normal(dy, C, 1, 3);
    for (int i = 0; i < C; i++) {
        xd[i] = x[i];
        wd[i] = w[i];
        dx[i] = 2; // gradients are added
        dw[i] = 3;
    }
    r = def.rms_norm(C, x, w, 0.01f, y);
    def.rms_norm_backward(C, x, w, r, dy, dx, dw);
    for (int i = 0; i < C; i++) {
        const double h = 1e-5;
        double up, lo;

        xd[i] += h;
        up = norm_ref(xd, wd, dy);
        xd[i] -= 2 * h;
        lo = norm_ref(xd, wd, dy);
        xd[i] += h;
        ck_assert_double_eq_tol(dx[i] - 2, (up - lo) / (2 * h), 3e-6);
        wd[i] += h;
        up = norm_ref(xd, wd, dy);
        wd[i] -= 2 * h;
        lo = norm_ref(xd, wd, dy);
        wd[i] += h;
        ck_assert_double_eq_tol(dw[i] - 3, (up - lo) / (2 * h), 3e-6);
    }
}
END_TEST

/* <R x, y> = <x, R^T y>, and R^T R = 1 for a true angle. */
START_TEST(rotating_back_is_the_transpose)
{
    enum { HALF = 21 };
    float c[HALF], s[HALF], x[2 * HALF], y[2 * HALF], rx[2 * HALF];
    float ry[2 * HALF];
    double a = 0, b = 0;

    for (int j = 0; j < HALF; j++) {
        double sd, cd;

        ral_sincos_d(0.3 * j - 2, &sd, &cd);
        s[j] = (float)sd;
        c[j] = (float)cd;
    }
    normal(x, 2 * HALF, 1, 1);
    normal(y, 2 * HALF, 1, 2);
    memcpy(rx, x, sizeof(x));
    memcpy(ry, y, sizeof(y));
    def.rotate(HALF, c, s, rx);
    def.rotate_back(HALF, c, s, ry);
    for (int i = 0; i < 2 * HALF; i++) {
        a += (double)rx[i] * y[i];
        b += (double)x[i] * ry[i];
    }
    ck_assert_double_eq_tol(a, b, 1e-5);
    def.rotate_back(HALF, c, s, rx);
    for (int i = 0; i < 2 * HALF; i++)
        ck_assert_double_eq_tol(rx[i], x[i], 1e-6);
    ck_assert(fabs((double)ry[0] - y[0]) > 0.1); // it does turn
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("kernels");

    ral_cpu_flags(&cpu, NULL, NULL);
    kernels_fill(&def, "here");
    ral_kernels_init(&def, 0);
    for (unsigned f = RAL_CPU_AVX2; f <= RAL_CPU_AVX512; f *= 2)
        if (cpu & f)
            ral_kernels_init(&fast[nfast++], f);
    tcase_add_test(t, every_length_has_the_definitions_bits);
    tcase_add_test(t, bits_are_those_of_other_builds);
    tcase_add_test(t, sums_go_through_32_lanes);
    tcase_add_test(t, exp_is_within_one_ulp);
    tcase_add_test(t, erf_is_within_one_ulp);
    tcase_add_test(t, silu_is_within_three_ulp);
    tcase_add_test(t, double_functions_are_within_two_ulp);
    tcase_add_test(t, tile_is_a_chain);
    tcase_add_test(t, block_is_a_chain);
    tcase_add_test(t, transpose_moves_every_element);
    tcase_add_test(t, panels_hold_every_stored_number);
    tcase_add_test(t, activation_gradients_match_differences);
    tcase_add_test(t, norm_gradients_match_differences);
    tcase_add_test(t, rotating_back_is_the_transpose);
    return run_tests(t);
}
