#!/bin/sh
# tests/cli/attn_layers.sh - attention of any layer and head, from end to end
. "${0%/*}/../lib.sh"

ral-synth -q --rows 12 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
ral-update -q --sft --steps 6 -s sft.learning_rate=0.003 -s sft.batch_size=8 \
    -m m -o f $rows
roll() {                # roll OUT OPTIONS...: what a stream's records say, in full
    out=$1; shift
    ral-rollout -q -m f -n 2 --max-tokens 4 -o "$out.ral" "$@" $rows
    ral-view --full "$out.ral" >"$out"
}
every='--attn-layers 0,-1 --attn-heads each'
roll last
roll both --attn-layers=-2,1
roll heads $every
roll one $every -j 1
RAL_CPU=c roll plain $every
RAL_DEVICE=guard roll guard $every
same 'one thread' heads one
same 'plain C' heads plain
same 'the guarded machine' heads guard
# In order of layers, heads, tokens: the last half is the last layer's.
jq -c '.samples[] | .attn | .[length / 2:]' both >half
jq -c '.samples[].attn' last >whole
same 'the last layer of two is the last' half whole
jq -c '.samples[].attn | length' heads >n_heads
jq -c '.samples[].attn | length * 4' both >n_both
same 'four heads for each mean' n_heads n_both
mean='def rows(n): (length / n) as $k | [range(n) as $i | .[$i * $k:($i + 1) * $k]];'
jq -c "$mean .samples[].attn | rows(2)[1]" both >means
jq -c "$mean .samples[].attn | rows(8)[4:] | transpose | map(add / 4)" heads >added
# Each is renormalised without self, so the mean differs a little.
holds 'their mean, nearly' "$(jq -s '.[0:(length / 2)] as $a | .[(length / 2):] as $b |
    [range($a | length) as $i | range($a[$i] | length) as $k |
    $a[$i][$k] - $b[$i][$k] | fabs] | max' means added) < 0.05"

# What was sampled, as replies, scores the same.
jq -c '. as $r | {id, messages: (.messages + [{role: "assistant", content: .samples[0].text}]), answer}' heads >given.jsonl
expect 0 'given' ral-rollout -q -m f --given $every -o given.ral --media-root data given.jsonl

restream --advantages <heads.ral >s.ral
update() {              # update OPTIONS...: on s.ral
    ral-update -q --force -s update.learning_rate=0.001 -m f -o u "$@" s.ral
}
expect 0 'every head of two layers' update --log log \
    -s 'update.attn_layers=[0,-1]' -s update.attn_heads=each
holds 'J is 0 at first' "$(field jsd log | head -n 1) == 0"
holds 'and lives' "$(field jsd log | tail -n 1) > 0"
expect 0 'one layer of the two' update -s 'update.attn_layers=[0]' -s update.attn_heads=each
expect 1 'the mean, which is not there' update
grep -q 'attn-heads' err && ok 0 'says how' || ok 1 'says how'
restream --advantages <last.ral >s.ral
expect 1 'a layer that is not there' update -s 'update.attn_layers=[0]'
grep -q 'attn-layers' err && ok 0 'says how' || ok 1 'says how'
for bad in 2 -3 0,0 0,-2 '' x 1.5; do
    expect 2 "--attn-layers '$bad'" ral-rollout -q -m f --attn-layers="$bad" -o no $rows
done
expect 2 '--attn-heads both' ral-rollout -q -m f --attn-heads both -o no $rows
expect 0 'a picture of a head' ral-view --heatmap h.png --layer 0 --head 3 heads.ral
expect 2 'a head that is not there' ral-view --heatmap h.png --head 4 heads.ral
finish
