/* tests/unit/test_draw.c - shapes in their boxes, scales, heat maps, plots. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "draw/canvas.h"
#include "draw/colormap.h"
#include "draw/heatmap.h"
#include "draw/plot.h"
#include "draw/ticks.h"
#include "media/image.h"
#include "run.h"

/* Non-white pixels: inside the box, and up to each of its sides. */
START_TEST(shapes_fill_their_boxes)
{
    for (int s = 0; s < RAL_SHAPES; s++)
        for (int k = 0; k < 40; k++) {
            struct ral_canvas *c;
            struct ral_rect b;
            size_t x0 = 99, y0 = 99, x1 = 0, y1 = 0;

            ck_assert_int_eq(ral_canvas_open(&c, 28, 28, 0xffffff, NULL), 0);
            ral_canvas_shape(c, (enum ral_shape)s, 14 + 0.07 * (k % 9),
                             14 - 0.05 * (k % 7), 16 + 0.15 * k, 0x2060a0, &b);
            for (size_t y = 0; y < 28; y++)
                for (size_t x = 0; x < 28; x++)
                    if (ral_canvas_at(c, x, y) != 0xffffff) {
                        x0 = x < x0 ? x : x0;
                        y0 = y < y0 ? y : y0;
                        x1 = x + 1 > x1 ? x + 1 : x1;
                        y1 = y + 1 > y1 ? y + 1 : y1;
                    }
            // Sharp points may fade out a pixel before the end.
            ck_assert(floor(b.x0) <= (double)x0 && (double)x0 <= b.x0 + 1.6);
            ck_assert(floor(b.y0) <= (double)y0 && (double)y0 <= b.y0 + 1.6);
            ck_assert(ceil(b.x1) >= (double)x1 && (double)x1 >= b.x1 - 1.6);
            ck_assert(ceil(b.y1) >= (double)y1 && (double)y1 >= b.y1 - 1.6);
            ck_assert_double_eq_tol(fmax(b.x1 - b.x0, b.y1 - b.y0),
                                    16 + 0.15 * k, 1e-9);
            ral_canvas_close(c);
        }
}
END_TEST

static double lightness(uint32_t rgb)
{
    double lin[3];

    for (int i = 0; i < 3; i++) {
        const double v = (rgb >> (16 - 8 * i) & 255) / 255.0;

        lin[i] = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
    }
    const double y = 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2];

    return y > 0.008856 ? 116 * cbrt(y) - 16 : 903.3 * y; // CIE L*
}

START_TEST(colours_grow_lighter_evenly)
{
    double last = lightness(ral_colormap(0));

    for (int i = 1; i <= 20; i++) {
        const double l = lightness(ral_colormap(i / 20.0));

        ck_assert_msg(l - last > 1.5 && l - last < 8, "step %d: %g", i,
                      l - last);
        last = l;
    }
    ck_assert_uint_eq(ral_colormap(NAN), ral_colormap(0));
    ck_assert_uint_eq(ral_colormap(7), ral_colormap(1));
}
END_TEST

START_TEST(ticks_are_round_and_within)
{
    static const double range[][2] = {{0, 1},         {0.5, 0.57}, {-3, 1000},
                                      {1e-7, 3.1e-6}, {-1, 1},     {0, 1e9},
                                      {0.1, 0.3}};
    struct ral_ticks t;

    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        const double lo = range[i][0], hi = range[i][1];

        ral_ticks_make(&t, lo, hi, 7);
        ck_assert_uint_ge(t.n, 2);
        ck_assert_uint_le(t.n, 7);
        for (size_t k = 0; k < t.n; k++) {
            ck_assert(t.at[k] >= lo - 1e-6 * (hi - lo));
            ck_assert(t.at[k] <= hi + 1e-6 * (hi - lo));
            ck_assert(k == 0 || strcmp(t.text[k], t.text[k - 1]));
            ck_assert(fabs(atof(t.text[k]) - t.at[k]) <= 1e-3 * (hi - lo));
        }
    }
    ral_ticks_make(&t, 0, 1, 7);
    ck_assert_str_eq(t.text[1], "0.2");
    ral_ticks_make(&t, 1, 1, 7);
    ck_assert_uint_eq(t.n, 0);
    ral_ticks_make(&t, 0, INFINITY, 7);
    ck_assert_uint_eq(t.n, 0);
}
END_TEST

static struct ral_image decode(const struct ral_buf *png)
{
    struct ral_image im;
    struct ral_err err = {0};

    ck_assert_msg(ral_image_read(&im, png->data, png->len, "drawn", &err) == 0,
                  "%s", err.msg);
    return im;
}

START_TEST(heat_lies_where_the_weight_is)
{
    uint8_t rgb[56 * 56 * 3];
    float map[4] = {0, 0.75f, 0, 0.25f};
    struct ral_heat_panel p = {
        .rgb = rgb, .w = 56, .h = 56, .map = map, .gh = 2, .gw = 2};
    struct ral_heat_style s = {.panel_px = 112, .blocks = true};
    struct ral_buf png = {0}, two = {0};
    struct ral_image im, wide;

    memset(rgb, 200, sizeof rgb);
    ck_assert_int_eq(ral_heatmap_png(&p, 1, &s, &png, NULL), 0);
    im = decode(&png);
    // The panel begins at the margins, 20 and 20.
    const uint8_t *cold = im.rgb + 3 * (48 * im.width + 48);
    const uint8_t *hot = im.rgb + 3 * (48 * im.width + 104);
    const uint8_t *warm = im.rgb + 3 * (104 * im.width + 104);

    ck_assert(cold[0] == 200 && cold[1] == 200 && cold[2] == 200);
    ck_assert_int_gt(hot[0] - hot[1], warm[0] - warm[1] + 10);
    ck_assert_int_gt(warm[0] - warm[2], 10);

    const struct ral_heat_panel both[2] = {p, p};

    ck_assert_int_eq(ral_heatmap_png(both, 2, &s, &two, NULL), 0);
    wide = decode(&two);
    ck_assert_uint_gt(wide.width, im.width + 112);
    ral_image_release(&im);
    ral_image_release(&wide);
    ral_buf_release(&png);
    ral_buf_release(&two);
}
END_TEST

