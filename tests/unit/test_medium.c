/* tests/unit/test_medium.c - a picture's file to patches, once and again. */
#include "media.h"

#include "prompt/prompt.h"

static const char alpha_all[] = "alpha_all.png"; // 256 x 256

static struct ral_processor processor = {
    .spec = {.patch = 4, .merge = 2, .temporal = 2, .std = {1, 1, 1}},
    .min_pixels = 64,
    .max_pixels = 4096,
};
static struct ral_arena arena;
static struct ral_err err;

static void teardown(void)
{
    ral_arena_release(&arena);
}

static int load(struct ral_visual *v, struct ral_media_ref *ref)
{
    return ral_medium_load(v, ref, &processor, golden_file("media"), &arena,
                           &err);
}

START_TEST(a_still_is_held_once)
{
    struct ral_media_ref ref = {.path = alpha_all};
    struct ral_visual v;

    ck_assert_msg(load(&v, &ref) == 0, "%s", err.msg);
    ck_assert(v.t == 1 && v.h == 16 && v.w == 16 && v.frames == 1);
    ck_assert(v.seconds == 0);
    ck_assert_uint_eq(ral_visual_rows(&v), 256);
    ck_assert_uint_eq(ral_visual_tokens(v.t, v.h, v.w, 2), 64);
    ck_assert_uint_eq(ral_visual_tokens(3, 4, 8, 2), 24);
    ck_assert(v.patches[0] >= 0 && v.patches[256 * 48 - 1] <= 1);
    ck_assert(ref.grid[0] == 1 && ref.grid[1] == 16 && ref.grid[2] == 16);
    ck_assert(ref.width == 256 && ref.height == 256);
    ck_assert_uint_eq(strlen(ref.digest), 32);
}
END_TEST

START_TEST(what_a_stream_recorded_must_hold)
{
    struct ral_media_ref ref = {.path = alpha_all};
    struct ral_visual first, v;
    char digest[33];

    ck_assert_int_eq(load(&first, &ref), 0);
    ck_assert_int_eq(load(&v, &ref), 0); // as recorded
    ck_assert(!memcmp(first.patches, v.patches, 256 * 48 * sizeof(float)));
    ref.grid[2] = 8;
    ck_assert_int_eq(load(&v, &ref), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "gives 16x16 patches here, 16x8"));
    ref.grid[2] = 16;
    memcpy(digest, ref.digest, sizeof digest);
    digest[31] ^= 1;
    ref.digest = digest;
    ck_assert_int_eq(load(&v, &ref), -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "not the file"));
}
END_TEST

START_TEST(embedded_bytes_need_no_file)
{
    struct ral_media_ref ref = {.path = alpha_all};
    struct ral_visual file, own;
    struct ral_buf b = {0};

    ck_assert_int_eq(load(&file, &ref), 0);
    ck_assert_int_eq(ral_file_read(golden_file("media/alpha_all.png"), 1 << 20,
                                   &b, &err),
                     0);
    ref.path = "nosuch.png";
    ck_assert_int_eq(load(&own, &ref), -RAL_EIO);
    ref.bytes = b.data;
    ref.n_bytes = b.len;
    ck_assert_msg(load(&own, &ref) == 0, "%s", err.msg);
    ck_assert(!memcmp(file.patches, own.patches, 256 * 48 * sizeof(float)));
    ref.n_bytes--;
    ck_assert_int_eq(load(&own, &ref), -RAL_EINVAL);
    ral_buf_release(&b);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("medium");

    tcase_add_unchecked_fixture(t, NULL, teardown);
    tcase_add_test(t, a_still_is_held_once);
    tcase_add_test(t, what_a_stream_recorded_must_hold);
    tcase_add_test(t, embedded_bytes_need_no_file);
    return run_tests(t);
}
