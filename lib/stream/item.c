/* lib/stream/item.c - one decoded CBOR item as a tree in an arena. */
#include "stream/item.h"

#include <cbor.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "stream/cbor.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "typed arrays are read in place");

struct frame {
    struct ral_item *item;
    size_t done, count; // children
};

struct decode {
    struct ral_arena *a;
    struct ral_item *root, *last; // last: placed by the latest callback
    struct frame stack[RAL_ITEM_DEPTH];
    size_t depth;
    size_t owed;  // items that the open containers still expect
    size_t items; // placed so far
    const uint8_t *at, *end;
    const char *why; // what was wrong, NULL while all is well
    bool nomem;
};

static void refuse(struct decode *d, const char *why)
{
    if (!d->why)
        d->why = why;
}

static struct ral_item *place(struct decode *d, enum ral_item_type type)
{
    struct frame *f = d->depth ? &d->stack[d->depth - 1] : NULL;
    struct ral_item *it = d->root;

    if (f) {
        if (f->item->type == RAL_ITEM_MAP && f->done % 2 == 0 &&
            type != RAL_ITEM_TEXT)
            refuse(d, "a map key that is no text");
        it = &f->item->child[f->done++];
    }
    if (++d->items > RAL_ITEM_COUNT)
        refuse(d, "more items than a record may hold");
    *it = (struct ral_item){.type = type, .raw = d->at};
    d->owed--;
    d->last = it;
    return it;
}

/* Every item takes a byte, so a count over the bytes left is a lie. */
static void push(struct decode *d, enum ral_item_type type, uint64_t count,
                 uint64_t n)
{
    const size_t left = (size_t)(d->end - d->at) - 1;
    struct ral_item *it;

    if (d->depth == RAL_ITEM_DEPTH) {
        refuse(d, "nested too deep");
        return;
    }
    it = place(d, type);
    if (d->why)
        return;
    if (count > left || d->owed > left - count) {
        refuse(d, "a count larger than the bytes left");
        return;
    }
    if (d->items + count > RAL_ITEM_COUNT) {
        refuse(d, "more items than a record may hold");
        return;
    }
    it->n = (size_t)n;
    if (count && !(it->child = RAL_NEW(d->a, struct ral_item, count))) {
        d->nomem = true;
        refuse(d, "out of memory");
        return;
    }
    d->owed += (size_t)count;
    d->stack[d->depth++] = (struct frame){it, 0, (size_t)count};
}

static void on_uint(void *d, uint64_t v)
{
    place(d, RAL_ITEM_UINT)->u = v;
}

static void on_nint(void *d, uint64_t v)
{
    place(d, RAL_ITEM_NINT)->u = v;
}

#define INTS(bits)                                                             \
    static void on_uint##bits(void *d, uint##bits##_t v)                       \
    {                                                                          \
        on_uint(d, v);                                                         \
    }                                                                          \
    static void on_nint##bits(void *d, uint##bits##_t v)                       \
    {                                                                          \
        on_nint(d, v);                                                         \
    }
INTS(8)
INTS(16)
INTS(32)

static void string(struct decode *d, enum ral_item_type type, cbor_data s,
                   size_t n)
{
    struct ral_item *it = place(d, type);

    it->text = (const char *)s;
    it->n = n;
}

static void on_bytes(void *d, cbor_data s, size_t n)
{
    string(d, RAL_ITEM_BYTES, s, n);
}

static void on_text(void *d, cbor_data s, size_t n)
{
    string(d, RAL_ITEM_TEXT, s, n);
    if (ral_cbor_text_valid((const char *)s, n) != n)
        refuse(d, "text that is not UTF-8");
}

static void on_array(void *d, size_t n)
{
    push(d, RAL_ITEM_ARRAY, n, n);
}

static void on_map(void *d, size_t n)
{
    if (n > SIZE_MAX / 2)
        refuse(d, "a count larger than the bytes left");
    else
        push(d, RAL_ITEM_MAP, 2 * n, n);
}

static void on_tag(void *ctx, uint64_t tag)
{
    struct decode *d = ctx;

    push(d, RAL_ITEM_TAG, 1, 1);
    if (!d->why)
        d->last->u = tag;
}

static void on_float(void *d, float v)
{
    place(d, RAL_ITEM_F64)->f = v;
}

static void on_double(void *d, double v)
{
    place(d, RAL_ITEM_F64)->f = v;
}

static void on_null(void *d)
{
    place(d, RAL_ITEM_NULL);
}

static void on_undefined(void *d)
{
    refuse(d, "an undefined value");
}

static void on_bool(void *d, bool v)
{
    place(d, RAL_ITEM_BOOL)->b = v;
}

