/* lib/draw/heatmap.c - attention over pictures, with titles and a scale. */
#include "draw/heatmap.h"

#include <math.h>
#include <stdlib.h>

#include "draw/colormap.h"
#include "draw/ticks.h"

enum { MARGIN = 20, GAP = 22, BAR = 16, LINE = 21, CAPTION_LINES = 4 };

static const struct ral_font head = {19, 1, 0x20242c};
static const struct ral_font title = {16, 1, 0x20242c};
static const struct ral_font small = {14, 0, 0x4a505c};

/* Tint and its opacity for a share v of the strongest weight. */
static void tint(double v, uint8_t rgba[4])
{
    const uint32_t c = ral_colormap(0.86 - 0.46 * v);

    rgba[0] = (uint8_t)(c >> 16);
    rgba[1] = (uint8_t)(c >> 8);
    rgba[2] = (uint8_t)c;
    rgba[3] = (uint8_t)lround(255 * 0.72 * pow(v, 0.65));
}

/*
 * A tint gives way to strong colours of the picture: a question may be about
 * them, and an orange cross must not look red because the model looks at it.
 */
static void give_way(uint32_t under, uint8_t rgba[4])
{
    const double r = under >> 16 & 255, g = under >> 8 & 255, b = under & 255;
    const double chroma = (fmax(fmax(r, g), b) - fmin(fmin(r, g), b)) / 255;

    rgba[3] = (uint8_t)lround(rgba[3] * (1 - 0.75 * chroma));
}

/* The map at u, v of 0 .. 1, between cell centres; cells reach the edges. */
static double map_at(const struct ral_heat_panel *p, double u, double v,
                     bool blocks)
{
    const double x = u * (double)p->gw - 0.5, y = v * (double)p->gh - 0.5;
    const double fx = blocks ? rint(x) : fmin(fmax(x, 0), (double)p->gw - 1);
    const double fy = blocks ? rint(y) : fmin(fmax(y, 0), (double)p->gh - 1);
    const size_t x0 = (size_t)fx, y0 = (size_t)fy;
    const size_t x1 = x0 + 1 < p->gw ? x0 + 1 : x0;
    const size_t y1 = y0 + 1 < p->gh ? y0 + 1 : y0;
    const double ax = fx - (double)x0, ay = fy - (double)y0;
    const float *a = p->map + y0 * p->gw, *b = p->map + y1 * p->gw;

    return (1 - ay) * ((1 - ax) * (double)a[x0] + ax * (double)a[x1]) +
           ay * ((1 - ax) * (double)b[x0] + ax * (double)b[x1]);
}

/* Where everything lies. Panels share a row; each has its own size. */
struct layout {
    double max;
    size_t panel_px, head_lines, title_lines;
    double top, height, bottom; // of the row of pictures; captions below
    double width, total_h;
    size_t n;
    struct ral_rect *box;
};

static int check_panel(const struct ral_heat_panel *p, size_t i, double *max,
                       struct ral_err *err)
{
    if (!p->rgb || !p->map || !p->w || !p->h || !p->gw || !p->gh)
        return ral_err_set(err, -RAL_EINVAL,
                           "heat map %zu: no picture or no weights", i + 1);
    for (size_t k = 0; k < p->gw * p->gh; k++) {
        const double v = (double)p->map[k];

        if (!(v >= 0) || !isfinite(v))
            return ral_err_set(err, -RAL_EINVAL,
                               "heat map %zu: weight %zu is %g", i + 1, k, v);
        if (v > *max)
            *max = v;
    }
    return 0;
}

