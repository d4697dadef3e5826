#!/bin/sh
# tests/fuzz/seed_stream.sh CORPUS - streams, and items of them, to start from
set -eu
for kind in '' --scored --failed --f16; do
    {
        printf '\002'
        mkstream -n 2 $kind
    } >"$1/stream$kind"
    {
        printf '\001'
        mkstream -n 0 $kind | zstd -dcq | head -c -11
    } >"$1/header$kind"
    {
        head=$(mkstream -n 0 $kind | zstd -dcq | head -c -11 | wc -c)
        printf '\001'
        mkstream -n 1 $kind --cut | zstd -dcq | tail -c "+$((head + 1))"
    } >"$1/record$kind"
done
