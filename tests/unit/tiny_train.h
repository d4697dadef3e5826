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

static inline int tiny_pictures(void *ctx, const struct ral_train_group *g,
                                bool teacher, struct ral_visual **out,
                                size_t *n, struct ral_arena *a,
                                struct ral_err *err)
{
    const struct tiny_prompt *p = g->source;

    (void)ctx, (void)teacher, (void)a, (void)err;
    *out = (struct ral_visual *)(uintptr_t)&p->picture;
    *n = p->npicture;
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
                                           .visual = p->visual,
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

/* Room for the values of sampling, and for those of a reference. */
static inline void tiny_batch_rooms(struct tiny_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            struct ral_train_sample *s = &b->sample[i][k];

            s->logp_old = b->logp[i][k] = RAL_NEW(&b->a, float, s->T);
            s->attn_old = b->attn[i][k] =
                RAL_NEW(&b->a, float, s->T * (b->prompt[i].P + s->T));
        }
}

static inline void tiny_batch_references(struct tiny_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++)
            b->sample[i][k].logp_ref =
                RAL_NEW(&b->a, float, b->sample[i][k].T);
}

/* What one response token was recorded with. */
static inline void tiny_record_row(size_t S, const float *alpha, float **q)
{
    ral_attn_normalize(S, alpha, *q);
    *q += S;
}

/* logp_old and attn_old of the batch's responses as model m gives them. */
static inline void tiny_batch_record(struct tiny_batch *b,
                                     const struct ral_model *m, float tau)
{
    struct ral_response r[TINY_GROUPS][TINY_G];
    struct ral_pack_group g[TINY_GROUPS];
    struct ral_arena a = {0};
    struct ral_err err = {0};
    struct ral_pack pack;
    float *logp, **alpha;
    size_t at = 0;

    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < b->G; k++)
            r[i][k] = (struct ral_response){b->sample[i][k].ids,
                                            b->sample[i][k].T};
        g[i] = tiny_group(&b->prompt[i], r[i], b->G);
    }
    TINY_OK(ral_pack_build(&pack, m, g, b->n, &a, &err));
    logp = RAL_NEW(&a, float, pack.R);
    alpha = RAL_NEW(&a, float *, pack.R);
    for (size_t j = 0; j < pack.R; j++)
        alpha[j] = RAL_NEW(&a, float, pack.keys[j]);
    TINY_OK(ral_score(m, &pack, tau, logp, alpha, &a, &err));
    tiny_batch_rooms(b);
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            float *q = b->attn[i][k];

            for (size_t t = 0; t < b->sample[i][k].T; t++, at++) {
                b->logp[i][k][t] = logp[at];
                tiny_record_row(b->prompt[i].P + t, alpha[at], &q);
            }
        }
    ral_arena_release(&a);
}

/* Responses, log-probabilities and rows as ral_generate samples them. */
static inline void tiny_batch_sample(struct tiny_batch *b,
                                     const struct ral_model *m,
                                     const struct ral_generation *gen)
{
    struct ral_generated out[TINY_GROUPS * TINY_G];
    struct ral_pack_group g[TINY_GROUPS];
    const char *id[TINY_GROUPS];
    struct ral_arena a = {0};
    struct ral_err err = {0};

    ck_assert_uint_eq(gen->samples, b->G);
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
    tiny_batch_rooms(b);
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->G; k++) {
            const struct ral_generated *x = &out[i * b->G + k];
            float *q = b->attn[i][k];

            memcpy(b->logp[i][k], x->logp, x->T * sizeof *x->logp);
            for (size_t t = 0; t < x->T; t++)
                tiny_record_row(b->prompt[i].P + t, x->alpha[t], &q);
        }
    ral_arena_release(&a);
}

/* Adds noise up to +-size to every weight, so that a policy has moved. */
static inline void tiny_disturb(struct ral_model *m, double size,
                                uint64_t seed)
{
    struct ral_rng r;

    ral_rng_init(&r, seed, 4, 0);
    for (size_t i = 0; i < m->table.floats; i++)
        m->params[i] += (float)(size * 2 * (ral_rng_uniform(&r) - 0.5));
    ral_model_repack(m);
}

/* GRPO with the RAL term; callers change what they test. */
static inline struct ral_objective tiny_objective(enum ral_task task)
{
    struct ral_objective o = {
        .task = task,
        .pg = {.eps_low = 0.2, .eps_high = 0.2},
        .temperature = 1,
        .attn_coef = task == RAL_TASK_SFT ? 0 : 1,
        .attn_reduce = RAL_REDUCE_TOKEN,
        .kd_coef = 1,
        .max_grad_norm = 1,
        .adamw = {1e-3, 0.9, 0.999, 1e-8, 0},
        .pictures = tiny_pictures,
    };
    struct ral_err err = {0};

    TINY_OK(ral_pg_find(&o.pg.type, "grpo", &err));
    return o;
}

#endif
