/* tests/unit/test_exact.c - one answer, bit for bit, however it is computed.
 *
 * What a prompt and its samples give (ids, log-probabilities, policy rows)
 * must not depend on the processor's instruction set, threads, panels, cached
 * or uncached work, a shared or repeated prompt, or the neighbours in a batch.
 * Every way is compared with the first, and a hash of all bits is stored.
 */
#include "tiny.h"

#include <xxhash.h>

enum { PROMPTS = 7, G = 2, MAX = 35, SAMPLES = PROMPTS * G, STOPS = 97 };

/* No length but one is a multiple of 32; most responses reach past 32 tokens
 * and end at different places. */
static const struct {
    size_t P, h, w;
} shape[PROMPTS] = {{31, 0, 0}, {33, 4, 4},  {40, 0, 0},   {65, 8, 10},
                    {64, 0, 0}, {1, 0, 0},   {259, 12, 20}};

/* A vocabulary of more than one chunk of log-sum-exp, odd widths. */
static const struct tiny_sizes odd = {
    .vocab = 4133, .width = 40, .inner = 52, .layers = 2, .heads = 5,
    .kv_heads = 1, .mrope = {1, 1, 2}, .tied = false,
    .vision_width = 40, .vision_inner = 36, .vision_heads = 2, .depth = 3};

static const struct {
    const char *name;
    struct ral_sampling sampling;
    bool every; // head of the first and the last layer; else the last's mean
    /* XXH3-64 of everything that check_model() reads from the first way: see
     * hash_all(). Printed by each run; a change of it means that the forward
     * has other bits than before, or that fixture_a, the prompts
     * above or the random weights were changed. */
    uint64_t hash;
} model[] = {
    {"fixture_a", {0.9, 0.95, 60, 11, 2}, false,
     0x0d00f2b62f1ea657},
    {"odd sizes", {1, 1, 0, 5, 0}, false, 0x6e702cc7a40e0e70},
    {"every head", {1, 1, 0, 5, 0}, true, 0xe8ec32ea8c30f9d3},
};
enum { MODELS = sizeof model / sizeof *model };

struct bench {
    char how[96]; // for messages
    struct ral_dev *dev;
    struct ral_model *m;
    struct ral_space a;
    struct ral_arena keep;
    size_t planes;
    struct ral_generation gen;
    struct tiny_prompt prompt[PROMPTS];
    int32_t stop[STOPS];
};

static char *odd_dir;

static void make_odd(void)
{
    odd_dir = tiny_checkpoint(&odd, 1.5, 3);
}

static void remove_odd(void)
{
    tiny_remove(odd_dir);
}

static void open_bench(struct bench *b, int which, const char *cpu,
                       int threads)
{
    struct ral_err err = {0};
    char *dir = which ? strdup(odd_dir) : golden_path("fixture_a");
    int32_t last;

    memset(b, 0, sizeof(*b));
    b->dev = tiny_dev(cpu, threads);
    TINY_OK(ral_model_open(&b->m, dir, b->dev, false, &err));
    ral_space_init(&b->a, b->dev);
    last = (int32_t)b->m->config.layers - 1;
    free(dir);
    b->gen = (struct ral_generation){.sampling = model[which].sampling,
                                     .samples = G,
                                     .max_tokens = MAX,
                                     .stop = b->stop,
                                     .nstop = STOPS};
    b->gen.look = (struct ral_look_conf){
        {model[which].every ? 0 : last, last}, model[which].every ? 2 : 1,
        model[which].every};
    b->planes = ral_look_planes(&b->m->config, &b->gen.look);
    for (int32_t i = 0; i < STOPS; i++)
        b->stop[i] = 7 + i * (which ? 43 : 40);
    for (size_t i = 0; i < PROMPTS; i++)
        tiny_prompt(&b->prompt[i], shape[i].P, shape[i].h, shape[i].w, i,
                    &b->keep);
}

static void close_bench(struct bench *b)
{
    ral_model_close(b->m);
    ral_space_release(&b->a);
    ral_arena_release(&b->keep);
    ral_dev_close(b->dev);
}

/* Prompts order[0..n) with S samples each, together; out[k * S + s]. */
static void generate(struct bench *b, const size_t *order, size_t n, size_t S,
                     struct ral_generated *out)
{
    struct ral_pack_group g[PROMPTS];
    const char *id[PROMPTS];
    struct ral_err err = {0};
    struct ral_generation gen = b->gen;

