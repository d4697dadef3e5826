/* lib/cpu/attention.h - one attention, driven by a table of spans.
 *
 * Windowed vision, full vision, causal text, a prompt with G responses and
 * cached decoding differ only in their tables.
 */
#ifndef RAL_ATTENTION_H
#define RAL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* What attends to what, for the forward and the backward. */
struct ral_attn {
    struct ral_attn_shape s;
    const struct ral_cpu_kv *kv;
    const struct ral_span *spans;
    size_t nspans;
    const float *q; // [N][H*D] after rotary, rows ldq apart
    size_t ldq;
};

/**
 * Attention rows that are handed out. Row q of the queries starts at[q] numbers
 * into a plane (-1: not wanted) and has as many numbers as it sees keys, itself
 * included. each: one plane a head, in order; else one of the heads' mean.
 *
 *     each  out[h*plane + at[q] + j] = a^h_j = e_j * (1/l)
 *     mean  out[at[q] + j] = (sum over heads ascending of a^h_j) * (1/H)
 */
struct ral_attn_rows {
    const int64_t *at; // [N]
    size_t plane;      // numbers between planes
    bool each;
    float *out;
};

/**
 * o[N][H*D] = softmax(scale q k^T) v for every query row of the spans, rows ldo
 * apart.
 *
 * s = chain over D of (q*scale)*k; m = max; e = exp(s - m), 0 where masked;
 * l = 32-lane sum over j; o = chain over ascending j of e v, times 1/l.
 *
 * rows: NULL, or the attention rows to write. They never change o.
 */
void ral_attention(const struct ral_nn *nn, const struct ral_attn *a, float *o,
                   size_t ldo, const struct ral_attn_rows *rows);

/* Floats of scratch a thread needs for queries that see up to S keys. */
size_t ral_attention_scratch(const struct ral_attn_shape *s, size_t S);

/* The backward's arrays, rows ld apart; keys as packed rows (run.row). */
struct ral_attn_grads {
    const float *k, *v; // [rows][KV*D] after rotary
    size_t ldkv;
    const float *dO; // [N][H*D]
    size_t lddo;
    const struct ral_attn_rows *drows; // d loss / d each number, or NULL
    float *dq;                         // [N][H*D], written
    size_t lddq;
    float *dk, *dv; // [rows][KV*D], accumulated
    size_t lddkv;
};

enum { RAL_ATTN_CHUNK = 512 }; // queries of a chunk, see below

/**
 * Backward. drows, whose numbers are only read, joins the value path before the
 * softmax's backward: d loss / d a^h_j gains out[j] * (1/H) where rows are
 * means, and plane h's number where they are each head's.
 *
 * With a = e*(1/l) and da = chain over D of dO*v, plus drows:
 * t = da*a; ds = t - a * (32-lane sum of t over j);
 * dq = (chain over ascending j of ds*k) * scale;
 * dk = sum over queries and heads of ds*(q*scale), dv likewise of a*dO.
 * These sums are chains over ascending queries in the table's order, within a
 * query over the ascending heads that share the key. Spans that share key rows
 * are a range: the next begins at a span whose rows all follow those of the
 * spans before (where one reaches back behind its range, all are one range).
 * A range's queries are cut into chunks of RAL_ATTN_CHUNK from its first. The
 * first chunk's chain starts from what dk and dv hold, the others' from +0;
 * these are joined in order, one add each. Keys that a query of the chunk does
 * not see may enter as +0, so that the sign of a zero is not defined.
 *
 * Bits depend neither on threads nor on the kernels in use. Tasks are chunks.
 */
void ral_attention_backward(const struct ral_nn *nn, const struct ral_attn *a,
                            const struct ral_attn_grads *g);

/**
 * Floats of scratch that a thread needs for the backward of these spans: those
 * of ral_attention_scratch and, where a range has several chunks, one chunk's
 * dk and dv of one head, 2 D numbers for each key row of the range: a prompt of
 * 9,000 tokens with 8 responses of 500 takes 13 MB a thread where D is 128.
 */
size_t ral_attention_backward_scratch(const struct ral_attn *a);

#endif
