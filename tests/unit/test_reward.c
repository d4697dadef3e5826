/* tests/unit/test_reward.c - rules, their parameters, weights and sum. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reward/rules.h"
#include "run.h"

static const char *const colours[] = {"red", "green", "blue"};

/* One sample with a row: what is not given is not there. */
static struct ral_fields row_of(const char *ref, size_t choices)
{
    return (struct ral_fields){.answer = ref,
                               .answer_len = ref ? strlen(ref) : 0,
                               .choice = colours,
                               .choices = choices};
}

static struct ral_sample says(const char *text)
{
    return (struct ral_sample){.text = text, .text_len = strlen(text)};
}

static double score(const char *rule, const char *text, const char *ref,
                    size_t choices, int *rc)
{
    const struct ral_rule_settings none = {0};
    const struct ral_fields row = row_of(ref, choices);
    const struct ral_sample sample = says(text);
    const struct ral_scored s = {.row = &row, .sample = &sample};
    struct ral_rule_set w = {0};
    struct ral_err err = {0};
    double value = -1, reward = -1;

    ck_assert_int_eq(ral_rule_set_add(&w, rule, 2, NULL), 0);
    ck_assert(!ral_rule_set_tokens(&w));
    ck_assert_int_eq(ral_rule_set_open(&w, &none, NULL, NULL), 0);
    *rc = ral_reward_score(&w, &s, 1, &value, &reward, &err);
    ral_rule_set_close(&w);
    if (*rc < 0) {
        ck_assert_int_eq(err.code, -*rc);
        ck_assert_ptr_nonnull(strstr(err.msg, rule));
    } else {
        ck_assert(reward == 2 * value);
    }
    return value;
}

static double value(const char *rule, const char *text, const char *ref)
{
    int rc;
    double v = score(rule, text, ref, 3, &rc);

    ck_assert_int_eq(rc, 0);
    return v;
}

START_TEST(accuracy)
{
    ck_assert(value("accuracy", "<answer>red</answer>", "red") == 1);
    ck_assert(value("accuracy", "so <answer>red</answer>.", "red") == 1);
    ck_assert(value("accuracy", "<answer>Red</answer>", "red") == 0);
    ck_assert(value("accuracy", "<answer>redd</answer>", "red") == 0);
    ck_assert(value("accuracy", "<answer>re</answer>", "red") == 0);
    ck_assert(value("accuracy", "red", "red") == 0);
    ck_assert(value("accuracy", "<answer>red", "red") == 0);
    ck_assert(value("accuracy", "", "red") == 0);
    ck_assert(value("accuracy", "<answer></answer>", "") == 1);
    ck_assert(value("accuracy", "<answer> red\n</answer>", "red ") == 1);
    ck_assert(value("accuracy", "<answer>dark red</answer>", "darkred") == 0);
}
END_TEST

START_TEST(parsed_or_not)
{
    const struct ral_fields row = row_of("red", 3);
    static const struct {
        const char *text;
        bool exact, letter;
    } t[] = {
        {"<answer>B</answer>", true, true},
        {"<answer>green</answer>", true, true},
        {"<answer>maybe green</answer>", true, false},
        {"green", false, false},
        {"<answer>B", false, false},
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct ral_sample sample = says(t[i].text);
        const struct ral_scored one = {.row = &row, .sample = &sample};

        ck_assert(ral_rule_parses(&ral_rule_accuracy, &one) == t[i].exact);
        ck_assert(ral_rule_parses(&ral_rule_choice, &one) == t[i].letter);
    }
}
END_TEST

START_TEST(choice)
{
    ck_assert(value("choice", "<answer>B</answer>", "B") == 1);
    ck_assert(value("choice", "<answer>A</answer>", "B") == 0);
    ck_assert(value("choice", "<answer>green</answer>", "B") == 1);
    ck_assert(value("choice", "<answer>B</answer>", "green") == 1);
    ck_assert(value("choice", "<answer>green</answer>", "green") == 1);
    ck_assert(value("choice", "<answer>blue</answer>", "green") == 0);
    ck_assert(value("choice", "<answer>D</answer>", "green") == 0);
    ck_assert(value("choice", "<answer>violet</answer>", "green") == 0);
    ck_assert(value("choice", "B", "B") == 0); // no tags, no answer
}
END_TEST

