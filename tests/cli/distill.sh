#!/bin/sh
# tests/cli/distill.sh - a teacher of other sizes, and what a student takes
. "${0%/*}/../lib.sh"

ral-synth -q --rows 16 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
# wider, deeper, with more heads, in decoder and tower
cp -R m.from big.from
sed 's/"hidden_size": 128/"hidden_size": 192/
    s/"out_hidden_size": 128/"out_hidden_size": 192/
    s/"num_attention_heads": 4/"num_attention_heads": 6/
    s/"num_key_value_heads": 2/"num_key_value_heads": 3/
    s/"num_hidden_layers": 2/"num_hidden_layers": 3/
    s/"intermediate_size": 256/"intermediate_size": 320/
    s/"depth": 2/"depth": 3/' m.from/config.json >big.from/config.json
ral-init -q big.from -o big0
teach="-q --sft -s sft.learning_rate=0.003 -s sft.batch_size=8"
ral-update $teach --steps 20 -m big0 -o big $rows
ral-update $teach --steps 6 -m m -o student $rows
ral-rollout -q -m student -n 2 --max-tokens 5 $rows >s.ral
holds 'another size' "$(wc -c <big/model.safetensors) > 1.5 * $(wc -c <m/model.safetensors)"

distill() {             # distill OPTIONS...: many updates on one batch
    ral-distill -q -t big -m student -s distill.learning_rate=0.002 \
        -s distill.num_mini_batches=2 -s distill.num_iterations=5 "$@"
}
first() { field "$1" "$2" | head -n 2 | awk '{ s += $1 } END { print s }'; }
last() { field "$1" "$2" | tail -n 2 | awk '{ s += $1 } END { print s }'; }

expect 0 'ten updates' distill --log log -o d s.ral
holds 'ten lines of metrics' "$(wc -l <log) == 10"
for k in kd jsd attn_loss attn_share loss grad_norm entropy tokens_per_s \
    peak_bytes; do
    grep -c "\"$k\":" log | grep -qx 10 || echo "$k"
done >missing
holds 'with every key' "$(wc -l <missing) == 0"
holds 'the token divergence falls' "$(last kd log) < $(first kd log) * 0.6"
holds 'so does that of attention' "$(last jsd log) < $(first jsd log) * 0.8"
holds 'alive from the first update' "$(field jsd log | head -n 1) > 0 && $(field attn_share log | head -n 1) > 0"
holds "the student's size stays" "$(wc -c <d/model.safetensors) == $(wc -c <m/model.safetensors)"
expect 0 'it runs' ral-rollout -q -m d -n 1 --max-tokens 2 $rows
expect 0 'it is a distilled one' grep -q '"kind": "distill"' d/ral/state.json

expect 0 'without attention' distill -s distill.attn_coef=0 --log plain -o p s.ral
holds 'it is on-policy distillation' "$(last kd plain) < $(first kd plain) * 0.6"
holds 'no measure of attention' "$(grep -cE '"(attn_share|attn_loss|jsd)"' plain) == 0"
holds 'the same divergence at first' "$(field kd plain | head -n 1) == $(field kd log | head -n 1)"
# The loss is then the token term alone, and does not read the stream's attn.
restream --key attn --value 5 <s.ral >odd.ral
distill -s distill.attn_coef=0 -o q odd.ral
same 'what was recorded of attention has no part' p/model.safetensors q/model.safetensors
distill -o dd odd.ral
same "nor with attention: the teacher's rows count" d/model.safetensors dd/model.safetensors
expect 0 'attention alone' distill -s distill.kd_coef=0 --log attn -o a s.ral
holds 'falls, too' "$(last jsd attn) < $(first jsd attn) * 0.8"

