/* tests/unit/test_recipe.c - settings, overrides and the lines they refuse. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "conf/recipe.h"
#include "job/common.h"
#include "job/reward.h"
#include "job/training.h"
#include "prompt/source.h"
#include "reward/rules.h"
#include "run.h"

static char path[] = "/tmp/ral-test-recipe.XXXXXX";

static double beta, epsilon, heat;
static int64_t steps, most, cache, limit;
static bool shuffle, force;
static const char *stop, *loss;
static int schedule;
static struct ral_strings where;
static struct ral_weights weights;
static struct ral_data_settings data;
static struct ral_ints layers;
static struct ral_list sets, also;
static struct ral_opt_conf conf;
static struct ral_reward_job reward;

static const struct ral_setting table[] = {
    RAL_SET_NUM("update.beta", &beta, 0, RAL_MANY, 0.5, "b",
                RAL_AS('b', "beta", "B")),
    RAL_SET_NUM("update.epsilon", &epsilon, 0, 1, 0.2, "e", .shown = "low"),
    RAL_SET_NUM("update.heat", &heat, 1e-6, 100, -1, "h", .zero = true,
                RAL_AS(0, "heat", "T")),
    RAL_SET_INT("update.max_steps", &steps, 0, 1000, 7, "s",
                RAL_AS(0, "max-steps", "N")),
    RAL_SET_BOOL("update.shuffle", &shuffle, false, "sh"),
    RAL_SET_STR("update.stop", &stop, "st"),
    RAL_SET_WORD("update.loss_type", &loss, "grpo|dr_grpo", "grpo", "l",
                 RAL_AS(0, "loss", "WORD")),
    RAL_SET_ENUM("update.lr_scheduler_type", &schedule,
                 "cosine|linear|constant", 2, "lr", RAL_AS(0, "lr", "WORD")),
    RAL_SET_INTS("update.layers", &layers, -4, 3, "-1", "la",
                 RAL_AS(0, "layers", "L,..")),
    RAL_SET_LIST("update.where", &where, "w"),
    RAL_SET_MAP("reward.weights", &weights, 0, 10, "we"),
    RAL_SET_NUM("reward.other", NULL, 0, 1, 0, "o", RAL_AS(0, "other", "X")),
    RAL_SET_INT("reward.long.most", &most, 1, 9, 3, "m"),
    RAL_SET_INT("reward.long.cache", &cache, 0, 100, -1, "c"),
    RAL_DATA_SETTINGS(&data),
    RAL_OPT_INT(0, "limit", &limit, "N", 0, RAL_MANY, 0, "n"),
    RAL_OPT_LIST(0, "also", &also, "X", "a"),
    RAL_OPT_FLAG('f', "force", &force, "f"),
    RAL_OPT_CONF(&conf),
    RAL_OPT_SETS(&sets),
    RAL_OPT_END,
};

static struct ral_arena texts;

static void reset(void)
{
    static const char *names[] = {"exact", "format"};
    static double values[] = {0.9, 0.1};

    ral_setting_defaults(table);
    where = (struct ral_strings){0};
    weights = (struct ral_weights){names, values, 2};
    data.where = data.train_where = where;
    sets = also = (struct ral_list){0};
    conf = (struct ral_opt_conf){.load = ral_recipe_load, .ctx = &texts};
}

static void teardown(void)
{
    ral_arena_release(&texts);
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
    const struct ral_list list = {{a, b}, (a != NULL) + (b != NULL)};
    struct ral_err err = {0};

    if (text)
        put(text);
    ck_assert_msg(
        ral_recipe_load(&texts, table, text ? path : NULL, &list, &err) == 0,
        "%s", err.msg);
}

static void refuse(const char *text, const char *set, const char *why)
{
    const struct ral_list list = {{set}, set != NULL};
    struct ral_err err = {0};
    char want[400];

    if (text) {
        put(text);
        snprintf(want, sizeof want, "%s:%s", path, why);
    } else {
        snprintf(want, sizeof want, "-s %s: %s", set, why);
    }
    ck_assert_int_eq(
        ral_recipe_load(&texts, table, text ? path : NULL, &list, &err),
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
    load("update:\n  layers: [0, -4]\nreward:\n  long: {most: 9}\n", NULL,
         NULL);
    ck_assert(layers.n == 2 && layers.item[0] == 0 && layers.item[1] == -4);
    ck_assert_int_eq(most, 9);
    load("update:\n  layers: 3\nreward:\n  long:\n", "reward.long.most=1",
         NULL);
    ck_assert(layers.n == 1 && layers.item[0] == 3 && most == 1);
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
    load(NULL, "update.layers=[1, -1]", "update.heat=0");
    ck_assert(layers.n == 2 && layers.item[1] == -1 && heat == 0);
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

START_TEST(sections_inside_sections)
{
    load("reward:\n  long:\n    most: 8\n  weights: {a: 1}\n", NULL, NULL);
    ck_assert_int_eq(most, 8);
    ck_assert_int_eq(cache, -1);
    load("reward: {long: {most: 8, cache: 3}}\n", "reward.long.cache=4",
         NULL);
    ck_assert_int_eq(most, 8);
    ck_assert_int_eq(cache, 4);
    load("reward:\n  long:\n", "reward.long={cache: 5, most: 6}", NULL);
    ck_assert_int_eq(most, 6);
    ck_assert_int_eq(cache, 5);
    refuse("reward:\n  long:\n    cach: 3\n", NULL,
           "3:5: unknown key 'reward.long.cach'; did you mean "
           "'reward.long.cache'?");
    refuse("reward:\n  long:\n    most: 0\n", NULL,
           "3:11: reward.long.most: 0 is not between 1 and 9");
    refuse("reward:\n  long: 3\n", NULL,
           "2:9: section 'reward.long' has no keys");
    refuse("reward:\n  log: {cache: 3}\n", NULL,
           "2:3: unknown key 'reward.log'");
    refuse("update:\n  beta: {a: 3}\n", NULL,
           "2:9: update.beta: this is not a number");
    refuse(NULL, "reward.long=3", "section 'reward.long' has no keys");
    refuse(NULL, "reward.long.cach=3",
           "unknown key 'reward.long.cach'; did you mean "
           "'reward.long.cache'?");
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
    refuse("reward:\n  weights: {a: 10.25}\n", NULL,
           "2:16: reward.weights: 10.25 is not between 0 and 10");
    refuse("update:\n  layers: [0, 4]\n", NULL,
           "2:15: update.layers: 4 is not between -4 and 3");
    refuse("update:\n  layers: []\n", NULL,
           "2:11: update.layers: a list of 1 to 64 numbers, not of 0");
    refuse("update:\n  layers: {a: 1}\n", NULL,
           "2:11: update.layers: is not a list");
    refuse("update:\n  layers: [0, x]\n", NULL,
           "2:15: update.layers: 'x' is not a whole number");
    refuse("update:\n  heat: 1e-7\n", NULL,
           "2:9: update.heat: 1e-07 is neither 0 nor between 1e-06 and 100");
    refuse("reward:\n  other: 2\n", NULL,
           "2:10: reward.other: 2 is not between 0 and 1");
    refuse(NULL, "update.beta=", "update.beta: '' is not a number");
    refuse(NULL, "update.where=[a",
           "value:2:1: did not find expected ',' or "
           "']'");
}
END_TEST

START_TEST(a_row_tells_its_values_and_default)
{
    const struct {
        const char *key, *values, *shown;
    } want[] = {
        {"update.beta", "number, 0 or more", "0.5"},
        {"update.epsilon", "number, 0 to 1", "low"},
        {"update.heat", "number, 0 or 1e-06 to 100", "-1"},
        {"update.max_steps", "whole number, 0 to 1000", "7"},
        {"update.shuffle", "true|false", "false"},
        {"update.stop", "text", ""},
        {"update.loss_type", "grpo|dr_grpo", "grpo"},
        {"update.lr_scheduler_type", "cosine|linear|constant", "constant"},
        {"update.layers", "whole numbers, -4 to 3", "-1"},
        {"update.where", "list of texts", ""},
        {"reward.weights", "names with numbers, 0 to 10", ""},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char text[RAL_SETTING_TEXT];

        ck_assert_str_eq(table[i].key, want[i].key);
        ral_setting_values(&table[i], text);
        ck_assert_str_eq(text, want[i].values);
        ral_setting_shown(&table[i], text);
        ck_assert_str_eq(text, want[i].shown);
    }
}
END_TEST

START_TEST(defaults_come_first)
{
    ck_assert(beta == 0.5 && epsilon == 0.2 && heat == -1 && steps == 7);
    ck_assert(!shuffle && !stop && schedule == 2 && most == 3 && limit == 0);
    ck_assert_str_eq(loss, "grpo");
    ck_assert(layers.n == 1 && layers.item[0] == -1);
    ck_assert_str_eq(data.response_template, "<answer>{answer}</answer>");
    ck_assert_int_eq(data.media_order, RAL_MEDIA_AS_IS);
}
END_TEST

/* Parses "prog" and up to four words; returns what is left of them. */
static int parse(const char *a, const char *b, const char *c, const char *d,
                 int rc, struct ral_err *err)
{
    char *args[] = {"prog", (char *)a, (char *)b, (char *)c, (char *)d, NULL};
    char **argv = args;
    int argc = 1 + (a != NULL) + (b != NULL) + (c != NULL) + (d != NULL);
    int got;

    reset();
    got = ral_opt_parse(table, &argc, &argv, "", "", err);
    ck_assert_msg(got == rc, "%d: %s", got, err->msg);
    return argc;
}

