/* tests/unit/test_reward.c - rules, weights and their sum. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reward/rules.h"
#include "run.h"

static const char *const colours[] = {"red", "green", "blue"};

static double score(const char *rule, const char *text, const char *ref,
                    size_t choices, int *rc)
{
    struct ral_answer a = {text,    strlen(text), ref, ref ? strlen(ref) : 0,
                           colours, choices};
    struct ral_rule_set w = {0};
    struct ral_err err = {0};
    double value = -1, reward = -1;

    ck_assert_int_eq(ral_rule_set_add(&w, rule, 2, NULL), 0);
    *rc = ral_reward_score(&w, &a, &value, &reward, &err);
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
    const struct ral_rule *exact = ral_rule_find("accuracy");
    const struct ral_rule *letter = ral_rule_find("choice");
    struct ral_answer a = {.choice = colours, .choices = 3};
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

    ck_assert_ptr_null(ral_rule_find("acuracy"));
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        a.text = t[i].text;
        a.len = strlen(t[i].text);
        ck_assert(ral_rule_parses(exact, &a) == t[i].exact);
        ck_assert(ral_rule_parses(letter, &a) == t[i].letter);
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
    struct ral_answer a = {"x", 1, "violet", 6, colours, 3};
    struct ral_rule_set w = {0};
    struct ral_err err = {0};
    double v, r;

    ral_rule_set_add(&w, "choice", 1, NULL);
    ck_assert_int_eq(ral_reward_score(&w, &a, &v, &r, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "'violet'"));
}
END_TEST

START_TEST(default_sum)
{
    const char *ref = "red";
    struct ral_rule_set w;
    double v[RAL_RULES_MAX], r;
    struct ral_answer a = {.ref = ref, .ref_len = 3};

    ral_rule_set_default(&w);
    ck_assert_uint_eq(w.n, 2);
    a.text = "<answer>red</answer>";
    a.len = strlen(a.text);
    ck_assert_int_eq(ral_reward_score(&w, &a, v, &r, NULL), 0);
    ck_assert(v[0] == 1 && v[1] == 1 && r == 1); // 0.9 + 0.1, exactly
    a.text = "<answer>blue</answer>";
    a.len = strlen(a.text);
    ck_assert_int_eq(ral_reward_score(&w, &a, v, &r, NULL), 0);
    ck_assert(v[0] == 0 && v[1] == 1 && r == 0.1);
    a.text = "red";
    a.len = 3;
    ck_assert_int_eq(ral_reward_score(&w, &a, v, &r, NULL), 0);
    ck_assert(r == 0);
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
    size_t n;
    const struct ral_rule *r = ral_rules(&n);

    ck_assert_uint_ge(n, 4);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(r[i].name, r[j].name);
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
    tcase_add_test(t, weights_are_checked);
    tcase_add_test(t, every_rule_has_its_own_name);
    return run_tests(t);
}
