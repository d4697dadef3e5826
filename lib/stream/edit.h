/* lib/stream/edit.h - copies of a map with some keys replaced. */
#ifndef RAL_EDIT_H
#define RAL_EDIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/item.h"

enum ral_edit_type {
    RAL_EDIT_RAW,  // raw[raw_len]: one encoded item
    RAL_EDIT_F64,  // num
    RAL_EDIT_TEXT, // text, NUL-terminated
    RAL_EDIT_DROP, // the key goes, if it is there
};

struct ral_edit {
    const char *key;
    enum ral_edit_type type;
    const uint8_t *raw;
    size_t raw_len;
    double num;
    const char *text;
};

struct ral_edits {
    const struct ral_edit *edit; // keys differ
    size_t n;
};

/**
 * Appends a copy of a map: a key that an edit names is replaced in its place,
 * new keys come last in the order of the edits, everything else is copied
 * byte for byte. So the same edits applied twice change nothing.
 */
int ral_map_replace(struct ral_buf *out, const struct ral_item *map,
                    struct ral_edits edits, struct ral_err *err);

/**
 * The same for a record: top edits its own keys, sample[i] (NULL: none) those
 * of samples[i]. n_samples must be the number of samples.
 */
int ral_record_replace(struct ral_buf *out, const struct ral_item *rec,
                       struct ral_edits top, const struct ral_edits *sample,
                       size_t n_samples, struct ral_err *err);

#endif