    gen.samples = S;
    for (size_t k = 0; k < n; k++) {
        g[k] = tiny_group(&b->prompt[order[k]], NULL, 0);
        id[k] = b->prompt[order[k]].id;
    }
    TINY_OK(ral_generate(b->m, &gen, g, id, n, out, &b->keep, &b->a, &err));
}

/* n floats are the same bits. They are finite, so that == holds as well. */
static void expect_bits(const float *x, const float *want, size_t n,
                        const char *what, size_t t)
{
    size_t i = 0;

    while (i < n && x[i] == want[i])
        i++;
    ck_assert_msg(i == n, "%s, token %zu: number %zu of %zu is %.9g, was %.9g",
                  what, t, i, n, (double)x[i], (double)want[i]);
    ck_assert_msg(!memcmp(x, want, n * sizeof(*x)), "%s: signs of 0", what);
}

static void expect_same(const struct bench *b, const struct ral_generated *x,
                        const struct ral_generated *want, size_t prompt,
                        const char *way)
{
    char what[160];

    snprintf(what, sizeof what, "%s, %s: prompt %zu", b->how, way, prompt);
    ck_assert_msg(x->T == want->T && x->stopped == want->stopped,
                  "%s: %zu tokens, were %zu", what, x->T, want->T);
    for (size_t t = 0; t < x->T; t++)
        ck_assert_msg(x->ids[t] == want->ids[t],
                      "%s, token %zu is %d, was %d", what, t, (int)x->ids[t],
                      (int)want->ids[t]);
    expect_bits(x->logp, want->logp, x->T, what, 0);
    for (size_t t = 0; t < x->T; t++)
        expect_bits(x->look[t], want->look[t],
                    b->planes * (shape[prompt].P + t + 1), what, t);
}

/* From planes of all tokens to one array a token, as ral_generate has them. */
static const float **by_token(struct bench *b, const struct ral_pack *pack,
                              const float *planes)
{
    const float **out = RAL_NEW(&b->a.host, const float *, pack->R);

    for (size_t r = 0; r < pack->R; r++) {
        float *x = RAL_NEW(&b->a.host, float, b->planes * pack->keys[r]);

        out[r] = x;
        for (size_t p = 0; p < b->planes; p++, x += pack->keys[r])
            memcpy(x, planes + p * pack->look[pack->R] + pack->look[r],
                   pack->keys[r] * sizeof *x);
    }
    return out;
}

/* Scores want's responses in one pack of n groups and compares. Group k holds
 * S samples from number first[k] on of prompt order[k]. */
static void expect_scored(struct bench *b, const struct ral_generated *want,
                          const size_t *order, const size_t *first, size_t n,
                          size_t S, const char *way)
{
    struct ral_pack_group g[SAMPLES];
    struct ral_response r[SAMPLES];
    const struct ral_generated *w[SAMPLES];
    struct ral_err err = {0};
    struct ral_pack pack;
    float *logp, *planes;
    const float **look;
    size_t at = 0;

    for (size_t k = 0; k < n; k++) {
        for (size_t s = 0; s < S; s++) {
            w[k * S + s] = &want[order[k] * G + first[k] + s];
            r[k * S + s] =
                (struct ral_response){w[k * S + s]->ids, w[k * S + s]->T};
        }
        g[k] = tiny_group(&b->prompt[order[k]], r + k * S, S);
    }
    TINY_OK(ral_pack_build(&pack, b->m, g, n, &b->a, &err));
    logp = RAL_NEW(&b->a.host, float, pack.R);
    planes = RAL_NEW(&b->a.host, float, b->planes * pack.look[pack.R]);
    TINY_OK(ral_score(b->m, &pack, ral_sampling_tau(&b->gen.sampling),
                      &b->gen.look, logp, planes, &b->a, &err));
    look = by_token(b, &pack, planes);
    for (size_t k = 0; k < n * S; at += w[k++]->T) {
        const struct ral_generated x = {w[k]->ids, w[k]->T, w[k]->stopped,
                                        logp + at, look + at};

        expect_same(b, &x, w[k], order[k / S], way);
    }
    ral_space_rewind(&b->a, (struct ral_space_mark){0});
}

static const size_t all[PROMPTS] = {0, 1, 2, 3, 4, 5, 6};
static const size_t zeros[PROMPTS];

