/* lib/model/block.c - one transformer block, of the tower or the decoder.
 *
 * Saved for the backward: the residual stream before each half (x, x2) with
 * the norms' reciprocal roots, both norms' outputs (h1, h2), queries, keys and
 * values after rotary (qkv), the attention's output (o), and the MLP's gate,
 * up and product (g, u, a). Probabilities are computed again.
 */
#include "model/block.h"

#include <string.h>

/* Rows below this many numbers are not worth waking threads for. */
enum { SERIAL = 1 << 15, NORM_ROWS = 256 };

void ral_linear_forward(const struct ral_model *m, struct ral_linear l,
                        size_t N, const float *x, size_t ldx, bool residual,
                        float *y, size_t ldy)
{
    ral_matmul(m->nn, &m->w[l.w], N, x, ldx, l.b < 0 ? NULL : m->vec[l.b],
               residual, y, ldy);
}

void ral_linear_backward(const struct ral_model *m, struct ral_linear l,
                         size_t N, const float *x, size_t ldx,
                         const float *dy, size_t lddy, bool add, float *dx,
                         size_t lddx, float *grad)
{
    const struct ral_weight *w = &m->w[l.w];
    const struct ral_tensor *t = m->table.tensor;

    ral_matmul_dw(m->nn, N, w->N, w->K, dy, lddy, x, ldx, grad + t[l.w].offset,
                  l.b < 0 ? NULL : grad + t[l.b].offset);
    if (dx)
        ral_matmul_dx(m->nn, w, N, dy, lddy, add, dx, lddx);
}

static void norm_row(const struct ral_model *m, int norm, float eps, size_t i,
                     const float *x, float *y, float *r)
{
    const size_t C = m->table.tensor[norm].K;
    const float root =
        m->nn->k.rms_norm(C, x + i * C, m->vec[norm], eps, y + i * C);

    if (r)
        r[i] = root;
}

void ral_norm_forward(const struct ral_model *m, int norm, float eps, size_t N,
                      const float *x, float *y, float *r)
{
    if (ral_nn_serial(m->nn, N * m->table.tensor[norm].K, SERIAL)) {
        for (size_t i = 0; i < N; i++)
            norm_row(m, norm, eps, i, x, y, r);
        return;
    }
#pragma omp parallel for num_threads(m->nn->threads)
    for (size_t i = 0; i < N; i++)
        norm_row(m, norm, eps, i, x, y, r);
}

/* Rows k NORM_ROWS .. of the backward; the weight's share into part[C]. */
static void norm_chunk(const struct ral_model *m, int norm, size_t N, size_t k,
                       const float *x, const float *r, const float *dy,
                       float *dx, float *part)
{
    const size_t C = m->table.tensor[norm].K;

    for (size_t i = k * NORM_ROWS; i < N && i < (k + 1) * NORM_ROWS; i++)
        m->nn->k.rms_norm_backward(C, x + i * C, m->vec[norm], r[i],
                                   dy + i * C, dx + i * C, part);
}

int ral_norm_backward(const struct ral_model *m, int norm, size_t N,
                      const float *x, const float *r, const float *dy,
                      float *dx, float *grad, struct ral_arena *a)
{
    const size_t C = m->table.tensor[norm].K;
    const size_t chunks = (N + NORM_ROWS - 1) / NORM_ROWS;
    const struct ral_mark mark = ral_arena_mark(a);
    float *part = RAL_ZNEW(a, float, chunks * C);

    if (!part)
        return -RAL_ENOMEM;
    if (ral_nn_serial(m->nn, N * C, SERIAL)) {
        for (size_t k = 0; k < chunks; k++)
            norm_chunk(m, norm, N, k, x, r, dy, dx, part + k * C);
    } else {
#pragma omp parallel for num_threads(m->nn->threads)
        for (size_t k = 0; k < chunks; k++)
            norm_chunk(m, norm, N, k, x, r, dy, dx, part + k * C);
    }
    for (size_t k = 0; k < chunks; k++)
        m->nn->k.add(C, part + k * C, grad + m->table.tensor[norm].offset);
    ral_arena_rewind(a, mark);
    return 0;
}

static size_t qkv_width(const struct ral_stack *s)
{
    return (s->shape.H + 2 * s->shape.KV) * s->shape.D;
}

