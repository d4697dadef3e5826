/* lib/nn/mat.h - views of numbers in a machine's memory.
 *
 * A view is passed by value and may be cut into rows and columns anywhere;
 * only a machine's operations (nn/ops.h) look at the numbers themselves. What
 * it points to is of a type that is never defined, so x.at[i] does not
 * compile.
 */
#ifndef RAL_MAT_H
#define RAL_MAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/err.h"

struct ral_number;
struct ral_dev;

struct ral_mat {
    struct ral_number *at; // NULL: none
    enum ral_dtype type;
    size_t rows, cols, ld; // ld: numbers from one row to the next
};

static inline bool ral_mat_some(struct ral_mat x)
{
    return x.at != NULL;
}

/* Rows from .. from+n-1. */
static inline struct ral_mat ral_mat_rows(struct ral_mat x, size_t from,
                                          size_t n)
{
    assert(from <= x.rows && n <= x.rows - from);
    x.at = (struct ral_number *)((char *)x.at +
                                 from * x.ld * ral_dtype_size(x.type));
    x.rows = n;
    return x;
}

/* Columns from .. from+n-1. */
static inline struct ral_mat ral_mat_cols(struct ral_mat x, size_t from,
                                          size_t n)
{
    assert(from <= x.cols && n <= x.cols - from);
    x.at = (struct ral_number *)((char *)x.at + from * ral_dtype_size(x.type));
    x.cols = n;
    return x;
}

/* The same numbers, which lie without gaps, in rows of another length. */
static inline struct ral_mat ral_mat_shaped(struct ral_mat x, size_t rows,
                                            size_t cols)
{
    assert((x.ld == x.cols || x.rows <= 1) && rows * cols == x.rows * x.cols);
    x.rows = rows;
    x.cols = x.ld = cols;
    return x;
}

/* What a step, or a model, needs: tables of the host, numbers of the machine.
 * Zero is no space; ral_space_init. */
struct ral_space {
    struct ral_dev *dev; // borrowed
    struct ral_arena host, machine;
};

struct ral_space_mark {
    struct ral_mark host, machine;
};

void ral_space_init(struct ral_space *s, struct ral_dev *dev);
void ral_space_release(struct ral_space *s);
struct ral_space_mark ral_space_mark(const struct ral_space *s);
void ral_space_rewind(struct ral_space *s, struct ral_space_mark m);

/**
 * New views into a space, not filled. Out of memory is the machine's failure:
 * the view is none, operations from then on do nothing, and ral_sync says so.
 */
struct ral_mat ral_mat_new(struct ral_space *s, enum ral_dtype type,
                           size_t rows, size_t cols);
struct ral_mat ral_mat_f32(struct ral_space *s, size_t rows, size_t cols);
/* Filled with zeros. */
struct ral_mat ral_mat_zero(struct ral_space *s, size_t rows, size_t cols);
/* A copy of a table or of numbers [rows][cols] of the host. */
struct ral_mat ral_mat_put(struct ral_space *s, enum ral_dtype type,
                           size_t rows, size_t cols, const void *host);
/**
 * The host's numbers where they lie, if the machine computes on them there;
 * else a copy. They stay as they are as long as the view is in use.
 */
struct ral_mat ral_mat_over(struct ral_space *s, enum ral_dtype type,
                            size_t rows, size_t cols, const void *host);
/* The reverse, of a view without gaps: waits, then its numbers where they lie
 * or a copy in the space. 0, or the machine's first failure. */
int ral_mat_host(struct ral_space *s, struct ral_mat x, const void **host,
                 struct ral_err *err);

#endif
