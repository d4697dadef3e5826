/* tests/unit/test_functions.c - functions of one number against libm's long
 * double, and the sums over a row that are made of them.
 */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "nn/exact.h"
#include "cpu/kernels.h"
#include "nn/normal.h"

static struct ral_kernels table[3]; // the definition first
static size_t tables;

/* |y - want| in units of want's last place as a double. */
static double ulps(double y, long double want)
{
    int e;

    frexpl(want, &e);
    return (double)fabsl((y - want) / ldexpl(1, (e < -1021 ? -1021 : e) - 53));
}

/* A number of any size from 2^-lo to 2^hi, either sign. */
static double any(struct ral_rng *r, int lo, int hi)
{
    const double m = 1 + ral_rng_uniform(r);
    const int e = (int)ral_rng_below(r, (uint64_t)(lo + hi)) - lo;

    return ldexp(ral_rng_uniform(r) < 0.5 ? -m : m, e);
}

START_TEST(expm1_is_within_two_ulp)
{
    struct ral_rng r;
    double worst = 0;

    ral_rng_init(&r, 1, 0, 0);
    for (int i = 0; i < 300000; i++) {
        const double x = i % 3 == 0   ? any(&r, 1070, 9)
                         : i % 3 == 1 ? any(&r, 60, 6)
                                      : (ral_rng_uniform(&r) - 0.5) * 1400;

        if (fabs(x) < 709)
            worst = fmax(worst, ulps(ral_expm1_d(x), expm1l(x)));
    }
    ck_assert_double_lt(worst, 2);
    ck_assert(ral_expm1_d(0) == 0 && ral_expm1_d(-0.0) == 0);
    ck_assert(ral_expm1_d(0x1p-1074) == 0x1p-1074);
    ck_assert(ral_expm1_d(-1e-300) == -1e-300);
    ck_assert(ral_expm1_d(-40) == -1 && ral_expm1_d(-1e300) == -1);
    ck_assert(ral_expm1_d(-(double)INFINITY) == -1);
    ck_assert(ral_expm1_d(710) == (double)INFINITY);
    ck_assert(ral_expm1_d((double)INFINITY) == (double)INFINITY);
    ck_assert(isnan(ral_expm1_d((double)NAN)));
}
END_TEST

START_TEST(log1p_is_within_one_ulp)
{
    struct ral_rng r;
    double worst = 0;

    ral_rng_init(&r, 2, 0, 0);
    for (int i = 0; i < 300000; i++) {
        const double x = i % 3 == 0   ? any(&r, 1070, 1000)
                         : i % 3 == 1 ? any(&r, 60, 3)
                                      : expm1(ral_rng_uniform(&r) - 0.7);

        if (x > -1)
            worst = fmax(worst, ulps(ral_log1p_d(x), log1pl(x)));
    }
    for (int i = 1; i < 60; i++) { // next to -1, and to where branches meet
        const double x = ldexp(1, -i) - 1;

        worst = fmax(worst, ulps(ral_log1p_d(x), log1pl(x)));
    }
    for (int i = -100; i < 100; i++) {
        const double x = -0.29 + i * 0x1p-54, y = 0.41 + i * 0x1p-54;
        const double z = sqrt(2) - 1 + i * 0x1p-54;

        worst = fmax(worst, ulps(ral_log1p_d(x), log1pl(x)));
        worst = fmax(worst, ulps(ral_log1p_d(y), log1pl(y)));
        worst = fmax(worst, ulps(ral_log1p_d(z), log1pl(z)));
    }
    ck_assert_double_lt(worst, 1);
    ck_assert(ral_log1p_d(0) == 0);
    ck_assert(ral_log1p_d(0x1p-1074) == 0x1p-1074);
    ck_assert(ral_log1p_d(-1e-300) == -1e-300);
    ck_assert(ral_log1p_d(-1) == -(double)INFINITY);
    ck_assert(isnan(ral_log1p_d(-1.5)) && isnan(ral_log1p_d((double)NAN)));
    ck_assert(ral_log1p_d((double)INFINITY) == (double)INFINITY);
}
END_TEST

START_TEST(powers_are_the_nearest)
{
    static const double bases[] = {0.9, 0.95, 0.98, 0.99, 0.999, 0.9999, 0.5};
    struct ral_rng r;
    double worst = 0;

    ral_rng_init(&r, 3, 0, 0);
    for (int i = 0; i < 100000; i++) {
        const double b =
            i % 2 ? bases[i / 2 % 7]
                  : 1 - exp2(-1 - 40 * ral_rng_uniform(&r)); // up to 1
        const uint64_t most = ral_rng_below(&r, 40);
        const uint64_t t = ral_rng_below(&r, (uint64_t)1 << most);
        const long double want = powl(b, (long double)t);

        if (want > 1e-290L)
            worst = fmax(worst, ulps(ral_pow_d(b, t), want));
    }
    ck_assert_double_lt(worst, 0.51); // powl itself is rounded
    ck_assert(ral_pow_d(0.9, 0) == 1 && ral_pow_d(0.9, 1) == 0.9);
    ck_assert(ral_pow_d(0, 0) == 1 && ral_pow_d(0, 7) == 0);
    ck_assert(ral_pow_d(1, (uint64_t)1 << 39) == 1);
    ck_assert(ral_pow_d(0.9, 1 << 20) == 0);
    ck_assert(ulps(ral_pow_d(0.9, 7000), powl(0.9, 7000)) <= 1); // subnormal
}
END_TEST

