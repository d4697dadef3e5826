/* lib/model/tower.h - the vision tower: patches to features of visual tokens.
 *
 * Spaces of rows: patches in the order they come in (a visual's units of
 * merge*merge patches in raster order, frame after frame); the same in window
 * order, in which the blocks run; units in either order.
 */
#ifndef RAL_TOWER_H
#define RAL_TOWER_H

#include "media/visual.h"
#include "model/block.h"

/* What the backward needs; the visuals' patches are borrowed. */
struct ral_tower_tape {
    size_t patches, units;  // of all visuals; patches = units * merge^2
    size_t n;               // visuals
    struct ral_mat *visual; // [n] their patches on the machine
    size_t *times;          // [n] how often each is repeated in time
    struct ral_mat order;   // I32 [1][units] raster place of the k-th unit
    struct ral_layout windows, frames; // rows in window order
    struct ral_block_tape *block;      // [depth]
    struct ral_norm_tape norm;         // [patches][width]
    struct ral_mat inner, act;         // [units][merged], around GELU
};

/**
 * features[units][out], all visuals concatenated, each in raster order of its
 * merged patches, frame after frame. keep: fill t for the backward.
 * 0 or -RAL_ENOMEM (of the host's tables).
 */
int ral_tower_forward(const struct ral_model *m,
                      const struct ral_visual *const *visual, size_t n,
                      bool keep, struct ral_tower_tape *t,
                      struct ral_mat features, struct ral_space *a);

/* dfeatures[units][out] to the weights' gradients in grad. */
void ral_tower_backward(const struct ral_model *m,
                        const struct ral_tower_tape *t,
                        struct ral_mat dfeatures, struct ral_mat grad,
                        struct ral_space *a);

#endif
