/* lib/rl/reduce.h - how per-token terms become one loss. */
#ifndef RAL_REDUCE_H
#define RAL_REDUCE_H

#include <stddef.h>

#include "base/err.h"

#define RAL_REDUCE_WORDS "token|sequence|sum" // names of enum ral_reduce
enum ral_reduce {
    RAL_REDUCE_TOKEN,    // mean over all response tokens
    RAL_REDUCE_SEQUENCE, // mean of each response, then of these
    RAL_REDUCE_SUM,      // plain sum
};

/* One of RAL_REDUCE_WORDS; another name is -RAL_EUSAGE. */
int ral_reduce_parse(enum ral_reduce *out, const char *name,
                     struct ral_err *err);

/**
 * What one optimiser step covers, counted before its first backward pass, so
 * that a loss does not depend on how the step is cut into micro-batches.
 * Responses without a token count in neither.
 */
struct ral_total {
    size_t sequences, tokens;
};
void ral_total_add(struct ral_total *sum, size_t T);

/* The factor of each token's term in a response of T tokens; 0 for T = 0. */
double ral_reduce_weight(enum ral_reduce how, size_t T,
                         const struct ral_total *step);

#endif
