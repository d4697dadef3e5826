/* lib/stream/item.h - one decoded CBOR item as a tree in an arena. */
#ifndef RAL_ITEM_H
#define RAL_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum ral_item_type {
    RAL_ITEM_UINT, // u
    RAL_ITEM_NINT, // -1 - u
    RAL_ITEM_F64,  // f; a float of any stored width
    RAL_ITEM_BOOL, // b
    RAL_ITEM_NULL,
    RAL_ITEM_TEXT,  // text, n bytes of valid UTF-8, no NUL after them
    RAL_ITEM_BYTES, // text, n bytes
    RAL_ITEM_ARRAY, // child[n]
    RAL_ITEM_MAP,   // child[2 n]: key, value, key, value; keys are texts
    RAL_ITEM_F32S,  // RFC 8746 tag 85: text, n elements, little-endian
    RAL_ITEM_F16S,  // tag 84
    RAL_ITEM_I32S,  // tag 78
    RAL_ITEM_U8S,   // tag 64
    RAL_ITEM_TAG,   // another tag u on child[0]
};

/* Strings and raw point into the decoded bytes, which must outlive the item. */
struct ral_item {
    enum ral_item_type type;
    union {
        uint64_t u;
        double f;
        bool b;
    };
    const char *text;
    size_t n;
    struct ral_item *child;
    const uint8_t *raw; // the item as it was encoded
    size_t raw_len;
};

enum { RAL_ITEM_DEPTH = 32, RAL_ITEM_COUNT = 1 << 22 };

/**
 * Decodes exactly one item of definite lengths that fills data[len]. Refuses
 * counts over the bytes left before it allocates for them, depth over
 * RAL_ITEM_DEPTH, over RAL_ITEM_COUNT items, text that is not UTF-8, map keys
 * that are no texts, and a key that comes twice.
 */
int ral_item_decode(struct ral_item **out, const uint8_t *data, size_t len,
                    struct ral_arena *a, struct ral_err *err);

/* The value of a key, or NULL: no such key, no map, or map is NULL. */
const struct ral_item *ral_item_get(const struct ral_item *map,
                                    const char *key);
/* Whether it is a text equal to s. */
bool ral_item_is(const struct ral_item *it, const char *s);

/**
 * Readers of one value. it NULL means a missing key. what names the value in
 * the message, e.g. "samples[2].logp". 0 or -RAL_EINVAL (-RAL_ENOMEM).
 */
int ral_item_text(const struct ral_item *it, const char *what, const char **out,
                  size_t *n, struct ral_err *err);
/* A NUL-terminated copy; a text with a NUL inside is refused. */
int ral_item_string(const struct ral_item *it, const char *what,
                    struct ral_arena *a, const char **out, struct ral_err *err);
/* Any integer or float; NaN and infinities pass. */
int ral_item_number(const struct ral_item *it, const char *what, double *out,
                    struct ral_err *err);
int ral_item_int(const struct ral_item *it, const char *what, int64_t min,
                 int64_t max, int64_t *out, struct ral_err *err);
int ral_item_uint(const struct ral_item *it, const char *what, uint64_t max,
                  uint64_t *out, struct ral_err *err);
int ral_item_bool(const struct ral_item *it, const char *what, bool *out,
                  struct ral_err *err);
/* f32, or f16 widened. Copied when misaligned, so use *out, not it->text. */
int ral_item_f32s(const struct ral_item *it, const char *what,
                  struct ral_arena *a, const float **out, size_t *n,
                  struct ral_err *err);
int ral_item_i32s(const struct ral_item *it, const char *what,
                  struct ral_arena *a, const int32_t **out, size_t *n,
                  struct ral_err *err);

#endif
