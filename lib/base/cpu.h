/* lib/base/cpu.h - which instruction sets the kernels may use. */
#ifndef RAL_CPU_H
#define RAL_CPU_H

#include "base/err.h"

enum { RAL_CPU_AVX2 = 1, RAL_CPU_AVX512 = 2 }; // AVX2 always with FMA

/**
 * What this processor and kernel offer, capped by a name: "c", "avx2" or
 * "avx512"; NULL or "" caps nothing. cmd/ passes getenv("RAL_CPU").
 * @return 0, or -RAL_EUSAGE for another name.
 */
int ral_cpu_flags(unsigned *flags, const char *cap, struct ral_err *err);

/* "avx512", "avx2" or "c": the path that flags select. */
const char *ral_cpu_name(unsigned flags);

#endif
