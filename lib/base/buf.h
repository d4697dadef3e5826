/* lib/base/buf.h - a growing run of bytes. */
#ifndef RAL_BUF_H
#define RAL_BUF_H

#include <stddef.h>
#include <stdint.h>

/**
 * It keeps its first failure: nothing is added after it, and all that follows
 * returns it again. Who writes many parts asks once, at the end: the last
 * call, or failed.
 */
struct ral_buf { // zero initialise
    uint8_t *data;
    size_t len, cap;
    int failed; // 0, or the negative code of the first failure
};

/* Makes room for n more bytes. 0 or a failure; len is unchanged. */
int ral_buf_reserve(struct ral_buf *b, size_t n);
int ral_buf_put(struct ral_buf *b, const void *p, size_t n);
/* Appends text without its NUL, but keeps one after the end. */
__attribute__((format(printf, 2, 3))) int ral_buf_printf(struct ral_buf *b,
                                                         const char *fmt, ...);
/* Keeps code as the failure, unless there is one; returns what is kept. */
int ral_buf_fail(struct ral_buf *b, int code);
/* Shortens to len bytes and forgets the failure. */
void ral_buf_cut(struct ral_buf *b, size_t len);
void ral_buf_release(struct ral_buf *b);

#endif
