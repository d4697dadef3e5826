/* lib/stream/cbor.c - build CBOR items (RFC 8949) in a buffer. */
#include "stream/cbor.h"

#include <cbor.h>
#include <string.h>

#include "base/err.h"

enum { HEAD = 9 }; // bytes of the longest head

/* Appends a head that a libcbor function writes into room of HEAD bytes. */
#define PUT(b, call)                                                           \
    do {                                                                       \
        if (ral_buf_reserve(b, HEAD) == 0) {                                   \
            unsigned char *at = (b)->data + (b)->len;                          \
            (b)->len += (call);                                                \
        }                                                                      \
    } while (0)

int ral_cbor_map(struct ral_buf *b, size_t n)
{
    PUT(b, cbor_encode_map_start(n, at, HEAD));
    return b->failed;
}

int ral_cbor_array(struct ral_buf *b, size_t n)
{
    PUT(b, cbor_encode_array_start(n, at, HEAD));
    return b->failed;
}

int ral_cbor_uint(struct ral_buf *b, uint64_t v)
{
    PUT(b, cbor_encode_uint(v, at, HEAD));
    return b->failed;
}

int ral_cbor_int(struct ral_buf *b, int64_t v)
{
    if (v >= 0)
        return ral_cbor_uint(b, (uint64_t)v);
    PUT(b, cbor_encode_negint((uint64_t)(-1 - v), at, HEAD));
    return b->failed;
}

int ral_cbor_double(struct ral_buf *b, double v)
{
    PUT(b, cbor_encode_double(v, at, HEAD));
    return b->failed;
}

int ral_cbor_bool(struct ral_buf *b, bool v)
{
    PUT(b, cbor_encode_bool(v, at, HEAD));
    return b->failed;
}

int ral_cbor_null(struct ral_buf *b)
{
    PUT(b, cbor_encode_null(at, HEAD));
    return b->failed;
}

int ral_cbor_bytes(struct ral_buf *b, const void *p, size_t n)
{
    PUT(b, cbor_encode_bytestring_start(n, at, HEAD));
    return ral_buf_put(b, p, n);
}

int ral_cbor_text(struct ral_buf *b, const char *s, size_t n)
{
    if (ral_cbor_text_valid(s, n) != n)
        return ral_buf_fail(b, -RAL_EINVAL);
    PUT(b, cbor_encode_string_start(n, at, HEAD));
    return ral_buf_put(b, s, n);
}

int ral_cbor_text_lossy(struct ral_buf *b, const char *s, size_t n)
{
    struct ral_buf t = {0};

    while (n) {
        const size_t good = ral_cbor_text_valid(s, n);

        ral_buf_put(&t, s, good);
        s += good;
        n -= good;
        if (n) {
            ral_buf_put(&t, "\xef\xbf\xbd", 3);
            s++;
            n--;
        }
    }
    if (t.failed)
        ral_buf_fail(b, t.failed);
    else
        ral_cbor_text(b, (const char *)t.data, t.len);
    ral_buf_release(&t);
    return b->failed;
}

int ral_cbor_key(struct ral_buf *b, const char *key)
{
    return ral_cbor_text(b, key, strlen(key));
}

int ral_cbor_pair_uint(struct ral_buf *b, const char *key, uint64_t v)
{
    ral_cbor_key(b, key);
    return ral_cbor_uint(b, v);
}

int ral_cbor_pair_int(struct ral_buf *b, const char *key, int64_t v)
{
    ral_cbor_key(b, key);
    return ral_cbor_int(b, v);
}

int ral_cbor_pair_double(struct ral_buf *b, const char *key, double v)
{
    ral_cbor_key(b, key);
    return ral_cbor_double(b, v);
}

int ral_cbor_pair_text(struct ral_buf *b, const char *key, const char *s)
{
    ral_cbor_key(b, key);
    return ral_cbor_text_lossy(b, s, strlen(s));
}

static int typed(struct ral_buf *b, unsigned tag, const void *p, size_t n)
{
    if (n > SIZE_MAX / 4)
        return ral_buf_fail(b, -RAL_ENOMEM);
    PUT(b, cbor_encode_tag(tag, at, HEAD));
    return ral_cbor_bytes(b, p, 4 * n);
}

int ral_cbor_f32s(struct ral_buf *b, const float *v, size_t n)
{
    return typed(b, 85, v, n);
}

int ral_cbor_i32s(struct ral_buf *b, const int32_t *v, size_t n)
{
    return typed(b, 78, v, n);
}

/* IEEE binary16, round to nearest even; overflow gives infinity. */
static uint16_t to_f16(float f)
{
    uint32_t u, sign, mag, shift, half;

    memcpy(&u, &f, 4);
    sign = u >> 16 & 0x8000;
    mag = u & 0x7fffffff;
    if (mag > 0x7f800000) // NaN
        return (uint16_t)(sign | 0x7e00);
    if (mag >= 0x477ff000) // 65520 and more round to infinity
        return (uint16_t)(sign | 0x7c00);
    if (mag >= 0x38800000) { // normal: 13 bits of the fraction go
        mag += 0xfff + (mag >> 13 & 1);
        return (uint16_t)(sign | ((mag >> 13) - (112 << 10)));
    }
    if (mag < 0x33000000) // under half of the smallest subnormal
        return (uint16_t)sign;
    shift = 126 - (mag >> 23); // 14 to 24
    mag = (mag & 0x7fffff) | 0x800000;
    half = 1u << (shift - 1);
    mag += half - 1 + (mag >> shift & 1);
    return (uint16_t)(sign | mag >> shift);
}

int ral_cbor_f16s(struct ral_buf *b, const float *v, size_t n)
{
    uint8_t *p;

    if (n > SIZE_MAX / 8)
        return ral_buf_fail(b, -RAL_ENOMEM);
    PUT(b, cbor_encode_tag(84, at, HEAD));
    PUT(b, cbor_encode_bytestring_start(2 * n, at, HEAD));
    if (ral_buf_reserve(b, 2 * n) < 0)
        return b->failed;
    p = b->data + b->len;
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = to_f16(v[i]);

        memcpy(p + 2 * i, &h, 2);
    }
    b->len += 2 * n;
    return 0;
}

int ral_cbor_raw(struct ral_buf *b, const uint8_t *p, size_t n)
{
    return ral_buf_put(b, p, n);
}

/* Bytes of the valid sequence at s, 0 if there is none: RFC 3629, section 4. */
static size_t sequence(const unsigned char *s, size_t n)
{
    const unsigned c = s[0];
    const size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    unsigned lo = 0x80, hi = 0xbf; // of the second byte

    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4 || n < len)
        return 0;
    if (c == 0xe0)
        lo = 0xa0; // no overlong forms
    else if (c == 0xed)
        hi = 0x9f; // no surrogates
    else if (c == 0xf0)
        lo = 0x90;
    else if (c == 0xf4)
        hi = 0x8f; // nothing over U+10FFFF
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return len;
}

size_t ral_cbor_text_valid(const char *s, size_t n)
{
    size_t i = 0, len;

    while (i < n && (len = sequence((const unsigned char *)s + i, n - i)))
        i += len;
    return i;
}
