/* lib/cpu/guard.h - a machine that proves that no one else does its work. */
#ifndef RAL_GUARD_H
#define RAL_GUARD_H

#include "nn/ops.h"

/**
 * Opens the machine "guard": the processors' operations, queued and done when
 * something is got or waited for, over memory that nothing else can read. Its
 * views point into pages without access; the numbers lie at a distance that
 * operations alone know. So the bits are those of "cpu", and a host that
 * looks at a view, or expects a result too early, does not get far. Slower,
 * and each put is held twice until it is done: for tests.
 *
 * Arguments and result as ral_cpu_open's.
 */
int ral_guard_open(struct ral_dev **out, unsigned flags, int threads,
                   struct ral_err *err);

#endif
