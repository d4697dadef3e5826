/* lib/base/file.h - files and pipes: whole reads, atomic output, signals. */
#ifndef RAL_FILE_H
#define RAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/**
 * SIGHUP, SIGINT and SIGTERM are blocked, unless ignored, for the whole process by ral_signals_block
 * (called once by cmd/, before threads start) and only looked at here: a
 * waiting read or write returns -RAL_EINTR, long loops ask ral_stopped().
 * So no code is ever interrupted half-way, and clean-up is the error path.
 */
void ral_signals_block(void);
bool ral_stopped(void);
/* Sets "interrupted by SIGTERM" and returns -RAL_EINTR. */
int ral_stop_err(struct ral_err *err);

/* One read: bytes read, 0 at the end, or negative. name is for messages. */
ptrdiff_t ral_read_some(int fd, void *buf, size_t n, const char *name,
                        struct ral_err *err);
/**
 * The first bytes of what fd will give, at most n, which stay to be read: of a
 * file, a pipe or a socket; else none. Waits for them; as ral_read_some.
 */
ptrdiff_t ral_peek(int fd, void *buf, size_t n, struct ral_err *err);
int ral_write_all(int fd, const void *buf, size_t n, const char *name,
                  struct ral_err *err);

/**
 * Opens for reading: a descriptor, or negative. A pipe without a writer does
 * not hold us here, where no signal could end the wait, but in the first read.
 */
int ral_open_read(const char *path, struct ral_err *err);

/* The whole of a regular file or pipe; refused over max bytes. NUL follows. */
int ral_file_read(const char *path, size_t max, struct ral_buf *out,
                  struct ral_err *err);

/* A read-only mapping of a regular file. An empty file maps to len 0. */
struct ral_map {
    const uint8_t *data;
    size_t len;
};
int ral_map_open(struct ral_map *m, const char *path, struct ral_err *err);
void ral_map_close(struct ral_map *m);

/**
 * Output that appears whole or not at all: a temporary sibling that _finish
 * syncs and renames. NULL or "-" is stdout; an existing pipe, device or
 * socket is written straight through.
 */
struct ral_out {
    int fd;
    char *path, *tmp; // tmp NULL when straight through
};
int ral_out_open(struct ral_out *o, const char *path, struct ral_err *err);
int ral_out_finish(struct ral_out *o, struct ral_err *err);
void ral_out_abort(struct ral_out *o);

/**
 * The same for a folder: open makes the temporary sibling folder tmp, finish
 * syncs every file in it and renames it to path. An existing path is refused
 * unless force and it holds a file named mark (NULL: any folder): then both are
 * exchanged in one rename and the old one is removed.
 */
struct ral_outdir {
    char *path, *tmp;
    bool force;
};
int ral_outdir_open(struct ral_outdir *o, const char *path, bool force,
                    const char *mark, struct ral_err *err);
int ral_outdir_finish(struct ral_outdir *o, struct ral_err *err);
void ral_outdir_abort(struct ral_outdir *o);

/* Removes a folder and what is in it, without following links. */
int ral_remove_tree(const char *path, struct ral_err *err);

/**
 * A file to write and read back, in TMPDIR, that has no name and is gone when
 * it is closed: a descriptor, or negative.
 */
int ral_spool_open(struct ral_err *err);

/* malloc'ed "dir/name" (name alone if absolute or dir NULL or ""), or NULL. */
char *ral_path_join(const char *dir, const char *name);
/* malloc'ed folder part of path: "a/b" of "a/b/c", "." of "c". */
char *ral_path_dir(const char *path);

#endif
