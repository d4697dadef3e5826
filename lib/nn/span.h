/* lib/nn/span.h - which queries see which keys, and where keys are kept.
 *
 * Windowed vision, full vision, causal text, a prompt with G responses and
 * cached decoding differ only in their tables of spans.
 */
#ifndef RAL_SPAN_H
#define RAL_SPAN_H

#include "nn/mat.h"

enum { RAL_PANEL = 32 }; // slots of a panel of keys, columns of one of weights

struct ral_attn_shape {
    size_t H, KV, D; // query heads, key/value heads (H % KV == 0), head size
    float scale;     // D^-1/2
};

/* Consecutive keys: in the store, and as rows of k and v. A run starts at a
 * slot that is a multiple of RAL_PANEL. */
struct ral_run {
    size_t slot, row, n;
};

/* Slots that a run of n keys takes, as the next must start at a panel. */
static inline size_t ral_run_slots(size_t n)
{
    return (n + RAL_PANEL - 1) / RAL_PANEL * RAL_PANEL;
}

/**
 * nq query rows q0 .. see all of run a (a shared prefix; may be empty), then
 * run b: all of it, or causally: query i of the span sees the first
 * b.n - nq + 1 + i keys of b. The key index j of the exact forward counts a
 * from 0, then b, whatever the slots. Spans that share run a should be
 * neighbours in the table: they are computed in common tiles.
 */
struct ral_span {
    size_t q0, nq;
    struct ral_run a, b;
    bool causal;
};

/* A table of spans as the machine has it. */
struct ral_spans {
    struct ral_mat table; // U8 [n][sizeof(struct ral_span)]
    size_t keys;          // the most that a query sees
};

struct ral_spans ral_spans_put(struct ral_space *s, const struct ral_span *span,
                               size_t n);
/* U8 [n][sizeof(struct ral_run)] */
struct ral_mat ral_runs_put(struct ral_space *s, const struct ral_run *run,
                            size_t n);

/**
 * Keys and values by slot. K in panels of 32 slots [KV][slots/32][D][32], V as
 * [KV][slots][Dp] with Dp = D rounded up to 16 (padding zero).
 */
struct ral_kv {
    size_t KV, D, Dp, slots;
    struct ral_mat k, v; // [1][all]
};

struct ral_kv ral_kv_new(struct ral_space *s, size_t KV, size_t D,
                         size_t slots);

/**
 * Attention rows that are handed out, or their gradients: row q of the queries
 * has as many numbers as it sees keys, itself included, from at[q] on in a
 * plane; -1: it is not wanted. One plane of the mean over heads, or one a
 * head.
 */
struct ral_look {
    struct ral_mat at;     // I64 [1][queries]; none: no rows are wanted
    struct ral_mat planes; // F32 [1, or H when each][numbers of a plane]
    bool each;
};

#endif
