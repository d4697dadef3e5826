/* lib/cpu/layer_ops.c - products, norms, rotary, activations and attention, as
 * the table of operations has them.
 */
#include <string.h>

#include "cpu/attention.h"
#include "cpu/cpu_dev.h"
#include "cpu/matmul.h"

enum { NORM_ROWS = 256 }; // of a chunk of the norm weight's gradient

/* ---------------------------------------------------------------- products */

static struct ral_cpu_weight weight_of(const struct ral_cpu_dev *d,
                                       struct ral_weight w)
{
    assert(w.w.ld == w.w.cols || w.w.rows <= 1);
    return (struct ral_cpu_weight){.dtype = w.w.type,
                                   .N = w.w.rows,
                                   .K = w.w.cols,
                                   .data = ral_cpu_at(d, w.w),
                                   .panels = ral_cpu_at(d, w.packed)};
}

size_t ral_cpu_packed(const struct ral_dev *d, size_t N, size_t K)
{
    (void)d;
    return ral_weight_panel_floats(&(struct ral_cpu_weight){.N = N, .K = K});
}

void ral_cpu_pack(struct ral_cpu_dev *d, const struct ral_op_pack *o)
{
    struct ral_cpu_weight w = weight_of(d, o->w);

    assert(o->w.packed.cols >= ral_weight_panel_floats(&w));
    ral_weight_pack(&d->nn, &w);
}

void ral_cpu_matmul(struct ral_cpu_dev *d, const struct ral_op_matmul *o)
{
    const struct ral_cpu_weight w = weight_of(d, o->w);

    assert(o->x.rows == o->y.rows && o->x.cols == w.K && o->y.cols == w.N);
    ral_matmul(&d->nn, &w, o->x.rows, ral_cpu_f32(d, o->x), o->x.ld,
               ral_cpu_f32(d, o->bias), o->residual, ral_cpu_f32(d, o->y),
               o->y.ld);
}

void ral_cpu_matmul_dx(struct ral_cpu_dev *d, const struct ral_op_matmul_dx *o)
{
    const struct ral_cpu_weight w = weight_of(d, o->w);

    assert(o->dx.rows == o->dy.rows && o->dx.cols == w.K &&
           o->dy.cols == w.N);
    ral_matmul_dx(&d->nn, &w, o->dy.rows, ral_cpu_f32(d, o->dy), o->dy.ld,
                  o->add, ral_cpu_f32(d, o->dx), o->dx.ld);
}

void ral_cpu_matmul_dw(struct ral_cpu_dev *d, const struct ral_op_matmul_dw *o)
{
    assert(o->dy.rows == o->x.rows && o->dw.rows == o->dy.cols &&
           o->dw.cols == o->x.cols);
    assert(o->dw.ld == o->dw.cols || o->dw.rows <= 1);
    ral_matmul_dw(&d->nn, o->x.rows, o->dw.rows, o->dw.cols,
                  ral_cpu_f32(d, o->dy), o->dy.ld, ral_cpu_f32(d, o->x),
                  o->x.ld, ral_cpu_f32(d, o->dw), ral_cpu_f32(d, o->db));
}

/* ------------------------------------------------------------------- norms */

struct norm {
    const struct ral_nn *nn;
    size_t N, C;
    const float *x, *w, *dy;
    float *r, *y, *dx;
    size_t ldx, ldy, lddx, lddy;
    float *part; // [chunks][C] of dw, or NULL
    float eps;
};

static void norm_rows(const void *ctx, size_t from, size_t to)
{
    const struct norm *n = ctx;

    for (size_t i = from; i < to; i++) {
        const float r = n->nn->k.rms_norm(n->C, n->x + i * n->ldx, n->w,
                                          n->eps, n->y + i * n->ldy);

        if (n->r)
            n->r[i] = r;
    }
}

void ral_cpu_rms_norm(struct ral_cpu_dev *d, const struct ral_op_rms_norm *o)
{
    const struct norm n = {
        .nn = &d->nn,
        .C = o->x.cols,
        .x = ral_cpu_f32(d, o->x),
        .ldx = o->x.ld,
        .y = ral_cpu_f32(d, o->y),
        .ldy = o->y.ld,
        .r = ral_cpu_f32(d, o->r),
        .w = ral_cpu_f32(d, o->w),
        .eps = o->eps,
    };

    assert(o->y.rows == o->x.rows && o->y.cols == n.C && o->w.cols == n.C);
    ral_cpu_ranges(&d->nn, o->x.rows, 1, o->x.rows * n.C, norm_rows, &n);
}

