/* lib/cpu/blas.h - backward products by OpenBLAS, for those whose processors
 * it suits: the same bits for any number of threads, but only on one kind of
 * processor. Chosen by ral_nn_use_blas.
 */
#ifndef RAL_BLAS_H
#define RAL_BLAS_H

#include "cpu/matmul.h"

/* Turns the library's own threads off. Returns the name of its core. */
const char *ral_blas_start(void);

/* As ral_matmul_dx and ral_matmul_dw without db; w must be F32. */
void ral_blas_dx(const struct ral_nn *nn, const struct ral_cpu_weight *w, size_t M,
                 const float *dy, size_t lddy, bool add, float *dx,
                 size_t lddx);
void ral_blas_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                 const float *dy, size_t lddy, const float *x, size_t ldx,
                 float *dW);

#endif
