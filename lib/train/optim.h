/* lib/train/optim.h - gradient norm, clipping and AdamW. */
#ifndef RAL_TRAIN_OPTIM_H
#define RAL_TRAIN_OPTIM_H

#include "model/state.h"

struct ral_adamw {
    double lr, beta1, beta2, eps, weight_decay;
};

/* Euclidean norm of s->grad; NaN or Inf when it holds one. Waits. */
int ral_grad_norm(const struct ral_state *s, double *norm,
                  struct ral_space *a, struct ral_err *err);

/* -RAL_EINVAL naming the first tensor whose gradient is not finite, or 0. */
int ral_grad_check(const struct ral_state *s, struct ral_space *a,
                   struct ral_err *err);

/**
 * Update number s->updates (from 1) of all parameters:
 *   m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
 *   w -= lr * (m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) + weight_decay w)
 * with g = scale * grad (the clip). I. Loshchilov, F. Hutter, "Decoupled
 * weight decay regularization", ICLR 2019, in PyTorch's form. Gains and biases
 * do not shrink. Weights are packed again.
 */
void ral_adamw_step(struct ral_state *s, const struct ral_adamw *o,
                    double scale);

#endif
