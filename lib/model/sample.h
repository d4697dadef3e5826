/* lib/model/sample.h - one token from a row of logits. */
#ifndef RAL_SAMPLE_H
#define RAL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "nn/kernels.h"

struct ral_sampling {
    double temperature; // 0: greedy, log-probabilities at temperature 1
    double top_p;       // 1: all; else the least set that reaches it
    int64_t top_k;      // 0: all
    uint64_t seed, step;
};

/* The temperature of the log-probabilities: 1 when greedy. */
float ral_sampling_tau(const struct ral_sampling *s);

/**
 * Uniform number in [0,1) for one draw: Philox keyed by the seed, counted by
 * (step, prompt id, sample, position). Depends on nothing else.
 */
double ral_sampling_uniform(const struct ral_sampling *s, uint64_t prompt_hash,
                            uint32_t sample, uint32_t position);
uint64_t ral_prompt_hash(const char *id, uint64_t step);

/**
 * Draws by inverse distribution function, ascending token ids, over the
 * tokens that top-k and then top-p leave (ties in favour of the lower id).
 *
 * @param x      [V] logits divided by the temperature
 * @param lse    their log-sum-exp
 * @param p      [V] scratch: the probabilities, float each, summed in double
 * @param order  [V] scratch; used only with top-p or top-k
 */
int32_t ral_sample(const struct ral_sampling *s, const struct ral_kernels *k,
                   size_t V, const float *x, double lse, double uniform,
                   float *p, int32_t *order);

#endif
