/* lib/job/whole.h - a recipe as a whole, with what every program reads. */
#ifndef RAL_JOB_WHOLE_H
#define RAL_JOB_WHOLE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

/**
 * Checks all sections of a recipe (path NULL: the overrides alone), and not
 * those of one program: a key that nobody knows is found before a long run.
 * The train section, read by a script, has its rows here.
 */
int ral_recipe_check(const char *path, const struct ral_list *overrides,
                     struct ral_err *err);

/**
 * Appends the value that a key has where no recipe sets it, as a line.
 * @return 1, 0 where there is none (or it is no value: "the rows' folder"),
 *         or negative
 */
int ral_recipe_default(const char *key, struct ral_buf *out,
                       struct ral_err *err);

/* Appends all settings, one a line: key, option, values, default and help,
 * with tabs between. */
int ral_recipe_settings(struct ral_buf *out, struct ral_err *err);

#endif
