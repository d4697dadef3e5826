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

# What a program logs, or gives as its result, is explained.
ral-rollout -q -m ckpt/0 -n 2 --limit 2 --max-tokens 4 --log rollout.jsonl \
    -o few.ral data/train.jsonl
for log in rollout:rollout update:metrics distill:distill eval:today; do
    page=$top/man/ral-${log%:*}.1 more=
    case $log in distill:*) more=$top/man/ral-update.1 ;; esac # it refers there
    cat "${log#*:}".json* | jq -r 'keys[]' | sort -u >keys
    expect 0 "ral-${log%:*}.1: there are measurements" test "$(wc -l <keys)" -gt 5
    sed 's/\\f.//g; s/\\-/-/g; s/"//g' "$page" $more |
        grep '^\.[BI]' | tr -cs 'a-z0-9_' '\n' | sort -u >words
    expect 0 "ral-${log%:*}.1: each is explained" sh -c \
        'comm -23 keys words >odd; cat odd >&2; ! [ -s odd ]'
done

# Prints the tags of a manual's lists, one a line, without quotes and escapes.
tags() {
    awk '/^\.T[PQ]$/ { getline; print }
         /^\.It / { gsub(/Fl /, "-"); gsub(/, -/, ", --"); print }' "$1" |
        sed 's/\\f.//g; s/\\-/-/g; s/"//g'
}

# Settings stand in manuals with the values and the default of their rows.
ral-view --settings | awk -F '\t' '{
    print $1 " (" $3 ($4 == "" ? "" : "; default " $4) ")" }' | sort >rows
expect 0 'there are settings' test "$(wc -l <rows)" -gt 80
expect 0 'each has one row' sh -c 'cut -d" " -f1 rows | uniq -d >odd; ! [ -s odd ]'
for page in "$top"/man/*.1; do
    base=${page##*/}
    tags "$page" | tr -s ' ' |
        sed -n 's/^\.B[IR]* \([a-z]*\.[a-z0-9_.]*\( .*\)*\)$/\1/p' |
        sort >listed
    cat listed >>all
    expect 0 "$base: its settings are as their rows" sh -c \
        'comm -13 rows listed >odd; uniq -d listed >>odd; cat odd >&2; ! [ -s odd ]'
done
expect 0 'no setting is without a manual' sh -c \
    'sort -u all | comm -23 rows - >odd; cat odd >&2; ! [ -s odd ]'

for prog in "$O"/ral-*; do
    base=${prog##*/}
    [ -x "$prog" ] || continue
    expect 0 "$base has a manual" test -f "$top/man/$base.1"
    "$prog" --help | grep -o -- ' --[a-z][a-z-]*' | sort -u >options
    tags "$top/man/$base.1" | grep -o -- '--[a-z][a-z-]*' |
        sed 's/^/ /' | sort -u >listed
    expect 0 "$base: options as in --help" sh -c 'diff options listed >&2'
    # "Default: 8." of an option is "[8]" in its line of --help.
    awk '/^\.T[PQ]$/ { getline; tag = $0 } /^\.It / { tag = $0 }
         /^Default: / { print tag, $2 }' "$top/man/$base.1" |
        sed -n 's/\\-/-/g; s/^.*[ -]-\([a-z][a-z-]*\).* \([^ ]*[^.,]\)[.,]*$/--\1 \2/p' |
        sort >listed
    "$prog" --help |
        sed -n 's/^.* \(--[a-z-]*\) .*\[\([-0-9.e]*\)\]$/\1 \2/p' | sort >options
    expect 0 "$base: defaults of options as in --help" sh -c \
        'join listed options | awk "\$2 != \$3" >odd; cat odd >&2; ! [ -s odd ]'
    expect 0 "$base --help" sh -c "$prog --help | grep -q '^usage:'"
    expect 2 "$base --bogus" "$prog" --bogus
done
finish
