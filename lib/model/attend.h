/* lib/model/attend.h - queries to what the keys' values give them. */
#ifndef RAL_ATTEND_H
#define RAL_ATTEND_H

#include "model/qkv.h"

/* Keys and values to the store, then o[M][H*D] and the rows looked at. */
void ral_attend_forward(const struct ral_stack *s, const struct ral_layout *l,
                        const struct ral_kv *kv, const struct ral_qkv *y,
                        const struct ral_look *look, struct ral_mat o);

/* dO and the gradients of rows looked at to dy (ral_qkv_zero). kv: scratch. */
void ral_attend_backward(const struct ral_stack *s, const struct ral_layout *l,
                         const struct ral_kv *kv, const struct ral_qkv *y,
                         const struct ral_look *dlook, struct ral_mat dO,
                         struct ral_qkv *dy);

#endif
