/* tests/unit/test_grounding.c - boxes over cells, by hand-computed values. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "eval/grounding.h"
#include "run.h"

#define TOL 1e-12

/* A picture of w x h pixels in gh x gw cells. */
#define SHOWN(w, h, gh, gw)                                                    \
    {                                                                          \
        .grid = {1, gh, gw}, .width = w, .height = h                           \
    }

static struct ral_arena arena;

static void teardown(void)
{
    ral_arena_release(&arena);
}

static struct ral_box *read_boxes(const char *text,
                                  const struct ral_media_ref *media,
                                  size_t n_media, size_t *n,
                                  struct ral_err *err)
{
    json_t *row = json_pack("{s:o}", "boxes",
                            json_loads(text, JSON_DECODE_ANY, NULL));
    struct ral_box *box = NULL;
    struct ral_fields f;
    int rc;

    ck_assert_ptr_nonnull(row);
    ck_assert_int_eq(ral_fields_json(&f, row, &arena, err), 0);
    rc = ral_boxes_read(&f, media, n_media, &box, n, &arena, err);
    json_decref(row);
    return rc < 0 ? NULL : box;
}

static void cover(const char *text, const struct ral_media_ref *media,
                  size_t n_media, const double *want, size_t cells)
{
    struct ral_err err = {0};
    double got[64];
    size_t n;
    struct ral_box *box = read_boxes(text, media, n_media, &n, &err);

    ck_assert_msg(box != NULL, "%s: %s", text, err.msg);
    ck_assert_int_eq(ral_boxes_cover(box, n, media, n_media, 1, got, &arena),
                     0);
    for (size_t i = 0; i < cells; i++)
        ck_assert_msg(fabs(got[i] - want[i]) < TOL, "%s: cell %zu is %g, not "
                      "%g", text, i, got[i], want[i]);
}

START_TEST(one_box_over_four_cells)
{
    // cells of 10 x 10: the box [5,5,15,20) takes 5x5, 5x5, 5x10, 5x10
    const struct ral_media_ref s = SHOWN(20, 20, 2, 2);

    cover("[[5,5,15,20]]", &s, 1, (double[]){.25, .25, .5, .5}, 4);
    cover("[[0,0,20,20]]", &s, 1, (double[]){1, 1, 1, 1}, 4);
    cover("[[-5,-5,5,5]]", &s, 1, (double[]){.25, 0, 0, 0}, 4);
    cover("[[0,0,2.5,10]]", &s, 1, (double[]){.25, 0, 0, 0}, 4);
    cover("[[0,0,10,10]]", &s, 1, (double[]){1, 0, 0, 0}, 4); // edge excluded
}
END_TEST

START_TEST(cells_need_not_be_whole_pixels)
{
    // 105 pixels in 4 columns of 26.25; [26,0,27,105) has .25 and .75
    const struct ral_media_ref s = SHOWN(105, 105, 1, 4);

    cover("[[26,0,27,105]]", &s, 1, (double[]){.25 / 26.25, .75 / 26.25, 0, 0},
          4);
}
END_TEST

START_TEST(wide_grids_are_row_by_row)
{
    const struct ral_media_ref s = SHOWN(30, 20, 2, 3);

    cover("[[20,0,30,10],[0,10,10,15]]", &s, 1,
          (double[]){0, 0, 1, .5, 0, 0}, 6);
}
END_TEST

START_TEST(overlap_counts_once)
{
    const struct ral_media_ref s = SHOWN(10, 10, 1, 1);

    cover("[[0,0,6,6],[4,4,10,10]]", &s, 1, (double[]){.68}, 1); // 36+36-4
    cover("[[1,1,5,5],[1,1,5,5]]", &s, 1, (double[]){.16}, 1);
    cover("[[1,1,9,9],[3,3,4,4]]", &s, 1, (double[]){.64}, 1); // inside
    // a cross and a box that touches it, in three orders: 10+10-1+4
    cover("[[4,0,5,10],[0,4,10,5],[5,5,7,7]]", &s, 1, (double[]){.23}, 1);
    cover("[[5,5,7,7],[0,4,10,5],[4,0,5,10]]", &s, 1, (double[]){.23}, 1);
    cover("[[0,4,10,5],[5,5,7,7],[4,0,5,10]]", &s, 1, (double[]){.23}, 1);
}
END_TEST

