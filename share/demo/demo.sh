#!/bin/sh
# demo.sh - from random weights to a policy that looks: pictures, SFT, RL.
#
# `make demo [SEED=n] [QUICK=1] [DEMO=folder]` calls it at the top of the tree
# with the programs in PATH. It is a list of commands: all that learns and
# measures are ral's programs and share/recipes/demo.yaml.
#
# Exit status: 0 done; 1 something failed; 3 SFT ended below 50 %, or the gain's
# interval holds 0.
set -eu
out=${DEMO:-build/demo} seed=${SEED:-0} quick=${QUICK:-}
recipe=share/recipes/demo.yaml data=$out/data eval=$out/eval
began=$(date +%s)
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

stage() { printf '\n[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }
fail() { status=$1; shift; echo "demo: $*" >&2; exit "$status"; }

rm -rf "$out"
mkdir -p "$eval"
# Rows of SFT, and of RL; questions to stop SFT by, and to measure with.
easy=12000 train=4000 validation=600 test=1200
if [ -n "$quick" ]; then
    easy=1000 train=100 validation=100 test=200
    set -- -s sft.max_steps=40 -s sft.eval_every=20 -s sft.stop= \
        -s rollout.batch_size=16 -s update.max_steps=12 -s train.steps=3 \
        -s eval.every=3
fi
for name in sft:easy train:train validation:validation test:test; do
    [ "$out" = build/demo ] ||
        set -- "$@" -s "data.${name%:*}=$data/${name#*:}.jsonl"
done

stage "pictures: 3 things in each for SFT, 6 for everything else ($data)"
ral-synth -q --seed "$seed" -o "$data" --name easy --rows $easy --objects 3 --naming 0.5
for name in "train $train" "validation $validation" "test $test"; do
    ral-synth -q --seed "$seed" -o "$data" --split ${name% *} --rows ${name#* } --objects 6
done

learn() { # learn RUN OPTIONS...
    run=$1; shift
    ral-train "$recipe" --seed "$seed" -o "$out/$run" "$@"
}
measure() { # measure NAME CHECKPOINT BASELINE OPTIONS...: on the test questions
    name=$1 model=$2 base=$3; shift 3
    ral-eval -q -m "$out/$model" -c "$recipe" "$@" --split test \
        -o "$eval/$name.json" --rows "$eval/$name.jsonl" \
        ${base:+--baseline-rows "$eval/$base.jsonl"}
}
field() { # field KEY FILE: a value of a result, or null
    ral-view --get "$1" --default null "$2"
}
pair() { # pair KEY FILE: its two numbers as JSON
    ral-view --get "$1" "$2" | tr '\n' ' ' | awk '{ print "[" $1 "," $2 "]" }'
}

stage 'SFT: random weights learn to answer about sparse pictures'
learn run "$@" -s train.steps=0
sft=$(readlink "$out/run/0") sft=${sft#sft/}
measure before run/0 '' "$@"
[ -n "$quick" ] || [ "$sft" -lt "$(ral-view --get sft.max_steps "$recipe")" ] ||
    awk "BEGIN { exit !($(field accuracy "$eval/before.json") >= 0.5) }" ||
    fail 3 "$sft steps of SFT reach $(field accuracy "$eval/before.json"), below 0.5"

stage 'RAL: rewards alone, on crowded pictures (attention term, lambda = 1)'
learn run "$@"
stage 'the same from the same weights without the attention term (lambda = 0)'
learn lambda0 -s "model.init=$out/run/0" "$@" -s sft.max_steps=0 -s update.attn_coef=0

stage "accuracy on $test questions that nothing above has seen"
measure after_lambda0 lambda0/latest before "$@"
measure against_lambda0 run/latest after_lambda0 "$@"
measure after run/latest before "$@"

stage 'pictures of it'
# A question that the first policy got wrong and the last one right, or any.
outcomes() { # outcomes BEFORE-OR-AFTER CORRECT: ids
    ral-view --get id --where "correct=$2" "$eval/$1.jsonl" 2>/dev/null || :
}
outcomes before 0 >"$eval/wrong"
id=$(outcomes after 1 | grep -Fxf "$eval/wrong" | head -n 1)
[ -n "$id" ] || id=$(ral-view --get id --limit 1 "$eval/after.jsonl")
for look in before:run/0 after:run/latest; do
    ral-rollout -q -m "$out/${look#*:}" -c "$recipe" -n 1 --temperature 0 \
        -s "data.where=id=$id" -o "$eval/look_${look%:*}.ral" "$data/test.jsonl"
    ral-view --heatmap "$out/heatmap_${look%:*}.png" "$eval/look_${look%:*}.ral"
done
ral-view --curve "$out/learning_curve.png" "$out"/run/metrics.jsonl "$out"/lambda0/metrics.jsonl

arm() { # one of three, as JSON
    printf '{"accuracy":%s,"ci95":%s,"n":%s,"evidence_mass":%s}' \
        "$(field accuracy "$1")" "$(pair ci95 "$1")" "$(field n "$1")" \
        "$(field evidence_mass "$1")"
}
seconds=$(($(date +%s) - began))
cat >"$out/result.json" <<END
{"before":$(arm "$eval/before.json"),
"after":$(arm "$eval/after.json"),
"after_lambda0":$(arm "$eval/after_lambda0.json"),
"gain":{"points":$(field gain.points "$eval/after.json"),"ci95":$(pair gain.ci95 "$eval/after.json")},
"sft_steps":$sft,"seed":$seed,"seconds":$seconds}
END

row() { # row NAME FILE
    for key in accuracy ci95 evidence_mass; do field $key "$2"; done | tr '\n' ' ' |
        awk -v name="$1" '{ printf "%-34s %6.1f   %5.1f to %5.1f   %9s\n", name,
            100 * $1, 100 * $2, 100 * $3, $4 == "null" ? "-" : sprintf("%.3f", $4) }'
}
difference() { # difference NAME FILE
    for key in gain.points gain.ci95; do field $key "$2"; done | tr '\n' ' ' |
        awk -v name="$1" '{ printf "%-34s %+6.1f   %+5.1f to %+5.1f\n", name, $1, $2, $3 }'
}
# The divergence at the last update of each batch, then their mean.
mean_j=$(k=0; while [ $((k += 1)) -le "$(readlink "$out/run/latest")" ]; do
    ral-view --get jsd --where program=ral-update --where step=$k --last "$out/run/metrics.jsonl"
done | awk '{ sum += $1 } END { printf "%.2g", sum / NR }')
{
    printf '%-34s %6s   %14s   %9s\n' "seed $seed, $(field n "$eval/after.json") questions, per cent" \
        right '95 % interval' evidence
    row "before: $sft steps of SFT" "$eval/before.json"
    row 'after: RAL, lambda = 1' "$eval/after.json"
    row 'after: GRPO alone, lambda = 0' "$eval/after_lambda0.json"
    difference 'RAL - before' "$eval/after.json"
    difference 'RAL - GRPO alone' "$eval/against_lambda0.json"
    echo
    echo "evidence: share of the attention to the picture that lies on the thing asked for,"
    echo "  where the answer is decided; $(field evidence_uniform "$eval/after.json" | cut -c 1-5) if it were spread evenly."
    echo "Attention divergence J at the last update of a batch, mean of the run: $mean_j nats."
    echo 'Digests of the three policies, which are equal where all their bits are:'
    echo "  $(field digest "$eval/before.json")  before"
    echo "  $(field digest "$eval/after.json")  lambda = 1"
    echo "  $(field digest "$eval/after_lambda0.json")  lambda = 0"
} >"$out/table.txt"

stage 'done'
cat "$out/table.txt" - <<END

Differences are paired, question by question. An interval that holds 0 shows
no difference. That rewards teach more than further SFT would is not shown.

  $out/heatmap_before.png, heatmap_after.png   where the model looks
  $out/learning_curve.png                      SFT, then both runs
  $out/run/streams/                            every response, with its attention
  $out/table.txt                               the table; two runs compare by diff
  $out/result.json                             the table for programs

To try next:
  make demo SEED=$((seed + 1))
  ral-view --heatmap look.png $out/run/streams/1.ral
  make -j2 -f share/experiments/lambda/Makefile SEEDS="0 1 2"    lambda = 0 against 1
  share/recipes/omniglot.yaml, whose first lines tell how        handwriting
END

for file in heatmap_before.png heatmap_after.png learning_curve.png result.json \
    run/0/model.safetensors run/latest/model.safetensors lambda0/latest/model.safetensors \
    run/streams/1.ral eval/before.json eval/after.json eval/after_lambda0.json; do
    [ -s "$out/$file" ] || fail 1 "$out/$file is missing"
done
if [ -n "$quick" ]; then # too short to learn to look, but not to learn words
    ral-view --get loss --where 'program=ral-update --sft' "$out/run/metrics.jsonl" |
        awk 'NR == 1 { first = $1 } { loss = $1 }
        END { printf "demo: SFT loss fell from %.2f to %.2f nats, by 4 or more\n", first, loss
              exit !(first - loss >= 4) }' || fail 1 'the loss of SFT fell by less than 4 nats'
    exit 0
fi
awk "BEGIN { exit !($(field gain.ci95 "$eval/after.json" | head -n 1) > 0) }" ||
    fail 3 'the interval of the gain holds 0'
