/* lib/text/utf8.h - UTF-8: validation, repair, normal form C. */
#ifndef RAL_UTF8_H
#define RAL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/**
 * Looks at the first character of s[n], n > 0: its length if it is valid;
 * else the length (1 to 3) of the maximal invalid part, the bytes that one
 * U+FFFD stands for. cp, if not NULL, is the code point or U+FFFD.
 */
size_t ral_utf8_next(const char *s, size_t n, bool *valid, int32_t *cp);

/* Offset of the first byte that is not valid UTF-8; n if all is well. */
size_t ral_utf8_check(const char *s, size_t n);

/* Appends one code point. 0 or -RAL_ENOMEM. */
int ral_utf8_put(struct ral_buf *out, int32_t cp);

/* Appends s[n], with U+FFFD for every maximal invalid part. */
int ral_utf8_repair(struct ral_buf *out, const char *s, size_t n);

/* White space of Unicode, and the separators U+001C to U+001F as Python. */
bool ral_utf8_space(int32_t cp);

/* Narrows *s, *n by white space at both ends; invalid bytes are no space. */
void ral_utf8_strip(const char **s, size_t *n);

/**
 * Appends normal form C of the valid UTF-8 text s[n]; time is linear in n up
 * to sorting, also for endless runs of combining marks.
 *
 * The tables are those of Unicode 9, as in the tokenizers that this library
 * must agree with: a combining mark younger than that orders and composes
 * with nothing, whatever the installed utf8proc knows. Text in older
 * characters has the normal form of any Unicode version.
 *
 * @return 0, or -RAL_ENOMEM
 */
int ral_utf8_nfc(struct ral_buf *out, const char *s, size_t n);

#endif
