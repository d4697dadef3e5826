#!/bin/sh
# tests/man.sh - every program has a manual, and its examples run.
. "${0%/*}/lib.sh"

# What the examples take for granted.
# A policy that has learnt to answer, in a word that is often wrong.
ral-synth -q --rows 64 --split train -o data
ral-synth -q --rows 24 --split test --objects 6 -o data
sed -i 's/"category"/"choices":["red","blue","yellow","green","purple","orange"],&/' data/train.jsonl
mkdir ckpt share
ln -s "$top/share/models" share/models
ral-init -q "$top/share/models/tiny" -o ckpt/random
ral-init -q --seed 9 "$top/share/models/tiny" -o teacher
ral-update -q --sft --steps 30 -s sft.batch_size=16 -s sft.learning_rate=2e-3 \
    -m ckpt/random -o ckpt/0 data/train.jsonl
ral-rollout -q -m ckpt/0 -n 2 --limit 4 --max-tokens 4 data/train.jsonl |
    ral-reward -q -o scored.ral
cp scored.ral rollouts.ral
echo '{"accuracy":0.5}' >results.json
echo '{"program":"ral-update","step":3,"reward":0.5}' >metrics.jsonl
# The examples of synthetic data and training are run by their own tests.
skip='ral-synth.1 ral-train.1'

# Prints the n-th example of a manual as shell text, or fails.
example() {
    awk -v want="$2" '/^\.SH EXAMPLES/ {on = 1}
        /^\.SH/ && !/EXAMPLES/ {on = 0}
        on && /^\.EX/ {n++; inside = 1; found += n == want; next}
        /^\.EE/ {inside = 0}
        inside && n == want {gsub(/\\e/, "\\"); gsub(/\\-/, "-")
                             gsub(/\\&/, ""); print}
        END {exit !found}' "$1"
}

for page in "$top"/man/*.1; do
    base=${page##*/}
    expect 0 "$base is well formed" sh -c "mandoc -T lint -W error '$page' |
        grep -v 'referenced manual not found' >lint; ! [ -s lint ]"
    case " $skip " in *" $base "*) continue ;; esac
    n=1
    while example "$page" $n >example.sh; do
        expect 0 "$base, example $n" sh -eu example.sh
        n=$((n + 1))
    done
    expect 0 "$base has examples" test $n -gt 1
done
for prog in "$O"/ral-*; do
    base=${prog##*/}
    [ -f "$prog" ] || continue
    expect 0 "$base has a manual" test -f "$top/man/$base.1"
    expect 0 "$base --help" sh -c "$prog --help | grep -q '^usage:'"
    expect 2 "$base --bogus" "$prog" --bogus
done
finish
