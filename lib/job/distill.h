/* lib/job/distill.h - a teacher on the student's rollouts, to a checkpoint. */
#ifndef RAL_JOB_DISTILL_H
#define RAL_JOB_DISTILL_H

#include "job/training.h"

struct ral_distill_job {
    struct ral_data_settings data;
    const char *cpu, *model, *teacher, *out;
    bool force, allow_stale;
    uint64_t max_record;
    double kd_coef, attn_coef;
    const char *attn_reduce;
    int64_t mini_batches, iterations, micro_tokens;
    struct ral_optim_settings optim;
};

#define RAL_DISTILL_JOB_INIT                                                   \
    {                                                                          \
        .kd_coef = 1, .attn_coef = 1, .attn_reduce = "token",                  \
        .mini_batches = 1, .iterations = 1, .optim = RAL_OPTIM_INIT(1e-6)      \
    }

#define RAL_DISTILL_SETTINGS(j)                                                \
    RAL_MODEL_SETTINGS, RAL_DATA_SETTINGS(&(j)->data),                         \
        RAL_SET_NUM("distill.kd_coef", &(j)->kd_coef, 0, 1e6),                 \
        RAL_SET_NUM("distill.attn_coef", &(j)->attn_coef, 0, 1e6),             \
        RAL_SET_WORD("distill.attn_reduce", &(j)->attn_reduce,                 \
                     "token|sequence|sum"),                                    \
        RAL_SET_INT("distill.num_mini_batches", &(j)->mini_batches, 1,         \
                    1 << 20),                                                  \
        RAL_SET_INT("distill.num_iterations", &(j)->iterations, 1, 1 << 20),   \
        RAL_SET_INT("distill.micro_batch_tokens", &(j)->micro_tokens, 0,       \
                    1 << 24),                                                  \
        RAL_OPTIM_SETTINGS("distill", &(j)->optim)

/* streams: rollouts of the student; none: stdin. */
int ral_distill_run(const struct ral_distill_job *job,
                    const struct ral_common *common, char *const *streams,
                    size_t n, const struct ral_log *log, struct ral_err *err);

#endif
