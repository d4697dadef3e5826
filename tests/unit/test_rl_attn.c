/* tests/unit/test_rl_attn.c - attention policy and its divergence. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rl/attn_div.h"
#include "rl/attn_policy.h"
#include "run.h"
#include "nn/normal.h"

enum { MAXH = 4, MAXS = 64 };

static json_t *golden;

START_TEST(disjoint_rows_reach_ln2)
{
    const float a[] = {1, 0}, b[] = {0, 1};
    float d, g[2] = {0};

    ck_assert_int_eq(ral_attn_jsd(1, 2, a, b, &d, g, NULL), 0);
    ck_assert_float_eq_tol(d, 0.6931472f, 1e-7f);
    ck_assert_float_eq_tol(g[0], 0.3465736f, 1e-7f);
    ck_assert(g[1] == 0); // p is 0 there
}
END_TEST

/* p = (3/4, 1/4), q = (1/4, 3/4): m = 1/2, JSD = 3/4 ln 3/2 + 1/4 ln 1/2. */
START_TEST(two_positions_by_hand)
{
    const float p[] = {0.75f, 0.25f}, q[] = {0.25f, 0.75f};
    float g[2] = {1, 1}; // gradients are added to what is there
    double j = ral_attn_jsd_row(2, p, q, -4, g);

    ck_assert_double_eq_tol(j, 0.75 * log(1.5) + 0.25 * log(0.5), 1e-15);
    ck_assert_double_eq(j, ral_attn_jsd_row(2, q, p, 1, NULL));
    ck_assert_float_eq_tol(g[0], 1 - 2 * log(1.5), 1e-6f);
    ck_assert_float_eq_tol(g[1], 1 - 2 * log(0.5), 1e-6f);
}
END_TEST

static void random_row(struct ral_rng *r, size_t S, float *p)
{
    double sum = 0;

    for (size_t s = 0; s < S; s++) {
        const double x = ral_rng_uniform(r);

        p[s] = x < 0.2 ? 0 : (float)exp(6 * x);
        sum += p[s];
    }
    if (sum == 0)
        p[0] = 1, sum = 1;
    for (size_t s = 0; s < S; s++)
        p[s] = (float)(p[s] / sum);
}

START_TEST(equal_rows_are_exactly_zero)
{
    struct ral_rng r;
    float p[MAXS], g[MAXS] = {0};

    ral_rng_init(&r, 1, 2, 3);
    for (size_t i = 0; i < 200; i++) {
        const size_t S = 1 + ral_rng_below(&r, MAXS);

        random_row(&r, S, p);
        ck_assert(ral_attn_jsd_row(S, p, p, 1, g) == 0);
        for (size_t s = 0; s < S; s++)
            ck_assert(g[s] == 0);
    }
}
END_TEST

/* One unit in the last place apart: J is (p-q)^2 / 8m, and not rounding. */
START_TEST(close_rows_keep_their_digits)
{
    float p[] = {0.3f, 0.7f}, q[2];
    double j, want = 0;

    q[0] = nextafterf(p[0], 1);
    q[1] = nextafterf(p[1], 0);
    for (int i = 0; i < 2; i++) {
        const double d = (double)p[i] - q[i];

        want += d * d / (8 * p[i]);
    }
    j = ral_attn_jsd_row(2, p, q, 1, NULL);
    ck_assert_double_eq_tol(j / want, 1, 1e-6);
    // where the series hands over to logarithms (d = 0.01) both agree
    for (double d = 0.0099; d < 0.0101; d += 1e-5) {
        const float a[] = {(float)(0.5 + d / 2), (float)(0.5 - d / 2)};
        const float b[] = {0.5f, 0.5f};
        long double s = 0;

        for (int i = 0; i < 2; i++) {
            const long double x = a[i], m = (x + b[i]) / 2;

            s += (x * logl(x / m) + b[i] * logl(b[i] / m)) / 2;
        }
        ck_assert_double_eq_tol(ral_attn_jsd_row(2, a, b, 1, NULL) / (double)s,
                                1, 1e-12);
    }
}
END_TEST

START_TEST(never_negative_nor_above_ln2)
{
    struct ral_rng r;
    float p[MAXS], q[MAXS];

    ral_rng_init(&r, 4, 5, 6);
    for (size_t i = 0; i < 2000; i++) {
        const size_t S = 1 + ral_rng_below(&r, MAXS);
        double j;

        random_row(&r, S, p);
        if (i % 2) {
            random_row(&r, S, q);
        } else { // neighbours in float
            for (size_t s = 0; s < S; s++)
                q[s] = nextafterf(p[s], p[s] > 0.5f ? 0 : p[s]);
            q[0] = nextafterf(p[0], 1);
        }
        j = ral_attn_jsd_row(S, p, q, 1, NULL);
        ck_assert(j >= 0 && j <= M_LN2 + 1e-6);
    }
}
END_TEST

