/* lib/reward/rules.c - the table of reward rules. */
#include "reward/rules.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/opt.h"
#include "text/answer.h"
#include "text/utf8.h"

static bool same(const char *a, size_t na, const char *b, size_t nb)
{
    return na == nb && !memcmp(a, b, na);
}

static int need_ref(const struct ral_answer *a, const char *rule,
                    struct ral_err *err)
{
    if (a->ref)
        return 0;
    return ral_err_set(err, -RAL_EINVAL,
                       "the row has no text answer, which rule %s needs", rule);
}

static int accuracy(const struct ral_answer *a, double *value,
                    struct ral_err *err)
{
    const char *got, *want = a->ref;
    size_t n, nwant = a->ref_len;

    if (need_ref(a, "accuracy", err) < 0)
        return -RAL_EINVAL;
    ral_utf8_strip(&want, &nwant); // as the extraction does
    *value = ral_answer_extract(a->text, a->len, &got, &n) &&
             same(got, n, want, nwant);
    return 0;
}

/* The choice that a text names by letter or in full, or -1. */
static int named(const struct ral_answer *a, const char *text, size_t n)
{
    const int letter = ral_answer_letter(text, n, a->choices);

    if (letter >= 0)
        return letter;
    for (size_t i = 0; i < a->choices; i++)
        if (same(text, n, a->choice[i], strlen(a->choice[i])))
            return (int)i;
    return -1;
}

static int choice(const struct ral_answer *a, double *value,
                  struct ral_err *err)
{
    const char *got;
    size_t n;
    int want;

    if (need_ref(a, "choice", err) < 0)
        return -RAL_EINVAL;
    if (a->choices == 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "the row has no list of text choices, which rule "
                           "choice needs");
    if ((want = named(a, a->ref, a->ref_len)) < 0)
        return ral_err_set(
            err, -RAL_EINVAL, "the answer '%.*s' names none of the %zu choices",
            (int)(a->ref_len < 80 ? a->ref_len : 80), a->ref, a->choices);
    *value = ral_answer_extract(a->text, a->len, &got, &n) &&
             named(a, got, n) == want;
    return 0;
}

static int format(const struct ral_answer *a, double *value,
                  struct ral_err *err)
{
    (void)err;
    *value = ral_answer_format(a->text, a->len, false);
    return 0;
}

static int format_think(const struct ral_answer *a, double *value,
                        struct ral_err *err)
{
    (void)err;
    *value = ral_answer_format(a->text, a->len, true);
    return 0;
}

static const struct ral_rule rules[] = {
    {"accuracy", accuracy},
    {"choice", choice},
    {"format", format},
    {"format_think", format_think},
};
#define RULES (sizeof(rules) / sizeof(*rules))

const struct ral_rule *ral_rules(size_t *n)
{
    *n = RULES;
    return rules;
}

const struct ral_rule *ral_rule_find(const char *name)
{
    for (size_t i = 0; i < RULES; i++)
        if (!strcmp(rules[i].name, name))
            return &rules[i];
    return NULL;
}

bool ral_rule_parses(const struct ral_rule *rule, const struct ral_answer *a)
{
    const char *got;
    size_t n;

    if (!ral_answer_extract(a->text, a->len, &got, &n))
        return false;
    return rule->fn != choice || named(a, got, n) >= 0;
}

static int unknown(const char *name, struct ral_err *err)
{
    const char *names[RULES], *near;

    for (size_t i = 0; i < RULES; i++)
        names[i] = rules[i].name;
    near = ral_nearest(name, names, RULES);
    return ral_err_set(err, -RAL_EUSAGE, "reward.weights: no rule '%s'%s%s%s",
                       name, near ? ", did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

int ral_rule_set_add(struct ral_rule_set *w, const char *name, double weight,
                     struct ral_err *err)
{
    const struct ral_rule *rule = ral_rule_find(name);

    if (!rule)
        return unknown(name, err);
    for (size_t i = 0; i < w->n; i++)
        if (w->rule[i] == rule)
            return ral_err_set(err, -RAL_EUSAGE,
                               "reward.weights: '%s' stands twice", name);
    if (!isfinite(weight))
        return ral_err_set(err, -RAL_EUSAGE,
                           "reward.weights: '%s' needs a finite number", name);
    w->rule[w->n] = rule; // rules differ, so there is room for all
    w->weight[w->n++] = weight;
    return 0;
}

_Static_assert(RULES <= RAL_RULES_MAX, "raise RAL_RULES_MAX");

void ral_rule_set_default(struct ral_rule_set *w)
{
    w->n = 0;
    ral_rule_set_add(w, "accuracy", 0.9, NULL);
    ral_rule_set_add(w, "format", 0.1, NULL);
}

int ral_reward_score(const struct ral_rule_set *w, const struct ral_answer *a,
                     double *value, double *reward, struct ral_err *err)
{
    int rc;

    *reward = 0;
    for (size_t i = 0; i < w->n; i++) {
        if ((rc = w->rule[i]->fn(a, &value[i], err)) < 0)
            return rc;
        *reward += w->weight[i] * value[i];
    }
    return 0;
}
