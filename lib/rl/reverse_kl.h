/* lib/rl/reverse_kl.h - distance of a student's next token from a teacher's. */
#ifndef RAL_REVERSE_KL_H
#define RAL_REVERSE_KL_H

#include <stddef.h>

/**
 * Reverse Kullback-Leibler divergence of one row, student against teacher:
 *
 *     KL = sum_v p_v (ln p_v - ln q_v),   p = exp(logp), q = exp(logq)
 *
 * (on-policy distillation: Agarwal et al., arXiv 2306.13649). Exactly 0 for
 * equal rows; infinite where the teacher excludes what the student may say.
 *
 * @param logp,logq  [V], log-softmax rows; -inf is probability 0
 * @param weight     factor of the gradient (not of the result)
 * @param dlogits    [V], gains weight * p_v (ln p_v - ln q_v - KL), the
 *                   gradient at the student's logits; or NULL
 *
 * @return nats
 */
double ral_reverse_kl(size_t V, const float *logp, const float *logq,
                      double weight, float *dlogits);

#endif
