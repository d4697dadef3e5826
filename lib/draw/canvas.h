/* lib/draw/canvas.h - antialiased shapes, lines and text; PNG out. */
#ifndef RAL_CANVAS_H
#define RAL_CANVAS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Colours are 0xRRGGBB; lengths are pixels, y grows downwards. */

struct ral_canvas; // one per thread at a time

struct ral_rect {
    double x0, y0, x1, y1; // x0 <= x < x1
};

enum ral_shape {
    RAL_CIRCLE,
    RAL_SQUARE,
    RAL_TRIANGLE,
    RAL_STAR,
    RAL_CROSS,
    RAL_HEART,
    RAL_DIAMOND,
    RAL_MOON,
    RAL_SHAPES
};

enum ral_align { RAL_LEFT, RAL_CENTRE, RAL_RIGHT };

/**
 * Drawing itself returns nothing: the first failure (memory, a missing font)
 * is kept, and ral_canvas_png reports it.
 */
int ral_canvas_open(struct ral_canvas **out, size_t w, size_t h,
                    uint32_t ground, struct ral_err *err);
void ral_canvas_close(struct ral_canvas *c); // accepts NULL

size_t ral_canvas_width(const struct ral_canvas *c);
size_t ral_canvas_height(const struct ral_canvas *c);

/* "circle", "square", ... */
const char *ral_shape_name(enum ral_shape shape);

/**
 * A filled shape whose longer side is size, its box centred on cx, cy.
 * @param box  what it covers, to the fraction of a pixel; or NULL
 */
void ral_canvas_shape(struct ral_canvas *c, enum ral_shape shape, double cx,
                      double cy, double size, uint32_t colour,
                      struct ral_rect *box);

void ral_canvas_disc(struct ral_canvas *c, double cx, double cy, double r,
                     uint32_t colour, double alpha);
/* A stroke through n points, ends and corners round. */
void ral_canvas_line(struct ral_canvas *c, const double (*xy)[2], size_t n,
                     double width, uint32_t colour, double alpha);
/* A straight stroke of dashes, on pixels drawn, off pixels not. */
void ral_canvas_dashes(struct ral_canvas *c, double x0, double y0, double x1,
                       double y1, double width, double on, double off,
                       uint32_t colour);
void ral_canvas_fill(struct ral_canvas *c, const struct ral_rect *r,
                     uint32_t colour, double alpha);
/* A frame of the given width that lies outside of r. */
void ral_canvas_frame(struct ral_canvas *c, const struct ral_rect *r,
                      double width, uint32_t colour, double alpha);
/* Fills between two curves: n points x, lo, hi. */
void ral_canvas_band(struct ral_canvas *c, const double (*xlh)[3], size_t n,
                     uint32_t colour, double alpha);

/* RGB pixels [h][w][3], enlarged to the box r: smoothly, or as blocks. */
void ral_canvas_picture(struct ral_canvas *c, const uint8_t *rgb, size_t w,
                        size_t h, const struct ral_rect *r, int smooth);

/* The same with alpha, [h][w][4], not premultiplied, blended over. */
void ral_canvas_overlay(struct ral_canvas *c, const uint8_t *rgba, size_t w,
                        size_t h, const struct ral_rect *r);

/* Everything drawn until _unclip stays inside r. One level. */
void ral_canvas_clip(struct ral_canvas *c, const struct ral_rect *r);
void ral_canvas_unclip(struct ral_canvas *c);

struct ral_font {
    double size; // of the em, pixels
    int bold;
    uint32_t colour;
};

/**
 * One line of text in DejaVu Sans with its baseline at y; bytes that are no
 * UTF-8 and control characters show as '?'.
 * @return its width
 */
double ral_canvas_text(struct ral_canvas *c, const struct ral_font *f,
                       enum ral_align align, double x, double y,
                       const char *text);
double ral_canvas_text_width(struct ral_canvas *c, const struct ral_font *f,
                             const char *text);
/* The same turned to read upwards, centred on x, y. */
void ral_canvas_text_up(struct ral_canvas *c, const struct ral_font *f,
                        double x, double y, const char *text);

/**
 * Breaks text at spaces into lines no wider than width, at most most_lines,
 * the last ending in an ellipsis when more would follow, and draws them
 * below each other (unless draw is 0: only counts).
 * @return the number of lines
 */
size_t ral_canvas_paragraph(struct ral_canvas *c, const struct ral_font *f,
                            double x, double y, double width, double leading,
                            size_t most_lines, const char *text, int draw);

/* One pixel, for looking at what was drawn. */
uint32_t ral_canvas_at(const struct ral_canvas *c, size_t x, size_t y);

/* Appends the picture as PNG: 8-bit RGB, always the same bytes. */
int ral_canvas_png(struct ral_canvas *c, struct ral_buf *out,
                   struct ral_err *err);

#endif
