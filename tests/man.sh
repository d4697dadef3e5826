#!/bin/sh
# tests/man.sh - every program has a manual, and its examples run.
. "${0%/*}/lib.sh"

# What the examples take for granted.
ral-synth -q --rows 24 --split train -o data
ral-synth -q --rows 24 --split test --objects 6 -o data
mkdir ckpt share
ln -s "$top/share/models" share/models
ral-init -q "$top/share/models/tiny" -o ckpt/0
ral-init -q --seed 9 "$top/share/models/tiny" -o teacher
ral-rollout -q -m ckpt/0 -n 2 --limit 4 --max-tokens 4 data/train.jsonl |
    ral-reward -q -o scored.ral
cp scored.ral rollouts.ral
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
    name=${page##*/}
    expect 0 "$name is well formed" sh -c "mandoc -T lint -W error '$page' |
        grep -v 'referenced manual not found' >lint; ! [ -s lint ]"
    case " $skip " in *" $name "*) continue ;; esac
    n=1
    while example "$page" $n >example.sh; do
        expect 0 "$name, example $n" sh -eu example.sh
        n=$((n + 1))
    done
    expect 0 "$name has examples" test $n -gt 1
done
for prog in "$O"/ral-*; do
    name=${prog##*/}
    expect 0 "$name has a manual" test -f "$top/man/$name.1"
    expect 0 "$name --help" "$prog" --help
    expect 0 "$name --help goes to stdout" grep -q '^usage:' out
    expect 2 "$name --bogus" "$prog" --bogus
done
finish
