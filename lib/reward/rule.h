/* lib/reward/rule.h - what a rule is: open, score, close. */
#ifndef RAL_RULE_H
#define RAL_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/fields.h"
#include "stream/group.h"
#include "stream/header.h"

/* A sample and all that it may be measured by. */
struct ral_scored {
    const struct ral_fields *row;       // answer, choices; any key by row->row
    const struct ral_stream_info *info; // limits of sampling, attention's
                                        // layers and heads
    const struct ral_sample *sample;    // text, ids [T], finish, logp [T] and
                                        // attn (ral_attn_row), where recorded
    size_t P;                           // prompt tokens
};

/* Parameters, one struct a rule that has some: section reward.<rule>. Their
 * defaults stand in the table of settings. */
struct ral_rule_settings {
    struct {
        int64_t max_completion_length; // 0: that of the rollout
        int64_t soft_punish_cache;     // -1: a fifth of it
    } overlong;
};

/**
 * A rule is a file, or some functions in one, and a row of the table in
 * rules.c. It knows nothing of weights, streams and files.
 */
struct ral_rule_type {
    const char *name;

    /* Reads more of a sample than its text. Else P is 0 and the sample has
     * nothing but its text: arrays that nobody reads are not decoded. */
    bool tokens;

    /**
     * Checks the settings and makes what the rule keeps from group to group.
     * NULL: nothing. info is the stream's that will be scored, or NULL where
     * settings alone are checked.
     */
    int (*open)(void **state, const struct ral_rule_settings *set,
                const struct ral_stream_info *info, struct ral_err *err);

    /**
     * The values of the n >= 1 samples of one row, all at once.
     *
     * @param value  [n]
     * @return 0; -RAL_EINVAL where the row or a sample lacks what the rule
     *         needs: the record has failed then, and is no zero; another code
     *         ends the job
     */
    int (*score)(void *state, const struct ral_scored *sample, size_t n,
                 double *value, struct ral_err *err);

    void (*close)(void *state); // NULL: nothing to do

    /* Whether text inside <answer> is an answer at all; NULL: any is. */
    bool (*parses)(const struct ral_scored *sample, const char *text, size_t n);
};

extern const struct ral_rule_type ral_rule_accuracy, ral_rule_choice,
    ral_rule_format, ral_rule_format_think, ral_rule_overlong;

#endif