/* Cached decoding: together, with other neighbours, alone, fewer samples. */
static void check_decoded(struct bench *b, const struct ral_generated *want)
{
    static const size_t other[] = {5, 3, 0};
    struct ral_generated got[SAMPLES];

    generate(b, other, 3, G, got);
    for (size_t i = 0; i < 3 * G; i++)
        expect_same(b, &got[i], &want[other[i / G] * G + i % G], other[i / G],
                    "decoded with others");
    for (size_t i = 0; i < PROMPTS - 1; i++) {
        const size_t S = i % 2 + 1;

        generate(b, &all[i], 1, S, got);
        for (size_t s = 0; s < S; s++)
            expect_same(b, &got[s], &want[i * G + s], i, "decoded alone");
    }
}

/* Uncached: each prompt alone with its samples, samples with a prompt
 * of their own in one pack (backwards), single samples alone. */
static void check_scored(struct bench *b, const struct ral_generated *want)
{
    size_t order[SAMPLES], first[SAMPLES];

    for (size_t i = 0; i < PROMPTS - 1; i++)
        expect_scored(b, want, &all[i], zeros, 1, G, "scored alone");
    for (size_t i = 0; i < SAMPLES; i++) {
        order[i] = PROMPTS - 1 - i % PROMPTS;
        first[i] = i / PROMPTS;
    }
    expect_scored(b, want, order + 1, first + 1, PROMPTS * (G - 1), 1,
                  "scored unshared");
    for (size_t i = 4; i < SAMPLES; i += 5)
        expect_scored(b, want, order + i, first + i, 1, 1, "sample scored");
}

/* Per sample: T, ids, logp, then each policy row, as they lie in memory
 * (little endian on all machines that have these kernels). */
static uint64_t hash_all(const struct ral_generated *x, size_t planes)
{
    XXH3_state_t *h = XXH3_createState();
    uint64_t sum;

    XXH3_64bits_reset(h);
    for (size_t i = 0; i < SAMPLES; i++, x++) {
        const uint64_t T = x->T;

        XXH3_64bits_update(h, &T, sizeof T);
        XXH3_64bits_update(h, x->ids, T * sizeof *x->ids);
        XXH3_64bits_update(h, x->logp, T * sizeof *x->logp);
        for (size_t t = 0; t < T; t++)
            XXH3_64bits_update(h, x->look[t],
                               planes * (shape[i / G].P + t + 1) *
                                   sizeof(float));
    }
    sum = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return sum;
}

/* Each is held against the first machine's own choice of path. All of them
 * decode and score all prompts together; thorough: in other batches, too.
 * Plain C takes libm's fmaf, one number a call, where it was not inlined. */
static const struct {
    const char *cpu;
    int threads;
    bool panels, thorough;
} way[] = {
    {"avx512", 1, true, true}, {"avx512", 2, false, true},
    {"avx2", 1, true, true},   {"avx2", 2, false, true},
    {"c", 2, false, false},
};

static void check_model(int which)
{
    struct ral_generated want[SAMPLES], got[SAMPLES];
    struct bench first;
    uint64_t hash;

    open_bench(&first, which, NULL, 1);
    generate(&first, all, PROMPTS, G, want);
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct bench b;

        open_bench(&b, which, way[i].cpu, way[i].threads);
        if (strcmp(b.dev->kernels, way[i].cpu)) { // this processor has it not
            close_bench(&b);
            continue;
        }
        for (size_t k = 0; !way[i].panels && k < b.m->table.n; k++)
            b.m->w[k].packed = (struct ral_mat){0};
        snprintf(b.how, sizeof b.how, "%s, %s, %d threads%s",
                 model[which].name, way[i].cpu, way[i].threads,
                 way[i].panels ? "" : ", no panels");
        generate(&b, all, PROMPTS, G, got);
        for (size_t k = 0; k < SAMPLES; k++)
            expect_same(&b, &got[k], &want[k], k / G, "decoded together");
        hash = hash_all(got, b.planes);
        printf("# %s: %016llx\n", b.how, (unsigned long long)hash);
        expect_scored(&b, want, all, zeros, PROMPTS, G, "scored together");
        if (way[i].thorough) {
            check_decoded(&b, want);
            check_scored(&b, want);
        }
        ck_assert_msg(hash == model[which].hash, "%s: hash is %016llx", b.how,
                      (unsigned long long)hash);
        close_bench(&b);
    }
    close_bench(&first);
}

