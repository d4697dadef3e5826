/* lib/draw/canvas.c - a cairo image surface and what we draw on it. */
#include "draw/canvas.h"

#include <cairo.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define MOST_SIDE 32767 // cairo's own limit

#ifdef __SANITIZE_ADDRESS__
/* Fontconfig keeps a few patterns until the process ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}
#endif

struct ral_canvas {
    size_t w, h;
    cairo_surface_t *surface;
    cairo_t *cr;
    const char *failed; // what cairo itself does not keep
};

int ral_canvas_open(struct ral_canvas **out, size_t w, size_t h,
                    uint32_t ground, struct ral_err *err)
{
    struct ral_canvas *c;
    cairo_font_options_t *font;

    *out = NULL;
    if (!w || !h || w > MOST_SIDE || h > MOST_SIDE)
        return ral_err_set(err, -RAL_EINVAL,
                           "cannot draw a picture of %zux%zu pixels", w, h);
    if (!(c = calloc(1, sizeof *c)))
        return ral_err_nomem(err, "drawing");
    c->w = w;
    c->h = h;
    c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)w, (int)h);
    c->cr = cairo_create(c->surface);
    if (cairo_status(c->cr) != CAIRO_STATUS_SUCCESS) {
        ral_err_set(err, -RAL_ENOMEM, "drawing: %s",
                    cairo_status_to_string(cairo_status(c->cr)));
        ral_canvas_close(c);
        return -RAL_ENOMEM;
    }
    // Nothing of the user's desktop settings: every run looks the same.
    font = cairo_font_options_create();
    cairo_font_options_set_antialias(font, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(font, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(font, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(c->cr, font);
    cairo_font_options_destroy(font);
    cairo_set_antialias(c->cr, CAIRO_ANTIALIAS_BEST);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(c->cr, CAIRO_LINE_CAP_ROUND);
    ral_canvas_fill(c, &(struct ral_rect){0, 0, (double)w, (double)h}, ground,
                    1);
    *out = c;
    return 0;
}

void ral_canvas_close(struct ral_canvas *c)
{
    if (!c)
        return;
    cairo_destroy(c->cr);
    cairo_surface_destroy(c->surface);
    free(c);
}

size_t ral_canvas_width(const struct ral_canvas *c)
{
    return c->w;
}

size_t ral_canvas_height(const struct ral_canvas *c)
{
    return c->h;
}

static void ink(struct ral_canvas *c, uint32_t colour, double alpha)
{
    cairo_set_source_rgba(c->cr, (colour >> 16 & 255) / 255.0,
                          (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0,
                          alpha);
}

const char *ral_shape_name(enum ral_shape shape)
{
    static const char *const name[RAL_SHAPES] = {
        "circle", "square", "triangle", "star",
        "cross",  "heart",  "diamond",  "moon"};

    return name[shape];
}

static void polygon(cairo_t *cr, const double (*xy)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        cairo_line_to(cr, xy[i][0], xy[i][1]);
    cairo_close_path(cr);
}

/* Outlines in units of their own; the caller fits them to their box. */
static void outline(cairo_t *cr, enum ral_shape shape)
{
    static const double square[4][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    static const double triangle[3][2] = {{0.5, 0}, {1, 0.9}, {0, 0.9}};
    static const double diamond[4][2] = {
        {0.39, 0}, {0.78, 0.5}, {0.39, 1}, {0, 0.5}};
    static const double cross[12][2] = {
        {.34, 0}, {.66, 0}, {.66, .34}, {1, .34}, {1, .66}, {.66, .66},
        {.66, 1}, {.34, 1}, {.34, .66}, {0, .66}, {0, .34}, {.34, .34}};

    switch (shape) {
    case RAL_SQUARE:
        polygon(cr, square, 4);
        break;
    case RAL_TRIANGLE:
        polygon(cr, triangle, 3);
        break;
    case RAL_DIAMOND:
        polygon(cr, diamond, 4);
        break;
    case RAL_CROSS:
        polygon(cr, cross, 12);
        break;
    case RAL_STAR:
        for (int i = 0; i < 10; i++) {
            const double r = i % 2 ? 0.45 : 1, a = M_PI * i / 5;

            cairo_line_to(cr, r * sin(a), -r * cos(a));
        }
        cairo_close_path(cr);
        break;
    case RAL_HEART:
        cairo_move_to(cr, 0, 0.95);
        cairo_curve_to(cr, -0.35, 0.62, -1.08, 0.18, -1, -0.42);
        cairo_curve_to(cr, -0.92, -0.98, -0.2, -1.02, 0, -0.45);
        cairo_curve_to(cr, 0.2, -1.02, 0.92, -0.98, 1, -0.42);
        cairo_curve_to(cr, 1.08, 0.18, 0.35, 0.62, 0, 0.95);
        cairo_close_path(cr);
        break;
    case RAL_MOON: // a disc less a disc of 0.82 to its right
        cairo_arc(cr, 0, 0, 1, 0.86, 2 * M_PI - 0.86);
        cairo_arc_negative(cr, 0.5, 0, 0.773, 2 * M_PI - 1.3723, 1.3723);
        cairo_close_path(cr);
        break;
    default:
        cairo_arc(cr, 0, 0, 1, 0, 2 * M_PI);
        cairo_close_path(cr);
    }
}

void ral_canvas_shape(struct ral_canvas *c, enum ral_shape shape, double cx,
                      double cy, double size, uint32_t colour,
                      struct ral_rect *box)
{
    double x0, y0, x1, y1, k;

    // Measured large, for cairo flattens curves to a tenth of a pixel.
    cairo_save(c->cr);
    cairo_scale(c->cr, 1000, 1000);
    cairo_new_path(c->cr);
    outline(c->cr, shape);
    cairo_path_extents(c->cr, &x0, &y0, &x1, &y1);
    cairo_restore(c->cr);
    cairo_save(c->cr);
    k = size / fmax(x1 - x0, y1 - y0);
    cairo_new_path(c->cr);
    cairo_translate(c->cr, cx, cy);
    cairo_scale(c->cr, k, k);
    cairo_translate(c->cr, -(x0 + x1) / 2, -(y0 + y1) / 2);
    outline(c->cr, shape);
    ink(c, colour, 1);
    cairo_fill(c->cr);
    cairo_restore(c->cr);
    if (box) {
        const double w = k * (x1 - x0) / 2, h = k * (y1 - y0) / 2;

        *box = (struct ral_rect){cx - w, cy - h, cx + w, cy + h};
    }
}

void ral_canvas_disc(struct ral_canvas *c, double cx, double cy, double r,
                     uint32_t colour, double alpha)
{
    cairo_new_path(c->cr);
    cairo_arc(c->cr, cx, cy, r, 0, 2 * M_PI);
    ink(c, colour, alpha);
    cairo_fill(c->cr);
}

void ral_canvas_line(struct ral_canvas *c, const double (*xy)[2], size_t n,
                     double width, uint32_t colour, double alpha)
{
    cairo_new_path(c->cr);
    for (size_t i = 0; i < n; i++)
        cairo_line_to(c->cr, xy[i][0], xy[i][1]);
    ink(c, colour, alpha);
    cairo_set_line_width(c->cr, width);
    cairo_stroke(c->cr);
}

void ral_canvas_dashes(struct ral_canvas *c, double x0, double y0, double x1,
                       double y1, double width, double on, double off,
                       uint32_t colour)
{
    const double xy[2][2] = {{x0, y0}, {x1, y1}}, dash[2] = {on, off};

    cairo_set_dash(c->cr, dash, 2, 0);
    cairo_set_line_cap(c->cr, CAIRO_LINE_CAP_BUTT);
    ral_canvas_line(c, xy, 2, width, colour, 1);
    cairo_set_line_cap(c->cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_dash(c->cr, NULL, 0, 0);
}

void ral_canvas_fill(struct ral_canvas *c, const struct ral_rect *r,
                     uint32_t colour, double alpha)
{
    cairo_new_path(c->cr);
    cairo_rectangle(c->cr, r->x0, r->y0, r->x1 - r->x0, r->y1 - r->y0);
    ink(c, colour, alpha);
    cairo_fill(c->cr);
}

void ral_canvas_frame(struct ral_canvas *c, const struct ral_rect *r,
                      double width, uint32_t colour, double alpha)
{
    const double h = width / 2;

    cairo_new_path(c->cr);
    cairo_rectangle(c->cr, r->x0 - h, r->y0 - h, r->x1 - r->x0 + width,
                    r->y1 - r->y0 + width);
    ink(c, colour, alpha);
    cairo_set_line_width(c->cr, width);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_MITER);
    cairo_stroke(c->cr);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
}

void ral_canvas_band(struct ral_canvas *c, const double (*xlh)[3], size_t n,
                     uint32_t colour, double alpha)
{
    cairo_new_path(c->cr);
    for (size_t i = 0; i < n; i++)
        cairo_line_to(c->cr, xlh[i][0], xlh[i][1]);
    for (size_t i = n; i-- > 0;)
        cairo_line_to(c->cr, xlh[i][0], xlh[i][2]);
    cairo_close_path(c->cr);
    ink(c, colour, alpha);
    cairo_fill(c->cr);
}

/* A surface of [h][w][ch] bytes, ch 3 or 4; NULL when that cannot be. */
static cairo_surface_t *surface_of(const uint8_t *px, size_t w, size_t h,
                                   size_t ch)
{
    cairo_surface_t *s;
    uint8_t *data;
    size_t stride;

    if (!w || !h || w > MOST_SIDE || h > MOST_SIDE)
        return NULL;
    s = cairo_image_surface_create(
        ch == 4 ? CAIRO_FORMAT_ARGB32 : CAIRO_FORMAT_RGB24, (int)w, (int)h);
    if (!(data = cairo_image_surface_get_data(s))) {
        cairo_surface_destroy(s);
        return NULL;
    }
    stride = (size_t)cairo_image_surface_get_stride(s);
    cairo_surface_flush(s);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++, px += ch) {
            const uint32_t a = ch == 4 ? px[3] : 255;
            uint32_t v = a;

            for (int i = 0; i < 3; i++) // cairo wants them premultiplied
                v = v << 8 | (px[i] * a + 127) / 255;
            memcpy(data + y * stride + 4 * x, &v, 4);
        }
    cairo_surface_mark_dirty(s);
    return s;
}

