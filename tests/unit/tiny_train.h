/* tests/unit/tiny_train.h - small batches to train on. */
#ifndef RAL_TEST_TINY_TRAIN_H
#define RAL_TEST_TINY_TRAIN_H

#include "tiny.h"

#include "rl/attn_policy.h"
#include "train/step.h"

static const struct tiny_sizes tiny_untied = {
    .vocab = 320, .width = 32, .inner = 40, .layers = 2, .heads = 4,
    .kv_heads = 2, .mrope = {1, 1, 2}, .tied = false,
    .vision_width = 24, .vision_inner = 28, .vision_heads = 2, .depth = 2};
static const struct tiny_sizes tiny_tied = {
    .vocab = 320, .width = 36, .inner = 24, .layers = 2, .heads = 3,
    .kv_heads = 1, .mrope = {2, 2, 2}, .tied = true,
    .vision_width = 16, .vision_inner = 20, .vision_heads = 2, .depth = 2};
static const struct tiny_sizes tiny_large = {
    .vocab = 320, .width = 40, .inner = 64, .layers = 3, .heads = 5,
    .kv_heads = 5, .mrope = {2, 1, 1}, .tied = true,
    .vision_width = 32, .vision_inner = 24, .vision_heads = 4, .depth = 1};

enum { TINY_GROUPS = 4, TINY_G = 4 };

struct tiny_batch {
    size_t n, G;
    struct tiny_prompt prompt[TINY_GROUPS];
    struct ral_train_sample sample[TINY_GROUPS][TINY_G];
    float *logp[TINY_GROUPS][TINY_G], *attn[TINY_GROUPS][TINY_G];
    struct ral_train_group group[TINY_GROUPS];
    const struct ral_train_group *list[TINY_GROUPS];
    struct ral_arena a;
};

static inline int tiny_visuals(void *ctx, const struct ral_train_group *g,
                               bool teacher, const struct ral_visual **out,
                               size_t *n, struct ral_arena *a,
                               struct ral_err *err)
{
    const struct tiny_prompt *p = g->source;

    (void)ctx, (void)teacher, (void)a, (void)err;
    *out = &p->visual;
    *n = p->nvisual;
    return 0;
}

/* Prompt i of the batch: P tokens, a picture of h x w patches among them. */
static inline void tiny_batch_prompt(struct tiny_batch *b, size_t i, size_t P,
                                     size_t h, size_t w, uint64_t seed)
{
    struct tiny_prompt *p = &b->prompt[i];

    tiny_prompt(p, P, h, w, seed + i, &b->a);
    b->group[i] = (struct ral_train_group){.id = p->id,
                                           .prompt = p->ids,
                                           .P = p->P,
                                           .visual = p->cells,
                                           .sample = b->sample[i],
                                           .G = b->G,
                                           .source = p};
    b->list[i] = &b->group[i];
}

/* n prompts with G random responses of 3 to 12 tokens and advantages of both
 * signs; the first prompt holds a picture. */
static inline void tiny_batch_init(struct tiny_batch *b, size_t n, size_t G,
                                   uint64_t seed)
{
    static const double advantage[TINY_G] = {1.25, -0.75, 0.5, -1.5};
    struct ral_rng r;

    ck_assert(n <= TINY_GROUPS && G <= TINY_G);
    memset(b, 0, sizeof(*b));
    b->n = n;
    b->G = G;
    ral_rng_init(&r, seed, 3, 0);
    for (size_t i = 0; i < n; i++) {
        tiny_batch_prompt(b, i, 33 - 6 * i, i ? 0 : 8, i ? 0 : 10, seed);
        for (size_t k = 0; k < G; k++) {
            const size_t T = 3 + (4 * i + 3 * k) % 10;
            int32_t *ids = RAL_NEW(&b->a, int32_t, T);

            for (size_t t = 0; t < T; t++)
                ids[t] = (int32_t)ral_rng_below(&r, 300);
            b->sample[i][k] = (struct ral_train_sample){
                .ids = ids, .T = T, .advantage = advantage[(i + k) % TINY_G]};
        }
    }
}

