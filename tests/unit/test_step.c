/* tests/unit/test_step.c - the optimiser step and what must not matter to it.
 *
 * Shared prefixes, micro-batches and threads change no result; recorded and
 * recomputed values are equal; AdamW is AdamW; a step that fails changes
 * nothing; checkpoints hold all of it; nothing is allocated in the long run.
 */
#include "run.h"
#include "tiny_train.h"

#include <malloc.h>
#include <stdatomic.h>

#include "model/forward.h"
#include "model/head.h"
#include "train/schedule.h"

/* ------------------------------------------------------ counting the heap */

static atomic_size_t allocations;

/* LLVM's OpenMP allocates for every loop that it shares out dynamically. */
#ifdef __clang__
enum { TEAMS = 1 };
#else
enum { TEAMS = 2 };
#endif

#if !TINY_SANITIZED
/* glibc's own, under the names that it keeps for this purpose. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(align, n);
}

void *memalign(size_t align, size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return (*out = __libc_memalign(align, n)) ? 0 : 12;
}
#endif

/* --------------------------------------------------------------- a bench */

struct bench {
    struct ral_dev *dev;
    struct ral_state s;
    struct tiny_batch b;
    struct ral_objective o;
    struct ral_space a;
    char *dir;
};

static void open_bench(struct bench *t, const struct tiny_sizes *z,
                       int threads)
{
    struct ral_err err = {0};

    memset(t, 0, sizeof(*t));
    t->dev = tiny_dev(NULL, threads);
    t->dir = tiny_checkpoint(z, 1, 5);
    TINY_OK(ral_state_open(&t->s, t->dir, "update", t->dev, &err));
    ral_space_init(&t->a, t->dev);
    t->o = tiny_rl(t->s.model);
}

static void close_bench(struct bench *t)
{
    tiny_batch_release(&t->b);
    ral_state_close(&t->s);
    ral_space_release(&t->a);
    ral_dev_close(t->dev);
    tiny_remove(t->dir);
}

static struct ral_step_stats gradient(struct bench *t)
{
    struct ral_step_stats stats;
    struct ral_err err = {0};

    TINY_OK(ral_train_gradient(&t->s, &t->o, t->b.list, t->b.n, &stats, &t->a,
                               &err));
    return stats;
}

static struct ral_step_stats step(struct bench *t)
{
    struct ral_step_stats stats;
    struct ral_err err = {0};

    TINY_OK(ral_train_step(&t->s, &t->o, t->b.list, t->b.n, &stats, &t->a,
                           &err));
    return stats;
}

static size_t floats(const struct bench *t)
{
    return t->s.model->table.floats;
}

/* Of the bench's machine, malloc'ed. */
static float *copy_of(const struct bench *t, struct ral_mat x)
{
    return tiny_get(t->dev, x);
}

static bool same(const struct bench *t, struct ral_mat x,
                 const struct bench *u, struct ral_mat y)
{
    return tiny_same(t->dev, x, u->dev, y);
}

static bool same_as(const struct bench *t, struct ral_mat x, const float *y)
{
    float *now = copy_of(t, x);
    const bool is = !memcmp(now, y, x.rows * x.cols * sizeof(*y));

    free(now);
    return is;
}

/* Each tensor within 1e-5 of want, relative L2. */
static void expect_near(const struct bench *t, const float *want,
                        const char *how)
{
    float *grad = copy_of(t, t->s.grad);

    for (size_t i = 0; i < t->s.model->table.n; i++) {
        const struct ral_tensor *x = &t->s.model->table.tensor[i];
        double dd = 0, ww = 0;

        for (size_t k = x->offset; k < x->offset + x->N * x->K; k++) {
            const double d = (double)grad[k] - (double)want[k];

            dd += d * d;
            ww += (double)want[k] * (double)want[k];
        }
        ck_assert_msg(ww > 0 && sqrt(dd / ww) < 1e-5,
                      "%s: gradient of %s differs by %.1e", how, x->name,
                      sqrt(dd / ww));
    }
    free(grad);
}

/* A batch for RL whose old policy is some steps away. */
static void moved_batch(struct bench *t, size_t n, size_t G)
{
    struct ral_err err = {0};
    struct ral_model *old;

    tiny_batch_init(&t->b, n, G, 1);
    TINY_OK(ral_model_open(&old, t->dir, t->dev, true, &err));
    tiny_disturb(old, 0.02, 1);
    tiny_batch_record(&t->b, old, &t->o.look, t->o.temperature);
    ral_model_close(old);
}

/* -------------------------------------------- what must not make a change */

