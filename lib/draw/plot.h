/* lib/draw/plot.h - a small line plot. */
#ifndef RAL_PLOT_H
#define RAL_PLOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct ral_plot_series {
    const char *name;      // in the legend; NULL: not there
    const double *x, *y;   // [n]; a y that is not finite breaks the line
    const double *lo, *hi; // [n], a shaded band around it, or NULL
    size_t n;
};

/* A horizontal line (y0 == y1) or band across the plot. */
struct ral_plot_mark {
    double y0, y1;
    const char *label; // at its right end; NULL: none
};

struct ral_plot {                          // zero is a good start
    const char *title, *x_label, *y_label; // NULL: none
    const struct ral_plot_series *series;
    size_t n_series;
    const struct ral_plot_mark *marks;
    size_t n_marks;
    double y_min, y_max;  // both 0: what the data need
    size_t width, height; // 0: 640 x 400
};

/**
 * Appends the plot as PNG to out: axes with round numbers, a legend above,
 * at most eight series in colours that stay apart.
 * @return 0, -RAL_EINVAL or -RAL_ENOMEM
 */
int ral_plot_png(const struct ral_plot *plot, struct ral_buf *out,
                 struct ral_err *err);

#endif
