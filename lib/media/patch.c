/* lib/media/patch.c - pictures to normalised patch rows. */
#include "media/patch.h"

#include <assert.h>

size_t ral_patch_width(const struct ral_patch_spec *s, size_t frames)
{
    return 3 * frames * s->patch * s->patch;
}

/* One row: the patch with its top left pixel at x0, y0. */
static void cut(const struct ral_image *im, size_t P, float value[3][256],
                size_t x0, size_t y0, float *out)
{
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < P; y++) {
            const uint8_t *p = im->rgb + 3 * ((y0 + y) * im->width + x0) + c;

            for (size_t x = 0; x < P; x++)
                *out++ = value[c][p[3 * x]];
        }
}

void ral_patches(const struct ral_image *im, const struct ral_patch_spec *s,
                 float *out)
{
    const size_t P = s->patch, m = s->merge, block = P * m;
    float value[3][256]; // every byte there is, normalised

    assert(block && im->width % block == 0 && im->height % block == 0);
    for (int v = 0; v < 256; v++) {
        const float unit = (float)(v * (1.0 / 255));

        for (int c = 0; c < 3; c++)
            value[c][v] = (unit - s->mean[c]) / s->std[c];
    }
    for (size_t by = 0; by < im->height; by += block)
        for (size_t bx = 0; bx < im->width; bx += block)
            for (size_t i = 0; i < m * m; i++) {
                cut(im, P, value, bx + i % m * P, by + i / m * P, out);
                out += ral_patch_width(s, 1);
            }
}