static void paint(struct ral_canvas *c, cairo_surface_t *s, size_t w, size_t h,
                  const struct ral_rect *r, cairo_filter_t filter)
{
    if (!s) {
        c->failed = "out of memory, or a picture too large to draw";
        return;
    }
    ral_canvas_clip(c, r);
    cairo_translate(c->cr, r->x0, r->y0);
    cairo_scale(c->cr, (r->x1 - r->x0) / (double)w,
                (r->y1 - r->y0) / (double)h);
    cairo_set_source_surface(c->cr, s, 0, 0);
    cairo_pattern_set_extend(cairo_get_source(c->cr), CAIRO_EXTEND_PAD);
    cairo_pattern_set_filter(cairo_get_source(c->cr), filter);
    cairo_paint(c->cr);
    ral_canvas_unclip(c);
    cairo_surface_destroy(s);
}

void ral_canvas_picture(struct ral_canvas *c, const uint8_t *rgb, size_t w,
                        size_t h, const struct ral_rect *r, int smooth)
{
    paint(c, surface_of(rgb, w, h, 3), w, h, r,
          smooth ? CAIRO_FILTER_GOOD : CAIRO_FILTER_NEAREST);
}

void ral_canvas_overlay(struct ral_canvas *c, const uint8_t *rgba, size_t w,
                        size_t h, const struct ral_rect *r)
{
    paint(c, surface_of(rgba, w, h, 4), w, h, r, CAIRO_FILTER_GOOD);
}

