/* lib/model/vision.h - the tower: patches to features of visual tokens. */
#ifndef RAL_VISION_H
#define RAL_VISION_H

#include "base/arena.h"
#include "model/block.h"

/* One picture: h*w patches [h*w][channels*temporal*patch*patch], rows in
 * merge-block order; h and w are multiples of the merge size. */
struct ral_picture {
    size_t h, w;
    const float *patches;
};

/* What the backward needs, in window order; the pictures are borrowed. */
struct ral_vision_saved {
    const struct ral_picture *picture;
    size_t pictures;
    struct ral_stack stack;
    struct ral_layout windows, frames;
    size_t units;          // visual tokens
    size_t *order;         // [units] place of the k-th unit in raster order
    struct ral_saved *block;
    float *x, *r, *normed; // [N][width], [N], [units][merged]
    float *inner, *act;    // [units][merged] before and after GELU
};

size_t ral_picture_tokens(const struct ral_config *c,
                          const struct ral_picture *p);

/**
 * features[units][out], all pictures concatenated, each in raster order of its
 * merged patches. keep: fill v for the backward (from the arena).
 */
int ral_vision_forward(const struct ral_model *m, const struct ral_picture *p,
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