static int saved_alloc(const struct ral_stack *s, struct ral_saved *v,
                       bool keep, struct ral_arena *a)
{
    const size_t N = s->N, C = s->width, I = s->inner;

    *v = (struct ral_saved){
        .x = keep ? RAL_NEW(a, float, N * C) : NULL,
        .r1 = RAL_NEW(a, float, N),
        .h1 = RAL_NEW(a, float, N * C),
        .qkv = RAL_NEW(a, float, N * qkv_width(s)),
        .o = RAL_NEW(a, float, N * s->shape.H * s->shape.D),
        .x2 = keep ? RAL_NEW(a, float, N * C) : NULL,
        .r2 = RAL_NEW(a, float, N),
        .h2 = RAL_NEW(a, float, N * C),
        .g = RAL_NEW(a, float, N * I),
        .u = RAL_NEW(a, float, N * I),
        .a = RAL_NEW(a, float, N * I),
    };
    return (keep && (!v->x || !v->x2)) || !v->r1 || !v->h1 || !v->qkv ||
                   !v->o || !v->r2 || !v->h2 || !v->g || !v->u || !v->a
               ? -RAL_ENOMEM
               : 0;
}

/* Scores of a tile of queries lie in thread scratch. */
static int reserve(const struct ral_stack *s, const struct ral_layout *l)
{
    return ral_nn_reserve(s->m->nn, ral_attention_scratch(&s->shape, l->keys),
                          NULL);
}

/* Queries and keys turn, values do not. */
static void rotary_row(const struct ral_stack *s, float *qkv, bool back,
                       size_t i)
{
    const size_t D = s->shape.D, heads = s->shape.H + s->shape.KV;
    const float *c = s->cos + i * (D / 2), *n = s->sin + i * (D / 2);
    const struct ral_kernels *k = &s->m->nn->k;

    qkv += i * qkv_width(s);
    for (size_t h = 0; h < heads; h++)
        (back ? k->rotate_back : k->rotate)(D / 2, c, n, qkv + h * D);
}

static void rotary(const struct ral_stack *s, float *qkv, bool back)
{
    if (ral_nn_serial(s->m->nn, s->N * qkv_width(s), SERIAL)) {
        for (size_t i = 0; i < s->N; i++)
            rotary_row(s, qkv, back, i);
        return;
    }
#pragma omp parallel for num_threads(s->m->nn->threads)
    for (size_t i = 0; i < s->N; i++)
        rotary_row(s, qkv, back, i);
}

static void put_keys(const struct ral_stack *s, const struct ral_layout *l,
                     struct ral_kv *kv, const float *qkv)
{
    const size_t ld = qkv_width(s), H = s->shape.H, KV = s->shape.KV,
                 D = s->shape.D;

    for (size_t i = 0; i < l->nput; i++) {
        const float *row = qkv + l->put[i].row * ld;

        ral_kv_put(s->m->nn, kv, l->put[i].slot, l->put[i].n, row + H * D,
                   row + (H + KV) * D, ld);
    }
}

static void qkv_forward(const struct ral_stack *s, const struct ral_block *b,
                        const float *h, float *qkv)
{
    float *y = qkv;

    for (int i = 0; i < b->nqkv; i++) {
        ral_linear_forward(s->m, b->qkv[i], s->N, h, s->width, false, y,
                           qkv_width(s));
        y += s->m->w[b->qkv[i].w].N;
    }
    rotary(s, qkv, false);
}

static void rows(const struct ral_nn *nn, size_t n,
                 void (*fn)(size_t, const float *, const float *, float *),
                 const float *x, const float *y, float *z)
{
    const size_t step = SERIAL / 4;

    if (ral_nn_serial(nn, n, SERIAL)) {
        fn(n, x, y, z);
        return;
    }
#pragma omp parallel for num_threads(nn->threads)
    for (size_t i = 0; i < n; i += step)
        fn(n - i < step ? n - i : step, x + i, y + i, z + i);
}

int ral_block_forward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_layout *l, struct ral_kv *kv, float *x,
                      struct ral_saved *saved, float *const *policy,
                      struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, C = s->width, I = s->inner,
                 O = s->shape.H * s->shape.D;
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_saved tmp, *v = saved ? saved : &tmp;

    if (saved_alloc(s, v, saved != NULL, a) < 0 || reserve(s, l) < 0)
        return -RAL_ENOMEM;
    if (saved)
        memcpy(v->x, x, N * C * sizeof(float));
    ral_norm_forward(m, b->norm1, s->eps, N, x, v->h1, v->r1);
    qkv_forward(s, b, v->h1, v->qkv);
    put_keys(s, l, kv, v->qkv);
    ral_attention(m->nn, &s->shape, kv, l->span, l->nspan, v->qkv,
                  qkv_width(s), v->o, O, policy);
    ral_linear_forward(m, b->proj, N, v->o, O, true, x, C);
    if (saved)
        memcpy(v->x2, x, N * C * sizeof(float));
    ral_norm_forward(m, b->norm2, s->eps, N, x, v->h2, v->r2);
    ral_linear_forward(m, b->gate, N, v->h2, C, false, v->g, I);
    ral_linear_forward(m, b->up, N, v->h2, C, false, v->u, I);
    rows(m->nn, N * I, m->nn->k.silu_mul, v->g, v->u, v->a);
    ral_linear_forward(m, b->down, N, v->a, I, true, x, C);
    if (!saved)
        ral_arena_rewind(a, mark);
    return 0;
}

