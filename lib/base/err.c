/* lib/base/err.c - one error value: a code and a line for a person. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A hostile name must not forge a second line or move the cursor. */
static void one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            *s = '?';
}

int ral_err_set(struct ral_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return code;
    err->code = -code;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    one_line(err->msg);
    return code;
}

int ral_err_at(struct ral_err *err, const char *fmt, ...)
{
    char old[sizeof err->msg];
    size_t n;
    va_list ap;

    if (!err)
        return -RAL_EINVAL;
    memcpy(old, err->msg, sizeof old);
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", old);
    one_line(err->msg);
    return -err->code;
}

/* "fmt: why" */
static int because(struct ral_err *err, int code, const char *why,
                   const char *fmt, va_list ap)
{
    size_t n;

    if (!err)
        return code;
    err->code = -code;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", why);
    one_line(err->msg);
    return code;
}

int ral_err_errno(struct ral_err *err, const char *fmt, ...)
{
    const char *why = strerror(errno);
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = because(err, -RAL_EIO, why, fmt, ap);
    va_end(ap);
    return rc;
}

int ral_err_nomem(struct ral_err *err, const char *fmt, ...)
{
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = because(err, -RAL_ENOMEM, "out of memory", fmt, ap);
    va_end(ap);
    return rc;
}
