/* tests/unit/test_synth.c - answers and boxes are what the pictures show. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "synth/questions.h"
#include "run.h"

/* 4 x 4 cells, 3 objects, 6 colours, 8 shapes, 2 questions. */
#define SPEC_INIT                                                              \
    {                                                                          \
        .rows = 1000, .cells = 4, .objects = 3, .colours = 6, .shapes = 8,     \
        .questions = 2                                                         \
    }

static const struct {
    const char *name;
    uint32_t rgb;
} colours[6] = {{"red", 0xd63e4a},    {"blue", 0x2f74c0},
                {"yellow", 0xf0bd27}, {"green", 0x3fa35b},
                {"purple", 0x8a4fb0}, {"orange", 0xee7a30}};

/* The name of the colour that fills most of the box. */
static const char *seen_colour(const struct ral_canvas *c, const size_t b[4])
{
    size_t n[6] = {0}, best = 0;

    for (size_t y = b[1]; y < b[3]; y++)
        for (size_t x = b[0]; x < b[2]; x++)
            for (size_t k = 0; k < 6; k++)
                n[k] += ral_canvas_at(c, x, y) == colours[k].rgb;
    for (size_t k = 1; k < 6; k++)
        if (n[k] > n[best])
            best = k;
    ck_assert_uint_gt(n[best], 40);
    for (size_t k = 0; k < 6; k++)
        ck_assert(k == best || n[k] == 0);
    return colours[best].name;
}

/* Pixels that are not white within x0 .. x1, y0 .. y1. */
static size_t inked(const struct ral_canvas *c, size_t x0, size_t y0, size_t x1,
                    size_t y1)
{
    size_t n = 0;

    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++)
            n += ral_canvas_at(c, x, y) != 0xffffff;
    return n;
}

static void check_box(const struct ral_canvas *c, const size_t b[4])
{
    const size_t x0 = b[0] / 28 * 28, y0 = b[1] / 28 * 28;

    // The rest of the cell is white, and each side holds some of the thing
    // (but for the very tip of a sharp point).
    ck_assert_uint_eq(inked(c, x0, y0, x0 + 28, y0 + 28),
                      inked(c, b[0], b[1], b[2], b[3]));
    ck_assert_uint_gt(inked(c, b[0], b[1], b[0] + 2, b[3]), 0);
    ck_assert_uint_gt(inked(c, b[2] - 2, b[1], b[2], b[3]), 0);
    ck_assert_uint_gt(inked(c, b[0], b[1], b[2], b[1] + 2), 0);
    ck_assert_uint_gt(inked(c, b[0], b[3] - 2, b[2], b[3]), 0);
}

static struct ral_questions *open_set(struct ral_synth_spec s)
{
    const struct ral_family *family;
    struct ral_questions *q;
    struct ral_err err = {0};

    ck_assert_msg(
        ral_family_find(&family, "search", &err) == 0 &&
            ral_questions_open(&q, family, &s, &err) == 0,
        "%s", err.msg);
    return q;
}

START_TEST(answers_are_what_is_seen)
{
    struct ral_synth_spec s = SPEC_INIT;
    struct ral_question_row row;
    struct ral_canvas *canvas[2] = {NULL};
    struct ral_questions *q;
    size_t rows = 0, naming = 0;

    s.objects = 6;
    s.questions = 3;
    s.rows = 300;
    s.naming = 0.25;
    s.seed = 5;
    q = open_set(s);
    while (ral_questions_next(q, &row, NULL) > 0) {
        const bool shape = !strcmp(row.question->category, "shape");

        if (row.canvas)
            canvas[shape] = row.canvas;
        check_box(canvas[shape], row.question->box);
        if (!shape)
            ck_assert_str_eq(row.question->answer,
                             seen_colour(canvas[0], row.question->box));
        naming += shape;
        ck_assert_uint_eq(row.number, ++rows);
        ck_assert_uint_eq(naming, rows / 4);
    }
    ck_assert_uint_eq(rows, 300);
    ral_questions_close(q);
}
END_TEST

/* Rows depend on nothing but seed and number: a longer set begins the same. */
START_TEST(longer_sets_begin_the_same)
{
    struct ral_synth_spec s = SPEC_INIT;
    struct ral_question_row a, b;
    struct ral_questions *p, *q;

    s.rows = 20;
    p = open_set(s);
    s.rows = 200;
    q = open_set(s);
    while (ral_questions_next(p, &a, NULL) > 0) {
        ck_assert_int_eq(ral_questions_next(q, &b, NULL), 1);
        ck_assert_str_eq(a.question->text, b.question->text);
        ck_assert_str_eq(a.question->answer, b.question->answer);
        ck_assert(
            !memcmp(a.question->box, b.question->box, sizeof a.question->box));
    }
    ral_questions_close(p);
    ral_questions_close(q);
}
END_TEST

/* Answers give nothing away: each colour is as frequent as the next. */
START_TEST(answers_are_balanced)
{
    struct ral_synth_spec s = SPEC_INIT;
    struct ral_question_row row;
    struct ral_questions *q;
    size_t n[6] = {0};

    s.rows = 1200;
    s.split = RAL_TEST;
    s.objects = 6;
    q = open_set(s);
    while (ral_questions_next(q, &row, NULL) > 0)
        for (size_t k = 0; k < 6; k++)
            n[k] += !strcmp(row.question->answer, colours[k].name);
    for (size_t k = 0; k < 6; k++) // 200 expected, deviation 13
        ck_assert_msg(n[k] > 140 && n[k] < 260, "%s: %zu", colours[k].name,
                      n[k]);
    ral_questions_close(q);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("synth");

    tcase_add_test(t, answers_are_what_is_seen);
    tcase_add_test(t, longer_sets_begin_the_same);
    tcase_add_test(t, answers_are_balanced);
    return run_tests(t);
}
