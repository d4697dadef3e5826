/* lib/ckpt/open.h - a checkpoint's weights to a machine. */
#ifndef RAL_CKPT_OPEN_H
#define RAL_CKPT_OPEN_H

#include "model/model.h"

/**
 * Opens a checkpoint folder: config.json and model*.safetensors, under the
 * older or the newer tensor names. Missing, surplus or misshapen tensors and
 * numbers that are not finite are refused by name. trainable needs fp32.
 * dev is borrowed.
 */
int ral_model_open(struct ral_model **out, const char *dir,
                   struct ral_dev *dev, bool trainable, struct ral_err *err);
void ral_model_close(struct ral_model *m);

#endif
