/* lib/base/arena.c - memory that lives and dies together. */
#include "base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, BLOCK_MIN = 64 << 10, HUGE = 2 << 20 };

struct ral_arena_block {
    struct ral_arena_block *next;
    size_t size;   // payload bytes
    size_t before; // payload bytes of the blocks before this one
    char *data;
};

/* Large blocks in large pages where the kernel has them: fewer faults. */
static void *heap_take(void *ctx, size_t size)
{
    const size_t align = size < HUGE ? ALIGN : HUGE;
    void *p = aligned_alloc(align, (size + align - 1) / align * align);

    (void)ctx;
    if (p && size >= HUGE)
        madvise(p, size, MADV_HUGEPAGE);
    return p;
}

static void heap_give(void *ctx, void *p, size_t size)
{
    (void)ctx, (void)size;
    free(p);
}

const struct ral_arena_source ral_heap = {heap_take, heap_give, NULL};

static const struct ral_arena_source *source_of(const struct ral_arena *a)
{
    return a->source ? a->source : &ral_heap;
}

/* Blocks grow with what is held, so that their number stays logarithmic. */
static struct ral_arena_block *block_new(struct ral_arena *a, size_t need)
{
    size_t size = a->held > BLOCK_MIN ? a->held : BLOCK_MIN;
    struct ral_arena_block *b;

    if (size < need)
        size = need;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size > SIZE_MAX / 2 || !(b = malloc(sizeof(*b))))
        return NULL;
    if (!(b->data = source_of(a)->take(source_of(a)->ctx, size))) {
        free(b);
        return NULL;
    }
    b->next = NULL;
    b->size = size;
    b->before = a->cur ? a->cur->before + a->cur->size : 0;
    a->held += size;
    return b;
}

void *ral_arena_alloc(struct ral_arena *a, size_t n, size_t size)
{
    size_t need;
    void *p;

    if (__builtin_mul_overflow(n, size, &need) || need > SIZE_MAX / 4)
        return NULL;
    need = (need + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    while (!a->cur || a->cur->size - a->used < need) {
        struct ral_arena_block *next = a->cur ? a->cur->next : a->first;

        if (!next) {
            if (!(next = block_new(a, need)))
                return NULL;
            if (a->cur)
                a->cur->next = next;
            else
                a->first = next;
        } else {
            next->before = a->cur ? a->cur->before + a->cur->size : 0;
        }
        a->cur = next;
        a->used = 0;
    }
    p = a->cur->data + a->used;
    a->used += need;
    if (a->cur->before + a->used > a->peak)
        a->peak = a->cur->before + a->used;
    return p;
}

void *ral_arena_zalloc(struct ral_arena *a, size_t n, size_t size)
{
    void *p;

    assert(!a->source);
    p = ral_arena_alloc(a, n, size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *ral_arena_copy(struct ral_arena *a, const void *p, size_t n, size_t size)
{
    void *q = ral_arena_alloc(a, n, size);

    return q && n ? memcpy(q, p, n * size) : q;
}

char *ral_arena_text(struct ral_arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? ral_arena_alloc(a, n + 1, 1) : NULL;

    if (p) {
        if (n) // s may be NULL then
            memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

struct ral_mark ral_arena_mark(const struct ral_arena *a)
{
    return (struct ral_mark){a->cur, a->used};
}

void ral_arena_rewind(struct ral_arena *a, struct ral_mark m)
{
    a->cur = m.cur;
    a->used = m.used;
}

void ral_arena_reset(struct ral_arena *a)
{
    a->cur = NULL;
    a->used = 0;
}

void ral_arena_release(struct ral_arena *a)
{
    for (struct ral_arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        source_of(a)->give(source_of(a)->ctx, b->data, b->size);
        free(b);
    }
    *a = (struct ral_arena){.source = a->source};
}
