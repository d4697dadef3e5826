/* lib/cpu/attention.h - one attention, driven by a table of spans.
 *
 * Windowed vision, full vision, causal text, a prompt with G responses and
 * cached decoding differ only in their tables.
 */
#ifndef RAL_ATTENTION_H
#define RAL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "cpu/nn.h"
#include "nn/span.h"

/**
 * Keys and values by slot. K in panels of 32 slots [KV][slots/32][D][32], V as
 * [KV][slots][Dp] with Dp = D rounded up to 16 (padding zero). A run of
 * keys starts at a slot that is a multiple of 32.
 */
struct ral_cpu_kv {
    size_t KV, D, Dp, slots;
    float *k, *v;
};

int ral_kv_init(struct ral_cpu_kv *kv, struct ral_arena *a, size_t KV, size_t D,
                size_t slots);
/* Stores n rows (k, v: [n][ld], heads contiguous) at slot .. slot+n-1. */
void ral_kv_put(const struct ral_nn *nn, struct ral_cpu_kv *kv, size_t slot,
                size_t n, const float *k, const float *v, size_t ld);

/**
 * o[N][H*D] = softmax(scale q k^T) v for every query row of the spans.
 *
 * s = chain over D of (q*scale)*k; m = max; e = exp(s - m), 0 where masked;
 * l = 32-lane sum over j; o = chain over ascending j of e v, times 1/l.
 *
 * policy: NULL, or [N] pointers, NULL for rows not wanted: row q receives
 * alpha[j] = (sum over heads ascending of e_j * (1/l)) * (1/H), for all keys
 * that it sees, itself included. Never changes o.
 */
void ral_attention(const struct ral_nn *nn, const struct ral_attn_shape *s,
                   const struct ral_cpu_kv *kv, const struct ral_span *spans,
                   size_t nspans, const float *q, size_t ldq, float *o,
                   size_t ldo, float *const *policy);

/* Floats of scratch a thread needs for queries that see up to S keys. */
size_t ral_attention_scratch(const struct ral_attn_shape *s, size_t S);

/**
 * Backward. k, v: packed rows (run.row) of the keys, after rotary; dO as o.
 * dpolicy: as policy: gradients d loss / d alpha[j], over all keys seen, or
 * NULL; they join the value path before the softmax's backward.
 * dq is written; dk, dv are accumulated. [N][.] with the given strides.
 * Bits depend neither on threads nor on the kernels in use. Tasks are spans
 * that share no key rows with others: keep sharers together in the table.
 */
void ral_attention_backward(const struct ral_nn *nn,
                            const struct ral_attn_shape *s,
                            const struct ral_cpu_kv *kv,
                            const struct ral_span *spans, size_t nspans,
                            const float *q, size_t ldq, const float *k,
                            const float *v, size_t ldkv, const float *dO,
                            size_t ldo, const float *const *dpolicy, float *dq,
                            size_t lddq, float *dk, float *dv, size_t lddkv);

#endif
