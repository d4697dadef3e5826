/* lib/model/sample.c - one token from a row of logits. */
#include "model/sample.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/rng.h"
#include "nn/kernels.h"

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

static int32_t argmax(size_t V, const float *x)
{
    size_t best = 0;

    for (size_t v = 1; v < V; v++)
        if (x[v] > x[best])
            best = v;
    return (int32_t)best;
}

static int by_logit(const void *a, const void *b, void *x)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const float *logit = x;

    if (logit[i] != logit[j])
        return logit[i] > logit[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static int by_id(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;

    return i < j ? -1 : i > j;
}

/* Tokens kept by top-k, then top-p, ascending; returns how many. */
static size_t keep(const struct ral_sampling *s, size_t V, const float *p,
                   const float *x, int32_t *order)
{
    size_t n = V, k = 0;
    double sum = 0, all = 0;

    for (size_t v = 0; v < V; v++)
        order[v] = (int32_t)v;
    qsort_r(order, V, sizeof *order, by_logit, (void *)(uintptr_t)x);
    if (s->top_k > 0 && (size_t)s->top_k < n)
        n = (size_t)s->top_k;
    for (size_t i = 0; i < n; i++)
        all += (double)p[order[i]];
    while (k < n && (k == 0 || sum < s->top_p * all))
        sum += (double)p[order[k++]];
    qsort(order, k, sizeof *order, by_id);
    return k;
}

int32_t ral_sample(const struct ral_sampling *s, const struct ral_kernels *k,
                   size_t V, const float *x, double lse, double uniform,
                   float *p, int32_t *order)
{
    const bool all = s->top_p >= 1 && s->top_k <= 0;
    double total = 0, sum = 0;
    size_t n = V, last = 0;

    if (s->temperature <= 0)
        return argmax(V, x);
    k->exp_shift(V, x, (float)lse, p);
    if (!all)
        n = keep(s, V, p, x, order);
    for (size_t i = 0; i < n; i++)
        total += (double)p[all ? i : (size_t)order[i]];
    for (size_t i = 0; i < n && sum <= uniform * total; i++) {
        const double more = (double)p[all ? i : (size_t)order[i]];

        sum += more;
        if (more > 0)
            last = i;
    }
    return all ? (int32_t)last : order[last];
}
