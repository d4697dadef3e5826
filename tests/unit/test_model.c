/* tests/unit/test_model.c - the whole model against transformers, and itself.
 *
 * Tolerances are relative to the largest reference value: blocks 1e-5,
 * logits 1e-4, attention 5e-5 absolute, gradients 1e-4 relative L2.
 */
#include "tiny.h"

#include "model/head.h"
#include "rl/attn_div.h"
#include "rl/attn_policy.h"

static const char *const cases[] = {"img4x4",   "img8x8", "img10x14",
                                    "img16x24", "two",    "text"};

struct fixture {
    struct ral_dev *dev;
    struct ral_model *m;
    struct ral_safetensors *st;
    struct ral_space a;
};

static void open_fixture(struct fixture *f, char letter, const char *cpu,
                         int threads)
{
    char name[64], *dir;
    struct ral_err err = {0};

    memset(f, 0, sizeof(*f));
    f->dev = tiny_dev(cpu, threads);
    ral_space_init(&f->a, f->dev);
    snprintf(name, sizeof name, "fixture_%c", letter);
    dir = golden_path(name);
    TINY_OK(ral_model_open(&f->m, dir, f->dev, letter != 'c', &err));
    free(dir);
    snprintf(name, sizeof name, "golden_%c.safetensors", letter);
    f->st = golden_open(name);
}

static void close_fixture(struct fixture *f)
{
    ral_safetensors_close(f->st);
    ral_model_close(f->m);
    ral_space_release(&f->a);
    ral_dev_close(f->dev);
}

/* A golden case as a group of one response. */
struct example {
    int32_t *ids;
    float *patches;
    size_t P, T;
    struct ral_visual visual[4];
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
        e->group.nvisual = golden_len(grid) / 3;
        for (size_t k = 0; k < e->group.nvisual; k++) {
            e->visual[k].h = (size_t)golden_int(grid, 3 * k + 1);
            e->visual[k].w = (size_t)golden_int(grid, 3 * k + 2);
            e->visual[k].t = 1;
            e->visual[k].frames = f->m->config.vision.temporal;
            e->visual[k].patches = p;
            p += e->visual[k].h * e->visual[k].w * pix->shape[1];
        }
    }
    e->response = (struct ral_response){e->ids + e->P, e->T};
    e->group.prompt = e->ids;
    e->group.P = e->P;
    e->group.visual = e->visual;
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

/* What a view holds, within tol of the largest reference value. */
static void expect_rel(struct fixture *f, struct ral_mat x,
                       const struct ral_st_tensor *ref, double tol)
{
    float *y = tiny_get(f->dev, x);

    golden_expect_rel(y, x.rows * x.cols, ref, tol);
    free(y);
}

/* Raster order of what lies in window order. */
static struct ral_mat raster(struct fixture *f, const struct ral_tower_tape *t,
                             struct ral_mat x)
{
    const struct ral_mat y = ral_mat_f32(&f->a, x.rows, x.cols);
    const size_t unit = t->patches / t->units * x.cols;

    RAL_DO(f->dev, scatter, ral_mat_shaped(y, t->units, unit),
           ral_mat_shaped(x, t->units, unit), t->order, false);
    return y;
}

static void check_tower(struct fixture *f, const char *name,
                        const struct ral_tower_tape *t)
{
    const size_t depth = f->m->config.vision.depth;
    int32_t *order = RAL_NEW(&f->a.host, int32_t, t->units);
    struct ral_err err = {0};

    TINY_OK(ral_get(f->dev, order, t->order, &err));
    golden_expect_ints(order, t->units,
                       golden_get(f->st, "%s.window_index", name));
    expect_rel(f, raster(f, t, t->block[0].norm1.x),
               golden_get(f->st, "%s.patch_embed", name), 1e-5);
    for (size_t i = 0; i < depth; i++)
        expect_rel(f, i + 1 < depth ? t->block[i + 1].norm1.x : t->norm.x,
                   golden_get(f->st, "%s.vis_block.%zu", name, i), 1e-5);
}

static void check_layers(struct fixture *f, const char *name,
                         const struct ral_tape *tape)
{
    const size_t L = f->m->config.layers;

    expect_rel(f, tape->layer[0].norm1.x,
               golden_get(f->st, "%s.embeds", name), 1e-5);
    for (size_t i = 0; i + 1 < L; i++)
        expect_rel(f, tape->layer[i + 1].norm1.x,
                   golden_get(f->st, "%s.layer.%zu", name, i), 1e-5);
}

