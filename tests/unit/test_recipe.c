/* tests/unit/test_recipe.c - settings, overrides and the lines they refuse. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "job/common.h"
#include "job/recipe.h"

static char path[] = "/tmp/ral-test-recipe.XXXXXX";

static double beta, epsilon;
static int64_t steps;
static bool shuffle;
static const char *stop, *loss;
static int schedule;
static struct ral_strings where;
static struct ral_weights weights;
static struct ral_data_settings data;

static const struct ral_setting table[] = {
    RAL_SET_NUM("update.beta", &beta, 0, INFINITY),
    RAL_SET_NUM("update.epsilon", &epsilon, 0, 1),
    RAL_SET_INT("update.max_steps", &steps, 0, 1000),
    RAL_SET_BOOL("update.shuffle", &shuffle),
    RAL_SET_STR("update.stop", &stop),
    RAL_SET_WORD("update.loss_type", &loss, "grpo|dr_grpo"),
    RAL_SET_ENUM("update.lr_scheduler_type", &schedule,
                 "cosine|linear|constant"),
    RAL_SET_LIST("update.where", &where),
    RAL_SET_MAP("reward.weights", &weights, 0, 10),
    RAL_SET_NUM("reward.other", NULL, 0, 1),
    RAL_DATA_SETTINGS(&data),
};

static struct ral_recipe recipe;

static void reset(void)
{
    static const char *names[] = {"exact", "format"};
    static double values[] = {0.9, 0.1};

    beta = 0.5;
    epsilon = 0.2;
    steps = 7;
    shuffle = false;
    stop = loss = NULL;
    schedule = -1;
    where = (struct ral_strings){0};
    weights = (struct ral_weights){names, values, 2};
    data = (struct ral_data_settings){0};
    recipe = RAL_RECIPE(table);
}

static void teardown(void)
{
    ral_recipe_release(&recipe);
}

static void put(const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void load(const char *text, const char *a, const char *b)
{
    const struct ral_list sets = {{a, b}, (a != NULL) + (b != NULL)};
    struct ral_err err = {0};

    if (text)
        put(text);
    ck_assert_msg(ral_recipe_load(&recipe, text ? path : NULL, &sets, &err) ==
                      0,
                  "%s", err.msg);
}

static void refuse(const char *text, const char *set, const char *why)
{
    const struct ral_list sets = {{set}, set != NULL};
    struct ral_err err = {0};
    char want[400];

    if (text) {
        put(text);
        snprintf(want, sizeof want, "%s:%s", path, why);
    } else {
        snprintf(want, sizeof want, "-s %s: %s", set, why);
    }
    ck_assert_int_eq(ral_recipe_load(&recipe, text ? path : NULL, &sets, &err),
                     -RAL_EUSAGE);
    ck_assert_str_eq(err.msg, want);
}

START_TEST(values_of_every_type)
{
    load("update:\n"
         "  beta: 4e-2\n"
         "  epsilon: 1\n"
         "  max_steps: 60\n"
         "  shuffle: true\n"
         "  stop: accuracy>=0.58\n"
         "  loss_type: dr_grpo\n"
         "  lr_scheduler_type: linear\n"
         "  where: [category=alphabet, 'drawer!=12,13']\n"
         "reward:\n"
         "  weights: {exact: 1, thinking: 0.25}\n"
         "  other: 1\n"
         "data:\n"
         "  media_order: last\n"
         "  where: category=alphabet\n"
         "  response_template: <think>{choice}</think>\n"
         "train:\n"
         "  of_another_program: [1, {a: 2}]\n"
         "model:\n",
         NULL, NULL);
    ck_assert(beta == 0.04 && epsilon == 1 && steps == 60 && shuffle);
    ck_assert_str_eq(stop, "accuracy>=0.58");
    ck_assert_str_eq(loss, "dr_grpo");
    ck_assert_int_eq(schedule, 1);
    ck_assert_uint_eq(where.n, 2);
    ck_assert_str_eq(where.item[1], "drawer!=12,13");
    ck_assert_uint_eq(weights.n, 2);
    ck_assert_str_eq(weights.name[1], "thinking");
    ck_assert(weights.value[0] == 1 && weights.value[1] == 0.25);
    ck_assert_int_eq(data.media_order, 2);
    ck_assert_uint_eq(data.where.n, 1);
    ck_assert_str_eq(data.where.item[0], "category=alphabet");
    ck_assert_str_eq(data.response_template, "<think>{choice}</think>");
    ck_assert_ptr_null(data.train);
}
END_TEST

START_TEST(null_keeps_the_default)
{
    load("update:\n  beta: null\n  max_steps:\n  stop: ~\n", NULL, NULL);
    ck_assert(beta == 0.5 && steps == 7 && !stop);
    load("", NULL, NULL);
    ck_assert(beta == 0.5);
}
END_TEST

START_TEST(overrides_win_in_order)
{
    load("update:\n  beta: 0.1\n", "update.beta=0.2", "update.beta=0.3");
    ck_assert(beta == 0.3);
    load(NULL, "update.where=[a=1, b=2]", "update.stop='quoted'");
    ck_assert_uint_eq(where.n, 2);
    ck_assert_str_eq(stop, "quoted");
    load(NULL, "update.where=a=1,2", "update.stop={answer}: x=y");
    ck_assert_uint_eq(where.n, 1);
    ck_assert_str_eq(where.item[0], "a=1,2");
    ck_assert_str_eq(stop, "{answer}: x=y");
    load(NULL, "update.stop=", "update.where=[]");
    ck_assert_str_eq(stop, "");
    ck_assert_uint_eq(where.n, 0);
    load(NULL, "eval.anything=1", "train.steps=[");
}
END_TEST

START_TEST(one_entry_of_a_map)
{
    load(NULL, "reward.weights.format=0", "reward.weights.new=2");
    ck_assert_uint_eq(weights.n, 3);
    ck_assert(weights.value[0] == 0.9 && weights.value[1] == 0 &&
              weights.value[2] == 2);
    ck_assert_str_eq(weights.name[2], "new");
    load(NULL, "reward.weights={exact: 3}", NULL);
    ck_assert(weights.n == 1 && weights.value[0] == 3);
}
END_TEST

START_TEST(unknown_names)
{
    refuse("update:\n  bet: 1\n", NULL,
           "2:3: unknown key 'update.bet'; did you mean 'update.beta'?");
    refuse("data: {}\nupdat: {}\n", NULL,
           "2:1: unknown section 'updat'; did you mean 'update'?");
    refuse("zzzzzzzzz: 1\n", NULL, "1:1: unknown section 'zzzzzzzzz'");
    refuse("update: 5\n", NULL, "1:9: section 'update' has no keys");
    refuse("[update]", NULL, "1:1: not a recipe: no sections");
    refuse(NULL, "update.bet=1",
           "unknown key 'update.bet'; did you mean 'update.beta'?");
    refuse(NULL, "updat.beta=1",
           "unknown section 'updat'; did you mean 'update'?");
    refuse(NULL, "update.beta", "must be KEY=VALUE");
    refuse(NULL, "=1", "must be KEY=VALUE");
    refuse(NULL, "beta=1", "the key must have a section, as 'update.beta' has");
    refuse(NULL, "reward.weights.=1",
           "unknown key 'reward.weights.'; did you "
           "mean 'reward.weights'?");
}
END_TEST

START_TEST(wrong_types_and_ranges)
{
    refuse("update:\n  beta: much\n", NULL,
           "2:9: update.beta: 'much' is not a number");
    refuse("update:\n  beta: [1]\n", NULL,
           "2:9: update.beta: this is not a number");
    refuse("update:\n  beta: '1'\n", NULL,
           "2:9: update.beta: '1' is not a number");
    refuse("update:\n  beta: -1\n", NULL,
           "2:9: update.beta: -1 is too small; at least 0");
    refuse("update:\n  epsilon: 1.5\n", NULL,
           "2:12: update.epsilon: 1.5 is not between 0 and 1");
    refuse("update:\n  max_steps: 1.5\n", NULL,
           "2:14: update.max_steps: '1.5' is not a whole number");
    refuse("update:\n  max_steps: 1001\n", NULL,
           "2:14: update.max_steps: 1001 is not between 0 and 1000");
    refuse("update:\n  shuffle: yes\n", NULL,
           "2:12: update.shuffle: must be true or false");
    refuse("update:\n  stop: [a]\n", NULL, "2:9: update.stop: is not a text");
    refuse("update:\n  loss_type: gpro\n", NULL,
           "2:14: update.loss_type: 'gpro' is none of grpo|dr_grpo");
    refuse("update:\n  loss_type: grp\n", NULL,
           "2:14: update.loss_type: 'grp' is none of grpo|dr_grpo");
    refuse("update:\n  where: {a: 1}\n", NULL,
           "2:10: update.where: is not a list");
    refuse("update:\n  where: [[a]]\n", NULL,
           "2:11: update.where: an item of a list must be a text");
    refuse("reward:\n  weights: 1\n", NULL,
           "2:12: reward.weights: is not a map of names to numbers");
    refuse("reward:\n  weights: {a: 11}\n", NULL,
           "2:16: reward.weights: 11 is not between 0 and 10");
    refuse("reward:\n  other: 2\n", NULL,
           "2:10: reward.other: 2 is not between 0 and 1");
    refuse(NULL, "update.beta=", "update.beta: '' is not a number");
    refuse(NULL, "update.where=[a",
           "value:2:1: did not find expected ',' or "
           "']'");
}
END_TEST

/* want NULL: not set; "": a failure. */
static void get(const char *key, const char *set, const char *want)
{
    const struct ral_list sets = {{"update.beta=9", set}, 1 + (set != NULL)};
    struct ral_buf out = {0};
    struct ral_err err = {0};
    const int rc = ral_recipe_get(path, &sets, key, &out, &err);

    ck_assert_int_eq(rc, !want ? 0 : *want ? 1 : -RAL_EINVAL);
    if (rc > 0)
        ck_assert_str_eq((const char *)out.data, want);
    ral_buf_release(&out);
}