START_TEST(cosine_is_within_one_ulp)
{
    struct ral_rng r;
    double worst = 0;

    ral_rng_init(&r, 4, 0, 0);
    for (int i = 0; i < 100000; i++) {
        const double x = i % 2 ? any(&r, 300, 20)
                               : ral_rng_uniform(&r) * 3.14159265358979323846;

        worst = fmax(worst, ulps(ral_cos_d(x), cosl(x)));
    }
    ck_assert_double_lt(worst, 1);
    ck_assert(ral_cos_d(0) == 1 && ral_cos_d(3.14159265358979323846) == -1);
}
END_TEST

START_TEST(exp_and_log_at_the_ends)
{
    const double inf = (double)INFINITY;

    ck_assert(ral_exp_d(inf) == inf && ral_exp_d(-inf) == 0);
    ck_assert(ral_exp_d(0) == 1 && isnan(ral_exp_d((double)NAN)));
    ck_assert(isfinite(ral_exp_d(709.78)) && ral_exp_d(-746) == 0);
    ck_assert(ral_exp_d(-745) == 0x1p-1074);
    ck_assert(ral_log_d(1) == 0 && ral_log_d(0) == -inf);
    ck_assert(ral_log_d(inf) == inf && isnan(ral_log_d(-0x1p-1074)));
    ck_assert(isnan(ral_log_d((double)NAN)));
    ck_assert(ulps(ral_log_d(0x1p-1074), logl(0x1p-1074L)) < 1);
}
END_TEST

/* ------------------------------------------------------------------- rows */

enum { MOST = 1000 };

/* Logits, some far below the others or excluded, and their log-sum-exp. */
static double logits(size_t n, uint64_t stream, bool wild, float *x)
{
    struct ral_rng r;
    double max = -(double)INFINITY, sum = 0;

    ral_rng_init(&r, 5, stream, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(ral_rng_normal(&r) * 5);
        if (wild && i % 7 == 3)
            x[i] = i % 2 ? -INFINITY : -300;
        max = fmax(max, (double)x[i]);
    }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    return max + log(sum);
}

