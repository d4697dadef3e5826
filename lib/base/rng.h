/* lib/base/rng.h - counter-based random numbers. */
#ifndef RAL_RNG_H
#define RAL_RNG_H

#include <stddef.h>
#include <stdint.h>

/**
 * Philox4x32-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011. Four 32-bit words from a 128-bit counter and a 64-bit key.
 */
void ral_philox(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4]);

/**
 * A sequence of its own for every (seed, stream, index): draws depend on
 * nothing else, so work can be split and ordered freely. The low counter
 * words count draws (2^32 blocks of four words).
 */
struct ral_rng {
    uint32_t key[2], ctr[4], out[4];
    unsigned left;
};

/* stream: 64 bits, e.g. a digest of what the numbers are for; index 32 bits. */
void ral_rng_init(struct ral_rng *r, uint64_t seed, uint64_t stream,
                  uint32_t index);
uint32_t ral_rng_u32(struct ral_rng *r);
uint64_t ral_rng_u64(struct ral_rng *r);
double ral_rng_uniform(struct ral_rng *r); // [0, 1), 53 bits
/* Uniform in 0 .. n-1 without bias; n > 0. */
uint64_t ral_rng_below(struct ral_rng *r, uint64_t n);
/* Fisher-Yates: fills order[n] with a permutation of 0 .. n-1. */
void ral_rng_permute(struct ral_rng *r, size_t *order, size_t n);

#endif
