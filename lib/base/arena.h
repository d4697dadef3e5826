/* lib/base/arena.h - memory that lives and dies together. */
#ifndef RAL_ARENA_H
#define RAL_ARENA_H

#include <stddef.h>

struct ral_arena_block;

/* Where blocks come from: 64-byte aligned memory that the arena's own code
 * never looks into, so it may be a device's. NULL: there is no more. */
struct ral_arena_source {
    void *(*take)(void *ctx, size_t bytes);
    void (*give)(void *ctx, void *p, size_t bytes);
    void *ctx;
};

/* malloc's, with large pages where the kernel has them. */
extern const struct ral_arena_source ral_heap;

/**
 * A bump allocator over a list of blocks. Blocks are kept over a reset, so
 * work of equal shape takes new ones only the first time. Zero initialise, or
 * name a source; one arena per lifetime (model, step, record).
 */
struct ral_arena {
    struct ral_arena_block *first, *cur;
    size_t used; // in cur
    size_t peak; // most bytes ever in use at once, for reports
    size_t held; // bytes of all blocks
    const struct ral_arena_source *source; // borrowed; NULL: the heap
};

/* A place to return to: everything allocated after it is given back. */
struct ral_mark {
    struct ral_arena_block *cur;
    size_t used;
};

/* 64-byte aligned, uninitialised; NULL when out of memory or n*size overflows. */
void *ral_arena_alloc(struct ral_arena *a, size_t n, size_t size);
/* These two write, and so are for arenas of the heap alone. */
void *ral_arena_zalloc(struct ral_arena *a, size_t n, size_t size);
/* A copy of n items; NULL when out of memory. */
void *ral_arena_copy(struct ral_arena *a, const void *p, size_t n, size_t size);
/* Copies n bytes and a terminating NUL. */
char *ral_arena_text(struct ral_arena *a, const char *s, size_t n);

#define RAL_NEW(a, type, n) ((type *)ral_arena_alloc(a, n, sizeof(type)))
#define RAL_ZNEW(a, type, n) ((type *)ral_arena_zalloc(a, n, sizeof(type)))

struct ral_mark ral_arena_mark(const struct ral_arena *a);
void ral_arena_rewind(struct ral_arena *a, struct ral_mark m);
void ral_arena_reset(struct ral_arena *a);
void ral_arena_release(struct ral_arena *a);

#endif
