#!/bin/sh
# tests/cli/init.sh - random weights of a model folder
. "${0%/*}/../lib.sh"

from=$top/share/models/tiny
expect 0 'a checkpoint' ral-init "$from" -o a
said 'counts its weights' 'weights in 56 tensors'
ral-init -q "$from" -o b
same 'the same seed, the same bits' a/model.safetensors b/model.safetensors
ral-init -q --seed 1 "$from" -o c
cmp -s a/model.safetensors c/model.safetensors && ok 1 'another seed' || ok 0 'another seed'
for f in config.json generation_config.json preprocessor_config.json \
    tokenizer.json tokenizer_config.json; do
    cmp -s "$from/$f" "a/$f" || echo $f
done >missing
holds 'the other files come along' "$(wc -l <missing) == 0"
absent 'and no training state' a/ral a/a.tmp*
expect 0 '--force' ral-init -q --force --seed 1 "$from" -o b
same 'replaces' c/model.safetensors b/model.safetensors
absent 'and leaves nothing' b.*

# --- deviations, read as other programs would read them ---
cat >stats.py <<'P'
import json, struct, sys, math
def tensors(d):
    b = open(d + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    h = json.loads(b[8:8 + n])
    for name, t in h.items():
        if name == "__metadata__":
            continue
        lo, hi = t["data_offsets"]
        v = struct.unpack("<%df" % ((hi - lo) // 4), b[8 + n + lo:8 + n + hi])
        yield name, t["shape"], v
how, d = sys.argv[1:]
for name, shape, v in tensors(d):
    mean = sum(v) / len(v)
    std = math.sqrt(sum(x * x for x in v) / len(v))
    fan = math.prod(shape[1:])
    if name.endswith("bias"):
        good = all(x == 0 for x in v)
    elif len(shape) == 1:
        good = all(x == 1 for x in v)
    else:
        want = fan ** -0.5 if how == "fan_in" else float(how)
        good = abs(std / want - 1) < 0.05 and abs(mean) < want * 5 / len(v) ** 0.5
    if not good:
        sys.exit(f"{name}: {mean} {std}")
P
if command -v python3 >/dev/null; then
    expect 0 'fan_in' python3 stats.py fan_in a
    ral-init -q --init normal "$from" -o n
    expect 0 'normal' python3 stats.py 0.02 n
    ral-init -q --init normal --std 0.1 "$from" -o n1
    expect 0 '--std' python3 stats.py 0.1 n1
    printf 'model: {initializer: normal, std: 0.05}\n' >r.yaml
    ral-init -q -c r.yaml "$from" -o n2
    expect 0 'a recipe' python3 stats.py 0.05 n2
else
    ok 0 'deviations # SKIP no python3'
fi

# A tensor's numbers do not depend on what other tensors there are.
cp -R "$from" deep
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' "$from/config.json" >deep/config.json
ral-init -q deep -o d
cp -R d e
# three layers less one are the two of a
for t in input_layernorm.weight post_attention_layernorm.weight \
    self_attn.q_proj.weight self_attn.q_proj.bias self_attn.k_proj.weight \
    self_attn.k_proj.bias self_attn.v_proj.weight self_attn.v_proj.bias \
    self_attn.o_proj.weight mlp.gate_proj.weight mlp.up_proj.weight \
    mlp.down_proj.weight; do
    retensor --name model.layers.2.$t --drop e
done
same 'layers have numbers of their own' a/model.safetensors e/model.safetensors
# untied: one tensor more
cp -R "$from" untied
sed 's/"tie_word_embeddings": true/"tie_word_embeddings": false/' \
    "$from/config.json" >untied/config.json
expect 0 'an untied head' ral-init untied -o u
said 'is a tensor' 'in 57 tensors'
ral-synth -q --rows 2 --objects 2 --name x -o data
expect 0 'and runs' ral-rollout -q -m u -n 1 --max-tokens 2 data/x.jsonl
expect 0 'and trains' ral-update -q --sft -m u -o u1 data/x.jsonl
expect 0 'version' ral-init -V
expect 0 'help' ral-init --help
expect 2 'no folder' ral-init -o x
expect 2 'two' ral-init "$from" "$from" -o x
finish
