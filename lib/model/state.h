/* lib/model/state.h - a model in training. */
#ifndef RAL_STATE_H
#define RAL_STATE_H

#include "model/model.h"

/**
 * Weights (the model's params), gradient and moments, each one F32 array in
 * table order. Moments belong to a kind of training ("sft", "update",
 * "distill"): another kind starts with fresh ones and counts from 0.
 */
struct ral_state {
    struct ral_model *model;   // owned, trainable
    const char *kind;
    uint64_t step;             // batches done (SFT steps, rollout batches)
    uint64_t updates;          // optimiser steps done: t of AdamW
    uint64_t skipped;          // optimiser steps that had no gradient
    struct ral_mat grad, m, v; // [1][table.floats]
    struct ral_space space;
};

#endif
