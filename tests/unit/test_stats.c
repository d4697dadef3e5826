/* tests/unit/test_stats.c - intervals, against hand and float64 references. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/stats.h"
#include "run.h"

static json_t *golden;

static double number(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);

    ck_assert(json_is_number(v));
    return json_number_value(v);
}

START_TEST(t_quantiles)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(golden, "t"), i, row)
        ck_assert_double_eq_tol(ral_t975((size_t)number(row, "df")),
                                number(row, "t"), 1e-8);
    ck_assert_double_eq_tol(ral_t975(0), 1.96, 1e-4);
    ck_assert_double_eq_tol(ral_t975(1), tan(0.95 * M_PI / 2), 1e-12);
    // the expansion takes over without a step
    for (size_t df = 2; df < 400; df++) {
        const double now = ral_t975(df), before = ral_t975(df - 1);

        ck_assert(now < before);
        if (df > 150)
            ck_assert_double_eq_tol((before - now) * (double)(df * (df - 1)),
                                    2.4, 0.06);
    }
    ck_assert_double_eq_tol(ral_t975((size_t)1 << 40), 1.959963984540, 1e-11);
}
END_TEST

START_TEST(wilson_golden)
{
    struct ral_interval ci;
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(golden, "wilson"), i, row)
    {
        ral_wilson((size_t)number(row, "right"), (size_t)number(row, "n"), &ci);
        ck_assert_double_eq_tol(ci.lo, number(row, "lo"), 1e-12);
        ck_assert_double_eq_tol(ci.hi, number(row, "hi"), 1e-12);
    }
    ral_wilson(0, 20, &ci); // z^2 / (n + z^2), by hand
    ck_assert_double_eq_tol(ci.hi, 3.8414588207 / 23.8414588207, 1e-10);
    ck_assert(ci.lo == 0 && ci.mean == 0);
    ral_wilson(0, 0, &ci);
    ck_assert(isnan(ci.mean) && ci.lo == 0 && ci.hi == 1 && ci.n == 0);
}
END_TEST

START_TEST(clustered_golden)
{
    json_t *row;
    size_t c;

    json_array_foreach(json_object_get(golden, "clustered"), c, row)
    {
        static char name[256][8];
        struct ral_result x[256];
        const json_t *value = json_object_get(row, "x");
        const json_t *cluster = json_object_get(row, "cluster");
        const size_t n = json_array_size(value);
        struct ral_interval ci;
        double half;

        ck_assert(n <= 256);
        for (size_t i = 0; i < n; i++) {
            snprintf(name[i], sizeof(name[i]), "c%d",
                     (int)json_integer_value(json_array_get(cluster, i)));
            x[i] = (struct ral_result){
                NULL, name[i], json_number_value(json_array_get(value, i))};
        }
        ck_assert_int_eq(ral_accuracy(x, n, &ci, NULL), 0);
        half = number(row, "t") * number(row, "se");
        ck_assert_double_eq_tol(ci.mean, number(row, "mean"), 1e-12);
        ck_assert_double_eq_tol(ci.se, number(row, "se"), 1e-12);
        ck_assert_uint_eq(ci.clusters, (size_t)number(row, "clusters"));
        ck_assert_double_eq_tol(ci.lo, fmax(0, ci.mean - half), 1e-8);
        ck_assert_double_eq_tol(ci.hi, fmin(1, ci.mean + half), 1e-8);
    }
}
END_TEST

/* Values 1 2 3 6: mean 3, s^2 = 14/3, se = sqrt(14/12), t(3) = 3.1824. */
START_TEST(mean_by_hand)
{
    struct ral_result x[] = {
        {"a", NULL, 1}, {"b", NULL, 2}, {"c", NULL, 3}, {"d", NULL, 6}};
    struct ral_interval ci;

    ck_assert_int_eq(ral_mean(x, 4, -100, 100, &ci, NULL), 0);
    ck_assert_double_eq(ci.mean, 3);
    ck_assert_double_eq_tol(ci.se, sqrt(14. / 12), 1e-15);
    ck_assert_double_eq_tol(ci.hi - ci.mean, 3.182446305 * ci.se, 1e-8);
    ck_assert_uint_eq(ci.clusters, 4);

    // {a, b} and {c, d}: residuals -3 and +3, se^2 = 2 * 18 / 16
    x[0].cluster = x[1].cluster = "left";
    x[2].cluster = x[3].cluster = "right";
    ck_assert_int_eq(ral_mean(x, 4, -100, 100, &ci, NULL), 0);
    ck_assert_double_eq_tol(ci.se, 1.5, 1e-15);
    ck_assert_uint_eq(ci.clusters, 2);
    ck_assert_double_eq_tol(ci.lo, 3 - 1.5 * 12.706204736, 1e-7);
    ck_assert_int_eq(ral_mean(x, 4, 0, 10, &ci, NULL), 0);
    ck_assert(ci.lo == 0 && ci.hi == 10);
}
END_TEST

