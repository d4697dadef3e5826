/* tests/unit/test_outcome.c - results summed up, paired, written and read. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "eval/outcome.h"
#include "eval/stats.h"
#include "run.h"

static struct ral_outcomes a, b;
static struct ral_err err;

static void setup(void)
{
    memset(&err, 0, sizeof err);
}

static void teardown(void)
{
    ral_outcomes_release(&a);
    ral_outcomes_release(&b);
}

static void add(struct ral_outcomes *o, const char *id, bool correct,
                const char *cluster, const char *category)
{
    const struct ral_outcome x = {.id = id,
                                  .cluster = cluster,
                                  .category = category,
                                  .correct = correct,
                                  .parsed = true};

    ck_assert_int_eq(ral_outcomes_add(o, &x, &err), 0);
}

static double num(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static double at(const json_t *v, const char *key, size_t i)
{
    return json_number_value(json_array_get(json_object_get(v, key), i));
}

static json_t *summary(const struct ral_outcomes *o)
{
    json_t *v = json_object();

    ck_assert_int_eq(ral_outcomes_summary(o, v, &err), 0);
    return v;
}

START_TEST(rows_alone_get_wilsons_interval)
{
    struct ral_interval want;
    char id[16];
    json_t *v;

    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "r%d", i);
        add(&a, id, i < 7, NULL, NULL);
    }
    a.item[9].parsed = false;
    v = summary(&a);
    ral_wilson(7, 10, &want);
    ck_assert_double_eq(num(v, "n"), 10);
    ck_assert_double_eq(num(v, "correct"), 7);
    ck_assert_double_eq(num(v, "accuracy"), .7);
    ck_assert_double_eq(at(v, "ci95", 0), want.lo);
    ck_assert_double_eq(at(v, "ci95", 1), want.hi);
    ck_assert_double_eq(num(v, "unparsed"), 1);
    ck_assert_double_eq(num(v, "clusters"), 10);
    ck_assert_uint_eq(json_object_size(json_object_get(v, "categories")), 0);
    ck_assert(json_is_null(json_object_get(v, "evidence_mass")));
    ck_assert_double_eq(num(v, "evidence_unboxed"), 10);
    json_decref(v);
}
END_TEST

START_TEST(clusters_and_categories)
{
    json_t *v, *c;
    const char *name;
    size_t k = 0;

    add(&a, "1", true, "x", "shape");
    add(&a, "2", true, "x", "colour");
    add(&a, "3", false, "y", "shape");
    add(&a, "4", true, "z", NULL);
    v = summary(&a);
    ck_assert_double_eq(num(v, "clusters"), 3);
    ck_assert_double_eq(num(v, "accuracy"), .75);
    c = json_object_get(v, "categories");
    ck_assert_uint_eq(json_object_size(c), 3);
    json_t *each;
    json_object_foreach(c, name, each) {
        static const char *const want[] = {"(none)", "colour", "shape"};
        static const double n[] = {1, 1, 2}, right[] = {1, 1, .5};

        ck_assert_str_eq(name, want[k]);
        ck_assert_double_eq(num(each, "n"), n[k]);
        ck_assert_double_eq(num(each, "accuracy"), right[k++]);
    }
    json_decref(v);
}
END_TEST

START_TEST(evidence_is_the_mean_of_what_was_seen)
{
    json_t *v;

    add(&a, "1", true, NULL, NULL);
    add(&a, "2", true, NULL, NULL);
    add(&a, "3", true, NULL, NULL);
    add(&a, "4", true, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        a.item[i].evidence = RAL_EVIDENCE_SEEN;
        a.item[i].mass = .25 + .5 * i;
        a.item[i].uniform = .1;
    }
    a.item[2].evidence = RAL_EVIDENCE_SKIPPED;
    v = summary(&a);
    ck_assert_double_eq(num(v, "evidence_mass"), .5);
    ck_assert_double_eq(num(v, "evidence_uniform"), .1);
    ck_assert_double_eq(num(v, "evidence_n"), 2);
    ck_assert_double_eq(num(v, "evidence_skipped"), 1);
    ck_assert_double_eq(num(v, "evidence_unboxed"), 1);
    json_decref(v);
}
END_TEST

START_TEST(nothing_is_null_and_no_zero)
{
    json_t *v = summary(&a);
    struct ral_buf t = {0};

    ck_assert(json_is_null(json_object_get(v, "accuracy")));
    ck_assert_double_eq(num(v, "n"), 0);
    ck_assert_int_eq(ral_outcomes_table(&t, v), 0);
    ral_buf_release(&t);
    json_decref(v);
}
END_TEST

START_TEST(gain_is_paired_and_in_points)
{
    json_t *v;

    add(&a, "1", false, NULL, NULL);
    add(&a, "2", true, NULL, NULL);
    add(&a, "3", false, NULL, NULL);
    add(&a, "4", true, NULL, NULL);
    add(&a, "5", true, NULL, NULL); // without partner
    add(&b, "4", true, NULL, NULL);
    add(&b, "3", true, NULL, NULL);
    add(&b, "2", true, NULL, NULL);
    add(&b, "1", false, NULL, NULL);
    ck_assert_int_eq(ral_outcomes_gain(&a, &b, &v, &err), 0);
    // differences 0 0 1 0: mean .25, s^2 .25, se .25, t(3) 3.1824
    ck_assert_double_eq_tol(num(v, "points"), 25, 1e-9);
    ck_assert_double_eq_tol(at(v, "ci95", 0), 25 - 3.182446 * 25, 1e-4);
    ck_assert_double_eq_tol(at(v, "ci95", 1), 100, 1e-9); // cut there
    ck_assert_double_eq(num(v, "n"), 4);
    ck_assert_double_eq(num(v, "unpaired"), 1);
    json_decref(v);
}
END_TEST

START_TEST(gain_needs_common_ids)
{
    json_t *v;

    add(&a, "1", false, NULL, NULL);
    add(&b, "2", true, NULL, NULL);
    ck_assert_int_eq(ral_outcomes_gain(&a, &b, &v, &err), -RAL_EINVAL);
    ck_assert_ptr_null(v);
    add(&b, "2", true, NULL, NULL);
    ck_assert_int_eq(ral_outcomes_gain(&a, &b, &v, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "'2' stands twice"));
}
END_TEST

static char path[] = "/tmp/ral-test-outcome.XXXXXX";

static void store(const void *p, size_t n)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fwrite(p, 1, n, f);
    fclose(f);
}

START_TEST(lines_come_back)
{
    static const char failed[] = "{\"id\":\"f\",\"error\":\"no picture\"}\n";
    struct ral_outcome x = {.id = "q\"1", .cluster = "c", .correct = true,
                            .evidence = RAL_EVIDENCE_SEEN, .mass = .5};
    struct ral_buf l = {0};

    ck_assert_int_eq(ral_outcome_line(&l, &x, "red", 3, "<answer>red", 11,
                                      &err), 0);
    ral_buf_put(&l, "", 1);
    ck_assert_str_eq((char *)l.data,
                     "{\"id\":\"q\\\"1\",\"correct\":1,\"answer\":\"red\","
                     "\"text\":\"<answer>red\",\"cluster\":\"c\","
                     "\"evidence\":0.5}\n");
    l.len--;
    x = (struct ral_outcome){.id = "2"};
    ck_assert_int_eq(ral_outcome_line(&l, &x, NULL, 0, "", 0, &err), 0);
    ral_buf_put(&l, failed, sizeof failed - 1);
    store(l.data, l.len);
    ck_assert_int_eq(ral_outcomes_read(&a, path, &err), 0);
    ck_assert_uint_eq(a.n, 2);
    ck_assert_str_eq(a.item[0].id, "q\"1");
    ck_assert_str_eq(a.item[0].cluster, "c");
    ck_assert(a.item[0].correct && !a.item[1].correct);
    ck_assert_ptr_null(a.item[1].cluster);
    ral_buf_release(&l);
}
END_TEST

START_TEST(other_lines_are_refused)
{
    static const char other[] = "{\"id\":\"1\",\"correct\":1}\n{\"id\":\"2\"}\n";

    store(other, sizeof other - 1);
    ck_assert_int_eq(ral_outcomes_read(&a, path, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, ":2: "));
    store("{\n", 2);
    ck_assert_int_eq(ral_outcomes_read(&a, path, &err), -RAL_EINVAL);
}
END_TEST

START_TEST(peeking_takes_nothing)
{
    char got[8];
    int p[2], f;

    ck_assert_int_eq(pipe(p), 0);
    ck_assert_int_eq(write(p[1], "abcdef", 6), 6);
    ck_assert_int_eq(ral_peek(p[0], got, 4, &err), 4);
    ck_assert_mem_eq(got, "abcd", 4);
    ck_assert_int_eq(read(p[0], got, 8), 6);
    ck_assert_mem_eq(got, "abcdef", 6);
    close(p[1]);
    ck_assert_int_eq(ral_peek(p[0], got, 4, &err), 0); // its end
    close(p[0]);
    store("xyz", 3);
    f = open(path, 0);
    ck_assert_int_eq(ral_peek(f, got, 8, &err), 3);
    ck_assert_int_eq(read(f, got, 8), 3);
    ck_assert_int_eq(ral_peek(f, got, 8, &err), 0);
    close(f);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("outcome");
    int failed, fd = mkstemp(path);

    if (fd < 0)
        return EXIT_FAILURE;
    close(fd);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, rows_alone_get_wilsons_interval);
    tcase_add_test(t, clusters_and_categories);
    tcase_add_test(t, evidence_is_the_mean_of_what_was_seen);
    tcase_add_test(t, nothing_is_null_and_no_zero);
    tcase_add_test(t, gain_is_paired_and_in_points);
    tcase_add_test(t, gain_needs_common_ids);
    tcase_add_test(t, lines_come_back);
    tcase_add_test(t, other_lines_are_refused);
    tcase_add_test(t, peeking_takes_nothing);
    failed = run_tests(t);
    unlink(path);
    return failed;
}
