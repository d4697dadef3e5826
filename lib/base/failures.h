/* lib/base/failures.h - records that could not be used, and how many may be. */
#ifndef RAL_FAILURES_H
#define RAL_FAILURES_H

#include <math.h>
#include <stddef.h>

#include "base/err.h"

/* A fraction that was not asked for; no option can give this value. */
#define RAL_UNASKED (-HUGE_VAL)

/**
 * Whether failed of n records are too many. most RAL_UNASKED: a tenth, and
 * more is the data's fault; else it was asked for.
 * @return 0, -RAL_EINVAL or -RAL_ECHECK
 */
int ral_failures(double most, size_t failed, size_t n);

/* How many, and why the first. Zero initialise. */
struct ral_failures {
    size_t n;
    char first[400];
};

__attribute__((format(printf, 2, 3))) void
ral_failures_add(struct ral_failures *f, const char *fmt, ...);

/* As ral_failures, of so many records, with the message. */
int ral_failures_check(const struct ral_failures *f, size_t of, double most,
                       struct ral_err *err);

#endif
