/* tests/unit/test_cbor.c - items: built, decoded, refused, turned to JSON. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "stream/cbor.h"
#include "stream/item.h"
#include "stream/json.h"
#include "run.h"

static struct ral_arena a;
static struct ral_buf b;
static struct ral_err err;

static void release(void)
{
    ral_arena_release(&a);
    ral_buf_release(&b);
}

static int decode_hex(const char *hex, struct ral_item **it)
{
    const size_t n = strlen(hex) / 2;
    uint8_t *p = malloc(n ? n : 1); // exact, so that ASan sees the end
    unsigned v;
    int rc;

    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
        p[i] = (uint8_t)v;
    }
    rc = ral_item_decode(it, p, n, &a, &err);
    if (rc == 0) { // keep the bytes as long as the tree
        uint8_t *keep = ral_arena_alloc(&a, n, 1);

        memcpy(keep, p, n);
        ral_item_decode(it, keep, n, &a, &err);
    }
    free(p);
    return rc;
}

static struct ral_item *built(void)
{
    struct ral_item *it = NULL;

    ck_assert_msg(ral_item_decode(&it, b.data, b.len, &a, &err) == 0, "%s",
                  err.msg);
    return it;
}

/* Examples of RFC 8949, appendix A. */
START_TEST(rfc_examples)
{
    static const struct {
        const char *hex, *json;
    } t[] = {
        {"00", "0"},
        {"1864", "100"},
        {"1bffffffffffffffff", "18446744073709551615"},
        {"3bffffffffffffffff", "-18446744073709551616"},
        {"3903e7", "-1000"},
        {"f98000", "-0.0"},
        {"f93c00", "1.0"},
        {"f90001", "5.9604644775390625e-08"},
        {"fa47c35000", "100000.0"},
        {"fb3ff199999999999a", "1.1"},
        {"fb7e37e43c8800759c", "1e+300"},
        {"f97c00", "null"},
        {"f4", "false"},
        {"f5", "true"},
        {"f6", "null"},
        {"c11a514b67b0", "1363896240"},
        {"60", "\"\""},
        {"62225c", "\"\\\"\\\\\""},
        {"63e6b0b4", "\"\xe6\xb0\xb4\""},
        {"80", "[]"},
        {"8301820203820405", "[1,[2,3],[4,5]]"},
        {"a0", "{}"},
        {"a26161016162820203", "{\"a\":1,\"b\":[2,3]}"},
        {"d8554800000040" "0000803f", "[2.0,1.0]"},
        {"d84e44feffffff", "[-2]"},
        {"d85442003c", "[1.0]"},
        {"d84043000102", "null"},
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct ral_item *it = NULL;

        ck_assert_msg(decode_hex(t[i].hex, &it) == 0, "%s: %s", t[i].hex,
                      err.msg);
        b.len = 0;
        ck_assert_int_eq(ral_item_print(&b, it, 0), 0);
        ck_assert_int_eq(ral_buf_put(&b, "", 1), 0);
        ck_assert_str_eq((char *)b.data, t[i].json);
        ck_assert_uint_eq(it->raw_len, strlen(t[i].hex) / 2);
    }
    release();
}
END_TEST

START_TEST(hostile_items_are_refused)
{
    static const struct {
        const char *hex, *why;
    } t[] = {
        {"", "ends early"},
        {"9bffffffffffffffff", "count larger"},
        {"9a10000000", "count larger"},
        {"bb7fffffffffffffff", "count larger"},
        {"bbffffffffffffffff", "count larger"},
        {"ba08000000", "count larger"},
        {"8282828282", "count larger"},
        {"8283000000", "count larger"}, // the outer array is owed one more
        {"7b7fffffffffffffff", "ends early"},
        {"5a7fffffff00", "ends early"},
        {"8301", "count larger"},
        {"0000", "bytes after"},
        {"1c", "malformed"},
        {"ff", "indefinite"},
        {"9fff", "indefinite"},
        {"bfff", "indefinite"},
        {"7fff", "indefinite"},
        {"5fff", "indefinite"},
        {"f7", "undefined"},
        {"a10102", "no text"},
        {"a18001", "no text"},
        {"a2616101616102", "comes twice"},
        {"a2616101780161" "02", "comes twice"},
        {"62c328", "UTF-8"},
        {"63eda080", "UTF-8"},
        {"62c0af", "UTF-8"},
        {"d85543000000", "whole elements"},
        {"d84e01", "whole elements"},
        {"d8544100", "whole elements"},
        {"c1", "count larger"},
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct ral_item *it;

        ck_assert_msg(decode_hex(t[i].hex, &it) == -RAL_EINVAL, "%s passed",
                      t[i].hex);
        ck_assert_msg(strstr(err.msg, t[i].why), "%s: %s", t[i].hex, err.msg);
        ck_assert_ptr_null(it);
    }
    ck_assert_uint_lt(a.held, 1 << 20); // no lie was believed
    release();
}
END_TEST

