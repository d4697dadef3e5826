/* lib/cpu/row_ops.c - rows filled, copied, gathered and scattered. */
#include <math.h>
#include <string.h>

#include "cpu/cpu_dev.h"

static bool is_weight(enum ral_dtype t)
{
    return t == RAL_F32 || t == RAL_F16 || t == RAL_BF16;
}

/* n numbers of any weight type, at any place, as F32. */
static void widen(enum ral_dtype t, const char *x, size_t n, float *y)
{
    uint16_t h;

    if (t == RAL_F32) {
        memcpy(y, x, n * sizeof(*y));
        return;
    }
    assert(is_weight(t));
    if (t == RAL_F16) {
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, x + 2 * i, 2);
            y[i] = ral_from_f16(h);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(&h, x + 2 * i, 2);
        y[i] = ral_from_bf16(h);
    }
}

static void fill(const struct ral_nn *nn, const void *op, size_t n,
                 float *const *y)
{
    const float value = ((const struct ral_op_fill *)op)->value;

    (void)nn;
    for (size_t i = 0; i < n; i++)
        y[0][i] = value;
}

void ral_cpu_fill(struct ral_cpu_dev *d, const struct ral_op_fill *o)
{
    ral_cpu_each(d, fill, o, 1, &o->y);
}

static void add(const struct ral_nn *nn, const void *op, size_t n,
                float *const *y)
{
    const float scale = ((const struct ral_op_add *)op)->scale;

    if (scale == 1) { // the same sum
        nn->k.add(n, y[1], y[0]);
        return;
    }
    for (size_t i = 0; i < n; i++)
        y[0][i] = fmaf(scale, y[1][i], y[0][i]);
}

void ral_cpu_add(struct ral_cpu_dev *d, const struct ral_op_add *o)
{
    ral_cpu_each(d, add, o, 2, (struct ral_mat[]){o->y, o->x});
}

/* Rows of one array to rows of another; at: which, or NULL. */
struct rows {
    const struct ral_nn *nn;
    enum ral_dtype from; // type of x
    size_t C;            // numbers of a row
    char *y;
    const char *x;
    size_t ldy, ldx;     // bytes
    const int32_t *at;
    size_t n, channels, times;
};

static struct rows rows_of(const struct ral_cpu_dev *d, struct ral_mat y,
                           struct ral_mat x)
{
    return (struct rows){
        .nn = &d->nn,
        .from = x.type,
        .C = x.cols,
        .y = ral_cpu_at(d, y),
        .x = ral_cpu_at(d, x),
        .ldy = y.ld * ral_dtype_size(y.type),
        .ldx = x.ld * ral_dtype_size(x.type),
        .n = x.rows,
    };
}

static void copy_bytes(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;

    memcpy(r->y + from, r->x + from, to - from);
}

static void copy_rows(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;

    for (size_t i = from; i < to; i++)
        if (is_weight(r->from))
            widen(r->from, r->x + i * r->ldx, r->C,
                  (float *)(r->y + i * r->ldy));
        else
            memcpy(r->y + i * r->ldy, r->x + i * r->ldx,
                   r->C * ral_dtype_size(r->from));
}

void ral_cpu_copy(struct ral_cpu_dev *d, const struct ral_op_copy *o)
{
    const struct rows r = rows_of(d, o->y, o->x);
    const size_t n = o->x.rows * o->x.cols;
    const enum ral_dtype type = is_weight(o->x.type) ? RAL_F32 : o->x.type;

    assert(o->y.rows == o->x.rows && o->y.cols == o->x.cols);
    assert(o->y.type == type);
    (void)type;
    if (o->y.type == o->x.type && o->y.ld == r.C && o->x.ld == r.C)
        ral_cpu_ranges(&d->nn, n * ral_dtype_size(o->x.type), 4096, n,
                       copy_bytes, &r);
    else
        ral_cpu_ranges(&d->nn, r.n, 1, n, copy_rows, &r);
}

static void gather(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;

    for (size_t i = from; i < to; i++) {
        float *y = (float *)(r->y + i * r->ldy);

        if (r->at[i] < 0)
            memset(y, 0, r->C * sizeof(*y));
        else
            widen(r->from, r->x + (size_t)r->at[i] * r->ldx, r->C, y);
    }
}

void ral_cpu_gather(struct ral_cpu_dev *d, const struct ral_op_gather *o)
{
    struct rows r = rows_of(d, o->y, o->x);

    assert(o->y.cols == o->x.cols && o->at.cols == o->y.rows);
    assert(o->y.type == RAL_F32);
    r.at = ral_cpu_i32(d, o->at);
    ral_cpu_ranges(&d->nn, o->y.rows, 1, o->y.rows * r.C, gather, &r);
}

static void scatter(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;

    for (size_t i = from; i < to; i++)
        if (r->at[i] >= 0)
            memcpy(r->y + (size_t)r->at[i] * r->ldy, r->x + i * r->ldx,
                   r->C * sizeof(float));
}

/* All rows of some columns, ascending. */
static void scatter_add(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;

    for (size_t i = 0; i < r->n; i++)
        if (r->at[i] >= 0)
            r->nn->k.add(to - from, (const float *)(r->x + i * r->ldx) + from,
                         (float *)(r->y + (size_t)r->at[i] * r->ldy) + from);
}

void ral_cpu_scatter(struct ral_cpu_dev *d, const struct ral_op_scatter *o)
{
    struct rows r = rows_of(d, o->y, o->x);

    assert(o->y.cols == o->x.cols && o->at.cols == o->x.rows);
    assert(o->y.type == RAL_F32 && o->x.type == RAL_F32);
    r.at = ral_cpu_i32(d, o->at);
    if (o->add)
        ral_cpu_ranges(&d->nn, r.C, RAL_PANEL, r.n * r.C, scatter_add, &r);
    else
        ral_cpu_ranges(&d->nn, r.n, 1, r.n * r.C, scatter, &r);
}

static void spread(const void *ctx, size_t from, size_t to)
{
    const struct rows *r = ctx;
    const size_t K = r->C / r->channels;

    for (size_t i = from; i < to; i++) {
        const float *x = (const float *)(r->x + i * r->ldx);
        float *y = (float *)(r->y + i * r->ldy);

        for (size_t c = 0; c < r->channels; c++, x += K)
            for (size_t t = 0; t < r->times; t++, y += K)
                memcpy(y, x, K * sizeof(*y));
    }
}

void ral_cpu_spread(struct ral_cpu_dev *d, const struct ral_op_spread *o)
{
    struct rows r = rows_of(d, o->y, o->x);

    assert(o->y.rows == o->x.rows && o->x.cols % o->channels == 0);
    assert(o->y.cols == o->x.cols * o->times);
    assert(o->y.type == RAL_F32 && o->x.type == RAL_F32);
    r.channels = o->channels;
    r.times = o->times;
    ral_cpu_ranges(&d->nn, r.n, 1, r.n * o->y.cols, spread, &r);
}
