/* tests/unit/test_media.c - PNG files become Pillow's pixels, or one error. */
#include "media.h"

#include <stdbool.h>

static struct ral_buf slurp(const char *path)
{
    struct ral_buf b = {0};
    struct ral_err err = {0};

    ck_assert_msg(ral_file_read(path, 1 << 28, &b, &err) == 0, "%s", err.msg);
    return b;
}

static struct ral_buf sample(const char *name)
{
    char file[200];

    snprintf(file, sizeof file, "media/%s.png", name);
    return slurp(golden_file(file));
}

START_TEST(pixels_are_pillows)
{
    json_t *golden = golden_media(), *rows = json_object_get(golden, "png");
    json_t *row;
    size_t i;

    ck_assert_uint_gt(json_array_size(rows), 50);
    json_array_foreach(rows, i, row)
    {
        const char *file = json_string_value(json_object_get(row, "file"));
        char name[300];
        struct ral_err err = {0};
        struct ral_image im;
        struct ral_buf b;

        snprintf(name, sizeof name, "media/%s", file);
        b = slurp(golden_file(name));
        ck_assert_msg(ral_image_read(&im, b.data, b.len, file, &err) == 0, "%s",
                      err.msg);
        ck_assert_int_eq((json_int_t)im.width,
                         json_integer_value(json_object_get(row, "width")));
        ck_assert_int_eq((json_int_t)im.height,
                         json_integer_value(json_object_get(row, "height")));
        ck_assert_msg(same_fnv(row, im.rgb, 3 * im.width * im.height),
                      "%s differs", file);
        ral_image_release(&im);
        ral_buf_release(&b);
    }
    json_decref(golden);
}
END_TEST

/* Whatever one wrong byte does, it never passes as another picture. */
START_TEST(flipped_bytes_are_found)
{
    static const char *const names[] = {"rgb8", "palette8_trns", "la16_adam7",
                                        "exif6", "idats"};

    for (size_t k = 0; k < 5; k++) {
        struct ral_buf b = sample(names[k]);
        struct ral_image whole, im;
        size_t errors = 0;

        ck_assert_int_eq(ral_image_read(&whole, b.data, b.len, "x", NULL), 0);
        for (size_t i = 0; i < b.len; i++)
            for (int bit = 0; bit < 8; bit += 3) {
                struct ral_err err = {0};

                b.data[i] ^= (uint8_t)(1 << bit);
                if (ral_image_read(&im, b.data, b.len, "x", &err) < 0) {
                    ck_assert_ptr_null(im.rgb);
                    ck_assert_int_eq(err.code, RAL_EINVAL);
                    errors++;
                } else {
                    ck_assert_uint_eq(im.width, whole.width);
                    ck_assert_uint_eq(im.height, whole.height);
                    ck_assert_msg(
                        !memcmp(im.rgb, whole.rgb, 3 * im.width * im.height),
                        "%s: byte %zu", names[k], i);
                }
                ral_image_release(&im);
                b.data[i] ^= (uint8_t)(1 << bit);
            }
        ck_assert_uint_gt(errors, 2 * b.len); // of 3 * b.len
        ral_image_release(&whole);
        ral_buf_release(&b);
    }
}
END_TEST

START_TEST(cut_files_are_found)
{
    struct ral_buf b = sample("rgba8_adam7");

    for (size_t n = 0; n < b.len; n++) {
        struct ral_err err = {0};
        struct ral_image im;
        uint8_t *cut = malloc(n ? n : 1); // exact, for the address checker

        memcpy(cut, b.data, n);
        ck_assert_int_eq(ral_image_read(&im, cut, n, "a.png", &err),
                         -RAL_EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "a.png"));
        ck_assert_ptr_null(im.rgb);
        free(cut);
    }
    ral_buf_release(&b);
}
END_TEST

static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffff;

    while (n--) {
        c ^= *p++;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* A header that lies about the size, with its CRC put right. */
static int read_as(uint32_t w, uint32_t h, struct ral_err *err)
{
    struct ral_buf b = sample("rgb8");
    struct ral_image im;
    int rc;

    put32(b.data + 16, w);
    put32(b.data + 20, h);
    put32(b.data + 29, crc(b.data + 12, 17));
    rc = ral_image_read(&im, b.data, b.len, "lie.png", err);
    ck_assert_ptr_null(im.rgb);
    ral_buf_release(&b);
    return rc;
}

START_TEST(lying_headers_are_refused)
{
    struct ral_err err = {0};

    ck_assert_int_eq(read_as(13, 10, &err), -RAL_EINVAL);
    ck_assert_int_eq(read_as(13, 8, &err), -RAL_EINVAL);
    ck_assert_int_eq(read_as(0, 9, &err), -RAL_EINVAL);
    ck_assert_int_eq(read_as(13, 0, &err), -RAL_EINVAL);
    ck_assert_int_eq(read_as(0x80000000, 9, &err), -RAL_EINVAL);
    ck_assert_int_eq(read_as(0x7fffffff, 0x7fffffff, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "lie.png"));
    ck_assert_int_eq(read_as(14000, 13000, &err), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "limit"));
    ck_assert_int_eq(read_as(13000, 13000, &err), -RAL_EINVAL); // within it
}
END_TEST

