/* lib/model/rotary.h - angles of positions, tables of the host. */
#ifndef RAL_ROTARY_H
#define RAL_ROTARY_H

#include "model/model.h"

/* cos, sin [positions][n] of (float)position times each of n frequencies, from
 * double, rounded once. */
struct ral_rotary {
    size_t n;
    const float *cos, *sin;
};

int ral_rotary_init(struct ral_rotary *r, size_t positions, size_t n,
                    const float *freq, struct ral_arena *a);

/* Angles of rows, one after another, before they go to the machine. */
struct ral_angles {
    size_t rows, half;
    float *cos, *sin; // [rows][half]
};

int ral_angles_init(struct ral_angles *x, size_t rows, size_t half,
                    struct ral_arena *a);
/* Entries to .. to+n-1 of a row: entries from .. of a position's. */
void ral_angles_set(struct ral_angles *x, size_t row, size_t to,
                    const struct ral_rotary *r, size_t position, size_t from,
                    size_t n);

#endif
