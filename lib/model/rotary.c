/* lib/model/rotary.c - angles of positions, tables of the host. */
#include "model/rotary.h"

#include "nn/exact.h"

int ral_rotary_init(struct ral_rotary *r, size_t positions, size_t n,
                    const float *freq, struct ral_arena *a)
{
    float *cos = RAL_NEW(a, float, positions * n);
    float *sin = RAL_NEW(a, float, positions * n);

    *r = (struct ral_rotary){n, cos, sin};
    if (!cos || !sin)
        return -RAL_ENOMEM;
    for (size_t i = 0; i < positions * n; i++) {
        double s, c;

        ral_sincos_d((double)((float)(i / n) * freq[i % n]), &s, &c);
        cos[i] = (float)c;
        sin[i] = (float)s;
    }
    return 0;
}

int ral_angles_init(struct ral_angles *x, size_t rows, size_t half,
                    struct ral_arena *a)
{
    *x = (struct ral_angles){rows, half, RAL_NEW(a, float, rows * half),
                             RAL_NEW(a, float, rows * half)};
    return x->cos && x->sin ? 0 : -RAL_ENOMEM;
}

void ral_angles_set(struct ral_angles *x, size_t row, size_t to,
                    const struct ral_rotary *r, size_t position, size_t from,
                    size_t n)
{
    for (size_t j = 0; j < n; j++) {
        x->cos[row * x->half + to + j] = r->cos[position * r->n + from + j];
        x->sin[row * x->half + to + j] = r->sin[position * r->n + from + j];
    }
}
