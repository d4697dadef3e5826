/* lib/conf/recipe.h - settings from a YAML recipe and KEY=VALUE overrides. */
#ifndef RAL_RECIPE_H
#define RAL_RECIPE_H

#include <stddef.h>

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

/* Rows of these; as those of base/opt.h. They are empty by default. */
#define RAL_SET_LIST(k, d, ...)                                                \
    {.key = k, .type = RAL_SET_T_LIST, .dst = (struct ral_strings *){d},       \
     .help = __VA_ARGS__}
#define RAL_SET_MAP(k, d, from, upto, ...)                                     \
    {.key = k, .type = RAL_SET_T_MAP, .dst = (struct ral_weights *){d},        \
     .lo = from, .hi = upto, .help = __VA_ARGS__}

/**
 * Applies the file (NULL: none), then the overrides in order, to those rows
 * that have a key; what neither sets stays as it is, also where the file says
 * null. The value of an override is a scalar, [a, b] for a list, {a: 1} for a
 * map; a map's entry has its own key, "reward.weights.exact=1"; a text is
 * taken as it stands, unless it begins with a quote.
 *
 * A section is known to a program when one of its keys is, so programs that
 * share a section list all of it, with dst NULL where they do not read it.
 * Sections that the rows do not have are for other programs, and overrides of
 * them change nothing.
 *
 * @param texts  a struct ral_arena: the texts and lists that are stored. The
 *               function is base/opt.h's hook of -c, hence void.
 *
 * @return 0, -RAL_EUSAGE with place and nearest name
 *         ("r.yaml:12:3: unknown key 'update.bet'; did you mean
 *         'update.beta'?"), or another code where the file cannot be read or
 *         is not YAML.
 */
int ral_recipe_load(void *texts, const struct ral_setting *rows,
                    const char *path, const struct ral_list *overrides,
                    struct ral_err *err);

/**
 * For scripts: appends the value of "train.steps" to out, a list's items one
 * a line, each with its line end. Overrides win over the file.
 * @return 1, 0 where the recipe does not set the key, or negative
 */
int ral_recipe_get(const char *path, const struct ral_list *overrides,
                   const char *key, struct ral_buf *out, struct ral_err *err);

/* The section that every reader of rows shares; its rows: prompt/source.h. */
struct ral_data_settings {
    const char *train, *validation, *test; // files of rows
    const char *sft;                       // of SFT; NULL: train
    const char *media_root;
    const char *system_prompt, *prompt_suffix, *response_template;
    int media_order; // as_is, first, last
    struct ral_strings where;
    struct ral_strings train_where, validation_where, test_where;
};

#endif
