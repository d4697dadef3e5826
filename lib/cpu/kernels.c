/* lib/cpu/kernels.c - the kernels' definition, and the choice among instruction
 * sets.
 */
#include "cpu/kernels.h"

#include "base/cpu.h"
#include "cpu/kernels_body.h"

void ral_kernels_init(struct ral_kernels *k, unsigned cpu)
{
#ifdef __x86_64__
    if (cpu & RAL_CPU_AVX512) {
        ral_kernels_fill_avx512(k);
        return;
    }
    if (cpu & RAL_CPU_AVX2) {
        ral_kernels_fill_avx2(k);
        return;
    }
#endif
    (void)cpu;
    kernels_fill(k, "c");
}
