/* lib/train/batch.h - groups to train on, and one micro-batch of them. */
#ifndef RAL_BATCH_H
#define RAL_BATCH_H

#include "model/forward.h"
#include "rl/reduce.h"

struct ral_train_sample {
    const int32_t *ids; // [T]
    size_t T;
    const float *logp_old; // [T] at sampling; NULL for SFT
    /* Attention rows at sampling, without self and renormalised: plane by
     * plane (model/forward.h), P+t numbers for each token t; or NULL. */
    const float *attn_old;
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
    const void *source;    // what loads its media (train/step.h)
};

/**
 * Groups packed, and what is known of each response token: arrays of the host
 * in order of group, sample, position [R], or planes of attention rows.
 */
struct ral_micro {
    const struct ral_train_group *const *g; // [n]
    size_t n;
    const struct ral_total *total; // of the whole step
    struct ral_pack pack;
    float *logp, *entropy, *dlogp; // [R]; dlogp gains gradients
    /* [planes][pack.look[R]], self included; NULL where no term needs them. */
    size_t planes;
    float *alpha, *dalpha;
    const float *teacher_alpha;    // as alpha, by the teacher
    double *kl_weight;             // [R] of the teacher's KL; NULL: no term
    float *kl_nats;                // [R] known after the backward of the head
    struct ral_arena *a;
};

#endif
