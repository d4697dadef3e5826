/* lib/cpu/machine.c - the machine "cpu", and what its operations share. */
#include "cpu/machine.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu_dev.h"

/* So few numbers are not worth waking threads for. */
enum { SERIAL = 1 << 15, EACH_GRAIN = 1024 };

/* ------------------------------------------------------------ shared parts */

bool ral_cpu_reserve(struct ral_cpu_dev *d, size_t floats)
{
    struct ral_err err = {0};
    const int rc = ral_nn_reserve(&d->nn, floats, &err);

    if (rc < 0)
        ral_dev_fail(&d->dev, rc, "%s", err.msg);
    return rc == 0;
}

float *ral_cpu_scratch(const struct ral_nn *nn)
{
    return nn->scratch + (size_t)omp_get_thread_num() * nn->scratch_stride;
}

void ral_cpu_ranges(const struct ral_nn *nn, size_t n, size_t grain,
                    size_t work,
                    void (*fn)(const void *ctx, size_t from, size_t to),
                    const void *ctx)
{
    const size_t grains = (n + grain - 1) / grain;

    if (grains < 2 || ral_nn_serial(nn, work, SERIAL)) {
        if (n)
            fn(ctx, 0, n);
        return;
    }
#pragma omp parallel num_threads(nn->threads)
    {
        const size_t t = (size_t)omp_get_thread_num();
        const size_t threads = (size_t)omp_get_num_threads();
        const size_t from = grains * t / threads * grain;
        const size_t to = grains * (t + 1) / threads * grain;

        if (from < to)
            fn(ctx, from, to < n ? to : n);
    }
}

struct each {
    const struct ral_nn *nn;
    void (*fn)(const struct ral_nn *nn, const void *op, size_t n,
               float *const *y);
    const void *op;
    size_t views, C; // C: numbers of a row
    float *at[RAL_CPU_EACH];
    size_t ld[RAL_CPU_EACH];
};

/* Numbers from .. to-1, counted row by row. */
static void each_range(const void *ctx, size_t from, size_t to)
{
    const struct each *e = ctx;
    float *y[RAL_CPU_EACH];

    for (size_t i = from, n; i < to; i += n) {
        n = e->C - i % e->C;
        n = n < to - i ? n : to - i;
        for (size_t k = 0; k < e->views; k++)
            y[k] = e->at[k] + i / e->C * e->ld[k] + i % e->C;
        e->fn(e->nn, e->op, n, y);
    }
}

void ral_cpu_each(const struct ral_cpu_dev *d,
                  void (*fn)(const struct ral_nn *nn, const void *op, size_t n,
                             float *const *y),
                  const void *op, size_t views, const struct ral_mat *x)
{
    const size_t n = x[0].rows * x[0].cols;
    struct each e = {&d->nn, fn, op, views, x[0].cols, {0}, {0}};
    bool gaps = false;

    for (size_t k = 0; k < views; k++) {
        assert(x[k].rows == x[0].rows && x[k].cols == x[0].cols);
        e.at[k] = ral_cpu_f32(d, x[k]);
        e.ld[k] = x[k].ld;
        gaps |= x[k].ld != x[k].cols;
    }
    if (!gaps)
        e.C = n; // one long row
    ral_cpu_ranges(&d->nn, n, EACH_GRAIN, n, each_range, &e);
}

/* ------------------------------------------------------------------ memory */

void ral_cpu_put(const struct ral_cpu_dev *d, struct ral_mat x,
                 const void *host)
{
    const size_t size = ral_dtype_size(x.type), row = x.cols * size;

    for (size_t i = 0; row && i < x.rows; i++)
        memcpy((char *)ral_cpu_at(d, x) + i * x.ld * size,
               (const char *)host + i * row, row);
}

void ral_cpu_get(const struct ral_cpu_dev *d, void *host, struct ral_mat x)
{
    const size_t size = ral_dtype_size(x.type), row = x.cols * size;

    for (size_t i = 0; row && i < x.rows; i++)
        memcpy((char *)host + i * row,
               (const char *)ral_cpu_at(d, x) + i * x.ld * size, row);
}

static void put(struct ral_dev *d, struct ral_mat x, const void *host)
{
    if (!ral_dev_failed(d))
        ral_cpu_put((struct ral_cpu_dev *)d, x, host);
}

static void get(struct ral_dev *d, void *host, struct ral_mat x)
{
    if (!ral_dev_failed(d))
        ral_cpu_get((struct ral_cpu_dev *)d, host, x);
}

static void nothing_to_wait_for(struct ral_dev *d)
{
    (void)d;
}

/* --------------------------------------------------------------- the table */

#define CHECKED(op)                                                            \
    static void op_##op(struct ral_dev *d, const struct ral_op_##op *a)        \
    {                                                                          \
        if (!ral_dev_failed(d))                                                      \
            ral_cpu_##op((struct ral_cpu_dev *)d, a);                          \
    }
RAL_OPS(CHECKED)

static void close_cpu(struct ral_dev *d)
{
    ral_cpu_release((struct ral_cpu_dev *)d);
    free(d);
}

#define ENTRY(op) .op = op_##op,
static const struct ral_ops ops = {
    .name = "cpu",
    .in_place = true,
    .put = put,
    .get = get,
    .wait = nothing_to_wait_for,
    .packed = ral_cpu_packed,
    .close = close_cpu,
    RAL_OPS(ENTRY)
};

int ral_cpu_init(struct ral_cpu_dev *d, const struct ral_ops *table,
                 unsigned flags, int threads, struct ral_err *err)
{
    const int rc = ral_nn_init(&d->nn, flags, threads, err);

    d->dev.ops = table;
    d->dev.kernels = d->nn.k.name;
    d->dev.threads = d->nn.threads;
    return rc;
}

void ral_cpu_release(struct ral_cpu_dev *d)
{
    ral_nn_release(&d->nn);
}

int ral_cpu_open(struct ral_dev **out, unsigned flags, int threads,
                 struct ral_err *err)
{
    struct ral_cpu_dev *d = calloc(1, sizeof(*d));
    int rc;

    *out = NULL;
    if (!d)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    d->dev.source = ral_heap;
    if ((rc = ral_cpu_init(d, &ops, flags, threads, err)) < 0) {
        free(d);
        return rc;
    }
    *out = &d->dev;
    return 0;
}

int ral_cpu_use_blas(struct ral_dev *d, struct ral_err *err)
{
    const int rc = ral_nn_use_blas(&((struct ral_cpu_dev *)d)->nn, err);

    d->blas = rc == 0;
    return rc;
}
