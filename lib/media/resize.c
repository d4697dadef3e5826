/* lib/media/resize.c - smart_resize and bicubic resampling as Pillow's. */
#include "media/resize.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BITS 22 // fraction bits of a weight: 32 - 8 - 2

int ral_smart_resize(size_t h, size_t w, size_t factor, size_t min_pixels,
                     size_t max_pixels, size_t *H, size_t *W,
                     struct ral_err *err)
{
    const double dh = (double)h, dw = (double)w, f = (double)factor;
    const double most = (double)max_pixels, least = (double)min_pixels;

    if (!h || !w || !factor || !max_pixels)
        return ral_err_set(err, -RAL_EINVAL,
                           "cannot resize %zux%zu pixels to multiples of %zu "
                           "under %zu pixels",
                           w, h, factor, max_pixels);
    if (fmax(dh, dw) / fmin(dh, dw) > 200)
        return ral_err_set(err, -RAL_EINVAL,
                           "picture of %zux%zu pixels: one side is more than "
                           "200 times the other",
                           w, h);
    double nh = rint(dh / f) * f, nw = rint(dw / f) * f;

    if (nh * nw > most) {
        const double beta = sqrt(dh * dw / most);

        nh = fmax(f, floor(dh / beta / f) * f);
        nw = fmax(f, floor(dw / beta / f) * f);
    } else if (nh * nw < least) {
        const double beta = sqrt(least / (dh * dw));

        nh = ceil(dh * beta / f) * f;
        nw = ceil(dw * beta / f) * f;
    }
    if (nh < 1 || nw < 1 || nh * nw > (double)RAL_IMAGE_MAX_PIXELS)
        return ral_err_set(err, -RAL_EINVAL,
                           "picture of %zux%zu pixels would be resized to "
                           "%.0fx%.0f; check min_pixels and max_pixels",
                           w, h, nw, nh);
    *H = (size_t)nh;
    *W = (size_t)nw;
    return 0;
}

/* For each output coordinate the first input, how many, and their weights. */
struct taps {
    size_t most; // weights a coordinate has room for
    int *first, *count;
    int32_t *weight; // [out][most], times 2^BITS
};

