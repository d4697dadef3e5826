#!/bin/sh
# tests/bench/bench.sh - speed and memory beside their floors: `make bench`.
#
#   O=build/plain tests/bench/bench.sh [RESULT.json]
#
# A table on stdout, the same as JSON in RESULT.json [build/bench.json]. Every
# figure is a ratio, or the best, of runs made here and now. A missed floor is
# printed as MISSED and is no failure. Environment:
#   BENCH_J          threads of updates, rollouts and peers [1]
#   BENCH_CLOCK      elapsed or cpu: processor time, for one thread on a
#                    machine that others use too [elapsed when it is idle]
#   RAL_PEER_PYTHON  a Python with PyTorch and transformers [python3]
set -eu
top=$(cd "${0%/*}/../.." && pwd)
O=$(cd "${O:-$top/build/plain}" && pwd)
json=${1:-$top/build/bench.json}
case $json in /*) ;; *) json=$PWD/$json ;; esac
PATH=$O:$O/bench:$PATH
OMP_WAIT_POLICY=passive # idle threads shall not count as work
export PATH OMP_WAIT_POLICY
J=${BENCH_J:-1}
python=${RAL_PEER_PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
cd "$scratch"

# ---- the table ----

calc() { # calc EXPRESSION: one number
    awk "BEGIN { printf \"%.6g\", $1 }"
}

field() { # field KEY <JSON: the numbers or words under that key, one a line
    grep -o "\"$1\":[^,}]*" | sed 's/^[^:]*: *//; s/"//g'
}

least() {
    sort -g | head -n 1
}

most() {
    sort -g | tail -n 1
}

say() {
    printf '%s\n' "$*" >&2
}

# row NAME VALUE min|max FLOOR UNIT [JSON-FIELDS]: one line, one object
rows=
row() {
    held=$(awk "BEGIN { print ($2 $([ "$3" = min ] && echo '>=' || echo '<=') $4) ? \"held\" : \"MISSED\" }")
    printf '%-42s %9s %-7s %s %-6s %s\n' "$1" "$2" "$5" \
        "$([ "$3" = min ] && echo '>=' || echo '<=')" "$4" "$held"
    rows="$rows${rows:+,
}{\"name\":\"$1\",\"value\":$2,\"unit\":\"$5\",\"$3\":$4,\"held\":$([ $held = held ] && echo true || echo false)${6:+,$6}}"
}

skipped() { # skipped NAME WHY
    printf '%-42s %9s %s\n' "$1" - "skipped: $2"
    rows="$rows${rows:+,
}{\"name\":\"$1\",\"skipped\":\"$2\"}"
}

# ---- the clock ----

busy=$(awk '{ print ($1 > 0.7) ? "yes" : "no" }' /proc/loadavg)
clock=${BENCH_CLOCK:-$([ "$busy" = yes ] && [ "$J" -eq 1 ] && echo cpu || echo elapsed)}
case $clock in
cpu)
    [ "$J" -eq 1 ] || { say 'bench: BENCH_CLOCK=cpu needs BENCH_J=1'; exit 2; }
    batch_s=batch_cpu_seconds s=cpu_seconds ms=cpu_ms
    ;;
elapsed) batch_s=batch_seconds s=seconds ms=elapsed_ms ;;
*) say "bench: BENCH_CLOCK=$clock: must be elapsed or cpu"; exit 2 ;;
esac

# ---- the demo's model and rows ----

say 'bench: a model of the demo, 60 steps old'
ral-synth search --objects 6 --rows 2400 -q -o data
ral-init "$top/share/models/tiny" -q -o init
ral-update --sft --steps 60 -j "$J" -q -m init -o model \
    -s sft.batch_size=48 -s sft.learning_rate=1e-3 data/train.jsonl

rollout() { # rollout LOG: 64 prompts x 8 samples
    ral-rollout -q -m model -j "$J" --draw 64 -n 8 --max-tokens 8 \
        --log "$1" data/train.jsonl
}
update() { # update LOG: 4 optimiser steps over them
    ral-update -q --force -m model -j "$J" -o next --log "$1" \
        -s update.num_mini_batches=4 scored.ral
}
ours() { # as often as the peers' best is looked for
    for i in 1 2 3 4 5; do
        rollout rollout.log >/dev/null
        update update.log
    done
}

rollout first.log >rollout.ral
ral-reward -q rollout.ral >scored.ral
printf '%-42s %9s %-7s %s\n' 'floor' 'measured' '' 'wanted'

# ---- updates and rollouts beside OpenBLAS and PyTorch ----

peer() { # peer rollout|update
    "$python" "$top/tests/bench/peer_torch.py" model -j "$J" --only "$1" \
        --size "$(field side_px <work)" --samples 8 --mini-batches 4 \
        --text-tokens $(($(field prompt_tokens <work) - $(field visual_tokens <work) - 2)) \
        --max-new 4 --response "$(field response_tokens <work)" \
        --seconds 2 2>peer.err || { tail -n 3 peer.err >&2; exit 1; }
}

