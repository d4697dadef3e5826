#!/bin/sh
# tests/cli/lambda.sh - the experiment's targets, side by side and stopped
. "${0%/*}/../lib.sh"

ln -s "$top/share" share
mkdir build
ln -s "$O" build/plain
experiment() {
    make -f share/experiments/lambda/Makefile SEEDS=5 ROWS='60 40 16 20' \
        SETS='sft.max_steps=4 sft.batch_size=8 sft.stop= sft.eval_every=2
              train.steps=2 rollout.batch_size=4 eval.every=2' "$@"
}

expect 0 'one run alone' experiment build/lambda/5-0/done
rm -r build/lambda/5-0/done build/lambda/5-0/2 # stopped before its last step
expect 0 'all, two at a time' experiment -j2
if [ "$(grep -c '^   5  ' out)" -eq 2 ] && [ "$(grep -c '^mean' out)" -eq 2 ]
then ok 0 'a line for each run, and for each lambda'
else ok 1 'a line for each run, and for each lambda'
fi
expect 0 'again' experiment
if grep -q ral-train out; then ok 1 'nothing is left to do'
else ok 0 'nothing is left to do'
fi
finish
