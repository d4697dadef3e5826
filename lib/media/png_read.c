/* lib/media/png_read.c - PNG bytes to RGB, as Pillow shows them. */
#include "media/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/*
 * Walks the chunks before libpng sees them. So a length that lies past the
 * end of the file never reaches an allocation, truncation is told with its
 * place, and an animation whose frames lack their control chunk, which
 * libpng knows nothing of, is refused.
 */
static int check_chunks(const uint8_t *bytes, size_t len, const char *name,
                        struct ral_err *err)
{
    bool animated = false, control = false;
    size_t at = 8;

    for (;;) {
        if (len - at < 12)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: truncated PNG: it ends at byte %zu before "
                               "its end chunk",
                               name, len);
        const size_t n = be32(bytes + at);
        const uint8_t *type = bytes + at + 4;

        if (n > len - at - 12)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: truncated PNG: the chunk at byte %zu "
                               "claims %zu bytes, %zu are left",
                               name, at, n, len - at - 12);
        if (at == 8 && memcmp(type, "IHDR", 4))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: damaged PNG: no header chunk", name);
        if (!memcmp(type, "IEND", 4))
            return 0;
        if (!memcmp(type, "acTL", 4) && n >= 4)
            animated = be32(type + 4) - 1 < 0x7fffffff;
        else if (!memcmp(type, "fcTL", 4))
            control = true;
        else if (!memcmp(type, "fdAT", 4) && animated && !control)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: damaged PNG: an animation frame at byte "
                               "%zu has no control chunk",
                               name, at);
        at += 12 + n;
    }
}

struct png_in {
    const uint8_t *next;
    size_t left;
    const char *name;
    struct ral_err *err;
    png_structp png;
    png_infop info;
    uint8_t *row;
    int colour, depth;
    uint8_t palette[256][4]; // RGBA
    bool keyed;              // tRNS names one transparent colour
    uint8_t key[3];
};

static void on_error(png_structp png, png_const_charp what)
{
    struct png_in *in = png_get_error_ptr(png);

    ral_err_set(in->err, -RAL_EINVAL, "%s: damaged PNG: %s", in->name, what);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp what)
{
    (void)png;
    (void)what;
}

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct png_in *in = png_get_io_ptr(png);

    if (n > in->left)
        png_error(png, "unexpected end");
    memcpy(out, in->next, n);
    in->next += n;
    in->left -= n;
}

/* Image.alpha_composite on opaque white, its rounding included. */
static uint8_t on_white(unsigned v, unsigned a)
{
    const unsigned c = a * 128, t = v * c + 255 * (255 * 128 - c) + (128 << 7);

    return (uint8_t)(((t >> 8) + t) >> 8 >> 7);
}

static void put(uint8_t *out, const uint8_t rgb[3], unsigned a)
{
    for (int c = 0; c < 3; c++)
        out[c] = a == 255 ? rgb[c] : a ? on_white(rgb[c], a) : 255;
}

/* n pixels as libpng unpacks them, a byte or two a sample. */
static void convert_row(const struct png_in *in, size_t n, uint8_t *out,
                        size_t step)
{
    const bool alpha = in->colour & PNG_COLOR_MASK_ALPHA;
    const bool grey = !(in->colour & PNG_COLOR_MASK_COLOR);
    const size_t wide = in->depth == 16 ? 2 : 1;
    const size_t pixel = wide * ((grey ? 1 : 3) + alpha);
    const uint8_t *p = in->row;

    if (in->colour == PNG_COLOR_TYPE_RGB && wide == 1 && !in->keyed &&
        step == 1) { // by far the most
        memcpy(out, p, 3 * n);
        return;
    }
    if (in->colour == PNG_COLOR_TYPE_PALETTE) {
        for (size_t i = 0; i < n; i++, out += 3 * step)
            put(out, in->palette[p[i]], in->palette[p[i]][3]);
        return;
    }
    for (size_t i = 0; i < n; i++, out += 3 * step, p += pixel) {
        uint8_t rgb[3];
        unsigned a = 255;

        if (!grey) {
            for (size_t c = 0; c < 3; c++)
                rgb[c] = p[c * wide];
        } else {
            unsigned v = p[0];

            if (in->depth < 8)
                v = v * 255 / ((1U << in->depth) - 1);
            else if (in->depth == 16 && !alpha)
                v = p[0] ? 255 : p[1];
            memset(rgb, (int)v, 3);
        }
        if (alpha)
            a = p[pixel - wide];
        else if (in->keyed && !memcmp(rgb, in->key, 3))
            a = 0;
        put(out, rgb, a);
    }
}

/* Colour type, palette and transparency from the header chunks. */
static void read_format(struct png_in *in)
{
    png_colorp pal;
    png_bytep alpha;
    png_color_16p key;
    int n_pal, n_alpha;

    in->colour = png_get_color_type(in->png, in->info);
    in->depth = png_get_bit_depth(in->png, in->info);
    for (int i = 0; i < 256; i++)
        in->palette[i][3] = 255;
    if (in->colour == PNG_COLOR_TYPE_PALETTE &&
        png_get_PLTE(in->png, in->info, &pal, &n_pal))
        for (int i = 0; i < n_pal && i < 256; i++)
            memcpy(in->palette[i],
                   (uint8_t[]){pal[i].red, pal[i].green, pal[i].blue}, 3);
    if (!png_get_tRNS(in->png, in->info, &alpha, &n_alpha, &key))
        return;
    if (in->colour == PNG_COLOR_TYPE_PALETTE) {
        for (int i = 0; i < n_alpha && i < 256; i++)
            in->palette[i][3] = alpha[i];
        return;
    }
    in->keyed = true;
    if (in->colour == PNG_COLOR_TYPE_GRAY)
        memset(in->key, in->depth > 1 ? key->gray : key->gray ? 255 : 0, 3);
    else
        memcpy(in->key,
               (uint8_t[]){(uint8_t)key->red, (uint8_t)key->green,
                           (uint8_t)key->blue},
               3);
}

