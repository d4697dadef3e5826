/* lib/cpu/machine.h - the operations (nn/ops.h) on processors. */
#ifndef RAL_MACHINE_H
#define RAL_MACHINE_H

#include "nn/ops.h"

/**
 * Opens the machine "cpu": views point to plain memory, operations are done
 * when they return.
 *
 * @param flags    instruction sets that may be used (base/cpu.h)
 * @param threads  0: as many as OpenMP would take
 * @return 0, or what ral_nn_init says; closed by ral_dev_close.
 */
int ral_cpu_open(struct ral_dev **out, unsigned flags, int threads,
                 struct ral_err *err);

/* Of this machine or a guard: gradient products by OpenBLAS from now on
 * (cpu/nn.h, ral_nn_use_blas). */
int ral_cpu_use_blas(struct ral_dev *d, struct ral_err *err);

#endif
