/* tests/unit/test_model.c - the whole model against transformers, and itself.
 *
 * Tolerances are relative to the largest reference value: blocks 1e-5,
 * logits 1e-4, attention 5e-5 absolute, gradients 1e-4 relative L2.
 */
#include "golden.h"
#include "run.h"

#include "base/cpu.h"
#include "model/forward.h"
#include "model/generate.h"
#include "model/head.h"
#include "rl/attn_div.h"
#include "rl/attn_policy.h"

static const char *const cases[] = {"img4x4",   "img8x8", "img10x14",
                                    "img16x24", "two",    "text"};

struct fixture {
    struct ral_nn nn;
    struct ral_model *m;
    struct ral_safetensors *st;
    struct ral_arena a;
};

static void open_nn(struct fixture *f, const char *cpu, int threads)
{
    struct ral_err err = {0};
    unsigned flags;

    memset(f, 0, sizeof(*f));
    ck_assert_int_eq(ral_cpu_flags(&flags, cpu, &err), 0);
    ck_assert_msg(ral_nn_init(&f->nn, flags, threads, &err) == 0, "%s",
                  err.msg);
}

static void open_fixture(struct fixture *f, char letter, const char *cpu,
                         int threads)
{
    char name[64], *dir;
    struct ral_err err = {0};

    open_nn(f, cpu, threads);
    snprintf(name, sizeof name, "fixture_%c", letter);
    dir = golden_path(name);
    ck_assert_msg(ral_model_open(&f->m, dir, &f->nn, letter != 'c', &err) == 0,
                  "%s", err.msg);
    free(dir);
    snprintf(name, sizeof name, "golden_%c.safetensors", letter);
    f->st = golden_open(name);
}

static void close_fixture(struct fixture *f)
{
    ral_safetensors_close(f->st);
    ral_model_close(f->m);
    ral_nn_release(&f->nn);
    ral_arena_release(&f->a);
}

/* A golden case as a group of one response. */
struct example {
    int32_t *ids;
    float *patches;
    size_t P, T;
    struct ral_visual picture[4];
    struct ral_response response;
    struct ral_pack_group group;
    struct ral_pack pack;
};

static void load_example(struct fixture *f, const char *name,
                         struct example *e)
{
    const struct ral_st_tensor *grid = golden_find(f->st, "%s.grid_thw", name);
    const struct ral_st_tensor *ids = golden_get(f->st, "%s.input_ids", name);
    const float *p;
    struct ral_err err = {0};

    memset(e, 0, sizeof(*e));
    e->ids = golden_ints(ids);
    e->P = (size_t)golden_int(golden_get(f->st, "%s.prompt_len", name), 0);
    e->T = golden_len(ids) - e->P;
    if (grid) {
        const struct ral_st_tensor *pix =
            golden_get(f->st, "%s.pixel_values", name);

        p = e->patches = golden_floats(pix);
        e->group.npicture = golden_len(grid) / 3;
        for (size_t k = 0; k < e->group.npicture; k++) {
            e->picture[k].h = (size_t)golden_int(grid, 3 * k + 1);
            e->picture[k].w = (size_t)golden_int(grid, 3 * k + 2);
            e->picture[k].t = 1;
            e->picture[k].frames = f->m->config.vision.temporal;
            e->picture[k].patches = p;
            p += e->picture[k].h * e->picture[k].w * pix->shape[1];
        }
    }
    e->response = (struct ral_response){e->ids + e->P, e->T};
    e->group.prompt = e->ids;
    e->group.P = e->P;
    e->group.picture = e->picture;
    e->group.response = &e->response;
    e->group.G = 1;
    ck_assert_msg(ral_pack_build(&e->pack, f->m, &e->group, 1, &f->a, &err) ==
                      0,
                  "%s", err.msg);
}

static void free_example(struct example *e)
{
    free(e->ids);
    free(e->patches);
}

static void check_vision(struct fixture *f, const char *name,
                         struct ral_activations *act)
{
    const struct ral_vision_saved *v = &act->vision;
    const size_t depth = f->m->config.vision.depth, C = v->stack.width;
    const size_t mm = v->stack.N / v->units;
    const struct ral_st_tensor *order =
        golden_get(f->st, "%s.window_index", name);
    float *embed = malloc(v->stack.N * C * sizeof(float));

