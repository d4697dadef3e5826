/* lib/media/patch.h - a picture as the rows a vision tower takes. */
#ifndef RAL_PATCH_H
#define RAL_PATCH_H

#include <stddef.h>

#include "media/image.h"

struct ral_patch_spec {
    size_t patch, merge, temporal; // P, m, T
    float mean[3], std[3];         // in units of 0 .. 1
};

/* Floats in a row that holds so many frames: 3 * frames * P * P. */
size_t ral_patch_width(const struct ral_patch_spec *s, size_t frames);

/**
 * Normalises and cuts a picture whose sides are multiples of P * m.
 *
 * Rows run over merge blocks of m x m patches in raster order, and inside a
 * block over its patches; a row is channel, y, x. The tower takes rows of
 * channel, time, y, x with the picture T times: that is its own to repeat. A
 * value is (fp32(v / 255) - mean) / std in fp32, v * (1/255) in
 * double: the bits of transformers' slow (PIL) processor.
 *
 * @param out  [height/P * width/P][3][P][P]
 */
void ral_patches(const struct ral_image *im, const struct ral_patch_spec *s,
                 float *out);

#endif
