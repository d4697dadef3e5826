/* tests/unit/test_safetensors.c - round trips, and headers that lie. */
#include <check.h>
#include <endian.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "run.h"

static char dir[] = "/tmp/ral-test-st.XXXXXX";
static char path[200];

static const char *in_dir(const char *name)
{
    static char buf[4][200];
    static int k;

    k = (k + 1) % 4;
    snprintf(buf[k], sizeof buf[k], "%s/%s", dir, name);
    return buf[k];
}

/* A file: claimed header size, header, data bytes of zeros. */
static void put(const char *name, uint64_t claim, const char *header,
                size_t data)
{
    FILE *f = fopen(in_dir(name), "w");

    claim = htole64(claim);
    ck_assert_ptr_nonnull(f);
    fwrite(&claim, 1, 8, f);
    fwrite(header, 1, strlen(header), f);
    while (data--)
        fputc(0, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void refused(const char *why)
{
    struct ral_safetensors *st;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_safetensors_open_file(&st, path, &err), -RAL_EINVAL);
    ck_assert_ptr_null(st);
    ck_assert_msg(strstr(err.msg, why) && strstr(err.msg, path), "%s", err.msg);
}

static void refuse(const char *header, size_t data, const char *why)
{
    put("x.safetensors", strlen(header), header, data);
    refused(why);
}

#define T(name, dtype, shape, b, e)                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape                   \
    ",\"data_offsets\":[" #b "," #e "]}"

START_TEST(round_trip_sorted_and_aligned)
{
    const float w[6] = {1, -2, 3.5f, 0, 5, -0.0f};
    const uint16_t h[3] = {0x3c00, 0x7e00, 0xffff};
    const uint8_t u[5] = {1, 2, 3, 4, 255};
    const int64_t one = -7;
    const struct ral_st_tensor t[] = {
        {"b.bytes", RAL_U8, 1, {5}, u, 5},
        {"z.weight", RAL_F32, 2, {2, 3}, w, 24},
        {"half \"q\" \xc3\xa9", RAL_BF16, 3, {1, 3, 1}, h, 6},
        {"scalar", RAL_I64, 0, {0}, &one, 8},
        {"empty", RAL_F32, 2, {0, 4}, NULL, 0},
    };
    struct ral_safetensors *st;
    struct ral_err err = {0};
    const struct ral_st_tensor *p;

    unlink(path);
    ck_assert_msg(ral_safetensors_write(path, t, 5, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(ral_safetensors_write(path, t, 5, &err), -RAL_EIO);
    ck_assert_msg(ral_safetensors_open_file(&st, path, &err) == 0, "%s",
                  err.msg);
    ck_assert_uint_eq(st->n, 5);
    for (size_t i = 1; i < st->n; i++)
        ck_assert_int_lt(strcmp(st->tensor[i - 1].name, st->tensor[i].name), 0);
    for (size_t i = 0; i < 5; i++) {
        p = ral_safetensors_find(st, t[i].name);
        ck_assert_ptr_nonnull(p);
        ck_assert(p->dtype == t[i].dtype && p->rank == t[i].rank &&
                  p->nbytes == t[i].nbytes);
        ck_assert_int_eq(memcmp(p->shape, t[i].shape, 8 * p->rank), 0);
        if (p->nbytes)
            ck_assert_int_eq(memcmp(p->data, t[i].data, p->nbytes), 0);
        ck_assert_uint_eq((uintptr_t)p->data % ral_dtype_size(p->dtype), 0);
    }
    ck_assert_ptr_null(ral_safetensors_find(st, "z.weigh"));
    ck_assert_uint_eq(((uintptr_t)st->file[0].map.data + 8) % 8, 0);
    ral_safetensors_close(st);
}
END_TEST

START_TEST(large_tensors_are_whole)
{
    enum { N = 3 << 20 };
    uint8_t *big = malloc(N);
    struct ral_st_tensor t[] = {{"a", RAL_U8, 1, {N}, big, N},
                                {"b", RAL_U8, 1, {9}, big + 77, 9}};
    struct ral_safetensors *st;

    for (size_t i = 0; i < N; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 13);
    unlink(path);
    ck_assert_int_eq(ral_safetensors_write(path, t, 2, NULL), 0);
    ck_assert_int_eq(ral_safetensors_open_file(&st, path, NULL), 0);
    ck_assert_int_eq(memcmp(st->tensor[0].data, big, N), 0);
    ck_assert_int_eq(memcmp(st->tensor[1].data, big + 77, 9), 0);
    ral_safetensors_close(st);
    free(big);
}
END_TEST

START_TEST(no_tensors_are_legal)
{
    struct ral_safetensors *st;

    unlink(path);
    ck_assert_int_eq(ral_safetensors_write(path, NULL, 0, NULL), 0);
    ck_assert_int_eq(ral_safetensors_open_file(&st, path, NULL), 0);
    ck_assert_uint_eq(st->n, 0);
    ck_assert_ptr_null(ral_safetensors_find(st, "x"));
    ral_safetensors_close(st);
    put("x.safetensors", 5, "{}   ", 0);
    ck_assert_int_eq(ral_safetensors_open_file(&st, path, NULL), 0);
    ral_safetensors_close(st);
}
END_TEST

START_TEST(misaligned_data_open)
{
    const char *h = "{" T("a", "F32", "[1]", 0, 4) "}";
    struct ral_safetensors *st;

    put("x.safetensors", strlen(h), h, 4); // the header's length is odd
    ck_assert_int_eq(ral_safetensors_open_file(&st, path, NULL), 0);
    ck_assert_uint_eq(st->tensor[0].nbytes, 4);
    ral_safetensors_close(st);
}
END_TEST

START_TEST(header_sizes_that_lie)
{
    put_text("x.safetensors", "1234567");
    refused("7 bytes are too few");
    put("x.safetensors", 3, "{}", 0);
    refused("claims a header of 3 bytes in a file of 10");
    put("x.safetensors", 100000001, "{}", 0);
    refused("claims a header");
    put("x.safetensors", UINT64_MAX, "{}", 0);
    refused("claims a header");
    put("x.safetensors", UINT64_MAX - 7, "{}", 0);
    refused("claims a header");
    put("x.safetensors", 0, "{}", 0);
    refused("does not begin with '{'");
    put("x.safetensors", 1, "{}", 0);
    refused("header: column 1: not JSON");
}
END_TEST

START_TEST(headers_that_are_no_header)
{
    refuse(" {}", 0, "does not begin with '{'");
    refuse("[]", 0, "does not begin with '{'");
    refuse("{} x", 0, "not JSON");
    refuse("{\"\xff\":1}", 0, "not JSON");
    refuse("{" T("a", "U8", "[1]", 0, 1) "," T("a", "U8", "[1]", 1, 2) "}", 2,
           "duplicate");
    refuse("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a is not");
    refuse("{\"a\":5}", 0, "'a': no dtype");
    refuse("{\"a\":{\"dtype\":\"U8\"}}", 0, "'a': no shape");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 0, "data_offsets");
}
END_TEST

START_TEST(tensors_that_lie)
{
    refuse("{" T("a", "U9", "[1]", 0, 1) "}", 1, "dtype 'U9' is not supported");
    refuse("{" T("a", "U8", "[-1]", 0, 1) "}", 1, "shape[0] is not");
    refuse("{" T("a", "U8", "[1.0]", 0, 1) "}", 1, "shape[0] is not");
    refuse("{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "over 8");
    refuse("{" T("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0,
           "the shape overflows");
    refuse("{" T("a", "F32", "[4611686018427387904]", 0, 0) "}", 0,
           "the shape overflows");
    refuse("{" T("a", "U8", "[99999999999999999999]", 0, 0) "}", 0, "not JSON");
    refuse("{" T("a", "U8", "[1]", 1, 0) "}", 1, "data_offsets");
    refuse("{" T("a", "U8", "[1]", -1, 0) "}", 1, "data_offsets");
    refuse("{" T("a", "U8", "[2]", 0, 2) "}", 1, "ends at byte 2 of 1");
    refuse(
        "{" T("a", "U8", "[1]", 9223372036854775806, 9223372036854775807) "}",
        1, "ends at byte");
    refuse("{" T("a", "F32", "[2]", 0, 4) "}", 4,
           "4 bytes where its shape needs 8");
}
END_TEST

START_TEST(data_without_gap_or_overlap)
{
    refuse("{" T("a", "U8", "[1]", 1, 2) "}", 2, "'a': a gap");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 3, 5) "}", 5,
           "'b': a gap");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 1, 3) "}", 3,
           "'b': an overlap");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 0, 2) "}", 2,
           "an overlap");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[0]", 1, 1) "}", 2,
           "'b': an overlap");
    refuse("{" T("a", "U8", "[2]", 0, 2) "}", 3, "1 bytes behind");
    refuse("{}", 3, "3 bytes behind");
}
END_TEST

