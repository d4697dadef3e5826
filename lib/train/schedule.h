/* lib/train/schedule.h - the learning rate of each optimiser step. */
#ifndef RAL_SCHEDULE_H
#define RAL_SCHEDULE_H

#include <stdint.h>

#include "base/err.h"

#define RAL_SCHEDULE_WORDS "constant|linear|cosine" // of enum ral_schedule
enum ral_schedule { RAL_CONSTANT, RAL_LINEAR, RAL_COSINE };

/**
 * The factor of the peak rate at optimiser step i (from 0) of steps: a ramp
 * (i+1)/warmup first, then 1, or down to 0 at step steps, in a line or half a
 * cosine. steps counts the warm-up; past it the factor stays 0.
 */
double ral_schedule_factor(enum ral_schedule how, uint64_t i, uint64_t warmup,
                           uint64_t steps);

/* Whether steps leaves room behind the warm-up; section names the settings. */
int ral_schedule_check(enum ral_schedule how, uint64_t warmup, uint64_t steps,
                       const char *section, struct ral_err *err);

#endif