/* Needs a canvas to measure text with; any will do. */
static void place(struct layout *l, struct ral_canvas *c,
                  const struct ral_heat_panel *p,
                  const struct ral_heat_style *s)
{
    size_t caption_lines = 0, title_lines = 0;
    double x = MARGIN;

    for (size_t i = 0; i < l->n; i++) {
        const double k =
            (double)l->panel_px / (double)(p[i].w > p[i].h ? p[i].w : p[i].h);
        const double w = rint((double)p[i].w * k), h = rint((double)p[i].h * k);
        // A narrow picture still gets room for its words.
        const double room = fmax(fmax(w, 1), (double)l->panel_px * 0.5);
        size_t lines;

        l->box[i] = (struct ral_rect){x, 0, x + fmax(w, 1), fmax(h, 1)};
        l->height = fmax(l->height, fmax(h, 1));
        x += room + GAP;
        if (p[i].title) {
            lines = ral_canvas_paragraph(c, &title, 0, 0, room, LINE, 2,
                                         p[i].title, 0);
            title_lines = lines > title_lines ? lines : title_lines;
        }
        if (p[i].caption) {
            lines = ral_canvas_paragraph(c, &small, 0, 0, room, LINE,
                                         CAPTION_LINES, p[i].caption, 0);
            caption_lines = lines > caption_lines ? lines : caption_lines;
        }
    }
    l->width = x + BAR + 64 + (s->label ? 22 : 0);
    if (s->title)
        l->head_lines = ral_canvas_paragraph(
            c, &head, 0, 0, l->width - 2 * MARGIN, 26, 3, s->title, 0);
    l->title_lines = title_lines;
    l->top = MARGIN + 26.0 * (double)l->head_lines + (l->head_lines ? 8 : 0) +
             LINE * (double)title_lines + (title_lines ? 4 : 0);
    l->bottom = l->top + l->height;
    l->total_h = l->bottom + (caption_lines ? 4 : 0) +
                 LINE * (double)caption_lines + MARGIN;
    for (size_t i = 0; i < l->n; i++) {
        l->box[i].y0 += l->top;
        l->box[i].y1 += l->top;
    }
}

static int draw_tint(struct ral_canvas *c, const struct ral_heat_panel *p,
                     const struct ral_heat_style *s, double max,
                     const struct ral_rect *r, struct ral_err *err)
{
    const size_t w = (size_t)(r->x1 - r->x0), h = (size_t)(r->y1 - r->y0);
    uint8_t *rgba = malloc(4 * w * h);

    if (!rgba)
        return ral_err_nomem(err, "heat map");
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            const double v = map_at(p, ((double)x + 0.5) / (double)w,
                                    ((double)y + 0.5) / (double)h, s->blocks);

            tint(max > 0 ? fmin(v / max, 1) : 0, rgba + 4 * (y * w + x));
            give_way(ral_canvas_at(c, (size_t)r->x0 + x, (size_t)r->y0 + y),
                     rgba + 4 * (y * w + x));
        }
    ral_canvas_overlay(c, rgba, w, h, r);
    free(rgba);
    return 0;
}

static void draw_grid(struct ral_canvas *c, const struct ral_heat_panel *p,
                      const struct ral_rect *r)
{
    for (size_t i = 1; i < p->gw; i++) {
        const double x =
            r->x0 + rint((r->x1 - r->x0) * (double)i / (double)p->gw);

        ral_canvas_fill(c, &(struct ral_rect){x, r->y0, x + 1, r->y1}, 0x303540,
                        0.16);
    }
    for (size_t i = 1; i < p->gh; i++) {
        const double y =
            r->y0 + rint((r->y1 - r->y0) * (double)i / (double)p->gh);

        ral_canvas_fill(c, &(struct ral_rect){r->x0, y, r->x1, y + 1}, 0x303540,
                        0.16);
    }
}

static void draw_boxes(struct ral_canvas *c, const struct ral_heat_panel *p,
                       const struct ral_rect *r)
{
    const double kx = (r->x1 - r->x0) / (double)p->w;
    const double ky = (r->y1 - r->y0) / (double)p->h;

    ral_canvas_clip(c, r);
    for (size_t i = 0; i < p->n_boxes; i++) {
        const struct ral_rect *b = &p->boxes[i];
        const struct ral_rect at = {
            r->x0 + b->x0 * kx - 2, r->y0 + b->y0 * ky - 2,
            r->x0 + b->x1 * kx + 2, r->y0 + b->y1 * ky + 2};

        ral_canvas_frame(c, &at, 4, 0xffffff, 0.9); // a casing, for any ground
        ral_canvas_frame(
            c, &(struct ral_rect){at.x0 - 1, at.y0 - 1, at.x1 + 1, at.y1 + 1},
            2, 0x15803d, 1);
    }
    ral_canvas_unclip(c);
}