# --- other layers and heads ---
# The teacher has three layers and six heads, the student two and four.
at() {                  # at LIST OPTIONS...: one update by attention, in log
    list=$1
    shift
    rm -rf at log
    distill -s distill.num_mini_batches=1 -s distill.num_iterations=1 \
        -s distill.kd_coef=0 -s "distill.attn_layers=[$list]" --log log -o at \
        "$@" s.ral
}
expect 0 'the last and the first layer' at '-1, 0'
field jsd log >both
cp at/model.safetensors both.st
expect 0 'in another order' at '0, -1'
same 'the same bits' both.st at/model.safetensors
expect 0 'the last alone' at -1
field jsd log >last
expect 0 'the first alone' at 0
field jsd log >first
holds 'J of both is the mean of theirs' "$(cat first) != $(cat last) && (2 * $(cat both) / ($(cat first) + $(cat last)) - 1) ^ 2 < 1e-10"
expect 2 'a layer that the teacher has alone' at 2
says 'attn_layers: there is no layer 2; the model has 0 to 1, or -2 to -1'
expect 2 'a layer twice in the teacher' at '1, -2'
says 'big: attn_layers: layer 1 stands there twice'
expect 2 'heads of other numbers' at -1 -s distill.attn_heads=each
says 'the teacher has 6 heads, the student 4; compare their mean'
for l in 1 4; do        # teachers of other depths, each a head for a head
    cp -R m.from t$l.from
    sed "s/\"num_hidden_layers\": 2/\"num_hidden_layers\": $l/" \
        m.from/config.json >t$l.from/config.json
    ral-init -q --seed $l t$l.from -o t$l
done
expect 0 'each head' at '-1, 0' -t t4 -s distill.attn_heads=each
expect 2 'a layer that the teacher lacks' at '0, 1' -t t1
says 't1: attn_layers: there is no layer 1; the model has 0 to 0, or -1 to -1'
expect 0 'its last is there' at -1 -t t1
# Of two layers -2, 1 ascend, of four 1, -2.
at 1 -t t4
field jsd log >first
at -2 -t t4
field jsd log >last
expect 0 'layers in another order in the teacher' at '1, -2' -t t4
holds 'each is compared with the one of its number' "$(cat first) != $(cat last) && (2 * $(field jsd log) / ($(cat first) + $(cat last)) - 1) ^ 2 < 1e-10"

distill -j 1 -o d1 s.ral
same 'one thread, the same bits' d/model.safetensors d1/model.safetensors
expect 0 'a student as its own teacher' ral-distill -q -t student -m student \
    -s distill.num_mini_batches=1 --log itself -o own s.ral
holds 'is 0 from itself' "$(field kd itself) == 0 && $(field jsd itself) == 0"
ral-distill -q -t big -m student -o run1 s.ral
ral-rollout -q -m run1 -n 2 --max-tokens 4 --step 2 $rows |
    ral-distill -q -t big -m run1 --log two -o run2
holds 'a second batch' "$(field step two) == 2 && $(field update two) == 2"
ral-rollout -q -m student -n 1 --max-tokens 3 --temperature 0 --limit 4 $rows >greedy.ral
expect 0 'greedy rollouts' ral-distill -q -t big -m student -o g greedy.ral

# --- attention of other layers ---
layers() {              # layers LIST OPTIONS...: one update, compared there
    rm -rf l
    ral-distill -q -t big -m student -s "distill.attn_layers=$1" -o l --log ll "$2" "$3" s.ral
}
expect 0 'first and last layer' layers '[0,-1]' -s distill.kd_coef=1
holds 'is alive' "$(field jsd ll | head -n 1) > 0"
expect 2 'a layer that the student lacks' layers '[2]' -s distill.kd_coef=1
grep -q 'no layer 2' err && ok 0 'named' || ok 1 'named'
expect 2 'each of other numbers of heads' layers '[-1]' -s distill.attn_heads=each
grep -q '6 heads, the student 4' err && ok 0 'counted' || ok 1 'counted'
sed 's/"num_hidden_layers": 3/"num_hidden_layers": 4/' big.from/config.json >four.json
cp -R big.from four.from && mv four.json four.from/config.json
ral-init -q four.from -o four
finish