START_TEST(every_way_gives_the_same_bits)
{
    check_model(_i);
}
END_TEST

/* The inputs do reach what they should: lengths differ and cross panels, some
 * responses stop, log-probabilities and rows are not trivial. */
START_TEST(the_test_is_not_empty)
{
    struct ral_generated x[SAMPLES];
    struct bench b;
    size_t longest = 0, stopped = 0;

    open_bench(&b, _i, NULL, 2);
    generate(&b, all, PROMPTS, G, x);
    for (size_t i = 0; i < SAMPLES; i++) {
        longest += x[i].T == MAX;
        stopped += x[i].stopped;
        ck_assert(x[i].stopped || x[i].T == MAX);
        for (size_t t = 0; t < x[i].T; t++) {
            double sum = 0;

            for (size_t j = 0; j < b.planes * (shape[i / G].P + t + 1); j++)
                sum += (double)x[i].look[t][j];
            ck_assert_double_eq_tol(sum, (double)b.planes, 1e-5 * b.planes);
            ck_assert(x[i].logp[t] < 0 && isfinite(x[i].logp[t]));
        }
    }
    ck_assert_uint_gt(longest, 1);
    ck_assert_uint_gt(stopped, 3);
    close_bench(&b);
}
END_TEST

/* --------------------------------------------------------------- sampling */

/* Pearson's statistic of counts against probabilities; classes that expect
 * fewer than 5 are put together. */
struct fit {
    double chi2;
    size_t freedom;
};

static struct fit chi_square(size_t V, const size_t *count, const double *p,
                             size_t n)
{
    double sum = 0, few_p = 0, few_n = 0;
    size_t classes = 0;

    for (size_t v = 0; v < V; v++) {
        const double want = p[v] * (double)n, d = (double)count[v] - want;

        if (want < 5) {
            few_p += want;
            few_n += (double)count[v];
            continue;
        }
        sum += d * d / want;
        classes++;
    }
    if (few_p > 0) {
        sum += (few_n - few_p) * (few_n - few_p) / few_p;
        classes++;
    }
    return (struct fit){sum, classes - 1};
}

/* Wilson and Hilferty's bound, five deviations up: by chance once in three
 * million seeds; this seed is fixed. */
static void expect_fits(struct fit f, size_t least)
{
    const double k = (double)f.freedom, s = 2 / (9 * k);
    const double bound = k * pow(1 - s + 5 * sqrt(s), 3);

    ck_assert_uint_ge(f.freedom, least);
    ck_assert_msg(f.chi2 < bound, "chi-square %.1f of %zu freedoms, bound %.1f",
                  f.chi2, f.freedom, bound);
}

static double lse_of(size_t V, const float *x)
{
    double sum = 0;

    for (size_t v = 0; v < V; v++)
        sum += exp((double)x[v]);
    return log(sum);
}

/* One row of logits on a machine, to draw from. */
struct urn {
    struct ral_dev *dev;
    struct ral_space a;
    struct ral_mat x, lse;
};

static struct urn urn_open(size_t V, const float *x)
{
    const double lse = lse_of(V, x);
    struct urn u = {.dev = tiny_dev("c", 2)};

    ral_space_init(&u.a, u.dev);
    u.x = ral_mat_put(&u.a, RAL_F32, 1, V, x);
    u.lse = ral_mat_put(&u.a, RAL_F64, 1, 1, &lse);
    return u;
}

static void urn_close(struct urn *u)
{
    ral_space_release(&u->a);
    ral_dev_close(u->dev);
}

static void urn_draw(struct urn *u, const struct ral_sampling *s, size_t n,
                     const double *uniform, int32_t *id)
{
    const struct ral_space_mark mark = ral_space_mark(&u->a);
    int32_t *row = RAL_ZNEW(&u->a.host, int32_t, n);
    const struct ral_op_draw o = {
        .id = ral_mat_new(&u->a, RAL_I32, 1, n),
        .logp = ral_mat_f32(&u->a, 1, n),
        .row = ral_mat_put(&u->a, RAL_I32, 1, n, row),
        .uniform = ral_mat_put(&u->a, RAL_F64, 1, n, uniform),
        .x = u->x,
        .lse = u->lse,
        .greedy = s->temperature == 0,
        .top_p = s->top_p,
        .top_k = s->top_k};
    struct ral_err err = {0};

    u->dev->ops->draw(u->dev, &o);
    TINY_OK(ral_get(u->dev, id, o.id, &err));
    ral_space_rewind(&u->a, mark);
}

