/* lib/draw/plot.c - lines over axes. */
#include "draw/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "draw/canvas.h"
#include "draw/colormap.h"
#include "draw/ticks.h"

static const struct ral_font head = {17, 1, 0x20242c};
static const struct ral_font small = {13, 0, 0x4a505c};

struct axes {
    struct ral_canvas *c;
    struct ral_rect area;
    double x0, x1, y0, y1; // of the data
};

static double to_x(const struct axes *a, double x)
{
    return a->area.x0 +
           (x - a->x0) / (a->x1 - a->x0) * (a->area.x1 - a->area.x0);
}

static double to_y(const struct axes *a, double y)
{
    return a->area.y1 -
           (y - a->y0) / (a->y1 - a->y0) * (a->area.y1 - a->area.y0);
}

static void widen(double *lo, double *hi, double v)
{
    if (isfinite(v)) {
        *lo = fmin(*lo, v);
        *hi = fmax(*hi, v);
    }
}

/* Never an empty range. */
static void settle(double *lo, double *hi)
{
    if (!(*lo <= *hi)) {
        *lo = 0;
        *hi = 1;
    } else if (!(*hi - *lo > 1e-12 * fmax(fabs(*lo), fabs(*hi)))) {
        const double d = *lo ? fabs(*lo) * 0.1 : 0.5;

        *lo -= d;
        *hi += d;
    }
}

static void find_range(struct axes *a, const struct ral_plot *p)
{
    a->x0 = a->y0 = INFINITY;
    a->x1 = a->y1 = -INFINITY;
    for (size_t i = 0; i < p->n_series; i++) {
        const struct ral_plot_series *s = &p->series[i];

        for (size_t k = 0; k < s->n; k++) {
            widen(&a->x0, &a->x1, s->x[k]);
            widen(&a->y0, &a->y1, s->y[k]);
            if (s->lo && s->hi) {
                widen(&a->y0, &a->y1, s->lo[k]);
                widen(&a->y0, &a->y1, s->hi[k]);
            }
        }
    }
    for (size_t i = 0; i < p->n_marks; i++) {
        widen(&a->y0, &a->y1, p->marks[i].y0);
        widen(&a->y0, &a->y1, p->marks[i].y1);
    }
    settle(&a->x0, &a->x1);
    settle(&a->y0, &a->y1);
    if (p->y_min < p->y_max) {
        a->y0 = p->y_min;
        a->y1 = p->y_max;
    } else {
        const double d = (a->y1 - a->y0) * 0.06;

        // Zero is a floor for what cannot be negative.
        a->y0 = a->y0 >= 0 && a->y0 < d ? 0 : a->y0 - d;
        a->y1 += d;
    }
}

/* Names with a stroke of their colour, as many to a line as fit. */
static double draw_legend(struct axes *a, const struct ral_plot *p, double x0,
                          double y, double x1)
{
    double x = x0;
    bool any = false;

    for (size_t i = 0; i < p->n_series; i++) {
        double w;

        if (!p->series[i].name)
            continue;
        w = 28 + ral_canvas_text_width(a->c, &small, p->series[i].name);
        if (any && x + w > x1) {
            x = x0;
            y += 20;
        }
        ral_canvas_line(a->c,
                        (double[2][2]){{x + 2, y - 4.5}, {x + 20, y - 4.5}}, 2,
                        3, ral_palette((unsigned)i), 1);
        ral_canvas_text(a->c, &small, RAL_LEFT, x + 27, y, p->series[i].name);
        x += w + 18;
        any = true;
    }
    return any ? y + 12 : y - 14;
}

static void draw_axes(struct axes *a, const struct ral_plot *p,
                      const struct ral_ticks *ty)
{
    const struct ral_rect *r = &a->area;
    struct ral_ticks tx;

    for (size_t i = 0; i < ty->n; i++) {
        const double y = rint(to_y(a, ty->at[i]));

        ral_canvas_fill(a->c, &(struct ral_rect){r->x0, y, r->x1, y + 1},
                        0xe4e7ec, 1);
        ral_canvas_text(a->c, &small, RAL_RIGHT, r->x0 - 8, y + 5, ty->text[i]);
    }
    ral_ticks_make(&tx, a->x0, a->x1, (size_t)fmax(2, (r->x1 - r->x0) / 70));
    for (size_t i = 0; i < tx.n; i++) {
        const double x = rint(to_x(a, tx.at[i]));

        ral_canvas_fill(a->c, &(struct ral_rect){x, r->y1, x + 1, r->y1 + 5},
                        0x8a909c, 1);
        ral_canvas_text(a->c, &small, RAL_CENTRE, x, r->y1 + 20, tx.text[i]);
    }
    ral_canvas_fill(a->c, &(struct ral_rect){r->x0, r->y1, r->x1, r->y1 + 1},
                    0x8a909c, 1);
    if (p->x_label)
        ral_canvas_text(a->c, &small, RAL_CENTRE, (r->x0 + r->x1) / 2,
                        r->y1 + 41, p->x_label);
    if (p->y_label)
        ral_canvas_text_up(a->c, &small, 16, (r->y0 + r->y1) / 2, p->y_label);
}

