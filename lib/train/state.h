/* lib/train/state.h - a model in training, and its checkpoints. */
#ifndef RAL_STATE_H
#define RAL_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/model.h"

/**
 * Weights (the model's params), gradient and moments, each one fp32 arena in
 * table order. Moments belong to a kind of training ("sft", "update",
 * "distill"): another kind starts with fresh ones and counts from 0.
 */
struct ral_state {
    struct ral_model *model; // owned, trainable
    const char *kind;
    uint64_t step;           // batches done (SFT steps, rollout batches)
    uint64_t updates;        // optimiser steps done: t of AdamW
    uint64_t skipped;        // optimiser steps that had no gradient
    float *grad, *m, *v;     // [table.floats]
    struct ral_arena arena;
};

/* Opens a checkpoint to train on; ral/ is read if it is of this kind. */
int ral_state_open(struct ral_state *s, const char *dir, const char *kind,
                   struct ral_nn *nn, struct ral_err *err);
void ral_state_close(struct ral_state *s);

/**
 * Writes a whole checkpoint into an existing empty folder: weights, moments
 * and counts from s; the other files of from are hard-linked, copied where
 * links fail.
 */
int ral_state_save(const struct ral_state *s, const char *from,
                   const char *into, struct ral_err *err);

/* Links or copies the regular files of from that are not weights. */
int ral_checkpoint_copy_files(const char *from, const char *into,
                              struct ral_err *err);

/* Writes a model's params (table order) as into/model.safetensors. */
int ral_checkpoint_weights(const struct ral_table *t, const float *params,
                           const char *into, struct ral_err *err);

/**
 * The checkpoint that a -m argument names: dir itself, or dir/latest when dir
 * is a run folder. *out is malloc'ed, NULL on failure.
 */
int ral_checkpoint_resolve(char **out, const char *dir, struct ral_err *err);

#endif
