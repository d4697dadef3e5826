/* lib/stream/fields.h - what a row says about its question: the one reader. */
#ifndef RAL_FIELDS_H
#define RAL_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "stream/item.h"

/**
 * The fields of a row that programs look at, whether it stands in a record of
 * a stream or in a file of rows. What a row does not have is NULL or 0.
 */
struct ral_fields {
    const struct ral_item *row; // all of it: ral_item_get(row, key)
    const char *answer;         // answer_len bytes; NULL: none, or no text
    size_t answer_len;
    const char *const *choice; // [choices], NUL-terminated
    size_t choices;            // 0 unless all of them are texts
    const char *category, *cluster; // a text, or a whole number as text
};

/**
 * Reads a row, or a record, which holds its row's fields. The row's bytes must
 * outlive f; lists and numbers lie in the arena.
 * @return 0, -RAL_EINVAL for a choice that holds a NUL byte, or -RAL_ENOMEM
 */
int ral_fields_read(struct ral_fields *f, const struct ral_item *row,
                    struct ral_arena *a, struct ral_err *err);

/**
 * The same for a row of a file: its CBOR is made in the arena, as a stream
 * would hold it, so that there is one reading.
 * @return as ral_fields_read; -RAL_EINVAL also for one nested over 24 deep
 */
int ral_fields_json(struct ral_fields *f, const json_t *row,
                    struct ral_arena *a, struct ral_err *err);

/* A box of evidence in a picture's pixels; right and lower edge excluded. */
struct ral_box {
    size_t medium; // counted from 0
    double x0, y0, x1, y1;
};

enum { RAL_BOXES_MAX = 4096 }; // of a row

/**
 * The row's boxes: a list of [x0,y0,x1,y1], which belong to the first medium,
 * or {"media":k,"box":[x0,y0,x1,y1]}. No list, null or an empty one: *n is 0.
 * That the medium exists and the box lies in it is for those to check who know
 * the media.
 * @return 0, or -RAL_EINVAL for a box without extent or of another form
 */
int ral_fields_boxes(const struct ral_fields *f, struct ral_box **box,
                     size_t *n, struct ral_arena *a, struct ral_err *err);

#endif
