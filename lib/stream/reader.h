/* lib/stream/reader.h - read record streams, one or several in a row. */
#ifndef RAL_READER_H
#define RAL_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "stream/header.h"
#include "stream/item.h"

struct ral_reader;

enum { RAL_RECORD_MAX = 1 << 30 }; // bytes of a decoded record by default

/**
 * Opens a stream and reads its header.
 *
 * @param fd          borrowed; name is for messages and is copied
 * @param max_record  bytes of a decoded item, refused above; 0: RAL_RECORD_MAX
 */
int ral_reader_open(struct ral_reader **out, int fd, const char *name,
                    size_t max_record, struct ral_err *err);

/**
 * The same for files, read one after the other as if concatenated; "-" or
 * no file at all is stdin. path[n] must outlive the reader.
 */
int ral_reader_open_files(struct ral_reader **out, char *const *path, size_t n,
                          size_t max_record, struct ral_err *err);

/**
 * Without this, all shards must come. With it one shard alone will do too, for
 * those who look into a part, or filter it before all are joined.
 */
void ral_reader_allow_part(struct ral_reader *r);
/* At the end: whether it was one shard alone (keep_shard of header.h). */
bool ral_reader_is_part(const struct ral_reader *r);

/* Of the first segment; those of later ones agree in what matters. */
const struct ral_item *ral_reader_header(const struct ral_reader *r);
const struct ral_stream_info *ral_reader_info(const struct ral_reader *r);

/**
 * The next record: its bytes and its tree lie in the arena, which the caller
 * resets when done with the record. item->raw is the record as it was stored.
 *
 * @return 1; 0 at the clean end of everything: every segment had its end
 *         mark, counts and sums agree, no shard is missing; negative
 *         otherwise, and from then on. A consumer must read on to 0 before it
 *         trusts what it read.
 */
int ral_reader_next(struct ral_reader *r, struct ral_arena *a,
                    struct ral_item **rec, struct ral_err *err);

/* Records so far. */
uint64_t ral_reader_count(const struct ral_reader *r);
/* The input that is being read, for messages. */
const char *ral_reader_name(const struct ral_reader *r);

void ral_reader_close(struct ral_reader *r);

/* Whether the first bytes of an input are those of a stream (4 suffice). */
bool ral_stream_magic(const uint8_t *p, size_t n);

#endif
