/* lib/stream/header.h - the first map of a stream: where it comes from. */
#ifndef RAL_HEADER_H
#define RAL_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "stream/edit.h"
#include "stream/item.h"

enum { RAL_STREAM_VERSION = 1, RAL_SHARDS_MAX = 1 << 20 };

/* man/ral-stream.5 gives each key's meaning. */
struct ral_stream_info {
    const char *policy; // digest of the sampling policy, hex
    // sampling
    double temperature, top_p; // as asked for; greedy ignores them
    uint64_t top_k, seed, step;
    uint64_t num_generations;       // G
    uint64_t max_completion_length; // tokens
    bool greedy;
    const char *media_root; // NULL: none
    // attn
    const int32_t *attn_layers; // [n_layers], counted from 0
    size_t n_layers;            // 0: no attention was recorded
    size_t n_heads;             // rows per layer and token; 0: their mean
    bool attn_f16;
    // vision, for those who map tokens to pixels; ids -1: none
    int32_t image_token_id, video_token_id;
    uint64_t patch_size, spatial_merge_size;
    uint64_t shard, shards; // 1 of 1: all
};

/* One program's entry in the header. */
struct ral_provenance {
    const char *program, *version;
    const char *const *args; // without the program's name
    size_t n_args;
    bool seeded;
    uint64_t seed; // if seeded
};

/* Appends the header map of a new stream. */
int ral_header_encode(struct ral_buf *out, const struct ral_stream_info *info,
                      const struct ral_provenance *who, struct ral_err *err);

/**
 * Appends the header of a filter's output: the old one with who appended to
 * its provenance, edits applied, every other key byte for byte. The reader
 * has merged the shards, so the shard becomes 1 of 1, unless keep_shard: the
 * reader was told to take one shard alone.
 */
int ral_header_derive(const struct ral_item *old, struct ral_buf *out,
                      const struct ral_provenance *who, struct ral_edits edits,
                      bool keep_shard, struct ral_err *err);

/* Reads and checks a header; texts and lists go to the arena. */
int ral_header_decode(struct ral_stream_info *info,
                      const struct ral_item *header, struct ral_arena *a,
                      struct ral_err *err);

#endif
