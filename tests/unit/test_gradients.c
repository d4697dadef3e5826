/* tests/unit/test_gradients.c - every gradient against central differences.
 *
 * The loss is ral_train_gradient's own, of the fp32 forward, summed in double.
 * Each tensor moves along random directions of unit RMS; what the loss does
 * must be what gradient times direction says.
 *
 * Steps. A loss of fp32 log-probabilities is good to some 1e-7, so a step must
 * move it by 1e-3 or so to show four digits, and a plain difference D(h) bends
 * by then: hence Richardson's (4 D(h/2) - D(h)) / 3. Each tensor starts with
 * h |g| = STEP and halves h until two such agree within AGREE. A direction that
 * happens to lie across the gradient shows nothing: errors are therefore taken
 * over some directions and relative to |g|, the root mean square of g.d over all.
 */
#include "tiny_train.h"

#define STEP 1e-2
#define AGREE 5e-4
#define TOLERANCE 1e-3

struct bench {
    struct ral_nn nn;
    struct ral_state s;
    struct ral_model *other; // reference, or teacher
    struct tiny_batch b;
    struct ral_objective o;
    struct ral_arena a;
    float *grad, *dir, *kept; // [floats] each
    uint32_t directions;
    double worst;
};

static double worst; // of all losses

static void open_model(struct bench *t, const struct tiny_sizes *z)
{
    struct ral_err err = {0};
    char *dir = tiny_checkpoint(z, 1, 5);

    memset(t, 0, sizeof(*t));
    tiny_nn(&t->nn, NULL, 1);
    TINY_OK(ral_state_open(&t->s, dir, "test", &t->nn, &err));
    tiny_remove(dir);
    t->grad = malloc(t->s.model->table.floats * sizeof(float));
    t->dir = malloc(t->s.model->table.floats * sizeof(float));
    t->kept = malloc(t->s.model->table.floats * sizeof(float));
    ck_assert(t->grad && t->dir && t->kept);
}

static void open_other(struct bench *t, const struct tiny_sizes *z,
                       double scale, uint64_t seed)
{
    struct ral_err err = {0};
    char *dir = tiny_checkpoint(z, scale, seed);

    TINY_OK(ral_model_open(&t->other, dir, &t->nn, true, &err));
    tiny_remove(dir);
}

static void close_bench(struct bench *t)
{
    free(t->kept);
    free(t->dir);
    free(t->grad);
    tiny_batch_release(&t->b);
    ral_model_close(t->other);
    ral_state_close(&t->s);
    ral_nn_release(&t->nn);
    ral_arena_release(&t->a);
}

static struct ral_step_stats gradient(struct bench *t)
{
    struct ral_step_stats stats;
    struct ral_err err = {0};

    TINY_OK(ral_train_gradient(&t->s, &t->o, t->b.list, t->b.n, &stats, &t->a,
                               &err));
    return stats;
}

/* The loss with tensor i moved by x times the direction. */
static double moved(struct bench *t, size_t i, double x)
{
    struct ral_model *m = t->s.model;
    const struct ral_tensor *k = &m->table.tensor[i];
    float *w = m->params + k->offset;

    for (size_t j = 0; j < k->N * k->K; j++)
        w[j] = (float)((double)t->kept[j] + x * (double)t->dir[j]);
    if (m->w[i].panels)
        ral_weight_pack(&t->nn, &m->w[i]);
    return gradient(t).loss;
}

static double central(struct bench *t, size_t i, double h)
{
    return (moved(t, i, h) - moved(t, i, -h)) / (2 * h);
}

/* The derivative along t->dir. */
static double slope(struct bench *t, size_t i, double h, double norm)
{
    double wide = central(t, i, h), near = central(t, i, h /= 2);
    double last, now = (4 * near - wide) / 3;
    int k = 0;

    do {
        wide = near;
        near = central(t, i, h /= 2);
        last = now;
        now = (4 * near - wide) / 3;
    } while (fabs(now - last) > AGREE * norm && ++k < 6);
    return now;
}