START_TEST(what_is_no_distribution)
{
    const float good[] = {0.5f, 0.5f}, zero[] = {0, 0}, sum[] = {0.5f, 0.6f};
    const float neg[] = {1.5f, -0.5f}, nan[] = {NAN, 1}, inf[] = {INFINITY, 0};
    const float *const bad[] = {sum, neg, nan, inf};
    struct ral_err err = {0};
    float d, g[2] = {0};

    ck_assert_int_eq(ral_attn_row_kind(2, good), 1);
    ck_assert_int_eq(ral_attn_row_kind(2, zero), 0);
    ck_assert_int_eq(ral_attn_row_kind(0, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(ral_attn_row_kind(2, bad[i]), -1);
        ck_assert(ral_attn_jsd_row(2, bad[i], good, 1, g) == -1);
        ck_assert_int_eq(ral_attn_jsd(1, 2, good, bad[i], &d, g, &err),
                         -RAL_EINVAL);
        ck_assert_int_eq(err.code, RAL_EINVAL);
    }
    ck_assert(ral_attn_jsd_row(2, zero, good, 1, g) == 0);
    ck_assert(ral_attn_jsd_row(2, good, zero, 1, g) == 0);
    ck_assert(ral_attn_jsd_row(0, NULL, NULL, 1, NULL) == 0);
    ck_assert(g[0] == 0 && g[1] == 0);
}
END_TEST

START_TEST(gradient_matches_finite_difference)
{
    const float h = 1e-3f, q[] = {0.6f, 0.3f, 0.1f};
    const float p[] = {0.2f, 0.3f, 0.5f};
    const float up[] = {0.2f + h, 0.3f, 0.5f - h}; // mass moves 2 -> 0
    const float lo[] = {0.2f - h, 0.3f, 0.5f + h};
    float du, dl, d, g[3] = {0};

    ck_assert_int_eq(ral_attn_jsd(1, 3, up, q, &du, NULL, NULL), 0);
    ck_assert_int_eq(ral_attn_jsd(1, 3, lo, q, &dl, NULL, NULL), 0);
    ck_assert_int_eq(ral_attn_jsd(1, 3, p, q, &d, g, NULL), 0);
    ck_assert_float_eq_tol((du - dl) / (2 * h), g[0] - g[2], 1e-3f);
}
END_TEST

START_TEST(renormalise_drops_self)
{
    const float alpha[] = {0.1f, 0.3f, 0.6f};
    const float dp[] = {2, -1};
    float p[2], da[3] = {0, 0, 5};
    const double Z = ral_attn_normalize(2, alpha, p);

    ck_assert_double_eq_tol(Z, 0.4, 1e-7);
    ck_assert_float_eq_tol(p[0], 0.25f, 1e-6f);
    ck_assert_float_eq_tol(p[1], 0.75f, 1e-6f);
    ral_attn_normalize_backward(2, Z, p, dp, da);
    // mean 0.25*2 - 0.75 = -0.25: (2.25, -0.75) / 0.4
    ck_assert_float_eq_tol(da[0], 5.625f, 1e-5f);
    ck_assert_float_eq_tol(da[1], -1.875f, 1e-5f);
    ck_assert(da[2] == 5);
}
END_TEST

START_TEST(rows_without_mass_are_skipped)
{
    const float tiny[] = {4e-13f, 5e-13f, 1}, dp[] = {1, 2};
    float p[] = {7, 7}, da[3] = {0};

    ck_assert(ral_attn_normalize(2, tiny, p) == 0);
    ck_assert(p[0] == 0 && p[1] == 0);
    ral_attn_normalize_backward(2, 0, p, dp, da);
    ck_assert(da[0] == 0 && da[1] == 0 && da[2] == 0);
    ck_assert(ral_attn_normalize(0, tiny, NULL) == 0);
    ral_attn_normalize_backward(0, 0, NULL, NULL, da);
}
END_TEST

/* The whole chain of a row: scores -> softmax per head -> head mean -> drop
 * self -> renormalise -> JSD, and the exact gradient back to the scores. */
static double chain(size_t H, size_t S, const double *s, const float *q,
                    double weight, float *p, float *ds)
{
    static float a[MAXH][MAXS + 1];
    float alpha[MAXS + 1] = {0}, dp[MAXS] = {0}, dalpha[MAXS + 1] = {0};
    double Z, j;

    for (size_t h = 0; h < H; h++) {
        double sum = 0;

        for (size_t k = 0; k <= S; k++)
            sum += exp(s[h * (S + 1) + k]);
        for (size_t k = 0; k <= S; k++) {
            a[h][k] = (float)(exp(s[h * (S + 1) + k]) / sum);
            alpha[k] += a[h][k] / (float)H;
        }
    }
    Z = ral_attn_normalize(S, alpha, p);
    j = ral_attn_jsd_row(S, p, q, weight, dp);
    if (!ds)
        return j;
    ral_attn_normalize_backward(S, Z, p, dp, dalpha);
    for (size_t h = 0; h < H; h++) {
        double mean = 0;

        for (size_t k = 0; k <= S; k++) // self too
            mean += (double)a[h][k] * dalpha[k] / (double)H;
        for (size_t k = 0; k <= S; k++)
            ds[h * (S + 1) + k] =
                (float)(a[h][k] * (dalpha[k] / (double)H - mean));
    }
    return j;
}

static size_t numbers(const json_t *row, const char *key, double *x)
{
    const json_t *list = json_object_get(row, key);
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);

        if (json_is_array(v))
            for (size_t k = 0; k < json_array_size(v); k++)
                x[n++] = json_number_value(json_array_get(v, k));
        else
            x[n++] = json_number_value(v);
    }
    return n;
}