/* The last layer's rows that predict are what the final norm took in. */
static void check_last(struct fixture *f, const char *name,
                       const struct example *e, const struct ral_tape *tape)
{
    const size_t L = f->m->config.layers, D = f->m->config.width;
    const struct ral_st_tensor *ref =
        golden_get(f->st, "%s.layer.%zu", name, L - 1);
    float *want = golden_floats(ref), *x = tiny_get(f->dev, tape->norm.x);

    memcpy(want + (e->P - 1) * D, x, e->pack.U * D * sizeof *x);
    golden_expect_rel(want, e->pack.N * D, ref, 1e-5);
    free(want);
    free(x);
}

/* Rows of P + t + 1 numbers to rows [T][N], zeros behind. */
static float *square_rows(const struct example *e, const float *look)
{
    float *x = calloc(e->T * e->pack.N, sizeof *x);

    for (size_t r = 0; r < e->T; r++)
        memcpy(x + r * e->pack.N, look + e->pack.look[r],
               e->pack.keys[r] * sizeof *x);
    return x;
}

static struct ral_look_conf last_mean(const struct fixture *f)
{
    return (struct ral_look_conf){{(int32_t)f->m->config.layers - 1}, 1,
                                  false};
}

static void check_logits(struct fixture *f, const struct example *e,
                         struct ral_mat hidden,
                         const struct ral_st_tensor *ref)
{
    const size_t V = f->m->config.vocab;
    const struct ral_mat logits = ral_mat_f32(&f->a, e->T, V);
    const struct ral_mat lse = ral_mat_new(&f->a, RAL_F64, 1, e->T);
    float *want = golden_floats(ref), *x;

    // The last row predicts nothing and is not computed here.
    ral_head_logits(f->m, hidden, 1, logits, lse);
    x = tiny_get(f->dev, logits);
    memcpy(want, x, e->T * V * sizeof *x);
    golden_expect_rel(want, golden_len(ref), ref, 1e-4);
    free(want);
    free(x);
}

