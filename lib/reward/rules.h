/* lib/reward/rules.h - what a sample is worth, by named rules. */
#ifndef RAL_RULES_H
#define RAL_RULES_H

#include "reward/rule.h"

/* Those rules that say whether an answer is right. */
#define RAL_RULE_METRICS "accuracy|choice"

/* The rules:
 *
 *   accuracy      1 if the text inside <answer> equals the row's answer,
 *                 white space at the ends of either left out
 *   choice        1 if it names the choice that the row's answer names, each
 *                 by its letter or its text
 *   format        1 if the whole response is <answer>..</answer>
 *   format_think  1 if it is <think>..</think><answer>..</answer>
 *   overlong      0 to -1, for responses that come near their longest length
 */

/* Whether the response holds an answer at all, right or wrong. */
bool ral_rule_parses(const struct ral_rule_type *rule,
                     const struct ral_scored *sample);

enum { RAL_RULES_MAX = 16 };

/* The rules in use, in the order in which they were named. */
struct ral_rule_set {
    const struct ral_rule_type *rule[RAL_RULES_MAX];
    double weight[RAL_RULES_MAX];
    void *state[RAL_RULES_MAX];
    size_t n;
    size_t opened; // so many have their state
};

/* accuracy 0.9, format 0.1. */
void ral_rule_set_default(struct ral_rule_set *w);
/* -RAL_EUSAGE: no such rule, named twice, or a weight that is not finite. */
int ral_rule_set_add(struct ral_rule_set *w, const char *name, double weight,
                     struct ral_err *err);
/* Whether any of them reads more of a sample than its text. */
bool ral_rule_set_tokens(const struct ral_rule_set *w);

/* Opens them all; on failure, too, they are to be closed. */
int ral_rule_set_open(struct ral_rule_set *w,
                      const struct ral_rule_settings *set,
                      const struct ral_stream_info *info, struct ral_err *err);
void ral_rule_set_close(struct ral_rule_set *w);

/**
 * Scores the n samples of one row.
 *
 * @param value   [w->n][n], what each rule says
 * @param reward  [n], sums of weight * value
 *
 * @return 0, or as the first rule that failed, with its message. A reward that
 *         is not finite is for the caller to refuse, who knows the record's
 *         name.
 */
int ral_reward_score(const struct ral_rule_set *w,
                     const struct ral_scored *sample, size_t n, double *value,
                     double *reward, struct ral_err *err);

#endif
