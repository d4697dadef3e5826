/* lib/nn/optim.c - gradient norm, clipping and AdamW over flat arenas. */
#include "nn/optim.h"

#include <math.h>

enum { CHUNK = 1 << 14, GROUP = 1024 };

double ral_grad_norm(const struct ral_nn *nn, size_t n, const float *g)
{
    double sum = 0, part[GROUP];

    for (size_t base = 0; base < n; base += (size_t)GROUP * CHUNK) {
        const size_t left = n - base;
        const size_t k = left < (size_t)GROUP * CHUNK
                             ? (left + CHUNK - 1) / CHUNK
                             : GROUP;

#pragma omp parallel for num_threads(nn->threads) if (k > 1)
        for (size_t c = 0; c < k; c++) {
            const size_t lo = base + c * CHUNK;
            const size_t hi = n - lo < CHUNK ? n : lo + CHUNK;

            part[c] = 0;
            for (size_t i = lo; i < hi; i++)
                part[c] += (double)g[i] * (double)g[i];
        }
        for (size_t c = 0; c < k; c++)
            sum += part[c];
    }
    return sqrt(sum);
}

void ral_adamw_update(const struct ral_nn *nn, const struct ral_adamw *o,
                      uint64_t t, size_t n, float scale, const float *grad,
                      float *m, float *v, float *w)
{
    const double c1 = 1 - pow(o->beta1, (double)t);
    const double c2 = 1 - pow(o->beta2, (double)t);
    const float b1 = (float)o->beta1, b2 = (float)o->beta2;
    const float a1 = (float)(1 - o->beta1), a2 = (float)(1 - o->beta2);
    const float step = (float)(o->lr / c1), root = (float)(1 / sqrt(c2));
    const float eps = (float)o->eps;
    const float decay = (float)(1 - o->lr * o->weight_decay);

#pragma omp parallel for simd num_threads(nn->threads) if (parallel : n > CHUNK)
    for (size_t i = 0; i < n; i++) {
        const float g = grad[i] * scale;

        m[i] = b1 * m[i] + a1 * g;
        v[i] = b2 * v[i] + a2 * g * g;
        w[i] = decay * w[i] - step * m[i] / (sqrtf(v[i]) * root + eps);
    }
}
