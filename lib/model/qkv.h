/* lib/model/qkv.h - rows to queries, keys and values, turned by position. */
#ifndef RAL_QKV_H
#define RAL_QKV_H

#include "model/model.h"

/* N rows give keys and values, M of them ask (struct ral_layout). */
struct ral_qkv {
    struct ral_mat q;    // [M][H*D]
    struct ral_mat k, v; // [N][KV*D]
    struct ral_mat all;  // [N][(H+2 KV)*D] that holds the three when one
                         // product makes them; else none
};

struct ral_qkv_tape {
    struct ral_mat h;  // [N][C] what went in
    struct ral_mat hq; // [M][C] of it, the rows that ask
    struct ral_qkv y;  // after rotary
};

void ral_qkv_forward(const struct ral_stack *s, const struct ral_block *b,
                     const struct ral_layout *l, struct ral_mat h,
                     struct ral_qkv_tape *t, struct ral_space *a);

/* Room for gradients: those of keys and values zero. */
struct ral_qkv ral_qkv_zero(const struct ral_stack *s,
                            const struct ral_layout *l, struct ral_space *a);

/* dh[N][C] is written; dy is turned back in place. */
void ral_qkv_backward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_layout *l, const struct ral_qkv_tape *t,
                      struct ral_qkv dy, struct ral_mat dh,
                      struct ral_mat grad, struct ral_space *a);

/* Gradients of queries and keys, back from their angles. */
void ral_qkv_turn_back(const struct ral_stack *s, const struct ral_layout *l,
                       struct ral_qkv dy);

#endif
