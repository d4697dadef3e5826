/* lib/base/buf.h - a growing run of bytes. */
#ifndef RAL_BUF_H
#define RAL_BUF_H

#include <stddef.h>
#include <stdint.h>

struct ral_buf { // zero initialise
    uint8_t *data;
    size_t len, cap;
};

/* Makes room for n more bytes. 0 or -RAL_ENOMEM; len is unchanged. */
int ral_buf_reserve(struct ral_buf *b, size_t n);
int ral_buf_put(struct ral_buf *b, const void *p, size_t n);
/* Appends text without its NUL, but keeps one after the end. */
__attribute__((format(printf, 2, 3))) int ral_buf_printf(struct ral_buf *b,
                                                         const char *fmt, ...);
void ral_buf_release(struct ral_buf *b);

#endif
