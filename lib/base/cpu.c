/* lib/base/cpu.c - which instruction sets the kernels may use. */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned detect(void)
{
    unsigned flags = 0;

#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        flags |= RAL_CPU_AVX2;
#ifdef RAL_EMULATE // make EMULATE=1: it stands on AVX2
    if (flags)
        flags |= RAL_CPU_AVX512;
#else
    if (flags && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        flags |= RAL_CPU_AVX512;
#endif
#endif
    return flags;
}

int ral_cpu_flags(unsigned *flags, const char *cap, struct ral_err *err)
{
    unsigned allowed;

    if (!cap || !*cap || !strcmp(cap, "avx512"))
        allowed = RAL_CPU_AVX2 | RAL_CPU_AVX512;
    else if (!strcmp(cap, "avx2"))
        allowed = RAL_CPU_AVX2;
    else if (!strcmp(cap, "c"))
        allowed = 0;
    else
        return ral_err_set(err, -RAL_EUSAGE,
                           "RAL_CPU=%s: must be c, avx2 or avx512", cap);
    *flags = detect() & allowed;
    return 0;
}

void ral_threads_passive(char **argv)
{
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv); // only a failure comes back
}

const char *ral_cpu_name(unsigned flags)
{
    return flags & RAL_CPU_AVX512 ? "avx512"
           : flags & RAL_CPU_AVX2 ? "avx2"
                                  : "c";
}
