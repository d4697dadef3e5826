#!/bin/sh
# tests/cli/train.sh - a run killed anywhere ends with the same bits
. "${0%/*}/../lib.sh"      # set -eu, own scratch directory, expect STATUS NAME CMD

wait_for() {            # wait_for CMD...: until it holds, a minute at most
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || return 1
        sleep 0.05
    done
}
newest() {              # newest FOLDER: its highest number, or -1
    { echo -1; ls $1 2>/dev/null | grep -x '[0-9]*' || :; } | sort -n | tail -n 1
}
reached() { [ "$(newest $1)" -ge $2 ]; }
holds() {               # holds NAME CMD...: CMD succeeds
    name=$1
    shift
    if "$@"; then ok 0 "$name"; else ok 1 "$name"; fi
}
is() { [ "$1" = "$2" ]; }
random_s() {            # 0.00 to 0.49 seconds
    od -An -N2 -tu2 /dev/urandom | awk '{ printf "%.2f", $1 % 50 / 100 }'
}
same() {                # same CHECKPOINT: weights and moments of both runs
    cmp straight/$1/model.safetensors killed/$1/model.safetensors &&
        cmp straight/$1/ral/optimizer.safetensors \
            killed/$1/ral/optimizer.safetensors
}

ral-synth -q -o data --rows 60 --objects 3 --naming 0.5
ral-synth -q -o data --rows 20 --objects 3 --split validation
cat >r.yaml <<END
model:
  init: $top/share/models/tiny
data:
  train: data/train.jsonl
  validation: data/validation.jsonl
  system_prompt: none
sft:
  batch_size: 4
  learning_rate: 1e-3
  warmup_steps: 4
  max_steps: 12
  eval_every: 3
  slow_at: accuracy>=0.0
  slow_learning_rate: 5e-4
  stop: accuracy>=0.9
rollout:
  num_generations: 4
  batch_size: 4
  max_completion_length: 6
reward:
  weights: {accuracy: 0.9, format: 0.1}
update:
  learning_rate: 3e-4
  lr_scheduler_type: linear
  max_steps: 18
  num_mini_batches: 2
  beta: 0.04
eval:
  max_completion_length: 6
  every: 4
train:
  steps: 8
  keep: 2
  save_every: 3
  seed: 7
END

expect 0 'a whole run' ral-train r.yaml -o straight
holds 'a line a step' grep -q \
    'step 4 of 8: reward .*, accuracy .*, J .*, |dlogp| 0, .* s, ETA' err
holds 'and one a chunk of SFT' grep -q 'SFT step 6 of 12: loss .*, accuracy' err
sed -n 's/.*"program":"ral-update --sft".*"learning_rate":\([0-9.e-]*\),.*/\1/p' \
    straight/metrics.jsonl | tail -n 6 | sort -u >rates
holds 'sft.slow_at lowers the rate' is "$(xargs <rates)" 0.0005
holds 'train.keep and train.save_every bound the disk' \
    is "$(ls straight | grep -x '[0-9]*' | xargs)" '0 3 6 7 8'
holds 'RUN/0 is the end of SFT' is "$(readlink straight/0)" sft/12
holds 'RUN/latest is the newest' is "$(readlink straight/latest)" 8

# Two kills in SFT, three after it, each a random while after a place.
kills=0
for place in 'killed -1' 'killed/sft 3' 'killed 0' 'killed 1' 'killed 3'; do
    setsid ral-train -q r.yaml -o killed 2>>log &
    pid=$!
    wait_for reached $place
    sleep "$(random_s)"
    kill -s KILL -- -$pid && kills=$((kills + 1))
    wait $pid || :
    echo "# killed at SFT step $(newest killed/sft), step $(newest killed)"
done
holds 'killed five times' is $kills 5
expect 0 'the same command goes on' ral-train r.yaml -o killed
for c in 0 8; do
    holds "RUN/$c: the bits of the uninterrupted run" same $c
done
holds 'nothing half-made is left' is "$(find killed -name '*.tmp.*')" ''
expect 0 'a finished run is left alone' ral-train r.yaml -o killed

# One at a time; SIGTERM to the script alone ends what it started.
ral-train -q r.yaml -o other 2>log &
pid=$!
wait_for reached other/sft 3
expect 1 'a second ral-train on the same folder' ral-train r.yaml -o other
says 'another ral-train is at work'
kill -TERM $pid
status=0
wait $pid || status=$?
holds 'SIGTERM ends it' is $status 143
expect 0 'with all its programs' flock -n other/.lock true

expect 1 'another seed on the same folder' ral-train --seed 8 r.yaml -o killed
says 'another recipe, seed or -s'
expect 0 'more steps' ral-train -s train.steps=9 r.yaml -o killed
holds 'one more is made' is "$(readlink killed/latest)" 9

sed 's/beta:/betta:/' r.yaml >bad.yaml
expect 2 'an unknown key' ral-train bad.yaml -o bad
says "bad.yaml:27:3: unknown key 'update.betta'; did you mean 'update.beta'?"
expect 2 'an unknown key of its own' ral-train -s train.step=3 r.yaml -o bad
expect 2 'an unknown rule' ral-train -s reward.weights.exact=1 r.yaml -o bad
says "no rule 'exact'"
expect 2 'a rate that falls to nowhere' \
    ral-train -s update.max_steps=0 r.yaml -o bad
says 'needs update.max_steps'
expect 2 'an unknown option' ral-train --bogus r.yaml
expect 2 'no recipe' ral-train -o bad
expect 2 'a stop that is none' ral-train -s 'sft.stop=loss<1' r.yaml -o bad
expect 1 'a missing recipe' ral-train none.yaml -o bad
expect 2 'a place that is none' ral-train -s sft.slow_at=0.5 r.yaml -o bad
holds 'none of them makes a folder' [ ! -e bad ]
expect 1 'a program that fails stops the run' \
    ral-train -s data.train=none.jsonl r.yaml -o bad
holds 'and is named' \
    grep -q 'ral-train: SFT step 0 of 12: ral-update failed with status 1' err

# The manual's examples, with the recipe above.
sed 's|^data:|&\n  test: data/validation.jsonl|; s/^  steps: 8/  steps: 2/' \
    r.yaml >recipe.yaml
sed -n '/^\.EX/,/^\.EE/{/^\.E[XE]/d;s/\\e/\\/;p;}' "$top/man/ral-train.1" >examples
expect 0 'examples of the manual' sh -eu examples
holds 'RUN is the newest' is "$(readlink plain/latest)" 4
holds 'the learning curve' [ -s curve.png ]
expect 1 'a curve of nothing' ral-view --curve c.png /dev/null
holds 'is no file' [ ! -e c.png ]
expect 1 'a curve of what is no metrics' ral-view --curve c.png r.yaml
says 'r.yaml:1'
finish
