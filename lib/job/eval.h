/* lib/job/eval.h - answers to rows, or those of a stream, measured. */
#ifndef RAL_JOB_EVAL_H
#define RAL_JOB_EVAL_H

#include "job/common.h"
#include "prompt/source.h"
#include "reward/rules.h"

struct ral_eval_job {
    struct ral_data_settings data;
    const char *model;  // a checkpoint or a run folder; NULL: of a stream
    const char *metric; // a rule of reward/rules.h
    const char *out, *rows; // results, NULL: stdout; answers, NULL: none
    const char *split;      // of the recipe's rows; NULL: test
    const char *baseline, *baseline_rows; // results and answers before
    double max_drop; // or RAL_UNASKED
    int64_t limit, max_tokens;
    int64_t batch;     // prompts decoded together; 0: by their size
    double max_failed; // RAL_UNASKED: 0.1, and more is the data's fault
    uint64_t max_record;
};

#define RAL_EVAL_SETTINGS(j)                                                   \
    RAL_SET_INT("eval.every", NULL, 1, 1 << 30, 0,                             \
                "validation accuracy after every such step of ral-train",      \
                .shown = "never"),                                             \
        RAL_SET_WORD("eval.metric", &(j)->metric, RAL_RULE_METRICS,            \
                     "accuracy", "the rule that tells whether an answer is "   \
                     "right"),                                                 \
        RAL_SET_INT("eval.max_completion_length", &(j)->max_tokens, 1,         \
                    1 << 20, 256, "longest response",                          \
                    RAL_AS(0, "max-tokens", "N"))

/**
 * inputs: one file of rows, or streams; none or "-" is stdin. What they are is
 * told by their first bytes. Results are one JSON object (man/ral-eval.1).
 */
int ral_eval_run(const struct ral_eval_job *job,
                 const struct ral_common *common, char *const *inputs,
                 size_t ninputs, const struct ral_log *log,
                 struct ral_err *err);

#endif
