/* lib/prompt/rows.h - rows of a JSONL file: filtered, drawn, sharded. */
#ifndef RAL_ROWS_H
#define RAL_ROWS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ral_rows_conf {
    const char *path;          // NULL or "-": stdin
    const char *const *where;  // [nwhere] "key=v1,v2" or "key!=v1,v2"
    size_t nwhere;
    uint64_t draw, step, seed; // draw 0: all rows in order
    uint64_t shard, shards;    // the shard-th of shards parts, from 1; 0: all
    uint64_t limit;            // at most so many; 0: all
};

/* A row is valid until the next call; json is borrowed. */
struct ral_row {
    json_t *json;
    const char *id;   // the row's own, or 16 hexadecimal digits of its digest
    size_t line;
};

struct ral_rows;

/**
 * Reads the whole file once: every line must parse and carry messages, ids
 * must differ, and at least one row must pass where. A pipe is spooled to an
 * unlinked temporary file; only offsets stay in memory.
 *
 * Drawing: batch step (from 1) of draw rows, from a permutation of all rows
 * per epoch that depends on (seed, epoch) alone.
 */
int ral_rows_open(struct ral_rows **out, const struct ral_rows_conf *conf,
                  struct ral_err *err);
/* 1, 0 at the end, or negative. */
int ral_rows_next(struct ral_rows *r, struct ral_row *row,
                  struct ral_err *err);
/* Moves to another batch of the drawing: rows of step come next. */
void ral_rows_step(struct ral_rows *r, uint64_t step);
size_t ral_rows_count(const struct ral_rows *r); // that _next will give in all
size_t ral_rows_all(const struct ral_rows *r);   // that pass where
const char *ral_rows_name(const struct ral_rows *r);
void ral_rows_close(struct ral_rows *r);

#endif
