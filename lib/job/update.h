/* lib/job/update.h - a scored stream, or rows with replies, to a checkpoint. */
#ifndef RAL_JOB_UPDATE_H
#define RAL_JOB_UPDATE_H

#include "job/training.h"
#include "prompt/source.h"

struct ral_update_job {
    struct ral_data_settings data;
    const char *model, *out, *ref;
    const char *split; // of the recipe's rows, with sft; NULL: train
    bool force, allow_stale, sft;
    uint64_t max_record;
    int64_t steps; // SFT steps of this run
    int64_t micro_tokens;
    /* sft */
    int64_t batch_size;
    int sft_backward; // enum ral_backward
    struct ral_optim_settings sft_optim;
    /* update */
    double beta, epsilon, epsilon_high, attn_coef; // epsilon_high < 0: epsilon
    const char *loss_type, *attn_reduce;
    struct ral_attn_settings attn;
    int backward; // enum ral_backward
    int64_t mini_batches, iterations;
    struct ral_optim_settings optim;
};

#define RAL_UPDATE_SETTINGS(j)                                                 \
    RAL_SET_INT("sft.batch_size", &(j)->batch_size, 1, 1 << 20, 32,            \
                "rows of a step"),                                             \
        RAL_SET_INT("sft.eval_every", NULL, 1, 1 << 30, 0,                     \
                    "steps of a chunk of ral-train", .shown = "all at once"),  \
        RAL_SET_STR("sft.stop", NULL, "accuracy>=X ends SFT early"),           \
        RAL_SET_STR("sft.slow_at", NULL,                                       \
                    "accuracy>=X goes on at sft.slow_learning_rate"),          \
        RAL_SET_NUM("sft.slow_learning_rate", NULL, 0, 1, 0,                   \
                    "the rate after sft.slow_at", .shown = ""),                \
        RAL_BACKWARD_SETTING("sft", &(j)->sft_backward),                       \
        RAL_OPTIM_SETTINGS("sft", &(j)->sft_optim, 2e-5),                      \
        RAL_SET_NUM("update.beta", &(j)->beta, 0, 1e6, 0,                      \
                    "weight of the divergence from --ref"),                    \
        RAL_SET_NUM("update.epsilon", &(j)->epsilon, 0, 1e6, 0.2,              \
                    "the ratio is clipped at 1 - epsilon"),                    \
        RAL_SET_NUM("update.epsilon_high", &(j)->epsilon_high, 0, 1e6, -1,     \
                    "and at 1 + epsilon_high", .shown = "epsilon"),            \
        RAL_SET_WORD("update.loss_type", &(j)->loss_type, RAL_PG_WORDS,        \
                     "grpo", "the objective"),                                 \
        RAL_ATTN_TERM_SETTINGS("update", j),                                   \
        RAL_BATCH_SETTINGS("update", j, 4),                                    \
        RAL_BACKWARD_SETTING("update", &(j)->backward),                        \
        RAL_OPTIM_SETTINGS("update", &(j)->optim, 1e-6)

/* inputs: stream files, or with --sft one file of rows; none: stdin. */
int ral_update_run(const struct ral_update_job *job,
                   const struct ral_common *common, char *const *inputs,
                   size_t ninputs, const struct ral_log *log,
                   struct ral_err *err);

#endif
