#!/bin/sh
# tests/cli/bad_stream.sh - streams that are none, or no longer whole
. "${0%/*}/../lib.sh"

mkstream -n 3 >s.ral
expect 1 'no input' sh -c 'ral-view --count </dev/null'
says 'stdin: empty'
head -c 700 s.ral >cut.ral
expect 1 'truncated' ral-view --count cut.ral
says 'cut.ral: truncated: ends without its end mark'
[ -s out ] && ok 1 'no count' || ok 0 'no count'
mkstream --cut >cut.ral
expect 1 'without an end mark' ral-view --check cut.ral
says 'end mark'
lines=$(wc -c <s.ral)
{ head -c $((lines / 2)) s.ral; printf X; tail -c $((lines - lines / 2 - 1)) s.ral; } >flip.ral
expect 1 'damaged' ral-view --check flip.ral
says 'flip.ral: damaged after record'
ral-view s.ral >rows.jsonl
expect 1 'rows' ral-view --count rows.jsonl
says 'rows.jsonl: these are rows (JSON lines), not a stream'
expect 1 'no file' ral-view --count nosuch.ral
says 'nosuch.ral: cannot open'
expect 1 'a record over the limit' ral-view --max-record 100 s.ral
says '--max-record'
expect 1 'full disk' sh -c 'ral-view s.ral >/dev/full'
says 'stdout: cannot write'
expect 2 'two questions' ral-view --count -H s.ral
expect 2 'unknown option' ral-view --bogus
finish
