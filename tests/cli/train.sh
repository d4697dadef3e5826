#!/bin/sh
# tests/cli/train.sh - a run killed anywhere ends with the same bits
. "${0%/*}/../lib.sh"      # set -eu, own scratch directory, expect STATUS NAME CMD

holds() {               # holds NAME CMD...: CMD succeeds
    name=$1
    shift
    if "$@"; then ok 0 "$name"; else ok 1 "$name"; fi
}
is() { [ "$1" = "$2" ]; }
same() {                # same CHECKPOINT A B: weights and moments of both runs
    for file in model.safetensors ral/optimizer.safetensors; do
        cmp "$2/$1/$file" "$3/$1/$file" || return
    done
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
rates() {               # rates RUN: learning rates of SFT's last six steps
    ral-view --get learning_rate --where 'program=ral-update --sft' \
        "$1/metrics.jsonl" | tail -n 6 | xargs
}
holds 'sft.slow_at lowers the rate' is "$(rates straight)" \
    '0.0005 0.0005 0.0005 0.0005 0.0005 0.0005'
holds 'train.keep and train.save_every bound the disk' \
    is "$(ls straight | grep -x '[0-9]*' | xargs)" '0 3 6 7 8'
holds 'RUN/0 is the end of SFT' is "$(readlink straight/0)" sft/12
holds 'RUN/latest is the newest' is "$(readlink straight/latest)" 8

expect 0 'a finished run is left alone' ral-train r.yaml -o straight

# --- killed at every place ---
# stubs/ stands before the real programs. The first time that a call which
# changes something is met, the whole run is killed before it; our programs are
# killed in the middle of what they write, too: ulimit -f ends them by SIGXFSZ
# at a byte of the file, which no machine is too fast or too slow for.
mkdir stubs
cp "$(command -v ral-train)" stubs
cat >stub <<'END'
#!/bin/sh
name=${0##*/} call="${0##*/} $*"
PATH=${PATH#*:}         # without stubs/
first() {               # first PLACE: is it met for the first time?
    ! grep -qxF -e "$1 $call" places && echo "$1 $call" >>places
}
first before && kill -KILL 0
case $name in
ral-init) cuts=weights:100 ;;
ral-update) cuts='weights:100 moments:6000' ;;
ral-rollout | ral-reward) cuts=stream:2 ;;
ral-eval) cuts=result:1 ;;
*) cuts= ;;
esac
for cut in $cuts; do
    if first "${cut%:*}"; then
        status=0
        (ulimit -c 0; ulimit -f "${cut#*:}"; exec "$name" "$@") || status=$?
        [ $status -eq 153 ] || echo "$call: $status, not SIGXFSZ" >>missed
        kill -KILL 0
    fi
done
exec "$name" "$@"
END
for p in ral-init ral-update ral-eval ral-rollout ral-reward ln mv rm mkdir cp; do
    cp stub stubs/$p