/* Every response as a group of its own. */
struct alone {
    struct ral_train_group group[TINY_GROUPS * TINY_G];
    const struct ral_train_group *list[TINY_GROUPS * TINY_G];
    size_t n;
};

static void split(struct tiny_batch *b, struct alone *x)
{
    x->n = b->n * b->G;
    for (size_t i = 0; i < x->n; i++) {
        x->group[i] = b->group[i / b->G];
        x->group[i].sample = &b->sample[i / b->G][i % b->G];
        x->group[i].G = 1;
        x->list[i] = &x->group[i];
    }
}

START_TEST(shared_prefix_equals_samples_alone)
{
    struct ral_step_stats shared, alone;
    struct ral_err err = {0};
    struct bench t;
    struct alone x;
    float *want;

    open_bench(&t, &tiny_untied, 1);
    moved_batch(&t, 3, 3);
    shared = gradient(&t);
    want = copy_of(&t, t.s.grad);
    split(&t.b, &x);
    TINY_OK(ral_train_gradient(&t.s, &t.o, x.list, x.n, &alone, &t.a, &err));
    expect_near(&t, want, "alone");
    ck_assert_double_eq_tol(alone.loss, shared.loss, 1e-12);
    ck_assert(tiny_metric(&alone, "nll") == tiny_metric(&shared, "nll"));
    ck_assert(tiny_metric(&alone, "jsd") == tiny_metric(&shared, "jsd"));
    ck_assert_uint_gt(alone.tokens, shared.tokens + 100);
    free(want);

    // Recorded from a shared prefix: each number comes back bit for bit.
    tiny_batch_record(&t.b, t.s.model, &t.o.look, t.o.temperature);
    TINY_OK(ral_train_gradient(&t.s, &t.o, x.list, x.n, &alone, &t.a, &err));
    ck_assert(tiny_metric(&alone, "dlogp_max") == 0);
    ck_assert(tiny_metric(&alone, "jsd") == 0);
    shared = gradient(&t);
    ck_assert(tiny_metric(&shared, "dlogp_max") == 0);
    close_bench(&t);
}
END_TEST

START_TEST(micro_batches_change_nothing)
{
    static const size_t sizes[] = {1, 90, 200};
    struct ral_step_stats want, got;
    struct bench t;
    float *grad;

    open_bench(&t, &tiny_tied, 1);
    moved_batch(&t, 4, 2);
    t.o.term[TINY_ATTENTION].reduce = (enum ral_reduce)_i;
    want = gradient(&t);
    grad = copy_of(&t, t.s.grad);
    for (size_t i = 0; i < 3; i++) {
        t.o.micro_tokens = sizes[i];
        got = gradient(&t);
        expect_near(&t, grad, "micro-batches");
        ck_assert_double_eq_tol(got.loss, want.loss, 1e-12);
        ck_assert(got.tokens == want.tokens && got.groups == want.groups);
        ck_assert_double_eq_tol(got.grad_norm, want.grad_norm,
                                1e-5 * want.grad_norm);
        ck_assert_double_eq_tol(tiny_metric(&got, "attn_share"),
                                tiny_metric(&want, "attn_share"),
                                1e-5 * tiny_metric(&want, "attn_share"));
    }
    free(grad);
    close_bench(&t);
}
END_TEST

/* Large enough that every parallel loop is entered and that a weight's
 * gradient has several chunks of rows. */
static void long_batch(struct bench *t, int threads)
{
    struct ral_err err = {0};
    char *dir = golden_path("fixture_a");

    open_bench(t, &tiny_tied, threads);
    ral_state_close(&t->s);
    TINY_OK(ral_state_open(&t->s, dir, "update", t->dev, &err));
    t->o = tiny_rl(t->s.model);
    free(dir);
    tiny_batch_init(&t->b, 2, 4, 1);
    tiny_batch_prompt(&t->b, 0, 547, 20, 28, 7);
    tiny_batch_record(&t->b, t->s.model, &t->o.look, t->o.temperature);
    tiny_disturb(t->s.model, 0.01, 1);
}

START_TEST(threads_give_the_same_bits)
{
    struct ral_step_stats x, y;
    struct bench one, two;

    long_batch(&one, 1);
    long_batch(&two, 2);
    gradient(&one);
    gradient(&two);
    ck_assert(same(&one, one.s.grad, &two, two.s.grad));
    step(&one);
    step(&two);
    ck_assert(same(&one, one.s.model->params, &two, two.s.model->params));
    ck_assert(same(&one, one.s.m, &two, two.s.m));
    ck_assert(same(&one, one.s.v, &two, two.s.v));
    x = gradient(&one);
    y = gradient(&two);
    ck_assert(tiny_metric(&x, "jsd") == tiny_metric(&y, "jsd"));
    close_bench(&one);
    close_bench(&two);
}
END_TEST

