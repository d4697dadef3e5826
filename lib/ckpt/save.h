/* lib/ckpt/save.h - a model in training, from a checkpoint and into one. */
#ifndef RAL_CKPT_SAVE_H
#define RAL_CKPT_SAVE_H

#include "ckpt/open.h"
#include "model/state.h"

/* Opens a checkpoint to train on; ral/ is read if it is of this kind. */
int ral_state_open(struct ral_state *s, const char *dir, const char *kind,
                   struct ral_dev *dev, struct ral_err *err);
void ral_state_close(struct ral_state *s);

/**
 * Writes a whole checkpoint into an existing empty folder: weights, moments
 * and counts from s; the other files of from are hard-linked, copied where
 * links fail. Waits for the machine.
 */
int ral_state_save(struct ral_state *s, const char *from, const char *into,
                   struct ral_err *err);

/* Links or copies the regular files of from that are not weights. */
int ral_checkpoint_copy_files(const char *from, const char *into,
                              struct ral_err *err);

/* Writes a model's params (the host's, table order) as into/model.safetensors. */
int ral_checkpoint_weights(const struct ral_table *t, const float *params,
                           const char *into, struct ral_err *err);

/**
 * The checkpoint that a -m argument names: dir itself, or dir/latest when dir
 * is a run folder. *out is malloc'ed, NULL where it fails.
 */
int ral_checkpoint_resolve(char **out, const char *dir, struct ral_err *err);

#endif