done
chmod +x stubs/*
disturbed() {           # disturbed RUN OPTIONS...: begun again until it ends
    : >places
    : >missed
    kills=0
    until [ -e "$1.ended" ]; do
        [ ! -e "$1/.lock" ] || flock "$1/.lock" true    # all of it are dead
        setsid -w sh -c 'stubs/ral-train -q r.yaml -o "$@" && : >"$1.ended"' \
            sh "$@" 2>err || :
        [ ! -e "$1.ended" ] || break
        [ "$(wc -l <places)" -gt $kills ] || return 1   # it ended by itself
        kills=$(wc -l <places)
    done
}
short='-s sft.max_steps=6 -s train.steps=3 -s train.keep=1 -s train.save_every=9
    -s eval.every=2'
# shellcheck disable=SC2086
expect 0 'a short run' ral-train -q r.yaml -o short $short
# shellcheck disable=SC2086
disturbed killed $short || sed 's/^/# /' err
holds 'killed at every place, it ends' [ -e killed.ended ]
echo "# killed $kills times"
holds 'in the middle of each file' is "$(cat missed)" ''
for place in 'before ral-init' 'weights ral-init' 'before ral-update --sft' \
    'weights ral-update --sft' 'moments ral-update --sft' 'result ral-eval' \
    'stream ral-rollout' 'before ral-reward' 'stream ral-reward' \
    'before rm killed/streams/1.ral.tmp.raw' 'weights ral-update -m' \
    'moments ral-update -m' 'before ln -sfn sft/6 killed/0.tmp.link' \
    'before mv -T killed/0.tmp.link' 'before mv -T killed/sft/3' \
    'before rm -rf killed/sft/3.tmp.gone' 'before rm -rf killed/2.tmp.'; do
    holds "place: $place" grep -q "^$place" places
done
for c in 0 3; do
    holds "RUN/$c: the bits of the undisturbed run" same $c short killed
done
holds 'the same folders' is "$(cd short; echo * sft/* eval/*)" \
    "$(cd killed; echo * sft/* eval/*)"
holds 'nothing half-made is left' is "$(find killed -name '*.tmp.*')" ''

# From a checkpoint, whose weights are copied; a log that ends in half a line.
disturbed copied -s model.init=short/3 -s sft.max_steps=0 -s train.steps=0 ||
    sed 's/^/# /' err
holds 'killed where weights are copied' grep -q '^before cp' places
holds 'they are the same' cmp short/3/model.safetensors copied/0/model.safetensors
holds 'without the state of training' [ ! -e copied/0/ral ]
printf '{"program":"ral-up' >>killed/metrics.jsonl
# shellcheck disable=SC2086
expect 0 'half a line of the log' ral-train r.yaml -o killed $short
expect 0 'is gone' ral-view --curve c.png killed/metrics.jsonl
rm c.png

# --- the rate stays slow, whatever later evaluations and starts say ---
mkdir fake
cp "$(command -v ral-train)" fake
cat >fake/ral-eval <<'END'
#!/bin/sh
while [ "$1" != -o ]; do shift; done
case $2 in */sft-3.json) echo '{"accuracy":0.8}' ;; *) echo '{"accuracy":0.1}' ;;
esac >"$2"
END
cat >fake/ral-update <<'END'
#!/bin/sh
case $* in *' -o slow/sft/9 '*) [ -e once ] || { : >once; exit 1; } ;; esac
PATH=${PATH#*:}
exec ral-update "$@"
END
chmod +x fake/*
slow() {
    fake/ral-train -q r.yaml -o slow -s 'sft.slow_at=accuracy>=0.5' \
        -s sft.max_steps=9 -s train.steps=0
}
expect 1 'a run that fails in its third chunk' slow
expect 0 'goes on' slow
holds 'at the slow rate' is "$(rates slow)" \
    '0.0005 0.0005 0.0005 0.0005 0.0005 0.0005'

# --- one at a time; SIGTERM to the script alone ends what it started ---
mkfifo never
mkdir waits
cp "$(command -v ral-train)" waits
printf '#!/bin/sh\n: >there\nexec cat never\n' >waits/ral-update
chmod +x waits/ral-update
for end in TERM:143 HUP:129 INT:130; do
    # A shell without job control lets background jobs ignore SIGINT.
    env --default-signal=HUP,INT,TERM waits/ral-train -q r.yaml -o other 2>log &
    pid=$!
    holds 'a run at work' await $pid [ -e there ]
    expect 1 'a second ral-train on the same folder' ral-train r.yaml -o other
    says 'another ral-train is at work'
    kill -s ${end%:*} $pid || :
    status=0
    wait $pid || status=$?
    holds "SIG${end%:*} ends it" is $status ${end#*:}
    expect 0 'with all its programs' flock -n other/.lock true
    rm there
done

# --- folders and files ---
expect 1 'another seed on the same folder' ral-train --seed 8 r.yaml -o straight
says 'another recipe, seed or -s'

# A stream damaged by the file system is made anew; only our own leavings go.
: >straight/streams/9.ral
mkdir straight/9.tmp.gone straight/sft/12.tmp.aB3xYz straight/mine.tmp.d
touch straight/notes.tmp.txt straight/streams/9.ral.tmp.raw straight/sft/a.tmp.sw
expect 0 'more steps' ral-train -s train.steps=9 r.yaml -o straight
holds 'one more is made' is "$(readlink straight/latest)" 9
holds 'what a killed run left is gone, what is not its own stays' is \
    "$(cd straight; find . -name '*.tmp.*' | sort | xargs)" \
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
printf '#!/bin/sh\nkill -KILL $$\n' >waits/ral-init
chmod +x waits/ral-init
expect 1 'a program that is killed' waits/ral-train -q r.yaml -o bad2
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