/* ------------------------------------------------ recorded and recomputed */

/* From cached sampling to a packed training forward at equal weights: not a
 * bit of difference; after an update the policy has moved. */
START_TEST(first_divergence_is_zero)
{
    static const int32_t stop[] = {3, 33, 133, 233, 303};
    struct ral_generation gen = {
        .sampling = {0.9, 0.97, 0, 17, 1}, .samples = 4, .max_tokens = 36,
        .stop = stop, .nstop = 5};
    struct ral_step_stats st;
    struct bench t;
    double mean = 0; // of the sequences' advantages

    open_bench(&t, _i == 1 ? &tiny_tied : &tiny_untied, 1 + _i % 2);
    t.o.temperature = 0.9f;
    t.o.adamw.lr = 1e-2;
    if (_i > 1) // every head of two layers
        t.o.look = (struct ral_look_conf){{0, 1}, 2, true};
    gen.look = t.o.look;
    tiny_batch_init(&t.b, 3, 4, 4);
    tiny_batch_sample(&t.b, t.s.model, &gen);
    for (size_t i = 0; i < 12; i++)
        mean += t.b.sample[i / 4][i % 4].advantage / 12;
    for (size_t m = 1; m < 10000; m *= 40) {
        t.o.micro_tokens = m;
        st = gradient(&t);
        ck_assert(tiny_metric(&st, "dlogp") == 0);
        ck_assert(tiny_metric(&st, "dlogp_max") == 0);
        ck_assert(tiny_metric(&st, "jsd") == 0);
        ck_assert(tiny_metric(&st, "attn_loss") == 0);
        ck_assert(tiny_metric(&st, "attn_share") == 0);
        ck_assert(tiny_metric(&st, "ratio") == 1);
        ck_assert(tiny_metric(&st, "clip_fraction") == 0);
        ck_assert_double_eq_tol(st.loss, -mean, 1e-12); // ratios are 1
        ck_assert_double_eq(tiny_count(&st, "jsd"),
                            (double)(st.response_tokens *
                                     ral_look_planes(&t.s.model->config,
                                                     &t.o.look)));
        ck_assert(tiny_metric(&st, "attn_skipped") == 0);
        ck_assert_uint_gt(st.response_tokens, 60);
    }
    step(&t);
    st = gradient(&t);
    ck_assert(tiny_metric(&st, "jsd") > 1e-6 / 60);
    ck_assert(tiny_metric(&st, "dlogp") > 1e-3 / 60);
    ck_assert(tiny_metric(&st, "attn_share") > 0);
    close_bench(&t);
}
END_TEST

/* ---------------------------------------------------------- the optimiser */

/* Some updates of every weight, by gradients that are put there. */
START_TEST(adamw_is_as_defined)
{
    enum { STEPS = 5 };
    const struct ral_adamw o = {3e-3, 0.9, 0.95, 1e-8, 0};
    struct bench t;
    struct ral_rng r;
    double *M, *V, *W;
    float *g, *m, *v, *w;
    size_t N;

    open_bench(&t, &tiny_untied, 2);
    N = floats(&t);
    M = calloc(3 * N, sizeof *M);
    V = M + N;
    W = V + N;
    w = copy_of(&t, t.s.model->params);
    g = copy_of(&t, t.s.grad);
    for (size_t i = 0; i < N; i++)
        W[i] = (double)w[i];
    free(w);
    ral_rng_init(&r, 1, 2, 3);
    for (uint64_t k = 1; k <= STEPS; k++) {
        tiny_fill(&r, N, 0.1, 1, g);
        g[5] = 0;
        t.dev->ops->put(t.dev, t.s.grad, g);
        t.s.updates = k;
        ral_adamw_step(&t.s, &o, 0.25);
        m = copy_of(&t, t.s.m);
        v = copy_of(&t, t.s.v);
        w = copy_of(&t, t.s.model->params);
        for (size_t i = 0; i < N; i++) {
            const double x = 0.25 * (double)g[i];
            const double c1 = 1 - pow(0.9, (double)k);
            const double c2 = 1 - pow(0.95, (double)k);

            M[i] = 0.9 * M[i] + 0.1 * x;
            V[i] = 0.95 * V[i] + 0.05 * x * x;
            W[i] -= 3e-3 * (M[i] / c1 / (sqrt(V[i] / c2) + 1e-8));
            ck_assert_double_eq_tol((double)m[i], M[i], 1e-6);
            ck_assert_double_eq_tol((double)v[i], V[i], 1e-6);
            ck_assert_double_eq_tol((double)w[i], W[i], 1e-6);
        }
        free(m);
        free(v);
        free(w);
    }
    free(M);
    free(g);
    close_bench(&t);
}
END_TEST