START_TEST(boxes_of_the_second_picture)
{
    const struct ral_media_ref s[] = {SHOWN(10, 10, 1, 2),
                                      SHOWN(20, 10, 1, 2)};

    cover("[{\"media\":1,\"box\":[0,0,10,5]},[5,0,10,10]]", s, 2,
          (double[]){0, 1, .5, 0}, 4);
}
END_TEST

START_TEST(a_step_is_as_the_one_before)
{
    struct ral_media_ref s[] = {SHOWN(20, 10, 2, 4), SHOWN(10, 10, 2, 2)};
    const struct ral_box box[] = {{0, 0, 0, 5, 10}, {1, 5, 0, 10, 10}};
    double got[7];

    s[0].grid[0] = 3; // 3 steps of 1 x 2 cells, then a cell
    ck_assert_int_eq(ral_boxes_cover(box, 2, s, 2, 2, got, &arena), 0);
    for (size_t t = 0; t < 3; t++)
        ck_assert(got[2 * t] == .5 && got[2 * t + 1] == 0);
    ck_assert(got[6] == .5);
}
END_TEST

START_TEST(cells_are_the_visual_tokens)
{
    const struct ral_stream_info info = {
        .image_token_id = 7, .video_token_id = 8, .spatial_merge_size = 2};
    struct ral_media_ref s[] = {SHOWN(20, 10, 2, 4), SHOWN(10, 10, 2, 2)};
    const int32_t ids[] = {1, 7, 7, 2, 8, 8, 3, 7};
    struct ral_err err = {0};
    size_t *token, n;

    s[1].grid[0] = 2; // a video of two steps
    ck_assert_int_eq(ral_cells_find(&info, ids, 7, s, 2, &token, &n, &arena,
                                    &err),
                     0);
    ck_assert_uint_eq(n, 4);
    ck_assert(token[0] == 1 && token[1] == 2 && token[2] == 4 && token[3] == 5);
    ck_assert_int_eq(ral_cells_find(&info, ids, 8, s, 2, &token, &n, &arena,
                                    &err),
                     -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "5 visual tokens"));
    ck_assert_ptr_nonnull(strstr(err.msg, "4 cells"));
    for (int i = 0; i < 3; i++) // a grid as large as a stream may claim
        s[1].grid[i] = 1 << 20;
    ck_assert_int_eq(ral_cells_find(&info, ids, 7, s, 2, &token, &n, &arena,
                                    &err),
                     -RAL_EINVAL);
}
END_TEST

START_TEST(bad_boxes_are_refused)
{
    static const char *const bad[][2] = {
        {"7", "must be a list"},
        {"[[1,2,3]]", "boxes[0]: must be"},
        {"[[1,1,2,2],[1,1,1,2]]", "boxes[1]: must be"},
        {"[[1,1,\"2\",2]]", "must be"},
        {"[{\"media\":1,\"box\":[1,1,2,2]}]", "picture 1, from 0, of 1"},
        {"[{\"media\":-1,\"box\":[1,1,2,2]}]", "media must be"},
        {"[{\"box\":[1,1,2,2]}]", "media"},
        {"[{\"media\":0}]", "must be"},
        {"[[20,1,30,2]]", "outside"},
        {"[[-9,1,0,2]]", "outside"},
    };
    const struct ral_media_ref s = SHOWN(20, 20, 2, 2);
    size_t n;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ral_err err = {0};

        ck_assert_ptr_null(read_boxes(bad[i][0], &s, 1, &n, &err));
        ck_assert_msg(strstr(err.msg, bad[i][1]) != NULL, "%s: %s", bad[i][0],
                      err.msg);
    }
    read_boxes("null", &s, 1, &n, NULL);
    ck_assert_uint_eq(n, 0);
    read_boxes("[]", &s, 1, &n, NULL);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(mass_is_of_the_visual_tokens)
{
    const double p[] = {.1, .3, 0, .1}, cover[] = {1, .5, 1, 0};
    const double none[4] = {0};
    double mass, uniform;

    // (.1 + .15) / .5; uniform 2.5 / 4
    ck_assert(ral_evidence_mass(p, cover, 4, &mass, &uniform));
    ck_assert_double_eq_tol(mass, .5, TOL);
    ck_assert_double_eq_tol(uniform, .625, TOL);
    ck_assert(!ral_evidence_mass(none, cover, 4, &mass, &uniform));
    ck_assert(!ral_evidence_mass(p, cover, 0, &mass, &uniform));
}
END_TEST

