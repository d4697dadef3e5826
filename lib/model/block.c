/* lib/model/block.c - one transformer block, of the tower or the decoder. */
#include "model/block.h"

#include "model/linear.h"

/* x is about to change: the norm's backward needs it as it was. */
static struct ral_mat before(const struct ral_stack *s, struct ral_mat x,
                             bool keep, struct ral_space *a)
{
    struct ral_mat y = x;

    if (keep) {
        y = ral_mat_f32(a, x.rows, x.cols);
        RAL_DO(s->dev, copy, y, x);
    }
    return y;
}

struct ral_mat ral_block_forward(const struct ral_stack *s,
                                 const struct ral_block *b,
                                 const struct ral_layout *l,
                                 const struct ral_kv *kv, struct ral_mat x,
                                 const struct ral_look *look,
                                 struct ral_block_tape *tape,
                                 struct ral_space *a)
{
    const bool fewer = ral_mat_some(l->query.pick);
    const struct ral_mat out =
        fewer ? ral_mat_f32(a, l->query.n, x.cols) : x;
    const struct ral_space_mark mark = ral_space_mark(a);
    struct ral_block_tape tmp, *t = tape ? tape : &tmp;

    ral_norm_forward(s, b->norm1, before(s, x, tape && !fewer, a), &t->norm1,
                     a);
    ral_qkv_forward(s, b, l, t->norm1.y, &t->qkv, a);
    if (fewer)
        RAL_DO(s->dev, gather, out, x, l->query.pick);
    t->o = ral_mat_f32(a, l->query.n, s->shape.H * s->shape.D);
    ral_attend_forward(s, l, kv, &t->qkv.y, look, t->o);
    ral_linear_forward(s->m, b->proj, t->o, true, out);
    ral_norm_forward(s, b->norm2, before(s, out, tape, a), &t->norm2, a);
    ral_mlp_forward(s, b, t->norm2.y, out, &t->mlp, a);
    if (!tape)
        ral_space_rewind(a, mark);
    return out;
}

static void mlp_half(const struct ral_stack *s, const struct ral_block *b,
                     const struct ral_block_tape *t, struct ral_mat dx,
                     struct ral_mat grad, struct ral_space *a)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat dh = ral_mat_f32(a, dx.rows, dx.cols);

    ral_mlp_backward(s, b, &t->mlp, dx, dh, grad, a);
    ral_norm_backward(s, b->norm2, &t->norm2, dh, dx, grad);
    ral_space_rewind(a, mark);
}

/* dx of the rows that ask to dx of all rows, in: they may be one array. */
static void attention_half(const struct ral_stack *s,
                           const struct ral_block *b,
                           const struct ral_layout *l,
                           const struct ral_kv *kv,
                           const struct ral_block_tape *t,
                           const struct ral_look *dlook, struct ral_mat dx,
                           struct ral_mat in, struct ral_mat grad,
                           struct ral_space *a)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat dO = ral_mat_f32(a, t->o.rows, t->o.cols);
    const struct ral_mat dh = ral_mat_f32(a, in.rows, in.cols);
    struct ral_qkv dy = ral_qkv_zero(s, l, a);

    ral_linear_backward(s->m, b->proj, t->o, dx, false, dO, grad);
    ral_attend_backward(s, l, kv, &t->qkv.y, dlook, dO, &dy);
    ral_qkv_backward(s, b, l, &t->qkv, dy, dh, grad, a);
    if (ral_mat_some(l->query.pick))
        RAL_DO(s->dev, scatter, in, dx, l->query.pick, false);
    ral_norm_backward(s, b->norm1, &t->norm1, dh, in, grad);
    ral_space_rewind(a, mark);
}

struct ral_mat ral_block_backward(const struct ral_stack *s,
                                  const struct ral_block *b,
                                  const struct ral_layout *l,
                                  const struct ral_kv *kv,
                                  const struct ral_block_tape *t,
                                  const struct ral_look *dlook,
                                  struct ral_mat dx, struct ral_mat grad,
                                  struct ral_space *a)
{
    const struct ral_mat in = ral_mat_some(l->query.pick)
                                  ? ral_mat_zero(a, l->key.n, dx.cols)
                                  : dx;

    mlp_half(s, b, t, dx, grad, a);
    attention_half(s, b, l, kv, t, dlook, dx, in, grad, a);
    return in;
}

void ral_block_query_gradient(const struct ral_stack *s,
                              const struct ral_layout *l,
                              const struct ral_kv *kv,
                              const struct ral_block_tape *t,
                              const struct ral_look *dlook, struct ral_mat dw,
                              struct ral_space *a)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat dO = ral_mat_zero(a, t->o.rows, t->o.cols);
    const struct ral_mat none = {0};
    struct ral_qkv dy = ral_qkv_zero(s, l, a);

    ral_attend_backward(s, l, kv, &t->qkv.y, dlook, dO, &dy);
    ral_qkv_turn_back(s, l, dy);
    RAL_DO(s->dev, matmul_dw, dw, none, dy.q, t->qkv.hq);
    ral_space_rewind(a, mark);
}
