/* lib/job/recipe.h - settings from a YAML recipe and KEY=VALUE overrides. */
#ifndef RAL_RECIPE_H
#define RAL_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

struct ral_strings {
    const char **item;
    size_t n;
};

struct ral_weights { // names with numbers, in the order of the recipe
    const char **name;
    double *value;
    size_t n;
};

enum ral_set_type {
    RAL_SET_T_STR,  // const char **, any scalar; one of choices if there are
    RAL_SET_T_ENUM, // int *, the place of the word in choices, from 0
    RAL_SET_T_INT,  // int64_t *, lo to hi
    RAL_SET_T_NUM,  // double *, finite, lo to hi
    RAL_SET_T_BOOL, // bool *
    RAL_SET_T_LIST, // struct ral_strings *; a scalar is a list of one
    RAL_SET_T_MAP,  // struct ral_weights *, each lo to hi
};

/**
 * One row of a program's table. dst holds the default and stays as it is
 * where the recipe says nothing or null; dst NULL: a key that another
 * program reads, checked all the same. A section is known to a program
 * when one of its keys is, so programs that share a section list all of it.
 */
struct ral_setting {
    const char *key; // "update.beta"
    enum ral_set_type type;
    void *dst;
    const char *choices; // "token|sequence"; NULL: any text
    double lo, hi;       // inclusive
};

#define RAL_SET_STR(key, dst)                                                  \
    {                                                                          \
        key, RAL_SET_T_STR, (const char **){dst}, NULL, 0, 0                   \
    }
#define RAL_SET_WORD(key, dst, choices)                                        \
    {                                                                          \
        key, RAL_SET_T_STR, (const char **){dst}, choices, 0, 0                \
    }
#define RAL_SET_ENUM(key, dst, choices)                                        \
    {                                                                          \
        key, RAL_SET_T_ENUM, (int *){dst}, choices, 0, 0                       \
    }
#define RAL_SET_INT(key, dst, lo, hi)                                          \
    {                                                                          \
        key, RAL_SET_T_INT, (int64_t *){dst}, NULL, lo, hi                     \
    }
#define RAL_SET_NUM(key, dst, lo, hi)                                          \
    {                                                                          \
        key, RAL_SET_T_NUM, (double *){dst}, NULL, lo, hi                      \
    }
#define RAL_SET_BOOL(key, dst)                                                 \
    {                                                                          \
        key, RAL_SET_T_BOOL, (bool *){dst}, NULL, 0, 0                         \
    }
#define RAL_SET_LIST(key, dst)                                                 \
    {                                                                          \
        key, RAL_SET_T_LIST, (struct ral_strings *){dst}, NULL, 0, 0           \
    }
#define RAL_SET_MAP(key, dst, lo, hi)                                          \
    {                                                                          \
        key, RAL_SET_T_MAP, (struct ral_weights *){dst}, NULL, lo, hi          \
    }

/**
 * A table bound to what it has read. Texts and lists stored through dst live
 * until _release.
 */
struct ral_recipe {
    const struct ral_setting *setting;
    size_t n;
    struct ral_arena arena;
};

#define RAL_RECIPE(table)                                                      \
    (struct ral_recipe)                                                        \
    {                                                                          \
        .setting = table, .n = sizeof(table) / sizeof *(table)                 \
    }

/**
 * Applies the file (NULL: none), then the overrides in order. The value of an
 * override is a scalar, [a, b] for a list, {a: 1} for a map; a map's entry has
 * its own key, "reward.weights.exact=1"; a text is taken as it stands, unless
 * it begins with a quote. Overrides of sections that the table does not have
 * are for other programs of a pipe and change nothing.
 *
 * The first argument is a struct ral_recipe: this is base/opt.h's hook.
 *
 * @return 0, -RAL_EUSAGE with place and nearest name
 *         ("r.yaml:12:3: unknown key 'update.bet'; did you mean
 *         'update.beta'?"), or another code where the file cannot be read or
 *         is not YAML.
 */
int ral_recipe_load(void *recipe, const char *path,
                    const struct ral_list *overrides, struct ral_err *err);
void ral_recipe_release(struct ral_recipe *r);

/**
 * For scripts: appends the value of "train.steps" to out, a list's items one
 * a line, each with its line end. Overrides win over the file.
 * @return 1, 0 where the recipe does not set the key, or negative
 */
int ral_recipe_get(const char *path, const struct ral_list *overrides,
                   const char *key, struct ral_buf *out, struct ral_err *err);

/* For programs that do not make weights: ral-init reads this section. */
#define RAL_MODEL_SETTINGS                                                     \
    RAL_SET_STR("model.init", NULL), RAL_SET_STR("model.initializer", NULL),   \
        RAL_SET_NUM("model.std", NULL, 0, 10)

/* The section that every reader of rows shares; zero is the default. */
struct ral_data_settings {
    const char *train, *validation, *test; // files of rows
    const char *sft;                       // of SFT; NULL: train
    const char *media_root;
    const char *system_prompt, *prompt_suffix, *response_template;
    int media_order; // as_is, first, last
    struct ral_strings where;
    struct ral_strings train_where, validation_where, test_where;
};

#define RAL_DATA_SETTINGS(d)                                                   \
    RAL_SET_STR("data.train", &(d)->train),                                    \
        RAL_SET_STR("data.sft", &(d)->sft),                                    \
        RAL_SET_STR("data.validation", &(d)->validation),                      \
        RAL_SET_STR("data.test", &(d)->test),                                  \
        RAL_SET_STR("data.media_root", &(d)->media_root),                      \
        RAL_SET_STR("data.system_prompt", &(d)->system_prompt),                \
        RAL_SET_STR("data.prompt_suffix", &(d)->prompt_suffix),                \
        RAL_SET_STR("data.response_template", &(d)->response_template),        \
        RAL_SET_ENUM("data.media_order", &(d)->media_order,                    \
                     "as_is|first|last"),                                      \
        RAL_SET_LIST("data.where", &(d)->where),                               \
        RAL_SET_LIST("data.train_where", &(d)->train_where),                   \
        RAL_SET_LIST("data.validation_where", &(d)->validation_where),         \
        RAL_SET_LIST("data.test_where", &(d)->test_where)

#endif
