/* lib/data/safetensors.h - named tensors in mapped files. */
#ifndef RAL_SAFETENSORS_H
#define RAL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/err.h"
#include "base/file.h"

enum { RAL_ST_RANK_MAX = 8 };

/* A view into the mapping; data may be misaligned for its dtype. */
struct ral_st_tensor {
    const char *name;
    enum ral_dtype dtype;
    size_t rank; // 0: one element
    size_t shape[RAL_ST_RANK_MAX];
    const void *data;
    size_t nbytes;
};

struct ral_st_file {
    char *path;
    struct ral_map map;
};

struct ral_safetensors {
    struct ral_st_tensor *tensor; // sorted by name
    size_t n;
    struct ral_st_file *file; // the shards, in order of their names
    size_t nfiles;
    char *index; // path of the index; NULL without one
    struct ral_arena arena;
};

/**
 * Opens dir/model.safetensors or, where there is none, the shards that
 * dir/model.safetensors.index.json names, and of those the tensors that it
 * maps. Nothing in a file is believed: header size, JSON, names, dtypes,
 * shapes and offsets are checked before a tensor is handed out, its values
 * are not (they may be NaN). A file must not shrink while it is open.
 */
int ral_safetensors_open(struct ral_safetensors **out, const char *dir,
                         struct ral_err *err);
int ral_safetensors_open_file(struct ral_safetensors **out, const char *path,
                              struct ral_err *err);
void ral_safetensors_close(struct ral_safetensors *st);

/* NULL when there is none of that name. */
const struct ral_st_tensor *
ral_safetensors_find(const struct ral_safetensors *st, const char *name);

/**
 * Writes a new file (an existing one is refused): tensors by falling element
 * size, then name, so that the data of all are aligned. Names must be unique
 * UTF-8 and sizes agree with shapes. Syncing and renaming are the caller's.
 */
int ral_safetensors_write(const char *path, const struct ral_st_tensor *t,
                          size_t n, struct ral_err *err);

/* The format's name of a dtype: "BF16". */
const char *ral_st_dtype_name(enum ral_dtype t);

#endif
