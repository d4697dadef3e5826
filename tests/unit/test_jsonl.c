/* tests/unit/test_jsonl.c - lines with numbers, and strict JSON. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/jsonl.h"
#include "run.h"

static char path[] = "/tmp/ral-test-jsonl.XXXXXX";

static void put(const void *text, size_t n)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static struct ral_lines *open_text(const char *text, size_t max_line)
{
    struct ral_lines *l;

    put(text, strlen(text));
    ck_assert_int_eq(ral_lines_open(&l, path, max_line, NULL), 0);
    return l;
}

static void expect_line(struct ral_lines *l, const char *want, size_t number)
{
    const char *line;
    size_t len;

    ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 1);
    ck_assert_str_eq(line, want);
    ck_assert_uint_eq(len, strlen(want));
    ck_assert_uint_eq(ral_lines_number(l), number);
}

static void expect_end(struct ral_lines *l)
{
    const char *line;
    size_t len;

    ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 0);
    ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 0);
    ral_lines_close(l);
}

START_TEST(blank_lines_count_but_are_skipped)
{
    struct ral_lines *l =
        open_text("\xef\xbb\xbf\n{}\r\n \t\r\n\n[1]\nlast", 9);

    expect_line(l, "{}", 2);
    expect_line(l, "[1]", 5);
    expect_line(l, "last", 6);
    expect_end(l);
    expect_end(open_text("", 9));
    expect_end(open_text("\n", 9));
}
END_TEST

START_TEST(a_mark_of_byte_order_is_no_part_of_the_line)
{
    struct ral_lines *l = open_text("\xef\xbb\xbf{}", 9);

    expect_line(l, "{}", 1);
    expect_end(l);
}
END_TEST

START_TEST(long_lines_cross_the_buffer)
{
    enum { N = 300000 };
    char *text = malloc(2 * N + 3);
    struct ral_lines *l;
    const char *line;
    size_t len;

    memset(text, 'a', N);
    text[N] = '\n';
    memset(text + N + 1, 'b', N);
    text[2 * N + 1] = '\n';
    text[2 * N + 2] = 0;
    l = open_text(text, N);
    ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 1);
    ck_assert_uint_eq(len, N);
    ck_assert(line[0] == 'a' && line[N - 1] == 'a');
    ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 1);
    ck_assert_uint_eq(len, N);
    ck_assert(line[0] == 'b' && line[N - 1] == 'b');
    ck_assert_uint_eq(ral_lines_offset(l), N + 1);
    expect_end(l);
    free(text);
}
END_TEST

START_TEST(a_line_end_may_be_the_first_byte_of_a_read)
{
    enum { N = 64 << 10 };
    char *text = calloc(1, N + 8);
    struct ral_lines *l;
    const char *line;
    size_t len;

    for (size_t n = N - 2; n < N + 3; n++) {
        memset(text, 'a', n);
        strcpy(text + n, "\nb\n");
        l = open_text(text, N + 9);
        ck_assert_int_eq(ral_lines_next(l, &line, &len, NULL), 1);
        ck_assert_uint_eq(len, n);
        expect_line(l, "b", 2);
        expect_end(l);
    }
    free(text);
}
END_TEST

START_TEST(a_line_over_the_limit_is_named)
{
    struct ral_err err = {0};
    struct ral_lines *l = open_text("123\n12345\n", 4);
    const char *line;
    size_t len;

    expect_line(l, "123", 1);
    ck_assert_int_eq(ral_lines_next(l, &line, &len, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, ":2: the line is over 4 bytes"));
    ral_lines_close(l);
}
END_TEST

START_TEST(seeking_returns_the_same_line)
{
    struct ral_lines *l = open_text("\xef\xbb\xbfone\ntwo\r\nthree\n", 9);
    uint64_t at;

    expect_line(l, "one", 1);
    expect_line(l, "two", 2);
    at = ral_lines_offset(l);
    expect_line(l, "three", 3);
    ck_assert_int_eq(ral_lines_seek(l, at, 2, NULL), 0);
    expect_line(l, "two", 2);
    ck_assert_int_eq(ral_lines_seek(l, 3, 1, NULL), 0);
    expect_line(l, "one", 1);
    expect_line(l, "two", 2);
    expect_line(l, "three", 3);
    ck_assert_int_eq(ral_lines_seek(l, at, 2, NULL), 0); // behind the end
    expect_line(l, "two", 2);
    ral_lines_close(l);
}
END_TEST

START_TEST(a_stream_or_a_missing_file_is_named)
{
    struct ral_err err = {0};
    struct ral_lines *l = open_text("\x28\xb5\x2f\xfd data", 99);
    const char *line;
    size_t len;

    ck_assert_int_eq(ral_lines_next(l, &line, &len, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "is a record stream"));
    ral_lines_close(l);
    ck_assert_int_eq(ral_lines_open(&l, "/nowhere/x", 9, &err), -RAL_EIO);
    ck_assert_ptr_null(l);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere/x: cannot open: No such"));
    ck_assert_int_eq(ral_lines_open(&l, "/", 9, &err), 0);
    ck_assert_int_eq(ral_lines_next(l, &line, &len, &err), -RAL_EIO);
    ral_lines_close(l);
}
END_TEST

static void refuse(const char *text, const char *why)
{
    struct ral_err err = {0};
    json_t *v;

    ck_assert_int_eq(ral_json_parse(&v, text, strlen(text), "f:7", &err),
                     -RAL_EINVAL);
    ck_assert_ptr_null(v);
    ck_assert_msg(strstr(err.msg, why), "%s", err.msg);
}

START_TEST(json_is_strict)
{
    char deep[140] = "";

    refuse("", "f:7: column 0: not JSON");
    refuse("{\"a\":1,\"a\":2}", "duplicate");
    refuse("{\"a\":1} x", "f:7: column 9: not JSON");
    refuse("{\"a\":\n1,}", "f:7: line 2, column 3: not JSON");
    refuse("{'a':1}", "not JSON");
    refuse("[NaN]", "not JSON");
    refuse("[1e999]", "not JSON");
    refuse("\"\xff\"", "not JSON");
    refuse("\"\\u0000\"", "not JSON");
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    refuse(deep, "nested over 64");
}
END_TEST

START_TEST(json_of_any_kind_parses)
{
    json_t *v;

    ck_assert_int_eq(
        ral_json_parse(&v, "[\"[[{\\\"\", 2.5]", 14, "f", NULL), 0);
    ck_assert_str_eq(json_string_value(json_array_get(v, 0)), "[[{\"");
    json_decref(v);
    ck_assert_int_eq(ral_json_parse(&v, "5", 1, "f", NULL), 0);
    ck_assert_int_eq(json_integer_value(v), 5);
    json_decref(v);
    put("{\"a\": [1]}\n", 11);
    ck_assert_int_eq(ral_json_file(&v, path, NULL), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(v, "a")), 1);
    json_decref(v);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("jsonl");
    int failed, fd = mkstemp(path);

    close(fd);
    tcase_add_test(t, blank_lines_count_but_are_skipped);
    tcase_add_test(t, a_mark_of_byte_order_is_no_part_of_the_line);
    tcase_add_test(t, long_lines_cross_the_buffer);
    tcase_add_test(t, a_line_end_may_be_the_first_byte_of_a_read);
    tcase_add_test(t, a_line_over_the_limit_is_named);
    tcase_add_test(t, seeking_returns_the_same_line);
    tcase_add_test(t, a_stream_or_a_missing_file_is_named);
    tcase_add_test(t, json_is_strict);
    tcase_add_test(t, json_of_any_kind_parses);
    failed = run_tests(t);
    unlink(path);
    return failed;
}
