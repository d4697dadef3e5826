/* lib/model/block.h - one transformer block, of the tower or the decoder:
 *
 *   x += proj(attend(qkv(norm1 x))),  x += mlp(norm2 x)
 *
 * a sequence of sub-layers, each with a forward, a backward and a tape.
 */
#ifndef RAL_BLOCK_H
#define RAL_BLOCK_H

#include "model/attend.h"
#include "model/mlp.h"
#include "model/norm.h"

/* What the backward needs. N rows come in, M go out. */
struct ral_block_tape {
    struct ral_norm_tape norm1; // [N]
    struct ral_qkv_tape qkv;
    struct ral_mat o;           // [M][H*D] of the attention
    struct ral_norm_tape norm2; // [M]
    struct ral_mlp_tape mlp;    // [M]
};

/**
 * x[N][C], the residual stream, is changed in place and returned; where fewer
 * rows ask than there are, a new x[M][C] is. kv: this block's key store. tape
 * NULL: nothing is kept. look: attention rows to hand out, or NULL.
 */
struct ral_mat ral_block_forward(const struct ral_stack *s,
                                 const struct ral_block *b,
                                 const struct ral_layout *l,
                                 const struct ral_kv *kv, struct ral_mat x,
                                 const struct ral_look *look,
                                 struct ral_block_tape *tape,
                                 struct ral_space *a);

/**
 * dx[M][C] of what went out is used up; returned is dx[N][C] of what came in:
 * the same array, or a new one where there are more rows. Weights' gradients
 * are added to grad. kv: scratch of the layout's slots.
 */
struct ral_mat ral_block_backward(const struct ral_stack *s,
                                  const struct ral_block *b,
                                  const struct ral_layout *l,
                                  const struct ral_kv *kv,
                                  const struct ral_block_tape *tape,
                                  const struct ral_look *dlook,
                                  struct ral_mat dx, struct ral_mat grad,
                                  struct ral_space *a);

/* The query weight's share of dlook alone, as ral_block_backward would add it
 * with no other gradient: dw[H*D][C] is added to. For metrics. */
void ral_block_query_gradient(const struct ral_stack *s,
                              const struct ral_layout *l,
                              const struct ral_kv *kv,
                              const struct ral_block_tape *tape,
                              const struct ral_look *dlook, struct ral_mat dw,
                              struct ral_space *a);

#endif
