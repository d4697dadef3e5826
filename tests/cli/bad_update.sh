#!/bin/sh
# tests/cli/bad_update.sh - streams that must not train a policy
. "${0%/*}/../lib.sh"

ral-synth -q --rows 6 --objects 2 --name x -o data
policy m
sample() {              # sample OPTIONS...: a stream on stdout
    ral-rollout -q -m m -n 2 --max-tokens 3 "$@" data/x.jsonl
}
sample >raw.ral
restream --advantages <raw.ral >s.ral

# One line, and no checkpoint or part of one.
bad() {                 # bad NAME FILE TEXT: update and distill refuse it
    expect 1 "$1: update" ral-update -q -m m -o u "$2"
    says "$3"
    expect 1 "$1: distill" ral-distill -q -t m -m m -o u "$2"
    says "$3"
    absent "$1: nothing is left" u u.*
}
refused() {             # refused NAME TEXT OPTIONS...: update refuses
    what=$1 text=$2
    shift 2
    expect 1 "$what" ral-update -q -m m -o u "$@"
    says "$text"
    absent "$what: nothing is left" u u.*
}

# --- not whole ---
size=$(wc -c <s.ral)
for n in $((size - 1)) $((size / 2)) 700 10 3; do
    head -c $n s.ral >cut.ral
    bad "cut at byte $n" cut.ral 'cut.ral: '
done
: >empty.ral
bad 'empty' empty.ral 'empty.ral: empty'
{ head -c $((size / 2)) s.ral; printf 'XYZ'
    tail -c +$((size / 2 + 4)) s.ral; } >flip.ral
bad 'flipped bytes' flip.ral 'flip.ral: damaged after record '
{ cat s.ral; echo; } >more.ral
bad 'a line end behind it' more.ral 'more.ral: not a zstd frame after record 6'
bad 'rows where a stream is expected' data/x.jsonl \
    'data/x.jsonl: these are rows (JSON lines), not a stream'
bad 'no file' nosuch.ral 'nosuch.ral: cannot open'
expect 1 'no input' sh -c 'ral-update -q -m m -o u </dev/null'
says 'stdin: empty: no header and no end mark; did the program before it fail?'
expect 1 'rows through a pipe' sh -c 'ral-update -q -m m -o u <data/x.jsonl'
says 'stdin: these are rows (JSON lines)'
expect 1 'a stream for rows' ral-update -q --sft -m m -o u s.ral
says 's.ral: is a record stream'
expect 1 'a record over the limit' ral-update -q --max-record 500 -m m -o u s.ral
says '--max-record'
expect 1 'a rollout that failed upstream' sh -c \
    'ral-rollout -q -m nosuch data/x.jsonl 2>/dev/null | ral-reward -q 2>/dev/null |
     ral-update -q -m m -o u'
says 'stdin: empty'
absent 'nothing is left of these' u u.*

# --- shards ---
for k in 1 2 3; do sample --shard $k/3 | restream --advantages >s$k; done
cat s1 s3 >join.ral
bad 'a missing shard' join.ral 'join.ral: shard 2 of 3 is missing'
cat s1 s2 s2 s3 >join.ral
bad 'a repeated shard' join.ral 'join.ral: shard 2 of 3 comes twice'
bad 'one shard alone' s3 's3: shard 1 of 3 is missing'
sample --shard 2/4 | restream --advantages >s24
cat s1 s24 s3 >join.ral
bad 'a shard of another cut' join.ral 'join.ral: a shard of 4 was joined to one of 3'
sample --shard 2/3 --seed 9 | restream --advantages >other
cat s1 other s3 >join.ral
bad 'another seed' join.ral 'join.ral: streams that differ in their sampling'
cat s1 raw.ral >join.ral
bad 'a whole stream joined to a shard' join.ral 'join.ral: '
expect 1 'one shard twice as files' ral-update -q -m m -o u s1 s2 s2 s3
says 's2: shard 2 of 3 comes twice'
expect 0 'all, in any order' ral-update -q -m m -o u s3 s1 s2
rm -r u

# --- another policy ---
ral-init -q --seed 2 m.from -o m2
ral-rollout -q -m m2 -n 2 --max-tokens 3 data/x.jsonl | restream --advantages >m2.ral
bad "another policy's rollouts" m2.ral 'm2.ral: the stream was sampled by another policy'

for p in 'ral-update' 'ral-distill -t m'; do
    expect 0 "$p --allow-stale" $p -q --allow-stale -m m -o u m2.ral
    rm -r u
done