START_TEST(depth_has_a_limit)
{
    uint8_t deep[100000];
    struct ral_item *it;

    for (int tag = 0; tag < 2; tag++) {
        memset(deep, tag ? 0xc1 : 0x81, sizeof deep);
        deep[RAL_ITEM_DEPTH] = 0;
        ck_assert_int_eq(
            ral_item_decode(&it, deep, RAL_ITEM_DEPTH + 1, &a, &err), 0);
        deep[RAL_ITEM_DEPTH] = deep[0];
        deep[sizeof deep - 1] = 0;
        ck_assert_int_eq(ral_item_decode(&it, deep, sizeof deep, &a, &err),
                         -RAL_EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "deep"));
    }
    release();
}
END_TEST

START_TEST(number_of_items_has_a_limit)
{
    const size_t n = RAL_ITEM_COUNT;
    struct ral_item *it;

    ck_assert_int_eq(ral_cbor_array(&b, n), 0);
    ck_assert_int_eq(ral_buf_reserve(&b, n), 0);
    memset(b.data + b.len, 0, n);
    b.len += n;
    ck_assert_int_eq(ral_item_decode(&it, b.data, b.len, &a, &err),
                     -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "more items"));
    release();
}
END_TEST

START_TEST(many_keys_are_compared)
{
    char key[16];
    struct ral_item *it;

    for (int twice = 0; twice < 2; twice++) {
        b.len = 0;
        ral_cbor_map(&b, 1000);
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof key, "k%d", twice && i == 999 ? 500 : i);
            ral_cbor_key(&b, key);
            ral_cbor_int(&b, -i);
        }
        ck_assert_int_eq(ral_item_decode(&it, b.data, b.len, &a, &err),
                         twice ? -RAL_EINVAL : 0);
        if (!twice) {
            int64_t v;

            ck_assert_int_eq(ral_item_int(ral_item_get(it, "k77"), "k", -999,
                                          0, &v, &err), 0);
            ck_assert_int_eq(v, -77);
            ck_assert_ptr_null(ral_item_get(it, "k"));
        }
    }
    release();
}
END_TEST

START_TEST(typed_arrays_come_back)
{
    const float f[] = {0, -0.f, 1.5f, 3e38f, 1e-45f};
    const int32_t k[] = {INT32_MIN, -1, 0, INT32_MAX};
    const float *fo;
    const int32_t *ko;
    struct ral_item *it;
    size_t n;
    int rc = 0;

    // misaligned by every residue: the reader must copy
    for (size_t pad = 0; pad < 4; pad++) {
        b.len = 0;
        rc |= ral_cbor_array(&b, 3);
        rc |= ral_cbor_text(&b, "xxxx", pad);
        rc |= ral_cbor_f32s(&b, f, 5);
        rc |= ral_cbor_i32s(&b, k, 4);
        ck_assert_int_eq(rc, 0);
        it = built();
        ck_assert_int_eq(
            ral_item_f32s(&it->child[1], "f", &a, &fo, &n, &err), 0);
        ck_assert_uint_eq(n, 5);
        ck_assert_uint_eq((uintptr_t)fo % 4, 0);
        ck_assert_mem_eq(fo, f, sizeof f);
        ck_assert_int_eq(
            ral_item_i32s(&it->child[2], "k", &a, &ko, &n, &err), 0);
        ck_assert_uint_eq(n, 4);
        ck_assert_mem_eq(ko, k, sizeof k);
        ck_assert_int_eq(
            ral_item_i32s(&it->child[1], "k", &a, &ko, &n, &err), -RAL_EINVAL);
        ck_assert_str_eq(err.msg, "k is an array of f32, not an array of i32");
    }
    release();
}
END_TEST

/* Every f16 there is, and rounding at every midpoint between two. */
START_TEST(f16_rounds_to_nearest_even)
{
    struct ral_item *it;
    const float *out;
    float in[3];
    size_t n;

    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float lo = ral_from_f16((uint16_t)h);
        const float hi = ral_from_f16((uint16_t)(h + 1));

        in[0] = lo;
        in[1] = -(lo + hi) / 2;
        in[2] = nextafterf((lo + hi) / 2, 1e9f);
        b.len = 0;
        ck_assert_int_eq(ral_cbor_f16s(&b, in, 3), 0);
        it = built();
        ck_assert_int_eq(ral_item_f32s(it, "f", &a, &out, &n, &err), 0);
        if (out[0] != lo || out[1] != -(h % 2 ? hi : lo) || out[2] != hi)
            ck_abort_msg("f16 %04x: %g %g %g", h, out[0], out[1], out[2]);
        ral_arena_reset(&a);
    }
    in[0] = 65519;
    in[1] = 65520;
    in[2] = NAN;
    b.len = 0;
    ral_cbor_f16s(&b, in, 3);
    ck_assert_int_eq(ral_item_f32s(built(), "f", &a, &out, &n, &err), 0);
    ck_assert(out[0] == 65504 && isinf(out[1]) && isnan(out[2]));
    release();
}
END_TEST

