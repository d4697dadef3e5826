/* lib/text/tokenizer.h - byte-level BPE from a Hugging Face tokenizer.json. */
#ifndef RAL_TOKENIZER_H
#define RAL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "text/ids.h"

struct ral_tokenizer; // read-only once open; may be shared by threads

/**
 * Loads a tokenizer.json of the Qwen2 kind: NFC, the family's splitting
 * expression, byte-level BPE, added tokens. A setting that would need
 * anything else is refused by name, never passed over: ids are exactly those
 * of the tokenizers library.
 */
int ral_tokenizer_open(struct ral_tokenizer **out, const char *path,
                       struct ral_err *err);
void ral_tokenizer_close(struct ral_tokenizer *t);

/**
 * Appends the ids of text[len] (no token is put before or after it). Added
 * tokens are cut out of the raw text first, special ones too: text that may
 * not contain them must be checked before, as ral_template_render does.
 *
 * @return 0, or -RAL_EINVAL for invalid UTF-8 (the message has the offset) or
 *         2 GiB and more; out->n is unchanged then.
 */
int ral_tokenizer_encode(const struct ral_tokenizer *t, const char *text,
                         size_t len, struct ral_ids *out, struct ral_err *err);

/**
 * Appends the text of ids[n]: valid UTF-8, U+FFFD for every maximal part that
 * is not. Ids without text (rows of padding, negative, too large) give
 * nothing; neither do special tokens if skip_special.
 */
int ral_tokenizer_decode(const struct ral_tokenizer *t, const int32_t *ids,
                         size_t n, bool skip_special, struct ral_buf *out);

/* The id of the token whose text is exactly this, added ones first; or -1. */
int32_t ral_tokenizer_id(const struct ral_tokenizer *t, const char *text);
size_t ral_tokenizer_size(const struct ral_tokenizer *t); // highest id + 1

#endif
