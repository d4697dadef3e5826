/* lib/text/bpe.h - byte pair encoding of one piece of text. */
#ifndef RAL_BPE_H
#define RAL_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "text/ids.h"

/* Hash table from a pair of adjacent tokens to their merge. */
struct ral_merge {
    uint64_t key; // left id << 32 | right id
    uint32_t rank;
    int32_t id; // of the merged token, -1 in a free slot
};

struct ral_merges {
    struct ral_merge *slot;
    size_t mask;
};

/* Room for n merges. 0 or -RAL_ENOMEM. */
int ral_merges_init(struct ral_merges *m, size_t n);
/* 0, or 1 if the pair is there already. At most n times. */
int ral_merges_put(struct ral_merges *m, int32_t left, int32_t right,
                   uint32_t rank, int32_t id);
const struct ral_merge *ral_merges_find(const struct ral_merges *m,
                                        int32_t left, int32_t right);
void ral_merges_release(struct ral_merges *m);

/* Working memory of ral_bpe_encode, kept from piece to piece. */
struct ral_bpe { // zero initialise
    struct ral_bpe_sym *sym;
    uint64_t *heap;
    size_t nheap, sym_cap, heap_cap;
};

/**
 * Appends the tokens of s[n], n < 2^31: starting from one token per byte, the
 * adjacent pair of lowest rank merges, the leftmost of equal ones first, until
 * no pair is left that could. O(n log n).
 *
 * R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words
 * with subword units", ACL 2016.
 *
 * @return 0, or -RAL_ENOMEM
 */
int ral_bpe_encode(struct ral_bpe *b, const struct ral_merges *m,
                   const int32_t byte_id[256], const void *s, size_t n,
                   struct ral_ids *out);
void ral_bpe_release(struct ral_bpe *b);

#endif
