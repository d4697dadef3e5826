/* lib/job/optim_check.c - apart from the code that trains, for ral-view. */
#include "job/training.h"

int ral_optim_check(const struct ral_optim_settings *o, const char *section,
                    struct ral_err *err)
{
    if (o->schedule != RAL_CONSTANT && o->max_steps <= o->warmup_steps)
        return ral_err_set(err, -RAL_EUSAGE,
                           "%s.lr_scheduler_type other than constant needs "
                           "%s.max_steps over warmup_steps",
                           section, section);
    return 0;
}
