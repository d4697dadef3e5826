/* tests/unit/test_resize.c - sizes, bicubic and patches equal the Python's. */
#include "media.h"
#include "media/patch.h"
#include "media/resize.h"

START_TEST(sizes_are_those_of_the_reference)
{
    json_t *golden = golden_media(), *rows = json_object_get(golden, "smart");
    json_t *row;
    size_t i, seen = 0;

    json_array_foreach(rows, i, row)
    {
        size_t in[5], H = 0, W = 0;
        json_t *want = json_array_get(row, 5);

        for (size_t k = 0; k < 5; k++)
            in[k] = (size_t)json_integer_value(json_array_get(row, k));
        const int rc =
            ral_smart_resize(in[0], in[1], in[2], in[3], in[4], &H, &W, NULL);

        if (json_is_null(want)) {
            ck_assert_int_eq(rc, -RAL_EINVAL);
            continue;
        }
        ck_assert_int_eq(rc, 0);
        ck_assert_msg(
            (json_int_t)H == json_integer_value(json_array_get(want, 0)) &&
                (json_int_t)W == json_integer_value(json_array_get(want, 1)),
            "%zux%zu by %zu: %zux%zu", in[0], in[1], in[2], H, W);
        seen++;
    }
    ck_assert_uint_gt(seen, 300);
    json_decref(golden);
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
    struct ral_err err = {0};
    size_t H, W;

    ck_assert_int_lt(ral_smart_resize(0, 5, 28, 1, 9, &H, &W, &err), 0);
    ck_assert_int_lt(ral_smart_resize(5, 5, 0, 1, 9, &H, &W, &err), 0);
    ck_assert_int_lt(ral_smart_resize(5, 5, 28, 0, 1 << 20, &H, &W, &err), 0);
    ck_assert_int_lt(
        ral_smart_resize(5, 5, 28, SIZE_MAX, SIZE_MAX, &H, &W, &err), 0);
    ck_assert_int_lt(ral_smart_resize(1, 201, 28, 3136, 1 << 20, &H, &W, &err),
                     0);
    ck_assert_ptr_nonnull(strstr(err.msg, "200 times"));
}
END_TEST

START_TEST(bicubic_is_pillows)
{
    json_t *golden = golden_media(), *rows = json_object_get(golden, "resize");
    json_t *row;
    size_t i;

    ck_assert_uint_gt(json_array_size(rows), 20);
    json_array_foreach(rows, i, row)
    {
        const size_t W = size_at(row, "to", 0), H = size_at(row, "to", 1);
        struct ral_image out,
            im = test_picture(size_at(row, "from", 0), size_at(row, "from", 1));

        ck_assert_int_eq(ral_image_resize(&im, W, H, &out, NULL), 0);
        ck_assert_uint_eq(out.width, W);
        ck_assert_uint_eq(out.height, H);
        ck_assert_msg(same_fnv(row, out.rgb, 3 * W * H),
                      "%zux%zu to %zux%zu differs", im.width, im.height, W, H);
        ral_image_release(&im);
        ral_image_release(&out);
    }
    json_decref(golden);
}
END_TEST

START_TEST(resize_refuses_nothing_and_too_much)
{
    struct ral_image out, im = test_picture(3, 2);

    ck_assert_int_eq(ral_image_resize(&im, 0, 5, &out, NULL), -RAL_EINVAL);
    ck_assert_int_eq(ral_image_resize(&im, 1 << 20, 1 << 20, &out, NULL),
                     -RAL_EINVAL);
    ck_assert_ptr_null(out.rgb);
    ral_image_release(&im);
}
END_TEST

/* Its n patches as the processor gives them: each frame of a still again. */
static float *still_twice(const struct ral_image *im,
                          const struct ral_patch_spec *s, size_t n)
{
    const size_t PP = s->patch * s->patch;
    float *once = malloc(n * ral_patch_width(s, 1) * sizeof *once);
    float *x = malloc(n * ral_patch_width(s, s->temporal) * sizeof *x);

    ck_assert(once && x);
    ral_patches(im, s, once);
    for (size_t i = 0; i < 3 * n * s->temporal; i++)
        memcpy(x + i * PP, once + i / s->temporal * PP, PP * sizeof *x);
    free(once);
    return x;
}

START_TEST(patches_are_those_of_the_processor)
{
    json_t *golden = golden_media(), *row;
    json_t *rows = json_object_get(golden, "patches");
    size_t i;

    ck_assert_uint_gt(json_array_size(rows), 5);
    json_array_foreach(rows, i, row)
    {
        struct ral_patch_spec s = {
            .patch = (size_t)json_integer_value(json_object_get(row, "patch")),
            .merge = (size_t)json_integer_value(json_object_get(row, "merge")),
            .temporal =
                (size_t)json_integer_value(json_object_get(row, "temporal")),
        };
        struct ral_image fit,
            im = test_picture(size_at(row, "from", 0), size_at(row, "from", 1));
        size_t H, W, n;
        float *x;

        for (size_t c = 0; c < 3; c++) {
            s.mean[c] = (float)json_number_value(
                json_array_get(json_object_get(row, "mean"), c));
            s.std[c] = (float)json_number_value(
                json_array_get(json_object_get(row, "std"), c));
        }
        ck_assert_int_eq(
            ral_smart_resize(im.height, im.width, s.patch * s.merge,
                             size_at(row, "pixels", 0),
                             size_at(row, "pixels", 1), &H, &W, NULL),
            0);
        ck_assert_uint_eq(H / s.patch, size_at(row, "grid", 1));
        ck_assert_uint_eq(W / s.patch, size_at(row, "grid", 2));
        ck_assert_int_eq(ral_image_resize(&im, W, H, &fit, NULL), 0);
        n = H / s.patch * (W / s.patch);
        x = still_twice(&fit, &s, n);
        n *= ral_patch_width(&s, s.temporal);
        ck_assert(x[0] ==
                  (float)json_number_value(json_object_get(row, "first")));
        ck_assert_msg(same_fnv(row, x, n * sizeof *x), "case %zu differs", i);
        free(x);
        ral_image_release(&fit);
        ral_image_release(&im);
    }
    json_decref(golden);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("resize");

    tcase_add_test(t, sizes_are_those_of_the_reference);
    tcase_add_test(t, impossible_sizes_are_refused);
    tcase_add_test(t, bicubic_is_pillows);
    tcase_add_test(t, resize_refuses_nothing_and_too_much);
    tcase_add_test(t, patches_are_those_of_the_processor);
    return run_tests(t);
}