START_TEST(other_files_are_named_as_such)
{
    struct ral_err err = {0};
    struct ral_image im;
    const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F'};

    ck_assert_int_eq(ral_image_read(&im, jpeg, sizeof jpeg, "x.jpg", &err),
                     -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "x.jpg is not a PNG (JPEG and others come with "
                              "a later version)");
    ck_assert_int_eq(ral_image_read(&im, jpeg, 0, "x", &err), -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "x is empty, not a PNG");
    ral_image_release(NULL);
}
END_TEST

/* ---- the corpus of real and damaged files, where it lies at hand ---- */

struct corpus {
    struct ral_buf tar[2];
};

static const char *corpus_path(const char *name)
{
    static char path[4096];
    const char *data = getenv("RAL_DATA"), *top = getenv("RAL_TOP");

    if (data)
        snprintf(path, sizeof path, "%s/media/%s", data, name);
    else
        snprintf(path, sizeof path, "%s/../shared/data/media/%s",
                 top ? top : GOLDEN_TOP, name);
    return path;
}

/* A member of a ustar archive. */
static const uint8_t *member(const struct ral_buf *tar, const char *file,
                             size_t *len)
{
    for (size_t at = 0; at + 512 <= tar->len && tar->data[at];) {
        const char *head = (const char *)tar->data + at, *name = head;
        const size_t n = strtoul(head + 124, NULL, 8);

        if (!strncmp(name, "./", 2))
            name += 2;
        if (!strcmp(name, file)) {
            *len = n;
            return tar->data + at + 512;
        }
        at += 512 + (n + 511) / 512 * 512;
    }
    return NULL;
}

/* One line of manifest.tsv; whether it was a picture of the corpus. */
static bool corpus_file(const struct corpus *c, char *line)
{
    char *col[11] = {NULL};
    const uint8_t *bytes = NULL;
    struct ral_err err = {0};
    struct ral_image im;
    uint8_t *copy;
    size_t len = 0;

    for (int i = 0; i < 11; i++)
        col[i] = strsep(&line, "\t");
    if (!col[10] || strcmp(col[1], "image"))
        return false;
    for (int i = 0; i < 2 && !bytes; i++)
        bytes = member(&c->tar[i], col[0], &len);
    ck_assert_msg(bytes != NULL, "%s is not in the archives", col[0]);
    ck_assert_ptr_nonnull(copy = malloc(len ? len : 1));
    memcpy(copy, bytes, len);
    const int rc = ral_image_read(&im, copy, len, col[0], &err);
    const char *dot = strrchr(col[0], '.');
    const bool png = dot && !strcmp(dot, ".png");

    if (rc < 0) {
        ck_assert_msg(!png || strcmp(col[9], "ok"), "%s", err.msg);
        ck_assert_ptr_nonnull(strstr(err.msg, col[0]));
        ck_assert_ptr_null(im.rgb);
    } else {
        const size_t turned = *col[6] ? strtoul(col[6], NULL, 10) >= 5 : 0;

        ck_assert_msg(strcmp(col[9], "error"), "%s decodes", col[0]);
        ck_assert_uint_eq(turned ? im.height : im.width,
                          strtoul(col[2], NULL, 10));
        ck_assert_uint_eq(turned ? im.width : im.height,
                          strtoul(col[3], NULL, 10));
    }
    ral_image_release(&im);
    free(copy);
    return png;
}

START_TEST(corpus_decodes_or_tells)
{
    struct corpus c;
    struct ral_buf text;
    size_t seen = 0;
    char *line, *rest;
    FILE *f = fopen(corpus_path("manifest.tsv"), "r");

    if (!f)
        return; // not at hand
    fclose(f);
    text = slurp(corpus_path("manifest.tsv"));
    c.tar[0] = slurp(corpus_path("media.tar"));
    c.tar[1] = slurp(corpus_path("media-more.tar"));
    rest = (char *)text.data;
    while ((line = strsep(&rest, "\n")))
        seen += corpus_file(&c, line);
    ck_assert_uint_gt(seen, 150);
    ral_buf_release(&text);
    ral_buf_release(&c.tar[0]);
    ral_buf_release(&c.tar[1]);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("media");

    tcase_add_test(t, pixels_are_pillows);
    tcase_add_test(t, flipped_bytes_are_found);
    tcase_add_test(t, cut_files_are_found);
    tcase_add_test(t, lying_headers_are_refused);
    tcase_add_test(t, other_files_are_named_as_such);
    tcase_add_test(t, corpus_decodes_or_tells);
    return run_tests(t);
}