static void refuse_dir(const char *index, const char *why)
{
    struct ral_safetensors *st;
    struct ral_err err = {0};

    put_text("model.safetensors.index.json", index);
    ck_assert_int_lt(ral_safetensors_open(&st, dir, &err), 0);
    ck_assert_ptr_null(st);
    ck_assert_msg(strstr(err.msg, why), "%s", err.msg);
}

START_TEST(shards_by_their_index)
{
    const char *a =
        "{" T("z", "U8", "[1]", 0, 1) "," T("b", "U8", "[2]", 1, 3) "}";
    const char *b =
        "{" T("m", "U8", "[3]", 0, 3) "," T("b", "I8", "[3]", 3, 6) "}";
    struct ral_safetensors *st;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_safetensors_open(&st, dir, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "no weights"));
    ck_assert_int_eq(ral_safetensors_open(&st, "/nowhere", &err), -RAL_EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere: no checkpoint"));
    put("one.safetensors", strlen(a), a, 3);
    put("two.safetensors", strlen(b), b, 6);
    put_text("model.safetensors.index.json",
             "{\"metadata\":{\"total_size\":6},\"weight_map\":{"
             "\"m\":\"two.safetensors\",\"z\":\"one.safetensors\","
             "\"b\":\"one.safetensors\"}}\n");
    ck_assert_msg(ral_safetensors_open(&st, dir, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(st->n, 3);
    ck_assert_uint_eq(st->nfiles, 2);
    ck_assert_str_eq(st->tensor[0].name, "b");
    ck_assert(st->tensor[0].dtype == RAL_U8); // the index decides
    ck_assert_str_eq(st->tensor[2].name, "z");
    ral_safetensors_close(st);

    refuse_dir("{\"weight_map\":{\"q\":\"one.safetensors\"}}",
               "one.safetensors: tensor 'q' is missing");
    refuse_dir("{\"weight_map\":{\"z\":\"../one.safetensors\"}}",
               "'z': its file is not a plain name");
    refuse_dir("{\"weight_map\":{\"z\":\"/etc/passwd\"}}", "not a plain name");
    refuse_dir("{\"weight_map\":{\"z\":\"..\"}}", "not a plain name");
    refuse_dir("{\"weight_map\":{\"z\":\"\"}}", "not a plain name");
    refuse_dir("{\"weight_map\":{\"z\":7}}", "not a plain name");
    refuse_dir("{\"weight_map\":{\"z\":\"three.safetensors\"}}",
               "three.safetensors: cannot open");
    refuse_dir("{\"weight_map\":{}}", "no weight_map");
    refuse_dir("[]", "no weight_map");
    refuse_dir("{", "not JSON");
}
END_TEST

/* Every cut of a good file is refused, and every one-byte change is survived.
 */
START_TEST(cuts_and_flips)
{
    const float w[2] = {1, 2};
    const struct ral_st_tensor t[] = {{"a", RAL_F32, 1, {2}, w, 8},
                                      {"b", RAL_U8, 1, {3}, "xyz", 3}};
    struct ral_buf b = {0};
    struct ral_safetensors *st;

    unlink(path);
    ck_assert_int_eq(ral_safetensors_write(path, t, 2, NULL), 0);
    ck_assert_int_eq(ral_file_read(path, 4096, &b, NULL), 0);
    for (size_t i = 0; i < 2 * b.len; i++) {
        const size_t at = i / 2, n = i % 2 ? b.len : at;
        FILE *f = fopen(path, "w");

        b.data[at] ^= (uint8_t)(n == b.len);
        fwrite(b.data, 1, n, f);
        b.data[at] ^= (uint8_t)(n == b.len);
        ck_assert_int_eq(fclose(f), 0);
        if (ral_safetensors_open_file(&st, path, NULL) == 0) {
            ck_assert_uint_eq(n, b.len);
            ral_safetensors_close(st);
        }
    }
    ral_buf_release(&b);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("safetensors");
    int failed;

    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    snprintf(path, sizeof path, "%s", in_dir("x.safetensors"));
    tcase_add_test(t, round_trip_sorted_and_aligned);
    tcase_add_test(t, large_tensors_are_whole);
    tcase_add_test(t, no_tensors_are_legal);
    tcase_add_test(t, misaligned_data_open);
    tcase_add_test(t, header_sizes_that_lie);
    tcase_add_test(t, headers_that_are_no_header);
    tcase_add_test(t, tensors_that_lie);
    tcase_add_test(t, data_without_gap_or_overlap);
    tcase_add_test(t, shards_by_their_index);
    tcase_add_test(t, cuts_and_flips);
    failed = run_tests(t);
    ral_remove_tree(dir, NULL);
    return failed;
}
