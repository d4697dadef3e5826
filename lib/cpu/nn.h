/* lib/cpu/nn.h - what every kernel call needs: a table and a thread count. */
#ifndef RAL_NN_H
#define RAL_NN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cpu/kernels.h"

/* Set up once, then read only. Results never depend on threads. */
struct ral_nn {
    struct ral_kernels k;
    int threads;
    bool blas;             // OpenBLAS computes a backward's products
    float *scratch;        // one region a thread
    size_t scratch_stride; // floats
};

/**
 * Chooses kernels (cpu: flags of base/cpu.h), allocates scratch and runs a
 * known-answer check of every kernel (small integers, exact in any order),
 * refusing with the path's name when one is wrong. threads 0: as many as
 * OpenMP would take. Backward products are exact: our own.
 */
int ral_nn_init(struct ral_nn *nn, unsigned cpu, int threads,
                struct ral_err *err);
void ral_nn_release(struct ral_nn *nn);

/**
 * From now on OpenBLAS computes the products of backward passes: the same
 * bits for any number of threads, on one kind of processor. Turns its own
 * threads off, and checks it as above: old builds have computed wrong results
 * on new processors.
 * @return 0, or -RAL_EINVAL with the core's name; products stay exact.
 */
int ral_nn_use_blas(struct ral_nn *nn, struct ral_err *err);

/**
 * Makes every thread's scratch at least floats long; its content is lost.
 * Products need RAL_NN_SCRATCH, which init provides; attention over long
 * sequences needs more (ral_attention_scratch).
 */
int ral_nn_reserve(struct ral_nn *nn, size_t floats, struct ral_err *err);

enum {
    RAL_NN_SCRATCH = 3 << 19,
    RAL_NN_FREE = 1 << 18, // multiply-adds that are not worth a second thread
};

/**
 * One thread stays out of libgomp, which allocates a team even for it: loops
 * that may be small stand in a function of a range and are called twice over,
 * whole or in pieces. Teams are always of nn->threads: libgomp ends the
 * threads that a smaller team leaves over.
 */
static inline bool ral_nn_serial(const struct ral_nn *nn, size_t work,
                                 size_t most)
{
    return nn->threads == 1 || work <= most;
}

#endif