static inline void tiny_batch_release(struct tiny_batch *b)
{
    ral_arena_release(&b->a);
}

/* Numbers of a sample's recorded rows in one plane. */
static inline size_t tiny_recorded(size_t P, size_t T)
{
    return T * P + T * (T - 1) / 2;
}

/* Room for the values of sampling. */
static inline void tiny_batch_rooms(struct tiny_batch *b, size_t planes)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            struct ral_train_sample *s = &b->sample[i][k];

            s->logp_old = b->logp[i][k] = RAL_NEW(&b->a, float, s->T);
            s->attn_old = b->attn[i][k] =
                RAL_NEW(&b->a, float,
                        planes * tiny_recorded(b->prompt[i].P, s->T) + 1);
        }
}

/* And for those of a reference. */
static inline void tiny_batch_references(struct tiny_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++)
            b->sample[i][k].logp_ref =
                RAL_NEW(&b->a, float, b->sample[i][k].T);
}

/* The head mean of the last layer, as recipes have it. */
static inline struct ral_look_conf tiny_look(const struct ral_model *m)
{
    return (struct ral_look_conf){{(int32_t)m->config.layers - 1}, 1, false};
}

/* The batch's responses packed for model m. */
static inline void tiny_batch_pack(struct tiny_batch *b,
                                   const struct ral_model *m,
                                   struct ral_pack *pack, struct ral_space *a)
{
    struct ral_response *r = RAL_NEW(&a->host, struct ral_response,
                                     TINY_GROUPS * TINY_G);
    struct ral_pack_group g[TINY_GROUPS];
    struct ral_err err = {0};

    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < b->G; k++)
            r[i * TINY_G + k] = (struct ral_response){b->sample[i][k].ids,
                                                      b->sample[i][k].T};
        g[i] = tiny_group(&b->prompt[i], r + i * TINY_G, b->G);
    }
    TINY_OK(ral_pack_build(pack, m, g, b->n, a, &err));
}

/* logp_old and attn_old of the batch's responses as model m gives them. */
static inline void tiny_batch_record(struct tiny_batch *b,
                                     const struct ral_model *m,
                                     const struct ral_look_conf *look,
                                     float tau)
{
    const size_t planes = ral_look_planes(&m->config, look);
    struct ral_err err = {0};
    struct ral_space a;
    struct ral_pack pack;
    float *logp, *alpha;
    size_t at = 0;

    ral_space_init(&a, m->dev);
    tiny_batch_pack(b, m, &pack, &a);
    logp = RAL_NEW(&a.host, float, pack.R);
    alpha = RAL_NEW(&a.host, float, planes * pack.look[pack.R] + 1);
    TINY_OK(ral_score(m, &pack, tau, look, logp, alpha, &a, &err));
    tiny_batch_rooms(b, planes);
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            const size_t T = b->sample[i][k].T;
            float *q = b->attn[i][k];

            memcpy(b->logp[i][k], logp + at, T * sizeof *logp);
            for (size_t p = 0; p < planes; p++)
                for (size_t t = 0; t < T; q += b->prompt[i].P + t, t++)
                    ral_attn_normalize(b->prompt[i].P + t,
                                       alpha + p * pack.look[pack.R] +
                                           pack.look[at + t],
                                       q);
            at += T;
        }
    ral_space_release(&a);
}