/* Chunks of rows; the weight's share of each from zero. */
static void norm_chunks(const void *ctx, size_t from, size_t to)
{
    const struct norm *n = ctx;

    for (size_t k = from; k < to; k++) {
        float *part = n->part ? n->part + k * n->C : NULL;

        if (part)
            memset(part, 0, n->C * sizeof(*part));
        for (size_t i = k * NORM_ROWS; i < n->N && i < (k + 1) * NORM_ROWS; i++)
            n->nn->k.rms_norm_backward(n->C, n->x + i * n->ldx, n->w, n->r[i],
                                       n->dy + i * n->lddy,
                                       n->dx + i * n->lddx, part);
    }
}

void ral_cpu_rms_norm_backward(struct ral_cpu_dev *d,
                               const struct ral_op_rms_norm_backward *o)
{
    const size_t N = o->x.rows, C = o->x.cols;
    const size_t chunks = (N + NORM_ROWS - 1) / NORM_ROWS;
    const size_t threads = (size_t)d->nn.threads;
    struct norm n = {
        .nn = &d->nn,
        .N = N,
        .C = C,
        .x = ral_cpu_f32(d, o->x),
        .ldx = o->x.ld,
        .dy = ral_cpu_f32(d, o->dy),
        .lddy = o->dy.ld,
        .dx = ral_cpu_f32(d, o->dx),
        .lddx = o->dx.ld,
        .r = ral_cpu_f32(d, o->r),
        .w = ral_cpu_f32(d, o->w),
    };
    float *dw = ral_cpu_f32(d, o->dw);

    assert(o->dy.rows == N && o->dy.cols == C && o->dx.rows == N &&
           o->dx.cols == C && o->w.cols == C);
    if (dw) { // in what all threads have together
        if (!ral_cpu_reserve(d, (chunks * C + threads - 1) / threads))
            return;
        n.part = d->nn.scratch;
    }
    ral_cpu_ranges(&d->nn, chunks, 1, N * C, norm_chunks, &n);
    for (size_t k = 0; dw && k < chunks; k++)
        d->nn.k.add(C, n.part + k * C, dw);
}

/* ------------------------------------------------------------------ rotary */

struct turn {
    void (*rotate)(size_t half, const float *cos, const float *sin, float *x);
    size_t heads, half, ldx, ldc, lds;
    float *x;
    const float *cos, *sin;
};

static void rotate_rows(const void *ctx, size_t from, size_t to)
{
    const struct turn *t = ctx;

    for (size_t i = from; i < to; i++)
        for (size_t h = 0; h < t->heads; h++)
            t->rotate(t->half, t->cos + i * t->ldc, t->sin + i * t->lds,
                      t->x + i * t->ldx + h * 2 * t->half);
}

void ral_cpu_rotate(struct ral_cpu_dev *d, const struct ral_op_rotate *o)
{
    const struct turn t = {
        .rotate = o->back ? d->nn.k.rotate_back : d->nn.k.rotate,
        .heads = o->heads,
        .half = o->cos.cols,
        .x = ral_cpu_f32(d, o->x),
        .ldx = o->x.ld,
        .cos = ral_cpu_f32(d, o->cos),
        .ldc = o->cos.ld,
        .sin = ral_cpu_f32(d, o->sin),
        .lds = o->sin.ld,
    };

    assert(o->x.cols == t.heads * 2 * t.half && o->cos.rows == o->x.rows &&
           o->sin.rows == o->x.rows && o->sin.cols == t.half);
    ral_cpu_ranges(&d->nn, o->x.rows, 1, o->x.rows * o->x.cols, rotate_rows,
                   &t);
}

/* ------------------------------------------------------------- activations */

static void silu_mul(const struct ral_nn *nn, const void *op, size_t n,
                     float *const *y)
{
    (void)op;
    nn->k.silu_mul(n, y[1], y[2], y[0]);
}

void ral_cpu_silu_mul(struct ral_cpu_dev *d, const struct ral_op_silu_mul *o)
{
    ral_cpu_each(d, silu_mul, o, 3, (struct ral_mat[]){o->y, o->g, o->u});
}

static void silu_mul_backward(const struct ral_nn *nn, const void *op, size_t n,
                              float *const *y)
{
    (void)op;
    nn->k.silu_mul_backward(n, y[3], y[4], y[2], y[0], y[1]);
}

void ral_cpu_silu_mul_backward(struct ral_cpu_dev *d,
                               const struct ral_op_silu_mul_backward *o)
{
    ral_cpu_each(d, silu_mul_backward, o, 5,
                 (struct ral_mat[]){o->dg, o->du, o->dy, o->g, o->u});
}

static void gelu(const struct ral_nn *nn, const void *op, size_t n,
                 float *const *y)
{
    (void)op;
    nn->k.gelu(n, y[1], y[0]);
}