START_TEST(format)
{
    const char *bare = "<answer>B</answer>";
    const char *think = "<think>hm</think><answer>B</answer>";

    ck_assert(value("format", bare, NULL) == 1); // needs no reference
    ck_assert(value("format", think, NULL) == 0);
    ck_assert(value("format_think", bare, NULL) == 0);
    ck_assert(value("format_think", think, NULL) == 1);
    ck_assert(value("format", "<answer>B</answer> yes", NULL) == 0);
    ck_assert(value("format", "<answer>B", NULL) == 0);
    ck_assert(value("format_think", "<think>hm<answer>B</answer>", NULL) == 0);
}
END_TEST

/* A row that cannot be measured fails; it does not count as wrong. */
START_TEST(what_a_row_lacks)
{
    int rc;

    score("accuracy", "<answer>red</answer>", NULL, 3, &rc);
    ck_assert_int_eq(rc, -RAL_EINVAL);
    score("choice", "<answer>A</answer>", NULL, 3, &rc);
    ck_assert_int_eq(rc, -RAL_EINVAL);
    score("choice", "<answer>A</answer>", "A", 0, &rc);
    ck_assert_int_eq(rc, -RAL_EINVAL);
}
END_TEST

START_TEST(answer_that_is_no_choice)
{
    const struct ral_fields row = row_of("violet", 3);
    const struct ral_sample sample = says("x");
    const struct ral_scored one = {.row = &row, .sample = &sample};
    struct ral_rule_set w = {0};
    struct ral_err err = {0};
    double v, r;

    ral_rule_set_add(&w, "choice", 1, NULL);
    ck_assert_int_eq(ral_reward_score(&w, &one, 1, &v, &r, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "'violet'"));
}
END_TEST

/* A group at once: values rule by rule, rewards sample by sample. */
START_TEST(default_sum)
{
    static const char *const text[] = {"<answer>red</answer>",
                                       "<answer>blue</answer>", "red"};
    const struct ral_fields row = row_of("red", 0);
    struct ral_sample sample[3];
    struct ral_scored group[3];
    struct ral_rule_set w;
    double v[2 * 3], r[3];

    for (size_t i = 0; i < 3; i++) {
        sample[i] = says(text[i]);
        group[i] = (struct ral_scored){.row = &row, .sample = &sample[i]};
    }
    ral_rule_set_default(&w);
    ck_assert_uint_eq(w.n, 2);
    ck_assert_int_eq(ral_reward_score(&w, group, 3, v, r, NULL), 0);
    ck_assert(v[0] == 1 && v[1] == 0 && v[2] == 0); // accuracy
    ck_assert(v[3] == 1 && v[4] == 1 && v[5] == 0); // format
    ck_assert(r[0] == 1 && r[1] == 0.1 && r[2] == 0); // 0.9 + 0.1, exactly
    ck_assert_int_eq(ral_reward_score(&w, NULL, 0, NULL, NULL, NULL), 0);
}
END_TEST

/* The penalty of DAPO, eq. 13, by hand: L = 20, C = 8. */
START_TEST(overlong_by_hand)
{
    static const struct {
        size_t T;
        double value;
    } t[] = {{1, 0},      {12, 0},     {13, -0.125}, {14, -0.25}, {16, -0.5},
             {19, -0.875}, {20, -1},   {21, -1},     {1000, -1}};
    const struct ral_rule_settings set = {.overlong = {20, 8}};
    const struct ral_fields row = {0};
    struct ral_rule_set w = {0};

    ck_assert_int_eq(ral_rule_set_add(&w, "overlong", 0.5, NULL), 0);
    ck_assert(ral_rule_set_tokens(&w));
    ck_assert_int_eq(ral_rule_set_open(&w, &set, NULL, NULL), 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct ral_sample sample = {.T = t[i].T};
        const struct ral_scored one = {.row = &row, .sample = &sample};
        double v, r;

        ck_assert_int_eq(ral_reward_score(&w, &one, 1, &v, &r, NULL), 0);
        ck_assert(v == t[i].value && r == 0.5 * v);
    }
    ral_rule_set_close(&w);
}
END_TEST

