/* lib/model/table.h - the one table of tensors of a model.
 *
 * Its order is the order of the parameter and gradient arenas; mapping,
 * initialisation, optimiser, checkpoint and gradient tests walk it.
 */
#ifndef RAL_TABLE_H
#define RAL_TABLE_H

#include "base/arena.h"
#include "model/config.h"
#include "nn/mat.h"

enum ral_role { RAL_ROLE_MATRIX, RAL_ROLE_EMBED, RAL_ROLE_NORM, RAL_ROLE_BIAS };

struct ral_tensor {
    const char *name;  // as published: model.layers.…, visual.…
    enum ral_role role;
    size_t rank, shape[5];
    size_t N, K;       // as a matrix [N][K]; a vector is [1][K]
    size_t offset;     // floats before it in the arenas
};

/* x W^T + b, by position in the table; b -1: none. */
struct ral_linear {
    int w, b;
};

/**
 * One transformer block, of the tower or of the decoder:
 *   x += proj(attention(norm1 x)),  x += mlp(norm2 x)
 * What it is made of says its struct ral_block_arch.
 */
struct ral_block {
    int norm1, norm2;
    struct ral_linear qkv[3]; // one of all when fused, else one each
    struct ral_linear proj, gate, up, down;
};

struct ral_table {
    struct ral_tensor *tensor;
    size_t n, floats;
    int embed, norm, head; // head is embed when tied
    struct ral_block *layer;  // [layers]
    int patch;
    struct ral_block *tower;  // [depth]
    int merger_norm;
    struct ral_linear merger[2];
};

/* A tensor's numbers in an arena in table order, as its matrix [N][K]. */
static inline struct ral_mat ral_tensor_view(const struct ral_table *t,
                                             int tensor, struct ral_mat arena)
{
    const struct ral_tensor *x = &t->tensor[tensor];

    return ral_mat_shaped(ral_mat_cols(arena, x->offset, x->N * x->K), x->N,
                          x->K);
}

/* tied: whether the head is the embedding. 0 or -RAL_ENOMEM. */
int ral_table_init(struct ral_table *t, const struct ral_config *c, bool tied,
                   struct ral_arena *a);

#endif
