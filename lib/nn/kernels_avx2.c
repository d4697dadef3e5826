/* lib/nn/kernels_avx2.c - the kernels for AVX2 with FMA. */
#ifdef __AVX2__
#include "nn/kernels_body.h"

void ral_kernels_fill_avx2(struct ral_kernels *k)
{
    kernels_fill(k, "avx2");
}
#endif
