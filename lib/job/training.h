/* lib/job/training.h - what the programs that write checkpoints share. */
#ifndef RAL_JOB_TRAINING_H
#define RAL_JOB_TRAINING_H

#include "job/common.h"
#include "ckpt/policy.h"
#include "train/held.h"
#include "train/schedule.h"
#include "train/step.h"

/* The optimiser's settings, of one section of a recipe. */
struct ral_optim_settings {
    double learning_rate, weight_decay, max_grad_norm;
    double beta1, beta2, epsilon;
    int schedule; // enum ral_schedule
    int64_t warmup_steps, max_steps; // of the optimiser; 0: not given
};

#define RAL_OPTIM_SETTINGS(section, o, rate)                                   \
    RAL_SET_NUM(section ".learning_rate", &(o)->learning_rate, 0, 1, rate,     \
                "AdamW's peak rate"),                                          \
        RAL_SET_NUM(section ".weight_decay", &(o)->weight_decay, 0, 10, 0,     \
                    "of matrices; norms and biases do not decay"),             \
        RAL_SET_NUM(section ".max_grad_norm", &(o)->max_grad_norm, 0, 1e9, 1,  \
                    "longer gradients are cut to this; 0: none"),              \
        RAL_SET_NUM(section ".adam_beta1", &(o)->beta1, 0, 0.999999, 0.9,      \
                    "decay of the mean gradient"),                             \
        RAL_SET_NUM(section ".adam_beta2", &(o)->beta2, 0, 0.999999, 0.999,    \
                    "decay of the mean square"),                               \
        RAL_SET_NUM(section ".adam_epsilon", &(o)->epsilon, 1e-30, 1, 1e-8,    \
                    "added to the root of the mean square"),                   \
        RAL_SET_ENUM(section ".lr_scheduler_type", &(o)->schedule,             \
                     RAL_SCHEDULE_WORDS, RAL_CONSTANT,                         \
                     "the rate after the ramp"),                               \
        RAL_SET_INT(section ".warmup_steps", &(o)->warmup_steps, 0, 1 << 30,   \
                    0, "optimiser steps of the ramp"),                         \
        RAL_SET_INT(section ".max_steps", &(o)->max_steps, 0, 1 << 30, 0,      \
                    "optimiser step at which a falling rate is 0")

/* How a stream becomes optimiser steps; j: struct ral_update_job and others. */
#define RAL_BATCH_SETTINGS(section, j, parts)                                  \
    RAL_SET_INT(section ".num_mini_batches", &(j)->mini_batches, 1, 1 << 20,   \
                parts, "optimiser steps of a pass over the stream"),           \
        RAL_SET_INT(section ".num_iterations", &(j)->iterations, 1, 1 << 20,   \
                    1, "passes over the stream"),                              \
        RAL_SET_INT(section ".micro_batch_tokens", &(j)->micro_tokens, 0,      \
                    1 << 24, 4096, "most tokens in memory at once")

/* The attention term. */
#define RAL_ATTN_TERM_SETTINGS(section, j)                                     \
    RAL_SET_NUM(section ".attn_coef", &(j)->attn_coef, 0, 1e6, 1,              \
                "weight of the attention term; 0: without"),                   \
        RAL_SET_WORD(section ".attn_reduce", &(j)->attn_reduce,                \
                     RAL_REDUCE_WORDS, "token",                                \
                     "what the attention term is a mean of"),                  \
        RAL_ATTN_SETTINGS(section, &(j)->attn, NULL, NULL)

#define RAL_BACKWARD_WORDS "exact|blas" // names of enum ral_backward
enum ral_backward {
    RAL_BACKWARD_EXACT, // by chains of our own: the same bits everywhere
    RAL_BACKWARD_BLAS,  // by OpenBLAS: those of one kind of processor
};

#define RAL_BACKWARD_SETTING(section, d)                                       \
    RAL_SET_ENUM(section ".backward", d, RAL_BACKWARD_WORDS,                   \
                 RAL_BACKWARD_EXACT, "how gradient products are computed")

/* The machine that the options name; backward: enum ral_backward. */
struct ral_machine_conf ral_job_machine(const struct ral_common *c,
                                        int backward);
/* It, its kernels and the BLAS, for -V. */
int ral_machine_about(const struct ral_common *c, struct ral_buf *out);
/* The layers and heads that the settings name, of this model. */
int ral_job_look(const struct ral_attn_settings *a, const struct ral_model *m,
                 struct ral_look_conf *look, struct ral_err *err);

/* A schedule that falls needs max_steps. 0 or -RAL_EUSAGE. */
#define RAL_OPTIM_CHECK(section, o, err)                                       \
    ral_schedule_check((enum ral_schedule)(o)->schedule,                       \
                       (uint64_t)(o)->warmup_steps, (uint64_t)(o)->max_steps,  \
                       section, err)
/* AdamW with the rate of the state's next optimiser step. */
struct ral_adamw ral_optim_now(const struct ral_optim_settings *o,
                               const struct ral_state *s);

/* An -o DIR that may be written; tried before the work begins. */
int ral_training_out_check(const char *out, bool force, struct ral_err *err);
/* Writes the checkpoint out, whole or not at all. */
int ral_training_save(struct ral_policy *p, const char *out, bool force,
                      const char *recipe, struct ral_err *err);

/* The metrics of one optimiser step and more (taken over; may be NULL); a new
 * object, or NULL. */
json_t *ral_training_metrics(const char *program, const struct ral_state *s,
                             const struct ral_step_stats *t, double lr,
                             double seconds, json_t *more);

/* A measurement for people: "-" where it was not made. */
const char *ral_measured(const struct ral_step_stats *t, const char *name,
                         char text[32]);

#endif
