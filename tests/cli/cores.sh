#!/bin/sh
# tests/cli/cores.sh - weights do not depend on the processor: not on OpenBLAS's
# core, on our kernels' instruction set, on threads
. "${0%/*}/../lib.sh"

case $O in *address*) echo '1..0 # SKIP slow under a sanitizer'; exit 0 ;; esac

# --- what this processor has ---
has() {                 # has FLAG...: /proc/cpuinfo lists all of them
    for flag; do
        grep -qwm 1 "$flag" /proc/cpuinfo || return
    done
}
cores='' kernels=c
if has avx2 fma; then cores='Haswell Zen' kernels="$kernels avx2"; fi
if has avx512f avx512dq avx512bw avx512vl avx512cd; then
    cores="$cores SkylakeX" kernels="$kernels avx512"
    if has avx512_bf16; then cores="$cores Cooperlake"; fi
    if has avx512_bf16 amx_bf16; then cores="$cores SapphireRapids"; fi
fi
# Those that this OpenBLAS can be told to take; '' is its own choice.
taken=''
for core in $cores; do
    blas=$(OPENBLAS_CORETYPE=$core ral-update -V | grep '^BLAS:' || :)
    case $blas in
    '' | "BLAS: $core "*) taken="$taken $core" ;;
    *) echo "# OpenBLAS here has no $core" ;;
    esac
done
[ -n "$taken" ] || taken=default
echo "# cores:$taken; kernels: $kernels"

# --- one small step of each kind, under every combination ---
ral-synth -q --rows 12 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
ral-init -q --seed 9 m.from -o teacher
ral-update -q --sft --steps 4 -s sft.batch_size=4 -s sft.learning_rate=0.003 \
    -m m -o start $rows
ral-rollout -q -m start -n 2 --limit 4 --max-tokens 4 $rows |
    restream --advantages >s.ral
steps() {               # steps OPTIONS...: sums of the weights of three programs
    rm -rf sft rl distilled
    ral-update -q --sft --steps 2 -s sft.batch_size=4 \
        -s sft.learning_rate=0.003 -m m -o sft "$@" $rows &&
        ral-update -q -s update.learning_rate=0.001 -s update.beta=0.04 \
            -s update.num_mini_batches=2 --ref m -m start -o rl "$@" s.ral &&
        ral-distill -q -s distill.learning_rate=0.001 -t teacher -m start \
            -s distill.num_mini_batches=2 -o distilled "$@" s.ral &&
        sha256sum sft/model.safetensors rl/model.safetensors \
            distilled/model.safetensors
}
steps >want
holds 'three programs, three policies' "$(cut -c 1-64 want | sort -u | wc -l) == 3"
for core in $taken; do
    [ "$core" = default ] || export OPENBLAS_CORETYPE="$core"
    for kernel in $kernels; do
        for j in 1 2; do
            RAL_CPU=$kernel steps -j $j >got 2>err || :
            same "the same weights: $core, $kernel, -j $j" want got
            diff want got | sed -n 's/^> .*  \(.*\)\/.*/# \1 differs/p'
        done
    done
done

# --- unit tests that multiply, under every core ---
for core in $taken; do
    [ "$core" = default ] || export OPENBLAS_CORETYPE="$core"
    for unit in matmul golden step; do
        [ -x "$O/unit/test_$unit" ] || continue
        expect 0 "test_$unit: $core" "$O/unit/test_$unit"
        grep '^not ok' out | sed 's/^/# /' || :
    done
done
finish
