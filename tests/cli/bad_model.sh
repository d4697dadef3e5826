#!/bin/sh
# tests/cli/bad_model.sh - checkpoints that are none, or disagree
. "${0%/*}/../lib.sh"

ral-synth -q --rows 4 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
ral-rollout -q -m m -n 2 --max-tokens 2 $rows | restream --advantages >s.ral

# No program that opens such a checkpoint leaves anything but one line.
bad() {                 # bad NAME DIR TEXT
    expect 1 "$1: rollout" ral-rollout -q -m "$2" -n 2 --max-tokens 2 \
        -o out.ral $rows
    says "$3"
    expect 1 "$1: update" ral-update -q -m "$2" -o u s.ral
    says "$3"
    expect 1 "$1: teacher" ral-distill -q -t "$2" -m m -o u s.ral
    says "$3"
    absent "$1: nothing is left" out.ral* u u.*
}
spoil() {               # spoil OPTIONS...: a copy of m with one tensor changed
    rm -rf b
    cp -R m b
    retensor "$@" b
}

# --- tensors ---
q=model.layers.1.self_attn.q_proj.weight
spoil --name $q --drop
bad 'a missing tensor' b "tensor $q: missing"
spoil --name $q --reshape
bad 'a misshapen tensor' b "tensor $q: shape differs"
spoil --name $q --add
bad 'a surplus tensor' b 'tensor model.surplus.weight: config.json has no place'
spoil --name $q --f64
bad 'a tensor of another type' b "tensor $q: "
for v in nan inf -inf; do
    spoil --name $q --fill-last $v
    bad "a weight of $v" b "tensor $q: holds NaN or Inf"
done
spoil --name visual.blocks.0.norm1.weight --fill-last nan
bad 'in a vector' b 'tensor visual.blocks.0.norm1.weight: holds NaN or Inf'

# --- files ---
rm -rf b && cp -R m b
w=b/model.safetensors
size=$(wc -c <m/model.safetensors)
head -c $((size - 100)) m/model.safetensors >$w
bad 'weights cut short' b 'model.safetensors: tensor '
printf '\377\377\377\377\377\377\377\177' >$w
tail -c +9 m/model.safetensors >>$w
bad 'a header that lies about its length' b 'model.safetensors: claims a header'
: >$w
bad 'no byte' b 'model.safetensors: 0 bytes are too few'
LC_ALL=C sed '1s/"shape":\[1024,128\]/"shape":[1025,128]/' m/model.safetensors >$w
bad 'a header that lies about a shape' b 'where its shape needs'
LC_ALL=C sed '1s/"shape":\[1024,128\]/"shape":[102,4,28]/' m/model.safetensors >$w
bad 'a shape of the wrong size' b 'where its shape needs'
{ head -c 8 m/model.safetensors; printf 'XX'; tail -c +11 m/model.safetensors; } >$w
bad 'a header that is no JSON' b 'model.safetensors: '
rm $w
bad 'no weights' b 'b: no weights: neither model.safetensors nor'
for f in config.json preprocessor_config.json tokenizer.json; do
    rm -rf b && cp -R m b && rm b/$f
    case $f in
    config.json) bad "no $f" b 'b: neither a checkpoint (no config.json)' ;;
    *) bad "no $f" b "b/$f: cannot open" ;;
    esac
    echo '{"a":' >b/$f
    bad "$f cut" b "b/$f"
    echo '[]' >b/$f
    bad "$f a list" b "b/$f"
done
mkdir empty
bad 'an empty folder' empty 'empty: neither a checkpoint'
bad 'no folder' nosuch 'nosuch: neither a checkpoint'
mkdir run
ln -s nosuch run/latest
bad 'a run whose newest is gone' run 'run: '

