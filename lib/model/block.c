/* lib/model/block.c - one transformer block, of the tower or the decoder.
 *
 * Saved for the backward: the residual stream before each half (x, x2) with
 * the norms' reciprocal roots, both norms' outputs (h1, h2), queries, keys and
 * values after rotary (qkv), the attention's output (o), and the MLP's gate,
 * up and product (g, u, a). Probabilities are computed again. Where only some
 * rows are kept, their h1 and queries are arrays of their own (hq, q).
 */
#include "model/block.h"

#include <assert.h>
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

static size_t rows_kept(const struct ral_stack *s, const struct ral_layout *l)
{
    return l->keep ? l->nkeep : s->N;
}

/* Queries of the rows kept, keys and values of all. */
struct qkv {
    float *q, *k, *v;
    size_t ldq, ldkv;
};

/* Lies in one array, [N][H + 2 KV][D], or queries [M][H][D] in their own. */
static size_t qkv_width(const struct ral_stack *s, const struct ral_layout *l)
{
    return ((l->keep ? 0 : s->shape.H) + 2 * s->shape.KV) * s->shape.D;
}

static struct qkv qkv_in(const struct ral_stack *s, const struct ral_layout *l,
                         float *q, float *qkv)
{
    const size_t W = qkv_width(s, l), O = s->shape.H * s->shape.D;
    float *k = l->keep ? qkv : qkv + O;

    return (struct qkv){.q = l->keep ? q : qkv,
                        .k = k,
                        .v = k + s->shape.KV * s->shape.D,
                        .ldq = l->keep ? O : W,
                        .ldkv = W};
}

static int saved_alloc(const struct ral_stack *s, const struct ral_layout *l,
                       struct ral_saved *v, bool keep, struct ral_arena *a)
{
    const size_t N = s->N, M = rows_kept(s, l), C = s->width, I = s->inner;
    const size_t O = s->shape.H * s->shape.D;

    *v = (struct ral_saved){
        .x = keep ? RAL_NEW(a, float, N * C) : NULL,
        .r1 = RAL_NEW(a, float, N),
        .h1 = RAL_NEW(a, float, N * C),
        .hq = l->keep ? RAL_NEW(a, float, M * C) : NULL,
        .q = l->keep ? RAL_NEW(a, float, M * O) : NULL,
        .qkv = RAL_NEW(a, float, N * qkv_width(s, l)),
        .o = RAL_NEW(a, float, M * O),
        .x2 = keep ? RAL_NEW(a, float, M * C) : NULL,
        .r2 = RAL_NEW(a, float, M),
        .h2 = RAL_NEW(a, float, M * C),
        .g = RAL_NEW(a, float, M * I),
        .u = RAL_NEW(a, float, M * I),
        .a = RAL_NEW(a, float, M * I),
    };
    return (keep && (!v->x || !v->x2)) || (l->keep && (!v->hq || !v->q)) ||
                   !v->r1 || !v->h1 || !v->qkv || !v->o || !v->r2 || !v->h2 ||
                   !v->g || !v->u || !v->a
               ? -RAL_ENOMEM
               : 0;
}

/* Scores of a tile of queries lie in thread scratch. */
static int reserve(const struct ral_stack *s, const struct ral_layout *l)
{
    return ral_nn_reserve(s->m->nn, ral_attention_scratch(&s->shape, l->keys),
                          NULL);
}

/* One row of heads turns by the angles of row t. */
static void rotary_row(const struct ral_stack *s, size_t t, size_t heads,
                       float *x, bool back)
{
    const size_t D = s->shape.D;
    const float *c = s->cos + t * (D / 2), *n = s->sin + t * (D / 2);
    const struct ral_kernels *k = &s->m->nn->k;

    for (size_t h = 0; h < heads; h++)
        (back ? k->rotate_back : k->rotate)(D / 2, c, n, x + h * D);
}

/* Row i of n turns as row at[i] of the stack, or i. */
static void rotary(const struct ral_stack *s, size_t n, const size_t *at,
                   size_t heads, float *x, size_t ld, bool back)
{
    if (ral_nn_serial(s->m->nn, n * heads * s->shape.D, SERIAL)) {
        for (size_t i = 0; i < n; i++)
            rotary_row(s, at ? at[i] : i, heads, x + i * ld, back);
        return;
    }
#pragma omp parallel for num_threads(s->m->nn->threads)
    for (size_t i = 0; i < n; i++)
        rotary_row(s, at ? at[i] : i, heads, x + i * ld, back);
}

/* Queries and keys turn, values do not. */
static void turn(const struct ral_stack *s, const struct ral_layout *l,
                 struct qkv x, bool back)
{
    rotary(s, rows_kept(s, l), l->keep, s->shape.H, x.q, x.ldq, back);
    rotary(s, s->N, NULL, s->shape.KV, x.k, x.ldkv, back);
}