static void on_indefinite(void *d)
{
    refuse(d, "an item of indefinite length");
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint,
    .negint8 = on_nint8,
    .negint16 = on_nint16,
    .negint32 = on_nint32,
    .negint64 = on_nint,
    .byte_string = on_bytes,
    .string = on_text,
    .array_start = on_array,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .null = on_null,
    .undefined = on_undefined,
    .boolean = on_bool,
    .byte_string_start = on_indefinite,
    .string_start = on_indefinite,
    .indef_array_start = on_indefinite,
    .indef_map_start = on_indefinite,
    .indef_break = on_indefinite,
};

static int key_order(const void *pa, const void *pb)
{
    const struct ral_item *a = *(struct ral_item *const *)pa;
    const struct ral_item *b = *(struct ral_item *const *)pb;

    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return a->n ? memcmp(a->text, b->text, a->n) : 0;
}

static void check_keys(struct decode *d, struct ral_item *map)
{
    const struct ral_mark m = ral_arena_mark(d->a);
    const struct ral_item **key =
        RAL_NEW(d->a, const struct ral_item *, map->n ? map->n : 1);

    if (!key) {
        d->nomem = true;
        refuse(d, "out of memory");
        return;
    }
    for (size_t i = 0; i < map->n; i++)
        key[i] = &map->child[2 * i];
    if (map->n > 1)
        qsort(key, map->n, sizeof *key, key_order);
    for (size_t i = 1; i < map->n; i++)
        if (!key_order(&key[i - 1], &key[i]))
            refuse(d, "a map key that comes twice");
    ral_arena_rewind(d->a, m);
}

/* A known typed array takes the place of its tag. */
static void fold_tag(struct decode *d, struct ral_item *it)
{
    static const struct {
        uint64_t tag;
        enum ral_item_type type;
        size_t size;
    } known[] = {
        {85, RAL_ITEM_F32S, 4},
        {84, RAL_ITEM_F16S, 2},
        {78, RAL_ITEM_I32S, 4},
        {64, RAL_ITEM_U8S, 1},
    };
    const struct ral_item *bytes = it->child;

    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (it->u != known[k].tag)
            continue;
        if (bytes->type != RAL_ITEM_BYTES || bytes->n % known[k].size) {
            refuse(d, "a typed array that is no string of whole elements");
            return;
        }
        it->type = known[k].type;
        it->text = bytes->text;
        it->n = bytes->n / known[k].size;
        it->child = NULL;
    }
}

/* Closes every container that the item ending at end completes. */
static void close_full(struct decode *d, const uint8_t *end)
{
    while (d->depth && !d->why) {
        struct frame *f = &d->stack[d->depth - 1];

        if (f->done < f->count)
            return;
        f->item->raw_len = (size_t)(end - f->item->raw);
        if (f->item->type == RAL_ITEM_MAP)
            check_keys(d, f->item);
        else if (f->item->type == RAL_ITEM_TAG)
            fold_tag(d, f->item);
        d->depth--;
    }
}

int ral_item_decode(struct ral_item **out, const uint8_t *data, size_t len,
                    struct ral_arena *a, struct ral_err *err)
{
    struct decode d = {.a = a, .owed = 1, .at = data, .end = data + len};

    *out = NULL;
    if (!(d.root = RAL_ZNEW(a, struct ral_item, 1)))
        return ral_err_nomem(err, "CBOR");
    while (d.owed && !d.why) {
        const size_t left = (size_t)(d.end - d.at);
        struct cbor_decoder_result r =
            cbor_stream_decode(d.at, left, &callbacks, &d);

        if (d.why)
            break;
        if (r.status == CBOR_DECODER_NEDATA) {
            d.why = "the item ends early";
        } else if (r.status != CBOR_DECODER_FINISHED) {
            d.why = "malformed";
        } else {
            d.last->raw_len = r.read; // containers: set again when full
            d.at += r.read;
            close_full(&d, d.at);
        }
    }
    if (!d.why && d.at != d.end)
        d.why = "bytes after the item";
    if (d.why)
        return ral_err_set(err, d.nomem ? -RAL_ENOMEM : -RAL_EINVAL,
                           "CBOR at byte %zu: %s", (size_t)(d.at - data),
                           d.why);
    *out = d.root;
    return 0;
}

