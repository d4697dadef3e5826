/* lib/ckpt/digest.h - one number that names a policy. */
#ifndef RAL_DIGEST_H
#define RAL_DIGEST_H

#include "base/err.h"

/**
 * XXH3-128, 32 hexadecimal digits, over the tensors sorted by name (name,
 * dtype, rank, shape, bytes; sharding does not matter), then config.json,
 * preprocessor_config.json and tokenizer.json, each with its length.
 *
 * Of large checkpoints the result is kept in ral/digest.json with the size,
 * time and inode of every file, and believed as long as they stay.
 */
int ral_policy_digest(const char *dir, char hex[33], struct ral_err *err);

#endif
