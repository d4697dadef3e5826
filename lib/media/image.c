/* lib/media/image.c - RGB pictures: memory and orientation. */
#include "media/image.h"

#include <stdlib.h>
#include <string.h>

int ral_image_alloc(struct ral_image *im, size_t width, size_t height,
                    struct ral_err *err)
{
    *im = (struct ral_image){0};
    if (!width || !height)
        return ral_err_set(err, -RAL_EINVAL, "picture without pixels");
    if (width > RAL_IMAGE_MAX_PIXELS / height)
        return ral_err_set(err, -RAL_EINVAL,
                           "picture of %zux%zu pixels; the limit is %zu", width,
                           height, RAL_IMAGE_MAX_PIXELS);
    if (!(im->rgb = malloc(width * height * 3)))
        return ral_err_nomem(err, "%zux%zu pixels", width, height);
    im->width = width;
    im->height = height;
    return 0;
}

void ral_image_release(struct ral_image *im)
{
    if (!im)
        return;
    free(im->rgb);
    *im = (struct ral_image){0};
}

int ral_image_orient(struct ral_image *im, unsigned orientation,
                     struct ral_err *err)
{
    const size_t w = im->width, h = im->height;
    struct ral_image out;
    int rc;

    if (orientation < 2 || orientation > 8)
        return 0;
    // The bits of EXIF's numbering: 5 to 8 swap the axes; then mirrors.
    const int swap = orientation >= 5;
    const int flip_x = orientation == 2 || orientation == 3 ||
                       orientation == 7 || orientation == 8;
    const int flip_y = orientation == 3 || orientation == 4 ||
                       orientation == 6 || orientation == 7;

    if ((rc = ral_image_alloc(&out, swap ? h : w, swap ? w : h, err)) < 0)
        return rc;
    for (size_t y = 0; y < out.height; y++)
        for (size_t x = 0; x < out.width; x++) {
            size_t sx = swap ? y : x, sy = swap ? x : y;

            if (flip_x)
                sx = w - 1 - sx;
            if (flip_y)
                sy = h - 1 - sy;
            memcpy(out.rgb + 3 * (y * out.width + x),
                   im->rgb + 3 * (sy * w + sx), 3);
        }
    ral_image_release(im);
    *im = out;
    return 0;
}
