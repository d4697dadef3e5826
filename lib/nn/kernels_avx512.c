/* lib/nn/kernels_avx512.c - the kernels for AVX-512 (F, DQ, VL). */
#ifdef __AVX512F__
#include "nn/kernels_body.h"

void ral_kernels_fill_avx512(struct ral_kernels *k)
{
    kernels_fill(k, "avx512");
}
#endif