    for (size_t k = 0; k < v->units; k++) {
        ck_assert_int_eq((int)v->order[k], golden_int(order, k));
        memcpy(embed + v->order[k] * mm * C, v->block[0].x + k * mm * C,
               mm * C * sizeof(float));
    }
    golden_expect_rel(embed, v->stack.N * C,
                      golden_get(f->st, "%s.patch_embed", name), 1e-5);
    free(embed);
    for (size_t i = 0; i < depth; i++)
        golden_expect_rel(i + 1 < depth ? v->block[i + 1].x : v->x,
                          v->stack.N * C,
                          golden_get(f->st, "%s.vis_block.%zu", name, i),
                          1e-5);
}

static void check_forward(struct fixture *f, const char *name)
{
    struct example e;
    struct ral_activations act;
    struct ral_err err = {0};
    const size_t V = f->m->config.vocab, D = f->m->config.width;
    const size_t L = f->m->config.layers;
    float **policy, *alpha, logp[16];

    load_example(f, name, &e);
    policy = RAL_ZNEW(&f->a, float *, e.pack.N);
    alpha = RAL_ZNEW(&f->a, float, e.T * e.pack.N);
    for (size_t r = 0; r < e.T; r++)
        policy[e.pack.row[r]] = alpha + r * e.pack.N;
    ck_assert_int_eq(ral_forward(f->m, &e.pack, NULL, true, policy, &act,
                                 &f->a, &err),
                     0);
    if (e.group.npicture)
        check_vision(f, name, &act);
    golden_expect_rel(act.layer[0].x, e.pack.N * D,
                      golden_get(f->st, "%s.embeds", name), 1e-5);
    for (size_t i = 0; i < L; i++) {
        const struct ral_st_tensor *ref =
            golden_get(f->st, "%s.layer.%zu", name, i);
        float *x = RAL_NEW(&f->a, float, e.pack.N * D);

        // The last layer computes no row that nobody reads.
        for (size_t j = 0; j < e.pack.N * D; j++)
            x[j] = (float)golden_at(ref, j);
        if (i + 1 < L)
            memcpy(x, act.layer[i + 1].x, e.pack.N * D * sizeof(float));
        for (size_t k = 0; i + 1 == L && k < e.pack.last.nkeep; k++)
            memcpy(x + e.pack.last.keep[k] * D, act.x + k * D,
                   D * sizeof(float));
        golden_expect_rel(x, e.pack.N * D, ref, 1e-5);
    }
    golden_expect_abs(alpha, e.T * e.pack.N,
                      golden_get(f->st, "%s.attn_mean", name), 5e-5);
    ck_assert_int_eq(ral_head_logp(f->m, &e.pack, act.hidden, 1, logp, NULL,
                                   &f->a, &err),
                     0);
    golden_expect_rel(logp, e.T, golden_get(f->st, "%s.logp", name), 1e-4);
    {
        const struct ral_st_tensor *ref =
            golden_get(f->st, "%s.logits", name);
        float *logits = RAL_NEW(&f->a, float, (e.T + 1) * V);
        double lse[16];

        // The last row predicts nothing and is not computed here.
        ral_head_logits(f->m, e.T, act.hidden, 1, logits, lse);
        for (size_t j = 0; j < V; j++)
            logits[e.T * V + j] = (float)golden_at(ref, e.T * V + j);
        golden_expect_rel(logits, (e.T + 1) * V, ref, 1e-4);
    }
    free_example(&e);
    ral_arena_reset(&f->a);
}

