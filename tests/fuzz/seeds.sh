#!/bin/sh
# tests/fuzz/seeds.sh TARGET CORPUS - what a target starts from
set -eu
top=$(cd "${0%/*}/../.." && pwd)
out=$2

case $1 in
stream)                 # streams, and items of them
    for kind in '' --scored --failed --f16; do
        {
            printf '\002'
            mkstream -n 2 $kind
        } >"$out/stream$kind"
        {
            printf '\001'
            mkstream -n 0 $kind | zstd -dcq | head -c -11
        } >"$out/header$kind"
        {
            head=$(mkstream -n 0 $kind | zstd -dcq | head -c -11 | wc -c)
            printf '\001'
            mkstream -n 1 $kind --cut | zstd -dcq | tail -c "+$((head + 1))"
        } >"$out/record$kind"
    done ;;
safetensors)
    h='{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}} '
    printf '\216\0\0\0\0\0\0\0%s0123456789' "$h" >"$out/two"
    printf '\2\0\0\0\0\0\0\0{}' >"$out/none" ;;
tokenizer)              # its bytes, a few merges, two added tokens
    jq -c '.model.merges |= .[:30] |
        .model.vocab |= with_entries(select(.value < 286)) |
        .added_tokens |= [.[:3] | to_entries[] | .value.id = 286 + .key | .value]' \
        "$top/share/models/tiny/tokenizer.json" >"$out/tiny" ;;
recipe)
    cp "$top"/share/recipes/*.yaml "$out" ;;
png)
    cp "$top"/tests/golden/media/[eg]*.png "$out" ;;
rows)
    cat >"$out/rows" <<'END'
{"id":"a","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image"},{"type":"text","text":"Is it <b>?"}]}],"images":["x.png"],"answer":"B","choices":["red","blue"],"category":"c","cluster":"k","boxes":[[0,1,2,3]]}
{"messages":[{"role":"user","content":[{"type":"image","image":"y.png"}]},{"role":"assistant","content":"<answer>2.5</answer>"}],"answer":2.5,"a":true}

END
    printf '\357\273\277{"messages":[{"role":"user","content":"\\ud83d\\ude00"}],"deep":[[[{}]]]}' \
        >"$out/mark" ;;
esac