static void check_tensor(struct bench *t, size_t i)
{
    const struct ral_tensor *k = &t->s.model->table.tensor[i];
    const size_t n = k->N * k->K;
    const float *g = t->grad + k->offset;
    double norm = 0, err = 0;

    for (size_t j = 0; j < n; j++)
        norm += (double)g[j] * (double)g[j];
    norm = sqrt(norm);
    ck_assert_msg(norm > 0, "%s has no gradient", k->name);
    memcpy(t->kept, t->s.model->params + k->offset, n * sizeof *t->kept);
    for (uint32_t d = 0; d < t->directions; d++) {
        struct ral_rng r;
        double gd = 0, e;

        ral_rng_init(&r, 42 + d, 5, (uint32_t)i);
        tiny_fill(&r, n, 0, 1, t->dir);
        for (size_t j = 0; j < n; j++)
            gd += (double)g[j] * (double)t->dir[j];
        e = (slope(t, i, STEP / norm, norm) - gd) / norm;
        err += e * e / t->directions;
    }
    moved(t, i, 0);
    err = sqrt(err);
    t->worst = fmax(t->worst, err);
    ck_assert_msg(err < TOLERANCE, "%s: relative error %.2e of |g| %.1e",
                  k->name, err, norm);
}

static void check_all(struct bench *t, uint32_t directions, const char *what)
{
    t->directions = directions;
    gradient(t);
    memcpy(t->grad, t->s.grad, t->s.model->table.floats * sizeof(float));
    for (size_t i = 0; i < t->s.model->table.n; i += TINY_SANITIZED ? 6 : 1)
        check_tensor(t, i);
    printf("# %s: largest relative error of %zu tensors %.1e\n", what,
           t->s.model->table.n, t->worst);
    worst = fmax(worst, t->worst);
}

/* Old log-probabilities at distances from today's that leave the clip range
 * on both sides and never come near its edges (0.18 and -0.22). */
static void move_old(struct bench *t)
{
    static const float by[] = {0.06f, -0.09f, 0.5f, -0.6f, 0.02f};
    size_t n = 0;

    for (size_t i = 0; i < t->b.n; i++)
        for (size_t k = 0; k < t->b.G; k++)
            for (size_t j = 0; j < t->b.sample[i][k].T; j++)
                t->b.logp[i][k][j] += by[n++ % 5];
}

static void keep_attention(struct tiny_batch *b, float *kept[][TINY_G])
{
    memcpy(kept, b->attn, sizeof b->attn);
}

static void open_rl(struct bench *t, const struct tiny_sizes *z)
{
    float *attn[TINY_GROUPS][TINY_G];

    open_model(t, z);
    open_other(t, z, 1, 5);
    tiny_disturb(t->other, 0.03, 1); // a policy some steps away
    tiny_batch_init(&t->b, 1, 3, 1);
    tiny_batch_references(&t->b);
    t->o = tiny_objective(RAL_TASK_RL);
    t->o.ref = t->other;
    t->o.temperature = 0.9f;
    t->o.attn_coef = 50; // so that the term weighs as much as the rest
    t->o.pg.beta = 0.3;
    tiny_batch_record(&t->b, t->other, t->o.temperature);
    keep_attention(&t->b, attn);
    tiny_batch_record(&t->b, t->s.model, t->o.temperature);
    move_old(t);
    for (size_t i = 0; i < t->b.n; i++)
        for (size_t k = 0; k < t->b.G; k++)
            t->b.sample[i][k].attn_old = attn[i][k];
}

/* GRPO, its KL term and the attention term at once, p_old away from p. */
START_TEST(reinforced_attention_loss)
{
    struct ral_step_stats st;
    struct bench t;

    open_rl(&t, _i ? &tiny_tied : &tiny_untied);
    t.o.attn_reduce = _i ? RAL_REDUCE_SEQUENCE : RAL_REDUCE_TOKEN;
    st = gradient(&t);
    ck_assert(st.pg.clipped > 1 && st.pg.clipped < (double)st.pg.tokens / 2);
    ck_assert(st.pg.kl > 1e-2 && st.jsd > 1e-3 && st.attn_skipped == 0);
    ck_assert(st.attn_share > 0.3 && st.attn_share < 3);
    check_all(&t, _i ? 1 : 2, _i ? "RAL, tied head" : "RAL");
    close_bench(&t);
}
END_TEST