static void refuse_option(const char *a, const char *b, const char *why)
{
    struct ral_err err = {0};

    parse(a, b, NULL, NULL, -RAL_EUSAGE, &err);
    ck_assert_str_eq(err.msg, why);
}

START_TEST(options_of_every_type)
{
    struct ral_err err = {0};

    ck_assert_int_eq(parse("x", "--layers=0,-2", "-fb3", "y", 0, &err), 2);
    ck_assert(layers.n == 2 && layers.item[1] == -2 && force && beta == 3);
    parse("--lr", "linear", "--loss", "dr_grpo", 0, &err);
    ck_assert_int_eq(schedule, 1);
    ck_assert_str_eq(loss, "dr_grpo");
    parse("--heat", "0", "--max-steps", "1000", 0, &err);
    ck_assert(heat == 0 && steps == 1000);
    parse("--also=1", "--also", "2", "--limit=9", 0, &err);
    ck_assert(also.n == 2 && limit == 9);
    ck_assert_int_eq(parse("--", "-f", "--", "--x", 0, &err), 3);
    ck_assert(!force);
}
END_TEST

START_TEST(options_win_over_the_recipe)
{
    struct ral_err err = {0};

    parse("-b1", "-s", "update.beta=2", "-supdate.max_steps=3", 0, &err);
    ck_assert(beta == 1 && steps == 3);
}
END_TEST

