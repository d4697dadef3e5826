#!/bin/sh
# tests/cli/photos.sh - one on-policy step on photographs that others took
# PHOTOS: rows of the step [4]; make photos takes all.
. "${0%/*}/../lib.sh"

photos=${RAL_DATA:-$top/../shared/data}/photos
if [ ! -f "$photos/photos.jsonl" ]; then
    echo '1..0 # SKIP no shared/data/photos'
    exit 0
fi
ral-init -q "$top/share/models/small" -o m
cat >r.yaml <<'END_'
data:
  where: ["format=png"]
rollout:
  num_generations: 8
  max_completion_length: 8
update:
  learning_rate: 1.0e-4
  num_mini_batches: 2
END_
began=$(date +%s)
# Random weights earn nothing, so that all advantages would be 0: the samples
# are given some.
expect 0 'one step' sh -c "ral-rollout -q -c r.yaml --log ro -m m \
        --limit ${PHOTOS:-4} '$photos/photos.jsonl' |
    ral-reward -q | restream --advantages |
    ral-update -q -c r.yaml --log up -m m -o m1"
holds 'rows' "$(field prompts ro) >= 4 && $(field failed ro) == 0"
holds '8 samples each' "$(field samples ro) == 8 * $(field prompts ro)"
holds 'two updates' "$(wc -l <up) == 2"
sed -n 1p up >first
sed -n 2p up >second
holds 'first update: |dlogp| is 0' "$(field dlogp_max first) == 0"
holds 'first update: J is 0' "$(field jsd first) == 0"
holds 'second update: J is over 0' "$(field jsd second) > 0"
holds 'second update: so is |dlogp|' "$(field dlogp second) > 0"
expect 0 'a checkpoint' test -f m1/model.safetensors
echo "# $(field prompts ro) pictures, $(($(date +%s) - began)) s in all;" \
    "rollout $(field seconds ro) s, $(($(field peak_bytes ro) >> 20)) MiB;" \
    "updates $(field seconds up | tr '\n' ' ')s, $(($(field peak_bytes second) >> 20)) MiB"
finish