/* Responses, log-probabilities and rows as ral_generate samples them. */
static inline void tiny_batch_sample(struct tiny_batch *b,
                                     const struct ral_model *m,
                                     const struct ral_generation *gen)
{
    const size_t planes = ral_look_planes(&m->config, &gen->look);
    struct ral_generated out[TINY_GROUPS * TINY_G];
    struct ral_pack_group g[TINY_GROUPS];
    const char *id[TINY_GROUPS];
    struct ral_err err = {0};
    struct ral_space a;

    ck_assert_uint_eq(gen->samples, b->G);
    ral_space_init(&a, m->dev);
    for (size_t i = 0; i < b->n; i++) {
        g[i] = tiny_group(&b->prompt[i], NULL, 0);
        id[i] = b->prompt[i].id;
    }
    TINY_OK(ral_generate(m, gen, g, id, b->n, out, &b->a, &a, &err));
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            b->sample[i][k].ids = out[i * b->G + k].ids;
            b->sample[i][k].T = out[i * b->G + k].T;
        }
    tiny_batch_rooms(b, planes);
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            const struct ral_generated *x = &out[i * b->G + k];
            const size_t P = b->prompt[i].P;
            float *q = b->attn[i][k];

            memcpy(b->logp[i][k], x->logp, x->T * sizeof *x->logp);
            for (size_t p = 0; p < planes; p++)
                for (size_t t = 0; t < x->T; q += P + t, t++)
                    ral_attn_normalize(P + t, x->look[t] + p * (P + t + 1), q);
        }
    ral_space_release(&a);
}

/* Adds noise up to +-size to every weight, so that a policy has moved. */
static inline void tiny_disturb(struct ral_model *m, double size,
                                uint64_t seed)
{
    float *w = tiny_get(m->dev, m->params);
    struct ral_rng r;

    ral_rng_init(&r, seed, 4, 0);
    for (size_t i = 0; i < m->table.floats; i++)
        w[i] += (float)(size * 2 * (ral_rng_uniform(&r) - 0.5));
    m->dev->ops->put(m->dev, m->params, w);
    ral_model_repack(m);
    free(w);
}

/* What every objective has; terms are added. */
static inline struct ral_objective tiny_objective(const struct ral_model *m)
{
    return (struct ral_objective){
        .temperature = 1,
        .look = tiny_look(m),
        .max_grad_norm = 1,
        .adamw = {1e-3, 0.9, 0.999, 1e-8, 0},
        .visuals = tiny_visuals,
    };
}

/* Places of the terms in the objectives below. */
enum { TINY_PG, TINY_ATTENTION, TINY_KL };
enum { TINY_TEACHER_KL, TINY_TEACHER_ATTENTION };

static inline struct ral_objective tiny_sft(const struct ral_model *m)
{
    struct ral_objective o = tiny_objective(m);

    ral_objective_add(&o, &ral_term_cross_entropy, 1);
    return o;
}

/* GRPO with the RAL term; callers change what they test. */
static inline struct ral_objective tiny_rl(const struct ral_model *m)
{
    struct ral_objective o = tiny_objective(m);
    struct ral_pg pg = {.eps_low = 0.2, .eps_high = 0.2};
    struct ral_err err = {0};

    TINY_OK(ral_pg_find(&pg.type, "grpo", &err));
    ral_objective_add(&o, &ral_term_policy_gradient, 1)->pg = pg;
    ral_objective_add(&o, &ral_term_attention, 1);
    return o;
}

/* The divergence from a reference, as the third term. */
static inline void tiny_add_kl(struct ral_objective *o, double beta,
                               const struct ral_model *ref)
{
    o->ref = ref;
    ral_objective_add(o, &ral_term_reference_kl, beta)->pg =
        o->term[TINY_PG].pg;
}

static inline struct ral_objective
tiny_distillation(const struct ral_model *m, const struct ral_model *teacher)
{
    struct ral_objective o = tiny_objective(m);

    o.teacher = teacher;
    o.teacher_look = tiny_look(teacher);
    ral_objective_add(&o, &ral_term_teacher_kl, 1);
    ral_objective_add(&o, &ral_term_teacher_attention, 1);
    return o;
}

/* A measurement; NaN when it was not made. */
static inline double tiny_metric(const struct ral_step_stats *st,
                                 const char *name)
{
    return ral_metric_get(&st->metrics, name);
}

/* What a mean was made of. */
static inline double tiny_count(const struct ral_step_stats *st,
                                const char *name)
{
    for (size_t i = 0; i < st->metrics.n; i++)
        if (!strcmp(st->metrics.metric[i].name, name))
            return st->metrics.metric[i].count;
    return 0;
}

#endif