START_TEST(chain_golden)
{
    const json_t *cases = json_object_get(golden, "attention");
    json_t *row;
    size_t c;

    json_array_foreach(cases, c, row)
    {
        const size_t H = (size_t)json_integer_value(json_object_get(row, "H"));
        const size_t S = (size_t)json_integer_value(json_object_get(row, "S"));
        double s[MAXH * (MAXS + 1)], want[MAXH * (MAXS + 1)], x[MAXS];
        const double A = json_number_value(json_object_get(row, "advantage"));
        float q[MAXS], p[MAXS], ds[MAXH * (MAXS + 1)];
        double j, top = 0, self = 0;

        ck_assert(H <= MAXH && S <= MAXS);
        ck_assert_uint_eq(numbers(row, "s", s), H * (S + 1));
        ck_assert_uint_eq(numbers(row, "q", x), S);
        for (size_t i = 0; i < S; i++)
            q[i] = (float)x[i];
        ck_assert_uint_eq(numbers(row, "ds", want), H * (S + 1));
        j = chain(H, S, s, q, A, p, ds);
        ck_assert_double_eq_tol(
            j, json_number_value(json_object_get(row, "jsd")), 1e-7);
        numbers(row, "p", x);
        for (size_t i = 0; i < S; i++)
            ck_assert_double_eq_tol(p[i], x[i], 1e-6 * x[i]);
        for (size_t i = 0; i < H * (S + 1); i++) {
            top = fmax(top, fabs(want[i]));
            if (i % (S + 1) == S)
                self = fmax(self, fabs(ds[i]));
        }
        for (size_t i = 0; i < H * (S + 1); i++)
            ck_assert_double_eq_tol(ds[i], want[i], 2e-6 * top + 1e-9);
        // with one head the self score gets none, with several it does
        if (H == 1)
            ck_assert_double_le(self, 1e-7);
        else if (S > 1)
            ck_assert_double_ge(self, 1e-5);
    }
}
END_TEST

/* Our own gradient against our own value, along random directions. */
START_TEST(chain_finite_difference)
{
    static const size_t heads[] = {1, 4};
    struct ral_rng r;

    ral_rng_init(&r, 8, 9, 10);
    for (size_t c = 0; c < 40; c++) {
        const size_t H = heads[c % 2], S = 2 + ral_rng_below(&r, 20);
        const double h = 3e-3, A = -1.5;
        double s[MAXH * (MAXS + 1)], dir[MAXH * (MAXS + 1)], num, dot = 0;
        float q[MAXS], p[MAXS], ds[MAXH * (MAXS + 1)];
        double j[2];

        random_row(&r, S, q);
        for (size_t i = 0; i < H * (S + 1); i++) {
            s[i] = 1.5 * ral_rng_normal(&r);
            dir[i] = ral_rng_normal(&r);
        }
        chain(H, S, s, q, A, p, ds);
        for (int side = 0; side < 2; side++) {
            double x[MAXH * (MAXS + 1)];

            for (size_t i = 0; i < H * (S + 1); i++)
                x[i] = s[i] + (side ? h : -h) * dir[i];
            j[side] = chain(H, S, x, q, A, p, NULL);
        }
        for (size_t i = 0; i < H * (S + 1); i++)
            dot += ds[i] * dir[i];
        num = A * (j[1] - j[0]) / (2 * h);
        ck_assert_double_eq_tol(dot, num, 1e-3 * fabs(num) + 2e-5);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("rl_attn");
    json_error_t e;
    int failed;

    golden = json_load_file(GOLDEN_TOP "/tests/golden/rl.json", 0, &e);
    if (!golden)
        return EXIT_FAILURE;
    tcase_add_test(t, disjoint_rows_reach_ln2);
    tcase_add_test(t, two_positions_by_hand);
    tcase_add_test(t, equal_rows_are_exactly_zero);
    tcase_add_test(t, close_rows_keep_their_digits);
    tcase_add_test(t, never_negative_nor_above_ln2);
    tcase_add_test(t, what_is_no_distribution);
    tcase_add_test(t, gradient_matches_finite_difference);
    tcase_add_test(t, renormalise_drops_self);
    tcase_add_test(t, rows_without_mass_are_skipped);
    tcase_add_test(t, chain_golden);
    tcase_add_test(t, chain_finite_difference);
    failed = run_tests(t);
    json_decref(golden);
    return failed;
}
