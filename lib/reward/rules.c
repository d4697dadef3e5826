/* lib/reward/rules.c - the table of rules, and sets of them with weights. */
#include "reward/rules.h"

#include <math.h>
#include <string.h>

#include "base/opt.h"
#include "text/answer.h"

static const struct ral_rule_type *const rules[] = {
    &ral_rule_accuracy,     &ral_rule_choice,   &ral_rule_format,
    &ral_rule_format_think, &ral_rule_overlong,
};
#define RULES (sizeof rules / sizeof *rules)

_Static_assert(RULES <= RAL_RULES_MAX, "raise RAL_RULES_MAX");

bool ral_rule_parses(const struct ral_rule_type *rule,
                     const struct ral_scored *sample)
{
    const struct ral_sample *s = sample->sample;
    const char *text;
    size_t n;

    return ral_answer_extract(s->text, s->text_len, &text, &n) &&
           (!rule->parses || rule->parses(sample, text, n));
}

static int unknown(const char *name, struct ral_err *err)
{
    const char *names[RULES], *near;

    for (size_t i = 0; i < RULES; i++)
        names[i] = rules[i]->name;
    near = ral_nearest(name, names, RULES);
    return ral_err_set(err, -RAL_EUSAGE, "reward.weights: no rule '%s'%s%s%s",
                       name, near ? ", did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

int ral_rule_set_add(struct ral_rule_set *w, const char *name, double weight,
                     struct ral_err *err)
{
    size_t k = 0;

    while (k < RULES && strcmp(rules[k]->name, name))
        k++;
    if (k == RULES)
        return unknown(name, err);
    for (size_t i = 0; i < w->n; i++)
        if (w->rule[i] == rules[k])
            return ral_err_set(err, -RAL_EUSAGE,
                               "reward.weights: '%s' stands twice", name);
    if (!isfinite(weight))
        return ral_err_set(err, -RAL_EUSAGE,
                           "reward.weights: '%s' needs a finite number", name);
    w->rule[w->n] = rules[k]; // rules differ, so there is room for all
    w->weight[w->n++] = weight;
    return 0;
}

void ral_rule_set_default(struct ral_rule_set *w)
{
    w->n = 0;
    ral_rule_set_add(w, "accuracy", 0.9, NULL);
    ral_rule_set_add(w, "format", 0.1, NULL);
}

bool ral_rule_set_tokens(const struct ral_rule_set *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->rule[i]->tokens)
            return true;
    return false;
}

int ral_rule_set_open(struct ral_rule_set *w,
                      const struct ral_rule_settings *set,
                      const struct ral_stream_info *info, struct ral_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < w->n && rc == 0; i++) {
        w->state[i] = NULL;
        w->opened = i + 1;
        if (w->rule[i]->open)
            rc = w->rule[i]->open(&w->state[i], set, info, err);
    }
    return rc;
}

void ral_rule_set_close(struct ral_rule_set *w)
{
    while (w->opened > 0) {
        const size_t i = --w->opened;

        if (w->rule[i]->close)
            w->rule[i]->close(w->state[i]);
    }
}

int ral_reward_score(const struct ral_rule_set *w,
                     const struct ral_scored *sample, size_t n, double *value,
                     double *reward, struct ral_err *err)
{
    int rc;

    for (size_t i = 0; i < n; i++)
        reward[i] = 0;
    for (size_t k = 0; k < w->n && n > 0; k++, value += n) {
        rc = w->rule[k]->score(w->state[k], sample, n, value, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < n; i++)
            reward[i] += w->weight[k] * value[i];
    }
    return 0;
}
