/* lib/model/vision.h - the tower: patches to features of visual tokens. */
#ifndef RAL_VISION_H
#define RAL_VISION_H

#include "base/arena.h"
#include "media/visual.h"
#include "model/block.h"

/* What the backward needs, in window order; the pictures are borrowed. */
struct ral_vision_saved {
    const struct ral_visual *picture;
    size_t pictures;
    struct ral_stack stack;
    struct ral_layout windows, frames;
    size_t units;          // visual tokens
    size_t *order;         // [units] place of the k-th unit in raster order
    struct ral_saved *block;
    float *x, *r, *normed; // [N][width], [N], [units][merged]
    float *inner, *act;    // [units][merged] before and after GELU
};

/**
 * features[units][out], all pictures concatenated, each in raster order of its
 * merged patches. keep: fill v for the backward (from the arena).
 */
int ral_vision_forward(const struct ral_model *m, const struct ral_visual *p,
                       size_t n, bool keep, struct ral_vision_saved *v,
                       float *features, struct ral_arena *a);

/* Accumulates into the gradient arena. dfeatures: [units][out]. */
int ral_vision_backward(const struct ral_model *m,
                        const struct ral_vision_saved *v,
                        const float *dfeatures, float *grad,
                        struct ral_arena *a);

/* Rotary angles of every position: cos, sin [positions][n], of (float)pos
 * times each of n frequencies, from double. */
struct ral_rotary {
    size_t n;
    float *cos, *sin;
};

int ral_rotary_init(struct ral_rotary *r, size_t positions, size_t n,
                    const float *freq, struct ral_arena *a);

#endif
