/* lib/media/visual.h - one picture or video as a vision tower takes it. */
#ifndef RAL_VISUAL_H
#define RAL_VISUAL_H

#include <stddef.h>

/* The grid counts patches: h and w are multiples of the merge size. A still
 * holds each patch once; the tower repeats it in time. */
struct ral_visual {
    size_t t, h, w;       // temporal patches, rows and columns of patches
    size_t frames;        // held of a temporal patch: 1 of a still, which the
                          // tower repeats; else all (2 in Qwen2.5-VL)
    const float *patches; // [t*h*w][channels][frames][patch][patch], by frame,
                          // inside it in merge-block order
    double seconds;       // per temporal patch; 0 for a still
};

/* Visual tokens of a grid of patches, merge * merge of which make one. */
size_t ral_visual_tokens(size_t t, size_t h, size_t w, size_t merge);

/* Rows of patches: t * h * w. */
size_t ral_visual_rows(const struct ral_visual *v);

#endif
