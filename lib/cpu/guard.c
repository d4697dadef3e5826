/* lib/cpu/guard.c - a machine that proves that no one else does its work. */
#include "cpu/guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/cpu_dev.h"

/* Addresses that are set aside, twice; pages are taken as they are used. */
enum { SMALL_PUT = 64 << 10, PAGE = 64 << 10 };
static const size_t span_bytes = (size_t)1 << 38;

/* An operation that was asked for; its arguments follow. */
struct item {
    struct item *next;
    void (*run)(struct ral_cpu_dev *d, const void *args);
    void *large; // a put's numbers, if they are many
};

struct put_args {
    struct ral_mat x;
    const void *numbers; // without gaps
};

/* Bytes from face + at on, and as many from twin + at. */
struct block {
    size_t at, bytes;
    bool given; // back, but the queue may still name it
};

struct guard {
    struct ral_cpu_dev cpu; // its shift leads from the face to the twin
    char *face, *twin;      // [span_bytes]: without access; with, where taken
    struct block *block;    // [n], by address
    size_t n, room;
    struct ral_arena queue; // items, in order
    struct item *first, **last;
};

/* ------------------------------------------------------------------ memory */

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* The first gap that is large enough, before block i. */
static size_t find_gap(const struct guard *g, size_t bytes, size_t *at)
{
    size_t i = 0;

    for (*at = 0; i < g->n; i++) {
        if (g->block[i].at - *at >= bytes)
            break;
        *at = g->block[i].at + g->block[i].bytes;
    }
    return i;
}

static void *take(void *ctx, size_t bytes)
{
    struct guard *g = ctx;
    const size_t size = pages(bytes ? bytes : 1);
    size_t at, i;

    if (g->n == g->room) {
        const size_t room = 2 * g->room + 16;
        struct block *more = realloc(g->block, room * sizeof(*more));

        if (!more)
            return NULL;
        g->block = more;
        g->room = room;
    }
    i = find_gap(g, size, &at);
    if (size < bytes || size > span_bytes - at ||
        mprotect(g->twin + at, size, PROT_READ | PROT_WRITE) < 0)
        return NULL;
    memmove(g->block + i + 1, g->block + i, (g->n - i) * sizeof(*g->block));
    g->block[i] = (struct block){at, size, false};
    g->n++;
    return g->face + at;
}

static void give(void *ctx, void *p, size_t bytes)
{
    struct guard *g = ctx;

    (void)bytes;
    for (size_t i = 0; i < g->n; i++)
        if (g->face + g->block[i].at == p)
            g->block[i].given = true;
}

