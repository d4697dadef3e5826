/* lib/nn/optim.c - gradient norm, clipping and AdamW over flat arenas. */
#include "nn/optim.h"

#include <math.h>

#include "nn/exact.h"

enum { CHUNK = 1 << 14, GROUP = 1024, LANES = 32 };

/* Each square is exact in double; element i of the chunk to lane i mod 32. */
static double chunk_sumsq(size_t n, const float *g, size_t lo)
{
    const size_t hi = n - lo < CHUNK ? n : lo + CHUNK;
    double lane[LANES] = {0};

    for (size_t i = lo; i < hi; i += LANES) {
        const size_t m = hi - i < LANES ? hi - i : LANES;

#pragma omp simd
        for (size_t l = 0; l < m; l++)
            lane[l] += (double)g[i + l] * (double)g[i + l];
    }
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

double ral_grad_norm(const struct ral_nn *nn, size_t n, const float *g)
{
    double sum = 0, part[GROUP];

    for (size_t base = 0; base < n; base += (size_t)GROUP * CHUNK) {
        const size_t left = n - base;
        const size_t k =
            left < (size_t)GROUP * CHUNK ? (left + CHUNK - 1) / CHUNK : GROUP;

        if (ral_nn_serial(nn, k, 1)) {
            for (size_t c = 0; c < k; c++)
                sum += chunk_sumsq(n, g, base + c * CHUNK);
            continue;
        }
#pragma omp parallel for num_threads(nn->threads)
        for (size_t c = 0; c < k; c++)
            part[c] = chunk_sumsq(n, g, base + c * CHUNK);
        for (size_t c = 0; c < k; c++)
            sum += part[c];
    }
    return sqrt(sum);
}

/* An update's constants, as the elements use them. */
struct rates {
    float b1, b2, a1, a2, step, root, eps, decay, scale;
};

static void update(const struct rates *r, size_t n, const float *grad, float *m,
                   float *v, float *w)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float g = grad[i] * r->scale;

        m[i] = r->b1 * m[i] + r->a1 * g;
        v[i] = r->b2 * v[i] + r->a2 * g * g;
        w[i] =
            r->decay * w[i] - r->step * m[i] / (sqrtf(v[i]) * r->root + r->eps);
    }
}

void ral_adamw_update(const struct ral_nn *nn, const struct ral_adamw *o,
                      uint64_t t, size_t n, float scale, const float *grad,
                      float *m, float *v, float *w)
{
    const double c1 = 1 - ral_pow_d(o->beta1, t);
    const double c2 = 1 - ral_pow_d(o->beta2, t);
    const struct rates r = {
        .b1 = (float)o->beta1,
        .b2 = (float)o->beta2,
        .a1 = (float)(1 - o->beta1),
        .a2 = (float)(1 - o->beta2),
        .step = (float)(o->lr / c1),
        .root = (float)(1 / sqrt(c2)),
        .eps = (float)o->eps,
        .decay = (float)(1 - o->lr * o->weight_decay),
        .scale = scale,
    };

    if (ral_nn_serial(nn, n, CHUNK)) {
        update(&r, n, grad, m, v, w);
        return;
    }
#pragma omp parallel for num_threads(nn->threads)
    for (size_t i = 0; i < n; i += CHUNK)
        update(&r, n - i < CHUNK ? n - i : CHUNK, grad + i, m + i, v + i,
               w + i);
}