static void draw_mark(struct axes *a, const struct ral_plot_mark *m)
{
    const double top = to_y(a, fmax(m->y0, m->y1));
    const double low = to_y(a, fmin(m->y0, m->y1));

    if (low - top >= 1)
        ral_canvas_fill(a->c,
                        &(struct ral_rect){a->area.x0, top, a->area.x1, low},
                        0x7a8290, 0.14);
    else
        ral_canvas_dashes(a->c, a->area.x0, top, a->area.x1, top, 1.5, 6, 4,
                          0x7a8290);
}

static void label_mark(struct axes *a, const struct ral_plot_mark *m)
{
    const double top = to_y(a, fmax(m->y0, m->y1));

    if (m->label && isfinite(top))
        ral_canvas_text(a->c, &small, RAL_RIGHT, a->area.x1 - 4,
                        top - 5 < a->area.y0 + 10 ? top + 15 : top - 5,
                        m->label);
}

static void draw_band(struct axes *a, const struct ral_plot_series *s,
                      uint32_t colour, double (*xlh)[3])
{
    size_t n = 0;

    for (size_t k = 0; k <= s->n; k++) {
        if (k < s->n && isfinite(s->x[k]) && isfinite(s->lo[k]) &&
            isfinite(s->hi[k])) {
            xlh[n][0] = to_x(a, s->x[k]);
            xlh[n][1] = to_y(a, s->lo[k]);
            xlh[n++][2] = to_y(a, s->hi[k]);
            continue;
        }
        if (n > 1)
            ral_canvas_band(a->c, (const double(*)[3])xlh, n, colour, 0.16);
        n = 0;
    }
}

static void draw_line(struct axes *a, const struct ral_plot_series *s,
                      uint32_t colour, double (*xy)[2])
{
    size_t n = 0;

    for (size_t k = 0; k <= s->n; k++) {
        if (k < s->n && isfinite(s->x[k]) && isfinite(s->y[k])) {
            xy[n][0] = to_x(a, s->x[k]);
            xy[n++][1] = to_y(a, s->y[k]);
            continue;
        }
        if (n > 1)
            ral_canvas_line(a->c, (const double(*)[2])xy, n, 2.2, colour, 1);
        for (size_t i = 0; i < n && (s->n <= 24 || n == 1); i++)
            ral_canvas_disc(a->c, xy[i][0], xy[i][1], 3.2, colour, 1);
        n = 0;
    }
}

static int draw_series(struct axes *a, const struct ral_plot *p,
                       struct ral_err *err)
{
    for (int band = 1; band >= 0; band--) // all bands lie below all lines
        for (size_t i = 0; i < p->n_series; i++) {
            const struct ral_plot_series *s = &p->series[i];
            double(*room)[3];

            if (!s->n || (band && (!s->lo || !s->hi)))
                continue;
            if (!(room = calloc(s->n, sizeof *room)))
                return ral_err_nomem(err, "plot");
            if (band)
                draw_band(a, s, ral_palette((unsigned)i), room);
            else
                draw_line(a, s, ral_palette((unsigned)i),
                          (double(*)[2])(void *)room);
            free(room);
        }
    return 0;
}

int ral_plot_png(const struct ral_plot *p, struct ral_buf *out,
                 struct ral_err *err)
{
    const double w = p->width ? (double)p->width : 640;
    const double h = p->height ? (double)p->height : 400;
    struct axes a = {0};
    struct ral_ticks ty;
    double y = 16, left = 0;
    int rc;

    if (p->n_series > 8)
        return ral_err_set(err, -RAL_EINVAL,
                           "cannot plot %zu lines; eight can be told apart",
                           p->n_series);
    if (w < 160 || h < 120)
        return ral_err_set(err, -RAL_EINVAL, "a plot of %.0fx%.0f is too small",
                           w, h);
    if ((rc = ral_canvas_open(&a.c, (size_t)w, (size_t)h, 0xffffff, err)) < 0)
        return rc;
    find_range(&a, p);
    ral_ticks_make(&ty, a.y0, a.y1, (size_t)fmax(2, h / 50));
    for (size_t i = 0; i < ty.n; i++)
        left = fmax(left, ral_canvas_text_width(a.c, &small, ty.text[i]));
    left += 20 + (p->y_label ? 20 : 0);
    if (p->title) {
        ral_canvas_text(a.c, &head, RAL_LEFT, 16, y + 14, p->title);
        y += 26;
    }
    y = draw_legend(&a, p, 16, y + 14, w - 16);
    a.area = (struct ral_rect){rint(left), rint(y), w - 20,
                               h - (p->x_label ? 54 : 34)};
    draw_axes(&a, p, &ty);
    ral_canvas_clip(a.c, &(struct ral_rect){a.area.x0 - 4, a.area.y0 - 4,
                                            a.area.x1 + 4, a.area.y1 + 4});
    for (size_t i = 0; i < p->n_marks; i++)
        draw_mark(&a, &p->marks[i]);
    rc = draw_series(&a, p, err);
    for (size_t i = 0; i < p->n_marks; i++)
        label_mark(&a, &p->marks[i]);
    ral_canvas_unclip(a.c);
    if (rc == 0)
        rc = ral_canvas_png(a.c, out, err);
    ral_canvas_close(a.c);
    return rc;
}
