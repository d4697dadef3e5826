/* lib/stream/json.c - between CBOR items and JSON. */
#include "stream/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "stream/cbor.h"

enum { ROW_DEPTH = 24 }; // leaves room for the record around it

/* Appends RFC 4648 base64. */
static void base64(struct ral_buf *b, const unsigned char *s, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789+/";

    ral_buf_reserve(b, n / 3 * 4 + 4);
    for (size_t i = 0; i < n; i += 3) {
        const size_t k = n - i < 3 ? n - i : 3;
        const unsigned v =
            s[i] << 16 | (k > 1 ? s[i + 1] << 8 : 0) | (k > 2 ? s[i + 2] : 0);
        const char q[4] = {digit[v >> 18], digit[v >> 12 & 63],
                           k > 1 ? digit[v >> 6 & 63] : '=',
                           k > 2 ? digit[v & 63] : '='};

        ral_buf_put(b, q, 4);
    }
}

static bool is_bytes(const struct ral_item *it)
{
    return it->type == RAL_ITEM_BYTES || it->type == RAL_ITEM_U8S;
}

static bool left_out(const struct ral_item *key, const struct ral_item *value,
                     unsigned flags)
{
    const bool array =
        value->type == RAL_ITEM_F32S || value->type == RAL_ITEM_F16S;

    return !(flags & RAL_JSON_FULL) &&
           (is_bytes(value) || (array && ral_item_is(key, "attn")));
}

/* Element i of a typed array. */
static double element(const struct ral_item *it, size_t i)
{
    uint16_t h;
    int32_t k;
    float f;

    switch (it->type) {
    case RAL_ITEM_F32S:
        memcpy(&f, it->text + 4 * i, 4);
        return f;
    case RAL_ITEM_F16S:
        memcpy(&h, it->text + 2 * i, 2);
        return ral_from_f16(h);
    default:
        memcpy(&k, it->text + 4 * i, 4);
        return k;
    }
}

