/* lib/model/head.h - hidden rows to log-probabilities, in chunks of rows.
 *
 * No tokens x vocabulary array exists: a chunk of rows holds its logits in
 * scratch, and the backward makes them again. Arrays of the host are in order
 * of response tokens [R].
 */
#ifndef RAL_HEAD_H
#define RAL_HEAD_H

#include "model/pack.h"

/* logits[n][vocab] = hidden[n][width] E^T / temperature, and their
 * log-sum-exp lse, F64 [1][n]. */
void ral_head_logits(const struct ral_model *m, struct ral_mat hidden,
                     float temperature, struct ral_mat logits,
                     struct ral_mat lse);

/**
 * logp[R] of the pack's targets; entropy[R] (nats) of the distribution each
 * was drawn from, or NULL. Waits for the machine. @return 0, its failure, or
 * -RAL_EINVAL for a logit that is not finite.
 */
int ral_head_logp(const struct ral_model *m, const struct ral_pack *p,
                  struct ral_mat hidden, float temperature, float *logp,
                  float *entropy, struct ral_space *a, struct ral_err *err);

/* A second model's distribution to be near to: reverse KL, ours to theirs
 * (nn/ops.h, kl). */
struct ral_head_teacher {
    const struct ral_model *m;
    struct ral_mat hidden; // [U][teacher width]
    const double *weight;  // [R]
    float *nats;           // [R], written
};

/**
 * dlogp[R] = d loss / d logp, and weight * divergence per token when teacher
 * is not NULL. dhidden[U][width] is written, the head's gradient added to
 * grad. Waits for the machine if there is a teacher.
 */
int ral_head_backward(const struct ral_model *m, const struct ral_pack *p,
                      struct ral_mat hidden, float temperature,
                      const float *dlogp,
                      const struct ral_head_teacher *teacher,
                      struct ral_mat dhidden, struct ral_mat grad,
                      struct ral_space *a, struct ral_err *err);

#endif
