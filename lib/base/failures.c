/* lib/base/failures.c - records that could not be used. */
#include "base/failures.h"

#include <stdarg.h>
#include <stdio.h>

static const double unasked = 0.1;

int ral_failures(double most, size_t failed, size_t n)
{
    if ((double)failed <= (most < 0 ? unasked : most) * (double)n)
        return 0;
    return most < 0 ? -RAL_EINVAL : -RAL_ECHECK;
}

void ral_failures_add(struct ral_failures *f, const char *fmt, ...)
{
    va_list ap;

    if (f->n++)
        return;
    va_start(ap, fmt);
    vsnprintf(f->first, sizeof f->first, fmt, ap);
    va_end(ap);
}

int ral_failures_check(const struct ral_failures *f, size_t of, double most,
                       struct ral_err *err)
{
    const int code = ral_failures(most, f->n, of);

    if (code == 0)
        return 0;
    return ral_err_set(err, code,
                       "%zu of %zu records failed, more than --max-failed %g; "
                       "the first: %s",
                       f->n, of, most < 0 ? unasked : most, f->first);
}
