/* lib/draw/heatmap.h - where a model looks, drawn over what it sees. */
#ifndef RAL_HEATMAP_H
#define RAL_HEATMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "draw/canvas.h"

/* One picture under one map; nothing is copied. */
struct ral_heat_panel {
    const uint8_t *rgb; // [h][w][3]
    size_t w, h;
    const float *map; // [gh][gw], >= 0, over the whole picture
    size_t gh, gw;
    const struct ral_rect *boxes; // outlined; pixels of the picture
    size_t n_boxes;
    const char *title, *caption; // above and below; NULL: none
};

struct ral_heat_style { // zero is a good start
    const char *title;  // above all panels; NULL: none
    const char *label;  // of the colour bar; NULL: none
    double max;         // the strongest colour; 0: the largest weight of all
    bool grid;          // outline the map's cells
    bool blocks;        // cells in one colour instead of blended
    size_t panel_px;    // longer side of a panel; 0: 384
};

/**
 * Panels side by side as one PNG, appended to out. A weight of 0 leaves the
 * picture as it is, larger ones tint it from light orange to deep red, never
 * so much that it can't be seen, and strong colours of the picture less than
 * its greys; one scale, on a colour bar, holds for all panels.
 *
 * @return 0, -RAL_EINVAL for no panels, empty pictures or maps, a weight
 *         that is negative or not finite; -RAL_ENOMEM
 */
int ral_heatmap_png(const struct ral_heat_panel *panels, size_t n,
                    const struct ral_heat_style *style, struct ral_buf *out,
                    struct ral_err *err);

#endif
