/* lib/stream/cbor.h - build CBOR items (RFC 8949) in a buffer. */
#ifndef RAL_CBOR_H
#define RAL_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/**
 * Each appends one item, or the head of one, in its shortest form, but floats
 * always as f64: a reward's bytes do not depend on its value. They return 0
 * or the buffer's first failure, -RAL_ENOMEM or -RAL_EINVAL: base/buf.h.
 */
int ral_cbor_map(struct ral_buf *b, size_t n);   // n pairs follow
int ral_cbor_array(struct ral_buf *b, size_t n); // n items follow
int ral_cbor_uint(struct ral_buf *b, uint64_t v);
int ral_cbor_int(struct ral_buf *b, int64_t v);
int ral_cbor_double(struct ral_buf *b, double v);
int ral_cbor_bool(struct ral_buf *b, bool v);
int ral_cbor_null(struct ral_buf *b);
int ral_cbor_bytes(struct ral_buf *b, const void *p, size_t n);
/* Text must be UTF-8: else -RAL_EINVAL, or U+FFFD for each wrong byte. */
int ral_cbor_text(struct ral_buf *b, const char *s, size_t n);
int ral_cbor_text_lossy(struct ral_buf *b, const char *s, size_t n);
int ral_cbor_key(struct ral_buf *b, const char *key); // a NUL-ended text
/* A key and its value; text of a NUL-ended string, lossy. */
int ral_cbor_pair_uint(struct ral_buf *b, const char *key, uint64_t v);
int ral_cbor_pair_int(struct ral_buf *b, const char *key, int64_t v);
int ral_cbor_pair_double(struct ral_buf *b, const char *key, double v);
int ral_cbor_pair_text(struct ral_buf *b, const char *key, const char *s);
/* Typed arrays, RFC 8746: tags 85, 84 (rounded to nearest even), 78. */
int ral_cbor_f32s(struct ral_buf *b, const float *v, size_t n);
int ral_cbor_f16s(struct ral_buf *b, const float *v, size_t n);
int ral_cbor_i32s(struct ral_buf *b, const int32_t *v, size_t n);
/* Items that are already encoded. */
int ral_cbor_raw(struct ral_buf *b, const uint8_t *p, size_t n);

/* Bytes of s[n] before the first that is not valid UTF-8; n if all is. */
size_t ral_cbor_text_valid(const char *s, size_t n);

#endif
