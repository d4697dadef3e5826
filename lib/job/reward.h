/* lib/job/reward.h - ral-reward: read rollouts, write them scored. */
#ifndef RAL_JOB_REWARD_H
#define RAL_JOB_REWARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/recipe.h"
#include "reward/rule.h"
#include "rl/advantage.h"

struct ral_reward_job {
    const char *out; // NULL: stdout
    const char *log; // metrics; NULL: none
    double max_failed;
    uint64_t max_record;
    struct ral_weights weights; // n 0: the default rules
    struct ral_rule_settings rules;
    int baseline, scale;     // enum ral_baseline, ral_scale
    const char *const *args; // for the provenance
    size_t n_args;
};

#define RAL_REWARD_SETTINGS(job)                                               \
    RAL_SET_MAP("reward.weights", &(job)->weights, -1e6, 1e6,                  \
                "the rules in use, and their weights",                         \
                .shown = "{accuracy: 0.9, format: 0.1}"),                      \
        RAL_SET_INT("reward.overlong.max_completion_length",                   \
                    &(job)->rules.overlong.max_completion_length, 1, 1 << 20,  \
                    0, "longest response of rule overlong",                    \
                    .shown = "the rollout's"),                                 \
        RAL_SET_INT("reward.overlong.soft_punish_cache",                       \
                    &(job)->rules.overlong.soft_punish_cache, 0, 1 << 20, -1,  \
                    "tokens before it over which its penalty grows",           \
                    .shown = "a fifth of the longest"),                        \
        RAL_SET_ENUM("reward.baseline", &(job)->baseline, RAL_BASELINE_WORDS,  \
                     RAL_BASELINE_GROUP, "what is subtracted from rewards"),   \
        RAL_SET_ENUM("reward.scale_rewards", &(job)->scale, RAL_SCALE_WORDS,   \
                     RAL_SCALE_GROUP, "what advantages are divided by")

/* What a table of settings cannot tell, before there is a stream. */
int ral_reward_check(const struct ral_reward_job *job, struct ral_err *err);

/**
 * Scores every sample of the streams in path[n] (none: stdin): rewards,
 * reward, advantage and status replace what is there. Records that failed
 * before pass through byte for byte.
 *
 * Memory does not grow with the stream; when rewards are compared with the
 * whole batch, and for shards, the scored stream waits in a temporary file
 * (TMPDIR). A shard that comes alone stays one; shards that come together are
 * joined.
 *
 * @return 0; -RAL_ECHECK if more than max_failed of the records failed, after
 *         the output is complete; or another code, with no output or one
 *         without end mark
 */
int ral_reward_run(const struct ral_reward_job *job, char *const *path,
                   size_t n, const struct ral_log *log, struct ral_err *err);

#endif
