/* lib/job/update.h - a scored stream, or rows with replies, to a checkpoint. */
#ifndef RAL_JOB_UPDATE_H
#define RAL_JOB_UPDATE_H

#include "job/training.h"
#include "prompt/source.h"

struct ral_update_job {
    struct ral_data_settings data;
    const char *cpu, *model, *out, *ref;
    const char *split; // of the recipe's rows, with sft; NULL: train
    bool force, allow_stale, sft;
    uint64_t max_record;
    int64_t steps; // SFT steps of this run
    int64_t micro_tokens;
    /* sft */
    int64_t batch_size;
    struct ral_optim_settings sft_optim;
    /* update */
    double beta, epsilon, epsilon_high, attn_coef; // epsilon_high < 0: epsilon
    const char *loss_type, *attn_reduce;
    int64_t mini_batches, iterations;
    struct ral_optim_settings optim;
};

#define RAL_UPDATE_JOB_INIT                                                    \
    {                                                                          \
        .steps = 1, .batch_size = 32, .sft_optim = RAL_OPTIM_INIT(2e-5),       \
        .epsilon = 0.2, .epsilon_high = -1, .attn_coef = 1,                    \
        .loss_type = "grpo", .attn_reduce = "token", .mini_batches = 4,        \
        .iterations = 1, .optim = RAL_OPTIM_INIT(1e-6)                         \
    }

#define RAL_UPDATE_SETTINGS(j)                                                 \
    RAL_MODEL_SETTINGS, RAL_DATA_SETTINGS(&(j)->data),                         \
        RAL_SET_INT("sft.batch_size", &(j)->batch_size, 1, 1 << 20),           \
        RAL_SET_INT("sft.eval_every", NULL, 1, 1 << 30),                       \
        RAL_SET_STR("sft.stop", NULL), RAL_SET_STR("sft.slow_at", NULL),       \
        RAL_SET_NUM("sft.slow_learning_rate", NULL, 0, 1),                     \
        RAL_OPTIM_SETTINGS("sft", &(j)->sft_optim),                            \
        RAL_SET_NUM("update.beta", &(j)->beta, 0, 1e6),                        \
        RAL_SET_NUM("update.epsilon", &(j)->epsilon, 0, 1e6),                  \
        RAL_SET_NUM("update.epsilon_high", &(j)->epsilon_high, 0, 1e6),        \
        RAL_SET_NUM("update.attn_coef", &(j)->attn_coef, 0, 1e6),              \
        RAL_SET_WORD("update.attn_reduce", &(j)->attn_reduce,                  \
                     "token|sequence|sum"),                                    \
        RAL_SET_WORD("update.loss_type", &(j)->loss_type, "grpo"),             \
        RAL_SET_INT("update.num_mini_batches", &(j)->mini_batches, 1, 1 << 20), \
        RAL_SET_INT("update.num_iterations", &(j)->iterations, 1, 1 << 20),    \
        RAL_SET_INT("update.micro_batch_tokens", &(j)->micro_tokens, 0,        \
                    1 << 24),                                                  \
        RAL_OPTIM_SETTINGS("update", &(j)->optim)

/* inputs: stream files, or with --sft one file of rows; none: stdin. */
int ral_update_run(const struct ral_update_job *job,
                   const struct ral_common *common, char *const *inputs,
                   size_t ninputs, const struct ral_log *log,
                   struct ral_err *err);

#endif
