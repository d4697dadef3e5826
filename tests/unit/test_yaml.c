/* tests/unit/test_yaml.c - the YAML that recipes are written in. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "conf/yaml.h"
#include "run.h"

static struct ral_yaml *parse(const char *text)
{
    struct ral_yaml *y;
    struct ral_err err = {0};

    ck_assert_msg(ral_yaml_parse(&y, text, strlen(text), "r.yaml", &err) == 0,
                  "%s", err.msg);
    return y;
}

static void refuse(const char *text, const char *why)
{
    struct ral_yaml *y;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_yaml_parse(&y, text, strlen(text), "r.yaml", &err),
                     -RAL_EINVAL);
    ck_assert_ptr_null(y);
    ck_assert_msg(strstr(err.msg, why), "%s", err.msg);
}

START_TEST(a_tree_with_places)
{
    struct ral_yaml *y = parse("# a recipe\n"
                               "train:\n"
                               "  steps: 60\n"
                               "  name: '60'\n"
                               "list: [a, \"b\"]\n"
                               "text: |\n"
                               "  two\n"
                               "  lines\n");
    const struct ral_yaml_node *v = ral_yaml_get(y->root, "train.steps");

    ck_assert_ptr_nonnull(v);
    ck_assert_str_eq(v->text, "60");
    ck_assert_str_eq(v->key, "steps");
    ck_assert(v->plain && v->line == 3 && v->column == 10 && v->key_line == 3 &&
              v->key_column == 3);
    ck_assert(!ral_yaml_get(y->root, "train.name")->plain);
    v = ral_yaml_get(y->root, "list");
    ck_assert(v->type == RAL_YAML_SEQUENCE && v->n == 2);
    ck_assert_str_eq(v->first->next->text, "b");
    ck_assert_ptr_null(v->first->next->next);
    ck_assert_str_eq(ral_yaml_get(y->root, "text")->text, "two\nlines\n");
    ck_assert_ptr_null(ral_yaml_get(y->root, "train.step"));
    ck_assert_ptr_null(ral_yaml_get(y->root, "train.steps.x"));
    ck_assert_ptr_null(ral_yaml_get(y->root, "list.0"));
    ck_assert_ptr_eq(ral_yaml_get(y->root, ""), y->root);
    ral_yaml_free(y);
}
END_TEST

START_TEST(empty_is_an_empty_mapping)
{
    struct ral_yaml *y = parse("# nothing\n");

    ck_assert(y->root->type == RAL_YAML_MAPPING && !y->root->n);
    ral_yaml_free(y);
}
END_TEST

START_TEST(what_a_recipe_must_not_hold)
{
    char deep[80] = "";

    refuse("a: 1\nb: 2\n a: 3\n", "r.yaml:3:");
    refuse("a: 1\nb: 2\na: 3\n", "r.yaml:3:1: key 'a' again");
    refuse("a: &x 1\nb: *x\n", "r.yaml:1:4: anchors");
    refuse("a: *x\n", "r.yaml:1:4: anchors");
    refuse("? *x\n: 1\n", "anchors");
    refuse("a: !!python/object x\n", "r.yaml:1:4: tags");
    refuse("a: 1\n---\nb: 1\n", "a second document");
    refuse("[a]: 1\n", "r.yaml:1:1: a key must be a name");
    refuse("a: [1, 2\n", "r.yaml:2:1:");
    refuse("a: \"x\\0y\"\n", "NUL");
    refuse("a: \xff\n", "r.yaml: byte 3");
    memset(deep, '[', 33);
    memset(deep + 33, ']', 33);
    refuse(deep, "nested too deep");
}
END_TEST

START_TEST(scalars_keep_their_types)
{
    struct ral_yaml *y = parse("{t: true, yes: yes, i: -8, q: '8', f: 1.5e-3, "
                               "x: 0x10, inf: .inf, nan: nan, e: , n: null, "
                               "s: word, big: 99999999999999999999}");
    const struct ral_yaml_node *r = y->root;
    bool b = false;
    int64_t i;
    double d;

    ck_assert_int_eq(ral_yaml_bool(ral_yaml_get(r, "t"), &b), 0);
    ck_assert(b);
    ck_assert_int_lt(ral_yaml_bool(ral_yaml_get(r, "yes"), &b), 0);
    ck_assert_int_eq(ral_yaml_i64(ral_yaml_get(r, "i"), &i), 0);
    ck_assert_int_eq(i, -8);
    ck_assert_int_eq(ral_yaml_f64(ral_yaml_get(r, "i"), &d), 0);
    ck_assert(d == -8);
    ck_assert_int_lt(ral_yaml_i64(ral_yaml_get(r, "q"), &i), 0);
    ck_assert_int_lt(ral_yaml_i64(ral_yaml_get(r, "f"), &i), 0);
    ck_assert_int_lt(ral_yaml_i64(ral_yaml_get(r, "big"), &i), 0);
    ck_assert_int_lt(ral_yaml_i64(r, &i), 0);
    ck_assert_int_eq(ral_yaml_f64(ral_yaml_get(r, "f"), &d), 0);
    ck_assert(d == 1.5e-3);
    ck_assert_int_lt(ral_yaml_f64(ral_yaml_get(r, "x"), &d), 0);
    ck_assert_int_lt(ral_yaml_f64(ral_yaml_get(r, "inf"), &d), 0);
    ck_assert_int_lt(ral_yaml_f64(ral_yaml_get(r, "nan"), &d), 0);
    ck_assert_int_lt(ral_yaml_f64(ral_yaml_get(r, "s"), &d), 0);
    ck_assert(ral_yaml_is_null(ral_yaml_get(r, "e")));
    ck_assert(ral_yaml_is_null(ral_yaml_get(r, "n")));
    ck_assert(!ral_yaml_is_null(ral_yaml_get(r, "s")));
    ral_yaml_free(y);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    struct ral_yaml *y;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_yaml_read(&y, "/nowhere/r.yaml", &err), -RAL_EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere/r.yaml: cannot open"));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("yaml");

    tcase_add_test(t, a_tree_with_places);
    tcase_add_test(t, empty_is_an_empty_mapping);
    tcase_add_test(t, what_a_recipe_must_not_hold);
    tcase_add_test(t, scalars_keep_their_types);
    tcase_add_test(t, a_missing_file_is_named);
    return run_tests(t);
}