static double norm_of(struct bench *t, const float *g)
{
    struct ral_err err = {0};
    double norm;

    t->dev->ops->put(t->dev, t->s.grad, g);
    TINY_OK(ral_grad_norm(&t->s, &norm, &t->a, &err));
    return norm;
}

START_TEST(norm_is_euclidean)
{
    struct bench one, two;
    struct ral_rng r;
    double sum = 0;
    float *g;
    size_t N;

    open_bench(&one, &tiny_untied, 1);
    open_bench(&two, &tiny_untied, 2);
    N = floats(&one);
    g = copy_of(&one, one.s.grad);
    ral_rng_init(&r, 1, 2, 3);
    tiny_fill(&r, N, 0, 1e-3, g);
    for (size_t i = 0; i < N; i++)
        sum += (double)g[i] * (double)g[i];
    ck_assert(norm_of(&one, g) == norm_of(&two, g));
    ck_assert_double_eq_tol(norm_of(&one, g), sqrt(sum), 1e-12);
    g[N - 1] = NAN;
    ck_assert(!isfinite(norm_of(&one, g)));
    g[N - 1] = 3e38f; // its square is no float
    ck_assert(isfinite(norm_of(&one, g)));
    free(g);
    close_bench(&one);
    close_bench(&two);
}
END_TEST

/* A whole step: the clip, its 1e-6, no decay of gains and biases. */
START_TEST(step_clips_and_decays)
{
    const double lr = 2e-3, wd = 0.3;
    struct ral_step_stats st;
    struct bench t;
    float *w, *now, *m, *v, *grad;
    double scale;

    open_bench(&t, &tiny_untied, 1);
    moved_batch(&t, 2, 3);
    t.o.adamw = (struct ral_adamw){lr, 0.9, 0.99, 1e-6, wd};
    t.o.max_grad_norm = _i ? 0.01 : 1e9;
    w = copy_of(&t, t.s.model->params);
    st = step(&t);
    scale = _i ? 0.01 / (st.grad_norm + 1e-6) : 1;
    ck_assert(st.grad_norm > 0.02 && t.s.updates == 1);
    now = copy_of(&t, t.s.model->params);
    m = copy_of(&t, t.s.m);
    v = copy_of(&t, t.s.v);
    grad = copy_of(&t, t.s.grad);
    for (size_t i = 0; i < t.s.model->table.n; i++) {
        const struct ral_tensor *x = &t.s.model->table.tensor[i];
        const bool plain =
            x->role == RAL_ROLE_NORM || x->role == RAL_ROLE_BIAS;

        for (size_t k = x->offset; k < x->offset + x->N * x->K; k++) {
            // At t = 1 the corrected moments are g and g^2 themselves.
            const double g = scale * (double)grad[k];
            const double want =
                (double)w[k] - lr * (g / (fabs(g) + 1e-6) +
                                     (plain ? 0 : wd) * (double)w[k]);

            ck_assert_msg(fabs((double)now[k] - want) < 1e-6,
                          "%s[%zu]: %.9g, want %.9g", x->name, k - x->offset,
                          (double)now[k], want);
            ck_assert_double_eq_tol((double)m[k], 0.1 * g, 1e-7);
            ck_assert_double_eq_tol((double)v[k], 0.01 * g * g, 1e-7);
        }
    }
    free(w);
    free(now);
    free(m);
    free(v);
    free(grad);
    close_bench(&t);
}
END_TEST

/* The products of the next step read the new weights: panels are made again. */
START_TEST(panels_follow_the_weights)
{
    struct ral_err err = {0};
    struct bench t, u;
    char *into = tiny_folder();

    open_bench(&t, &tiny_untied, 1);
    moved_batch(&t, 2, 2);
    step(&t);
    open_bench(&u, &tiny_untied, 1);
    moved_batch(&u, 2, 2);
    ral_state_close(&u.s);
    TINY_OK(ral_state_save(&t.s, t.dir, into, &err));
    TINY_OK(ral_state_open(&u.s, into, "update", u.dev, &err));
    ck_assert(gradient(&t).loss == gradient(&u).loss);
    ck_assert(same(&t, t.s.grad, &u, u.s.grad));
    close_bench(&t);
    close_bench(&u);
    tiny_remove(into);
}
END_TEST

