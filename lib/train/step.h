/* lib/train/step.h - one optimiser step over packed groups. */
#ifndef RAL_STEP_H
#define RAL_STEP_H

#include <stdbool.h>

#include "base/arena.h"
#include "model/pack.h"
#include "nn/optim.h"
#include "rl/pg.h"
#include "rl/reduce.h"
#include "train/state.h"

struct ral_train_sample {
    const int32_t *ids; // [T]
    size_t T;
    const float *logp_old; // [T] at sampling; NULL for SFT
    const float *attn_old; // sum of P+t values, the policy's rows; or NULL
    float *logp_ref;       // [T] filled at first use; NULL: no reference
    bool have_ref;
    double advantage;
};

struct ral_train_group {
    const char *id;
    const int32_t *prompt; // [P]
    size_t P;
    size_t visual;         // visual tokens among them, to plan memory
    struct ral_train_sample *sample; // [G], logp_ref filled by the step
    size_t G;
    const void *source;    // what pictures needs to load its media
};

enum ral_task { RAL_TASK_SFT, RAL_TASK_RL, RAL_TASK_DISTILL };

/**
 * sft:     mean over tokens of -logp
 * rl:      policy gradient (rl/pg.h) + attn_coef * A * J
 * distill: kd_coef * reverse KL to the teacher + attn_coef * J to its rows
 */
struct ral_objective {
    enum ral_task task;
    struct ral_pg pg;
    float temperature;
    double attn_coef;
    enum ral_reduce attn_reduce;
    double kd_coef;
    const struct ral_model *ref;     // same sizes as the policy, or NULL
    const struct ral_model *teacher; // distill
    double max_grad_norm;
    struct ral_adamw adamw;          // lr: of this step
    size_t micro_tokens;             // most tokens of a micro-batch; 0: 4096
    /* Pictures of a group, from the arena; of the teacher's when teacher. */
    int (*pictures)(void *ctx, const struct ral_train_group *g, bool teacher,
                    struct ral_visual **out, size_t *n, struct ral_arena *a,
                    struct ral_err *err);
    void *ctx;
};

/* Sums over the step, for metrics. */
struct ral_step_stats {
    double loss;              // of the whole objective
    struct ral_pg_sums pg;
    double nats;              // sum of -logp over response tokens
    double entropy;           // sum over response tokens, nats
    double attn_loss;         // attn_coef * its term
    double jsd;               // sum of J over rows, nats
    size_t attn_rows, attn_skipped;
    double kd;                // sum of the teacher's divergence, nats
    double grad_norm;         // before clipping
    double attn_share;        // |attention term| / |rest| of the last W_q
    size_t tokens;            // all that went through the decoder
    size_t response_tokens, samples, groups;
    bool skipped;             // no gradient: all advantages 0, no other term
};

/**
 * Forward, loss, backward over micro-batches; clip; AdamW; panels again. The
 * loss's denominators are counted over all groups first, so micro-batches
 * change nothing beyond rounding. A gradient that is not finite fails and
 * names its tensor; weights and moments are then as before.
 */
int ral_train_step(struct ral_state *s, const struct ral_objective *o,
                   const struct ral_train_group *const *g, size_t n,
                   struct ral_step_stats *stats, struct ral_arena *a,
                   struct ral_err *err);

/* The same without the update: the gradient is left in s->grad. */
int ral_train_gradient(struct ral_state *s, const struct ral_objective *o,
                       const struct ral_train_group *const *g, size_t n,
                       struct ral_step_stats *stats, struct ral_arena *a,
                       struct ral_err *err);

#endif