void ral_canvas_clip(struct ral_canvas *c, const struct ral_rect *r)
{
    cairo_save(c->cr);
    cairo_new_path(c->cr);
    cairo_rectangle(c->cr, r->x0, r->y0, r->x1 - r->x0, r->y1 - r->y0);
    cairo_clip(c->cr);
}

void ral_canvas_unclip(struct ral_canvas *c)
{
    cairo_restore(c->cr);
}

/* Length of the well-formed UTF-8 character at s, 0 if it is none. */
static size_t utf8_length(const char *s)
{
    const uint8_t *p = (const uint8_t *)s;
    const size_t n = p[0] < 0x80   ? 1
                     : p[0] < 0xc2 ? 0
                     : p[0] < 0xe0 ? 2
                     : p[0] < 0xf0 ? 3
                     : p[0] < 0xf5 ? 4
                                   : 0;

    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* A copy that cairo accepts, of the first n bytes at most. */
static char *clean_text(const char *text, size_t n)
{
    char *out = malloc(n + 1), *o = out;
    const size_t len = strnlen(text, n);

    for (size_t i = 0; out && i < len;) {
        const size_t k = utf8_length(text + i);

        if (k == 0 || i + k > len || (k == 1 && (uint8_t)text[i] < 32) ||
            text[i] == 127) {
            *o++ = text[i] == '\n' || text[i] == '\t' ? ' ' : '?';
            i++;
            continue;
        }
        memcpy(o, text + i, k);
        o += k;
        i += k;
    }
    if (out)
        *o = 0;
    return out;
}

static void set_font(struct ral_canvas *c, const struct ral_font *f)
{
    cairo_select_font_face(c->cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           f->bold ? CAIRO_FONT_WEIGHT_BOLD
                                   : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c->cr, f->size);
    ink(c, f->colour, 1);
}

static double text_n(struct ral_canvas *c, const struct ral_font *f,
                     enum ral_align align, double x, double y, const char *text,
                     size_t n, int draw)
{
    char *s = clean_text(text, n);
    cairo_text_extents_t e = {0};

    if (!s)
        return 0;
    set_font(c, f);
    cairo_text_extents(c->cr, s, &e);
    if (draw) {
        cairo_move_to(c->cr, x - e.x_advance * align / 2, y);
        cairo_show_text(c->cr, s);
        cairo_new_path(c->cr);
    }
    free(s);
    return e.x_advance;
}

double ral_canvas_text(struct ral_canvas *c, const struct ral_font *f,
                       enum ral_align align, double x, double y,
                       const char *text)
{
    return text_n(c, f, align, x, y, text, strlen(text), 1);
}

double ral_canvas_text_width(struct ral_canvas *c, const struct ral_font *f,
                             const char *text)
{
    return text_n(c, f, RAL_LEFT, 0, 0, text, strlen(text), 0);
}

void ral_canvas_text_up(struct ral_canvas *c, const struct ral_font *f,
                        double x, double y, const char *text)
{
    cairo_save(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_rotate(c->cr, -M_PI / 2);
    text_n(c, f, RAL_CENTRE, 0, f->size * 0.36, text, strlen(text), 1);
    cairo_restore(c->cr);
}

/* Bytes of the longest beginning, whole words if it can, that fits. */
static size_t fit_line(struct ral_canvas *c, const struct ral_font *f,
                       const char *text, double width)
{
    size_t n = 0, word = 0;

    for (;;) {
        size_t k = text[n] ? utf8_length(text + n) : 0;

        if (!text[n])
            return n;
        if (text[n] == ' ' || text[n] == '\n')
            word = n;
        k = k ? k : 1;
        if (n && text_n(c, f, RAL_LEFT, 0, 0, text, n + k, 0) > width)
            return word ? word : n;
        n += k;
        if (text[n - 1] == '\n')
            return n - 1;
    }
}

size_t ral_canvas_paragraph(struct ral_canvas *c, const struct ral_font *f,
                            double x, double y, double width, double leading,
                            size_t most_lines, const char *text, int draw)
{
    const double dots = ral_canvas_text_width(c, f, "\u2026");
    size_t line = 0;

    while (*text && line < most_lines) {
        size_t n = fit_line(c, f, text, width);
        const char *rest = text + n + strspn(text + n, " \n");
        const int cut = *rest && line + 1 == most_lines;

        if (cut)
            n = fit_line(c, f, text, width - dots);
        if (draw) {
            const double w = text_n(c, f, RAL_LEFT, x, y, text, n, 1);

            if (cut)
                ral_canvas_text(c, f, RAL_LEFT, x + w, y, "\u2026");
        }
        y += leading;
        line++;
        text = rest;
    }
    return line;
}

static const uint8_t *row_at(const struct ral_canvas *c, size_t y)
{
    return cairo_image_surface_get_data(c->surface) +
           y * (size_t)cairo_image_surface_get_stride(c->surface);
}

uint32_t ral_canvas_at(const struct ral_canvas *c, size_t x, size_t y)
{
    uint32_t v;

    cairo_surface_flush(c->surface);
    memcpy(&v, row_at(c, y) + 4 * x, 4);
    return v & 0xffffff;
}

struct png_sink {
    struct ral_buf *out;
    struct ral_err *err;
};

static void on_write(png_structp png, png_bytep data, size_t n)
{
    struct png_sink *s = png_get_io_ptr(png);

    if (ral_buf_put(s->out, data, n) < 0)
        png_error(png, "out of memory");
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void on_error(png_structp png, png_const_charp what)
{
    struct png_sink *s = png_get_error_ptr(png);

    ral_err_set(s->err, -RAL_ENOMEM, "writing a PNG: %s", what);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp what)
{
    (void)png;
    (void)what;
}

static int write_png(const struct ral_canvas *c, png_structp png,
                     png_infop info, struct png_sink *sink, uint8_t *row)
{
    if (setjmp(png_jmpbuf(png)))
        return -RAL_ENOMEM;
    png_set_write_fn(png, sink, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)c->w, (png_uint_32)c->h, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    png_set_filter(png, 0, PNG_FILTER_NONE | PNG_FILTER_UP);
    png_write_info(png, info);
    for (size_t y = 0; y < c->h; y++) {
        const uint8_t *from = row_at(c, y);

        for (size_t x = 0; x < c->w; x++) {
            uint32_t v;

            memcpy(&v, from + 4 * x, 4);
            row[3 * x] = (uint8_t)(v >> 16);
            row[3 * x + 1] = (uint8_t)(v >> 8);
            row[3 * x + 2] = (uint8_t)v;
        }
        png_write_row(png, row);
    }
    png_write_end(png, info);
    return 0;
}

int ral_canvas_png(struct ral_canvas *c, struct ral_buf *out,
                   struct ral_err *err)
{
    struct png_sink sink = {out, err};
    const cairo_status_t status = cairo_status(c->cr);
    png_structp png = NULL;
    png_infop info = NULL;
    uint8_t *row = NULL;
    int rc;

    if (status != CAIRO_STATUS_SUCCESS)
        return ral_err_set(err, -RAL_ENOMEM, "drawing: %s",
                           cairo_status_to_string(status));
    if (c->failed)
        return ral_err_set(err, -RAL_EINVAL, "drawing: %s", c->failed);
    cairo_surface_flush(c->surface);
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, on_error,
                                  on_warning);
    if (png && (info = png_create_info_struct(png)) && (row = malloc(3 * c->w)))
        rc = write_png(c, png, info, &sink, row);
    else
        rc = ral_err_nomem(err, "writing a PNG");
    png_destroy_write_struct(&png, &info);
    free(row);
    return rc;
}
