/* tests/unit/test_rl.c - advantages, reductions, objectives, distillation. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "nn/kernels.h"
#include "rl/advantage.h"
#include "rl/pg.h"
#include "rl/reduce.h"

static json_t *golden;
static struct ral_kernels kernels;

static size_t floats(const json_t *row, const char *key, float *x, size_t max)
{
    const json_t *a = json_object_get(row, key);
    const size_t n = json_array_size(a);

    ck_assert(n > 0 && n <= max);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)json_number_value(json_array_get(a, i));
    return n;
}

static double number(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);

    ck_assert(json_is_number(v));
    return json_number_value(v);
}

/* k of 8 rollouts right, rewards 1.0 and 0.1: by hand, before the epsilon. */
START_TEST(advantage_of_eight)
{
    static const double want[3][3] = {
        {1, 2.4749, -0.3536}, {4, 0.9354, -0.9354}, {7, 0.3536, -2.4749}};
    const size_t G = 8;

    for (size_t c = 0; c < 3; c++) {
        double r[8], a[8], std;

        for (size_t i = 0; i < 8; i++)
            r[i] = i < (size_t)want[c][0] ? 1.0 : 0.1;
        ral_advantage(RAL_SCALE_GROUP, 1, &G, r, a);
        std = ral_sample_std(8, r);
        for (size_t i = 0; i < 8; i++) {
            const double w = want[c][r[i] == 1.0 ? 1 : 2];

            ck_assert_double_eq_tol(a[i] * (std + 1e-4) / std, w, 5e-5);
            ck_assert_double_eq_tol(a[i], w * std / (std + 1e-4), 5e-5);
        }
    }
}
END_TEST

START_TEST(equal_rewards_give_zero)
{
    const size_t G[] = {3, 1, 7};
    double r[11], a[11];

    for (size_t i = 0; i < 11; i++) // sums of 0.1 are not multiples of it
        r[i] = i < 3 ? 0.1 : 0.3;
    for (int s = RAL_SCALE_GROUP; s <= RAL_SCALE_NONE; s++) {
        memset(a, 0xff, sizeof(a));
        ral_advantage((enum ral_scale)s, 3, G, r, a);
        for (size_t i = 0; i < 11; i++)
            ck_assert(a[i] == 0);
    }
    ral_advantage(RAL_SCALE_BATCH, 0, NULL, NULL, NULL); // nothing: safe
    ck_assert(ral_sample_std(0, NULL) == 0);
}
END_TEST

START_TEST(advantage_golden)
{
    const json_t *cases = json_object_get(golden, "advantage");
    json_t *row;
    size_t c;

    ck_assert_uint_eq(json_array_size(cases), 3);
    json_array_foreach(cases, c, row)
    {
        const json_t *groups = json_object_get(row, "groups");
        const json_t *want = json_object_get(row, "advantage");
        size_t G[8], n = 0, ng = json_array_size(groups);
        double r[32], a[32];
        enum ral_scale scale;

        ck_assert_int_eq(
            ral_scale_parse(
                &scale, json_string_value(json_object_get(row, "scale")), NULL),
            0);
        for (size_t g = 0; g < ng; g++) {
            const json_t *one = json_array_get(groups, g);

            G[g] = json_array_size(one);
            for (size_t i = 0; i < G[g]; i++)
                r[n++] = json_number_value(json_array_get(one, i));
        }
        ral_advantage(scale, ng, G, r, a);
        for (size_t i = 0; i < n; i++)
            ck_assert_double_eq_tol(
                a[i], json_number_value(json_array_get(want, i)), 1e-12);
    }
}
END_TEST

