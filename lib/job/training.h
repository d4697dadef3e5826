/* lib/job/training.h - what the programs that write checkpoints share. */
#ifndef RAL_JOB_TRAINING_H
#define RAL_JOB_TRAINING_H

#include "job/common.h"
#include "job/policy.h"
#include "stream/reader.h"
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

/* A schedule that falls needs max_steps. 0 or -RAL_EUSAGE. */
#define RAL_OPTIM_CHECK(section, o, err)                                       \
    ral_schedule_check((enum ral_schedule)(o)->schedule,                       \
                       (uint64_t)(o)->warmup_steps, (uint64_t)(o)->max_steps,  \
                       section, err)
/* AdamW with the rate of the state's next optimiser step. */
struct ral_adamw ral_optim_now(const struct ral_optim_settings *o,
                               const struct ral_state *s);

/* All groups of a stream, copied out of it. */
struct ral_held {
    struct ral_train_group *group; // [n]; source is a struct ral_held_media
    size_t n, failed;              // usable groups; records that failed
    struct ral_stream_info info;
    const char *root;              // of media paths
    double reward;                 // mean over samples; NaN: none scored
    struct ral_arena arena;
};

struct ral_held_media {
    struct ral_media_ref *ref; // path, digest and grid
    size_t n;
};

struct ral_held_conf {
    size_t max_record;
    const char *media_root; // NULL: the header's
    const char *digest;     // of the policy that must have sampled; NULL: any
    size_t layers;          // of that policy: attn must be of its last
    bool advantages;        // samples must carry them
    bool attention;         // attention rows must be there
    bool reference;         // make room for logp_ref
};

/* Reads to the end mark; files none: stdin. */
int ral_held_read(struct ral_held *h, const struct ral_held_conf *conf,
                  char *const *files, size_t nfiles, struct ral_err *err);
void ral_held_release(struct ral_held *h);

/**
 * iterations passes over all groups, each in parts optimiser steps (at most
 * one a group): update is called with the groups of each, and its number from
 * 1 of all. Progress is shown on log.
 */
int ral_held_updates(const struct ral_held *h, size_t parts, size_t iterations,
                     uint64_t seed, const struct ral_log *log,
                     int (*update)(void *ctx,
                                   const struct ral_train_group *const *g,
                                   size_t n, size_t number, size_t of),
                     void *ctx, struct ral_err *err);

/* A held group's pictures, decoded again for one micro-batch. */
int ral_held_pictures(const struct ral_held *h, const struct ral_processor *p,
                      const struct ral_train_group *g,
                      struct ral_visual **out, size_t *n, struct ral_arena *a,
                      struct ral_err *err);

/* An -o DIR that may be written; tried before the work begins. */
int ral_training_out_check(const char *out, bool force, struct ral_err *err);
/* Writes the checkpoint out, whole or not at all. */
int ral_training_save(const struct ral_policy *p, const char *out, bool force,
                      const char *recipe, struct ral_err *err);

/* Of the attention term, for ral_training_metrics. */
json_t *ral_attention_metrics(const struct ral_step_stats *t);

/* The metrics of one optimiser step and more (taken over; may be NULL); a new
 * object, or NULL. */
json_t *ral_training_metrics(const char *program, const struct ral_state *s,
                             const struct ral_step_stats *t, double lr,
                             double seconds, json_t *more);

#endif
