#!/bin/sh
# tests/cli/synth.sh - made-up question sets: repeatable, split, well-formed
. "${0%/*}/../lib.sh"

# text, answer, category, box, cluster and picture of every row, by tabs
fields() {
    sed -E 's/.*"text":"([^"]*)".*"answer":"([^"]*)","category":"([^"]*)","boxes":\[\[([0-9,]*)\]\],"cluster":"([^"]*)".*/\1\t\2\t\3\t\4\t\5/' "$@"
}

expect 0 'a training set' ral-synth -o a --rows 40 --naming 0.5 --seed 3
says 'a/train.jsonl: 40 rows'
expect 0 'the same again' ral-synth -q -o b --rows 40 --naming 0.5 --seed 3
diff -r a b && ok 0 'the same seed gives the same bytes' || ok 1 'same bytes'
expect 0 'another seed' ral-synth -q -o c --rows 40 --naming 0.5 --seed 4
cmp -s a/train.jsonl c/train.jsonl && ok 1 'other bytes' ||
    ok 0 'another seed gives other rows'

# ids are unique, every picture is there and nothing else is
sed -E 's/^\{"id":"([^"]*)".*/\1/' a/train.jsonl | sort -u | wc -l >n
ok "$(($(cat n) - 40))" 'ids are unique'
sed -E 's/.*"image":"(images[^"]*)".*/\1/' a/train.jsonl | sort -u >named
(cd a && find images -type f | sort) >there
cmp named there && ok 0 'rows and pictures agree' || ok 1 'pictures'

# every prefix has the mix: after 2k rows k are namings
fields a/train.jsonl | awk -F'\t' '{n += $3 == "shape"}
    NR % 2 == 0 && n != NR / 2 {exit 1}' &&
    ok 0 'naming rows are spread evenly' || ok 1 'naming rows'

# boxes: 15 to 24 pixels within one cell
expect 0 'a crowded test set' ral-synth -q -o a --split test --rows 200 \
    --objects 6 --questions 6 --clutter 10
fields a/test.jsonl | awk -F'\t' '{split($4, b, ",")
    w = b[3] - b[1]; h = b[4] - b[2]; m = w > h ? w : h
    if (m < 16 || m > 24 || int(b[1] / 28) != int((b[3] - 1) / 28) ||
        int(b[2] / 28) != int((b[4] - 1) / 28) || b[3] > 112 || b[4] > 112)
        exit 1}' && ok 0 'boxes lie in cells' || ok 1 'boxes'
fields a/test.jsonl | awk -F'\t' '{k = $5 $1; if (k in seen) exit 1
    seen[k] = 1; n[$5]++; c[$2]++} END {for (p in n) if (n[p] > 6) exit 1
    for (a in c) i++; exit i != 6}' &&
    ok 0 'six shapes a picture, six colours' || ok 1 'shapes and colours'

# The content of small scenes, whose every object is asked about: cell, shape
# and colour. Many seeds of one split never meet those of another.
contents() {
    for seed in 1 2 3; do
        ral-synth -q -o s$seed --split $1 --rows 120 --cells 2 --shapes 3 \
            --colours 2 --objects 2 --questions 2 --seed $seed
        fields s$seed/$1.jsonl | awk -F'\t' '{split($4, b, ",")
            print $5 "\t" int(b[1] / 28) "," int(b[2] / 28) "," $1 "," $2}' |
            sort | awk -F'\t' '$1 == p {print last ";" $2}
                {p = $1; last = $2}'
    done | sort -u
}
for s in train validation test; do contents $s >$s; done
test -s train && test -s validation && test -s test &&
    [ "$(cat train validation test | wc -l)" -eq \
      "$(cat train validation test | sort -u | wc -l)" ] &&
    ok 0 "no scene in two splits ($(wc -l <train) $(wc -l <validation) $(wc -l <test))" ||
    ok 1 'splits overlap'

# knobs
expect 0 'picture first' ral-synth -q -o d --rows 4 --order picture-first \
    --name easy --prefix x/ --cells 6 --objects 1 --questions 1 search
head -n 1 d/easy.jsonl | grep -q \
    '^{"id":"x/000001",.*"content":\[{"type":"image","image":"images/easy/000001.png"},{"type":"text"' &&
    ok 0 'order, name and prefix' || ok 1 'order, name and prefix'
dd if=d/images/easy/000001.png bs=1 skip=16 count=8 2>/dev/null |
    od -An -tu1 | grep -q '0 *0 *0 *168 *0 *0 *0 *168' &&
    ok 0 '6 x 6 cells are 168 pixels' || ok 1 'size'

# refusals leave nothing behind
expect 1 'existing rows' ral-synth -o a --rows 4
says 'a/train.jsonl: exists'
expect 0 'unless forced' ral-synth -q -o a --rows 4 --force
ok "$(($(ls a/images/train | wc -l) - 2))" 'old pictures are gone'
expect 2 'no output' ral-synth --rows 4
says 'name a folder with -o DIR'
expect 2 'unknown family' ral-synth -o e relations
says 'no family "relations"; there is search'
expect 2 'two families' ral-synth -o e search search
expect 2 'unknown split' ral-synth -o e --split dev
says 'train, validation and test'
expect 2 'unknown order' ral-synth -o e --order random
says 'question-first or picture-first'
expect 2 'more objects than shapes' ral-synth -o e --objects 5 --shapes 4
says 'no picture shows a shape twice'
expect 2 'more objects than cells' ral-synth -o e --objects 5 --cells 2
says '5 objects do not fit into 2x2 cells'
expect 2 'more questions than objects' ral-synth -o e --objects 2 --questions 3
expect 2 'too many colours' ral-synth -o e --colours 7
says '--colours must be between 1 and 6'
expect 2 'negative' ral-synth -o e --rows -1
expect 2 'no rows' ral-synth -o e --rows 0
expect 2 'naming over 1' ral-synth -o e --naming 1.5
expect 2 'a path as name' ral-synth -o e --name ../x
expect 2 'no scene in the split' ral-synth -o e --split test --cells 1 \
    --shapes 1 --colours 1 --objects 1 --questions 1
says 'none of the few scenes'
expect 1 'no such folder' ral-synth -o no/such/folder
says 'no/such/folder'
: >file
expect 1 'a file as folder' ral-synth -o file
[ ! -e e ] && [ ! -e no ] && ok 0 'nothing was left' || ok 1 'left-overs'

# an interrupt: nothing half-made
begun() { ls -d f/*.tmp.* >/dev/null 2>&1; }
ral-synth -q -o f --rows 1000000 2>err &
await $! begun || :
kill -TERM $! || :
got=0
wait $! || got=$?
holds 'terminated' "$got == 143"
absent 'nothing is left' f f.*

# the manual's examples
awk '/^\.Sh/ {e = /EXAMPLES/} e && /^\.Bd/ {b = 1; next} /^\.Ed/ {b = 0}
    e && b' "$top/man/ral-synth.1" | sed 's/\\e/\\/g' >examples
mkdir man && cd man
expect 0 'examples of the manual' sh -eu ../examples
[ -s data/train.jsonl ] && [ -s data/test.jsonl ] && ok 0 'made rows' ||
    ok 1 'made rows'
cd ..
finish
