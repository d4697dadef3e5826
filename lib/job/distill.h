/* lib/job/distill.h - a teacher on the student's rollouts, to a checkpoint. */
#ifndef RAL_JOB_DISTILL_H
#define RAL_JOB_DISTILL_H

#include "job/training.h"
#include "prompt/source.h"

struct ral_distill_job {
    struct ral_data_settings data;
    const char *model, *teacher, *out;
    bool force, allow_stale;
    uint64_t max_record;
    double kd_coef, attn_coef;
    const char *attn_reduce;
    struct ral_attn_settings attn;
    int backward; // enum ral_backward
    int64_t mini_batches, iterations, micro_tokens;
    struct ral_optim_settings optim;
};

#define RAL_DISTILL_SETTINGS(j)                                                \
    RAL_SET_NUM("distill.kd_coef", &(j)->kd_coef, 0, 1e6, 1,                   \
                "weight of the divergence of tokens"),                         \
        RAL_ATTN_TERM_SETTINGS("distill", j),                                  \
        RAL_BATCH_SETTINGS("distill", j, 1),                                   \
        RAL_BACKWARD_SETTING("distill", &(j)->backward),                       \
        RAL_OPTIM_SETTINGS("distill", &(j)->optim, 1e-6)

/* streams: rollouts of the student; none: stdin. */
int ral_distill_run(const struct ral_distill_job *job,
                    const struct ral_common *common, char *const *streams,
                    size_t n, const struct ral_log *log, struct ral_err *err);

#endif