START_TEST(schedule_has_its_values)
{
    const double eps = 1e-15;

    for (int how = RAL_CONSTANT; how <= RAL_COSINE; how++) {
        ck_assert(ral_schedule_factor((enum ral_schedule)how, 0, 4, 10) ==
                  0.25);
        ck_assert(ral_schedule_factor((enum ral_schedule)how, 3, 4, 10) == 1);
        ck_assert(ral_schedule_factor((enum ral_schedule)how, 4, 4, 10) == 1);
        ck_assert(ral_schedule_factor((enum ral_schedule)how, 0, 0, 10) == 1);
    }
    ck_assert(ral_schedule_factor(RAL_CONSTANT, 99, 4, 0) == 1);
    ck_assert_double_eq_tol(ral_schedule_factor(RAL_LINEAR, 7, 4, 10), 0.5,
                            eps);
    ck_assert_double_eq_tol(ral_schedule_factor(RAL_LINEAR, 9, 0, 10), 0.1,
                            eps);
    ck_assert_double_eq_tol(ral_schedule_factor(RAL_COSINE, 6, 4, 10), 0.75,
                            eps);
    ck_assert_double_eq_tol(ral_schedule_factor(RAL_COSINE, 7, 4, 10), 0.5,
                            eps);
    ck_assert(ral_schedule_factor(RAL_LINEAR, 10, 4, 10) == 0);
    ck_assert(ral_schedule_factor(RAL_COSINE, 11, 4, 10) == 0);
}
END_TEST

/* ---------------------------------------- steps that must change nothing */

struct kept {
    float *w, *m, *v;
    uint64_t updates;
};

static struct kept keep_state(const struct bench *t)
{
    return (struct kept){copy_of(t, t->s.model->params), copy_of(t, t->s.m),
                         copy_of(t, t->s.v), t->s.updates};
}

static void expect_untouched(const struct bench *t, struct kept k)
{
    ck_assert(same_as(t, t->s.model->params, k.w));
    ck_assert(same_as(t, t->s.m, k.m));
    ck_assert(same_as(t, t->s.v, k.v));
    ck_assert_uint_eq(t->s.updates, k.updates);
    free(k.w);
    free(k.m);
    free(k.v);
}

START_TEST(step_without_gradient_is_skipped)
{
    struct ral_step_stats st;
    struct bench t;
    struct kept k;

    open_bench(&t, &tiny_untied, 1);
    moved_batch(&t, 2, 3);
    step(&t); // so that moments are not 0
    for (size_t i = 0; i < t.b.n; i++)
        for (size_t j = 0; j < t.b.G; j++)
            t.b.sample[i][j].advantage = 0;
    k = keep_state(&t);
    st = step(&t);
    ck_assert(st.skipped && st.flat_groups == 2 && st.groups == 0);
    ck_assert(isnan(tiny_metric(&st, "jsd"))); // nothing was measured
    ck_assert_uint_eq(t.s.skipped, 1);
    expect_untouched(&t, k);

    tiny_batch_references(&t.b); // a KL term pulls without advantages
    tiny_add_kl(&t.o, 0.1, t.s.model);
    st = step(&t);
    ck_assert(!st.skipped && st.flat_groups == 0 && st.groups == 2);
    ck_assert_uint_eq(t.s.updates, 2);
    close_bench(&t);
}
END_TEST

/* One step that must fail, its message naming what; nothing changes. */
static void expect_failure(struct bench *t, const char *what)
{
    const struct kept k = keep_state(t);
    struct ral_step_stats stats;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_train_step(&t->s, &t->o, t->b.list, t->b.n, &stats,
                                    &t->a, &err),
                     -RAL_EINVAL);
    ck_assert_msg(strstr(err.msg, what), "'%s' lacks '%s'", err.msg, what);
    expect_untouched(t, k);
}

/* One weight of the last layer's down projection. */
static void put_weight(struct bench *t, float x)
{
    const struct ral_model *m = t->s.model;
    const struct ral_mat w = ral_tensor_view(
        &m->table, m->table.layer[1].down.w, m->params);

    t->dev->ops->put(t->dev, ral_mat_cols(ral_mat_rows(w, 0, 1), 9, 1), &x);
    ral_model_repack(t->s.model);
}

