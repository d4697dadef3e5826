/* lib/stream/json.h - between CBOR items and JSON. */
#ifndef RAL_STREAM_JSON_H
#define RAL_STREAM_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "stream/item.h"

enum {
    RAL_JSON_FULL = 1, // with attn arrays, and bytes as base64
};

/**
 * A new value, or NULL when out of memory. Typed arrays become arrays,
 * integers over INT64_MAX reals, NaN and infinities null. Unless FULL, arrays
 * of floats under the key attn and pairs whose value is bytes are left out.
 */
json_t *ral_item_json(const struct ral_item *it, unsigned flags);

/**
 * Appends the value, keys in their order: integers as integers, reals as f64,
 * so that ral_item_json gives back an equal value.
 * @return 0 or b's failure: -RAL_ENOMEM, or -RAL_EINVAL when nested over 24
 *         deep; b then holds a part of the value, see ral_buf_cut.
 */
int ral_cbor_json(struct ral_buf *b, const json_t *v);

/**
 * Appends the item as one line of JSON without its newline, by the rules of
 * ral_item_json. Floats keep their bits: f32 with 9 significant digits, f64
 * with the fewest of 15 to 17 that suffice; integers of 64 bits are exact.
 */
int ral_item_print(struct ral_buf *b, const struct ral_item *it,
                   unsigned flags);

#endif
