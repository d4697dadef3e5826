#!/bin/sh
# tests/exact_cuda.sh - the functions of one number compile for a GPU, and every
# operation in them is rounded to nearest.
. "${0%/*}/lib.sh"
command -v nvcc >/dev/null || { echo '1..0 # SKIP needs nvcc'; exit 0; }

cat >all.cu <<'END'
#include "nn/exact.h"

__global__ void all(float *f, double *d, unsigned long long t)
{
    double s, c;

    f[0] = exp_one(f[0]) + erf_one(f[1]) / fold(f + 2);
    ral_sincos_d(d[0], &s, &c);
    d[0] = s + c + ral_exp_d(d[1]) + ral_log_d(d[2]) + ral_expm1_d(d[3]) +
           ral_log1p_d(d[4]) + ral_pow_d(d[5], t) + ral_cos_d(d[6]);
}
END
flags='-fmad=false -prec-div=true -prec-sqrt=true -ftz=false'
expect 0 'compiles as CUDA C++' \
    nvcc $flags -Werror all-warnings -I"$top/lib" -c all.cu
expect 0 'compiles to PTX' nvcc $flags -I"$top/lib" -ptx all.cu
ptx=$(grep -cE '(fma|mul|add|sub|div)\.rn\.f(32|64)' all.ptx)
if [ "$ptx" -gt 200 ]; then ok 0 'operations'; else ok 1 "operations: $ptx"; fi
if grep -E '(mul|add|sub|mad|ex2|lg2|rcp|sqrt)\.f(32|64)|approx|\.ftz' all.ptx >bad
then
    ok 1 'all rounded to nearest'
    sed 's/^/# /' bad
else
    ok 0 'all rounded to nearest'
fi
finish
