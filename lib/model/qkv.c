/* lib/model/qkv.c - rows to queries, keys and values, turned by position. */
#include "model/qkv.h"

#include "model/linear.h"

static struct ral_qkv qkv_new(const struct ral_stack *s,
                              const struct ral_layout *l, bool zero,
                              struct ral_space *a)
{
    const size_t O = s->shape.H * s->shape.D, E = s->shape.KV * s->shape.D;
    struct ral_mat (*room)(struct ral_space *, size_t, size_t) =
        zero ? ral_mat_zero : ral_mat_f32;
    struct ral_qkv y = {0};

    if (s->arch->fused_qkv) {
        assert(!ral_mat_some(l->query.pick));
        y.all = room(a, l->key.n, O + 2 * E);
        y.q = ral_mat_cols(y.all, 0, O);
        y.k = ral_mat_cols(y.all, O, E);
        y.v = ral_mat_cols(y.all, O + E, E);
    } else {
        const struct ral_mat kv = room(a, l->key.n, 2 * E);

        y.q = ral_mat_f32(a, l->query.n, O); // its gradient is written whole
        y.k = ral_mat_cols(kv, 0, E);
        y.v = ral_mat_cols(kv, E, E);
    }
    return y;
}

struct ral_qkv ral_qkv_zero(const struct ral_stack *s,
                            const struct ral_layout *l, struct ral_space *a)
{
    return qkv_new(s, l, true, a);
}

/* Queries and keys turn, values do not. */
static void turn(const struct ral_stack *s, const struct ral_layout *l,
                 struct ral_qkv y, bool back)
{
    RAL_DO(s->dev, rotate, y.q, l->query.cos, l->query.sin, s->shape.H, back);
    RAL_DO(s->dev, rotate, y.k, l->key.cos, l->key.sin, s->shape.KV, back);
}

void ral_qkv_turn_back(const struct ral_stack *s, const struct ral_layout *l,
                       struct ral_qkv dy)
{
    turn(s, l, dy, true);
}

void ral_qkv_forward(const struct ral_stack *s, const struct ral_block *b,
                     const struct ral_layout *l, struct ral_mat h,
                     struct ral_qkv_tape *t, struct ral_space *a)
{
    t->h = t->hq = h;
    t->y = qkv_new(s, l, false, a);
    if (ral_mat_some(l->query.pick)) { // the only place where rows get fewer
        t->hq = ral_mat_f32(a, l->query.n, h.cols);
        RAL_DO(s->dev, gather, t->hq, h, l->query.pick);
    }
    if (s->arch->fused_qkv) {
        ral_linear_forward(s->m, b->qkv[0], h, false, t->y.all);
    } else {
        ral_linear_forward(s->m, b->qkv[0], t->hq, false, t->y.q);
        ral_linear_forward(s->m, b->qkv[1], h, false, t->y.k);
        ral_linear_forward(s->m, b->qkv[2], h, false, t->y.v);
    }
    turn(s, l, t->y, false);
}

void ral_qkv_backward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_layout *l, const struct ral_qkv_tape *t,
                      struct ral_qkv dy, struct ral_mat dh,
                      struct ral_mat grad, struct ral_space *a)
{
    const bool fewer = ral_mat_some(l->query.pick);
    const struct ral_mat dhq = fewer ? ral_mat_f32(a, l->query.n, dh.cols) : dh;

    ral_qkv_turn_back(s, l, dy);
    if (s->arch->fused_qkv) {
        ral_linear_backward(s->m, b->qkv[0], t->h, dy.all, false, dh, grad);
        return;
    }
    ral_linear_backward(s->m, b->qkv[0], t->hq, dy.q, false, dhq, grad);
    // Where all rows ask, dhq is dh, which so holds the queries' share.
    ral_linear_backward(s->m, b->qkv[1], t->h, dy.k, !fewer, dh, grad);
    ral_linear_backward(s->m, b->qkv[2], t->h, dy.v, true, dh, grad);
    if (fewer)
        RAL_DO(s->dev, scatter, dh, dhq, l->query.pick, true);
}
