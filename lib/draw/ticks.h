/* lib/draw/ticks.h - where an axis has its numbers. */
#ifndef RAL_TICKS_H
#define RAL_TICKS_H

#include <stddef.h>

#define RAL_TICKS_MOST 16

struct ral_ticks {
    size_t n;
    double at[RAL_TICKS_MOST];
    char text[RAL_TICKS_MOST][24];
};

/**
 * Round numbers (1, 2 or 5 times a power of ten apart) within lo .. hi, at
 * most `most` of them, written with the digits that tell them apart.
 */
void ral_ticks_make(struct ral_ticks *t, double lo, double hi, size_t most);

#endif