START_TEST(options_out_of_range)
{
    refuse_option("--beta", "-1", "--beta: -1 is too small; at least 0");
    refuse_option("--beta", "x", "--beta: 'x' is not a number");
    refuse_option("--heat", "1e-7",
                  "--heat: 1e-07 is neither 0 nor between 1e-06 and 100");
    refuse_option("--max-steps", "1001",
                  "--max-steps: 1001 is not between 0 and 1000");
    refuse_option("--max-steps", "1.5",
                  "--max-steps: '1.5' is not a whole number");
    refuse_option("--limit", "-1", "--limit: -1 is too small; at least 0");
    refuse_option("--layers", "0,4", "--layers: 4 is not between -4 and 3");
    refuse_option("--layers", "0,,1",
                  "--layers: '0,,1' is not whole numbers with commas between");
    refuse_option("--lr", "cos",
                  "--lr must be cosine, linear or constant, not 'cos'");
    refuse_option("--loss", "", "--loss: WORD must not be empty");
    refuse_option("--force=1", NULL, "--force takes no value");
    refuse_option("--limit", NULL, "--limit needs N");
    refuse_option("-b", NULL, "-b needs B");
    refuse_option("-x", NULL, "unknown option -x (see --help)");
    refuse_option("--other", "1", "unknown option --other (see --help)");
    refuse_option("--forse", NULL,
                  "unknown option --forse; did you mean --force (see --help)");
}
END_TEST

