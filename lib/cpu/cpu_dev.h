/* lib/cpu/cpu_dev.h - what the processors' operations share; private to cpu. */
#ifndef RAL_CPU_DEV_H
#define RAL_CPU_DEV_H

#include <stdint.h>

#include "cpu/nn.h"
#include "nn/ops.h"

struct ral_cpu_dev {
    struct ral_dev dev;
    struct ral_nn nn;
    ptrdiff_t shift;          // bytes from where views point to the numbers
};

/* Kernels, threads and scratch; the machine's memory stays the caller's. */
int ral_cpu_init(struct ral_cpu_dev *d, const struct ral_ops *ops,
                 unsigned flags, int threads, struct ral_err *err);
void ral_cpu_release(struct ral_cpu_dev *d);

/* Where a view's numbers are; NULL for none. Nothing else looks at view.at. */
static inline void *ral_cpu_at(const struct ral_cpu_dev *d, struct ral_mat x)
{
    return x.at ? (void *)((uintptr_t)x.at + (uintptr_t)d->shift) : NULL;
}

static inline float *ral_cpu_f32(const struct ral_cpu_dev *d, struct ral_mat x)
{
    assert(x.type == RAL_F32);
    return ral_cpu_at(d, x);
}

static inline double *ral_cpu_f64(const struct ral_cpu_dev *d,
                                  struct ral_mat x)
{
    assert(x.type == RAL_F64);
    return ral_cpu_at(d, x);
}

static inline int32_t *ral_cpu_i32(const struct ral_cpu_dev *d,
                                   struct ral_mat x)
{
    assert(x.type == RAL_I32);
    return ral_cpu_at(d, x);
}

/* Scratch of every thread; the machine's failure and false without memory. */
bool ral_cpu_reserve(struct ral_cpu_dev *d, size_t floats);
/* This thread's. */
float *ral_cpu_scratch(const struct ral_nn *nn);

/**
 * fn(ctx, from, to) over 0 .. n-1: at once, or, if work is worth it, a range a
 * thread. Ranges start at multiples of grain.
 * @param work  numbers, about, that are touched in all
 */
void ral_cpu_ranges(const struct ral_nn *nn, size_t n, size_t grain,
                    size_t work,
                    void (*fn)(const void *ctx, size_t from, size_t to),
                    const void *ctx);

enum { RAL_CPU_EACH = 5 };

/* fn(nn, op, n, y) over the numbers of up to five views of one shape, some
 * of a row at a time; y[i]: where those of view x[i] are. */
void ral_cpu_each(const struct ral_cpu_dev *d,
                  void (*fn)(const struct ral_nn *nn, const void *op, size_t n,
                             float *const *y),
                  const void *op, size_t views, const struct ral_mat *x);

void ral_cpu_put(const struct ral_cpu_dev *d, struct ral_mat x,
                 const void *host);
void ral_cpu_get(const struct ral_cpu_dev *d, void *host, struct ral_mat x);
size_t ral_cpu_packed(const struct ral_dev *d, size_t N, size_t K);

/* The operations; the first failure is looked at by who calls them. */
#define RAL_CPU_DECLARE(op)                                                    \
    void ral_cpu_##op(struct ral_cpu_dev *, const struct ral_op_##op *);
RAL_OPS(RAL_CPU_DECLARE)
#undef RAL_CPU_DECLARE

#endif
