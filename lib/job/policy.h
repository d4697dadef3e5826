/* lib/job/policy.h - a checkpoint with all that it takes to run it. */
#ifndef RAL_JOB_POLICY_H
#define RAL_JOB_POLICY_H

#include "job/common.h"
#include "model/model.h"
#include "model/pack.h"
#include "prompt/prompt.h"
#include "train/state.h"

struct ral_policy {
    char *dir;               // resolved from -m
    char digest[33];
    struct ral_nn nn;
    struct ral_model *model; // owned unless it belongs to state
    struct ral_processor processor;
    struct ral_state state;  // of a policy opened for training
};

/**
 * dir: a checkpoint or a run folder. cpu: getenv("RAL_CPU"). kind NULL: to
 * run; else to train ("sft", "update", "distill"; train/state.h).
 */
int ral_policy_open(struct ral_policy *p, const char *dir, const char *cpu,
                    int64_t threads, const char *kind,
                    const struct ral_prompt_conf *prompts,
                    struct ral_err *err);
void ral_policy_close(struct ral_policy *p);

/* The prompt settings of data.*. */
struct ral_prompt_conf ral_data_prompts(const struct ral_data_settings *d);

/* The kernels and the BLAS in use, for -V; cpu: RAL_CPU or NULL. */
int ral_policy_about(const char *cpu, struct ral_buf *out);

#endif
