/* lib/model/head.h - hidden rows to log-probabilities, in chunks of rows.
 *
 * No tokens x vocabulary array exists: a chunk of rows holds its logits in
 * scratch, and the backward makes them again.
 */
#ifndef RAL_HEAD_H
#define RAL_HEAD_H

#include "base/arena.h"
#include "model/pack.h"

/**
 * logits[n][vocab] = hidden[n][width] E^T * (1/temperature), and lse[n],
 * M + log S of each row over chunks of 4,096 columns.
 */
void ral_head_logits(const struct ral_model *m, size_t n, const float *hidden,
                     float temperature, float *logits, double *lse);

/**
 * logp[R] of the pack's targets; entropy[R] (nats) of the distribution each
 * was drawn from, or NULL. @return 0, -RAL_ENOMEM, or -RAL_EINVAL for a
 * logit that is not finite.
 */
int ral_head_logp(const struct ral_model *m, const struct ral_pack *p,
                  const float *hidden, float temperature, float *logp,
                  float *entropy, struct ral_arena *a, struct ral_err *err);

/**
 * A second model's distribution to be near to, by reverse KL (nn/kernels.h).
 */
struct ral_head_teacher {
    const struct ral_model *m;
    const float *hidden; // [U][teacher width]
    const float *weight; // [R]
    float *nats;         // [R], written
};

/**
 * dlogp[R] = d loss / d logp, and weight * KL per token when teacher
 * is not NULL. dhidden[U][width] is written, the head's gradient
 * accumulated into grad.
 */
int ral_head_backward(const struct ral_model *m, const struct ral_pack *p,
                      const float *hidden, float temperature,
                      const float *dlogp,
                      const struct ral_head_teacher *teacher, float *dhidden,
                      float *grad, struct ral_arena *a, struct ral_err *err);

#endif
