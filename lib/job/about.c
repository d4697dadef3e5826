/* lib/job/about.c - the version line of programs that compute. */
#include <stdio.h>

#include <cblas.h>

#include "base/cpu.h"
#include "job/common.h"

void ral_version_show_kernels(const char *prog, const char *cpu)
{
    struct ral_err err = {0};
    unsigned flags;

    ral_version_show(prog);
    if (ral_cpu_flags(&flags, cpu, &err) < 0)
        printf("kernels: %s\n", err.msg);
    else
        printf("kernels: %s\n", ral_cpu_name(flags));
    printf("BLAS: %s (%s)\n", openblas_get_corename(), openblas_get_config());
}