/* What overlong gives a sample of T tokens, or its failure to open. */
static int overlong(int64_t longest, int64_t buffer, uint64_t recorded,
                    size_t T, double *value, struct ral_err *err)
{
    const struct ral_stream_info info = {.max_completion_length = recorded};
    const struct ral_rule_settings set = {.overlong = {longest, buffer}};
    const struct ral_sample sample = {.T = T};
    const struct ral_scored one = {.info = &info, .sample = &sample};
    struct ral_rule_set w = {0};
    double r;
    int rc;

    ral_rule_set_add(&w, "overlong", 1, NULL);
    if ((rc = ral_rule_set_open(&w, &set, &info, err)) == 0)
        rc = ral_reward_score(&w, &one, 1, value, &r, err);
    ral_rule_set_close(&w);
    return rc;
}

START_TEST(overlong_settings)
{
    struct ral_err err = {0};
    double v;

    // the stream's length, and a fifth of it: 80 to 100
    ck_assert_int_eq(overlong(0, -1, 100, 80, &v, &err), 0);
    ck_assert(v == 0);
    ck_assert_int_eq(overlong(0, -1, 100, 81, &v, &err), 0);
    ck_assert(v == -0.05);
    ck_assert_int_eq(overlong(50, -1, 100, 45, &v, &err), 0);
    ck_assert(v == -0.5);
    // without a buffer only what is longer counts
    ck_assert_int_eq(overlong(50, 0, 100, 50, &v, &err), 0);
    ck_assert(v == 0);
    ck_assert_int_eq(overlong(50, 0, 100, 51, &v, &err), 0);
    ck_assert(v == -1);
    ck_assert_int_eq(overlong(0, 101, 100, 1, &v, &err), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "soft_punish_cache: 101"));
    ck_assert_int_eq(overlong(0, -1, 0, 1, &v, &err), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "max_completion_length"));
    ck_assert_int_eq(overlong(0, -1, UINT64_MAX, 1, &v, &err), -RAL_EUSAGE);
}
END_TEST

/* ---- a rule that uses all it is given ---- */

static int opened, closed;

static int open_all(void **state, const struct ral_rule_settings *set,
                    const struct ral_stream_info *info, struct ral_err *err)
{
    (void)set, (void)info;
    *state = &opened;
    return ++opened < 3 ? 0 : ral_err_set(err, -RAL_EUSAGE, "a third time");
}

static void close_all(void *state)
{
    ck_assert_ptr_eq(state, &opened);
    closed++;
}

/* k x (place by length) + attention on the first token + probability. */
static int score_all(void *state, const struct ral_scored *s, size_t n,
                     double *value, struct ral_err *err)
{
    const struct ral_item *k = ral_item_get(s->row->row, "k");
    double weight, p[8];

    ck_assert_ptr_eq(state, &opened);
    for (size_t i = 0; i < n; i++) {
        const struct ral_sample *x = s[i].sample;
        size_t longer = 0;

        for (size_t j = 0; j < n; j++)
            longer += s[j].sample->T > x->T;
        if (ral_item_number(k, "k", &weight, err) < 0 ||
            ral_attn_row(s[i].info, s[i].P, x, x->T - 1, RAL_ATTN_LAST, p,
                         err) < 0)
            return -RAL_EINVAL;
        value[i] = weight * (double)longer + p[0] + (double)x->logp[0] +
                   (x->finish == RAL_FINISH_LENGTH ? 100 : 0);
    }
    return 0;
}

