/* lib/ckpt/policy.h - a checkpoint with all that it takes to run it. */
#ifndef RAL_CKPT_POLICY_H
#define RAL_CKPT_POLICY_H

#include "ckpt/save.h"
#include "prompt/prompt.h"

/* Which machine, and how much of it. */
struct ral_machine_conf {
    const char *device; // "cpu", "guard"; NULL: cpu
    const char *cpu;    // caps its kernels: "c", "avx2", "avx512"; NULL: all
    int64_t threads;    // 0: as many as there are processors
    bool blas;          // gradient products by OpenBLAS
};

int ral_machine_open(struct ral_dev **out, const struct ral_machine_conf *conf,
                     struct ral_err *err);

struct ral_policy {
    char *dir;               // resolved from -m
    char digest[33];
    struct ral_dev *dev;     // borrowed
    struct ral_model *model; // owned unless it belongs to state
    struct ral_processor processor;
    struct ral_state state;  // of a policy opened for training
};

/**
 * dir: a checkpoint or a run folder. kind NULL: to run; else to train ("sft",
 * "update", "distill"; model/state.h).
 */
int ral_policy_open(struct ral_policy *p, const char *dir, struct ral_dev *dev,
                    const char *kind, const struct ral_prompt_conf *prompts,
                    struct ral_err *err);
void ral_policy_close(struct ral_policy *p);

#endif
