/* tests/unit/test_fields.c - a row's fields, of a file and of a stream. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "stream/cbor.h"
#include "stream/fields.h"

static struct ral_arena a;
static struct ral_err err;

/* Reads a row of JSON; the result of the reader. */
static int read_row(struct ral_fields *f, const char *text)
{
    json_t *row = json_loads(text, JSON_ALLOW_NUL, NULL);
    int rc;

    ck_assert_ptr_nonnull(row);
    rc = ral_fields_json(f, row, &a, &err);
    json_decref(row); // the fields must not point into it
    return rc;
}

static void field_is(const char *got, const char *want)
{
    if (want)
        ck_assert_str_eq(got, want);
    else
        ck_assert_ptr_null(got);
}

START_TEST(a_whole_row)
{
    struct ral_fields f;

    ck_assert_int_eq(
        read_row(&f, "{\"answer\": \"B\", \"choices\": [\"red\", \"blue\"],"
                     "\"category\": 7, \"cluster\": \"s1\", \"k\": [1, 2]}"),
        0);
    ck_assert_uint_eq(f.answer_len, 1);
    ck_assert(f.answer[0] == 'B');
    ck_assert_uint_eq(f.choices, 2);
    ck_assert_str_eq(f.choice[0], "red");
    ck_assert_str_eq(f.choice[1], "blue");
    field_is(f.category, "7");
    field_is(f.cluster, "s1");
    ck_assert_uint_eq(ral_item_get(f.row, "k")->n, 2);
    ral_arena_release(&a);
}
END_TEST

START_TEST(what_is_not_there)
{
    static const char *const row[] = {
        "{}",
        "{\"answer\": null, \"choices\": null, \"category\": null}",
        "{\"answer\": 3, \"choices\": \"ab\", \"category\": 1.5}",
        "{\"answer\": [\"B\"], \"choices\": [\"red\", 2], \"cluster\": true}",
        "{\"choices\": [], \"category\": \"a\\u0000b\"}",
    };
    struct ral_fields f;

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        ck_assert_int_eq(read_row(&f, row[i]), 0);
        ck_assert_ptr_null(f.answer);
        ck_assert_uint_eq(f.answer_len, 0);
        ck_assert_uint_eq(f.choices, 0);
        field_is(f.category, NULL);
        field_is(f.cluster, NULL);
    }
    ck_assert_int_eq(read_row(&f, "{\"answer\": \"\"}"), 0);
    ck_assert_ptr_nonnull(f.answer); // empty is an answer
    ck_assert_int_eq(read_row(&f, "{\"choices\": [\"a\\u0000b\"]}"),
                     -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "NUL"));
    ral_arena_release(&a);
}
END_TEST

START_TEST(labels_of_any_size)
{
    struct ral_fields f;

    ck_assert_int_eq(read_row(&f, "{\"category\": -9223372036854775808,"
                                  "\"cluster\": 9223372036854775807}"),
                     0);
    field_is(f.category, "-9223372036854775808");
    field_is(f.cluster, "9223372036854775807");
    ral_arena_release(&a);
}
END_TEST

START_TEST(nested_too_deep)
{
    struct ral_fields f;
    char text[128] = "";

    for (int i = 0; i < 26; i++)
        strcat(text, "[");
    for (int i = 0; i < 26; i++)
        strcat(text, "]");
    ck_assert_int_eq(read_row(&f, text), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "deep"));
    ral_arena_release(&a);
}
END_TEST

static int read_boxes(const char *text, struct ral_box **box, size_t *n)
{
    struct ral_fields f;

    ck_assert_int_eq(read_row(&f, text), 0);
    return ral_fields_boxes(&f, box, n, &a, &err);
}

