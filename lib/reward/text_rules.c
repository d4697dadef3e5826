/* lib/reward/text_rules.c - rules that read a response's text. */
#include <string.h>

#include "reward/rule.h"
#include "text/answer.h"
#include "text/utf8.h"

static bool same(const char *a, size_t na, const char *b, size_t nb)
{
    return na == nb && !memcmp(a, b, na);
}

static bool answer_of(const struct ral_scored *s, const char **text, size_t *n)
{
    return ral_answer_extract(s->sample->text, s->sample->text_len, text, n);
}

static int need_answer(const struct ral_scored *s, const char *rule,
                       struct ral_err *err)
{
    if (s->row->answer)
        return 0;
    return ral_err_set(err, -RAL_EINVAL,
                       "the row has no text answer, which rule %s needs", rule);
}

static int score_accuracy(void *state, const struct ral_scored *s, size_t n,
                          double *value, struct ral_err *err)
{
    const char *got, *want = s->row->answer;
    size_t ngot, nwant = s->row->answer_len;

    (void)state;
    if (need_answer(s, "accuracy", err) < 0)
        return -RAL_EINVAL;
    ral_utf8_strip(&want, &nwant); // as the extraction does
    for (size_t i = 0; i < n; i++)
        value[i] =
            answer_of(&s[i], &got, &ngot) && same(got, ngot, want, nwant);
    return 0;
}

/* The choice that a text names by letter or in full, or -1. */
static int named(const struct ral_fields *row, const char *text, size_t n)
{
    const int letter = ral_answer_letter(text, n, row->choices);

    if (letter >= 0)
        return letter;
    for (size_t i = 0; i < row->choices; i++)
        if (same(text, n, row->choice[i], strlen(row->choice[i])))
            return (int)i;
    return -1;
}

static bool names_choice(const struct ral_scored *s, const char *text, size_t n)
{
    return named(s->row, text, n) >= 0;
}

static int score_choice(void *state, const struct ral_scored *s, size_t n,
                        double *value, struct ral_err *err)
{
    const struct ral_fields *row = s->row;
    const char *got;
    size_t ngot;
    int want;

    (void)state;
    if (need_answer(s, "choice", err) < 0)
        return -RAL_EINVAL;
    if (row->choices == 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "the row has no list of text choices, which rule "
                           "choice needs");
    if ((want = named(row, row->answer, row->answer_len)) < 0)
        return ral_err_set(
            err, -RAL_EINVAL, "the answer '%.*s' names none of the %zu choices",
            (int)(row->answer_len < 80 ? row->answer_len : 80), row->answer,
            row->choices);
    for (size_t i = 0; i < n; i++)
        value[i] =
            answer_of(&s[i], &got, &ngot) && named(row, got, ngot) == want;
    return 0;
}

static int score_form(const struct ral_scored *s, size_t n, double *value,
                      bool thinking)
{
    for (size_t i = 0; i < n; i++)
        value[i] = ral_answer_format(s[i].sample->text, s[i].sample->text_len,
                                     thinking);
    return 0;
}

static int score_format(void *state, const struct ral_scored *s, size_t n,
                        double *value, struct ral_err *err)
{
    (void)state, (void)err;
    return score_form(s, n, value, false);
}

static int score_format_think(void *state, const struct ral_scored *s, size_t n,
                              double *value, struct ral_err *err)
{
    (void)state, (void)err;
    return score_form(s, n, value, true);
}

const struct ral_rule_type ral_rule_accuracy = {.name = "accuracy",
                                                .score = score_accuracy};
const struct ral_rule_type ral_rule_choice = {
    .name = "choice", .score = score_choice, .parses = names_choice};
const struct ral_rule_type ral_rule_format = {.name = "format",
                                              .score = score_format};
const struct ral_rule_type ral_rule_format_think = {
    .name = "format_think", .score = score_format_think};