START_TEST(what_is_not_finite_fails)
{
    struct ral_err err = {0};
    struct bench t;
    float old, *w;
    char *path;

    open_bench(&t, &tiny_untied, 1);
    moved_batch(&t, 2, 3);
    t.b.sample[1][1].advantage = NAN;
    expect_failure(&t, "gradient of model.embed_tokens.weight");
    t.b.sample[1][1].advantage = INFINITY;
    expect_failure(&t, "gradient of model.embed_tokens.weight");
    t.b.sample[1][1].advantage = 1;

    old = t.b.logp[0][0][1];
    t.b.logp[0][0][1] = NAN;
    expect_failure(&t, "gradient of");
    t.b.logp[0][0][1] = old;
    old = t.b.attn[1][0][3];
    t.b.attn[1][0][3] = NAN;
    expect_failure(&t, "record row-2: a row of attn");
    t.b.attn[1][0][3] = old;

    w = copy_of(&t, ral_tensor_view(&t.s.model->table,
                                    t.s.model->table.layer[1].down.w,
                                    t.s.model->params));
    old = w[9];
    free(w);
    put_weight(&t, INFINITY);
    expect_failure(&t, "not finite");
    put_weight(&t, old);
    step(&t); // all is well again

    put_weight(&t, NAN); // what may not be trained may not be loaded either
    path = ral_path_join(t.dir, "model.safetensors");
    ck_assert_int_eq(unlink(path), 0);
    free(path);
    w = copy_of(&t, t.s.model->params);
    TINY_OK(ral_checkpoint_weights(&t.s.model->table, w, t.dir, &err));
    free(w);
    ral_state_close(&t.s);
    ck_assert_int_eq(ral_state_open(&t.s, t.dir, "update", t.dev, &err),
                     -RAL_EINVAL);
    ck_assert(strstr(err.msg, "model.layers.1.mlp.down_proj.weight"));
    ck_assert(strstr(err.msg, "NaN"));
    close_bench(&t);
}
END_TEST

/* ------------------------------------------------------------ checkpoints */

START_TEST(checkpoint_holds_the_state)
{
    struct ral_err err = {0};
    struct bench t, u;
    float *m, *v;
    char *into = tiny_folder();

    open_bench(&t, &tiny_tied, 1);
    moved_batch(&t, 2, 2);
    step(&t);
    step(&t);
    t.s.step = 7;
    t.s.skipped = 3;
    TINY_OK(ral_state_save(&t.s, t.dir, into, &err));

    open_bench(&u, &tiny_tied, 1);
    moved_batch(&u, 2, 2);
    ral_state_close(&u.s);
    TINY_OK(ral_state_open(&u.s, into, "update", u.dev, &err));
    ck_assert(u.s.step == 7 && u.s.updates == 2 && u.s.skipped == 3);
    ck_assert(same(&t, t.s.model->params, &u, u.s.model->params));
    ck_assert(same(&t, t.s.m, &u, u.s.m));
    ck_assert(same(&t, t.s.v, &u, u.s.v));
    step(&t); // goes on as if nothing had happened
    step(&u);
    ck_assert(same(&t, t.s.model->params, &u, u.s.model->params));

    ral_state_close(&u.s);
    TINY_OK(ral_state_open(&u.s, into, "distill", u.dev, &err));
    ck_assert(u.s.step == 0 && u.s.updates == 0 && u.s.skipped == 0);
    m = copy_of(&u, u.s.m);
    v = copy_of(&u, u.s.v);
    for (size_t i = 0; i < floats(&u); i++)
        ck_assert(m[i] == 0 && v[i] == 0);
    free(m);
    free(v);
    close_bench(&t);
    close_bench(&u);
    tiny_remove(into);
}
END_TEST

/* ----------------------------------------------------------- distillation */

struct pair {
    struct bench t;
    struct ral_model *teacher;
    char *dir;
};

static void open_pair(struct pair *p)
{
    struct ral_err err = {0};

    open_bench(&p->t, &tiny_untied, 1);
    p->dir = tiny_checkpoint(&tiny_large, 1, 6);
    TINY_OK(ral_model_open(&p->teacher, p->dir, p->t.dev, false, &err));
    tiny_batch_init(&p->t.b, 3, 2, 2);
    p->t.o = tiny_distillation(p->t.s.model, p->teacher);
}

static void close_pair(struct pair *p)
{
    ral_model_close(p->teacher);
    tiny_remove(p->dir);
    close_bench(&p->t);
}

/* log-softmax of the rows that predict, and the pack, for a model. */
static double *log_probs(struct pair *p, const struct ral_model *m,
                         struct ral_pack *pack)
{
    const size_t V = m->config.vocab;
    struct ral_forward f;
    struct ral_err err = {0};
    struct ral_mat logits, lse;
    float *x;
    double *l, *out;

