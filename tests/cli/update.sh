#!/bin/sh
# tests/cli/update.sh - SFT and policy-gradient steps, and what they write
. "${0%/*}/../lib.sh"

ral-synth -q --rows 24 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
sft() {                 # sft OPTIONS...: small steps from m
    ral-update -q --sft -s sft.batch_size=8 -s sft.learning_rate=0.003 "$@"
}
weights() {             # weights NAME A B: equal bits
    same "$1" "$2/model.safetensors" "$3/model.safetensors"
}
all() {                 # all NAME CONDITION KEY FILE: on x, each value of KEY
    field "$3" "$4" >values
    holds "$1" "$(awk -v n=0 "{ x = \$1; if ($2) n++ } END { print n }" values) == $(wc -l <values) && $(wc -l <values) > 0"
}

# --- SFT ---
expect 0 'SFT' sft --steps 12 --log log -m m -o f12 $rows
holds 'the loss falls to a third' "$(field loss log | tail -n 1) < $(field loss log | head -n 1) / 3"
holds 'twelve lines of metrics' "$(wc -l <log) == 12"
for k in program step loss entropy grad_norm learning_rate tokens seconds \
    tokens_per_s samples_per_s peak_bytes; do
    grep -c "\"$k\":" log | grep -qx 12 || echo "$k"
done >missing
holds 'with every key' "$(wc -l <missing) == 0"
sft --steps 2 -m m -o f2 $rows
sft --steps 4 -m m -o f4 $rows
expect 0 'two steps more' sft --steps 2 -m f2 -o f2b $rows
weights '2 + 2 steps are 4' f4 f2b
same 'so are the moments' f4/ral/optimizer.safetensors f2b/ral/optimizer.safetensors
same 'and the counts' f4/ral/state.json f2b/ral/state.json
sft --steps 4 -j 1 -m m -o j1 $rows
weights 'one thread, the same bits' f4 j1
sft --steps 4 -s update.micro_batch_tokens=1 -m m -o micro $rows
expect 0 'a micro-batch a row' sft --steps 1 -s update.micro_batch_tokens=1 \
    --log small -m m -o micro1 $rows
sft --steps 1 --log large -m m -o large1 $rows
holds 'changes the loss by rounding alone' "($(field loss small) - $(field loss large)) ^ 2 < 1e-10 * $(field loss large) ^ 2"
expect 0 'no steps' sft --steps 0 -m f4 -o f4b $rows
weights 'change nothing' f4 f4b
expect 2 'fewer than none' sft --steps -1 -m m -o x $rows
expect 0 'another seed' sft --steps 4 --seed 3 -m m -o s3 $rows
cmp -s f4/model.safetensors s3/model.safetensors && ok 1 'is another run' || ok 0 'is another run'
for f in config.json generation_config.json preprocessor_config.json \
    tokenizer.json tokenizer_config.json; do
    cmp -s m/$f f4/$f || echo $f
done >missing
holds 'the other files come along' "$(wc -l <missing) == 0"
ls -A f4 f4/ral >got
cat >want <<'L'
f4:
config.json
generation_config.json
model.safetensors
preprocessor_config.json
ral
tokenizer.json
tokenizer_config.json

f4/ral:
optimizer.safetensors
state.json
L
grep -v '\.md$' got >got2
same 'and nothing else' want got2
expect 0 'a recipe stays with the checkpoint' sh -c \
    'echo "sft: {batch_size: 4}" >r.yaml
     ral-update -q --sft -c r.yaml -m m -o fr '$rows' && cmp r.yaml fr/ral/recipe.yaml'
expect 0 'rows through a pipe' sh -c \
    "cd data && ral-update -q --sft --steps 4 -s sft.batch_size=8 \
        -s sft.learning_rate=0.003 -m ../m -o ../fp <x.jsonl"
weights 'are the same rows' f4 fp

