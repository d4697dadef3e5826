/* lib/train/schedule.c - the learning rate of each optimiser step. */
#include "train/schedule.h"

#include "nn/exact.h"

double ral_schedule_factor(enum ral_schedule how, uint64_t i, uint64_t warmup,
                           uint64_t steps)
{
    double done;

    if (i < warmup)
        return (double)(i + 1) / (double)warmup;
    if (how == RAL_CONSTANT)
        return 1;
    if (i >= steps)
        return 0;
    done = (double)(i - warmup) / (double)(steps - warmup);
    if (how == RAL_LINEAR)
        return 1 - done;
    return 0.5 * (1 + ral_cos_d(3.14159265358979323846 * done));
}

int ral_schedule_check(enum ral_schedule how, uint64_t warmup, uint64_t steps,
                       const char *section, struct ral_err *err)
{
    if (how == RAL_CONSTANT || steps > warmup)
        return 0;
    return ral_err_set(err, -RAL_EUSAGE,
                       "%s.lr_scheduler_type other than constant needs "
                       "%s.max_steps over warmup_steps",
                       section, section);
}