static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *json_typed(const struct ral_item *it)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < it->n; i++) {
        const double v = element(it, i);

        if (json_array_append_new(list, it->type == RAL_ITEM_I32S
                                            ? json_integer((json_int_t)v)
                                            : real(v)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_list(const struct ral_item *it, unsigned flags)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < it->n; i++)
        if (json_array_append_new(list, ral_item_json(&it->child[i], flags))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *json_map(const struct ral_item *it, unsigned flags)
{
    json_t *map = json_object();

    for (size_t i = 0; map && i < it->n; i++) {
        const struct ral_item *k = &it->child[2 * i];

        if (left_out(k, k + 1, flags))
            continue;
        if (json_object_setn_new(map, k->text, k->n,
                                 ral_item_json(k + 1, flags))) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

static json_t *json_bytes(const struct ral_item *it)
{
    struct ral_buf b = {0};
    json_t *v = NULL;

    base64(&b, (const unsigned char *)it->text, it->n);
    if (!b.failed)
        v = json_stringn(b.len ? (char *)b.data : "", b.len);
    ral_buf_release(&b);
    return v;
}

json_t *ral_item_json(const struct ral_item *it, unsigned flags)
{
    switch (it->type) {
    case RAL_ITEM_UINT:
        return it->u > INT64_MAX ? json_real((double)it->u)
                                 : json_integer((json_int_t)it->u);
    case RAL_ITEM_NINT:
        return it->u > INT64_MAX ? json_real(-1 - (double)it->u)
                                 : json_integer(-1 - (json_int_t)it->u);
    case RAL_ITEM_F64:
        return real(it->f);
    case RAL_ITEM_BOOL:
        return json_boolean(it->b);
    case RAL_ITEM_NULL:
        return json_null();
    case RAL_ITEM_TEXT:
        return json_stringn(it->text, it->n);
    case RAL_ITEM_BYTES:
    case RAL_ITEM_U8S:
        return flags & RAL_JSON_FULL ? json_bytes(it) : json_null();
    case RAL_ITEM_ARRAY:
        return json_list(it, flags);
    case RAL_ITEM_MAP:
        return json_map(it, flags);
    case RAL_ITEM_TAG:
        return ral_item_json(it->child, flags);
    default:
        return json_typed(it);
    }
}

static int cbor_json(struct ral_buf *b, const json_t *v, int depth)
{
    if (depth > ROW_DEPTH)
        return ral_buf_fail(b, -RAL_EINVAL);
    if (json_is_object(v)) {
        json_t *o = (json_t *)v; // iteration takes no const
        const char *key;
        json_t *value;

        ral_cbor_map(b, json_object_size(v));
        json_object_foreach(o, key, value)
        {
            ral_cbor_key(b, key);
            cbor_json(b, value, depth + 1);
        }
        return b->failed;
    }
    if (json_is_array(v)) {
        ral_cbor_array(b, json_array_size(v));
        for (size_t i = 0; i < json_array_size(v); i++)
            cbor_json(b, json_array_get(v, i), depth + 1);
        return b->failed;
    }
    if (json_is_string(v))
        return ral_cbor_text(b, json_string_value(v), json_string_length(v));
    if (json_is_integer(v))
        return ral_cbor_int(b, json_integer_value(v));
    if (json_is_real(v))
        return ral_cbor_double(b, json_real_value(v));
    if (json_is_boolean(v))
        return ral_cbor_bool(b, json_is_true(v));
    return ral_cbor_null(b);
}

int ral_cbor_json(struct ral_buf *b, const json_t *v)
{
    return cbor_json(b, v, 0);
}

static int print_text(struct ral_buf *b, const char *s, size_t n)
{
    static const char letter[] = "btn\0fr"; // of bytes 8 to 13
    size_t from = 0;

    ral_buf_put(b, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];

        if (c >= 32 && c != '"' && c != '\\' && c != 127)
            continue;
        ral_buf_put(b, s + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            ral_buf_printf(b, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            ral_buf_printf(b, "\\%c", letter[c - 8]);
        else
            ral_buf_printf(b, "\\u%04x", c);
    }
    ral_buf_put(b, s + from, n - from);
    return ral_buf_put(b, "\"", 1);
}

/* A float must not read back as an integer: -0 would lose its sign. */
static int print_real(struct ral_buf *b, double v, int digits)
{
    char s[40];
    int n;

    if (!isfinite(v))
        return ral_buf_put(b, "null", 4);
    n = snprintf(s, sizeof s, "%.*g", digits ? digits : 15, v);
    for (int d = 16; !digits && d <= 17 && strtod(s, NULL) != v; d++)
        n = snprintf(s, sizeof s, "%.*g", d, v);
    if (!strpbrk(s, ".e"))
        n += snprintf(s + n, sizeof s - (size_t)n, ".0");
    return ral_buf_put(b, s, (size_t)n);
}

static int print_typed(struct ral_buf *b, const struct ral_item *it)
{
    ral_buf_put(b, "[", 1);
    for (size_t i = 0; i < it->n; i++) {
        const double v = element(it, i);

        ral_buf_put(b, ",", i > 0);
        if (it->type == RAL_ITEM_I32S)
            ral_buf_printf(b, "%.0f", v);
        else
            print_real(b, v, 9);
    }
    return ral_buf_put(b, "]", 1);
}

static int print_list(struct ral_buf *b, const struct ral_item *it,
                      unsigned flags)
{
    ral_buf_put(b, "[", 1);
    for (size_t i = 0; i < it->n; i++) {
        ral_buf_put(b, ",", i > 0);
        ral_item_print(b, &it->child[i], flags);
    }
    return ral_buf_put(b, "]", 1);
}

static int print_map(struct ral_buf *b, const struct ral_item *it,
                     unsigned flags)
{
    bool more = false;

    ral_buf_put(b, "{", 1);
    for (size_t i = 0; i < it->n; i++) {
        const struct ral_item *k = &it->child[2 * i];

        if (left_out(k, k + 1, flags))
            continue;
        ral_buf_put(b, ",", more);
        more = true;
        print_text(b, k->text, k->n);
        ral_buf_put(b, ":", 1);
        ral_item_print(b, k + 1, flags);
    }
    return ral_buf_put(b, "}", 1);
}

static int print_bytes(struct ral_buf *b, const struct ral_item *it)
{
    ral_buf_put(b, "\"", 1);
    base64(b, (const unsigned char *)it->text, it->n);
    return ral_buf_put(b, "\"", 1);
}

/* -1 - u without overflow. */
static int print_nint(struct ral_buf *b, uint64_t u)
{
    if (u == UINT64_MAX)
        return ral_buf_printf(b, "-18446744073709551616");
    return ral_buf_printf(b, "-%llu", (unsigned long long)u + 1);
}

int ral_item_print(struct ral_buf *b, const struct ral_item *it, unsigned flags)
{
    switch (it->type) {
    case RAL_ITEM_UINT:
        return ral_buf_printf(b, "%llu", (unsigned long long)it->u);
    case RAL_ITEM_NINT:
        return print_nint(b, it->u);
    case RAL_ITEM_F64:
        return print_real(b, it->f, 0);
    case RAL_ITEM_BOOL:
        return ral_buf_printf(b, "%s", it->b ? "true" : "false");
    case RAL_ITEM_NULL:
        return ral_buf_put(b, "null", 4);
    case RAL_ITEM_TEXT:
        return print_text(b, it->text, it->n);
    case RAL_ITEM_BYTES:
    case RAL_ITEM_U8S:
        return flags & RAL_JSON_FULL ? print_bytes(b, it)
                                     : ral_buf_put(b, "null", 4);
    case RAL_ITEM_ARRAY:
        return print_list(b, it, flags);
    case RAL_ITEM_MAP:
        return print_map(b, it, flags);
    case RAL_ITEM_TAG:
        return ral_item_print(b, it->child, flags);
    default:
        return print_typed(b, it);
    }
}