static void check_forward(struct fixture *f, const char *name)
{
    const struct ral_look_conf look = last_mean(f);
    struct example e;
    struct ral_forward out;
    struct ral_tape tape;
    struct ral_err err = {0};
    float *x, *rows, logp[16];

    load_example(f, name, &e);
    TINY_OK(ral_forward(f->m, &e.pack, NULL, &look, &tape, &out, &f->a, &err));
    if (e.group.nvisual)
        check_tower(f, name, &tape.tower);
    check_layers(f, name, &tape);
    check_last(f, name, &e, &tape);
    x = tiny_get(f->dev, out.look);
    rows = square_rows(&e, x);
    golden_expect_abs(rows, e.T * e.pack.N,
                      golden_get(f->st, "%s.attn_mean", name), 5e-5);
    free(rows);
    free(x);
    TINY_OK(ral_head_logp(f->m, &e.pack, out.hidden, 1, logp, NULL, &f->a,
                          &err));
    golden_expect_rel(logp, e.T, golden_get(f->st, "%s.logp", name), 1e-4);
    check_logits(f, &e, out.hidden, golden_get(f->st, "%s.logits", name));
    free_example(&e);
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
    struct ral_forward out;
    struct ral_err err = {0};

    open_fixture(&f, 'c', NULL, 1);
    load_example(&f, "img4x6", &e);
    TINY_OK(ral_forward(f.m, &e.pack, NULL, NULL, NULL, &out, &f.a, &err));
    check_logits(&f, &e, out.hidden, golden_get(f.st, "img4x6.logits"));
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
        TINY_OK(ral_generate(f.m, &gen, &e.group, cases + i, 1, &out, &keep,
                             &f.a, &err));
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

/* dalpha [T][N] of the loss named: c itself, or the RAL term's. */
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

/* The gradient of rows [T][N] where the forward has its rows. */
static struct ral_mat put_rows(struct fixture *f, const struct example *e,
                               const float *rows)
{
    const struct ral_pack *p = &e->pack;
    float *x = RAL_NEW(&f->a.host, float, p->look[p->R]);

    for (size_t r = 0; r < e->T; r++)
        memcpy(x + p->look[r], rows + r * p->N, p->keys[r] * sizeof *x);
    return ral_mat_put(&f->a, RAL_F32, 1, p->look[p->R], x);
}

/* The backward of an example: of its mean cross-entropy when rows is NULL,
 * else of those gradients of its attention rows alone. */
static struct ral_mat backward(struct fixture *f, const struct example *e,
                               const struct ral_tape *tape,
                               struct ral_mat hidden, const float *rows)
{
    const struct ral_look_conf look = last_mean(f);
    const struct ral_mat grad = ral_mat_zero(&f->a, 1, f->m->table.floats);
    const struct ral_mat dhidden =
        ral_mat_zero(&f->a, e->pack.U, f->m->config.width);
    struct ral_mat dlook = {0};
    struct ral_err err = {0};
    float dlogp[16];

    for (size_t r = 0; r < e->T; r++)
        dlogp[r] = -1.0f / (float)e->T;
    if (rows)
        dlook = put_rows(f, e, rows);
    else
        TINY_OK(ral_head_backward(f->m, &e->pack, hidden, 1, dlogp, NULL,
                                  dhidden, grad, &f->a, &err));
    ral_backward(f->m, &e->pack, tape, &look, dhidden, dlook, grad, &f->a);
    return grad;
}

static void check_gradients(struct fixture *f, char letter, const char *name,
                            const char *term)
{
    const struct ral_look_conf look = last_mean(f);
    struct example e;
    struct ral_forward out;
    struct ral_tape tape;
    struct ral_err err = {0};
    struct ral_safetensors *st;
    float *x, *rows, *drows, *grad;
    char file[64];

    snprintf(file, sizeof file, "golden_%c_grad_%s.safetensors", letter,
             name);
    st = golden_open(file);
    load_example(f, name, &e);
    TINY_OK(ral_forward(f->m, &e.pack, NULL, &look, &tape, &out, &f->a, &err));
    grad = tiny_get(f->dev, backward(f, &e, &tape, out.hidden, NULL));
    check_grad(f, st, "ce", grad);
    free(grad);

    x = tiny_get(f->dev, out.look);
    rows = square_rows(&e, x);
    drows = calloc(e.T * e.pack.N, sizeof *drows);
    policy_gradient(st, &e, rows, drows);
    grad = tiny_get(f->dev, backward(f, &e, &tape, out.hidden, drows));
    check_grad(f, st, term, grad);
    free(grad);
    free(drows);
    free(rows);
    free(x);
    ral_safetensors_close(st);
    free_example(&e);
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

/* Hidden rows and gradients of an example; its attention has no part. */
static void run_example(struct fixture *f, const struct example *e,
                        struct ral_mat *hidden, struct ral_mat *grad)
{
    struct ral_forward out;
    struct ral_tape *tape = RAL_NEW(&f->a.host, struct ral_tape, 1);
    struct ral_err err = {0};

    TINY_OK(ral_forward(f->m, &e->pack, NULL, NULL, tape, &out, &f->a, &err));
    *hidden = out.hidden;
    *grad = backward(f, e, tape, out.hidden, NULL);
}

/* The example's pictures as stills of their first frames, which are held once
 * or as often as the tower takes them. */
static void make_stills(struct fixture *f, struct example *e, size_t frames)
{
    const struct ral_vision_config *v = &f->m->config.vision;
    const size_t PP = v->patch * v->patch;
    struct ral_err err = {0};

    for (size_t k = 0; k < e->group.nvisual; k++) {
        struct ral_visual *p = &e->visual[k];
        const size_t n = ral_visual_rows(p) * v->channels;
        float *x = RAL_NEW(&f->a.host, float, n * frames * PP);

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
    struct ral_mat hidden[2], grad[2];

    open_fixture(&f, 'a', NULL, 2);
    ck_assert_uint_eq(f.m->config.vision.temporal, 2);
    load_example(&f, "two", &e);
    make_stills(&f, &e, 2);
    run_example(&f, &e, &hidden[0], &grad[0]);
    make_stills(&f, &e, 1);
    run_example(&f, &e, &hidden[1], &grad[1]);
    ck_assert(tiny_same(f.dev, hidden[0], f.dev, hidden[1]));
    ck_assert(tiny_same(f.dev, grad[0], f.dev, grad[1]));
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
