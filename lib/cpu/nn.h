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
    float *scratch;        // one region a thread
    size_t scratch_stride; // floats
};

/**
 * Chooses kernels (cpu: flags of base/cpu.h), turns the BLAS's own threads
 * off, allocates scratch and runs a known-answer check of every kernel and of
 * the BLAS (small integers, exact in any order), refusing with the core's
 * name when one is wrong. threads 0: as many as OpenMP would take.
 */
int ral_nn_init(struct ral_nn *nn, unsigned cpu, int threads,
                struct ral_err *err);
void ral_nn_release(struct ral_nn *nn);

/**
 * Makes every thread's scratch at least floats long; its content is lost.
 * Products need RAL_NN_SCRATCH, which init provides; attention over long
 * sequences needs more (ral_attention_scratch).
 */
int ral_nn_reserve(struct ral_nn *nn, size_t floats, struct ral_err *err);

enum { RAL_NN_SCRATCH = 1 << 18 };

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

/* The BLAS library's core and build, for --version: a constant text. */
const char *ral_nn_blas(void);

#endif
