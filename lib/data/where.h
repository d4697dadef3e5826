/* lib/data/where.h - values of a JSON object, and conditions on them. */
#ifndef RAL_WHERE_H
#define RAL_WHERE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The value of a key, or of keys joined by dots: "gain.points". Or NULL. */
const json_t *ral_json_at(const json_t *object, const char *key);

/**
 * Conditions are "key=v1,v2" (the value is one of these texts; a number or a
 * truth value counts as its text) and "key!=v1,v2" (it is none of them, or is
 * not there).
 * @return 0, or -RAL_EUSAGE for a text that is no condition
 */
int ral_where_check(const char *const *where, size_t n, struct ral_err *err);
/* Do all n of them hold? They must have passed the check. */
bool ral_where_holds(const json_t *object, const char *const *where, size_t n);

#endif