static void put_keys(const struct ral_stack *s, const struct ral_layout *l,
                     struct ral_kv *kv, struct qkv x)
{
    for (size_t i = 0; i < l->nput; i++) {
        const size_t row = l->put[i].row * x.ldkv;

        ral_kv_put(s->m->nn, kv, l->put[i].slot, l->put[i].n, x.k + row,
                   x.v + row, x.ldkv);
    }
}

/* The rows kept, one after another; y may be x. */
static void gather(const struct ral_layout *l, size_t C, const float *x,
                   float *y)
{
    for (size_t i = 0; i < l->nkeep; i++)
        memmove(y + i * C, x + l->keep[i] * C, C * sizeof(float));
}

/* The rows kept back to their places in x[N][C], zeros between them. */
static void scatter(const struct ral_layout *l, size_t N, size_t C, float *x)
{
    size_t i = l->nkeep;

    for (size_t r = N; r-- > 0;)
        if (i && l->keep[i - 1] == r)
            memmove(x + r * C, x + --i * C, C * sizeof(float));
        else
            memset(x + r * C, 0, C * sizeof(float));
}

/* One product for all three, or one each. */
static void qkv_forward(const struct ral_stack *s, const struct ral_block *b,
                        const struct ral_layout *l, const float *hq,
                        const float *h, struct qkv y)
{
    const size_t C = s->width;

    assert(b->nqkv == 3 || !l->keep);
    ral_linear_forward(s->m, b->qkv[0], rows_kept(s, l), hq, C, false, y.q,
                       y.ldq);
    if (b->nqkv == 3) {
        ral_linear_forward(s->m, b->qkv[1], s->N, h, C, false, y.k, y.ldkv);
        ral_linear_forward(s->m, b->qkv[2], s->N, h, C, false, y.v, y.ldkv);
    }
    turn(s, l, y, false);
}

/* dh[N][C], and what the queries add to it. */
static int qkv_backward(const struct ral_stack *s, const struct ral_block *b,
                        const struct ral_layout *l, const struct ral_saved *v,
                        struct qkv dy, float *dh, float *grad,
                        struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t C = s->width, N = s->N, M = rows_kept(s, l);
    float *dq = l->keep ? RAL_NEW(a, float, M * C) : dh;

    if (!dq)
        return -RAL_ENOMEM;
    turn(s, l, dy, true);
    ral_linear_backward(m, b->qkv[0], M, l->keep ? v->hq : v->h1, C, dy.q,
                        dy.ldq, false, dq, C, grad);
    if (b->nqkv == 3) {
        ral_linear_backward(m, b->qkv[1], N, v->h1, C, dy.k, dy.ldkv,
                            !l->keep, dh, C, grad);
        ral_linear_backward(m, b->qkv[2], N, v->h1, C, dy.v, dy.ldkv, true, dh,
                            C, grad);
    }
    for (size_t i = 0; l->keep && i < M; i++)
        m->nn->k.add(C, dq + i * C, dh + l->keep[i] * C);
    return 0;
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

/* Row pointers as offsets from the lowest. */
static void rows_wanted(float *const *policy, size_t n, int64_t *at,
                        struct ral_attn_rows *rows)
{
    float *low = NULL;

    for (size_t i = 0; policy && i < n; i++)
        if (policy[i] && (!low || policy[i] < low))
            low = policy[i];
    for (size_t i = 0; policy && i < n; i++)
        at[i] = policy[i] ? policy[i] - low : -1;
    *rows = (struct ral_attn_rows){.at = at, .out = low};
}

int ral_block_forward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_layout *l, struct ral_kv *kv, float *x,
                      struct ral_saved *saved, float *const *policy,
                      struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, M = rows_kept(s, l), C = s->width, I = s->inner,
                 O = s->shape.H * s->shape.D;
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_saved tmp, *v = saved ? saved : &tmp;
    struct ral_attn_rows want;
    int64_t *at = NULL;
    struct qkv y;

    if (saved_alloc(s, l, v, saved != NULL, a) < 0 || reserve(s, l) < 0)
        return -RAL_ENOMEM;
    if (saved)
        memcpy(v->x, x, N * C * sizeof(float));
    ral_norm_forward(m, b->norm1, s->eps, N, x, v->h1, v->r1);
    if (l->keep) {
        gather(l, C, v->h1, v->hq);
        gather(l, C, x, x);
    }
    y = qkv_in(s, l, v->q, v->qkv);
    qkv_forward(s, b, l, l->keep ? v->hq : v->h1, v->h1, y);
    put_keys(s, l, kv, y);
    if (policy && !(at = RAL_NEW(a, int64_t, M)))
        return -RAL_ENOMEM;
    rows_wanted(policy, M, at, &want);
    ral_attention(m->nn,
                  &(struct ral_attn){s->shape, kv, l->span, l->nspan, y.q,
                                     y.ldq},
                  v->o, O, policy ? &want : NULL);
    ral_linear_forward(m, b->proj, M, v->o, O, true, x, C);
    if (saved)
        memcpy(v->x2, x, M * C * sizeof(float));
    ral_norm_forward(m, b->norm2, s->eps, M, x, v->h2, v->r2);
    ral_linear_forward(m, b->gate, M, v->h2, C, false, v->g, I);
    ral_linear_forward(m, b->up, M, v->h2, C, false, v->u, I);
    rows(m->nn, M * I, m->nn->k.silu_mul, v->g, v->u, v->a);
    ral_linear_forward(m, b->down, M, v->a, I, true, x, C);
    if (!saved)
        ral_arena_rewind(a, mark);
    return 0;
}