/* Copying every row into its cluster must not narrow the interval. */
START_TEST(copies_add_nothing)
{
    static char name[40][8];
    struct ral_result x[120];
    struct ral_interval one, three;

    for (size_t i = 0; i < 120; i++) {
        snprintf(name[i % 40], sizeof(name[0]), "%zu", i % 40);
        x[i] = (struct ral_result){NULL, name[i % 40], i % 40 % 3 == 0};
    }
    ck_assert_int_eq(ral_mean(x, 40, 0, 1, &one, NULL), 0);
    ck_assert_int_eq(ral_mean(x, 120, 0, 1, &three, NULL), 0);
    ck_assert_double_eq_tol(one.lo, three.lo, 1e-12);
    ck_assert_double_eq_tol(one.hi, three.hi, 1e-12);
    ck_assert_int_eq(ral_accuracy(x, 40, &one, NULL), 0); // none shared
    ral_wilson(14, 40, &three);
    ck_assert(one.lo == three.lo && one.hi == three.hi);
}
END_TEST

START_TEST(degenerate)
{
    struct ral_result x[] = {
        {"a", "k", 1}, {"b", "k", 1}, {"c", "l", 1}, {"d", "l", 1}};
    struct ral_interval ci, w;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_accuracy(x, 0, &ci, NULL), 0);
    ck_assert(isnan(ci.mean) && ci.lo == 0 && ci.hi == 1);
    ck_assert_int_eq(ral_accuracy(NULL, 0, &ci, NULL), 0);

    ck_assert_int_eq(ral_accuracy(x, 4, &ci, NULL), 0); // all right
    ral_wilson(2, 2, &w);
    ck_assert(ci.mean == 1 && ci.hi == 1 && ci.lo == w.lo);
    for (int i = 0; i < 4; i++)
        x[i].value = 0;
    ck_assert_int_eq(ral_accuracy(x, 4, &ci, NULL), 0);
    ck_assert(ci.mean == 0 && ci.lo == 0);
    ck_assert_double_eq_tol(ci.hi, 1 - w.lo, 1e-12);

    x[0].value = 1;
    ck_assert_int_eq(ral_accuracy(x, 2, &ci, NULL), 0); // one cluster
    ck_assert(ci.mean == 0.5 && ci.lo == 0 && ci.hi == 1 && isnan(ci.se));
    ck_assert_int_eq(ral_accuracy(x, 1, &ci, NULL), 0); // one row
    ck_assert(ci.lo > 0.2 && ci.hi == 1);

    x[1].value = 0.5;
    ck_assert_int_eq(ral_accuracy(x, 4, &ci, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "b"));
    x[2].value = NAN;
    ck_assert_int_eq(ral_mean(x, 4, 0, 1, &ci, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "c"));
}
END_TEST

/* before 1 0 0 1, after 1 1 0 1 in another order: differences 0 1 0 0. */
START_TEST(paired_by_hand)
{
    const struct ral_result a[] = {{"p", NULL, 1},
                                   {"q", NULL, 0},
                                   {"r", NULL, 0},
                                   {"s", NULL, 1},
                                   {"only-a", NULL, 1}};
    struct ral_result b[] = {{"s", NULL, 1}, {"only-b", NULL, 0},
                             {"r", NULL, 0}, {"only-c", NULL, 0},
                             {"q", NULL, 1}, {"p", NULL, 1}};
    struct ral_interval ci;
    struct ral_err err = {0};
    size_t unpaired;

    ck_assert_int_eq(ral_paired(a, 5, b, 6, &ci, &unpaired, NULL), 0);
    ck_assert_uint_eq(unpaired, 3);
    ck_assert_uint_eq(ci.n, 4);
    ck_assert_double_eq(ci.mean, 0.25);
    ck_assert_double_eq_tol(ci.se, 0.25, 1e-15); // s^2 = 1/4, n = 4
    ck_assert_double_eq_tol(ci.lo, 0.25 - 3.182446305 * 0.25, 1e-8);

    ck_assert_int_eq(ral_paired(b, 6, a, 5, &ci, NULL, NULL), 0);
    ck_assert_double_eq(ci.mean, -0.25);
    ck_assert_int_eq(ral_paired(a, 5, a, 5, &ci, &unpaired, NULL), 0);
    ck_assert(ci.mean == 0 && ci.lo == 0 && ci.hi == 0 && unpaired == 0);
    ck_assert_int_eq(ral_paired(a, 5, b, 0, &ci, &unpaired, NULL), 0);
    ck_assert(isnan(ci.mean) && ci.lo == -1 && ci.hi == 1 && unpaired == 5);

    b[0].cluster = b[2].cluster = "k"; // s and r: differences 0 and 0
    b[4].cluster = b[5].cluster = "l"; // q and p: 1 and 0
    ck_assert_int_eq(ral_paired(a, 5, b, 6, &ci, NULL, NULL), 0);
    ck_assert_uint_eq(ci.clusters, 2);
    ck_assert_double_eq_tol(ci.se, sqrt(2 * 2 * 0.25) / 4, 1e-15);

    b[2].id = "s";
    ck_assert_int_eq(ral_paired(a, 5, b, 6, &ci, NULL, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "'s'"));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("stats");
    json_error_t e;
    int failed;

    golden = json_load_file(GOLDEN_TOP "/tests/golden/rl.json", 0, &e);
    if (!golden)
        return EXIT_FAILURE;
    tcase_add_test(t, t_quantiles);
    tcase_add_test(t, wilson_golden);
    tcase_add_test(t, clustered_golden);
    tcase_add_test(t, mean_by_hand);
    tcase_add_test(t, copies_add_nothing);
    tcase_add_test(t, degenerate);
    tcase_add_test(t, paired_by_hand);
    failed = run_tests(t);
    json_decref(golden);
    return failed;
}
