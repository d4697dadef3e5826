#!/bin/sh
# tests/cli/pipe.sh - whole pipes: the programs together, and their memory
. "${0%/*}/../lib.sh"

ral-synth -q --rows 64 --objects 2 --name train -o data
rows=data/train.jsonl
policy m
mkdir ckpt
ral-update -q --sft --steps 10 -s sft.batch_size=8 -s sft.learning_rate=0.003 \
    -m m -o ckpt/0 $rows
set_rate='-s update.learning_rate=0.001'

# --- one on-policy step ---
step() {                # step K: the pipe that makes ckpt/K from the one before
    p=$(($1 - 1))
    ral-rollout -q -m ckpt/$p -n 8 --max-tokens 6 --draw 64 --step "$1" $rows |
        ral-reward -q | ral-update -q $set_rate --log log -m ckpt/$p -o ckpt/"$1"
}
expect 0 'the pipe' step 1
holds 'four updates' "$(wc -l <log) == 4"
holds 'rewarded' "$(field reward log | head -n 1) > 0.05"
holds 'exact at first' "$(field dlogp_max log | head -n 1) == 0 && $(field jsd log | head -n 1) == 0"
holds 'alive thereafter' "$(field jsd log | tail -n 1) > 0"
expect 0 'the next step' step 2
holds 'exact again' "$(field dlogp_max log | sed -n 5p) == 0"
holds 'its number' "$(field step log | tail -n 1) == 2"
cmp -s ckpt/1/model.safetensors ckpt/2/model.safetensors && ok 1 'moved on' || ok 0 'moved on'

# --- the same through files, in shards, scored apart or together ---
roll() { ral-rollout -q -m ckpt/0 -n 8 --max-tokens 6 --draw 64 --step 1 "$@" $rows; }
update() { ral-update -q $set_rate -m ckpt/0 "$@"; }
weights() { same "$1" ckpt/1/model.safetensors "$2/model.safetensors"; }
roll >whole.ral
ral-reward -q whole.ral -o scored.ral
update -o u1 scored.ral
weights 'through files' u1
roll --shard 1/2 >a.ral
roll --shard 2/2 >b.ral
expect 0 'cat a.ral b.ral' sh -c "cat a.ral b.ral | ral-reward -q |
    ral-update -q $set_rate -m ckpt/0 -o u2"
weights 'the same bits' u2
ral-reward -q a.ral -o as.ral
ral-reward -q b.ral -o bs.ral
expect 0 'scored apart' update -o u3 as.ral bs.ral
weights 'the same bits' u3
ral-reward -q scored.ral -o twice.ral
update -o u4 twice.ral
weights 'scored twice' u4
mkdir other
cp -R data/images other
update --media-root other -o u5 scored.ral
weights 'from another media root' u5
(cd / && "$O/ral-update" -q $set_rate -m "$scratch/ckpt/0" -o "$scratch/u6" \
    "$scratch/scored.ral")
weights 'from another folder' u6

# --- a run folder, whose newest is taken ---
ln -s 0 ckpt/latest
expect 0 '-m RUN' sh -c "ral-rollout -q -m ckpt -n 8 --max-tokens 6 --draw 64 \
    --step 1 $rows | ral-reward -q | ral-update -q $set_rate -m ckpt -o u7"
weights 'the same bits' u7

# --- distilling, looking ---
expect 0 'a teacher' sh -c "ral-rollout -q -m m -n 1 --max-tokens 4 --draw 16 \
    --step 1 $rows | ral-distill -q -t ckpt/2 -m m -o student"
expect 0 'ral-view shows what was said' sh -c \
    'ral-view scored.ral | grep -c "\"text\":\"<answer>" >n'
holds 'in every record' "$(cat n) == 64"

# --- what fails upstream leaves no checkpoint ---
{ cat $rows; echo '{"id":"z"'; } >data/bad.jsonl
expect 1 'rows that do not parse' sh -c 'ral-rollout -q -m m data/bad.jsonl 2>/dev/null |
    ral-reward -q 2>/dev/null | ral-update -q -m m -o none'
says 'stdin: empty'
{ head -n 40 $rows; sed -n '41,60s/images/nowhere/p' $rows; } >data/bad.jsonl
expect 1 'a stream that breaks off' sh -c \
    'ral-rollout -q --batch 1 -n 2 --max-tokens 2 -m m data/bad.jsonl 2>/dev/null |
    ral-reward -q 2>/dev/null | ral-update -q -m m -o none'
said 'is not taken for whole' 'truncated'
absent 'no checkpoint' none none.*

# --- memory does not grow with the stream ---
ral-synth -q --rows 640 --objects 2 --name long -o data
flat() {                # flat NAME: kilobytes in short and long differ by 10 %
    echo "# $1: $(cat short) kB, ten times as long: $(cat long) kB"
    holds "$1: memory is flat" "$(cat long) < 1.1 * $(cat short)"
}
ro='ral-rollout -q -m m -n 8 --max-tokens 2'
peak short $ro -o s.ral $rows
peak long $ro -o l.ral data/long.jsonl
flat ral-rollout
holds 'ten times as many' "$(ral-view --count l.ral) == 10 * $(ral-view --count s.ral)"
for p in 'ral-reward -q -o r.ral' 'ral-view --full -o v.json' \
    'ral-view --check' 'ral-reward -q -s reward.scale_rewards=batch -o r.ral'; do
    peak short $p s.ral >/dev/null
    peak long $p l.ral >/dev/null
    flat "$p"
done
finish