START_TEST(boxes_of_both_forms)
{
    struct ral_box *box;
    size_t n;

    ck_assert_int_eq(
        read_boxes("{\"boxes\": [[1, 2, 3.5, 4],"
                   "{\"media\": 2, \"box\": [-1, 0, 1e3, 9]}]}",
                   &box, &n),
        0);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(box[0].medium, 0);
    ck_assert(box[0].x0 == 1 && box[0].y0 == 2 && box[0].x1 == 3.5 &&
              box[0].y1 == 4);
    ck_assert_uint_eq(box[1].medium, 2);
    ck_assert(box[1].x0 == -1 && box[1].x1 == 1000 && box[1].y1 == 9);
    ck_assert_int_eq(read_boxes("{}", &box, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(read_boxes("{\"boxes\": null}", &box, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(read_boxes("{\"boxes\": []}", &box, &n), 0);
    ck_assert_uint_eq(n, 0);
    ral_arena_release(&a);
}
END_TEST

/* {"boxes": [typed array]}, as a program with arrays may write it. */
START_TEST(boxes_of_typed_arrays)
{
    static const float f32[] = {1, 2, 3.5f, 4};
    static const int32_t i32[] = {1, 2, 3, 4};

    for (int whole = 0; whole < 2; whole++) {
        struct ral_buf b = {0};
        struct ral_item *row;
        struct ral_fields f;
        struct ral_box *box;
        size_t n;

        ral_cbor_map(&b, 1);
        ral_cbor_key(&b, "boxes");
        ral_cbor_array(&b, 1);
        if (whole)
            ral_cbor_i32s(&b, i32, 4);
        else
            ral_cbor_f32s(&b, f32, 4);
        ck_assert_int_eq(ral_item_decode(&row, b.data, b.len, &a, &err), 0);
        ck_assert_int_eq(ral_fields_read(&f, row, &a, &err), 0);
        ck_assert_int_eq(ral_fields_boxes(&f, &box, &n, &a, &err), 0);
        ck_assert_uint_eq(n, 1);
        ck_assert(box[0].x0 == 1 && box[0].y0 == 2 && box[0].y1 == 4);
        ck_assert(box[0].x1 == (whole ? 3 : 3.5));
        ral_buf_release(&b);
    }
    ral_arena_release(&a);
}
END_TEST

START_TEST(boxes_that_are_none)
{
    static const struct {
        const char *row, *why;
    } t[] = {
        {"{\"boxes\": 3}", "must be a list"},
        {"{\"boxes\": [3]}", "boxes[0]: must be [x0,y0,x1,y1]"},
        {"{\"boxes\": [[0, 0, 1, 1], [1, 2, 3]]}", "boxes[1]: must be"},
        {"{\"boxes\": [[0, 0, 0, 1]]}", "x0 < x1"},
        {"{\"boxes\": [[0, 2, 1, 1]]}", "y0 < y1"},
        {"{\"boxes\": [[0, 0, \"1\", 1]]}", "boxes[0]: must be"},
        {"{\"boxes\": [{\"box\": [0, 0, 1, 1]}]}", "boxes[0]: media"},
        {"{\"boxes\": [{\"media\": -1, \"box\": [0, 0, 1, 1]}]}", "media"},
        {"{\"boxes\": [{\"media\": 0}]}", "boxes[0]: must be"},
    };
    struct ral_box *box;
    size_t n;

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        ck_assert_int_eq(read_boxes(t[i].row, &box, &n), -RAL_EINVAL);
        ck_assert_msg(strstr(err.msg, t[i].why), "%s: %s", t[i].row, err.msg);
        ck_assert_uint_eq(n, 0);
    }
    ral_arena_release(&a);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("fields");

    tcase_add_test(t, a_whole_row);
    tcase_add_test(t, what_is_not_there);
    tcase_add_test(t, labels_of_any_size);
    tcase_add_test(t, nested_too_deep);
    tcase_add_test(t, boxes_of_both_forms);
    tcase_add_test(t, boxes_of_typed_arrays);
    tcase_add_test(t, boxes_that_are_none);
    return run_tests(t);
}
