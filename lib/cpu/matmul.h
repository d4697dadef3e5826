/* lib/cpu/matmul.h - products of activations with stored weights. */
#ifndef RAL_MATMUL_H
#define RAL_MATMUL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "cpu/nn.h"

/**
 * A weight is a view [N][K] row-major of stored numbers (F32, F16 or BF16,
 * not necessarily aligned). panels, when not NULL, holds it as fp32 panels
 * [ceil(N/32)][K][32], zero padded; else panels are made on the fly, block
 * by block, in thread scratch.
 */
struct ral_cpu_weight {
    const char *name;
    enum ral_dtype dtype;
    size_t N, K;
    const void *data;
    float *panels;
};

size_t ral_weight_panel_floats(const struct ral_cpu_weight *w);
/* Fills w->panels (allocated by the caller) from w->data. */
void ral_weight_pack(const struct ral_nn *nn, struct ral_cpu_weight *w);

/**
 * y[M][N] = x[M][K] W^T (+ bias[N]) (+ y itself when residual).
 * The chain over k first, then bias, then residual: one add each.
 * Bits depend on neither M, threads nor panels.
 */
void ral_matmul(const struct ral_nn *nn, const struct ral_cpu_weight *w, size_t M,
                const float *x, size_t ldx, const float *bias, bool residual,
                float *y, size_t ldy);

enum { RAL_CHUNK = 512 }; // rows of one chain of a weight's gradient

/**
 * Backward, each element by chains of its own:
 *   dx[M][K] (+)= dy[M][N] W: one chain over ascending n from +0, then one add
 *   where it accumulates (add).
 *   dW[N][K] += dy^T x: rows in chunks of RAL_CHUNK counted from row 0, each
 *   one chain over ascending rows from +0; their sums are added in order.
 *   db[N] (may be NULL): the same chunks, plain adds.
 * Bits depend on neither threads, kernels, ld nor alignment. After
 * ral_nn_use_blas dx and dW are OpenBLAS's (w must then be F32).
 */
void ral_matmul_dx(const struct ral_nn *nn, const struct ral_cpu_weight *w,
                   size_t M, const float *dy, size_t lddy, bool add, float *dx,
                   size_t lddx);
void ral_matmul_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                   const float *dy, size_t lddy, const float *x, size_t ldx,
                   float *dW, float *db);

#endif
