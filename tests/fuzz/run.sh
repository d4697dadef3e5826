#!/bin/sh
# tests/fuzz/run.sh SECONDS TARGET... - one parser after the other
set -eu
seconds=$1
shift
for t in "$@"; do
    name=${t##*/fuzz_}
    mkdir -p "$t.corpus"
    sh "${0%/*}/seeds.sh" "$name" "$t.corpus"
    if "$t" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
        -artifact_prefix="$t." "$t.corpus" >"$t.log" 2>&1; then
        echo "fuzz $name: $(grep '^Done' "$t.log")"
    else
        tail -n 40 "$t.log"
        echo "fuzz $name: failed; the input is $t.*"
        exit 1
    fi
done