static double fold_lanes(const double *term, size_t n)
{
    double lane[32] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 32] += term[i];
    for (int h = 16; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

START_TEST(entropy_is_the_definition)
{
    static float x[MOST];
    static double term[MOST];

    for (size_t n = 0; n <= MOST; n += n < 130 ? 1 : 97) {
        const double lse = n ? logits(n, n, n % 2, x) : 0;
        double want = 0, got;

        for (size_t i = 0; i < n; i++) {
            const float p = exp_one(x[i] - (float)lse);

            term[i] = p > 0 ? (double)p * (double)x[i] : 0;
            if (isfinite(x[i]))
                want += exp((double)x[i] - lse) * ((double)x[i] - lse);
        }
        got = table[0].dot_exp(n, x, (float)lse);
        ck_assert(got == fold_lanes(term, n));
        for (size_t t = 1; t < tables; t++)
            ck_assert_msg(table[t].dot_exp(n, x, (float)lse) == got, "%s",
                          table[t].name);
        if (n)
            ck_assert_double_eq_tol(lse - got, -want, 2e-5);
    }
}
END_TEST

/* Scalar, word for word; g[n] gains the gradient. */
static double kl_definition(size_t n, const float *x, double lx, const float *y,
                            double ly, double weight, float *g)
{
    static double term[MOST];
    double kl;

    for (size_t i = 0; i < n; i++) {
        const float p = exp_one((float)((double)x[i] - lx));
        const double d = (double)x[i] - (double)y[i] - (lx - ly);

        term[i] = p > 0 ? (double)p * d : 0;
    }
    kl = fold_lanes(term, n);
    for (size_t i = 0; i < n; i++) {
        const float p = exp_one((float)((double)x[i] - lx));
        const double d = (double)x[i] - (double)y[i] - (lx - ly);

        if (p > 0)
            g[i] += (float)(weight * (double)p * (d - kl));
    }
    return kl;
}

START_TEST(reverse_kl_is_the_definition)
{
    static float x[MOST], y[MOST], want[MOST], g[MOST];

    for (size_t n = 1; n <= MOST; n += n < 130 ? 1 : 97) {
        const double lx = logits(n, n, n % 2, x);
        const double ly = logits(n, n + 5000, false, y);
        double kl;

        for (size_t i = 0; i < n; i++)
            want[i] = 0.25f * (float)i;
        memcpy(g, want, sizeof(g));
        kl = kl_definition(n, x, lx, y, ly, -1.5, want);
        for (size_t t = 0; t < tables; t++) {
            for (size_t i = 0; i < n; i++)
                g[i] = 0.25f * (float)i;
            ck_assert_msg(table[t].reverse_kl(n, x, lx, y, ly, -1.5, g) == kl,
                          "%s", table[t].name);
            ck_assert_msg(!memcmp(g, want, n * sizeof(*g)), "%s",
                          table[t].name);
            ck_assert(table[t].reverse_kl(n, x, lx, y, ly, 1, NULL) == kl);
            // Equal rows: exactly nothing.
            ck_assert(table[t].reverse_kl(n, x, lx, x, lx, 1, g) == 0);
            ck_assert(!memcmp(g, want, n * sizeof(*g)));
        }
    }
}
END_TEST

/* Central differences of the divergence in double, softmax included. */
static double kl_double(size_t n, const double *x, const float *y)
{
    double sx = 0, sy = 0, kl = 0;

    for (size_t i = 0; i < n; i++) {
        sx += exp(x[i]);
        sy += exp((double)y[i]);
    }
    for (size_t i = 0; i < n; i++)
        kl += exp(x[i]) / sx * (x[i] - (double)y[i] - log(sx) + log(sy));
    return kl;
}

START_TEST(reverse_kl_matches_differences)
{
    enum { V = 40 };
    const double h = 1e-5;
    float x[V], y[V], g[V] = {0};
    const double lx = logits(V, 1, false, x), ly = logits(V, 2, false, y);
    double xd[V], kl;

    for (int i = 0; i < V; i++)
        xd[i] = (double)x[i];
    kl = table[0].reverse_kl(V, x, lx, y, ly, 1, g);
    ck_assert_double_eq_tol(kl, kl_double(V, xd, y), 1e-6 * kl);
    for (int i = 0; i < V; i++) {
        double up;

        xd[i] += h;
        up = kl_double(V, xd, y);
        xd[i] -= 2 * h;
        ck_assert_double_eq_tol((up - kl_double(V, xd, y)) / (2 * h),
                                (double)g[i], 2e-6 * kl);
        xd[i] += h;
    }
}
END_TEST

static uint64_t mix(uint64_t h, double x)
{
    uint64_t u = 0;

    if (x == x)
        memcpy(&u, &x, 8);
    return (h ^ u) * 1099511628211u;
}

/* The bits themselves, so that compilers and versions agree too; the inputs
 * come of exact arithmetic and of these functions alone. */
START_TEST(bits_are_those_of_other_builds)
{
    static float x[MOST], y[MOST], g[MOST];
    uint64_t h = 14695981039346656037u;
    struct ral_rng r;
    double lse[2] = {0, 0};

    ral_rng_init(&r, 6, 0, 0);
    for (int i = 0; i < 20000; i++) {
        const double z = any(&r, 60, 8), u = ral_rng_uniform(&r);

        h = mix(mix(h, ral_exp_d(z)), ral_expm1_d(z));
        h = mix(mix(h, ral_log_d(fabs(z))), ral_log1p_d(z));
        h = mix(mix(h, ral_cos_d(z)), ral_pow_d(u, ral_rng_below(&r, 1000)));
        h = mix(mix(h, (double)exp_one((float)z)), (double)erf_one((float)z));
    }
    for (int i = 0; i < MOST; i++) {
        x[i] = (float)(ral_rng_uniform(&r) * 30 - 15);
        y[i] = (float)(ral_rng_uniform(&r) * 30 - 15);
        lse[0] += ral_exp_d((double)x[i]);
        lse[1] += ral_exp_d((double)y[i]);
    }
    lse[0] = ral_log_d(lse[0]);
    lse[1] = ral_log_d(lse[1]);
    h = mix(h, table[0].dot_exp(MOST, x, (float)lse[0]));
    h = mix(h, table[0].reverse_kl(MOST, x, lse[0], y, lse[1], 3, g));
    for (int i = 0; i < MOST; i++)
        h = mix(h, (double)g[i]);
    ck_assert_msg(h == 0x8c7c3647dc8a4497u, "hash 0x%016llx",
                  (unsigned long long)h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("functions");
    TCase *t = tcase_create("functions");
    SRunner *r = srunner_create(s);
    unsigned cpu;
    int failed;

    if (ral_cpu_flags(&cpu, NULL, NULL) < 0)
        return EXIT_FAILURE;
    ral_kernels_init(&table[tables++], 0);
    for (unsigned f = RAL_CPU_AVX2; f <= RAL_CPU_AVX512; f *= 2)
        if (cpu & f)
            ral_kernels_init(&table[tables++], f);
    tcase_add_test(t, expm1_is_within_two_ulp);
    tcase_add_test(t, log1p_is_within_one_ulp);
    tcase_add_test(t, powers_are_the_nearest);
    tcase_add_test(t, cosine_is_within_one_ulp);
    tcase_add_test(t, exp_and_log_at_the_ends);
    tcase_add_test(t, entropy_is_the_definition);
    tcase_add_test(t, reverse_kl_is_the_definition);
    tcase_add_test(t, reverse_kl_matches_differences);
    tcase_add_test(t, bits_are_those_of_other_builds);
    suite_add_tcase(s, t);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
