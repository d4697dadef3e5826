/* tests/unit/test_answer.c - answers found in responses. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "text/answer.h"
#include "run.h"

static void finds(const char *text, const char *want)
{
    const char *s;
    size_t n;
    const bool found = ral_answer_extract(text, strlen(text), &s, &n);

    ck_assert_msg(found == !!want, "'%s'", text);
    if (found)
        ck_assert_msg(n == strlen(want) && !memcmp(s, want, n),
                      "'%s' gives '%.*s'", text, (int)n, s);
}

START_TEST(extract)
{
    finds("<answer>B</answer>", "B");
    finds("x <answer> \n B c\t\xE3\x80\x80</answer> y", "B c");
    finds("<answer>\xC2\xA0</answer>", "");
    finds("<answer></answer>", "");
    finds("<answer>a</answer><answer>b</answer>", "a"); // as Video-R1
    finds("<think><answer>a</answer></think><answer>b</answer>", "a");
    finds("<answer><answer>x</answer>", "<answer>x");
    finds("</answer><answer>x</answer>", "x");
    finds("<answer>\xFF x \x80</answer>", "\xFF x \x80");
    finds("<answer>B", NULL);
    finds("B</answer>", NULL);
    finds("<Answer>B</Answer>", NULL);
    finds("", NULL);
}
END_TEST

static const struct {
    const char *text;
    bool plain, thinking;
} forms[] = {
    {"<answer>x</answer>", true, false},
    {"<answer></answer>", true, false},
    {"<answer>a\nb</answer>", true, false},
    {" <answer>x</answer>", false, false},
    {"<answer>x</answer>\n", false, false},
    {"<answer>x</answer>.", false, false},
    {"<answer>x", false, false},
    {"x</answer>", false, false},
    {"<answer><answer>x</answer>", false, false},
    {"<answer>x</answer></answer>", false, false},
    {"<answer>x</answer><answer>y</answer>", false, false},
    {"<answer><think></think></answer>", false, false},
    {"<answer>x</think></answer>", false, false},
    {"<think>t</think><answer>x</answer>", false, true},
    {"<think>t\n\n</think>\n \xC2\xA0<answer>x</answer>", false, true},
    {"<think></think><answer></answer>", false, true},
    {"<think>t</think> so <answer>x</answer>", false, false},
    {"<think>t<think></think><answer>x</answer>", false, false},
    {"<think>t<answer>u</answer></think><answer>x</answer>", false, false},
    {"<think>t</think><answer>x</answer> ", false, false},
    {"<think>t</think>", false, false},
    {"<think>t<answer>x</answer>", false, false},
    {"", false, false},
};

START_TEST(format)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *s = forms[i].text;

        ck_assert_msg(ral_answer_format(s, strlen(s), false) == forms[i].plain,
                      "plain: '%s'", s);
        ck_assert_msg(ral_answer_format(s, strlen(s), true) ==
                          forms[i].thinking,
                      "thinking: '%s'", s);
    }
}
END_TEST

static const struct {
    const char *text;
    int index; // of four
} letters[] = {
    {"B", 1},          {" B \n", 1},      {"(B)", 1},
    {"[B]", 1},        {"B.", 1},         {"B)", 1},
    {"B:", 1},         {"(B).", 1},       {"B: Greek", 1},
    {"B. Greek", 1},   {"(D) Greek", 3},  {"b", 1},
    {"(c)", 2},        {"d.", 3},         {"A: not B", 0},
    {"E", -1},         {"", -1},          {" ", -1},
    {"(", -1},         {"(B", -1},        {"(B]", -1},
    {"BC", -1},        {"B C", -1},       {"A person", -1},
    {"a. person", -1}, {"Answer: B", -1}, {"The answer is B", -1},
    {"B.Greek", -1},   {"B or C", -1},    {"1", -1},
    {"B\xC2\xA0", 1},  {"\xC3\x81", -1},  {"B\xFF", -1},
    {"B:\xFF", -1},    {"B..", -1},
};

START_TEST(letter)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        const char *s = letters[i].text;

        ck_assert_msg(ral_answer_letter(s, strlen(s), 4) == letters[i].index,
                      "'%s' gives %d", s, ral_answer_letter(s, strlen(s), 4));
    }
    ck_assert_int_eq(ral_answer_letter("Z", 1, 26), 25);
    ck_assert_int_eq(ral_answer_letter("A", 1, 0), -1);
    ck_assert_int_eq(ral_answer_letter("BC", 1, 4), 1); // length, not NUL
}
END_TEST

/* Quadratic code would take minutes here. */
START_TEST(long_text_takes_linear_time)
{
    static const char *const unit[] = {
        "<answer>", "</answer>", "<think>", "</think>", "<answer", "  ", "<"};
    const size_t n = 4000000;
    char *s = malloc(n);
    const char *a;
    size_t len;

    ck_assert_ptr_nonnull(s);
    for (size_t u = 0; u < sizeof unit / sizeof unit[0]; u++) {
        const size_t k = strlen(unit[u]);

        for (size_t i = 0; i < n; i++)
            s[i] = unit[u][i % k];
        ck_assert(!ral_answer_extract(s, n, &a, &len));
        ck_assert(!ral_answer_format(s, n, true));
        ck_assert(!ral_answer_format(s, n, false));
        ck_assert_int_eq(ral_answer_letter(s, n, 4), -1);
    }
    free(s);
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("answer");

    tcase_add_test(c, extract);
    tcase_add_test(c, format);
    tcase_add_test(c, letter);
    tcase_add_test(c, long_text_takes_linear_time);
    return run_tests(c);
}
