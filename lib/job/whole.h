/* lib/job/whole.h - a recipe as a whole, with what every program reads. */
#ifndef RAL_JOB_WHOLE_H
#define RAL_JOB_WHOLE_H

#include "base/err.h"
#include "base/opt.h"

/**
 * Checks all sections of a recipe (path NULL: the overrides alone), and not
 * those of one program: a key that nobody knows is found before a long run.
 * The train section, read by a script, has its table here.
 */
int ral_recipe_check(const char *path, const struct ral_list *overrides,
                     struct ral_err *err);

#endif