START_TEST(supervised_loss)
{
    struct bench t;

    open_model(&t, &tiny_tied);
    tiny_batch_init(&t.b, 2, 1, 2);
    t.o = tiny_objective(RAL_TASK_SFT);
    check_all(&t, 1, "SFT");
    close_bench(&t);
}
END_TEST

/* A teacher of another depth, width and number of heads. */
START_TEST(distillation_loss)
{
    struct ral_step_stats st;
    struct bench t;

    open_model(&t, &tiny_untied);
    open_other(&t, &tiny_large, 2, 6); // sure of itself
    tiny_batch_init(&t.b, 2, 2, 3);
    t.o = tiny_objective(RAL_TASK_DISTILL);
    t.o.teacher = t.other;
    t.o.temperature = 1.1f;
    t.o.attn_coef = 2;
    st = gradient(&t);
    ck_assert(st.kd > 1 && st.jsd > 0.1);
    check_all(&t, 1, "distillation");
    close_bench(&t);
}
END_TEST

/* Every token's ratio lies where the clip stops its gradient, so that only
 * the attention term is left. */
static void clip_all(struct bench *t)
{
    for (size_t i = 0; i < t->b.n; i++)
        for (size_t k = 0; k < t->b.G; k++)
            for (size_t j = 0; j < t->b.sample[i][k].T; j++)
                t->b.logp[i][k][j] +=
                    t->b.sample[i][k].advantage > 0 ? -2.0f : 2.0f;
    t->o.pg.beta = 0;
}

static bool reached(const struct bench *t, int tensor)
{
    const struct ral_tensor *x;

    if (tensor < 0)
        return false;
    x = &t->s.model->table.tensor[tensor];
    for (size_t j = 0; j < x->N * x->K; j++)
        if (t->s.grad[x->offset + j] != 0)
            return true;
    return false;
}

/* RAL.md: queries and keys of the last layer and all below it; not its
 * values, output, MLP and the norm before it, the final norm, the head. */
START_TEST(attention_gradient_stops_where_it_must)
{
    struct bench t;
    const struct ral_table *x;
    const struct ral_block *l;
    bool none[256] = {false};

    open_rl(&t, &tiny_untied);
    clip_all(&t);
    ck_assert(gradient(&t).jsd > 0);
    x = &t.s.model->table;
    l = &x->layer[t.s.model->config.layers - 1];
    none[l->qkv[2].w] = none[l->qkv[2].b] = none[l->proj.w] = true;
    none[l->norm2] = none[l->gate.w] = none[l->up.w] = true;
    none[l->down.w] = none[x->norm] = none[x->head] = true;
    for (size_t i = 0; i < x->n; i++)
        ck_assert_msg(reached(&t, (int)i) == !none[i], "%s: %s",
                      x->tensor[i].name,
                      none[i] ? "must be exactly 0" : "is 0");
    close_bench(&t);
}
END_TEST

/* At p_old = p the divergence and its gradient are exactly 0. */
START_TEST(no_gradient_where_nothing_moved)
{
    struct ral_step_stats st;
    struct bench t;

    open_rl(&t, _i ? &tiny_tied : &tiny_untied);
    tiny_batch_record(&t.b, t.s.model, t.o.temperature);
    clip_all(&t);
    st = gradient(&t);
    ck_assert(st.jsd == 0 && st.attn_loss == 0 && st.attn_rows > 0);
    ck_assert(st.grad_norm == 0 && st.attn_share == 0);
    for (size_t i = 0; i < t.s.model->table.n; i++)
        ck_assert_msg(!reached(&t, (int)i), "%s",
                      t.s.model->table.tensor[i].name);
    close_bench(&t);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *s = suite_create("gradients");
    TCase *t = tcase_create("gradients");
    int rc;

    (void)argc;
    tiny_passive(argv);
    tcase_set_timeout(t, 240);
    tcase_add_loop_test(t, reinforced_attention_loss, 0, 2);
    tcase_add_test(t, supervised_loss);
    tcase_add_test(t, distillation_loss);
    tcase_add_test(t, attention_gradient_stops_where_it_must);
    tcase_add_loop_test(t, no_gradient_where_nothing_moved, 0, 2);
    suite_add_tcase(s, t);
    rc = tiny_run(s);
    printf("# largest relative error %.1e\n", worst);
    return rc;
}