# --- config, tokenizer, preprocessor ---
config() {              # config SED [FILE]: a copy of m with a file edited
    rm -rf b
    cp -R m b
    rm "b/${2:-config.json}"
    sed "$1" "m/${2:-config.json}" >"b/${2:-config.json}"
}
config 's/"vocab_size": 1024/"vocab_size": 1020/'
bad 'fewer rows than tokens' b 'model.embed_tokens.weight: shape differs'
cp -R m.from from
sed 's/"vocab_size": 1024/"vocab_size": 1020/' m.from/config.json >from/config.json
expect 1 'init: tokenizer and vocab_size disagree' ral-init -q from -o new
says "from/tokenizer.json: holds "
said 'and names both numbers' "config.json's vocab_size is 1020"
absent 'no checkpoint' new new.*
config 's/"image_token_id": 1018/"image_token_id": 1019/'
bad 'another placeholder' b '<|image_pad|> is 1018 in tokenizer.json, 1019 in'
config 's/"patch_size": 14/"patch_size": 16/' preprocessor_config.json
bad 'another patch size' b 'differ in patch, merge or temporal size'
config 's/"qwen2_5_vl"/"llama"/'
bad 'another family' b 'b/config.json: model_type llama'
config 's/"num_hidden_layers": 2/"num_hidden_layers": 3/'
bad 'more layers than tensors' b 'tensor model.layers.2.'
config 's/"num_hidden_layers": 2/"num_hidden_layers": 1/'
bad 'fewer layers than tensors' b 'config.json has no place for it'
config 's/"hidden_size": 128/"hidden_size": 1e9/'
bad 'a size that is no number' b 'b/config.json: hidden_size must be a whole number'
config 's/"num_attention_heads": 4/"num_attention_heads": 5/'
bad 'heads that do not divide' b 'do not divide'

# --- a digest that cannot be kept, of a checkpoint too large to hash anew ---
large() {               # large: a copy of m whose files are over 64 MB
    rm -rf b
    cp -R m b
    rm -rf b/ral
    truncate -s 65M b/other.safetensors
}
large
: >b/ral
expect 0 'ral is a file' ral-rollout -q -m b -n 2 --max-tokens 2 -o out.ral $rows
large
mkdir -p b/ral/digest.json
expect 0 'ral/digest.json is a folder' ral-rollout -q -m b -n 2 --max-tokens 2 \
    -o out.ral $rows
large
expect 0 'a large checkpoint' ral-rollout -q -m b -n 2 --max-tokens 2 -o out.ral $rows
expect 0 'keeps its digest' test -s b/ral/digest.json
rm -rf b out.ral

# --- training state ---
ral-update -q -m m -o t s.ral
rm -rf b && cp -R t b
head -c 5000 t/ral/optimizer.safetensors >b/ral/optimizer.safetensors
expect 1 'moments cut short' ral-update -q --allow-stale -m b -o u s.ral
says 'b/ral/optimizer.safetensors'
echo '{}' >b/ral/state.json
expect 1 'a state without counts' ral-update -q --allow-stale -m b -o u s.ral
says 'b/ral/state.json'
absent 'nothing is left' u u.*

# --- a teacher or reference that does not fit ---
rm -rf b && cp -R m b && rm b/tokenizer.json
sed '1s/{/{ /' m/tokenizer.json >b/tokenizer.json
expect 1 'a teacher with another tokenizer' ral-distill -q -t b -m m -o u s.ral
says "b: the teacher's tokenizer.json differs from the student's"
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' m.from/config.json >from/config.json
ral-init -q from -o small
expect 1 'a reference of another size' ral-update -q --ref small \
    -s update.beta=0.1 -m m -o u s.ral
says "small: the reference's config.json differs from the policy's"
absent 'nothing is left of these' u u.*

# --- init ---
expect 2 'no output' ral-init -q m.from
says '-o DIR is needed'
expect 1 'a checkpoint that exists' ral-init -q m.from -o m
says 'm: exists; name another -o or give --force'
expect 2 'an initialiser that is none' ral-init --init zero m.from -o new
says '--init must be fan_in or normal'
expect 1 'a folder that is none' ral-init nosuch -o new
says 'nosuch'
expect 1 'a parent that is not there' ral-init -q m.from -o no/such/parent
says 'no/such/parent: cannot create'
absent 'nothing is left of init' new new.*
finish