bench_flops model scored.ral >work
say 'bench: updates and rollouts'
ours
if "$python" -c '' 2>/dev/null; then
    say 'bench: the same in PyTorch (minutes)'
    peer rollout >peer_rollout
    ours
    peer update >peer_update
    ours
else
    echo "{\"skipped\":\"$python not installed\"}" >peer_rollout
fi
gflop=$(field gflop <work)
# of a batch: what its last update says
seconds=$(awk 'NR % 4 == 0' update.log | field $batch_s | least)
sgemm=$(calc "$(field sgemm_gflops <work) * $J")
row 'update, of sgemm at its widths' "$(calc "$gflop / $seconds / $sgemm")" min 0.3 '' \
    "\"seconds\":$seconds,\"sgemm_gflops\":$sgemm,\"work\":$(cat work)"

tokens=$(field tokens <rollout.log | head -n 1)
rate=$(calc "$tokens / $(field $s <rollout.log | least)")
samples=$(calc "$(field samples <work) / $seconds")
if why=$(field skipped <peer_rollout) && [ "$why" ]; then
    skipped 'rollout, tokens/s to PyTorch' "$why"
    skipped 'update, samples/s to PyTorch' "$why"
else
    theirs=$(field rollout_tokens_per_s <peer_rollout)
    row 'rollout, tokens/s to PyTorch' "$(calc "$rate / $theirs")" min 2 x \
        "\"tokens_per_s\":$rate,\"peer\":$(cat peer_rollout)"
    theirs=$(field update_samples_per_s <peer_update)
    row 'update, samples/s to PyTorch' "$(calc "$samples / $theirs")" min 2 x \
        "\"samples_per_s\":$samples,\"peer\":$(cat peer_update)"
fi

# ---- forward products, shape by shape ----

say 'bench: products'
for M in 1 8 64 1024; do
    # N K of tower, merger, decoder, head; and large ones
    for NK in '64 1176' '192 64' '64 64' '128 64' '64 128' '256 256' \
        '128 256' '128 128' '256 128' '1024 128' '2048 2048'; do
        # shellcheck disable=SC2086
        bench_matmul 3 $M $NK
    done
done >matmul
while read -r shape; do
    row "product $(echo "$shape" | sed 's/.*\[\([0-9]*\),\([0-9]*\),\([0-9]*\)\].*/\1 x \2 x \3/'), to OpenBLAS" \
        "$(echo "$shape" | field ratio)" min 0.85 x "\"detail\":$shape"
done <matmul

# ---- how long programs take to start ----

start() { # start NAME MS RUNS COMMAND...
    name=$1 floor=$2 runs=$3
    shift 3
    bench_spawn "$runs" "$@" >spawn
    row "$name" "$(field $ms <spawn)" max "$floor" ms "\"detail\":$(cat spawn)"
}
say 'bench: starts'
ral-rollout -q -m model --limit 1 -n 1 --max-tokens 1 data/train.jsonl >one.ral
start 'ral-rollout to its first token' 100 20 ral-rollout -q -m model -j "$J" \
    --limit 1 -n 1 --max-tokens 1 data/train.jsonl
start 'ral-reward starts' 10 50 ral-reward -q one.ral
start 'ral-view --count starts' 10 50 ral-view --count one.ral

# ---- memory over a stream ten times as long ----

grows() { # grows NAME SHORT LONG: kilobytes
    row "$1" "$(calc "$3 / $2")" max 1.1 x "\"peak_kb\":[$2,$3]"
}
peak() {
    bench_spawn 1 "$@" | field peak_kb
}
say 'bench: memory'
for n in 200 2000; do
    peak ral-rollout -q -m model -j "$J" -n 2 --max-tokens 8 --limit $n \
        -o $n.ral data/train.jsonl >rollout.$n
    peak ral-reward -q -o $n.scored.ral $n.ral >reward.$n
    peak ral-view $n.scored.ral >view.$n
done
grows 'memory of ral-rollout, 10 x the rows' "$(cat rollout.200)" "$(cat rollout.2000)"
grows 'memory of ral-reward, 10 x the records' "$(cat reward.200)" "$(cat reward.2000)"
grows 'memory of ral-view, 10 x the records' "$(cat view.200)" "$(cat view.2000)"

mkdir -p "${json%/*}"
cat >"$json" <<END
{"threads":$J,"clock":"$clock","kernels":"$(ral-rollout -V | tr '\n' ' ' | sed 's/"//g; s/ *$//')",
"floors":[
$rows
]}
END
say "bench: $clock time, $J thread(s); as JSON in $json"