static int mlp_backward(const struct ral_stack *s, const struct ral_block *b,
                        size_t N, const struct ral_saved *v, float *dx,
                        float *grad, struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t C = s->width, I = s->inner;
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

/* Through the attention of the rows kept, down to queries, keys and values. */
static int spans_backward(const struct ral_stack *s,
                          const struct ral_layout *l, struct ral_kv *kv,
                          const struct ral_saved *v, const float *dO,
                          const float *const *dpolicy, struct qkv *dy,
                          struct ral_arena *a)
{
    const size_t O = s->shape.H * s->shape.D, W = qkv_width(s, l);
    const struct qkv y = qkv_in(s, l, v->q, v->qkv);
    float *dq = l->keep ? RAL_NEW(a, float, l->nkeep * O) : NULL;
    float *dqkv = RAL_ZNEW(a, float, s->N * W);

    struct ral_attn_rows want;
    int64_t *at = RAL_NEW(a, int64_t, rows_kept(s, l));

    const struct ral_attn attn = {s->shape, kv, l->span, l->nspan, y.q, y.ldq};

    if ((l->keep && !dq) || !dqkv || !at ||
        ral_nn_reserve(s->m->nn, ral_attention_backward_scratch(&attn), NULL) <
            0)
        return -RAL_ENOMEM;
    rows_wanted((float *const *)dpolicy, rows_kept(s, l), at, &want);
    *dy = qkv_in(s, l, dq, dqkv);
    put_keys(s, l, kv, y);
    ral_attention_backward(
        s->m->nn, &attn,
        &(struct ral_attn_grads){y.k, y.v, y.ldkv, dO, O,
                                 dpolicy ? &want : NULL, dy->q, dy->ldq, dy->k,
                                 dy->v, dy->ldkv});
    return 0;
}

static int attention_backward(const struct ral_stack *s,
                              const struct ral_block *b,
                              const struct ral_layout *l, struct ral_kv *kv,
                              const struct ral_saved *v,
                              const float *const *dpolicy, float *dx,
                              float *grad, struct ral_arena *a)
{
    const struct ral_model *m = s->m;
    const size_t N = s->N, M = rows_kept(s, l), C = s->width,
                 O = s->shape.H * s->shape.D;
    float *dO = RAL_NEW(a, float, M * O), *dh = RAL_NEW(a, float, N * C);
    struct qkv dy;

    if (!dO || !dh)
        return -RAL_ENOMEM;
    ral_linear_backward(m, b->proj, M, v->o, O, dx, C, false, dO, O, grad);
    if (spans_backward(s, l, kv, v, dO, dpolicy, &dy, a) < 0 ||
        qkv_backward(s, b, l, v, dy, dh, grad, a) < 0)
        return -RAL_ENOMEM;
    if (l->keep)
        scatter(l, N, C, dx);
    return ral_norm_backward(m, b->norm1, N, v->x, v->r1, dh, dx, grad, a);
}

int ral_block_backward(const struct ral_stack *s, const struct ral_block *b,
                       const struct ral_layout *l, struct ral_kv *kv,
                       const struct ral_saved *saved,
                       const float *const *dpolicy, float *dx, float *grad,
                       struct ral_arena *a)
{
    const struct ral_mark mark = ral_arena_mark(a);
    int rc = mlp_backward(s, b, rows_kept(s, l), saved, dx, grad, a);

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
    const size_t M = rows_kept(s, l), O = s->shape.H * s->shape.D;
    const struct ral_mark mark = ral_arena_mark(a);
    float *dO = RAL_ZNEW(a, float, M * O);
    struct qkv dy;

    if (!dO || spans_backward(s, l, kv, saved, dO, dpolicy, &dy, a) < 0)
        return -RAL_ENOMEM;
    turn(s, l, dy, true);
    ral_matmul_dw(s->m->nn, M, O, s->width, dy.q, dy.ldq,
                  l->keep ? saved->hq : saved->h1, s->width, dWq, NULL);
    ral_arena_rewind(a, mark);
    return 0;
}