START_TEST(rows_come_back_through_cbor)
{
    static const char text[] =
        "{\"z\": [1, -1, 9007199254740993, 0.1, 1.0, -0.0, 1e300, true, null],"
        " \"a\": {\"deep\": {\"er\": \"\\u00e9\\u0001\\u0000 \\\"q\\\"\"}},"
        " \"\": [], \"n\": -9223372036854775808, \"o\": {}}";
    json_t *row = json_loads(text, JSON_ALLOW_NUL, NULL), *back, *again;
    char *want = json_dumps(row, 0), *got;

    ck_assert_int_eq(ral_cbor_json(&b, row), 0);
    back = ral_item_json(built(), 0);
    got = json_dumps(back, 0);
    ck_assert_str_eq(got, want); // order of keys too
    ck_assert(json_equal(row, back));
    free(got);

    // the printer agrees with the tree
    const size_t from = b.len;
    ck_assert_int_eq(ral_item_print(&b, built(), 0), 0);
    again = json_loadb((char *)b.data + from, b.len - from, JSON_ALLOW_NUL,
                       NULL);
    ck_assert_ptr_nonnull(again);
    got = json_dumps(again, 0);
    ck_assert_str_eq(got, want);
    free(got);
    free(want);
    json_decref(row);
    json_decref(back);
    json_decref(again);
    release();
}
END_TEST

START_TEST(deep_rows_are_refused)
{
    json_t *v = json_integer(1);

    for (int i = 0; i < 30; i++) {
        json_t *list = json_array();

        json_array_append_new(list, v);
        v = list;
    }
    ck_assert_int_eq(ral_cbor_json(&b, v), -RAL_EINVAL);
    json_decref(v);
    release();
}
END_TEST

START_TEST(printed_floats_keep_their_bits)
{
    uint32_t x = 1;

    for (int i = 0; i < 20000; i++) {
        float f, g;
        double d;
        uint64_t u;

        x = x * 1664525u + 1013904223u;
        memcpy(&f, &x, 4);
        u = (uint64_t)x << 32 | (x * 2654435761u);
        memcpy(&d, &u, 8);
        if (!isfinite(f) || !isfinite(d))
            continue;
        b.len = 0;
        ral_cbor_array(&b, 2);
        ral_cbor_f32s(&b, &f, 1);
        ral_cbor_double(&b, d);
        struct ral_item *it = built();
        struct ral_buf p = {0};
        ck_assert_int_eq(ral_item_print(&p, it, 0), 0);
        ral_buf_put(&p, "", 1);
        char *end;
        g = strtof((char *)p.data + 2, &end);
        ck_assert(!memcmp(&f, &g, 4));
        const double e = strtod(end + 2, NULL);
        ck_assert(!memcmp(&d, &e, 8));
        ral_buf_release(&p);
        ral_arena_reset(&a);
    }
    release();
}
END_TEST

START_TEST(bytes_and_attention_are_left_out)
{
    const float v[] = {0.5f};
    struct ral_buf p = {0};

    ral_cbor_map(&b, 3);
    ral_cbor_key(&b, "attn");
    ral_cbor_f32s(&b, v, 1);
    ral_cbor_key(&b, "bytes");
    ral_cbor_bytes(&b, "\x00\xff\x10g", 4);
    ral_cbor_key(&b, "logp");
    ral_cbor_f32s(&b, v, 1);
    ral_item_print(&p, built(), 0);
    ral_buf_put(&p, "", 1);
    ck_assert_str_eq((char *)p.data, "{\"logp\":[0.5]}");
    p.len = 0;
    ral_item_print(&p, built(), RAL_JSON_FULL);
    ral_buf_put(&p, "", 1);
    ck_assert_str_eq((char *)p.data, "{\"attn\":[0.5],\"bytes\":\"AP8QZw==\","
                                     "\"logp\":[0.5]}");
    ral_buf_release(&p);
    release();
}
END_TEST

START_TEST(wrong_text_is_refused_or_marked)
{
    struct ral_item *it;

    ck_assert_int_eq(ral_cbor_text(&b, "a\xff", 2), -RAL_EINVAL);
    ck_assert_uint_eq(b.len, 0);
    ral_buf_cut(&b, 0);
    ck_assert_int_eq(ral_cbor_text_lossy(&b, "a\xf0\x9f\x98z\xff", 6), 0);
    it = built();
    ck_assert_uint_eq(it->n, 1 + 9 + 1 + 3);
    ck_assert_mem_eq(it->text, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf"
                               "\xbd", it->n);
    release();
}
END_TEST