static void draw_bar(struct ral_canvas *c, const struct layout *l,
                     const struct ral_heat_style *s)
{
    const double x = l->width - MARGIN - BAR - 44 - (s->label ? 22 : 0);
    const double h = fmin(l->height, 240), y1 = l->top + (l->height + h) / 2;
    const struct ral_rect r = {x, y1 - h, x + BAR, y1};
    struct ral_ticks t;

    for (size_t i = 0; i < (size_t)h; i++) {
        const double y = r.y1 - 1 - (double)i;
        uint8_t rgba[4];

        tint(((double)i + 0.5) / h, rgba);
        ral_canvas_fill(c, &(struct ral_rect){x, y, x + BAR, y + 1},
                        (uint32_t)rgba[0] << 16 | (uint32_t)rgba[1] << 8 |
                            rgba[2],
                        rgba[3] / 255.0);
    }
    ral_canvas_frame(c, &r, 1, 0xc3c8d0, 1);
    ral_ticks_make(&t, 0, l->max > 0 ? l->max : 1, 6);
    for (size_t i = 0; i < t.n; i++) {
        const double y =
            r.y1 - (r.y1 - r.y0) * t.at[i] / (l->max > 0 ? l->max : 1);

        ral_canvas_fill(
            c, &(struct ral_rect){r.x1, rint(y), r.x1 + 5, rint(y) + 1},
            0x8a909c, 1);
        ral_canvas_text(c, &small, RAL_LEFT, r.x1 + 8, y + 5, t.text[i]);
    }
    if (s->label)
        ral_canvas_text_up(c, &small, l->width - MARGIN - 4, (r.y0 + r.y1) / 2,
                           s->label);
}

static int draw(struct ral_canvas *c, const struct layout *l,
                const struct ral_heat_panel *p, const struct ral_heat_style *s,
                struct ral_err *err)
{
    int rc;

    if (s->title)
        ral_canvas_paragraph(c, &head, MARGIN, MARGIN + 16,
                             l->width - 2 * MARGIN, 26, 3, s->title, 1);
    for (size_t i = 0; i < l->n; i++) {
        const struct ral_rect *r = &l->box[i];
        const double room = fmax(r->x1 - r->x0, (double)l->panel_px * 0.5);

        if (p[i].title)
            ral_canvas_paragraph(c, &title, r->x0,
                                 l->top - 9 -
                                     LINE * ((double)l->title_lines - 1),
                                 room, LINE, 2, p[i].title, 1);
        ral_canvas_picture(c, p[i].rgb, p[i].w, p[i].h, r, 1);
        if ((rc = draw_tint(c, &p[i], s, l->max, r, err)) < 0)
            return rc;
        if (s->grid)
            draw_grid(c, &p[i], r);
        draw_boxes(c, &p[i], r);
        ral_canvas_frame(c, r, 1, 0xc3c8d0, 1);
        if (p[i].caption)
            ral_canvas_paragraph(c, &small, r->x0, l->bottom + 21, room, LINE,
                                 CAPTION_LINES, p[i].caption, 1);
    }
    draw_bar(c, l, s);
    return 0;
}

int ral_heatmap_png(const struct ral_heat_panel *panels, size_t n,
                    const struct ral_heat_style *style, struct ral_buf *out,
                    struct ral_err *err)
{
    const struct ral_heat_style s = style ? *style : (struct ral_heat_style){0};
    struct layout l = {.n = n, .panel_px = s.panel_px ? s.panel_px : 384};
    struct ral_canvas *c = NULL;
    int rc = 0;

    if (!n || n > 64)
        return ral_err_set(err, -RAL_EINVAL, "cannot draw %zu heat maps", n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = check_panel(&panels[i], i, &l.max, err);
    if (rc < 0)
        return rc;
    if (s.max > 0)
        l.max = s.max;
    if (!(l.box = calloc(n, sizeof *l.box)))
        return ral_err_nomem(err, "heat map");
    if ((rc = ral_canvas_open(&c, 8, 8, 0xffffff, err)) == 0) {
        place(&l, c, panels, &s);
        ral_canvas_close(c);
        rc = ral_canvas_open(&c, (size_t)l.width, (size_t)l.total_h, 0xffffff,
                             err);
    }
    if (rc == 0 && (rc = draw(c, &l, panels, &s, err)) == 0)
        rc = ral_canvas_png(c, out, err);
    ral_canvas_close(c);
    free(l.box);
    return rc;
}
