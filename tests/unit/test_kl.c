/* tests/unit/test_kl.c - distance of a student's next token from a teacher's. */
#include "tiny.h"

#include <jansson.h>

static json_t *golden;
static struct ral_dev *dev;

static size_t floats(const json_t *row, const char *key, float *x, size_t max)
{
    const json_t *a = json_object_get(row, key);
    const size_t n = json_array_size(a);

    ck_assert(n > 0 && n <= max);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)json_number_value(json_array_get(a, i));
    return n;
}

/* The machine's, of rows that are log-probabilities already. */
static double reverse_kl(size_t V, const float *lp, const float *lq,
                         double weight, float *dlogits)
{
    const double zero = 0;
    const float none[512] = {0};
    struct ral_op_kl o;
    struct ral_err err = {0};
    struct ral_space a;
    float nats;

    ral_space_init(&a, dev);
    o = (struct ral_op_kl){
        .dx = ral_mat_put(&a, RAL_F32, 1, V, dlogits ? dlogits : none),
        .x = ral_mat_put(&a, RAL_F32, 1, V, lp),
        .y = ral_mat_put(&a, RAL_F32, 1, V, lq),
        .lse = ral_mat_put(&a, RAL_F64, 1, 1, &zero),
        .lse_y = ral_mat_put(&a, RAL_F64, 1, 1, &zero),
        .weight = ral_mat_put(&a, RAL_F64, 1, 1, &weight),
        .nats = ral_mat_f32(&a, 1, 1)};
    dev->ops->kl(dev, &o);
    TINY_OK(ral_get(dev, &nats, o.nats, &err));
    if (dlogits)
        TINY_OK(ral_get(dev, dlogits, o.dx, &err));
    ral_space_release(&a);
    return (double)nats;
}

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
        ck_assert_double_eq_tol(reverse_kl(V, lp, lq, -2, g),
                                json_number_value(json_object_get(row, "kl")),
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
            kl[side] = reverse_kl(V, lp, lq, 1, v < 0 && side ? g : NULL);
        }
        if (v >= 0)
            ck_assert_double_eq_tol((kl[1] - kl[0]) / (2 * h), g[v], 2e-4);
    }
}
END_TEST

START_TEST(equal_rows_have_none)
{
    const float row[] = {-0.3f, -1.7f, -2.9f, -100};
    float g[4] = {0};

    ck_assert(reverse_kl(4, row, row, 1, g) == 0);
    for (int i = 0; i < 4; i++)
        ck_assert(g[i] == 0);
}
END_TEST

static void open_all(void)
{
    char *path = golden_path("rl.json");
    json_error_t e;

    golden = json_load_file(path, 0, &e);
    free(path);
    ck_assert_ptr_nonnull(golden);
    dev = tiny_dev(NULL, 1);
}

static void close_all(void)
{
    ral_dev_close(dev);
    json_decref(golden);
}

int main(void)
{
    TCase *t = tcase_create("kl");

    tcase_add_unchecked_fixture(t, open_all, close_all);
    tcase_add_test(t, distill_golden);
    tcase_add_test(t, distill_finite_difference);
    tcase_add_test(t, equal_rows_have_none);
    return run_tests(t);
}
