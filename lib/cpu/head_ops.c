/* lib/cpu/head_ops.c - rows of logits: log-sum-exps, log-probabilities,
 * entropies, divergences and their gradients.
 */
#include <math.h>

#include "cpu/cpu_dev.h"
#include "nn/exact.h"

enum {
    COLUMNS = 4096, // of one (max, sum) pair, joined in order
};

/* One operation's arrays: as many as it has. */
struct head {
    const struct ral_nn *nn;
    size_t V, ldx, ldy, lddx;
    float *x, *y, *dx, *out;
    double *lse, *lse_y, *weight;
    const int32_t *first, *id; // the targets of row i: first[i] .. first[i+1]-1
    const float *dlogp;
    float *logp, scale;
};

static struct head head_of(const struct ral_cpu_dev *d, struct ral_mat x,
                           struct ral_mat lse)
{
    assert(lse.cols == x.rows);
    return (struct head){.nn = &d->nn,
                         .V = x.cols,
                         .x = ral_cpu_f32(d, x),
                         .ldx = x.ld,
                         .lse = ral_cpu_f64(d, lse)};
}

static void run(struct ral_cpu_dev *d, struct ral_mat x,
                void (*fn)(const void *, size_t, size_t), const struct head *h)
{
    ral_cpu_ranges(&d->nn, x.rows, 1, x.rows * x.cols, fn, h);
}

static void targets(struct ral_cpu_dev *d, struct head *h,
                    const struct ral_targets *t)
{
    h->first = ral_cpu_i32(d, t->first);
    h->id = ral_cpu_i32(d, t->id);
}

static size_t part(size_t V, size_t j)
{
    return V - j < COLUMNS ? V - j : COLUMNS;
}

/* (max, sum of exp) per chunk of columns, joined in double, ascending. */
static double row_lse(const struct ral_nn *nn, const float *x, size_t V)
{
    float e[COLUMNS];
    double M = -INFINITY, S = 0;

    for (size_t j = 0; j < V; j += COLUMNS) {
        const size_t n = part(V, j);
        const float max = nn->k.max(x + j, n);
        double sum;

        nn->k.exp_shift(n, x + j, max, e);
        sum = (double)nn->k.sum(e, n);
        if (j == 0) {
            M = (double)max;
            S = sum;
        } else if ((double)max > M) {
            S = fma(S, ral_exp_d(M - (double)max), sum);
            M = (double)max;
        } else {
            S = fma(sum, ral_exp_d((double)max - M), S);
        }
    }
    return M + ral_log_d(S);
}

static void lse_rows(const void *ctx, size_t from, size_t to)
{
    const struct head *h = ctx;

    for (size_t i = from; i < to; i++) {
        float *x = h->x + i * h->ldx;

        if (h->scale != 1.0f)
            h->nn->k.scale(h->V, x, h->scale, x);
        h->lse[i] = row_lse(h->nn, x, h->V);
    }
}

void ral_cpu_lse(struct ral_cpu_dev *d, const struct ral_op_lse *o)
{
    struct head h = head_of(d, o->x, o->lse);

    h.scale = o->scale;
    run(d, o->x, lse_rows, &h);
}

static void entropy_rows(const void *ctx, size_t from, size_t to)
{
    const struct head *h = ctx;

    for (size_t i = from; i < to; i++)
        h->out[i] =
            (float)(h->lse[i] - h->nn->k.dot_exp(h->V, h->x + i * h->ldx,
                                                 (float)h->lse[i]));
}

void ral_cpu_entropy(struct ral_cpu_dev *d, const struct ral_op_entropy *o)
{
    struct head h = head_of(d, o->x, o->lse);

    h.out = ral_cpu_f32(d, o->entropy);
    run(d, o->x, entropy_rows, &h);
}

static void pick_rows(const void *ctx, size_t from, size_t to)
{
    const struct head *h = ctx;

    for (size_t i = from; i < to; i++)
        for (int32_t k = h->first[i]; k < h->first[i + 1]; k++)
            h->logp[k] =
                (float)((double)h->x[i * h->ldx + (size_t)h->id[k]] -
                        h->lse[i]);
}

void ral_cpu_pick(struct ral_cpu_dev *d, const struct ral_op_pick *o)
{
    struct head h = head_of(d, o->x, o->lse);

    targets(d, &h, &o->targets);
    h.logp = ral_cpu_f32(d, o->logp);
    ral_cpu_ranges(&d->nn, o->x.rows, 1, o->targets.id.cols, pick_rows, &h);
}

/* Probabilities of a row in place, then the gradient of its logits. */
static void backward_rows(const void *ctx, size_t from, size_t to)
{
    const struct head *h = ctx;

    for (size_t i = from; i < to; i++) {
        float *x = h->x + i * h->ldx;
        double sum = 0;

        for (int32_t k = h->first[i]; k < h->first[i + 1]; k++)
            sum += (double)h->dlogp[k];
        h->nn->k.exp_shift(h->V, x, (float)h->lse[i], x);
        h->nn->k.scale(h->V, x, (float)-sum * h->scale, x);
        for (int32_t k = h->first[i]; k < h->first[i + 1]; k++)
            x[h->id[k]] += h->dlogp[k] * h->scale;
    }
}

void ral_cpu_softmax_backward(struct ral_cpu_dev *d,
                              const struct ral_op_softmax_backward *o)
{
    struct head h = head_of(d, o->x, o->lse);

    targets(d, &h, &o->targets);
    h.dlogp = ral_cpu_f32(d, o->dlogp);
    h.scale = o->scale;
    run(d, o->x, backward_rows, &h);
}

static void kl_rows(const void *ctx, size_t from, size_t to)
{
    const struct head *h = ctx;

    for (size_t i = from; i < to; i++)
        h->out[i] = (float)h->nn->k.reverse_kl(
            h->V, h->x + i * h->ldx, h->lse[i], h->y + i * h->ldy, h->lse_y[i],
            h->weight[i], h->dx + i * h->lddx);
}

void ral_cpu_kl(struct ral_cpu_dev *d, const struct ral_op_kl *o)
{
    struct head h = head_of(d, o->x, o->lse);

    assert(o->y.rows == o->x.rows && o->y.cols == h.V &&
           o->dx.rows == o->x.rows && o->dx.cols == h.V);
    h.y = ral_cpu_f32(d, o->y);
    h.ldy = o->y.ld;
    h.dx = ral_cpu_f32(d, o->dx);
    h.lddx = o->dx.ld;
    h.lse_y = ral_cpu_f64(d, o->lse_y);
    h.weight = ral_cpu_f64(d, o->weight);
    h.out = ral_cpu_f32(d, o->nats);
    run(d, o->x, kl_rows, &h);
}