# --- what a record lacks or holds ---
refused 'not scored' 'raw.ral: record x-000001: samples[0] has no advantage' raw.ral
for v in nan inf; do
    restream --advantages --record 3 --sample 1 --key reward --value $v <raw.ral >p.ral
    refused "a reward of $v" 'record x-000004: samples[1]: reward is' p.ral
    restream --advantages --record 3 --sample 1 --key logp --value $v <raw.ral >p.ral
    refused "a logp of $v" 'record x-000004: samples[1]: logp[0] is' p.ral
    restream --advantages --record 3 --sample 1 --key attn --value $v <raw.ral >p.ral
    refused "an attn of $v" 'record x-000004: samples[1]: attn[0] is' p.ral
    restream --record 3 --sample 1 --key advantage --value $v <s.ral >p.ral
    refused "an advantage of $v" 'record x-000004: samples[1]: advantage is' p.ral
done
said 'the file is named' 'p.ral'
restream --advantages --record 3 --key attn --value 5 <raw.ral >p.ral
refused 'a row that is no distribution' \
    'record x-000004: a row of attn is no distribution' p.ral
expect 1 'reward reads them, too' sh -c \
    'restream --key logp <raw.ral >p.ral; ral-view -q --check p.ral'
restream --record 1 --key advantage --value 1e300 <s.ral >p.ral
refused 'a gradient that overflows' 'holds NaN or Inf' p.ral
said 'names a tensor' 'gradient of '
restream --advantages --record 1 --sample 1 --key logp --value -1e30 <raw.ral >p.ral
refused 'a ratio that overflows' 'holds NaN or Inf' p.ral

# --- weights that overflow only when they run ---
cp -R m huge
retensor --name model.layers.0.mlp.down_proj.weight --fill 1e38 huge
expect 1 'logits that overflow' ral-rollout -q -m huge -n 1 --max-tokens 1 \
    -o out.ral data/x.jsonl
says 'record x-000001: logits are not finite'
expect 1 'scored, too' sh -c 'sed "s/\"role\":\"user\"/&/; s/}]}\],/}]},{\"role\":\"assistant\",\"content\":\"red\"}],/" \
    data/x.jsonl >data/given.jsonl
    ral-rollout -q --given -m huge -o out.ral data/given.jsonl'
said 'the records are named' 'records x-000001 to x-000006: logits are not finite'
expect 1 'SFT of them' ral-update -q --sft -m huge -o u data/x.jsonl
said 'the records are named' ': logits are not finite'
absent 'nothing is left of these' u u.* out.ral*

# --- media ---
mkdir moved
cp -R data/images moved
expect 1 'pictures that are gone' sh -c 'mv data/images data/away
    ral-update -q -m m -o u s.ral'
says 'images/x/000001.png: cannot open'
expect 0 'given another root' ral-update -q --media-root moved -m m -o u s.ral
rm -r u
mv data/away data/images
cp data/images/x/000002.png data/images/x/000001.png
bad 'a picture that has changed' s.ral '000001.png: not the file that the stream was made with'
said 'the record is named' 'record x-00000'

# --- settings ---
expect 2 'no output' ral-update -q -m m s.ral
says '-o DIR is needed'
expect 2 'no policy' ral-update -q -o u s.ral
says '-m CHECKPOINT is needed'
expect 2 'no teacher' ral-distill -q -m m -o u s.ral
says '-t TEACHER is needed'
expect 2 'beta without a reference' ral-update -q -s update.beta=0.04 -m m -o u s.ral
says 'update.beta over 0 needs --ref CHECKPOINT'
expect 2 'a schedule without its length' ral-update -q \
    -s update.lr_scheduler_type=cosine -m m -o u s.ral
says 'update.max_steps'
printf 'update:\n  bet: 0.04\n' >r.yaml
expect 2 'an unknown key' ral-update -q -c r.yaml -m m -o u s.ral
says "r.yaml:2:3: unknown key 'update.bet'; did you mean 'update.beta'?"
printf 'updat:\n  beta: 0.04\n' >r.yaml
expect 2 'an unknown section' ral-update -q -c r.yaml -m m -o u s.ral
says "r.yaml:1:1: "
printf 'update:\n  beta: much\n' >r.yaml
expect 2 'a wrong type' ral-update -q -c r.yaml -m m -o u s.ral
says 'r.yaml:2:9: '
printf 'update:\n beta: 1\n  x: [\n' >r.yaml
expect 1 'no YAML' ral-update -q -c r.yaml -m m -o u s.ral
says 'r.yaml:'
expect 1 'no recipe' ral-update -q -c nosuch.yaml -m m -o u s.ral
says 'nosuch.yaml: cannot open'
for o in --gradient-checkpointing --annotate --max-mem=1 --lora; do
    expect 2 "later's $o" ral-update $o -m m -o u s.ral
    says 'unknown option'
done
expect 2 'rows twice' ral-update --sft -m m -o u data/x.jsonl data/x.jsonl
says '--sft takes one file of rows'
absent 'nothing is left of the rest' u u.*
finish