START_TEST(bad_weights_are_refused)
{
    const uint8_t rgb[3] = {0};
    float map[2] = {0.5f, NAN};
    struct ral_heat_panel p = {
        .rgb = rgb, .w = 1, .h = 1, .map = map, .gh = 1, .gw = 2};
    struct ral_buf png = {0};
    struct ral_err err = {0};

    ck_assert_int_eq(ral_heatmap_png(&p, 1, NULL, &png, &err), -RAL_EINVAL);
    map[1] = -1;
    ck_assert_int_eq(ral_heatmap_png(&p, 1, NULL, &png, &err), -RAL_EINVAL);
    ck_assert_int_eq(ral_heatmap_png(&p, 0, NULL, &png, &err), -RAL_EINVAL);
    p.gw = 0;
    ck_assert_int_eq(ral_heatmap_png(&p, 1, NULL, &png, &err), -RAL_EINVAL);
    ck_assert_uint_eq(png.len, 0);
    // All weights 0, a picture of one pixel: a map all the same.
    map[1] = map[0] = 0;
    p.gw = 2;
    ck_assert_int_eq(ral_heatmap_png(&p, 1, NULL, &png, &err), 0);
    ral_buf_release(&png);
}
END_TEST

START_TEST(any_text_can_be_drawn)
{
    static const char *const texts[] = {
        "",
        "plain",
        "\xff\xfe",
        "cut \xe2\x82",
        "\xed\xa0\x80",
        "a\nb\tc\x01",
        "\xf0\x9f\x98\x80 no glyph",
        "\xce\xbb = 1",
        "averyveryveryverylongwordwithoutanyspaceinitthatmustbreaksomewhere"};
    const uint8_t rgb[3] = {0};
    const float map[1] = {1};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct ral_heat_panel p = {.rgb = rgb,
                                         .w = 1,
                                         .h = 1,
                                         .map = map,
                                         .gh = 1,
                                         .gw = 1,
                                         .title = texts[i],
                                         .caption = texts[i]};
        const struct ral_heat_style s = {
            .title = texts[i], .label = texts[i], .panel_px = 60};
        const struct ral_plot plot = {.title = texts[i], .x_label = texts[i]};
        struct ral_buf png = {0};
        struct ral_err err = {0};

        ck_assert_msg(ral_heatmap_png(&p, 1, &s, &png, &err) == 0, "%s",
                      err.msg);
        ck_assert_msg(ral_plot_png(&plot, &png, &err) == 0, "%s", err.msg);
        ral_buf_release(&png);
    }
}
END_TEST

START_TEST(plots_of_odd_data)
{
    const double x[4] = {0, 1, 2, 3}, gap[4] = {1, NAN, INFINITY, 2};
    const double same[4] = {5, 5, 5, 5}, none[1] = {NAN};
    const struct ral_plot_series s[4] = {{"gap", x, gap, same, gap, 4},
                                         {"same", x, same, NULL, NULL, 4},
                                         {NULL, none, none, NULL, NULL, 1},
                                         {"empty", NULL, NULL, NULL, NULL, 0}};
    const struct ral_plot_mark m[2] = {{1, 1, "line"}, {2, 3, "band"}};
    struct ral_plot p = {.series = s, .n_series = 4, .marks = m, .n_marks = 2};
    struct ral_buf png = {0};
    struct ral_image im;

    ck_assert_int_eq(ral_plot_png(&p, &png, NULL), 0);
    im = decode(&png);
    ck_assert_uint_eq(im.width, 640);
    ck_assert_uint_eq(im.height, 400);
    ral_image_release(&im);
    p.series = s + 1;
    p.n_series = 1;
    p.n_marks = 0;
    ck_assert_int_eq(ral_plot_png(&p, &png, NULL), 0);
    p.n_series = 9;
    ck_assert_int_eq(ral_plot_png(&p, &png, NULL), -RAL_EINVAL);
    p = (struct ral_plot){.width = 5, .height = 5};
    ck_assert_int_eq(ral_plot_png(&p, &png, NULL), -RAL_EINVAL);
    ral_buf_release(&png);
}
END_TEST

START_TEST(a_canvas_that_cannot_be)
{
    struct ral_canvas *c;
    struct ral_err err = {0};

    ck_assert_int_eq(ral_canvas_open(&c, 0, 5, 0, &err), -RAL_EINVAL);
    ck_assert_int_eq(ral_canvas_open(&c, 100000, 5, 0, &err), -RAL_EINVAL);
    ck_assert_ptr_null(c);
    ral_canvas_close(NULL);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("draw");

    tcase_add_test(t, shapes_fill_their_boxes);
    tcase_add_test(t, colours_grow_lighter_evenly);
    tcase_add_test(t, ticks_are_round_and_within);
    tcase_add_test(t, heat_lies_where_the_weight_is);
    tcase_add_test(t, bad_weights_are_refused);
    tcase_add_test(t, any_text_can_be_drawn);
    tcase_add_test(t, plots_of_odd_data);
    tcase_add_test(t, a_canvas_that_cannot_be);
    return run_tests(t);
}
