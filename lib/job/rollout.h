/* lib/job/rollout.h - rows in, a stream of sampled groups out. */
#ifndef RAL_JOB_ROLLOUT_H
#define RAL_JOB_ROLLOUT_H

#include "job/common.h"
#include "prompt/source.h"

struct ral_rollout_job {
    struct ral_data_settings data;
    const char *model; // a checkpoint or a run folder
    const char *out;   // NULL: stdout
    const char *shard; // "k/n"; NULL: all
    const char *split; // of the recipe's rows; NULL: train
    int64_t samples;   // G, of each prompt
    int64_t draw, step, limit;
    int64_t batch; // prompts decoded together; 0: by their size
    bool given;
    double temperature, top_p;
    int64_t top_k, max_tokens;
    struct ral_attn_settings attn;
    double max_failed; // RAL_UNASKED: 0.1, and more is the data's fault
    const char *const *args; // for the provenance
    size_t n_args;
};

#define RAL_ROLLOUT_SETTINGS(j)                                                \
    RAL_SET_INT("rollout.num_generations", &(j)->samples, 1, 4096, 8,          \
                "responses per prompt", RAL_AS('n', "samples", "N")),          \
        RAL_SET_INT("rollout.batch_size", NULL, 1, 1 << 24, 32,                \
                    "prompts of a step of ral-train"),                         \
        RAL_SET_NUM("rollout.temperature", &(j)->temperature, 1e-6, 100, 1,    \
                    "0 is greedy", .zero = true,                               \
                    RAL_AS(0, "temperature", "T")),                            \
        RAL_SET_NUM("rollout.top_p", &(j)->top_p, 1e-6, 1, 1,                  \
                    "least set of tokens that reaches P",                      \
                    RAL_AS(0, "top-p", "P")),                                  \
        RAL_SET_INT("rollout.top_k", &(j)->top_k, 0, 1 << 24, 0,               \
                    "the K likeliest tokens; 0: all",                          \
                    RAL_AS(0, "top-k", "K")),                                  \
        RAL_SET_INT("rollout.max_completion_length", &(j)->max_tokens, 1,      \
                    1 << 20, 256, "longest response",                          \
                    RAL_AS(0, "max-tokens", "N")),                             \
        RAL_ATTN_SETTINGS("rollout", &(j)->attn, "attn-layers", "attn-heads")

/* rows: one file of rows at most; none or "-" is stdin. */
int ral_rollout_run(const struct ral_rollout_job *job,
                    const struct ral_common *common, char *const *rows,
                    size_t nrows, const struct ral_log *log,
                    struct ral_err *err);

#endif
