/* lib/rl/advantage.h - how much better than its group a response did. */
#ifndef RAL_ADVANTAGE_H
#define RAL_ADVANTAGE_H

#include <stddef.h>

#include "base/err.h"

#define RAL_ADVANTAGE_EPS 1e-4 // added to the deviation, as TRL does

#define RAL_SCALE_WORDS "group|batch|none" // names of enum ral_scale
enum ral_scale {
    RAL_SCALE_GROUP, // divide by the deviation of the group's rewards
    RAL_SCALE_BATCH, // by the deviation of all rewards of the batch
    RAL_SCALE_NONE,  // subtract the group's mean only
};

/* "group", "batch" or "none"; another name is -RAL_EUSAGE. */
int ral_scale_parse(enum ral_scale *out, const char *name, struct ral_err *err);

/**
 * Group-relative advantages (Shao et al., "DeepSeekMath", arXiv 2402.03300):
 *
 *     A_i = (r_i - mean of the group) / (s + 1e-4)
 *
 * s is the sample deviation (n - 1). A group whose rewards are all equal, or
 * that has one member, gets exactly 0.
 *
 * @param G       [groups], members of each group
 * @param reward  the groups' rewards one after another, finite
 * @param adv     as reward; may be the same array
 */
void ral_advantage(enum ral_scale scale, size_t groups, const size_t *G,
                   const double *reward, double *adv);

/* Sample deviation over n - 1; 0 for fewer than two values. */
double ral_sample_std(size_t n, const double *x);

#endif