START_TEST(the_first_failure_is_kept)
{
    ck_assert_int_eq(ral_cbor_uint(&b, 7), 0);
    ck_assert_int_eq(ral_cbor_f32s(&b, NULL, SIZE_MAX / 2), -RAL_ENOMEM);
    ck_assert_int_eq(ral_cbor_text(&b, "\xff", 1), -RAL_ENOMEM);
    ck_assert_int_eq(ral_buf_put(&b, "x", 1), -RAL_ENOMEM);
    ck_assert_int_eq(ral_buf_printf(&b, "x"), -RAL_ENOMEM);
    ck_assert_uint_eq(b.len, 1);
    ral_buf_cut(&b, 1);
    ck_assert_int_eq(ral_cbor_text(&b, "\xff", 1), -RAL_EINVAL);
    ck_assert_int_eq(ral_buf_reserve(&b, SIZE_MAX), -RAL_EINVAL);
    ral_buf_cut(&b, 0);
    ck_assert_int_eq(ral_cbor_pair_text(&b, "a", "b"), 0);
    ck_assert_mem_eq(b.data, "\x61" "a\x61" "b", b.len);
    release();
}
END_TEST

START_TEST(readers_name_what_is_wrong)
{
    struct ral_item *it;
    const char *s;
    double v;
    int64_t i;
    uint64_t u;

    ck_assert_int_eq(decode_hex("8563006162" "20fb3fe00000000000001bffffffffff"
                                "ffffff6141", &it), 0);
    ck_assert_int_lt(ral_item_string(&it->child[0], "name", &a, &s, &err), 0);
    ck_assert_str_eq(err.msg, "name holds a NUL byte");
    ck_assert_int_lt(ral_item_number(NULL, "x.y", &v, &err), 0);
    ck_assert_str_eq(err.msg, "x.y is missing");
    ck_assert_int_lt(ral_item_uint(&it->child[1], "u", 9, &u, &err), 0);
    ck_assert_str_eq(err.msg, "u is not in 0 to 9");
    ck_assert_int_lt(ral_item_int(&it->child[3], "i", -5, 5, &i, &err), 0);
    ck_assert_int_eq(ral_item_number(&it->child[2], "v", &v, &err), 0);
    ck_assert(v == 0.5);
    ck_assert_int_eq(ral_item_int(&it->child[1], "i", -5, 5, &i, &err), 0);
    ck_assert_int_eq(i, -1);
    ck_assert_int_lt(ral_item_int(&it->child[2], "i", -5, 5, &i, &err), 0);
    ck_assert_str_eq(err.msg, "i is a float, not an integer");
    release();
}
END_TEST

/* Random bytes and random damage: never a crash, never much memory. */
START_TEST(noise_never_crashes)
{
    uint32_t x = 7;
    struct ral_item *it;

    for (int i = 0; i < 20000; i++) {
        uint8_t *p;
        size_t n;

        x = x * 1664525u + 1013904223u;
        n = 1 + (x >> 16) % 40;
        p = malloc(n);
        for (size_t j = 0; j < n; j++) {
            x = x * 1664525u + 1013904223u;
            p[j] = (uint8_t)(x >> 24);
            if (j % 3 == 0) // more containers than chance gives
                p[j] = (uint8_t)(0x80 | (p[j] & 0x23));
        }
        if (ral_item_decode(&it, p, n, &a, &err) == 0) {
            b.len = 0;
            ck_assert_int_eq(ral_item_print(&b, it, RAL_JSON_FULL), 0);
            json_decref(ral_item_json(it, RAL_JSON_FULL));
        }
        free(p);
        ral_arena_reset(&a);
    }
    ck_assert_uint_lt(a.held, 1 << 20);
    release();
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("items");

    tcase_add_test(t, rfc_examples);
    tcase_add_test(t, hostile_items_are_refused);
    tcase_add_test(t, depth_has_a_limit);
    tcase_add_test(t, number_of_items_has_a_limit);
    tcase_add_test(t, many_keys_are_compared);
    tcase_add_test(t, typed_arrays_come_back);
    tcase_add_test(t, f16_rounds_to_nearest_even);
    tcase_add_test(t, rows_come_back_through_cbor);
    tcase_add_test(t, deep_rows_are_refused);
    tcase_add_test(t, printed_floats_keep_their_bits);
    tcase_add_test(t, bytes_and_attention_are_left_out);
    tcase_add_test(t, wrong_text_is_refused_or_marked);
    tcase_add_test(t, the_first_failure_is_kept);
    tcase_add_test(t, readers_name_what_is_wrong);
    tcase_add_test(t, noise_never_crashes);
    return run_tests(t);
}
