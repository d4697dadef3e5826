/* lib/nn/normal.h - normal numbers, the same on every machine. */
#ifndef RAL_NORMAL_H
#define RAL_NORMAL_H

#include "base/rng.h"
#include "nn/exact.h"

/* Mean 0, variance 1: G. E. P. Box, M. E. Muller, 1958. Fresh weights are made
 * of them, so log and cos are our own. */
static inline double ral_rng_normal(struct ral_rng *r)
{
    const double u = 1.0 - ral_rng_uniform(r); // (0, 1]
    const double v = ral_rng_uniform(r);

    return sqrt(-2.0 * ral_log_d(u)) * ral_cos_d(6.283185307179586477 * v);
}

#endif