static uint32_t tiff(const uint8_t *p, int n, bool big)
{
    uint32_t v = 0;

    for (int i = 0; i < n; i++)
        v = v << 8 | p[big ? i : n - 1 - i];
    return v;
}

/* The orientation in EXIF data, 1 where there is none to be found. */
static unsigned exif_orientation(const uint8_t *p, size_t len)
{
    if (len >= 6 && !memcmp(p, "Exif\0", 6)) {
        p += 6;
        len -= 6;
    }
    if (len < 8 || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    const bool big = p[0] == 'M';
    const size_t ifd = tiff(p + 4, 4, big);

    if (ifd > len - 2)
        return 1;
    const size_t n = tiff(p + ifd, 2, big), room = (len - 2 - ifd) / 12;

    for (size_t i = 0; i < n && i < room; i++) {
        const uint8_t *e = p + ifd + 2 + 12 * i;

        if (tiff(e, 2, big) == 0x0112 && tiff(e + 2, 2, big) == 3)
            return tiff(e + 8, 2, big);
    }
    return 1;
}

static void read_rows(struct png_in *in, struct ral_image *im)
{
    const bool adam7 =
        png_get_interlace_type(in->png, in->info) == PNG_INTERLACE_ADAM7;
    const png_uint_32 w = (png_uint_32)im->width, h = (png_uint_32)im->height;

    // The rows of each pass are scattered here: one row is all that is held.
    for (int pass = 0; pass < (adam7 ? 7 : 1); pass++) {
        const size_t x0 = adam7 ? PNG_PASS_START_COL(pass) : 0;
        const size_t y0 = adam7 ? PNG_PASS_START_ROW(pass) : 0;
        const size_t dx = adam7 ? PNG_PASS_COL_OFFSET(pass) : 1;
        const size_t dy = adam7 ? PNG_PASS_ROW_OFFSET(pass) : 1;
        const size_t n = adam7 ? PNG_PASS_COLS(w, pass) : w;

        for (size_t y = y0; y < h && n; y += dy) {
            png_read_row(in->png, in->row, NULL);
            convert_row(in, n, im->rgb + 3 * (y * w + x0), dx);
        }
    }
}

/* Everything between libpng's setjmp and its longjmp; 0 or negative. */
static int read_png(struct png_in *in, struct ral_image *im,
                    unsigned *orientation)
{
    // Chunks that do not change the picture are skipped unread.
    static const png_byte skip[] =
        "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0"
        "sPLT\0sRGB\0tEXt\0tIME\0zTXt";
    png_uint_32 exif_len = 0;
    png_bytep exif = NULL;
    int rc;

    if (setjmp(png_jmpbuf(in->png)))
        return -RAL_EINVAL;
    png_set_read_fn(in->png, in, on_read);
    png_set_keep_unknown_chunks(in->png, PNG_HANDLE_CHUNK_NEVER, skip,
                                sizeof skip / 5);
    png_set_user_limits(in->png, 0x7fffffff, 0x7fffffff);
    png_set_check_for_invalid_index(in->png, -1);
    png_set_crc_action(in->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(in->png, in->info);
    read_format(in);
    if ((rc = ral_image_alloc(im, png_get_image_width(in->png, in->info),
                              png_get_image_height(in->png, in->info),
                              in->err)) < 0)
        return ral_err_at(in->err, "%s", in->name);
    // From here on every complaint of libpng is an error, above all that
    // about the checksum at the end of the compressed pixels; that is why
    // the CRC of the chunks that carry them need not be.
    png_set_benign_errors(in->png, 0);
    png_set_crc_action(in->png, PNG_CRC_WARN_USE, PNG_CRC_NO_CHANGE);
    png_set_packing(in->png);
    png_read_update_info(in->png, in->info);
    if (!(in->row = malloc(png_get_rowbytes(in->png, in->info))))
        return ral_err_nomem(in->err, "%s", in->name);
    read_rows(in, im);
    png_read_end(in->png, in->info);
    if (png_get_eXIf_1(in->png, in->info, &exif_len, &exif))
        *orientation = exif_orientation(exif, exif_len);
    return 0;
}

int ral_image_read(struct ral_image *im, const uint8_t *bytes, size_t len,
                   const char *name, struct ral_err *err)
{
    struct png_in in = {.next = bytes, .left = len, .name = name, .err = err};
    unsigned orientation = 1;
    int rc;

    *im = (struct ral_image){0};
    if (len < 8 || png_sig_cmp(bytes, 0, 8))
        return ral_err_set(err, -RAL_EINVAL,
                           len ? "%s is not a PNG (JPEG and others come with "
                                 "a later version)"
                               : "%s is empty, not a PNG",
                           name);
    if ((rc = check_chunks(bytes, len, name, err)) < 0)
        return rc;
    in.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &in, on_error,
                                    on_warning);
    if (in.png && (in.info = png_create_info_struct(in.png)))
        rc = read_png(&in, im, &orientation);
    else
        rc = ral_err_nomem(err, "%s", name);
    png_destroy_read_struct(&in.png, &in.info, NULL);
    free(in.row);
    if (rc == 0 && (rc = ral_image_orient(im, orientation, err)) < 0)
        ral_err_at(err, "%s", name);
    if (rc < 0)
        ral_image_release(im);
    return rc;
}
