/* lib/reward/overlong.c - a soft penalty of responses that grow too long. */
#include <stdlib.h>

#include "reward/rule.h"

/*
 * Q. Yu et al., "DAPO", arXiv 2503.14476, eq. 13: with the longest length L
 * and a buffer of C tokens before it, a response of T tokens gets
 *
 *     0              T <= L - C
 *     (L - C - T)/C  L - C < T <= L
 *     -1             T > L
 */
struct overlong {
    double longest, buffer; // L, C
};

static int open_overlong(void **state, const struct ral_rule_settings *set,
                         const struct ral_stream_info *info,
                         struct ral_err *err)
{
    int64_t longest = set->overlong.max_completion_length;
    int64_t buffer = set->overlong.soft_punish_cache;
    struct overlong *o;

    if (longest == 0 && info && info->max_completion_length <= INT64_MAX)
        longest = (int64_t)info->max_completion_length;
    if (longest == 0 && info)
        return ral_err_set(err, -RAL_EUSAGE,
                           "rule overlong: the stream does not say how long a "
                           "response may be; set "
                           "reward.overlong.max_completion_length");
    if (buffer > longest && longest > 0)
        return ral_err_set(err, -RAL_EUSAGE,
                           "reward.overlong.soft_punish_cache: %lld is more "
                           "than the %lld tokens of max_completion_length",
                           (long long)buffer, (long long)longest);
    if (!(*state = o = malloc(sizeof *o)))
        return ral_err_nomem(err, "rule overlong");
    o->longest = (double)longest;
    o->buffer = (double)(buffer < 0 ? longest / 5 : buffer);
    return 0;
}

static int score_overlong(void *state, const struct ral_scored *s, size_t n,
                          double *value, struct ral_err *err)
{
    const struct overlong *o = state;

    (void)err;
    for (size_t i = 0; i < n; i++) {
        const double T = (double)s[i].sample->T;
        const double within = o->longest - o->buffer - T; // >= 0: short

        if (within >= 0)
            value[i] = 0;
        else
            value[i] = T > o->longest ? -1 : within / o->buffer;
    }
    return 0;
}

const struct ral_rule_type ral_rule_overlong = {.name = "overlong",
                                                .tokens = true,
                                                .open = open_overlong,
                                                .score = score_overlong,
                                                .close = free};