    tiny_batch_pack(&p->t.b, m, pack, &p->t.a);
    TINY_OK(ral_forward(m, pack, NULL, NULL, NULL, &f, &p->t.a, &err));
    logits = ral_mat_f32(&p->t.a, pack->U, V);
    lse = ral_mat_new(&p->t.a, RAL_F64, 1, pack->U);
    ral_head_logits(m, f.hidden, 1, logits, lse);
    x = tiny_get(p->t.dev, logits);
    l = RAL_NEW(&p->t.a.host, double, pack->U);
    out = RAL_NEW(&p->t.a.host, double, pack->U * V);
    TINY_OK(ral_get(p->t.dev, l, lse, &err));
    for (size_t i = 0; i < pack->U * V; i++)
        out[i] = (double)x[i] - l[i / V];
    free(x);
    return out;
}

/* The mean over response tokens of the reverse KL, counted here in double. */
static double mean_kl(struct pair *p)
{
    struct ral_pack pack, theirs;
    const double *lp = log_probs(p, p->t.s.model, &pack);
    const double *lq = log_probs(p, p->teacher, &theirs);
    double kl = 0;

    for (size_t u = 0; u < pack.U; u++)
        for (int32_t k = pack.first[u]; k < pack.first[u + 1]; k++)
            for (size_t v = 0, at = u * 320; v < 320; v++, at++)
                kl += exp(lp[at]) * (lp[at] - lq[at]);
    return kl / (double)pack.R;
}

/* Without the attention term it is plain on-policy distillation; with it that
 * part stays. */
START_TEST(distillation_without_attention_is_plain)
{
    struct ral_step_stats plain, both, more;
    float *g0, *g1, *g2;
    double kl, jsd;
    struct pair p;

    open_pair(&p);
    p.t.o.terms = 1;
    p.t.o.term[TINY_TEACHER_KL].coef = 0.7;
    plain = gradient(&p.t);
    g0 = copy_of(&p.t, p.t.s.grad);
    ck_assert(isnan(tiny_metric(&plain, "jsd")));
    ck_assert(isnan(tiny_metric(&plain, "attn_loss")));
    kl = tiny_metric(&plain, "kd");
    ck_assert_double_eq_tol(plain.loss, 0.7 * kl, 1e-12);
    ck_assert_double_eq_tol(kl, mean_kl(&p), 1e-5 * kl);

    // The terms add up: two steps of gamma differ by the same gradient.
    p.t.o.terms = 2;
    both = gradient(&p.t);
    g1 = copy_of(&p.t, p.t.s.grad);
    p.t.o.term[TINY_TEACHER_ATTENTION].coef = 2;
    more = gradient(&p.t);
    g2 = copy_of(&p.t, p.t.s.grad);
    jsd = tiny_metric(&both, "jsd");
    ck_assert(tiny_metric(&both, "kd") == kl && tiny_metric(&more, "kd") == kl);
    ck_assert(jsd > 0 && tiny_metric(&more, "jsd") == jsd);
    ck_assert_double_eq_tol(both.loss, plain.loss + jsd, 1e-9);
    ck_assert_double_eq_tol(more.loss - both.loss, both.loss - plain.loss,
                            1e-12);
    for (size_t i = 0; i < floats(&p.t); i++)
        ck_assert_double_eq_tol((double)g2[i] - (double)g1[i],
                                (double)g1[i] - (double)g0[i],
                                1e-6 * plain.grad_norm);
    free(g0);
    free(g1);
    free(g2);
    close_pair(&p);
}
END_TEST

START_TEST(both_terms_fall)
{
    struct ral_step_stats first, last;
    struct pair p;

    open_pair(&p);
    p.t.o.adamw.lr = 3e-3;
    first = gradient(&p.t);
    for (int i = 0; i < 20; i++)
        step(&p.t);
    last = gradient(&p.t);
    printf("# 20 steps: KL %.3f to %.3f nats, J %.4f to %.4f nats\n",
           tiny_metric(&first, "kd"), tiny_metric(&last, "kd"),
           tiny_metric(&first, "jsd"), tiny_metric(&last, "jsd"));
    ck_assert(tiny_metric(&last, "kd") < 0.5 * tiny_metric(&first, "kd"));
    ck_assert(tiny_metric(&last, "jsd") < 0.5 * tiny_metric(&first, "jsd"));
    close_pair(&p);
}
END_TEST

/* ------------------------------------------------------------ allocations */

