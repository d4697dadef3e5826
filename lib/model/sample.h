/* lib/model/sample.h - how tokens are drawn, and their random numbers. */
#ifndef RAL_SAMPLE_H
#define RAL_SAMPLE_H

#include <stdint.h>

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

#endif
