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

/**
 * Lets waiting threads sleep: unless OMP_WAIT_POLICY says otherwise, starts
 * this program again with it set to passive, as it is read before main. On
 * cores that others use, too, spinning threads make it 20 times slower.
 * The first thing in main; returns if there is nothing to do.
 */
void ral_threads_passive(char **argv);

/* "avx512", "avx2" or "c": the path that flags select. */
const char *ral_cpu_name(unsigned flags);

#endif