/* Draws against probabilities counted here, by their definition:
 * the top_k largest, of these the least set that reaches top_p. */
START_TEST(draws_follow_the_distribution)
{
    enum { V = 24, N = 40000 };
    static const struct {
        double top_p;
        int64_t top_k;
    } cut[] = {{1, 0}, {1, 7}, {0.8, 0}, {0.6, 9}};
    const struct ral_sampling s = {1, cut[_i].top_p, cut[_i].top_k, 99, 0};
    float x[V];
    double p[V], lse, all_p = 0, kept = 0;
    size_t count[V] = {0}, rank[V], n = V, k = 0;
    static double u[N];
    static int32_t id[N];
    struct urn urn;
    struct ral_rng r;

    ral_rng_init(&r, 4, 4, 4);
    tiny_fill(&r, V, 0, 1.5, x);
    x[5] = x[17]; // equal ones: the lower id comes first
    lse = lse_of(V, x);
    for (size_t i = 0; i < V; i++)
        rank[i] = i;
    for (size_t i = 1; i < V; i++)
        for (size_t j = i; j > 0 && x[rank[j]] > x[rank[j - 1]]; j--) {
            const size_t t = rank[j];

            rank[j] = rank[j - 1];
            rank[j - 1] = t;
        }
    if (s.top_k)
        n = (size_t)s.top_k;
    for (size_t i = 0; i < n; i++)
        all_p += exp((double)x[rank[i]] - lse);
    memset(p, 0, sizeof p);
    for (; k < n && (!k || kept < s.top_p * all_p); k++)
        kept += p[rank[k]] = exp((double)x[rank[k]] - lse);
    for (size_t v = 0; v < V; v++)
        p[v] /= kept;
    for (uint32_t i = 0; i < N; i++)
        u[i] = ral_sampling_uniform(&s, 77, i % 8, i / 8);
    urn = urn_open(V, x);
    urn_draw(&urn, &s, N, u, id);
    urn_close(&urn);
    for (uint32_t i = 0; i < N; i++) {
        ck_assert(id[i] >= 0 && id[i] < V && p[id[i]] > 0);
        count[id[i]]++;
    }
    expect_fits(chi_square(V, count, p, N), 3);
}
END_TEST

/* The first token of many samples of one prompt, through the whole model. */
START_TEST(samples_follow_the_model)
{
    enum { N = 6000, V = 320 };
    static struct ral_generated out[N];
    struct bench b;
    struct ral_pack_group g;
    struct ral_pack pack;
    struct ral_err err = {0};
    struct ral_response r[V];
    int32_t each[V];
    float logp[V];
    double p[V];
    size_t count[V] = {0};
    const char *id;

    open_bench(&b, 0, NULL, 2);
    b.gen.sampling = (struct ral_sampling){0.7, 1, 0, 3, 1};
    b.gen.samples = N;
    b.gen.max_tokens = 1;
    g = tiny_group(&b.prompt[1], NULL, 0);
    id = b.prompt[1].id;
    TINY_OK(ral_generate(b.m, &b.gen, &g, &id, 1, out, &b.keep, &b.a, &err));
    for (int32_t v = 0; v < V; v++) {
        each[v] = v;
        r[v] = (struct ral_response){&each[v], 1};
    }
    g = tiny_group(&b.prompt[1], r, V);
    TINY_OK(ral_pack_build(&pack, b.m, &g, 1, &b.a, &err));
    TINY_OK(ral_score(b.m, &pack, 0.7f, NULL, logp, NULL, &b.a, &err));
    for (size_t v = 0; v < V; v++)
        p[v] = exp((double)logp[v]);
    for (size_t i = 0; i < N; i++) {
        ck_assert(out[i].logp[0] == logp[out[i].ids[0]]);
        count[out[i].ids[0]]++;
    }
    expect_fits(chi_square(V, count, p, N), 20);
    close_bench(&b);
}
END_TEST

/* The recorded log-probability is the whole distribution's: the same ids
 * score the same whether cuts were in force, and the cuts did cut. */
