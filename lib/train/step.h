/* lib/train/step.h - one optimiser step over packed groups. */
#ifndef RAL_STEP_H
#define RAL_STEP_H

#include "model/state.h"
#include "train/optim.h"
#include "train/terms.h"

enum { RAL_TERMS = 8 };

struct ral_objective {
    struct ral_term term[RAL_TERMS];
    size_t terms;
    float temperature;               // of the log-probabilities
    struct ral_look_conf look;       // attention rows of the terms
    struct ral_look_conf teacher_look;
    const struct ral_model *ref;     // same sizes as the policy, or NULL
    const struct ral_model *teacher; // or NULL
    double max_grad_norm;            // 0: never clipped
    struct ral_adamw adamw;          // lr: of this step
    size_t micro_tokens;             // most tokens of a micro-batch; 0: 4096
    /* Visuals of a group, from the arena; of the teacher's when teacher. */
    int (*visuals)(void *ctx, const struct ral_train_group *g, bool teacher,
                   const struct ral_visual **out, size_t *n,
                   struct ral_arena *a, struct ral_err *err);
    void *ctx;
};

/* The settings that a type leaves are zero. */
struct ral_term *ral_objective_add(struct ral_objective *o,
                                   const struct ral_term_type *type,
                                   double coef);

struct ral_step_stats {
    double loss;      // of the whole objective
    double grad_norm; // before clipping
    size_t tokens;    // all that went through the decoder
    size_t response_tokens, samples, groups; // that had a part
    size_t flat_groups; // that could pull nothing and were left out
    bool skipped;     // no group could pull: no update
    /* nll, entropy, attn_share and what the terms measured. */
    struct ral_metrics_set metrics;
};

/**
 * Forward, loss, backward over micro-batches; clip; AdamW; weights packed
 * again. The loss's denominators are counted over all groups first, so
 * micro-batches change nothing beyond rounding. Groups that no term pulls are
 * left out before they are packed. A gradient that is not finite fails and
 * names its tensor; weights and moments are then as before.
 */
int ral_train_step(struct ral_state *s, const struct ral_objective *o,
                   const struct ral_train_group *const *g, size_t n,
                   struct ral_step_stats *stats, struct ral_space *a,
                   struct ral_err *err);

/* The same without the update: the gradient is left in s->grad. */
int ral_train_gradient(struct ral_state *s, const struct ral_objective *o,
                       const struct ral_train_group *const *g, size_t n,
                       struct ral_step_stats *stats, struct ral_space *a,
                       struct ral_err *err);

#endif
