/* lib/base/each.c - independent tasks on several threads. */
#include "base/each.h"

void ral_each(int threads, size_t n, void (*fn)(void *ctx, size_t i),
              void *ctx)
{
    if (n == 1) {
        fn(ctx, 0);
        return;
    }
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (size_t i = 0; i < n; i++)
        fn(ctx, i);
}
