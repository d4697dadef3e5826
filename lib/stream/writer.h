/* lib/stream/writer.h - write a record stream. */
#ifndef RAL_WRITER_H
#define RAL_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ral_writer;

/**
 * One header, records, one end map; each a zstd frame, written at once, so
 * that the next program in a pipe sees a record as soon as it is there.
 *
 * @param fd    borrowed; name is for messages and is copied
 * @param level of zstd, 1 to 19; 0: its default. Attention barely shrinks, so
 *              1 is as good as any for whole streams.
 */
int ral_writer_open(struct ral_writer **out, int fd, const char *name,
                    int level, struct ral_err *err);
/* One header map, once and first: ral_header_encode or ral_header_derive. */
int ral_writer_header(struct ral_writer *w, const uint8_t *cbor, size_t n,
                      struct ral_err *err);
/* One record map, whose first key is id. */
int ral_writer_put(struct ral_writer *w, const uint8_t *cbor, size_t n,
                   struct ral_err *err);
/* Writes the end map and frees w, also when it fails. */
int ral_writer_finish(struct ral_writer *w, struct ral_err *err);
/* Frees w, or NULL; what was written stays without its end mark. */
void ral_writer_abort(struct ral_writer *w);

#endif
