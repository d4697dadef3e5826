/* lib/model/sample.c - how tokens are drawn, and their random numbers. */
#include "model/sample.h"

#include <string.h>
#include <xxhash.h>

#include "base/rng.h"

float ral_sampling_tau(const struct ral_sampling *s)
{
    return s->temperature > 0 ? (float)s->temperature : 1.0f;
}

uint64_t ral_prompt_hash(const char *id, uint64_t step)
{
    return XXH3_64bits_withSeed(id, strlen(id), step);
}

double ral_sampling_uniform(const struct ral_sampling *s, uint64_t prompt_hash,
                            uint32_t sample, uint32_t position)
{
    const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    const uint32_t ctr[4] = {position, sample, (uint32_t)prompt_hash,
                             (uint32_t)(prompt_hash >> 32)};
    uint32_t out[4];

    ral_philox(ctr, key, out);
    return (double)(((uint64_t)out[1] << 32 | out[0]) >> 11) * 0x1p-53;
}
