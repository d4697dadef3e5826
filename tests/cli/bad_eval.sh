#!/bin/sh
# tests/cli/bad_eval.sh - what ral-eval refuses, and what it then leaves
. "${0%/*}/../lib.sh"

nothing() { [ -e "$1" ] && ok 1 "no $1" || ok 0 "no $1"; }

ral-synth -q -o d --rows 12
ral-init -q "$top/share/models/tiny" -o m
rows=d/train.jsonl

expect 1 'no checkpoint' ral-eval -m none $rows
says 'none: neither a checkpoint'
expect 2 'rows without a policy' ral-eval $rows
says "$rows: rows are answered by -m"
expect 2 'and from a pipe' sh -c "cat $rows | ral-eval"
says 'stdin: rows are answered by -m'
expect 1 'nothing at all' sh -c 'ral-eval </dev/null'
says 'stdin: empty'
expect 1 'no file' ral-eval -m m none.jsonl
says 'none.jsonl: cannot open'
: >empty
expect 1 'no rows' ral-eval -m m empty
says 'empty: holds no rows'
printf '{"id":"a","messages":[]}\n{"id"\n' >broken
expect 1 'a broken line' ral-eval -m m broken
says 'broken:2'
sed 's/train-00000[12]"/x"/' $rows >twice
expect 1 'an id twice' ral-eval -m m twice --media-root d
says 'twice:2'
expect 2 'one file at a time' ral-eval -m m $rows $rows
sed '3s/images[^"]*/gone.png/' $rows >gone
expect 0 'one picture missing of twelve' \
    ral-eval -q -m m gone --media-root d --max-tokens 1 --rows r -o r.json
grep -q 'gone:3: .*gone.png' err && ok 0 'is told' || ok 1 'is told'
grep -q '"error":"gone:3' r && ok 0 'and kept' || ok 1 'and kept'
grep -q '"n":11,.*"failed":1,' r.json && ok 0 'and counted' || ok 1 'and counted'
sed 's/images[^"]*/gone.png/' $rows >gone
expect 1 'all missing' ral-eval -m m gone --media-root d -o x.json --rows x
says 'gone.png: cannot open'
nothing x.json
nothing x
expect 3 'more than allowed' ral-eval -m m gone --media-root d --max-failed 0
sed 's/"answer":"[a-z]*"/"answer":7/' $rows >seven
expect 1 'no text to compare with' ral-eval -q -m m seven --media-root d \
    --max-tokens 1 -o x.json
says '12 of 12 records failed'
nothing x.json
expect 1 'no choices' ral-eval -q -m m $rows --max-tokens 1 -s eval.metric=choice
says 'choices'
sed '2s/"boxes":\[\[[0-9]*/"boxes":[["3"/' $rows >boxes
expect 1 'boxes that are none' ral-eval -q -m m boxes --media-root d --max-tokens 1
says 'record train-000002: boxes[0]'
sed '2s/"boxes":\[\[[^]]*/"boxes":[[200,0,300,9/' $rows >boxes
expect 1 'a box outside' ral-eval -q -m m boxes --media-root d --max-tokens 1
says 'outside its picture of 112 x 112'

expect 1 'unwritable' ral-eval -m m $rows -o no/such/x.json
says 'no/such/x.json: cannot create'
expect 1 'unwritable answers' ral-eval -m m $rows --rows no/such/x
says 'no/such/x'
expect 1 'full disk' sh -c "ral-eval -q -m m $rows --limit 1 --max-tokens 1 >/dev/full"
says 'stdout'
expect 1 'no baseline' ral-eval -m m $rows --baseline none.json
says 'none.json'
echo '{"n":1}' >b.json
expect 1 'a baseline without accuracy' ral-eval -m m $rows --baseline b.json
says 'b.json: holds no accuracy'
echo '{"accuracy":1,"metric":"choice"}' >b.json
expect 1 'of another metric' ral-eval -m m $rows --baseline b.json
says 'measures choice'
echo '{"id":1}' >b.rows
expect 1 'no rows of ours' ral-eval -m m $rows --baseline-rows b.rows
says 'b.rows:1'
echo '{"id":"z","correct":1}' >b.rows
expect 1 'none in common' ral-eval -q -m m $rows --limit 2 --max-tokens 1 \
    --baseline-rows b.rows -o kept.json
says 'no id of these rows'
[ -s kept.json ] && ok 0 'but the results are kept' || ok 1 'results kept'

ral-rollout -q -m m -n 1 --max-tokens 2 $rows >s.ral
head -c 900 s.ral >cut.ral
expect 1 'a cut stream' ral-eval -o x.json cut.ral
says 'cut.ral: truncated'
nothing x.json
expect 1 'a cut stream and a limit' ral-eval --limit 1 cut.ral
expect 1 'rows after a stream' ral-eval s.ral $rows
says 'd/train.jsonl: not a zstd frame'
expect 1 'too large a record' ral-eval --max-record 100 s.ral
says '--max-record'
expect 0 'a stream and -m' ral-eval -q -m m s.ral
says 'is not used'

expect 2 'unknown option' ral-eval --bogus
expect 2 'unknown split' ral-eval -m m --split tests
says 'must be train'
expect 2 'a split that is not set' ral-eval -m m --split test
says 'data.test is not set'
expect 2 'a split and rows' ral-eval -m m --split test $rows
expect 2 'a drop from nothing' ral-eval -m m $rows --max-drop 0.1
says 'needs --baseline'
expect 2 'unknown metric' ral-eval -m m $rows -s eval.metric=bleu
expect 2 'unknown setting' ral-eval -m m $rows -s eval.metrik=choice
says "did you mean 'eval.metric'"
expect 2 'a negative drop' ral-eval -m m $rows --baseline r.json --max-drop -0.1
expect 2 'a negative share' ral-eval -m m $rows --max-failed -0.5
expect 2 'no tokens' ral-eval -m m $rows --max-tokens 0
expect 2 'answers to stdout' ral-eval -m m $rows --rows -
finish