void ral_cpu_gelu(struct ral_cpu_dev *d, const struct ral_op_gelu *o)
{
    ral_cpu_each(d, gelu, o, 2, (struct ral_mat[]){o->y, o->x});
}

static void gelu_backward(const struct ral_nn *nn, const void *op, size_t n,
                          float *const *y)
{
    (void)op;
    nn->k.gelu_backward(n, y[2], y[1], y[0]);
}

void ral_cpu_gelu_backward(struct ral_cpu_dev *d,
                           const struct ral_op_gelu_backward *o)
{
    ral_cpu_each(d, gelu_backward, o, 3,
                 (struct ral_mat[]){o->dx, o->dy, o->x});
}

/* --------------------------------------------------------------- attention */

static struct ral_cpu_kv store_of(const struct ral_cpu_dev *d, struct ral_kv kv)
{
    return (struct ral_cpu_kv){.KV = kv.KV,
                               .D = kv.D,
                               .Dp = kv.Dp,
                               .slots = kv.slots,
                               .k = ral_cpu_f32(d, kv.k),
                               .v = ral_cpu_f32(d, kv.v)};
}

void ral_cpu_kv_put(struct ral_cpu_dev *d, const struct ral_op_kv_put *o)
{
    struct ral_cpu_kv kv = store_of(d, o->kv);
    const struct ral_run *run = ral_cpu_at(d, o->runs);
    const float *k = ral_cpu_f32(d, o->k), *v = ral_cpu_f32(d, o->v);

    assert(o->k.ld == o->v.ld && o->k.cols == kv.KV * kv.D);
    for (size_t i = 0; i < o->runs.rows; i++) {
        assert(run[i].row <= o->k.rows && run[i].n <= o->k.rows - run[i].row);
        ral_kv_put(&d->nn, &kv, run[i].slot, run[i].n,
                   k + run[i].row * o->k.ld, v + run[i].row * o->v.ld,
                   o->k.ld);
    }
}

static struct ral_attn attn_of(const struct ral_cpu_dev *d,
                               const struct ral_attn_shape *shape,
                               const struct ral_cpu_kv *kv,
                               struct ral_spans spans, struct ral_mat q)
{
    return (struct ral_attn){.s = *shape,
                             .kv = kv,
                             .spans = ral_cpu_at(d, spans.table),
                             .nspans = spans.table.rows,
                             .q = ral_cpu_f32(d, q),
                             .ldq = q.ld};
}

static struct ral_attn_rows rows_of(const struct ral_cpu_dev *d,
                                    const struct ral_look *look)
{
    assert(!look->at.at || look->at.type == RAL_I64);
    return (struct ral_attn_rows){.at = ral_cpu_at(d, look->at),
                                  .plane = look->planes.ld,
                                  .each = look->each,
                                  .out = ral_cpu_f32(d, look->planes)};
}

void ral_cpu_attention(struct ral_cpu_dev *d, const struct ral_op_attention *o)
{
    const struct ral_cpu_kv kv = store_of(d, o->kv);
    const struct ral_attn a = attn_of(d, &o->shape, &kv, o->spans, o->q);
    const struct ral_attn_rows rows = rows_of(d, &o->look);

    if (ral_cpu_reserve(d, ral_attention_scratch(&o->shape, o->spans.keys)))
        ral_attention(&d->nn, &a, ral_cpu_f32(d, o->o), o->o.ld,
                      rows.at ? &rows : NULL);
}

void ral_cpu_attention_backward(struct ral_cpu_dev *d,
                                const struct ral_op_attention_backward *o)
{
    const struct ral_cpu_kv kv = store_of(d, o->kv);
    const struct ral_attn a = attn_of(d, &o->shape, &kv, o->spans, o->q);
    const struct ral_attn_rows rows = rows_of(d, &o->look);
    const struct ral_attn_grads g = {
        .k = ral_cpu_f32(d, o->k),
        .v = ral_cpu_f32(d, o->v),
        .ldkv = o->k.ld,
        .dO = ral_cpu_f32(d, o->dO),
        .lddo = o->dO.ld,
        .drows = rows.at ? &rows : NULL,
        .dq = ral_cpu_f32(d, o->dq),
        .lddq = o->dq.ld,
        .dk = ral_cpu_f32(d, o->dk),
        .dv = ral_cpu_f32(d, o->dv),
        .lddkv = o->dk.ld,
    };

    assert(o->k.ld == o->v.ld && o->dk.ld == o->dv.ld);
    if (ral_cpu_reserve(d, ral_attention_backward_scratch(&a)))
        ral_attention_backward(&d->nn, &a, &g);
}
