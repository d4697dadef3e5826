/* lib/model/head.c - hidden rows to log-probabilities, in chunks of rows. */
#include "model/head.h"

#include <math.h>
#include <string.h>

#include "nn/exact.h"

enum {
    COLUMNS = 4096,      // of one (max, sum) pair, joined in order
    LOGITS = 4 << 20,    // numbers of a chunk of rows, 16 MB
    SERIAL = 1 << 15,    // of so few one thread makes short work
};

/* (max, sum of exp) per chunk of columns, joined in double, ascending. */
static double row_lse(const struct ral_nn *nn, const float *x, size_t V,
                      float *scratch)
{
    double M = -INFINITY, S = 0;

    for (size_t j = 0; j < V; j += COLUMNS) {
        const size_t n = V - j < COLUMNS ? V - j : COLUMNS;
        const float max = nn->k.max(x + j, n);
        double sum;

        nn->k.exp_shift(n, x + j, max, scratch);
        sum = (double)nn->k.sum(scratch, n);
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

/* A row divided by the temperature, and its log-sum-exp. */
static void logits_row(const struct ral_nn *nn, size_t V, float temperature,
                       float *x, double *lse)
{
    float scratch[COLUMNS];

    if (temperature != 1.0f)
        nn->k.scale(V, x, 1.0f / temperature, x);
    *lse = row_lse(nn, x, V, scratch);
}

void ral_head_logits(const struct ral_model *m, size_t n, const float *hidden,
                     float temperature, float *logits, double *lse)
{
    const struct ral_weight *w = &m->w[m->table.head];
    const struct ral_nn *nn = m->nn;
    const size_t V = w->N;

    ral_matmul(nn, w, n, hidden, w->K, NULL, false, logits, V);
    if (ral_nn_serial(nn, n * V, SERIAL)) {
        for (size_t i = 0; i < n; i++)
            logits_row(nn, V, temperature, logits + i * V, lse + i);
        return;
    }
#pragma omp parallel for num_threads(nn->threads)
    for (size_t i = 0; i < n; i++)
        logits_row(nn, V, temperature, logits + i * V, lse + i);
}

static size_t chunk_rows(size_t V, size_t U)
{
    const size_t n = LOGITS / V ? LOGITS / V : 1;

    return n < U ? n : U ? U : 1;
}

/* The targets of hidden row u, from its logits; false when not finite. */
static bool logp_row(const struct ral_nn *nn, const struct ral_pack *p,
                     size_t u, size_t V, const float *x, double lse,
                     float *logp, float *entropy)
{
    const size_t *it = p->item + p->first[u];
    const size_t k = p->first[u + 1] - p->first[u];
    const float h = entropy && k
                        ? (float)(lse - nn->k.dot_exp(V, x, (float)lse))
                        : 0;

    for (size_t j = 0; j < k; j++) {
        logp[it[j]] = (float)((double)x[p->target[it[j]]] - lse);
        if (entropy)
            entropy[it[j]] = h;
    }
    return isfinite(lse);
}

int ral_head_logp(const struct ral_model *m, const struct ral_pack *p,
                  const float *hidden, float temperature, float *logp,
                  float *entropy, struct ral_arena *a, struct ral_err *err)
{
    const size_t V = m->w[m->table.head].N, D = m->config.width;
    const size_t step = chunk_rows(V, p->U);
    const struct ral_mark mark = ral_arena_mark(a);
    float *logits = RAL_NEW(a, float, step * V);
    double *lse = RAL_NEW(a, double, step);
    bool finite = true;

    if (!logits || !lse)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for logits");
    for (size_t u0 = 0; u0 < p->U; u0 += step) {
        const size_t n = p->U - u0 < step ? p->U - u0 : step;

        ral_head_logits(m, n, hidden + u0 * D, temperature, logits, lse);
        if (ral_nn_serial(m->nn, n * V, SERIAL)) {
            for (size_t i = 0; i < n; i++)
                finite &= logp_row(m->nn, p, u0 + i, V, logits + i * V, lse[i], logp,
                                   entropy);
            continue;
        }
#pragma omp parallel for num_threads(m->nn->threads) reduction(& : finite)
        for (size_t i = 0; i < n; i++)
            finite &= logp_row(m->nn, p, u0 + i, V, logits + i * V, lse[i], logp,
                               entropy);
    }
    ral_arena_rewind(a, mark);
    return finite ? 0
                  : ral_err_set(err, -RAL_EINVAL,
                                "logits are not finite: the weights diverged");
}

/* Probabilities of a row in place, then the gradient of its logits. */
static void row_backward(const struct ral_nn *nn, size_t V, float *x,
                         double lse, const struct ral_pack *p, size_t u,
                         const float *dlogp, float inverse)
{
    double sum = 0;

    for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
        sum += (double)dlogp[p->item[i]];
    nn->k.exp_shift(V, x, (float)lse, x);
    nn->k.scale(V, x, (float)-sum * inverse, x);
    for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
        x[p->target[p->item[i]]] += dlogp[p->item[i]] * inverse;
}

/* Every target of the row has the same divergence; their weights add up. */
static void row_teacher(const struct ral_kernels *k,
                        const struct ral_head_teacher *t,
                        const struct ral_pack *p, size_t u, size_t V,
                        const float *ours, double lse, const float *theirs,
                        double their_lse, float inverse, float *dx)
{
    double weight = 0, nats;

    for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
        weight += (double)t->weight[p->item[i]];
    nats = k->reverse_kl(V, ours, lse, theirs, their_lse,
                         weight * (double)inverse, dx);
    for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
        t->nats[p->item[i]] = (float)nats;
}

/* A chunk of rows: logits and log-sum-exps, ours and the teacher's. */
struct chunk {
    const struct ral_nn *nn;
    const struct ral_pack *p;
    const struct ral_head_teacher *teacher; // or NULL
    const float *dlogp;
    size_t u0, V;
    float inverse, *logits, *ours, *theirs;
    double *lse, *their_lse;
};

static void chunk_row(const struct chunk *c, size_t i)
{
    const size_t V = c->V;
    float *x = c->logits + i * V;

    row_backward(c->nn, V, x, c->lse[i], c->p, c->u0 + i, c->dlogp,
                 c->inverse);
    if (!c->teacher)
        return;
    row_teacher(&c->nn->k, c->teacher, c->p, c->u0 + i, V, c->ours + i * V,
                c->lse[i], c->theirs + i * V, c->their_lse[i], c->inverse, x);
}

/* From logits to their gradients, in place. */
static void chunk_backward(const struct chunk *c, size_t n)
{
    if (ral_nn_serial(c->nn, n * c->V, SERIAL)) {
        for (size_t i = 0; i < n; i++)
            chunk_row(c, i);
        return;
    }
#pragma omp parallel for num_threads(c->nn->threads)
    for (size_t i = 0; i < n; i++)
        chunk_row(c, i);
}

int ral_head_backward(const struct ral_model *m, const struct ral_pack *p,
                      const float *hidden, float temperature,
                      const float *dlogp,
                      const struct ral_head_teacher *teacher, float *dhidden,
                      float *grad, struct ral_arena *a, struct ral_err *err)
{
    const struct ral_weight *w = &m->w[m->table.head];
    const size_t V = w->N, D = m->config.width;
    const size_t step = chunk_rows(V, p->U), copies = teacher ? 3 : 1;
    const struct ral_mark mark = ral_arena_mark(a);
    float *logits = RAL_NEW(a, float, copies * step * V);
    double *lse = RAL_NEW(a, double, 2 * step);

    if (!logits || !lse)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for logits");
    for (size_t u0 = 0; u0 < p->U; u0 += step) {
        const size_t n = p->U - u0 < step ? p->U - u0 : step;
        float *theirs = logits + step * V, *ours = theirs + step * V;

        ral_head_logits(m, n, hidden + u0 * D, temperature, logits, lse);
        if (teacher) {
            memcpy(ours, logits, n * V * sizeof(float));
            ral_head_logits(teacher->m, n,
                            teacher->hidden + u0 * teacher->m->config.width,
                            temperature, theirs, lse + step);
        }
        chunk_backward(&(struct chunk){m->nn, p, teacher, dlogp, u0, V,
                                       1.0f / temperature, logits, ours,
                                       theirs, lse, lse + step},
                       n);
        ral_matmul_dx(m->nn, w, n, logits, V, false, dhidden + u0 * D, D);
        ral_matmul_dw(m->nn, n, V, D, logits, V, hidden + u0 * D, D,
                      grad + m->table.tensor[m->table.head].offset, NULL);
    }
    ral_arena_rewind(a, mark);
    return 0;
}
