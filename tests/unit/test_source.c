/* tests/unit/test_source.c - which rows a program reads, under what. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "prompt/source.h"
#include "run.h"

static const char *all[] = {"category=a", "k!=1"}, *train[] = {"drawer=1,2"};
static const char *test[] = {"drawer=3"};

static const struct ral_data_settings data = {
    .train = "/tmp/train.jsonl",
    .test = "/tmp/test.jsonl",
    .where = {all, 2},
    .train_where = {train, 1},
    .test_where = {test, 1},
};

static struct ral_source s;
static struct ral_err err;

static int find(const char *split, const char *usual, const char *operand)
{
    memset(&err, 0, sizeof err);
    return ral_source_find(&s, &data, split, usual, operand, &err);
}

static void teardown(void)
{
    ral_source_release(&s);
}

START_TEST(a_split_has_its_own_conditions)
{
    ck_assert_int_eq(find(NULL, "train", NULL), 0);
    ck_assert_str_eq(s.rows.path, "/tmp/train.jsonl");
    ck_assert_uint_eq(s.rows.nwhere, 3);
    ck_assert_str_eq(s.rows.where[0], "category=a");
    ck_assert_str_eq(s.rows.where[2], "drawer=1,2");
    ck_assert_str_eq(s.root, "/tmp");
    ral_source_release(&s);
    ck_assert_int_eq(find("test", "train", NULL), 0);
    ck_assert_str_eq(s.rows.path, "/tmp/test.jsonl");
    ck_assert_str_eq(s.rows.where[2], "drawer=3");
}
END_TEST

START_TEST(an_operand_wins_and_has_only_where)
{
    ck_assert_int_eq(find(NULL, "test", "/usr/x.jsonl"), 0);
    ck_assert_str_eq(s.rows.path, "/usr/x.jsonl");
    ck_assert_uint_eq(s.rows.nwhere, 2);
    ck_assert_str_eq(s.root, "/usr");
}
END_TEST

START_TEST(nothing_is_stdin)
{
    ck_assert_int_eq(find(NULL, "validation", NULL), 0);
    ck_assert_ptr_null(s.rows.path);
    ck_assert_uint_eq(s.rows.nwhere, 2);
}
END_TEST

START_TEST(contradictions_are_refused)
{
    ck_assert_int_eq(find("train", "test", "-"), -RAL_EUSAGE);
    ck_assert_int_eq(find("validation", "test", NULL), -RAL_EUSAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "data.validation is not set"));
}
END_TEST

START_TEST(shards)
{
    uint64_t k, n;

    ck_assert_int_eq(ral_shard_parse("2/3", &k, &n, &err), 0);
    ck_assert(k == 2 && n == 3);
    ck_assert_int_eq(ral_shard_parse(NULL, &k, &n, &err), 0);
    ck_assert(k == 1 && n == 0);
    ck_assert_int_eq(ral_shard_parse("0/3", &k, &n, &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_shard_parse("4/3", &k, &n, &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_shard_parse("1", &k, &n, &err), -RAL_EUSAGE);
    ck_assert_int_eq(ral_shard_parse("1/2x", &k, &n, &err), -RAL_EUSAGE);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("source");

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, a_split_has_its_own_conditions);
    tcase_add_test(t, an_operand_wins_and_has_only_where);
    tcase_add_test(t, nothing_is_stdin);
    tcase_add_test(t, contradictions_are_refused);
    tcase_add_test(t, shards);
    return run_tests(t);
}
