/* lib/model/attend.c - queries to what the keys' values give them. */
#include "model/attend.h"

static const struct ral_look nowhere;

void ral_attend_forward(const struct ral_stack *s, const struct ral_layout *l,
                        const struct ral_kv *kv, const struct ral_qkv *y,
                        const struct ral_look *look, struct ral_mat o)
{
    RAL_DO(s->dev, kv_put, *kv, l->key.put, y->k, y->v);
    RAL_DO(s->dev, attention, s->shape, *kv, l->query.spans, y->q, o,
           look ? *look : nowhere);
}

void ral_attend_backward(const struct ral_stack *s, const struct ral_layout *l,
                         const struct ral_kv *kv, const struct ral_qkv *y,
                         const struct ral_look *dlook, struct ral_mat dO,
                         struct ral_qkv *dy)
{
    RAL_DO(s->dev, kv_put, *kv, l->key.put, y->k, y->v);
    RAL_DO(s->dev, attention_backward, .shape = s->shape, .kv = *kv,
           .spans = l->query.spans, .q = y->q, .dq = dy->q, .dO = dO,
           .k = y->k, .v = y->v, .dk = dy->k, .dv = dy->v,
           .look = dlook ? *dlook : nowhere);
}