const struct ral_item *ral_item_get(const struct ral_item *map, const char *key)
{
    if (!map || map->type != RAL_ITEM_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (ral_item_is(&map->child[2 * i], key))
            return &map->child[2 * i + 1];
    return NULL;
}

bool ral_item_is(const struct ral_item *it, const char *s)
{
    const size_t n = strlen(s);

    return it && it->type == RAL_ITEM_TEXT && it->n == n &&
           !memcmp(it->text, s, n);
}

static const char *const kind[] = {
    "an integer", "an integer",      "a float",         "a boolean",
    "null",       "a text",          "bytes",           "an array",
    "a map",      "an array of f32", "an array of f16", "an array of i32",
    "bytes",      "a tagged value",
};

static int wrong(const struct ral_item *it, const char *what,
                 const char *wanted, struct ral_err *err)
{
    if (!it)
        return ral_err_set(err, -RAL_EINVAL, "%s is missing", what);
    return ral_err_set(err, -RAL_EINVAL, "%s is %s, not %s", what,
                       kind[it->type], wanted);
}

int ral_item_text(const struct ral_item *it, const char *what, const char **out,
                  size_t *n, struct ral_err *err)
{
    if (!it || it->type != RAL_ITEM_TEXT)
        return wrong(it, what, "a text", err);
    *out = it->text;
    *n = it->n;
    return 0;
}

int ral_item_string(const struct ral_item *it, const char *what,
                    struct ral_arena *a, const char **out, struct ral_err *err)
{
    if (!it || it->type != RAL_ITEM_TEXT)
        return wrong(it, what, "a text", err);
    if (it->n && memchr(it->text, 0, it->n))
        return ral_err_set(err, -RAL_EINVAL, "%s holds a NUL byte", what);
    if (!(*out = ral_arena_text(a, it->text, it->n)))
        return ral_err_nomem(err, "%s", what);
    return 0;
}

int ral_item_number(const struct ral_item *it, const char *what, double *out,
                    struct ral_err *err)
{
    if (it && it->type == RAL_ITEM_F64)
        *out = it->f;
    else if (it && it->type == RAL_ITEM_UINT)
        *out = (double)it->u;
    else if (it && it->type == RAL_ITEM_NINT)
        *out = -1 - (double)it->u;
    else
        return wrong(it, what, "a number", err);
    return 0;
}

int ral_item_int(const struct ral_item *it, const char *what, int64_t min,
                 int64_t max, int64_t *out, struct ral_err *err)
{
    int64_t v;

    if (!it || (it->type != RAL_ITEM_UINT && it->type != RAL_ITEM_NINT))
        return wrong(it, what, "an integer", err);
    v = it->type == RAL_ITEM_UINT ? (int64_t)it->u : -1 - (int64_t)it->u;
    if (it->u > INT64_MAX || v < min || v > max)
        return ral_err_set(err, -RAL_EINVAL, "%s is not in %lld to %lld", what,
                           (long long)min, (long long)max);
    *out = v;
    return 0;
}

int ral_item_uint(const struct ral_item *it, const char *what, uint64_t max,
                  uint64_t *out, struct ral_err *err)
{
    if (!it || (it->type != RAL_ITEM_UINT && it->type != RAL_ITEM_NINT))
        return wrong(it, what, "an integer", err);
    if (it->type == RAL_ITEM_NINT || it->u > max)
        return ral_err_set(err, -RAL_EINVAL, "%s is not in 0 to %llu", what,
                           (unsigned long long)max);
    *out = it->u;
    return 0;
}

int ral_item_bool(const struct ral_item *it, const char *what, bool *out,
                  struct ral_err *err)
{
    if (!it || it->type != RAL_ITEM_BOOL)
        return wrong(it, what, "a boolean", err);
    *out = it->b;
    return 0;
}

/* The array's bytes at an address that fits 4-byte elements. */
static const void *aligned(const struct ral_item *it, struct ral_arena *a)
{
    void *p;

    if ((uintptr_t)it->text % 4 == 0)
        return it->text;
    if ((p = ral_arena_alloc(a, it->n, 4)))
        memcpy(p, it->text, 4 * it->n);
    return p;
}

int ral_item_f32s(const struct ral_item *it, const char *what,
                  struct ral_arena *a, const float **out, size_t *n,
                  struct ral_err *err)
{
    float *wide;

    if (!it || (it->type != RAL_ITEM_F32S && it->type != RAL_ITEM_F16S))
        return wrong(it, what, "an array of f32", err);
    *n = it->n;
    if (it->type == RAL_ITEM_F32S) {
        *out = aligned(it, a);
    } else {
        *out = wide = RAL_NEW(a, float, it->n);
        for (size_t i = 0; wide && i < it->n; i++) {
            uint16_t h;

            memcpy(&h, it->text + 2 * i, 2);
            wide[i] = ral_from_f16(h);
        }
    }
    if (!*out)
        return ral_err_nomem(err, "%s", what);
    return 0;
}

int ral_item_i32s(const struct ral_item *it, const char *what,
                  struct ral_arena *a, const int32_t **out, size_t *n,
                  struct ral_err *err)
{
    if (!it || it->type != RAL_ITEM_I32S)
        return wrong(it, what, "an array of i32", err);
    *n = it->n;
    if (!(*out = aligned(it, a)))
        return ral_err_nomem(err, "%s", what);
    return 0;
}