START_TEST(logp_is_before_the_cuts)
{
    struct ral_generated x[SAMPLES], y[SAMPLES];
    struct bench b;
    bool differ = false;

    open_bench(&b, 0, NULL, 1);
    b.gen.sampling = (struct ral_sampling){0.8, 0.3, 4, 21, 0};
    generate(&b, all, PROMPTS, G, x);
    expect_scored(&b, x, all, zeros, PROMPTS, G, "cut");
    b.gen.sampling = (struct ral_sampling){0.8, 1, 0, 21, 0};
    generate(&b, all, PROMPTS, G, y);
    for (size_t i = 0; i < SAMPLES; i++)
        differ |= x[i].ids[0] != y[i].ids[0];
    ck_assert(differ);
    close_bench(&b);
}
END_TEST

static int32_t draw(const struct ral_sampling *s, size_t V, const float *x,
                    double u)
{
    struct urn urn = urn_open(V, x);
    int32_t id;

    urn_draw(&urn, s, 1, &u, &id);
    urn_close(&urn);
    return id;
}

START_TEST(greedy_takes_the_lowest_of_equals)
{
    enum { V = 70 };
    const struct ral_sampling greedy = {0, 1, 0, 0, 0};
    const struct ral_sampling top1 = {1, 1, 1, 0, 0};
    float x[V];

    for (size_t v = 0; v < V; v++)
        x[v] = v % 7 == 3 ? 2.5f : -1;
    ck_assert_int_eq(draw(&greedy, V, x, 0.9), 3);
    for (double u = 0; u < 1; u += 0.1)
        ck_assert_int_eq(draw(&top1, V, x, u), 3);
    x[69] = 3;
    ck_assert_int_eq(draw(&greedy, V, x, 0), 69);
    for (size_t v = 0; v < V; v++)
        x[v] = -0.0f;
    x[1] = 0;
    ck_assert_int_eq(draw(&greedy, V, x, 0), 0);
}
END_TEST

START_TEST(top_1_equals_greedy)
{
    struct ral_generated x[SAMPLES], y[SAMPLES];
    struct bench b;

    open_bench(&b, _i, NULL, 2);
    b.gen.sampling = (struct ral_sampling){0, 1, 0, 1, 0};
    generate(&b, all, PROMPTS, G, x);
    b.gen.sampling = (struct ral_sampling){1, 1, 1, 8, 3};
    generate(&b, all, PROMPTS, G, y);
    for (size_t i = 0; i < SAMPLES; i++) {
        expect_same(&b, &y[i], &x[i], i / G, "top-k 1");
        expect_same(&b, &x[i], &x[i / G * G], i / G, "greedy");
    }
    close_bench(&b);
}
END_TEST

/* Samples, steps and seeds are numbers of their own. */
START_TEST(draws_differ_where_they_should)
{
    struct ral_sampling s = {1, 1, 0, 1, 0}, t = s;
    const uint64_t h = ral_prompt_hash("row", 0);
    const double u = ral_sampling_uniform(&s, h, 0, 0);

    t.seed = (uint64_t)1 << 32;
    ck_assert(u != ral_sampling_uniform(&s, h, 1, 0));
    ck_assert(u != ral_sampling_uniform(&s, h, 0, 1));
    ck_assert(u != ral_sampling_uniform(&s, ral_prompt_hash("row", 1), 0, 0));
    ck_assert(u != ral_sampling_uniform(&s, ral_prompt_hash("rov", 0), 0, 0));
    ck_assert(u != ral_sampling_uniform(&t, h, 0, 0));
    ck_assert(u == ral_sampling_uniform(&s, ral_prompt_hash("row", 0), 0, 0));
    ck_assert(u >= 0 && u < 1);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *t = tcase_create("exact");

    (void)argc;
    tiny_passive(argv);
    tcase_set_timeout(t, 240);
    tcase_add_unchecked_fixture(t, make_odd, remove_odd);
    tcase_add_loop_test(t, every_way_gives_the_same_bits, 0, MODELS);
    tcase_add_loop_test(t, the_test_is_not_empty, 0, MODELS);
    tcase_add_loop_test(t, top_1_equals_greedy, 0, 2);
    tcase_add_loop_test(t, draws_follow_the_distribution, 0, 4);
    tcase_add_test(t, samples_follow_the_model);
    tcase_add_test(t, logp_is_before_the_cuts);
    tcase_add_test(t, greedy_takes_the_lowest_of_equals);
    tcase_add_test(t, draws_differ_where_they_should);
    return run_tests(t);
}
