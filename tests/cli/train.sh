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

# A stream damaged by the file system is made anew; only our own leavings go.
: >killed/streams/9.ral
mkdir killed/9.tmp.gone killed/sft/12.tmp.aB3xYz killed/mine.tmp.d
touch killed/notes.tmp.txt killed/streams/9.ral.tmp.raw killed/sft/a.tmp.sw
expect 0 'more steps' ral-train -s train.steps=9 r.yaml -o killed
holds 'one more is made' is "$(readlink killed/latest)" 9
holds 'what a killed run left is gone, what is not its own stays' is \
    "$(cd killed; find . -name '*.tmp.*' | sort | xargs)" \
    './mine.tmp.d ./notes.tmp.txt ./sft/a.tmp.sw'

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
for x in . 0.5.5 1.5 -1 '' 1e0; do
    expect 2 "accuracy>=$x" ral-train -s "sft.stop=accuracy>=$x" r.yaml -o bad
done
expect 2 'an empty output' ral-train -o '' r.yaml
says 'ral-train: -o needs a folder'
holds 'none of them makes a folder' [ ! -e bad ]
mkdir home
touch home/a.tmp.b home/r.tmp.gone
expect 1 'a folder that is no run' ral-train r.yaml -o home
says 'home: holds files, but no recipe.yaml'
holds 'is left as it is' is "$(ls -A home | xargs)" 'a.tmp.b r.tmp.gone'
expect 1 'a folder that cannot be written' ral-train r.yaml -o r.yaml/x
says 'ral-train: r.yaml/x: cannot write there'
mkdir -p lock/.lock
expect 1 'a lock that cannot be written' ral-train r.yaml -o lock
says 'ral-train: lock/.lock: cannot write'
cp r.yaml ./-r.yaml
cp -R "$top/share/models/tiny" ./-m
expect 0 'names that begin with a dash, an end at 1, one update a step' \
    ral-train -q -o -run -s model.init=-m -s sft.max_steps=3 -s train.steps=2 \
    -s 'sft.stop=accuracy>=1.0' -s update.num_mini_batches=1 -- -r.yaml
says 'there is a single update'
rm ./-run/latest
mkdir ./-run/latest
expect 1 'latest is a folder' ral-train -q -o -run -s model.init=-m \
    -s sft.max_steps=3 -s train.steps=2 -s 'sft.stop=accuracy>=1.0' \
    -s update.num_mini_batches=1 -- -r.yaml
says 'ral-train: ./-run/latest: a folder stands'
expect 1 'a program that fails stops the run' \
    ral-train -s data.train=none.jsonl r.yaml -o bad
holds 'and is named' \
    grep -q 'ral-train: SFT step 0 of 12: ral-update failed with status 1$' err
mkdir stubs
printf '#!/bin/sh\nkill -KILL $$\n' >stubs/ral-init
chmod +x stubs/ral-init
cp "$(command -v ral-train)" stubs
expect 1 'a program that is killed' stubs/ral-train -q r.yaml -o bad2
said 'the run can go on' 'run ral-train again to go on'

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