static bool row(const char *text, const int32_t *ends, size_t T, size_t *t)
{
    const struct ral_sample s = {
        .T = T, .text = text, .text_len = strlen(text), .ends = ends};

    return ral_answer_row(&s, t);
}

START_TEST(row_before_the_answer)
{
    size_t t = 99;

    // <answer> red </answer> end: "red" is token 1, its row that of token 0
    ck_assert(row("<answer>red</answer>", (int32_t[]){8, 11, 20, 20}, 4, &t));
    ck_assert_uint_eq(t, 0);
    // "<answer>" " red" "</answer>": the space belongs to the answer's token
    ck_assert(row("<answer> red</answer>", (int32_t[]){8, 12, 21, 21}, 4, &t));
    ck_assert_uint_eq(t, 0);
    // "<answer>" " " "red": the space is a token of its own
    ck_assert(
        row("<answer> red</answer>", (int32_t[]){8, 9, 12, 21, 21}, 5, &t));
    ck_assert_uint_eq(t, 1);
    // thinking before it
    ck_assert(row("<think>x</think><answer>B</answer>",
                  (int32_t[]){7, 8, 16, 24, 25, 34}, 6, &t));
    ck_assert_uint_eq(t, 3);
    // a pair inside the thinking wins, as in scoring
    ck_assert(row("<answer>A</answer><answer>B</answer>",
                  (int32_t[]){8, 9, 18, 26, 27, 36}, 6, &t));
    ck_assert_uint_eq(t, 0);
    // bytes of a token that holds the tag's end and the answer: its own row
    ck_assert(row("<answer>red</answer>", (int32_t[]){4, 11, 20}, 3, &t));
    ck_assert_uint_eq(t, 0);
}
END_TEST

START_TEST(no_row)
{
    size_t t;

    ck_assert(!row("red", (int32_t[]){3, 3}, 2, &t));
    ck_assert(!row("<answer>red", (int32_t[]){8, 11}, 2, &t));
    ck_assert(!row("<answer></answer>", (int32_t[]){8, 17}, 2, &t));
    ck_assert(!row("<answer>red</answer>", (int32_t[]){11, 20}, 2, &t));
    ck_assert(!row("<answer>red</answer>", NULL, 4, &t)); // ends unknown
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("grounding");

    tcase_add_unchecked_fixture(t, NULL, teardown);
    tcase_add_test(t, one_box_over_four_cells);
    tcase_add_test(t, cells_need_not_be_whole_pixels);
    tcase_add_test(t, wide_grids_are_row_by_row);
    tcase_add_test(t, overlap_counts_once);
    tcase_add_test(t, boxes_of_the_second_picture);
    tcase_add_test(t, a_step_is_as_the_one_before);
    tcase_add_test(t, cells_are_the_visual_tokens);
    tcase_add_test(t, bad_boxes_are_refused);
    tcase_add_test(t, mass_is_of_the_visual_tokens);
    tcase_add_test(t, row_before_the_answer);
    tcase_add_test(t, no_row);
    return run_tests(t);
}
