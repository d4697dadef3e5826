/* lib/cpu/draw_ops.c - token ids from rows of logits. */
#include "cpu/cpu_dev.h"

enum { CHUNK = 256 }; // probabilities that are summed at once

static int32_t argmax(size_t V, const float *x)
{
    size_t best = 0;

    for (size_t v = 1; v < V; v++)
        if (x[v] > x[best])
            best = v;
    return (int32_t)best;
}

/* Larger logits first, of equal ones the lower id; without logits larger ids
 * first. */
static bool before(const float *x, int32_t i, int32_t j)
{
    if (!x)
        return i > j;
    return x[i] != x[j] ? x[i] > x[j] : i < j;
}

/* A heap whose root comes before all others. (qsort would allocate.) */
static void sift(const float *x, int32_t *heap, size_t n, size_t i)
{
    const int32_t id = heap[i];

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(x, heap[child + 1], heap[child]))
            child++;
        if (!before(x, heap[child], id))
            break;
        heap[i] = heap[child];
    }
    heap[i] = id;
}

static void make_heap(const float *x, int32_t *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(x, heap, n, i);
}

/* Takes the root of n out; it lands behind the heap, which has n - 1 left. */
static int32_t take(const float *x, int32_t *heap, size_t n)
{
    const int32_t id = heap[0];

    heap[0] = heap[n - 1];
    heap[n - 1] = id;
    sift(x, heap, n - 1, 0);
    return id;
}

/* Tokens kept by top-k, then top-p: the last of order[V], ascending; returns
 * how many. */
static size_t keep(const struct ral_op_draw *o, size_t V, const float *p,
                   const float *x, int32_t *order)
{
    const size_t most = o->top_k > 0 && (uint64_t)o->top_k < V
                            ? (size_t)o->top_k
                            : V;
    size_t taken = 0, k = 0;
    double sum = 0, all = 0;

    for (size_t v = 0; v < V; v++)
        order[v] = (int32_t)v;
    make_heap(x, order, V);
    for (; most < V && taken < most; taken++)
        all += (double)p[take(x, order, V - taken)];
    for (size_t v = 0; most == V && v < V; v++)
        all += (double)p[v];
    for (; k < most && (k == 0 || sum < o->top_p * all); k++) {
        if (k == taken)
            take(x, order, V - taken++);
        sum += (double)p[order[V - 1 - k]];
    }
    order += V - k;
    make_heap(NULL, order, k);
    for (size_t n = k; n > 1; n--)
        take(NULL, order, n);
    return k;
}

/* Sum of chunk i of p[n]. */
static double chunk(const struct ral_kernels *k, const float *p, size_t n,
                    size_t i)
{
    return (double)k->sum(p + i, n - i < CHUNK ? n - i : CHUNK);
}

/* The first i whose running sum is over uniform times the whole: by chunks,
 * then inside the one that it falls into. */
static size_t walk(const struct ral_kernels *k, const float *p, size_t n,
                   double uniform)
{
    double total = 0, sum = 0, more;
    size_t i = 0;

    for (size_t c = 0; c < n; c += CHUNK)
        total += chunk(k, p, n, c);
    for (; i + CHUNK < n; i += CHUNK, sum = more)
        if ((more = sum + chunk(k, p, n, i)) > uniform * total)
            break;
    for (; i + 1 < n; i++)
        if ((sum += (double)p[i]) > uniform * total)
            break;
    while (i > 0 && !(p[i] > 0)) // rounding may lead past the last
        i--;
    return i;
}

/* p, order: scratch for V numbers each; order with top-k or top-p alone. */
static int32_t draw_one(const struct ral_op_draw *o,
                        const struct ral_kernels *k, size_t V, const float *x,
                        double lse, double uniform, float *p, int32_t *order)
{
    size_t n;

    if (o->greedy)
        return argmax(V, x);
    k->exp_shift(V, x, (float)lse, p);
    if (o->top_p >= 1 && o->top_k <= 0)
        return (int32_t)walk(k, p, V, uniform);
    n = keep(o, V, p, x, order);
    order += V - n;
    for (size_t i = 0; i < n; i++)
        p[i] = p[order[i]]; // ascending: nothing is overwritten too early
    return order[walk(k, p, n, uniform)];
}

struct draws {
    const struct ral_cpu_dev *d;
    const struct ral_op_draw *o;
    int32_t *id;
    float *logp;
    const int32_t *row;
    const double *uniform, *lse;
    const float *x;
};

static void draw_range(const void *ctx, size_t from, size_t to)
{
    const struct draws *s = ctx;
    const size_t V = s->o->x.cols;
    float *p = ral_cpu_scratch(&s->d->nn);

    for (size_t i = from; i < to; i++) {
        const float *x = s->x + (size_t)s->row[i] * s->o->x.ld;
        const double lse = s->lse[s->row[i]];

        s->id[i] = draw_one(s->o, &s->d->nn.k, V, x, lse, s->uniform[i], p,
                            (int32_t *)(p + V));
        s->logp[i] = (float)((double)x[s->id[i]] - lse);
    }
}

void ral_cpu_draw(struct ral_cpu_dev *d, const struct ral_op_draw *o)
{
    const size_t n = o->id.cols, V = o->x.cols;
    const struct draws s = {
        .d = d,
        .o = o,
        .id = ral_cpu_i32(d, o->id),
        .logp = ral_cpu_f32(d, o->logp),
        .row = ral_cpu_i32(d, o->row),
        .uniform = ral_cpu_f64(d, o->uniform),
        .lse = ral_cpu_f64(d, o->lse),
        .x = ral_cpu_f32(d, o->x),
    };

    assert(o->logp.cols == n && o->row.cols == n && o->uniform.cols == n &&
           o->lse.cols == o->x.rows);
    if (ral_cpu_reserve(d, 2 * V))
        ral_cpu_ranges(&d->nn, n, 1, n * V, draw_range, &s);
}
