/* lib/text/bpe.c - byte pair encoding with a heap of candidate merges. */
#include "text/bpe.h"

#include <stdlib.h>

#include "base/err.h"

#define NONE UINT32_MAX

int ral_ids_put(struct ral_ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        const size_t cap = ids->cap ? 2 * ids->cap : 64;
        int32_t *p = cap <= SIZE_MAX / sizeof *p
                         ? realloc(ids->id, cap * sizeof *p)
                         : NULL;

        if (!p)
            return -RAL_ENOMEM;
        ids->id = p;
        ids->cap = cap;
    }
    ids->id[ids->n++] = id;
    return 0;
}

void ral_ids_release(struct ral_ids *ids)
{
    free(ids->id);
    *ids = (struct ral_ids){0};
}

static size_t home(const struct ral_merges *m, uint64_t key)
{
    key ^= key >> 33; // finaliser of MurmurHash3
    key *= 0xFF51AFD7ED558CCDull;
    key ^= key >> 33;
    key *= 0xC4CEB9FE1A85EC53ull;
    key ^= key >> 33;
    return (size_t)key & m->mask;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

int ral_merges_init(struct ral_merges *m, size_t n)
{
    size_t cap = 16;

    while (cap < 2 * n)
        cap *= 2;
    if (!(m->slot = calloc(cap, sizeof *m->slot)))
        return -RAL_ENOMEM;
    for (size_t i = 0; i < cap; i++)
        m->slot[i].id = -1;
    m->mask = cap - 1;
    return 0;
}

int ral_merges_put(struct ral_merges *m, int32_t left, int32_t right,
                   uint32_t rank, int32_t id)
{
    const uint64_t key = pair_key(left, right);
    size_t i = home(m, key);

    for (; m->slot[i].id >= 0; i = (i + 1) & m->mask)
        if (m->slot[i].key == key)
            return 1;
    m->slot[i] = (struct ral_merge){key, rank, id};
    return 0;
}

const struct ral_merge *ral_merges_find(const struct ral_merges *m,
                                        int32_t left, int32_t right)
{
    const uint64_t key = pair_key(left, right);

    for (size_t i = home(m, key); m->slot[i].id >= 0; i = (i + 1) & m->mask)
        if (m->slot[i].key == key)
            return &m->slot[i];
    return NULL;
}

void ral_merges_release(struct ral_merges *m)
{
    free(m->slot);
    *m = (struct ral_merges){0};
}

struct ral_bpe_sym {
    int32_t id;
    uint32_t prev, next; // neighbours, NONE at the ends
    uint32_t rank;       // of merging with next; NONE: no merge, or gone
};

/*
 * A heap entry is rank << 32 | position of the left token: the smallest is
 * the merge to do next. Entries are never removed early; one is stale when
 * the token at its position has another rank by now.
 */
static void sift_down(uint64_t *h, size_t n, size_t i)
{
    const uint64_t x = h[i];
    size_t k;

    for (; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && h[k + 1] < h[k])
            k++;
        if (h[k] >= x)
            break;
        h[i] = h[k];
    }
    h[i] = x;
}

static uint64_t heap_pop(struct ral_bpe *b)
{
    const uint64_t top = b->heap[0];

    b->heap[0] = b->heap[--b->nheap];
    if (b->nheap)
        sift_down(b->heap, b->nheap, 0);
    return top;
}

static int heap_reserve(struct ral_bpe *b, size_t n)
{
    uint64_t *p;
    size_t cap = b->heap_cap ? b->heap_cap : 64;

    if (b->heap_cap >= n)
        return 0;
    while (cap < n)
        cap *= 2;
    if (!(p = realloc(b->heap, cap * sizeof *p)))
        return -RAL_ENOMEM;
    b->heap = p;
    b->heap_cap = cap;
    return 0;
}

static int heap_push(struct ral_bpe *b, uint64_t x)
{
    size_t i = b->nheap;

    if (heap_reserve(b, i + 1) < 0)
        return -RAL_ENOMEM;
    for (; i && b->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = x;
    b->nheap++;
    return 0;
}

static void set_rank(struct ral_bpe *b, const struct ral_merges *m, uint32_t i)
{
    struct ral_bpe_sym *s = &b->sym[i];
    const struct ral_merge *f =
        s->next == NONE ? NULL : ral_merges_find(m, s->id, b->sym[s->next].id);

    s->rank = f ? f->rank : NONE;
}

/* One token per byte, and every merge between them, as a heap. */
static int start(struct ral_bpe *b, const struct ral_merges *m,
                 const int32_t byte_id[256], const uint8_t *s, size_t n)
{
    if (n > b->sym_cap) {
        struct ral_bpe_sym *p = realloc(b->sym, n * sizeof *p);

        if (!p)
            return -RAL_ENOMEM;
        b->sym = p;
        b->sym_cap = n;
    }
    if (heap_reserve(b, n) < 0)
        return -RAL_ENOMEM;
    b->nheap = 0;
    for (size_t i = 0; i < n; i++)
        b->sym[i] = (struct ral_bpe_sym){
            .id = byte_id[s[i]],
            .prev = i ? (uint32_t)i - 1 : NONE,
            .next = i + 1 < n ? (uint32_t)i + 1 : NONE,
        };
    for (size_t i = 0; i < n; i++) {
        set_rank(b, m, (uint32_t)i);
        if (b->sym[i].rank != NONE)
            b->heap[b->nheap++] = (uint64_t)b->sym[i].rank << 32 | i;
    }
    for (size_t i = b->nheap / 2; i--;)
        sift_down(b->heap, b->nheap, i);
    return 0;
}

/* The token at i swallows its neighbour on the right. */
static int merge(struct ral_bpe *b, const struct ral_merges *m, uint32_t i)
{
    struct ral_bpe_sym *s = &b->sym[i], *r = &b->sym[s->next];

    s->id = ral_merges_find(m, s->id, r->id)->id;
    r->rank = NONE;
    s->next = r->next;
    if (s->next != NONE)
        b->sym[s->next].prev = i;
    set_rank(b, m, i);
    if (s->rank != NONE && heap_push(b, (uint64_t)s->rank << 32 | i) < 0)
        return -RAL_ENOMEM;
    if (s->prev == NONE)
        return 0;
    set_rank(b, m, s->prev);
    if (b->sym[s->prev].rank == NONE)
        return 0;
    return heap_push(b, (uint64_t)b->sym[s->prev].rank << 32 | s->prev);
}

int ral_bpe_encode(struct ral_bpe *b, const struct ral_merges *m,
                   const int32_t byte_id[256], const void *s, size_t n,
                   struct ral_ids *out)
{
    const uint8_t *u = s;

    if (n == 1)
        return ral_ids_put(out, byte_id[u[0]]);
    if (n == 0)
        return 0;
    if (start(b, m, byte_id, u, n) < 0)
        return -RAL_ENOMEM;
    while (b->nheap) {
        const uint64_t top = heap_pop(b);
        const uint32_t i = (uint32_t)top;

        if (b->sym[i].rank == top >> 32 && merge(b, m, i) < 0)
            return -RAL_ENOMEM;
    }
    for (uint32_t i = 0; i != NONE; i = b->sym[i].next)
        if (ral_ids_put(out, b->sym[i].id) < 0)
            return -RAL_ENOMEM;
    return 0;
}

void ral_bpe_release(struct ral_bpe *b)
{
    free(b->sym);
    free(b->heap);
    *b = (struct ral_bpe){0};
}
