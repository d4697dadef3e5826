/* lib/model/block.h - one transformer block, of the tower or the decoder. */
#ifndef RAL_BLOCK_H
#define RAL_BLOCK_H

#include "base/arena.h"
#include "model/model.h"
#include "nn/attention.h"

/**
 * Which rows attend to which: spans for the queries, and the runs of rows
 * whose keys and values are stored before (all of them in training, one a
 * sample in decoding). slots: what the key store must hold. keys: the most
 * that a query sees.
 *
 * keep: the rows whose output is wanted, ascending; NULL: all. Other rows give
 * keys and values alone: no queries, no MLP. Queries of the spans, outputs
 * and policy rows are then counted among those kept.
 */
struct ral_layout {
    struct ral_span *span;
    size_t nspan;
    struct ral_run *put;
    size_t nput, slots, keys;
    size_t *keep;
    size_t nkeep;
};

/* What a block computes with; the same for all blocks of a stack. */
struct ral_stack {
    const struct ral_model *m;
    struct ral_attn_shape shape;
    size_t width, inner;
    float eps;
    size_t N;               // rows of this batch
    const float *cos, *sin; // [N][head/2]
};

/* Activations that the backward needs; see block.c. */
struct ral_saved {
    float *x, *r1, *h1, *hq, *q, *qkv, *o, *x2, *r2, *h2, *g, *u, *a;
};

/**
 * x[N][width] is the residual stream, changed in place: the rows kept come out
 * one after another. kv is this block's key store. saved NULL: nothing is kept; else filled from the arena.
 * policy as in nn/attention.h, or NULL. 0 or -RAL_ENOMEM.
 */
int ral_block_forward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_layout *l, struct ral_kv *kv, float *x,
                      struct ral_saved *saved, float *const *policy,
                      struct ral_arena *a);

/**
 * dx[N][width]: gradient of the rows kept in, of all rows of the input out. grad: the
 * gradient arena in table order, accumulated. kv is scratch of the layout.
 */
int ral_block_backward(const struct ral_stack *s, const struct ral_block *b,
                       const struct ral_layout *l, struct ral_kv *kv,
                       const struct ral_saved *saved,
                       const float *const *dpolicy, float *dx, float *grad,
                       struct ral_arena *a);

/**
 * The query weight's share of dpolicy alone, as ral_block_backward would add
 * it with no other gradient: dWq[heads*D][width] accumulated. For metrics.
 */
int ral_block_query_gradient(const struct ral_stack *s,
                             const struct ral_layout *l, struct ral_kv *kv,
                             const struct ral_saved *saved,
                             const float *const *dpolicy, float *dWq,
                             struct ral_arena *a);

/* y = x W^T + b (+ y), a linear of the model on N rows. */
void ral_linear_forward(const struct ral_model *m, struct ral_linear l,
                        size_t N, const float *x, size_t ldx, bool residual,
                        float *y, size_t ldy);
/* dW, db into grad; dx (+)= dy W unless dx is NULL. */
void ral_linear_backward(const struct ral_model *m, struct ral_linear l,
                         size_t N, const float *x, size_t ldx,
                         const float *dy, size_t lddy, bool add, float *dx,
                         size_t lddx, float *grad);

/* RMSNorm of N rows; r[N] keeps the reciprocal roots. */
void ral_norm_forward(const struct ral_model *m, int norm, float eps, size_t N,
                      const float *x, float *y, float *r);
/* dx += its gradient; the weight's into grad, in one order for any threads. */
int ral_norm_backward(const struct ral_model *m, int norm, size_t N,
                      const float *x, const float *r, const float *dy,
                      float *dx, float *grad, struct ral_arena *a);

#endif