START_TEST(forward_equals_transformers)
{
    struct fixture f;

    open_fixture(&f, _i ? 'b' : 'a', NULL, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_forward(&f, cases[i]);
    close_fixture(&f);
}
END_TEST

START_TEST(sharded_bf16_equals_transformers)
{
    struct fixture f;
    struct example e;
    struct ral_activations act;
    struct ral_err err = {0};
    const struct ral_st_tensor *ref;
    float *logits;
    double lse[16];

    open_fixture(&f, 'c', NULL, 1);
    load_example(&f, "img4x6", &e);
    ck_assert_int_eq(
        ral_forward(f.m, &e.pack, NULL, false, NULL, &act, &f.a, &err), 0);
    ref = golden_get(f.st, "img4x6.logits");
    logits = RAL_NEW(&f.a, float, golden_len(ref));
    ral_head_logits(f.m, e.T, act.hidden, 1, logits, lse);
    for (size_t j = e.T * f.m->config.vocab; j < golden_len(ref); j++)
        logits[j] = (float)golden_at(ref, j);
    golden_expect_rel(logits, golden_len(ref), ref, 1e-4);
    free_example(&e);
    close_fixture(&f);
}
END_TEST

START_TEST(greedy_tokens_equal_transformers)
{
    struct fixture f;
    const struct ral_generation gen = {
        .sampling = {0, 1, 0, 0, 0}, .samples = 1, .max_tokens = 8};
    struct ral_arena keep = {0};
    struct ral_err err = {0};

    open_fixture(&f, _i ? 'b' : 'a', NULL, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct example e;
        struct ral_generated out;

        load_example(&f, cases[i], &e);
        ck_assert_int_eq(ral_generate(f.m, &gen, &e.group, cases + i, 1, &out,
                                      &keep, &f.a, &err),
                         0);
        golden_expect_ints(out.ids, out.T,
                           golden_get(f.st, "%s.greedy_ids", cases[i]));
        free_example(&e);
    }
    ral_arena_release(&keep);
    close_fixture(&f);
}
END_TEST

/* Every tensor of the table within 1e-4, or exactly 0 where unreached. */
static void check_grad(struct fixture *f, const struct ral_safetensors *st,
                       const char *loss, const float *grad)
{
    size_t found = 0;

    for (size_t i = 0; i < f->m->table.n; i++) {
        const struct ral_tensor *t = &f->m->table.tensor[i];
        const struct ral_st_tensor *ref =
            golden_find(st, "%s.%s", loss, t->name);
        const float *g = grad + t->offset;

        if (ref) {
            golden_expect_l2(g, t->N * t->K, ref, 1e-4);
            found++;
            continue;
        }
        for (size_t k = 0; k < t->N * t->K; k++)
            ck_assert_msg(g[k] == 0, "%s: %s[%zu] is %g, want exactly 0",
                          loss, t->name, k, (double)g[k]);
    }
    ck_assert_uint_gt(found, 20);
}

/* dalpha of the loss named: c itself, or the RAL term's. */
static void policy_gradient(const struct ral_safetensors *st,
                            const struct example *e, const float *alpha,
                            float *dalpha)
{
    const size_t N = e->pack.N;
    const struct ral_st_tensor *c = golden_find(st, "c");
    float p[512], dp[512], *q, *A;
    double loss = 0;

    if (c) {
        for (size_t i = 0; i < e->T * N; i++)
            dalpha[i] = (float)golden_at(c, i);
        return;
    }
    q = golden_floats(golden_get(st, "q"));
    A = golden_floats(golden_get(st, "A"));
    for (size_t r = 0; r < e->T; r++) {
        const size_t S = e->P + r;
        const double Z = ral_attn_normalize(S, alpha + r * N, p);
        double jsd;

        memset(dp, 0, sizeof dp);
        jsd = ral_attn_jsd_row(S, p, q + r * N, (double)A[r] / (double)e->T,
                               dp);
        ck_assert_double_eq_tol(jsd, golden_at(golden_get(st, "jsd"), r),
                                1e-6);
        ral_attn_normalize_backward(S, Z, p, dp, dalpha + r * N);
        loss += (double)A[r] * jsd / (double)e->T;
    }
    ck_assert_double_eq_tol(loss, golden_at(golden_get(st, "loss_ral"), 0),
                            1e-6);
    free(q);
    free(A);
}

static void check_gradients(struct fixture *f, char letter, const char *name,
                            const char *term)
{
    struct example e;
    struct ral_activations act;
    struct ral_err err = {0};
    struct ral_safetensors *st;
    const size_t D = f->m->config.width, n = f->m->table.floats;
    float **policy, *alpha, *dalpha, *dhidden, *grad, dlogp[16];
    char file[64];

    snprintf(file, sizeof file, "golden_%c_grad_%s.safetensors", letter,
             name);
    st = golden_open(file);
    load_example(f, name, &e);
    policy = RAL_ZNEW(&f->a, float *, e.pack.N);
    alpha = RAL_ZNEW(&f->a, float, e.T * e.pack.N);
    dalpha = RAL_ZNEW(&f->a, float, e.T * e.pack.N);
    dhidden = RAL_ZNEW(&f->a, float, e.pack.U * D);
    grad = RAL_ZNEW(&f->a, float, n);
    for (size_t r = 0; r < e.T; r++)
        policy[e.pack.row[r]] = alpha + r * e.pack.N;
    ck_assert_int_eq(ral_forward(f->m, &e.pack, NULL, true, policy, &act,
                                 &f->a, &err),
                     0);
    for (size_t r = 0; r < e.T; r++)
        dlogp[r] = -1.0f / (float)e.T;
    ck_assert_int_eq(ral_head_backward(f->m, &e.pack, act.hidden, 1, dlogp,
                                       NULL, dhidden, grad, &f->a, &err),
                     0);
    ck_assert_int_eq(ral_backward(f->m, &e.pack, &act, dhidden, NULL, grad,
                                  &f->a, &err),
                     0);
    check_grad(f, st, "ce", grad);

    memset(grad, 0, n * sizeof(float));
    memset(dhidden, 0, e.pack.U * D * sizeof(float));
    policy_gradient(st, &e, alpha, dalpha);
    for (size_t r = 0; r < e.T; r++)
        policy[e.pack.row[r]] = dalpha + r * e.pack.N;
    ck_assert_int_eq(ral_backward(f->m, &e.pack, &act, dhidden,
                                  (const float *const *)policy, grad, &f->a,
                                  &err),
                     0);
    check_grad(f, st, term, grad);
    ral_safetensors_close(st);
    free_example(&e);
    ral_arena_reset(&f->a);
}

START_TEST(gradients_equal_transformers)
{
    struct fixture f;

    open_fixture(&f, _i ? 'b' : 'a', NULL, 2);
    check_gradients(&f, _i ? 'b' : 'a', "img10x14", "attn");
    check_gradients(&f, _i ? 'b' : 'a', "two", "ral");
    close_fixture(&f);
}
END_TEST

/* Hidden rows and gradients of an example; its policy has no part. */
static void run_example(struct fixture *f, const struct example *e,
                        float **hidden, float **grad)
{
    const size_t D = f->m->config.width;
    struct ral_activations act;
    struct ral_err err = {0};
    float *dhidden = RAL_ZNEW(&f->a, float, e->pack.U * D), dlogp[16];

    *grad = RAL_ZNEW(&f->a, float, f->m->table.floats);
    ck_assert_int_eq(ral_forward(f->m, &e->pack, NULL, true, NULL, &act, &f->a,
                                 &err),
                     0);
    *hidden = act.hidden;
    for (size_t r = 0; r < e->T; r++)
        dlogp[r] = -1.0f / (float)e->T;
    ck_assert_int_eq(ral_head_backward(f->m, &e->pack, act.hidden, 1, dlogp,
                                       NULL, dhidden, *grad, &f->a, &err),
                     0);
    ck_assert_int_eq(ral_backward(f->m, &e->pack, &act, dhidden, NULL, *grad,
                                  &f->a, &err),
                     0);
}

/* The example's pictures as stills of their first frames, which are held once
 * or as often as the tower takes them. */
static void make_stills(struct fixture *f, struct example *e, size_t frames)
{
    const struct ral_vision_config *v = &f->m->config.vision;
    const size_t PP = v->patch * v->patch;
    struct ral_err err = {0};

    for (size_t k = 0; k < e->group.npicture; k++) {
        struct ral_visual *p = &e->picture[k];
        const size_t n = ral_visual_rows(p) * v->channels;
        float *x = RAL_NEW(&f->a, float, n * frames * PP);

        for (size_t i = 0; i < n * frames; i++)
            memcpy(x + i * PP, p->patches + i / frames * p->frames * PP,
                   PP * sizeof(float));
        p->patches = x;
        p->frames = frames;
    }
    ck_assert_int_eq(ral_pack_build(&e->pack, f->m, &e->group, 1, &f->a, &err),
                     0);
}

START_TEST(a_still_held_once_is_the_same)
{
    struct fixture f;
    struct example e;
    float *hidden[2], *grad[2];

    open_fixture(&f, 'a', NULL, 2);
    ck_assert_uint_eq(f.m->config.vision.temporal, 2);
    load_example(&f, "two", &e);
    make_stills(&f, &e, 2);
    run_example(&f, &e, &hidden[0], &grad[0]);
    make_stills(&f, &e, 1);
    run_example(&f, &e, &hidden[1], &grad[1]);
    ck_assert(!memcmp(hidden[0], hidden[1],
                      e.pack.U * f.m->config.width * sizeof(float)));
    ck_assert(!memcmp(grad[0], grad[1], f.m->table.floats * sizeof(float)));
    free_example(&e);
    close_fixture(&f);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("model");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, forward_equals_transformers, 0, 2);
    tcase_add_test(t, sharded_bf16_equals_transformers);
    tcase_add_loop_test(t, greedy_tokens_equal_transformers, 0, 2);
    tcase_add_loop_test(t, gradients_equal_transformers, 0, 2);
    tcase_add_test(t, a_still_held_once_is_the_same);
    return run_tests(t);
}