START_TEST(values_for_scripts)
{
    put("train:\n  steps: 60\n  list: [a, 'b c']\n  deep: {x: 1}\n  no:\n");
    get("train.steps", NULL, "60\n");
    get("train.list", NULL, "a\nb c\n");
    get("train.deep.x", NULL, "1\n");
    get("train.deep", NULL, "");
    get("train.no", NULL, NULL);
    get("train.absent", NULL, NULL);
    get("train", NULL, "");
    get("train.steps", "train.steps=70", "70\n");
    get("train.absent", "train.absent=[x, y]", "x\ny\n");
    get("train.steps", "train.step=70", "60\n");
}
END_TEST

START_TEST(metrics_are_lines)
{
    struct ral_metrics m = {0};
    struct ral_buf b = {0};

    ck_assert_int_eq(ral_metrics_put(&m, json_object(), NULL), 0);
    put("old\n");
    ck_assert_int_eq(ral_metrics_open(&m, path, NULL), 0);
    ck_assert_int_eq(ral_metrics_put(&m,
                                     json_pack("{s:i,s:o,s:o}", "step", 1,
                                               "loss", ral_json_number(0.1f),
                                               "kl", ral_json_number(NAN)),
                                     NULL),
                     0);
    ral_metrics_close(&m);
    ck_assert_int_eq(ral_file_read(path, 1000, &b, NULL), 0);
    ck_assert_str_eq((const char *)b.data,
                     "old\n{\"step\":1,\"loss\":0.100000001,\"kl\":null}\n");
    ral_buf_release(&b);
    ck_assert_int_eq(ral_metrics_open(&m, "/nowhere/log", NULL), -RAL_EIO);
    ral_metrics_close(&m);
}
END_TEST

START_TEST(a_full_disk_is_an_error)
{
    struct ral_metrics m = {0};
    struct ral_err err = {0};

    ck_assert_int_eq(ral_metrics_open(&m, "/dev/full", NULL), 0);
    ck_assert_int_eq(ral_metrics_put(&m, json_object(), &err), -RAL_EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "/dev/full: cannot write"));
    ral_metrics_close(&m);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("recipe");
    Suite *s = suite_create("recipe");
    SRunner *sr = srunner_create(s);
    int failed, fd = mkstemp(path);

    close(fd);
    tcase_add_checked_fixture(t, reset, teardown);
    tcase_add_test(t, values_of_every_type);
    tcase_add_test(t, null_keeps_the_default);
    tcase_add_test(t, overrides_win_in_order);
    tcase_add_test(t, one_entry_of_a_map);
    tcase_add_test(t, unknown_names);
    tcase_add_test(t, wrong_types_and_ranges);
    tcase_add_test(t, values_for_scripts);
    tcase_add_test(t, metrics_are_lines);
    tcase_add_test(t, a_full_disk_is_an_error);
    suite_add_tcase(s, t);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
