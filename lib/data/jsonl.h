/* lib/data/jsonl.h - JSON texts, and files with one of them a line. */
#ifndef RAL_JSONL_H
#define RAL_JSONL_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

struct ral_lines;

/**
 * Opens a file of lines; path NULL or "-" is stdin. A line of more than
 * max_line bytes is an error when it is met, so memory stays bounded.
 */
int ral_lines_open(struct ral_lines **out, const char *path, size_t max_line,
                   struct ral_err *err);
/* The same for an open file; takes fd over. name is for messages. */
int ral_lines_open_fd(struct ral_lines **out, int fd, const char *name,
                      size_t max_line, struct ral_err *err);

/**
 * The next line that is not blank, without its line end (LF or CR LF), NUL
 * terminated, valid until the next call. A byte order mark before the first
 * line is skipped; the last line needs no line end.
 *
 * @return 1, 0 at the end, or negative; a record stream is refused by name.
 */
int ral_lines_next(struct ral_lines *l, const char **line, size_t *len,
                   struct ral_err *err);

/* Of the line last returned: its number, from 1, and its offset in bytes. */
size_t ral_lines_number(const struct ral_lines *l);
uint64_t ral_lines_offset(const struct ral_lines *l);

/* Goes to a line seen before, by its offset and number; not on a pipe. */
int ral_lines_seek(struct ral_lines *l, uint64_t offset, size_t number,
                   struct ral_err *err);

void ral_lines_close(struct ral_lines *l);

/**
 * One JSON value, RFC 8259, and nothing after it. Duplicate keys and more
 * than 64 levels are refused. where begins the message: "train.jsonl:12".
 *
 * @param out  a new reference; NULL on failure
 * @return 0, -RAL_EINVAL or -RAL_ENOMEM
 */
int ral_json_parse(json_t **out, const char *text, size_t len,
                   const char *where, struct ral_err *err);

/* The same for a whole file of up to 1 GiB. */
int ral_json_file(json_t **out, const char *path, struct ral_err *err);

#endif