static size_t count_generate(struct bench *t, struct ral_arena *keep,
                             size_t tokens, const struct ral_sampling *how)
{
    const struct ral_generation gen = {
        .sampling = *how, .samples = 3, .max_tokens = tokens,
        .look = tiny_look(t->s.model)};
    struct ral_generated out[TINY_GROUPS * 3];
    struct ral_pack_group g[TINY_GROUPS];
    const char *id[TINY_GROUPS];
    struct ral_err err = {0};
    size_t before;
    int rc;

    for (size_t i = 0; i < t->b.n; i++) {
        g[i] = tiny_group(&t->b.prompt[i], NULL, 0);
        id[i] = t->b.prompt[i].id;
    }
    ral_arena_reset(keep);
    before = allocations;
    rc = ral_generate(t->s.model, &gen, g, id, t->b.n, out, keep, &t->a, &err);
    before = allocations - before; // the checks below allocate, too
    ck_assert_msg(rc == 0, "%s", err.msg);
    for (size_t i = 0; i < t->b.n * 3; i++)
        ck_assert_uint_eq(out[i].T, tokens);
    return before;
}

START_TEST(decoding_allocates_nothing_per_token)
{
    const struct ral_sampling how[] = {
        {1, 1, 0, 1, 1}, {1, 0.9, 50, 1, 1}, {0, 1, 0, 1, 1}};
    struct ral_arena keep = {0};
    struct bench t;

    open_bench(&t, &tiny_tied, 1 + _i);
    tiny_batch_init(&t.b, 3, 3, 1);
    for (size_t k = 0; k < 3; k++) {
        size_t few, many;

        count_generate(&t, &keep, 64, &how[k]);
        few = count_generate(&t, &keep, 8, &how[k]);
        many = count_generate(&t, &keep, 64, &how[k]);
        ck_assert_msg(few == many, "way %zu: %zu allocations for 8 tokens, "
                      "%zu for 64", k, few, many);
        ck_assert_uint_eq(many, 0);
    }
    ral_arena_release(&keep);
    close_bench(&t);
}
END_TEST

START_TEST(training_allocates_nothing_again)
{
    struct ral_step_stats st;
    struct ral_err err = {0};
    struct bench t;
    size_t count[2];
    int rc = 0;

    if (_i) {
        long_batch(&t, 2);
    } else {
        open_bench(&t, &tiny_tied, 1);
        moved_batch(&t, 4, 2);
    }
    t.o.micro_tokens = 60;
    step(&t);
    for (int k = 0; k < 2; k++) {
        const size_t before = allocations;

        rc |= (k ? ral_train_step : ral_train_gradient)(
            &t.s, &t.o, t.b.list, t.b.n, &st, &t.a, &err);
        count[k] = allocations - before;
    }
    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_msg(count[0] == 0, "%zu allocations in a gradient", count[0]);
    ck_assert_msg(count[1] == 0, "%zu allocations in a step", count[1]);
    close_bench(&t);
}
END_TEST

/* The counter counts. */
START_TEST(allocations_are_seen)
{
    const size_t before = allocations;
    struct ral_arena a = {0};
    void *volatile p = malloc(10);
    void *volatile q = ral_arena_alloc(&a, 1, 1);
    const size_t after = allocations;

    ck_assert(p && q);
    ck_assert_uint_eq(after - before, 3); // the block and its head, too
    free(p);
    ral_arena_release(&a);
}
END_TEST

int main(int argc, char **argv)
{
    const char *device = getenv("RAL_DEVICE"); // guard queues, and so allocates
    TCase *t = tcase_create("step");

    (void)argc;
    tiny_passive(argv);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, shared_prefix_equals_samples_alone);
    tcase_add_loop_test(t, micro_batches_change_nothing, 0, 3);
    tcase_add_test(t, threads_give_the_same_bits);
    tcase_add_loop_test(t, first_divergence_is_zero, 0, 4);
    tcase_add_test(t, adamw_is_as_defined);
    tcase_add_test(t, norm_is_euclidean);
    tcase_add_loop_test(t, step_clips_and_decays, 0, 2);
    tcase_add_test(t, panels_follow_the_weights);
    tcase_add_test(t, schedule_has_its_values);
    tcase_add_test(t, step_without_gradient_is_skipped);
    tcase_add_test(t, what_is_not_finite_fails);
    tcase_add_test(t, checkpoint_holds_the_state);
    tcase_add_test(t, distillation_without_attention_is_plain);
    tcase_add_test(t, both_terms_fall);
    if (!TINY_SANITIZED && !(device && !strcmp(device, "guard"))) {
        tcase_add_test(t, allocations_are_seen);
        tcase_add_loop_test(t, decoding_allocates_nothing_per_token, 0, 2);
        tcase_add_loop_test(t, training_allocates_nothing_again, 0, TEAMS);
    }
    return run_tests(t);
}
