/* lib/model/forward.c - the whole model over a packed batch, and back. */
#include "model/forward.h"

#include <string.h>

struct ral_stack ral_decoder_stack(const struct ral_model *m, size_t N,
                                   const float *cos, const float *sin)
{
    const struct ral_config *c = &m->config;

    return (struct ral_stack){
        .m = m,
        .shape = {c->heads, c->kv_heads, c->head,
                  1.0f / __builtin_sqrtf((float)c->head)},
        .width = c->width,
        .inner = c->inner,
        .eps = c->eps,
        .N = N,
        .cos = cos,
        .sin = sin,
    };
}

/* Without stores of its own every layer uses the same scratch one. */
int ral_decoder_forward(const struct ral_stack *s, const struct ral_layout *l,
                        const struct ral_layout *last, struct ral_kv *kv, float *x,
                        struct ral_saved *saved, float *const *policy,
                        struct ral_arena *a)
{
    const size_t layers = s->m->config.layers;
    struct ral_kv scratch;
    int rc;

    if (!kv && (rc = ral_kv_init(&scratch, a, s->shape.KV, s->shape.D,
                                 l->slots)) < 0)
        return rc;
    for (size_t i = 0; i < layers; i++)
        if ((rc = ral_block_forward(s, &s->m->table.layer[i],
                                    i + 1 == layers ? last : l,
                                    kv ? &kv[i] : &scratch, x,
                                    saved ? &saved[i] : NULL,
                                    i + 1 == layers ? policy : NULL, a)) < 0)
            return rc;
    return 0;
}

static int embed(const struct ral_model *m, const struct ral_pack *p,
                 bool keep, struct ral_activations *act, struct ral_arena *a)
{
    const size_t D = m->config.width;
    float *features;
    int rc;

    for (size_t i = 0; i < p->N; i++)
        ral_model_embed(m, p->ids[i], act->x + i * D);
    if (!p->npicture)
        return 0;
    if (!(features = RAL_NEW(a, float, p->units * D)))
        return -RAL_ENOMEM;
    rc = ral_vision_forward(m, p->picture, p->npicture, keep, &act->vision,
                            features, a);
    for (size_t i = 0; rc == 0 && i < p->units; i++)
        memcpy(act->x + p->visual[i] * D, features + i * D, D * sizeof(float));
    return rc;
}

static int run(const struct ral_model *m, const struct ral_pack *p,
               struct ral_kv *kv, bool keep, float *const *policy,
               struct ral_activations *act, struct ral_arena *a)
{
    const size_t D = m->config.width;
    int rc;

    memset(act, 0, sizeof(*act));
    act->stack = ral_decoder_stack(m, p->N, p->cos, p->sin);
    act->x = RAL_NEW(a, float, p->N * D);
    act->hidden = RAL_NEW(a, float, p->U * D);
    act->r = RAL_NEW(a, float, p->U);
    if (keep)
        act->layer = RAL_ZNEW(a, struct ral_saved, m->config.layers);
    if (!act->x || !act->hidden || !act->r || (keep && !act->layer))
        return -RAL_ENOMEM;
    if ((rc = embed(m, p, keep, act, a)) < 0 ||
        (rc = ral_decoder_forward(&act->stack, &p->layout, &p->last, kv,
                                  act->x, act->layer, policy, a)) < 0)
        return rc;
    for (size_t u = 0; u < p->U; u++)
        memcpy(act->hidden + u * D, act->x + p->hidden[u] * D,
               D * sizeof(float));
    ral_norm_forward(m, m->table.norm, m->config.eps, p->U, act->hidden,
                     act->hidden, act->r);
    return 0;
}

int ral_forward(const struct ral_model *m, const struct ral_pack *p,
                struct ral_kv *kv, bool keep, float *const *policy,
                struct ral_activations *act, struct ral_arena *a,
                struct ral_err *err)
{
    if (run(m, p, kv, keep, policy, act, a) < 0)
        return ral_err_set(err, -RAL_ENOMEM,
                           "out of memory for %zu tokens and %zu visual "
                           "tokens",
                           p->N, p->units);
    return 0;
}

