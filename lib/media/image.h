/* lib/media/image.h - pictures as RGB bytes, read from PNG. */
#ifndef RAL_IMAGE_H
#define RAL_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The most pixels a picture may have: Pillow refuses beyond this, too. */
#define RAL_IMAGE_MAX_PIXELS ((size_t)178956970)

struct ral_image { // zero initialise
    size_t width, height;
    uint8_t *rgb; // [height][width][3], malloc'ed
};

/**
 * Decodes one PNG file held in memory: every colour type, depth and
 * interlacing; of an animation the default picture.
 *
 * The pixels are those of Pillow 12.3 for the picture turned upright by its
 * EXIF orientation (chunk eXIf; not the older text chunks), composited on
 * white by Image.alpha_composite where it is transparent, and converted to
 * RGB. That includes where Pillow is peculiar:
 *   - 16-bit grey is clipped, min(v, 255), and not scaled; 16-bit colour and
 *     grey with alpha lose their low byte;
 *   - the transparent colour of a tRNS chunk is compared by its low byte
 *     with the picture after conversion to 8 bits;
 *   - a palette index without an entry is opaque black;
 *   - gamma and colour profiles are ignored.
 *
 * Damage is an error and never half a picture: chunk lengths, the CRC of
 * every chunk, and the checksum of the compressed pixels must hold. (A wrong
 * CRC of a pixel chunk alone passes: the pixels have a checksum of their
 * own, and Pillow and FFmpeg read such files.) Memory is bounded by the pixel
 * limit, checked before anything is allocated.
 *
 * @param name  of the file or record, for messages
 * @return 0, -RAL_EINVAL or -RAL_ENOMEM; im is empty after a failure
 */
int ral_image_read(struct ral_image *im, const uint8_t *bytes, size_t len,
                   const char *name, struct ral_err *err);

/* Accepts NULL and empty images; im is empty again. */
void ral_image_release(struct ral_image *im);

/* Room for width x height pixels, uninitialised. -RAL_EINVAL over the limit. */
int ral_image_alloc(struct ral_image *im, size_t width, size_t height,
                    struct ral_err *err);

/* Turns the picture by an EXIF orientation, 1 to 8; others do nothing. */
int ral_image_orient(struct ral_image *im, unsigned orientation,
                     struct ral_err *err);

#endif
