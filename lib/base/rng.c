/* lib/base/rng.c - counter-based random numbers. */
#include "base/rng.h"

void ral_philox(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0;
        const uint64_t b = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; // golden ratio
        k1 += 0xBB67AE85u; // sqrt(3) - 1
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void ral_rng_init(struct ral_rng *r, uint64_t seed, uint64_t stream,
                  uint32_t index)
{
    *r = (struct ral_rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .ctr = {0, index, (uint32_t)stream, (uint32_t)(stream >> 32)},
    };
}

uint32_t ral_rng_u32(struct ral_rng *r)
{
    if (r->left == 0) {
        ral_philox(r->ctr, r->key, r->out);
        r->ctr[0]++;
        r->left = 4;
    }
    return r->out[4 - r->left--];
}

uint64_t ral_rng_u64(struct ral_rng *r)
{
    const uint64_t lo = ral_rng_u32(r);

    return lo | (uint64_t)ral_rng_u32(r) << 32;
}

double ral_rng_uniform(struct ral_rng *r)
{
    return (double)(ral_rng_u64(r) >> 11) * 0x1p-53;
}

uint64_t ral_rng_below(struct ral_rng *r, uint64_t n)
{
    const uint64_t reject = -n % n; // 2^64 mod n
    uint64_t x;

    do
        x = ral_rng_u64(r);
    while (x < reject);
    return x % n;
}

void ral_rng_permute(struct ral_rng *r, size_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; i > 1; i--) {
        const size_t j = (size_t)ral_rng_below(r, i), t = order[i - 1];

        order[i - 1] = order[j];
        order[j] = t;
    }
}
