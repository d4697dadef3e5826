/* lib/train/terms.h - the terms that an objective is a list of.
 *
 * A term looks at one micro-batch, adds its gradients to those of
 * log-probabilities and attention rows, and reports its loss; what it measured
 * goes to the metrics by name. Where sums go, in which order and over what, is
 * the step's business (train/step.h). A new objective is one more type here, or
 * for another surrogate of log-probabilities a row of the table in rl/pg.c.
 *
 * J is the Jensen-Shannon divergence of two attention rows without self,
 * renormalised (rl/attn_policy.h, rl/attn_div.h); A the sample's advantage.
 */
#ifndef RAL_TERMS_H
#define RAL_TERMS_H

#include "rl/pg.h"
#include "train/batch.h"
#include "train/metrics.h"

enum ral_needs {
    RAL_NEEDS_OLD = 1,       // log-probabilities at sampling
    RAL_NEEDS_ATTENTION = 2, // rows of the layers looked at
    RAL_NEEDS_REFERENCE = 4, // its log-probabilities
    RAL_NEEDS_TEACHER = 8,   // its forward on the same tokens
};

struct ral_term;

struct ral_term_type {
    const char *name;
    unsigned needs;
    /* Whether the group can have a gradient from it. */
    bool (*pulls)(const struct ral_term *t, const struct ral_train_group *g);
    /* Its loss on the micro-batch, gradients added. */
    int (*loss)(const struct ral_term *t, struct ral_micro *mb, double *loss,
                struct ral_metrics_set *m, struct ral_err *err);
    /* What is known only after the head's backward; or NULL. */
    void (*after)(const struct ral_term *t, struct ral_micro *mb, double *loss,
                  struct ral_metrics_set *m);
};

struct ral_term {
    const struct ral_term_type *type;
    double coef;
    enum ral_reduce reduce; // of attention
    struct ral_pg pg;       // of policy_gradient
};

/**
 * cross_entropy      mean over tokens of -logp
 * policy_gradient    rl/pg.h, by the sample's advantage
 * reference_kl       coef * k3 to the reference (rl/kl.h), reduced as pg.type
 * attention          coef * A * J to the rows at sampling, mean over planes
 * teacher_kl         coef * mean over tokens of the reverse KL to the teacher
 * teacher_attention  coef * J to the teacher's rows, no advantage
 */
extern const struct ral_term_type ral_term_cross_entropy,
    ral_term_policy_gradient, ral_term_reference_kl, ral_term_attention,
    ral_term_teacher_kl, ral_term_teacher_attention;

#endif
