/* lib/nn/mat.c - views, spaces and the failure of a machine. */
#include "nn/mat.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "nn/ops.h"

void ral_space_init(struct ral_space *s, struct ral_dev *dev)
{
    *s = (struct ral_space){.dev = dev, .machine = {.source = &dev->source}};
}

void ral_space_release(struct ral_space *s)
{
    ral_arena_release(&s->host);
    if (s->dev)
        ral_arena_release(&s->machine);
    *s = (struct ral_space){0};
}

struct ral_space_mark ral_space_mark(const struct ral_space *s)
{
    return (struct ral_space_mark){ral_arena_mark(&s->host),
                                   ral_arena_mark(&s->machine)};
}

void ral_space_rewind(struct ral_space *s, struct ral_space_mark m)
{
    ral_arena_rewind(&s->host, m.host);
    ral_arena_rewind(&s->machine, m.machine);
}

struct ral_mat ral_mat_new(struct ral_space *s, enum ral_dtype type,
                           size_t rows, size_t cols)
{
    size_t n;
    struct ral_number *at = NULL;

    if (!__builtin_mul_overflow(rows, cols, &n))
        at = ral_arena_alloc(&s->machine, n, ral_dtype_size(type));
    if (!at) {
        ral_dev_fail(s->dev, -RAL_ENOMEM, "out of memory");
        return (struct ral_mat){.type = type, .rows = rows, .cols = cols,
                                .ld = cols};
    }
    return (struct ral_mat){at, type, rows, cols, cols};
}

struct ral_mat ral_mat_f32(struct ral_space *s, size_t rows, size_t cols)
{
    return ral_mat_new(s, RAL_F32, rows, cols);
}

struct ral_mat ral_mat_zero(struct ral_space *s, size_t rows, size_t cols)
{
    const struct ral_mat x = ral_mat_f32(s, rows, cols);

    RAL_DO(s->dev, fill, x, 0);
    return x;
}

struct ral_mat ral_mat_put(struct ral_space *s, enum ral_dtype type,
                           size_t rows, size_t cols, const void *host)
{
    const struct ral_mat x = ral_mat_new(s, type, rows, cols);

    if (ral_mat_some(x))
        s->dev->ops->put(s->dev, x, host);
    return x;
}

struct ral_mat ral_mat_over(struct ral_space *s, enum ral_dtype type,
                            size_t rows, size_t cols, const void *host)
{
    if (s->dev->ops->in_place)
        return (struct ral_mat){(struct ral_number *)(uintptr_t)host, type,
                                rows, cols, cols};
    return ral_mat_put(s, type, rows, cols, host);
}

int ral_mat_host(struct ral_space *s, struct ral_mat x, const void **host,
                 struct ral_err *err)
{
    void *copy;

    assert(x.ld == x.cols || x.rows <= 1);
    if (s->dev->ops->in_place) {
        *host = x.at;
        return ral_sync(s->dev, err);
    }
    *host = copy = ral_arena_alloc(&s->host, x.rows * x.cols,
                                   ral_dtype_size(x.type));
    if (!copy)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    return ral_get(s->dev, copy, x, err);
}

struct ral_spans ral_spans_put(struct ral_space *s, const struct ral_span *span,
                               size_t n)
{
    struct ral_spans out = {
        .table = ral_mat_put(s, RAL_U8, n, sizeof *span, span)};

    for (size_t i = 0; i < n; i++)
        if (span[i].a.n + span[i].b.n > out.keys)
            out.keys = span[i].a.n + span[i].b.n;
    return out;
}

struct ral_mat ral_runs_put(struct ral_space *s, const struct ral_run *run,
                            size_t n)
{
    return ral_mat_put(s, RAL_U8, n, sizeof *run, run);
}

struct ral_kv ral_kv_new(struct ral_space *s, size_t KV, size_t D, size_t slots)
{
    struct ral_kv kv = {
        .KV = KV, .D = D, .Dp = (D + 15) / 16 * 16, .slots = ral_run_slots(slots)};
    size_t nk, nv;

    if (__builtin_mul_overflow(KV * D, kv.slots, &nk) ||
        __builtin_mul_overflow(KV * kv.Dp, kv.slots, &nv)) {
        ral_dev_fail(s->dev, -RAL_ENOMEM, "out of memory");
        return kv;
    }
    kv.k = ral_mat_f32(s, 1, nk);
    kv.v = D == kv.Dp ? ral_mat_f32(s, 1, nv) : ral_mat_zero(s, 1, nv);
    return kv;
}

void ral_dev_fail(struct ral_dev *d, int code, const char *what, ...)
{
    va_list ap;

    if (ral_dev_failed(d))
        return;
    va_start(ap, what);
    vsnprintf(d->failure.msg, sizeof d->failure.msg, what, ap);
    va_end(ap);
    d->failure.code = -code;
}

int ral_sync(struct ral_dev *d, struct ral_err *err)
{
    int rc;

    d->ops->wait(d);
    if (!ral_dev_failed(d))
        return 0;
    rc = ral_err_set(err, -d->failure.code, "%s", d->failure.msg);
    d->failure = (struct ral_err){0};
    return rc;
}

int ral_get(struct ral_dev *d, void *host, struct ral_mat x,
            struct ral_err *err)
{
    if (!ral_dev_failed(d))
        d->ops->get(d, host, x);
    return ral_dev_failed(d) ? ral_sync(d, err) : 0;
}

void ral_dev_close(struct ral_dev *d)
{
    if (d)
        d->ops->close(d);
}