/* The inputs: rows of the embedding, in one order; features to the tower. */
static int embed_backward(const struct ral_model *m, const struct ral_pack *p,
                          const struct ral_activations *act, const float *dx,
                          float *grad, struct ral_arena *a)
{
    const size_t D = m->config.width;
    float *dE = grad + m->table.tensor[m->table.embed].offset;
    size_t v = 0;
    float *df = p->units ? RAL_NEW(a, float, p->units * D) : NULL;

    if (p->units && !df)
        return -RAL_ENOMEM;
    for (size_t i = 0; i < p->N; i++) {
        if (v < p->units && p->visual[v] == i)
            memcpy(df + v++ * D, dx + i * D, D * sizeof(float));
        else
            m->nn->k.add(D, dx + i * D, dE + (size_t)p->ids[i] * D);
    }
    return p->units ? ral_vision_backward(m, &act->vision, df, grad, a) : 0;
}

static int run_back(const struct ral_model *m, const struct ral_pack *p,
                    const struct ral_activations *act, const float *dhidden,
                    const float *const *dpolicy, float *grad,
                    struct ral_arena *a)
{
    const size_t D = m->config.width, L = m->config.layers;
    float *dx = RAL_ZNEW(a, float, p->N * D);
    float *rows = RAL_NEW(a, float, p->U * D);
    float *drows = RAL_ZNEW(a, float, p->U * D);
    struct ral_kv kv;
    int rc;

    if (!dx || !rows || !drows ||
        ral_kv_init(&kv, a, act->stack.shape.KV, act->stack.shape.D,
                    p->layout.slots) < 0)
        return -RAL_ENOMEM;
    for (size_t u = 0; u < p->U; u++)
        memcpy(rows + u * D, act->x + p->hidden[u] * D, D * sizeof(float));
    if ((rc = ral_norm_backward(m, m->table.norm, p->U, rows, act->r, dhidden,
                                drows, grad, a)) < 0)
        return rc;
    for (size_t u = 0; u < p->U; u++)
        memcpy(dx + p->hidden[u] * D, drows + u * D, D * sizeof(float));
    for (size_t i = L; rc == 0 && i-- > 0;)
        rc = ral_block_backward(&act->stack, &m->table.layer[i],
                                i + 1 == L ? &p->last : &p->layout, &kv,
                                &act->layer[i],
                                i + 1 == L ? dpolicy : NULL, dx, grad, a);
    return rc < 0 ? rc : embed_backward(m, p, act, dx, grad, a);
}

int ral_backward(const struct ral_model *m, const struct ral_pack *p,
                 const struct ral_activations *act, const float *dhidden,
                 const float *const *dpolicy, float *grad, struct ral_arena *a,
                 struct ral_err *err)
{
    const struct ral_mark mark = ral_arena_mark(a);
    int rc = run_back(m, p, act, dhidden, dpolicy, grad, a);

    ral_arena_rewind(a, mark);
    return rc < 0 ? ral_err_set(err, -RAL_ENOMEM,
                                "out of memory in the backward of %zu tokens",
                                p->N)
                  : 0;
}

int ral_policy_query_gradient(const struct ral_model *m,
                              const struct ral_pack *p,
                              const struct ral_activations *act,
                              const float *const *dpolicy, float *dWq,
                              struct ral_arena *a, struct ral_err *err)
{
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_kv kv;
    int rc = ral_kv_init(&kv, a, act->stack.shape.KV, act->stack.shape.D,
                         p->layout.slots);

    if (rc == 0)
        rc = ral_block_query_gradient(&act->stack, &p->last, &kv,
                                      &act->layer[m->config.layers - 1],
                                      dpolicy, dWq, a);
    ral_arena_rewind(a, mark);
    return rc < 0 ? ral_err_set(err, rc, "out of memory for a metric") : 0;
}
