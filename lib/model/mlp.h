/* lib/model/mlp.h - each row by itself through a wider layer. */
#ifndef RAL_MLP_H
#define RAL_MLP_H

#include "model/model.h"

struct ral_mlp_tape {
    struct ral_mat h;       // [M][C] what went in
    struct ral_mat g, u, a; // [M][inner]: gate, up, silu(g) u
};

/* x[M][C] += down(silu(gate h) * up h) */
void ral_mlp_forward(const struct ral_stack *s, const struct ral_block *b,
                     struct ral_mat h, struct ral_mat x,
                     struct ral_mlp_tape *t, struct ral_space *a);

/* dh[M][C] is written. */
void ral_mlp_backward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_mlp_tape *t, struct ral_mat dx,
                      struct ral_mat dh, struct ral_mat grad,
                      struct ral_space *a);

#endif