/* New pages without access over a block's: the old ones are the system's. */
static void give_pages(struct guard *g, const struct block *b)
{
    if (mmap(g->twin + b->at, b->bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        ral_dev_fail(&g->cpu.dev, -RAL_ENOMEM, "guard: out of mappings");
}

static void give_blocks(struct guard *g)
{
    size_t kept = 0;

    for (size_t i = 0; i < g->n; i++)
        if (g->block[i].given)
            give_pages(g, &g->block[i]);
        else
            g->block[kept++] = g->block[i];
    g->n = kept;
}

/* ------------------------------------------------------------------- queue */

/* Room for an operation's arguments at the end of the queue; NULL, and the
 * machine's failure, without memory. */
static void *push(struct guard *g,
                  void (*run)(struct ral_cpu_dev *, const void *), size_t bytes)
{
    struct item *it = NULL;

    if (bytes <= SIZE_MAX - sizeof(*it))
        it = ral_arena_alloc(&g->queue, 1, sizeof(*it) + bytes);
    if (!it) {
        ral_dev_fail(&g->cpu.dev, -RAL_ENOMEM, "out of memory");
        return NULL;
    }
    *it = (struct item){NULL, run, NULL};
    *g->last = it;
    g->last = &it->next;
    return it + 1;
}

static void run_queue(struct guard *g)
{
    for (struct item *it = g->first; it; it = it->next) {
        if (!g->cpu.dev.err.code) // a failure is over when all is dropped
            it->run(&g->cpu, it + 1);
        free(it->large);
    }
    g->first = NULL;
    g->last = &g->first;
    ral_arena_reset(&g->queue);
    give_blocks(g);
}

static void run_put(struct ral_cpu_dev *d, const void *args)
{
    const struct put_args *p = args;

    ral_cpu_put(d, p->x, p->numbers);
}

/* Few numbers stand behind their arguments, many in memory of their own,
 * which the queue does not keep. */
static void put(struct ral_dev *d, struct ral_mat x, const void *host)
{
    struct guard *g = (struct guard *)d;
    const size_t bytes = x.rows * x.cols * ral_dtype_size(x.type);
    const bool large = bytes > SMALL_PUT;
    struct put_args *p =
        push(g, run_put, sizeof(*p) + (large ? 0 : bytes));
    void *copy;

    if (!p)
        return;
    copy = large ? malloc(bytes) : p + 1;
    if (!copy) {
        ral_dev_fail(d, -RAL_ENOMEM, "out of memory");
        return;
    }
    if (large)
        ((struct item *)p - 1)->large = copy;
    if (bytes)
        memcpy(copy, host, bytes);
    *p = (struct put_args){x, copy};
}

static void get(struct ral_dev *d, void *host, struct ral_mat x)
{
    struct guard *g = (struct guard *)d;

    run_queue(g);
    if (!d->err.code)
        ral_cpu_get(&g->cpu, host, x);
}

static void wait_all(struct ral_dev *d)
{
    run_queue((struct guard *)d);
}

/* --------------------------------------------------------------- the table */

#define QUEUED(op)                                                             \
    static void run_##op(struct ral_cpu_dev *d, const void *args)              \
    {                                                                          \
        ral_cpu_##op(d, args);                                                 \
    }                                                                          \
    static void push_##op(struct ral_dev *d, const struct ral_op_##op *a)      \
    {                                                                          \
        struct ral_op_##op *copy =                                             \
            push((struct guard *)d, run_##op, sizeof(*a));                     \
                                                                               \
        if (copy)                                                              \
            *copy = *a;                                                        \
    }
RAL_OPS(QUEUED)

static void close_guard(struct ral_dev *d)
{
    struct guard *g = (struct guard *)d;

    for (struct item *it = g->first; it; it = it->next)
        free(it->large);
    ral_arena_release(&g->queue);
    if (g->face != MAP_FAILED)
        munmap(g->face, span_bytes);
    if (g->twin != MAP_FAILED)
        munmap(g->twin, span_bytes);
    free(g->block);
    ral_cpu_release(&g->cpu);
    free(g);
}

#define ENTRY(op) .op = push_##op,
static const struct ral_ops ops = {
    .name = "guard",
    .in_place = false,
    .put = put,
    .get = get,
    .wait = wait_all,
    .packed = ral_cpu_packed,
    .close = close_guard,
    RAL_OPS(ENTRY)
};

static void *set_aside(void)
{
    return mmap(NULL, span_bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int ral_guard_open(struct ral_dev **out, unsigned flags, int threads,
                   struct ral_err *err)
{
    struct guard *g = calloc(1, sizeof(*g));
    int rc;

    *out = NULL;
    if (!g)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    g->last = &g->first;
    g->face = set_aside();
    g->twin = set_aside();
    if (g->face == MAP_FAILED || g->twin == MAP_FAILED)
        rc = ral_err_errno(err, "guard: mmap");
    else
        rc = ral_cpu_init(&g->cpu, &ops, flags, threads, err);
    if (rc < 0) {
        close_guard(&g->cpu.dev);
        return rc;
    }
    g->cpu.shift = g->twin - g->face;
    g->cpu.dev.source = (struct ral_arena_source){take, give, g};
    *out = &g->cpu.dev;
    return 0;
}