static void taps_release(struct taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

static double bicubic(double x)
{
    const double a = -0.5;

    if (x < 0)
        x = -x;
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* Pillow's precompute_coeffs and normalize_coeffs_8bpc, in its order. */
static int taps_make(struct taps *t, size_t in, size_t out)
{
    const double scale = (double)in / (double)out;
    const double fs = scale < 1 ? 1 : scale, support = 2 * fs, ss = 1 / fs;
    double *k;

    *t = (struct taps){.most = (size_t)ceil(support) * 2 + 1};
    if (t->most > SIZE_MAX / sizeof(double) / out)
        return -RAL_ENOMEM;
    t->first = malloc(out * sizeof(int));
    t->count = malloc(out * sizeof(int));
    t->weight = malloc(out * t->most * sizeof(int32_t));
    k = malloc(t->most * sizeof(double));
    if (!t->first || !t->count || !t->weight || !k) {
        free(k);
        taps_release(t);
        return -RAL_ENOMEM;
    }
    for (size_t i = 0; i < out; i++) {
        const double centre = ((double)i + 0.5) * scale;
        int lo = (int)(centre - support + 0.5);
        int hi = (int)(centre + support + 0.5);
        double sum = 0;

        if (lo < 0)
            lo = 0;
        if (hi > (int)in)
            hi = (int)in;
        for (int j = lo; j < hi; j++) {
            k[j - lo] = bicubic((j - centre + 0.5) * ss);
            sum += k[j - lo];
        }
        for (int j = 0; j < hi - lo; j++) {
            const double v = (sum != 0 ? k[j] / sum : k[j]) * (1 << BITS);

            t->weight[i * t->most + (size_t)j] =
                (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        t->first[i] = lo;
        t->count[i] = hi - lo;
    }
    free(k);
    return 0;
}

static uint8_t clip8(int32_t acc)
{
    const int v = acc >> BITS; // arithmetic: gcc and clang promise it

    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void along_rows(const struct ral_image *in, const struct taps *t,
                       struct ral_image *out)
{
    for (size_t y = 0; y < in->height; y++) {
        const uint8_t *row = in->rgb + 3 * y * in->width;
        uint8_t *to = out->rgb + 3 * y * out->width;

        for (size_t x = 0; x < out->width; x++, to += 3) {
            const int32_t *k = t->weight + x * t->most;
            const uint8_t *p = row + 3 * (size_t)t->first[x];
            int32_t r = 1 << (BITS - 1), g = r, b = r;

            for (int j = 0; j < t->count[x]; j++, p += 3) {
                r += k[j] * p[0];
                g += k[j] * p[1];
                b += k[j] * p[2];
            }
            to[0] = clip8(r);
            to[1] = clip8(g);
            to[2] = clip8(b);
        }
    }
}

static void along_columns(const struct ral_image *in, const struct taps *t,
                          struct ral_image *out, int32_t *acc)
{
    const size_t n = 3 * in->width;

    for (size_t y = 0; y < out->height; y++) {
        for (size_t i = 0; i < n; i++)
            acc[i] = 1 << (BITS - 1);
        for (int j = 0; j < t->count[y]; j++) {
            const int32_t k = t->weight[y * t->most + (size_t)j];
            const uint8_t *row = in->rgb + n * (size_t)(t->first[y] + j);

            for (size_t i = 0; i < n; i++)
                acc[i] += k * row[i];
        }
        for (size_t i = 0; i < n; i++)
            out->rgb[y * n + i] = clip8(acc[i]);
    }
}

static int pass_rows(const struct ral_image *in, size_t w,
                     struct ral_image *out, struct ral_err *err)
{
    struct taps t;
    int rc = ral_image_alloc(out, w, in->height, err);

    if (rc < 0)
        return rc;
    if (taps_make(&t, in->width, w) < 0) {
        ral_image_release(out);
        return ral_err_nomem(err, "resize");
    }
    along_rows(in, &t, out);
    taps_release(&t);
    return 0;
}

static int pass_columns(const struct ral_image *in, size_t h,
                        struct ral_image *out, struct ral_err *err)
{
    struct taps t;
    int32_t *acc;
    int rc = ral_image_alloc(out, in->width, h, err);

    if (rc < 0)
        return rc;
    if (taps_make(&t, in->height, h) < 0) {
        ral_image_release(out);
        return ral_err_nomem(err, "resize");
    }
    if ((acc = malloc(3 * in->width * sizeof *acc))) {
        along_columns(in, &t, out, acc);
    } else {
        ral_image_release(out);
        rc = ral_err_nomem(err, "resize");
    }
    free(acc);
    taps_release(&t);
    return rc;
}

int ral_image_resize(const struct ral_image *in, size_t w, size_t h,
                     struct ral_image *out, struct ral_err *err)
{
    struct ral_image mid = {0};
    int rc;

    *out = (struct ral_image){0};
    if (!w || !h || w > RAL_IMAGE_MAX_PIXELS / h)
        return ral_err_set(err, -RAL_EINVAL, "cannot resize to %zux%zu pixels",
                           w, h);
    if (w == in->width && h == in->height) {
        if ((rc = ral_image_alloc(out, w, h, err)) == 0)
            memcpy(out->rgb, in->rgb, 3 * w * h);
        return rc;
    }
    if (h == in->height)
        return pass_rows(in, w, out, err);
    if (w == in->width)
        return pass_columns(in, h, out, err);
    if ((rc = pass_rows(in, w, &mid, err)) == 0)
        rc = pass_columns(&mid, h, out, err);
    ral_image_release(&mid);
    return rc;
}
