/* lib/base/buf.c - a growing run of bytes. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int ral_buf_reserve(struct ral_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 256;
    void *p;

    if (b->failed || n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
        return ral_buf_fail(b, -RAL_ENOMEM);
    if (b->cap - b->len >= n)
        return 0;
    while (cap - b->len < n)
        cap *= 2;
    if (!(p = realloc(b->data, cap)))
        return ral_buf_fail(b, -RAL_ENOMEM);
    b->data = p;
    b->cap = cap;
    return 0;
}

int ral_buf_put(struct ral_buf *b, const void *p, size_t n)
{
    int rc = ral_buf_reserve(b, n);

    if (rc == 0 && n) {
        memcpy(b->data + b->len, p, n);
        b->len += n;
    }
    return rc;
}

int ral_buf_printf(struct ral_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n, rc;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return ral_buf_fail(b, -RAL_EINVAL);
    if ((rc = ral_buf_reserve(b, (size_t)n + 1)) < 0)
        return rc;
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

int ral_buf_fail(struct ral_buf *b, int code)
{
    if (!b->failed)
        b->failed = code;
    return b->failed;
}

void ral_buf_cut(struct ral_buf *b, size_t len)
{
    b->len = len;
    b->failed = 0;
}

void ral_buf_release(struct ral_buf *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}