static int mlp_backward(const struct ral_stack *s, const struct ral_block *b,
                        const struct ral_saved *v, float *dx, float *grad,
                        struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, C = s->width, I = s->inner;
    float *da = RAL_NEW(a, float, N * I), *dg = RAL_NEW(a, float, N * I);
    float *du = RAL_NEW(a, float, N * I), *dh = RAL_NEW(a, float, N * C);

    if (!da || !dg || !du || !dh)
        return -RAL_ENOMEM;
    ral_linear_backward(m, b->down, N, v->a, I, dx, C, false, da, I, grad);
    if (ral_nn_serial(m->nn, N * I, SERIAL)) {
        m->nn->k.silu_mul_backward(N * I, v->g, v->u, da, dg, du);
    } else {
#pragma omp parallel for num_threads(m->nn->threads)
        for (size_t i = 0; i < N; i++)
            m->nn->k.silu_mul_backward(I, v->g + i * I, v->u + i * I,
                                       da + i * I, dg + i * I, du + i * I);
    }
    ral_linear_backward(m, b->gate, N, v->h2, C, dg, I, false, dh, C, grad);
    ral_linear_backward(m, b->up, N, v->h2, C, du, I, true, dh, C, grad);
    return ral_norm_backward(m, b->norm2, N, v->x2, v->r2, dh, dx, grad, a);
}

static int attention_backward(const struct ral_stack *s,
                              const struct ral_block *b,
                              const struct ral_layout *l, struct ral_kv *kv,
                              const struct ral_saved *v,
                              const float *const *dpolicy, float *dx,
                              float *grad, struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, C = s->width, W = qkv_width(s), D = s->shape.D,
                 O = s->shape.H * D, k0 = O, v0 = O + s->shape.KV * D;
    float *dO = RAL_NEW(a, float, N * O), *dqkv = RAL_ZNEW(a, float, N * W);
    float *dh = RAL_NEW(a, float, N * C), *dy = dqkv;

    if (!dO || !dqkv || !dh || reserve(s, l) < 0)
        return -RAL_ENOMEM;
    ral_linear_backward(m, b->proj, N, v->o, O, dx, C, false, dO, O, grad);
    put_keys(s, l, kv, v->qkv);
    ral_attention_backward(m->nn, &s->shape, kv, l->span, l->nspan, v->qkv, W,
                           v->qkv + k0, v->qkv + v0, W, dO, O, dpolicy, dqkv,
                           W, dqkv + k0, dqkv + v0, W);
    rotary(s, dqkv, true);
    for (int i = 0; i < b->nqkv; i++) {
        ral_linear_backward(m, b->qkv[i], N, v->h1, C, dy, W, i > 0, dh, C,
                            grad);
        dy += m->w[b->qkv[i].w].N;
    }
    return ral_norm_backward(m, b->norm1, N, v->x, v->r1, dh, dx, grad, a);
}

int ral_block_backward(const struct ral_stack *s, const struct ral_block *b,
                       const struct ral_layout *l, struct ral_kv *kv,
                       const struct ral_saved *saved,
                       const float *const *dpolicy, float *dx, float *grad,
                       struct ral_arena *a)
{
    const struct ral_mark mark = ral_arena_mark(a);
    int rc = mlp_backward(s, b, saved, dx, grad, a);

    ral_arena_rewind(a, mark);
    if (rc == 0)
        rc = attention_backward(s, b, l, kv, saved, dpolicy, dx, grad, a);
    ral_arena_rewind(a, mark);
    return rc;
}

int ral_block_query_gradient(const struct ral_stack *s,
                             const struct ral_layout *l, struct ral_kv *kv,
                             const struct ral_saved *saved,
                             const float *const *dpolicy, float *dWq,
                             struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, W = qkv_width(s), D = s->shape.D,
                 O = s->shape.H * D, k0 = O, v0 = O + s->shape.KV * D;
    const struct ral_mark mark = ral_arena_mark(a);
    float *dO = RAL_ZNEW(a, float, N * O), *dqkv = RAL_ZNEW(a, float, N * W);

    if (!dO || !dqkv || reserve(s, l) < 0)
        return -RAL_ENOMEM;
    put_keys(s, l, kv, saved->qkv);
    ral_attention_backward(m->nn, &s->shape, kv, l->span, l->nspan, saved->qkv,
                           W, saved->qkv + k0, saved->qkv + v0, W, dO, O,
                           dpolicy, dqkv, W, dqkv + k0, dqkv + v0, W);
    rotary(s, dqkv, true);
    ral_matmul_dw(m->nn, N, O, s->width, dqkv, W, saved->h1, s->width, dWq,
                  NULL);
    ral_arena_rewind(a, mark);
    return 0;
}