START_TEST(default_rules_are_as_shown)
{
    const struct ral_setting row[] = {RAL_REWARD_SETTINGS(&reward),
                                      RAL_OPT_END};
    struct ral_rule_set rules;
    char set[RAL_SETTING_TEXT + 20];

    ral_rule_set_default(&rules);
    snprintf(set, sizeof set, "reward.weights=%s", row[0].shown);
    ck_assert_int_eq(
        ral_recipe_load(&texts, row, NULL, &(struct ral_list){{set}, 1}, NULL),
        0);
    ck_assert_uint_eq(reward.weights.n, rules.n);
    for (size_t i = 0; i < rules.n; i++) {
        ck_assert_str_eq(reward.weights.name[i], rules.rule[i]->name);
        ck_assert(reward.weights.value[i] == rules.weight[i]);
    }
}
END_TEST

/* A list of words has a word for each value, and the code knows it. */
START_TEST(words_are_those_of_the_code)
{
    const struct ral_pg_type *type;
    enum ral_reduce how;

    ck_assert_int_eq(ral_pg_find(&type, RAL_PG_WORDS, NULL), 0); // one so far
    ck_assert_int_eq(ral_word(RAL_REDUCE_WORDS, "sum"), RAL_REDUCE_SUM);
    ck_assert_int_eq(ral_reduce_parse(&how, "sequence", NULL), 0);
    ck_assert_int_eq(how, RAL_REDUCE_SEQUENCE);
    ck_assert_int_eq(ral_word(RAL_SCHEDULE_WORDS, "cosine"), RAL_COSINE);
    ck_assert_int_eq(ral_word(RAL_SCALE_WORDS, "none"), RAL_SCALE_NONE);
    ck_assert_int_eq(ral_word(RAL_MEDIA_ORDER_WORDS, "last"), RAL_MEDIA_LAST);
    ck_assert_int_eq(ral_word(RAL_BACKWARD_WORDS, "blas"), RAL_BACKWARD_BLAS);
    ck_assert_int_eq(ral_word(RAL_ATTN_HEADS_WORDS, "each"),
                     RAL_ATTN_HEADS_EACH);
    ck_assert_int_eq(ral_word("a|b", "ab"), -1);
    ck_assert_int_eq(ral_word("a|b", ""), -1);
}
END_TEST

/* want NULL: not set; "": a failure. */
static void get(const char *key, const char *set, const char *want)
{
    const struct ral_list list = {{"update.beta=9", set}, 1 + (set != NULL)};
    struct ral_buf out = {0};
    struct ral_err err = {0};
    const int rc = ral_recipe_get(path, &list, key, &out, &err);

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
    int failed, fd = mkstemp(path);

    close(fd);
    tcase_add_checked_fixture(t, reset, teardown);
    tcase_add_test(t, sections_inside_sections);
    tcase_add_test(t, values_of_every_type);
    tcase_add_test(t, null_keeps_the_default);
    tcase_add_test(t, overrides_win_in_order);
    tcase_add_test(t, one_entry_of_a_map);
    tcase_add_test(t, unknown_names);
    tcase_add_test(t, wrong_types_and_ranges);
    tcase_add_test(t, a_row_tells_its_values_and_default);
    tcase_add_test(t, defaults_come_first);
    tcase_add_test(t, options_of_every_type);
    tcase_add_test(t, options_win_over_the_recipe);
    tcase_add_test(t, options_out_of_range);
    tcase_add_test(t, default_rules_are_as_shown);
    tcase_add_test(t, words_are_those_of_the_code);
    tcase_add_test(t, values_for_scripts);
    tcase_add_test(t, metrics_are_lines);
    tcase_add_test(t, a_full_disk_is_an_error);
    failed = run_tests(t);
    unlink(path);
    return failed;
}