static const struct ral_rule_type all = {.name = "all",
                                         .tokens = true,
                                         .open = open_all,
                                         .score = score_all,
                                         .close = close_all};

START_TEST(a_rule_has_state_and_the_whole_group)
{
    static const int32_t layer = 3;
    const struct ral_stream_info info = {.attn_layers = &layer, .n_layers = 1};
    const float logp[] = {-1, -2};
    const float one[] = {0.25f, 0.75f}, two[] = {1, 0, 0.5f, 0.25f, 0.25f};
    const struct ral_sample sample[] = {
        {.T = 1, .logp = logp, .attn = one, .attn_n = 2},
        {.T = 2, .logp = logp + 1, .attn = two, .attn_n = 5,
         .finish = RAL_FINISH_LENGTH}};
    const struct ral_rule_settings none = {0};
    struct ral_rule_set w = {.rule = {&all, &all}, .weight = {1, 2}, .n = 2};
    struct ral_scored group[2];
    struct ral_arena a = {0};
    struct ral_fields row;
    json_t *k = json_loads("{\"k\": 7}", 0, NULL);
    double v[4], r[2];

    ck_assert_int_eq(ral_fields_json(&row, k, &a, NULL), 0);
    json_decref(k);
    for (size_t i = 0; i < 2; i++)
        group[i] = (struct ral_scored){&row, &info, &sample[i], 2};
    ck_assert_int_eq(ral_rule_set_open(&w, &none, &info, NULL), 0);
    ck_assert_int_eq(opened, 2);
    ck_assert_int_eq(ral_reward_score(&w, group, 2, v, r, NULL), 0);
    ck_assert(v[0] == 7 + 0.25 - 1 && v[1] == 0.5 - 2 + 100);
    ck_assert(r[0] == 3 * v[0] && r[1] == 3 * v[1]);
    ral_rule_set_close(&w);
    ck_assert_int_eq(closed, 2);
    // the first that fails to open is closed, too, and none after it
    ck_assert_int_eq(ral_rule_set_open(&w, &none, &info, NULL), -RAL_EUSAGE);
    ral_rule_set_close(&w);
    ck_assert_int_eq(closed, 3);
    ral_rule_set_close(&w);
    ck_assert_int_eq(closed, 3);
    ral_arena_release(&a);
}
END_TEST

START_TEST(weights_are_checked)
{
    struct ral_rule_set w = {0};
    struct ral_err err = {0};

    ck_assert_int_eq(ral_rule_set_add(&w, "acuracy", 1, &err), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "did you mean 'accuracy'"));
    ck_assert_int_eq(ral_rule_set_add(&w, "format", NAN, &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_rule_set_add(&w, "format", 1, &err), 0);
    ck_assert_int_eq(ral_rule_set_add(&w, "format", 1, &err), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "twice"));
    ck_assert_uint_eq(w.n, 1);
}
END_TEST

START_TEST(every_rule_has_its_own_name)
{
    static const char *const name[] = {"accuracy", "choice", "format",
                                       "format_think", "overlong"};
    struct ral_rule_set w = {0};

    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        ck_assert_int_eq(ral_rule_set_add(&w, name[i], 1, NULL), 0);
        ck_assert_str_eq(w.rule[i]->name, name[i]);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("reward");

    tcase_add_test(t, accuracy);
    tcase_add_test(t, parsed_or_not);
    tcase_add_test(t, choice);
    tcase_add_test(t, format);
    tcase_add_test(t, what_a_row_lacks);
    tcase_add_test(t, answer_that_is_no_choice);
    tcase_add_test(t, default_sum);
    tcase_add_test(t, overlong_by_hand);
    tcase_add_test(t, overlong_settings);
    tcase_add_test(t, a_rule_has_state_and_the_whole_group);
    tcase_add_test(t, weights_are_checked);
    tcase_add_test(t, every_rule_has_its_own_name);
    return run_tests(t);
}
