/* lib/train/held.h - a stream's groups, held to be trained on. */
#ifndef RAL_HELD_H
#define RAL_HELD_H

#include "base/log.h"
#include "prompt/prompt.h"
#include "stream/reader.h"
#include "train/batch.h"

/* All groups of a stream, copied out of it. */
struct ral_held {
    struct ral_train_group *group; // [n]; source is a struct ral_held_media
    size_t n, failed;              // usable groups; records that failed
    struct ral_stream_info info;
    const char *root;              // of media paths
    double reward;                 // mean over samples; NaN: none scored
    struct ral_arena arena;
};

struct ral_held_media {
    struct ral_media_ref *ref; // path, digest and grid
    size_t n;
};

struct ral_held_conf {
    size_t max_record;
    const char *media_root; // NULL: the header's
    const char *digest;     // of the policy that must have sampled; NULL: any
    const struct ral_look_conf *look; // attention rows that samples must hold;
                                      // NULL: none
    size_t heads;           // of the policy
    bool advantages;        // samples must carry them
    bool reference;         // make room for logp_ref
};

/* Reads to the end mark; files none: stdin. */
int ral_held_read(struct ral_held *h, const struct ral_held_conf *conf,
                  char *const *files, size_t nfiles, struct ral_err *err);
void ral_held_release(struct ral_held *h);

/**
 * iterations passes over all groups, each in parts optimiser steps (at most
 * one a group): update is called with the groups of each, and its number from
 * 1 of all. Progress is shown on log.
 */
int ral_held_updates(const struct ral_held *h, size_t parts, size_t iterations,
                     uint64_t seed, const struct ral_log *log,
                     int (*update)(void *ctx,
                                   const struct ral_train_group *const *g,
                                   size_t n, size_t number, size_t of),
                     void *ctx, struct ral_err *err);

/* A held group's visuals, decoded again for one micro-batch. */
int ral_held_visuals(const struct ral_held *h, const struct ral_processor *p,
                     const struct ral_train_group *g,
                     const struct ral_visual **out, size_t *n,
                     struct ral_arena *a, struct ral_err *err);

#endif
