/* lib/model/norm.h - rows to a common scale. */
#ifndef RAL_NORM_H
#define RAL_NORM_H

#include "model/model.h"

struct ral_norm_tape {
    struct ral_mat x; // [N][C] what went in; whoever changes it keeps a copy
    struct ral_mat r; // [1][N] reciprocal root mean squares
    struct ral_mat y; // [N][C] what came out
};

void ral_norm_forward(const struct ral_stack *s, int norm, struct ral_mat x,
                      struct ral_norm_tape *t, struct ral_space *a);
/* dx is added to; the weight's gradient too, in grad. */
void ral_norm_backward(const struct ral_stack *s, int norm,
                       const struct ral_norm_tape *t, struct ral_mat dy,
                       struct ral_mat dx, struct ral_mat grad);

#endif
