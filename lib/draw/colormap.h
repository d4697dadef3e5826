/* lib/draw/colormap.h - numbers as colours. */
#ifndef RAL_COLORMAP_H
#define RAL_COLORMAP_H

#include <stdint.h>

/**
 * From deep violet by red and orange to light yellow, 0xRRGGBB. Lightness
 * rises in equal steps of what the eye sees: the path is linear in OKLab
 * (B. Ottosson, "A perceptual color space for image processing", 2020), so
 * it reads in grey and for colour-blind eyes as well.
 *
 * @param v  0 to 1; others are clipped, NaN is 0
 */
uint32_t ral_colormap(double v);

/* The i-th of a set of eight colours that stay apart, for lines in a plot. */
uint32_t ral_palette(unsigned i);

#endif
