/* lib/stream/group.h - a record: one prompt with its samples. */
#ifndef RAL_GROUP_H
#define RAL_GROUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "stream/header.h"
#include "stream/item.h"

enum ral_finish {
    RAL_FINISH_STOP,   // the end-of-turn token came
    RAL_FINISH_LENGTH, // max_completion_length did
};

/* One image or video of the prompt. */
struct ral_media_ref {
    const char *path;   // relative to the header's media_root, or absolute
    const char *digest; // XXH3-128 of the file's bytes, 32 hex digits
    bool video;
    uint32_t grid[3];       // t, h, w: patches before they are merged
    uint32_t width, height; // pixels as displayed, before resizing
    double seconds;         // per step of grid t; 0 for an image
    const uint8_t *bytes;   // the file itself when embedded, or NULL
    size_t n_bytes;
};

struct ral_sample {
    const int32_t *ids; // [T], the last is the end-of-turn token if STOP
    size_t T;
    const char *text; // text_len bytes, not NUL-terminated
    size_t text_len;
    const int32_t *ends; // [T], bytes of text after token t; NULL: unknown
    enum ral_finish finish;
    const float *logp; // [T]; NULL: not recorded
    const float *attn; // [attn_n] = layers x heads x sum(P + t); NULL
    size_t attn_n;
    // read only, of ral_group_decode:
    bool scored; // has reward
    bool has_advantage;
    double reward, advantage;
    const char *status, *error; // "ok" or "failed"; why, or NULL
    const struct ral_item *item;
};

struct ral_group {
    const char *id;
    const struct ral_item *messages;       // or NULL
    const struct ral_item *media;          // the list, or NULL
    const struct ral_media_ref *media_ref; // [n_media], the same, checked
    size_t n_media;
    const int32_t *prompt_ids; // [P], with visual placeholders expanded
    size_t P;
    const char *answer;         // NULL: none, or no text
    struct ral_sample *samples; // [G]
    size_t G;
    bool ok;                     // status is "ok"
    const char *status, *error;  // as of a sample
    const struct ral_item *item; // the whole record
};

/**
 * Typed view of a record; every length is checked against every other.
 * Misaligned arrays are copied to the arena, all else points into the record.
 * A record that is not ok may lack prompt_ids and samples; one that is ok has
 * P >= 1, G >= 1 and T >= 1. Token ids are only known to be >= 0. NaN and
 * infinity in logp, attn, reward or advantage are refused. Messages name the
 * record and the sample.
 *
 * @param info  the header's, for the size of attn; NULL: only divisibility
 */
int ral_group_decode(struct ral_group *g, const struct ral_stream_info *info,
                     const struct ral_item *rec, struct ral_arena *a,
                     struct ral_err *err);

/**
 * The token whose bytes hold byte number at of the text: the first that ends
 * after it. T when ends is unknown or the text is shorter.
 */
size_t ral_sample_token(const struct ral_sample *s, size_t at);

/* Values of attn for one layer and head: t = 0 .. T-1 has P + t. */
int ral_attn_count(size_t P, size_t T, size_t *n);

/* Which of the recorded attention. */
struct ral_attn_of {
    int64_t layer; // as the model numbers it; < 0: from the list's end, -1 last
    int64_t head;  // < 0: the mean over the heads
};
#define RAL_ATTN_LAST ((struct ral_attn_of){-1, -1})

/* Where a layer, as in ral_attn_of, stands in the header's list; or -1. */
int ral_attn_find(const struct ral_stream_info *info, int64_t layer);

/**
 * The recorded policy of response token t: p[P + t]. A stream knows the layers
 * that were recorded, not how many the model has: -1 is the last of its list.
 * Where each head was recorded, their mean counts all alike; a recorded mean
 * weighs them by their attention off self, which the stream does not hold.
 *
 * @return 0; -RAL_EINVAL where no attention was recorded; -RAL_EUSAGE for a
 *         layer or head that was not: err says which were
 */
int ral_attn_row(const struct ral_stream_info *info, size_t P,
                 const struct ral_sample *s, size_t t, struct ral_attn_of of,
                 double *p, struct ral_err *err);

/* What ral_group_encode writes. */
struct ral_group_parts {
    const char *id;
    const json_t *row; // its fields but id travel along; reserved ones refused
    const struct ral_media_ref *media;
    size_t n_media;
    const int32_t *prompt_ids;
    size_t P;
    const struct ral_sample *samples; // all but what is read only
    size_t G;
    bool attn_f16;
    const char *error; // NULL: status ok; else status failed and why
};

/* Appends the record map. Text that is not UTF-8 gets U+FFFD; ids rule. */
int ral_group_encode(struct ral_buf *b, const struct ral_group_parts *p,
                     struct ral_err *err);

#endif
