/* lib/cpu/optim_ops.c - a gradient's squares, AdamW, and the search for what
 * is not finite.
 */
#include <math.h>
#include <string.h>

#include "cpu/cpu_dev.h"

enum { CHUNK = 1 << 14, SEARCH = 1024 };

/* ------------------------------------------------------------------ squares */

struct squares {
    size_t n;
    const float *x;
    double *part; // one a chunk
};

static void square_chunks(const void *ctx, size_t from, size_t to)
{
    const struct squares *s = ctx;

    for (size_t c = from; c < to; c++) {
        double sum = 0;

        for (size_t i = c * CHUNK; i < s->n && i < (c + 1) * CHUNK; i++)
            sum += (double)s->x[i] * (double)s->x[i];
        s->part[c] = sum;
    }
}

void ral_cpu_sumsq(struct ral_cpu_dev *d, const struct ral_op_sumsq *o)
{
    const size_t chunks = (o->x.cols + CHUNK - 1) / CHUNK;
    const size_t threads = (size_t)d->nn.threads;
    struct squares s = {.n = o->x.cols, .x = ral_cpu_f32(d, o->x)};
    double sum = 0;

    assert(o->x.rows == 1);
    if (!ral_cpu_reserve(d, (2 * chunks + threads - 1) / threads))
        return;
    s.part = (double *)d->nn.scratch; // what all threads have together
    ral_cpu_ranges(&d->nn, chunks, 1, s.n, square_chunks, &s);
    for (size_t c = 0; c < chunks; c++)
        sum += s.part[c];
    *ral_cpu_f64(d, o->sum) = sum;
}

/* -------------------------------------------------------------------- AdamW */

static void adamw(const struct ral_nn *nn, const void *op, size_t n,
                  float *const *y)
{
    const struct ral_op_adamw *o = op;
    const float b1 = o->b1, b2 = o->b2, a1 = o->a1, a2 = o->a2;
    const float step = o->step, root = o->root, eps = o->eps;
    const float decay = o->decay, scale = o->scale, *grad = y[3];
    float *w = y[0], *m = y[1], *v = y[2];

    (void)nn;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float g = grad[i] * scale;

        m[i] = b1 * m[i] + a1 * g;
        v[i] = b2 * v[i] + a2 * g * g;
        w[i] = decay * w[i] - step * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

void ral_cpu_adamw(struct ral_cpu_dev *d, const struct ral_op_adamw *o)
{
    ral_cpu_each(d, adamw, o, 4,
                 (struct ral_mat[]){o->w, o->m, o->v, o->grad});
}

/* ------------------------------------------------------------------- finite */

/* Bits of the exponent: all ones is NaN or Inf. */
static size_t search16(const char *x, size_t n, unsigned ones)
{
    unsigned bad = 0;
    uint16_t h;

    for (size_t i = 0; i < n; i++) {
        memcpy(&h, x + 2 * i, 2);
        bad |= (h & ones) == ones;
    }
    for (size_t i = 0; bad && i < n; i++) {
        memcpy(&h, x + 2 * i, 2);
        if ((h & ones) == ones)
            return i;
    }
    return n;
}

static size_t search32(const char *x, size_t n)
{
    const uint32_t ones = 0x7f800000;
    unsigned bad = 0;
    uint32_t u;

    for (size_t i = 0; i < n; i++) {
        memcpy(&u, x + 4 * i, 4);
        bad |= (u & ones) == ones;
    }
    for (size_t i = 0; bad && i < n; i++) {
        memcpy(&u, x + 4 * i, 4);
        if ((u & ones) == ones)
            return i;
    }
    return n;
}

struct search {
    enum ral_dtype type;
    size_t C, ld;
    const char *x;
    uint64_t *least; // place found so far, or SIZE_MAX
};

static void lower(uint64_t *least, uint64_t at)
{
    uint64_t old = __atomic_load_n(least, __ATOMIC_RELAXED);

    while (at < old &&
           !__atomic_compare_exchange_n(least, &old, at, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
}

/* Numbers from .. to-1, some of a row at a time. */
static void search_range(const void *ctx, size_t from, size_t to)
{
    const struct search *s = ctx;
    const size_t size = ral_dtype_size(s->type);

    for (size_t i = from, n; i < to; i += n) {
        const char *x = s->x + (i / s->C * s->ld + i % s->C) * size;
        size_t at;

        n = s->C - i % s->C;
        n = n < to - i ? n : to - i;
        n = n < SEARCH ? n : SEARCH;
        at = s->type == RAL_F32 ? search32(x, n)
                                : search16(x, n, s->type == RAL_F16 ? 0x7c00
                                                                    : 0x7f80);
        if (at < n) {
            lower(s->least, i + at);
            return;
        }
    }
}

void ral_cpu_finite(struct ral_cpu_dev *d, const struct ral_op_finite *o)
{
    const size_t n = o->x.rows * o->x.cols;
    uint64_t least = UINT64_MAX;
    const struct search s = {o->x.type, o->x.cols, o->x.ld,
                             ral_cpu_at(d, o->x), &least};

    assert(s.type == RAL_F32 || s.type == RAL_F16 || s.type == RAL_BF16);
    assert(o->at.type == RAL_I64);
    ral_cpu_ranges(&d->nn, n, SEARCH, n, search_range, &s);
    *(int64_t *)ral_cpu_at(d, o->at) = (int64_t)least; // -1: none
}
