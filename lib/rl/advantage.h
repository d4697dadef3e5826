/* lib/rl/advantage.h - how much better than others a response did. */
#ifndef RAL_ADVANTAGE_H
#define RAL_ADVANTAGE_H

#include <stdbool.h>
#include <stddef.h>

#define RAL_ADVANTAGE_EPS 1e-4 // added to the deviation, as TRL does

/* What is subtracted from a reward; the words of reward.baseline, in order. */
enum ral_baseline {
    RAL_BASELINE_GROUP,         // the mean of its group
    RAL_BASELINE_LEAVE_ONE_OUT, // the mean of the others of its group
    RAL_BASELINE_BATCH,         // the mean of all rewards of the batch
    RAL_BASELINE_NONE,          // nothing
};
#define RAL_BASELINE_WORDS "group|leave_one_out|batch|none"

/* What the rest is divided by; the words of reward.scale_rewards, in order. */
enum ral_scale {
    RAL_SCALE_GROUP, // the deviation of the group's rewards
    RAL_SCALE_BATCH, // the deviation of all rewards of the batch
    RAL_SCALE_NONE,  // nothing
};
#define RAL_SCALE_WORDS "group|batch|none"

struct ral_advantage { // zero: of GRPO
    enum ral_baseline baseline;
    enum ral_scale scale;
};

/* Running mean and sum of squares: B. P. Welford, Technometrics 4, 1962. */
struct ral_spread { // zero initialise
    double mean, square;
    size_t n;
};

void ral_spread_add(struct ral_spread *s, double x);
/* Sample deviation over n - 1; 0 for fewer than two values. */
double ral_spread_std(const struct ral_spread *s);

/* Whether the advantages wait for the last reward of the batch. */
bool ral_advantage_waits(const struct ral_advantage *how);

/**
 * The advantages of one group:
 *
 *     A_i = (r_i - b_i) / (s + 1e-4)
 *
 * with the baseline b and the sample deviation (n - 1) s. GRPO is {group,
 * group} (Shao et al., "DeepSeekMath", arXiv 2402.03300), Dr. GRPO {group,
 * none}, RLOO {leave_one_out, none} (Ahmadian et al., "Back to Basics", arXiv
 * 2402.14740), REINFORCE++ {batch, batch} (Hu et al., arXiv 2501.03262).
 *
 * Where all rewards of a group are equal, or it has one member, a baseline of
 * the group gives exactly 0, and a deviation of 0 divides nothing.
 *
 * @param batch   all rewards of the batch; only read if _waits
 * @param reward  [G], finite
 * @param adv     [G], may be the same array
 */
void ral_advantage(const struct ral_advantage *how,
                   const struct ral_spread *batch, size_t G,
                   const double *reward, double *adv);

/* Whether all are equal: by comparison, for means round. */
bool ral_rewards_flat(size_t G, const double *reward);

#endif