START_TEST(names_are_checked)
{
    const struct ral_pg_type *type;
    struct ral_err err = {0};
    enum ral_reduce how;
    enum ral_scale scale;

    ck_assert_int_eq(ral_scale_parse(&scale, "std", &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_reduce_parse(&how, "mean", &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_pg_find(&type, "dapo", &err), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "dapo"));
    ck_assert_int_eq(ral_reduce_parse(&how, "sum", NULL), 0);
    ck_assert_int_eq(how, RAL_REDUCE_SUM);
}
END_TEST

START_TEST(reductions_average)
{
    static const size_t T[] = {2, 0, 5, 1};
    struct ral_total step = {0};
    double sum[3] = {0};

    for (size_t i = 0; i < 4; i++)
        ral_total_add(&step, T[i]);
    ck_assert_uint_eq(step.sequences, 3);
    ck_assert_uint_eq(step.tokens, 8);
    for (int how = RAL_REDUCE_TOKEN; how <= RAL_REDUCE_SUM; how++)
        for (size_t i = 0; i < 4; i++)
            sum[how] += (double)T[i] *
                        ral_reduce_weight((enum ral_reduce)how, T[i], &step);
    ck_assert_double_eq_tol(sum[RAL_REDUCE_TOKEN], 1, 1e-15);
    ck_assert_double_eq_tol(sum[RAL_REDUCE_SEQUENCE], 1, 1e-15);
    ck_assert_double_eq(sum[RAL_REDUCE_SUM], 8);
    ck_assert_double_eq_tol(ral_reduce_weight(RAL_REDUCE_SEQUENCE, 5, &step),
                            1. / 15, 1e-16);
}
END_TEST

static struct ral_pg grpo(double low, double high, double beta)
{
    struct ral_pg pg = {.eps_low = low, .eps_high = high, .beta = beta};

    ck_assert_int_eq(ral_pg_find(&pg.type, "grpo", NULL), 0);
    return pg;
}

/* ratio e^0.5 = 1.6487, clipped at 1.2 for A > 0 and not for A < 0. */
START_TEST(grpo_by_hand)
{
    const struct ral_pg pg = grpo(0.2, 0.2, 0);
    const float up[] = {-0.5f}, down[] = {-1.5f}, old[] = {-1.0f};
    struct ral_pg_sums sums = {0};
    float g = 0;
    double loss;

    struct ral_pg_seq s = {1, up, old, NULL, 2};
    loss = ral_pg_loss(&pg, &s, 0.5, &g, &sums);
    ck_assert_double_eq_tol(loss, -1.2, 1e-12);
    ck_assert(g == 0 && sums.clipped == 1);

    s.advantage = -2;
    loss = ral_pg_loss(&pg, &s, 0.5, &g, &sums);
    ck_assert_double_eq_tol(loss, 1.6487212707, 1e-9);
    ck_assert_float_eq_tol(g, 1.6487213f, 1e-6);
    ck_assert(sums.clipped == 1 && sums.tokens == 2);

    g = 0;
    s.logp = down; // e^-0.5 = 0.6065: clipped at 0.8 for A < 0
    loss = ral_pg_loss(&pg, &s, 0.5, &g, &sums);
    ck_assert_double_eq_tol(loss, 0.8, 1e-12);
    ck_assert(g == 0 && sums.clipped == 2);
    s.advantage = 2;
    loss = ral_pg_loss(&pg, &s, 0.5, &g, &sums);
    ck_assert_double_eq_tol(loss, -0.6065306597, 1e-9);
    ck_assert_double_eq(sums.dlogp_max, 0.5);
    ck_assert_double_eq(sums.dlogp, 2);
}
END_TEST

START_TEST(first_update_is_exact)
{
    const struct ral_pg pg = grpo(0.2, 0.2, 0.04);
    const float lp[] = {-0.1f, -7.25f, -1e-9f, 0};
    const struct ral_pg_seq s = {4, lp, lp, lp, 0.75};
    struct ral_pg_sums sums = {0};
    float g[4] = {1, 1, 1, 1}; // gradients are added to what is there

    ck_assert(ral_pg_loss(&pg, &s, 0.25, g, &sums) == -0.75);
    for (size_t t = 0; t < 4; t++)
        ck_assert(g[t] == 1 - 0.75f / 4);
    ck_assert(sums.ratio == 4 && sums.kl == 0 && sums.dlogp == 0);
    ck_assert(sums.clipped == 0 && sums.surrogate == 3);
    ck_assert(ral_pg_loss(&pg, &s, 0.25, NULL, NULL) == -0.75);
}
END_TEST

START_TEST(k3_has_no_cancellation)
{
    ck_assert(ral_k3(0) == 0);
    ck_assert_double_eq_tol(ral_k3(1), exp(1) - 2, 1e-15);
    ck_assert_double_eq_tol(ral_k3(-1), exp(-1), 1e-15);
    for (double x = 1e-30; x < 1; x *= 7) { // against x^2/2 (1 + x/3 + x^2/12)
        const double series = x * x / 2 * (1 + x / 3 + x * x / 12);
        const double tol = 1e-9 + x * x * x / 50;

        ck_assert_double_eq_tol(ral_k3(x) / series, 1, tol);
        ck_assert(ral_k3(-x) > 0);
    }
}
END_TEST

START_TEST(grpo_golden)
{
    const json_t *cases = json_object_get(golden, "grpo");
    size_t c, clipped = 0;
    json_t *row;

    json_array_foreach(cases, c, row)
    {
        const struct ral_pg pg =
            grpo(number(row, "low"), number(row, "high"), number(row, "beta"));
        float lp[16], old[16], ref[16], want[16], g[16] = {0};
        const size_t T = floats(row, "logp", lp, 16);
        struct ral_pg_sums sums = {0};
        struct ral_total step = {0};
        struct ral_pg_seq s = {T, lp, old, ref, number(row, "advantage")};
        double w, loss;

        floats(row, "logp_old", old, 16);
        floats(row, "logp_ref", ref, 16);
        floats(row, "dlogp", want, 16);
        ral_total_add(&step, T);
        w = ral_reduce_weight(pg.type->reduce, T, &step);
        loss = ral_pg_loss(&pg, &s, w, g, &sums);
        ck_assert_double_eq_tol(loss, number(row, "loss"), 1e-12);
        ck_assert_double_eq_tol(sums.surrogate, number(row, "surrogate"),
                                1e-12);
        ck_assert_double_eq_tol(sums.kl, number(row, "kl"), 1e-12);
        for (size_t t = 0; t < T; t++)
            ck_assert_float_eq_tol(g[t], want[t], 2e-7f);
        clipped += (size_t)sums.clipped;
    }
    ck_assert_uint_gt(clipped, 3); // the cases do reach the clip
}
END_TEST

START_TEST(distill_golden)
{
    const json_t *cases = json_object_get(golden, "distill");
    json_t *row;
    size_t c;

    json_array_foreach(cases, c, row)
    {
        static float lp[512], lq[512], want[512], g[512];
        const size_t V = floats(row, "logp", lp, 512);
        double sum = 0;

        floats(row, "logq", lq, 512);
        floats(row, "dlogits", want, 512);
        memset(g, 0, sizeof(g));
        ck_assert_double_eq_tol(
            kernels.reverse_kl(V, lp, 0, lq, 0, -2, g), number(row, "kl"),
            1e-6);
        for (size_t v = 0; v < V; v++) {
            ck_assert_float_eq_tol(g[v], -2 * want[v], 1e-6f);
            sum += g[v];
        }
        ck_assert_double_eq_tol(sum, 0, 1e-5);
    }
}
END_TEST

/* Central differences of the value itself, through a softmax in double. */
START_TEST(distill_finite_difference)
{
    enum { V = 5 };
    const double z[V] = {0.3, -1.2, 2.0, 0.1, -0.4}, h = 1e-3;
    const float lq[V] = {-1, -2, -0.9f, -3, -2.1f};
    float lp[V], g[V] = {0};

    for (int v = -1; v < V; v++) {
        double kl[2];

        for (int side = 0; side < 2; side++) {
            double x[V], sum = 0;

            memcpy(x, z, sizeof(x));
            if (v >= 0)
                x[v] += side ? h : -h;
            for (int i = 0; i < V; i++)
                sum += exp(x[i]);
            for (int i = 0; i < V; i++)
                lp[i] = (float)(x[i] - log(sum));
            kl[side] = kernels.reverse_kl(V, lp, 0, lq, 0, 1,
                                          v < 0 && side ? g : NULL);
        }
        if (v >= 0)
            ck_assert_double_eq_tol((kl[1] - kl[0]) / (2 * h), g[v], 2e-4);
    }
}
END_TEST

START_TEST(distill_edges)
{
    const float half[] = {-0.69314718f, -0.69314718f, -INFINITY};
    const float one[] = {0, -INFINITY, -INFINITY};
    float g[3] = {0};

    ck_assert(kernels.reverse_kl(3, half, 0, half, 0, 1, g) == 0);
    ck_assert(g[0] == 0 && g[1] == 0 && g[2] == 0);
    ck_assert_double_eq_tol(kernels.reverse_kl(3, one, 0, half, 0, 1, g), M_LN2,
                            1e-7);
    ck_assert(g[0] == 0 && g[1] == 0 && g[2] == 0);
    ck_assert(isinf(kernels.reverse_kl(3, half, 0, one, 0, 1, NULL)));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rl");
    TCase *t = tcase_create("rl");
    json_error_t e;
    int failed;

    ral_kernels_init(&kernels, 0);
    golden = json_load_file(GOLDEN_TOP "/tests/golden/rl.json", 0, &e);
    if (!golden)
        return EXIT_FAILURE;
    tcase_add_test(t, advantage_of_eight);
    tcase_add_test(t, equal_rewards_give_zero);
    tcase_add_test(t, advantage_golden);
    tcase_add_test(t, names_are_checked);
    tcase_add_test(t, reductions_average);
    tcase_add_test(t, grpo_by_hand);
    tcase_add_test(t, first_update_is_exact);
    tcase_add_test(t, k3_has_no_cancellation);
    tcase_add_test(t, grpo_golden);
    tcase_add_test(t, distill_golden);
    tcase_add_test(t, distill_finite_difference);
    tcase_add_test(t, distill_edges);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    json_decref(golden);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
