/* lib/rl/kl.h - staying near a frozen reference, token by token. */
#ifndef RAL_KL_H
#define RAL_KL_H

#include <stddef.h>

/* exp(x) - x - 1 without cancellation, never negative: the k3 estimator of
 * x = ref - logp (J. Schulman, "Approximating KL divergence", 2020). */
double ral_k3(double x);

/**
 * loss = weight * sum_t k3(ref_t - logp_t), nats
 *
 * @param logp,ref  [T] log-probabilities of the response's tokens
 * @param dlogp     [T], gains d loss / d logp; or NULL
 * @param nats      gains the sum of k3; or NULL
 */
double ral_k3_loss(size_t T, const float *logp, const float *ref,
                   double weight, float *dlogp, double *nats);

#endif
