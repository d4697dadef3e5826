/* lib/reward/rules.h - what an answer is worth, by named rules. */
#ifndef RAL_RULES_H
#define RAL_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A response and what it is measured by; texts need no NUL. */
struct ral_answer {
    const char *text; // the response as decoded, without its end token
    size_t len;
    const char *ref; // the row's answer; NULL: the row has none
    size_t ref_len;
    const char *const *choice; // the row's choices, NUL-terminated
    size_t choices;
};

/* Those rules that say whether an answer is right. */
#define RAL_RULE_METRICS "accuracy|choice"

/**
 * A rule is one function and one row of the table in rules.c:
 *
 *   accuracy      1 if the text inside <answer> equals the row's answer,
 *                 white space at the ends of either left out
 *   choice        1 if it names the choice that the row's answer names, each
 *                 by its letter or its text
 *   format        1 if the whole response is <answer>..</answer>
 *   format_think  1 if it is <think>..</think><answer>..</answer>
 *
 * fn returns 0 with *value set, or negative where the row lacks what the rule
 * needs: the record has failed then, and is no zero.
 */
struct ral_rule {
    const char *name;
    int (*fn)(const struct ral_answer *a, double *value, struct ral_err *err);
};

const struct ral_rule *ral_rules(size_t *n);
const struct ral_rule *ral_rule_find(const char *name); // or NULL

/**
 * Whether the response holds an answer at all, right or wrong: text inside
 * <answer>, and for the rule choice one that names a choice.
 */
bool ral_rule_parses(const struct ral_rule *rule, const struct ral_answer *a);

enum { RAL_RULES_MAX = 16 };

/* The rules in use, in the order in which they were named. */
struct ral_rule_set {
    const struct ral_rule *rule[RAL_RULES_MAX];
    double weight[RAL_RULES_MAX];
    size_t n;
};

/* accuracy 0.9, format 0.1. */
void ral_rule_set_default(struct ral_rule_set *w);
/* -RAL_EUSAGE: no such rule, named twice, or a weight that is not finite. */
int ral_rule_set_add(struct ral_rule_set *w, const char *name, double weight,
                     struct ral_err *err);

/**
 * @param value   [w->n], what each rule says
 * @param reward  sum of weight * value
 *
 * @return 0, or negative as a rule returned, with its message: the record has
 *         failed. A reward that is not finite is for the caller to refuse,
 *         who knows the record's name.
 */
int ral_reward_score(const struct ral_rule_set *w, const struct ral_answer *a,
                     double *value, double *reward, struct ral_err *err);

#endif
