/* tests/unit/test_golden.c - the golden files agree with themselves. */
#include "golden.h"
#include "run.h"

static const char *const files[] = {"golden_a", "golden_b"};
static const char *const cases[] = {"img4x4",   "img8x8", "img10x14",
                                    "img16x24", "two",    "text"};
enum { T = 7 };

#define EACH_CASE(f, c)                          \
    for (size_t f = 0; f < 2; f++)               \
        for (size_t c = 0; c < 6; c++)

static struct ral_safetensors *open_file(size_t f, const char *tail)
{
    char name[64];

    snprintf(name, sizeof(name), "%s%s.safetensors", files[f], tail);
    return golden_open(name);
}

/* Rows of the attention policy: distributions, nothing right of self. */
START_TEST(attention_rows_are_distributions)
{
    EACH_CASE(f, c) {
        struct ral_safetensors *st = open_file(f, "");
        const struct ral_st_tensor *a =
            golden_get(st, "%s.attn_mean", cases[c]);
        const size_t N = a->shape[1];
        const size_t P = (size_t)golden_int(
            golden_get(st, "%s.prompt_len", cases[c]), 0);

        ck_assert_uint_eq(a->rank, 2);
        ck_assert_uint_eq(a->shape[0], T);
        ck_assert_uint_eq(N, P + T);
        for (size_t r = 0; r < T; r++) {
            double sum = 0;

            for (size_t j = 0; j <= P + r; j++)
                sum += golden_at(a, r * N + j);
            ck_assert_double_eq_tol(sum, 1, 1e-6);
            for (size_t j = P + r + 1; j < N; j++)
                ck_assert(golden_at(a, r * N + j) == 0);
        }
        ral_safetensors_close(st);
    }
}
END_TEST

/* Log-probabilities by hand from the logits, off by one as they are. */
START_TEST(logp_is_log_softmax_of_the_row_before)
{
    EACH_CASE(f, c) {
        struct ral_safetensors *st = open_file(f, "");
        const struct ral_st_tensor *l = golden_get(st, "%s.logits", cases[c]);
        const struct ral_st_tensor *id =
            golden_get(st, "%s.input_ids", cases[c]);
        const struct ral_st_tensor *logp =
            golden_get(st, "%s.logp", cases[c]);
        const size_t V = l->shape[1], P = id->shape[0] - T;
        double mean = 0;

        for (size_t r = 0; r < T; r++) {
            const size_t tok = (size_t)golden_int(id, P + r);
            double sum = 0, want;

            for (size_t v = 0; v < V; v++)
                sum += exp(golden_at(l, r * V + v));
            want = golden_at(l, r * V + tok) - log(sum);
            ck_assert_double_eq_tol(golden_at(logp, r), want, 2e-6);
            mean += want / T;
        }
        ck_assert_double_eq_tol(
            golden_at(golden_get(st, "%s.loss_ce", cases[c]), 0), -mean, 1e-5);
        ral_safetensors_close(st);
    }
}
END_TEST

/* The stored RAL term from the stored rows, in double. */
START_TEST(ral_loss_follows_from_the_rows)
{
    for (size_t f = 0; f < 2; f++) {
        struct ral_safetensors *st = open_file(f, "");
        struct ral_safetensors *gr = open_file(f, "_grad_two");
        const struct ral_st_tensor *a = golden_get(st, "two.attn_mean");
        const struct ral_st_tensor *q = golden_get(gr, "q");
        const size_t N = a->shape[1], P = N - T;
        double loss = 0;

        for (size_t r = 0; r < T; r++) {
            double z = 0, d = 0;

            for (size_t j = 0; j < P + r; j++)
                z += golden_at(a, r * N + j);
            for (size_t j = 0; j < P + r; j++) {
                const double p = golden_at(a, r * N + j) / z;
                const double u = golden_at(q, r * N + j), m = (p + u) / 2;

                d += (p > 0 ? p * log(p / m) : 0) / 2;
                d += (u > 0 ? u * log(u / m) : 0) / 2;
            }
            ck_assert_double_eq_tol(golden_at(golden_get(gr, "jsd"), r), d,
                                    1e-5);
            loss += golden_at(golden_get(gr, "A"), r) * d / T;
        }
        ck_assert_double_eq_tol(golden_at(golden_get(gr, "loss_ral"), 0), loss,
                                1e-5);
        ck_assert_ptr_null(golden_find(gr, "ral.model.norm.weight"));
        golden_get(gr, "ral.model.layers.2.self_attn.q_proj.weight");
        ral_safetensors_close(gr);
        ral_safetensors_close(st);
    }
}
END_TEST

/* The measures themselves: a wrong value and a NaN must not pass. */
START_TEST(measures_see_an_error)
{
    struct ral_safetensors *st = open_file(0, "");
    const struct ral_st_tensor *t = golden_get(st, "text.logits");
    float *x = golden_floats(t);
    size_t at = 0;

    golden_expect_rel(x, golden_len(t), t, 0);
    golden_expect_l2(x, golden_len(t), t, 0);
    x[5] += 0.5f;
    ck_assert_double_eq_tol(golden_max_abs(x, t, &at), 0.5, 1e-6);
    ck_assert_uint_eq(at, 5);
    ck_assert_double_eq_tol(golden_max_rel(x, t), 0.5 / golden_max(t), 1e-6);
    ck_assert(golden_l2_rel(x, t) > 0);
    x[5] = NAN;
    ck_assert(isinf(golden_max_rel(x, t)) && isinf(golden_l2_rel(x, t)));
    free(x);
    ral_safetensors_close(st);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("files");

    tcase_add_test(tc, attention_rows_are_distributions);
    tcase_add_test(tc, logp_is_log_softmax_of_the_row_before);
    tcase_add_test(tc, ral_loss_follows_from_the_rows);
    tcase_add_test(tc, measures_see_an_error);
    return run_tests(tc);
}