# --- what a reply is ---
# Greedy answers show what was learnt: 30 steps on one row.
learn() {               # learn NAME ROW TEXT OPTIONS...: text ends as TEXT
    what=$1 text=$3
    printf '%s\n' "$2" >data/one.jsonl
    shift 3
    rm -rf one
    ral-update -q --sft --steps 12 -s sft.batch_size=4 \
        -s sft.learning_rate=0.01 "$@" -m m -o one data/one.jsonl 2>err || :
    sed 's/,{"role":"assistant"[^}]*}//' data/one.jsonl >data/ask.jsonl
    ral-rollout -q -m one -n 1 --temperature 0 --max-tokens 24 "$@" \
        data/ask.jsonl >one.ral 2>>err || :
    ral-view one.ral 2>>err >out || :
    if grep -qF "\"text\":\"$text\"" out; then
        ok 0 "$what"
    else
        ok 1 "$what: $(sed 's/.*"text":"\([^"]*\)".*/\1/' out err | tail -n 1)"
    fi
}
user='{"role":"user","content":[{"type":"text","text":"What colour?"},{"type":"image","image":"images/x/000001.png"}]}'
row="{\"messages\":[$user],\"answer\":\"blue\",\"choices\":[\"red\",\"blue\"],\"level\":3}"
learn 'the answer in tags' "$row" '<answer>blue</answer>'
learn 'a template' "$row" '3: blue' -s 'data.response_template={level}: {answer}'
learn 'the text of a choice' "$(echo "$row" | sed 's/"answer":"blue"/"answer":"A"/')" \
    'red (A)' -s 'data.response_template={choice} ({answer})'
learn "an assistant's message" \
    "$(echo "$row" | sed 's/}\],"answer"/},{"role":"assistant","content":"green"}],"answer"/')" green

# --- how a prompt is made ---
ids() {                 # ids OPTIONS...: the prompt's token ids
    printf '%s\n' "$row" >data/one.jsonl
    ral-rollout -q -m m -n 1 --max-tokens 1 "$@" data/one.jsonl |
        ral-view - | sed 's/.*"prompt_ids":\(\[[^]]*\]\).*/\1/'
}
ids >plain
ids -s data.system_prompt=none >none
ids -s 'data.system_prompt=You are a helpful assistant.' >system
same "the family's system prompt" plain system
holds 'none leaves the turn out' "$(tr -cd , <none | wc -c) < $(tr -cd , <plain | wc -c)"
expect 0 'the rest stays' sh -c 'rest=$(sed "s/^\[//" none); grep -qF "$rest" plain'
ids -s data.media_order=first >first
ids -s data.media_order=last >last
same 'the picture is last already' plain last
sort_ids() { tr -d '[]' <"$1" | tr , '\n' | sort -n; }
sort_ids plain >want
sort_ids first >got
same 'first: the same tokens' want got
cmp -s plain first && ok 1 'in another order' || ok 0 'in another order'
ids -s 'data.prompt_suffix= Why?' >suffix
holds 'a suffix adds tokens' "$(tr -cd , <suffix | wc -c) > $(tr -cd , <plain | wc -c)"
sed -n 1,3p $rows | sed 's/"category":"colour"/"category":"odd"/' >data/w.jsonl
sed -n 4,10p $rows >>data/w.jsonl
ral-rollout -q -m m -n 1 --max-tokens 1 -s 'data.where=[category=odd]' \
    data/w.jsonl >w.ral
holds 'where =' "$(ral-view --count w.ral) == 3"
ral-rollout -q -m m -n 1 --max-tokens 1 -s 'data.where=[category!=odd]' \
    data/w.jsonl >w.ral
holds 'where !=' "$(ral-view --count w.ral) == 7"
sed '1,4s/"category"/"meta":{"source":"a"},&/' data/w.jsonl >data/meta.jsonl
ral-rollout -q -m m -n 1 --max-tokens 1 -s 'data.where=[meta.source=a]' \
    data/meta.jsonl >w.ral
holds 'where of a map' "$(ral-view --count w.ral) == 4"
ral-rollout -q -m m -n 1 --max-tokens 1 \
    -s "data.where=['category=odd,colour', 'id!=x-000001,x-000002']" \
    data/w.jsonl >w.ral
holds 'where with lists, all of them' "$(ral-view --count w.ral) == 8"

# --- gradient products by OpenBLAS ---
blas='-s sft.backward=blas'
expect 0 'by OpenBLAS' sft --steps 3 $blas -j 1 --log blas -m m -o b1 $rows
expect 0 'with two threads' sft --steps 3 $blas -j 2 -m m -o b2 $rows
weights 'the same bits' b1 b2
holds 'the metrics say so' "$(grep -c '"backward":"blas"' blas) == 3"
holds 'the checkpoint, too' "$(grep -c '"backward": "blas"' b1/ral/state.json) == 1"
expect 1 'going on by chains of our own' sft --steps 1 -m b1 -o no $rows
grep -q 'sft.backward=blas' err && ok 0 'says how' || ok 1 'says how'
expect 0 'going on by OpenBLAS' sft --steps 1 $blas -m b1 -o b3 $rows
expect 2 'an unknown way' sft --steps 1 -s sft.backward=cublas -m m -o no $rows

# --- policy gradient ---
ral-rollout -q -m f12 -n 4 --max-tokens 5 --step 3 $rows | restream --advantages >s.ral
rl() {                  # rl OPTIONS...: of f12 on s.ral
    ral-update -q -s update.learning_rate=0.001 -m f12 "$@"
}
expect 0 'an update' rl --log rl -o u s.ral
holds 'four optimiser steps' "$(wc -l <rl) == 4"
for k in reward flat_groups clip_fraction jsd attn_loss attn_share dlogp dlogp_max \
    entropy grad_norm tokens_per_s peak_bytes; do
    grep -c "\"$k\":" rl | grep -qx 4 || echo "$k"
done >missing
holds 'with every key' "$(wc -l <missing) == 0"
holds 'at equal weights |dlogp| is 0' "$(field dlogp_max rl | head -n 1) == 0"
holds 'and J is 0' "$(field jsd rl | head -n 1) == 0"
holds 'and so is the attention term' "$(field attn_share rl | head -n 1) == 0"
field dlogp_max rl | sed 1d >late
holds 'later neither is' "$(awk '$1 > 0' late | wc -l) == 3 && $(field jsd rl | awk '$1 > 0' | wc -l) == 3"
holds 'the attention term is alive' "$(field attn_share rl | awk '$1 > 0' | wc -l) == 3"
rl -j 1 -o u1 s.ral
weights 'one thread, the same bits' u u1
expect 0 'the same, from a pipe' sh -c \
    'ral-update -q -s update.learning_rate=0.001 -m f12 -o up <s.ral'
weights 'the same bits' u up
rl -s update.attn_coef=0 --log rl0 -o u0 s.ral
cmp -s u/model.safetensors u0/model.safetensors && ok 1 'without attention it differs' ||
    ok 0 'without attention it differs'
for k in attn_share attn_loss jsd kl; do # what was not computed is not there
    ! grep -q "\"$k\"" rl0 || echo "$k"
done >there
holds 'attn_coef 0, beta 0: neither is measured' "$(wc -l <there) == 0"
rl -s update.num_mini_batches=1 -s update.attn_coef=0 --log r1 -o mb1 s.ral
rl -s update.num_mini_batches=1 -s update.attn_coef=0 --log r2 \
    -s update.micro_batch_tokens=1 -o mb2 s.ral
holds 'the loss does not depend on the micro-batch' \
    "($(field grad_norm r1) - $(field grad_norm r2)) ^ 2 < 1e-10 * $(field grad_norm r1) ^ 2"
expect 0 'a single update with attention' ral-update -m f12 -o single \
    -s update.num_mini_batches=1 s.ral
said 'warns' 'warning: update.attn_coef is 1 but there is a single update'
rl -s update.num_mini_batches=2 -s update.num_iterations=3 --log it -o u23 s.ral
holds 'two mini-batches, three times' "$(wc -l <it) == 6"
rl -s update.num_mini_batches=1000 --log it2 -o umax s.ral
holds 'at most one a group' "$(wc -l <it2) == 24"
expect 0 'a KL term' rl -s update.beta=0.1 --ref m --log kl -o ukl s.ral
all 'is over 0' 'x > 0' kl kl
expect 0 'to itself' rl -s update.beta=0.1 --ref f12 --log kl0 -o ukl0 s.ral
holds 'it begins at 0' "$(field kl kl0 | head -n 1) == 0"
expect 0 'a schedule' rl -s update.lr_scheduler_type=linear -s update.max_steps=8 \
    --log lr -o ulr s.ral
field learning_rate lr >got
printf '%s\n' 0.001 0.000875 0.00075 0.000625 >want
same 'falls' want got
ral-rollout -q -m ulr -n 2 --max-tokens 3 $rows | restream --advantages >s2.ral
ral-update -q -s update.learning_rate=0.001 -s update.lr_scheduler_type=linear \
    -s update.max_steps=8 --log lr2 -m ulr -o ulr2 s2.ral
holds 'and goes on in the next batch' "$(field learning_rate lr2 | head -n 1) == 0.0005"
holds 'the second batch' "$(field step lr2 | head -n 1) == 2"
expect 0 'SFT after RL starts its own count' sft --steps 1 --log again -m ulr2 -o f13 $rows
holds 'at 1' "$(field step again) == 1"

# --- other layers and heads ---
recorded() {            # recorded OPTIONS...: s.ral with other attention
    ral-rollout -q -m f12 -n 4 --max-tokens 5 --step 3 "$@" $rows |
        restream --advantages
}
recorded --attn-layers 0,-1 >two.ral
recorded --attn-layers 0,-1 --attn-heads each >each.ral
rl -o ut two.ral
weights 'the last of two layers is the last alone' u ut
expect 0 'two layers of means' rl -s 'update.attn_layers=[0, -1]' -o utt two.ral
cmp -s u/model.safetensors utt/model.safetensors && ok 1 'differ from one' ||
    ok 0 'differ from one'
every="-s update.attn_layers=[0,-1] -s update.attn_heads=each"
expect 0 'each head of two layers' rl $every --log rle -o ue each.ral
holds 'at equal weights |dlogp| and J are 0' "$(field dlogp_max rle | head -n 1) == 0 && $(field jsd rle | head -n 1) == 0"
holds 'later neither is' "$(field dlogp_max rle | awk '$1 > 0' | wc -l) == 3 && $(field jsd rle | awk '$1 > 0' | wc -l) == 3"
holds 'the attention term is alive' "$(field attn_share rle | awk '$1 > 0' | wc -l) == 3"
cmp -s utt/model.safetensors ue/model.safetensors && ok 1 'heads differ from their mean' ||
    ok 0 'heads differ from their mean'
rl -j 1 -s 'update.attn_layers=[-1,0]' -s update.attn_heads=each -o ue1 each.ral
weights 'one thread and another order, the same bits' ue ue1
expect 0 'one of two layers' rl -s 'update.attn_layers=[0]' \
    -s update.attn_heads=each --log rl1 -o uo each.ral
holds 'J is 0, and not later' "$(field jsd rl1 | head -n 1) == 0 && $(field jsd rl1 | awk '$1 > 0' | wc -l) == 3"
expect 1 'heads of a stream of means' rl -s update.attn_heads=each -o x two.ral
says "the stream's attn is of the heads' mean; attn_heads wants each: sample it with ral-rollout --attn-heads"
expect 1 'the mean of a stream of heads' rl -o x each.ral
says "the stream's attn is of each head; attn_heads wants the mean: sample it with ral-rollout --attn-heads"
expect 1 'a layer that the stream lacks' rl -s 'update.attn_layers=[0]' -o x s.ral
says 'the stream holds no attn of layer 0; sample it with ral-rollout --attn-layers'
expect 2 'a layer that the model lacks' rl -s 'update.attn_layers=[9]' -o x s.ral
says 'attn_layers: there is no layer 9; the model has 0 to 1, or -2 to -1'
expect 2 'no layer at all' rl -s 'update.attn_layers=[]' -o x s.ral
absent 'and nothing is written' x
expect 0 'without the term they do not matter' rl -s update.attn_coef=0 -o uz each.ral
weights 'the same bits' u0 uz

# --- nothing to learn ---
ral-rollout -q -m m -n 2 --max-tokens 2 $rows | ral-reward -q >zero.ral
expect 0 'all advantages 0' ral-update -m m -o z --log zl zero.ral
holds 'each update is skipped and said' "$(grep -c 'skipped: all advantages are 0 and update.beta is 0' err) == 4"
weights 'the weights stay' m z
expect 0 'the step counts' grep -q '"step": 1' z/ral/state.json
expect 0 'and the skipped updates' grep -q '"skipped": 4' z/ral/state.json
all 'metrics say so' 'x == "true"' skipped zl
expect 0 'with beta it is no skip' ral-update -q -s update.beta=0.1 --ref f12 \
    -s update.learning_rate=0.001 --log zbl -m m -o zb zero.ral
all 'for they pull' 'x == "false"' skipped zbl
ral-view -H zero.ral >h
expect 0 'a failed record has no part' sh -c \
    'printf "%s\n" "{\"id\":\"no\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"image\":\"no.png\"}]}]}" |
     cat '$rows' - >data/some.jsonl
     ral-rollout -q -m m -n 2 --max-tokens 2 data/some.jsonl | restream --advantages |
     ral-update -m m -o some'
said 'and is told of' '1 records failed before and have no part'
finish
