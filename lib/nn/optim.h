/* lib/nn/optim.h - gradient norm, clipping and AdamW over flat arenas. */
#ifndef RAL_OPTIM_H
#define RAL_OPTIM_H

#include <stddef.h>
#include <stdint.h>

#include "nn/nn.h"

/**
 * Euclidean norm, in double: chunks of 16,384 in 32 lanes each (nn/kernels.h),
 * by any thread, their sums added in order. NaN or Inf when the gradient holds
 * one.
 */
double ral_grad_norm(const struct ral_nn *nn, size_t n, const float *g);

struct ral_adamw {
    double lr, beta1, beta2, eps, weight_decay;
};

/**
 * One update of n parameters, number t (from 1):
 *   m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
 *   w -= lr * (m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) + weight_decay w)
 * with g = scale * grad (the clip), the powers by ral_pow_d. I. Loshchilov, F.
 * Hutter, "Decoupled weight decay regularization", ICLR 2019, in PyTorch's
 * form. Elementwise, so the same bits for any number of threads.
 */
void ral_adamw_update(const struct ral_nn *nn, const struct ral_adamw *o,
                      uint64_t t, size_t n, float scale, const float *grad,
                      float *m, float *v, float *w);

#endif
