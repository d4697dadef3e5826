/* lib/media/resize.h - the size a model wants, and Pillow's bicubic. */
#ifndef RAL_RESIZE_H
#define RAL_RESIZE_H

#include <stddef.h>

#include "base/err.h"
#include "media/image.h"

/**
 * The size to which Qwen2-VL's processor resizes a picture of h x w pixels:
 * sides are multiples of factor (patch * merge), H * W lies between
 * min_pixels and max_pixels, and the aspect ratio is kept as nearly as that
 * allows. All in double, rounding half to even, as the Python does it.
 *
 * @return 0, or -RAL_EINVAL: an empty picture, one side over 200 times the
 *         other, limits that leave nothing or more than the pixel limit.
 */
int ral_smart_resize(size_t h, size_t w, size_t factor, size_t min_pixels,
                     size_t max_pixels, size_t *H, size_t *W,
                     struct ral_err *err);

/**
 * Image.resize((w, h), BICUBIC) of Pillow 12.3, bit for bit: antialiased,
 * a = -1/2, first along rows, then along columns, 8 bits between the two,
 * weights of 22 bits; a pass that changes no size is left out.
 *
 * @param out  overwritten, not released; empty after a failure
 */
int ral_image_resize(const struct ral_image *in, size_t w, size_t h,
                     struct ral_image *out, struct ral_err *err);

#endif
