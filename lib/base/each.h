/* lib/base/each.h - independent tasks on several threads. */
#ifndef RAL_EACH_H
#define RAL_EACH_H

#include <stddef.h>

/* fn(ctx, i) for every i under n, thread by thread in turn; without threads
 * where there is one task alone. */
void ral_each(int threads, size_t n, void (*fn)(void *ctx, size_t i),
              void *ctx);

#endif
