#!/bin/sh
# tests/cli/reward.sh - scores, advantages, re-scoring, and what is refused
. "${0%/*}/../lib.sh"

has() {                 # has NAME TEXT FILE
    grep -qF -- "$2" "$3" && ok 0 "$1" || ok 1 "$1"
}
same() {                # same NAME A B
    cmp -s "$2" "$3" && ok 0 "$1" || ok 1 "$1"
}

good='"<answer>red</answer>"' bad='"<answer>blue</answer>"'
cat >rows <<EOF
{"id":"k1","answer":"red","choices":["red","blue"],"texts":[$good,$bad,$bad,$bad,$bad,$bad,$bad,$bad]}
{"id":"k0","answer":"red","choices":["red","blue"],"keep":{"x":[1,2.5]},"texts":[$bad,$bad]}
{"id":"mix","answer":"red","choices":["red","blue"],"texts":["red",$good,"<think>?</think><answer>A</answer>"]}
EOF
mkgroups <rows >in.ral

# --- scores and advantages ---
expect 0 'a pipe' sh -c 'ral-reward -q <in.ral >out.ral'
mkgroups --dump <out.ral >out.json
has 'reward of a right answer' '"rewards":{"accuracy":1.0,"format":1.0},"reward":1.0,"advantage":2.47409620' out.json
has 'reward of a wrong one' '"rewards":{"accuracy":0.0,"format":1.0},"reward":0.1,"advantage":-0.35344231' out.json
has 'equal rewards: no advantage' '"reward":0.1,"advantage":0.0,"status":"ok"' out.json
has 'no tags: nothing' '"rewards":{"accuracy":0.0,"format":0.0},"reward":0.0' out.json
has 'other fields travel along' '"keep":{"x":[1,2.5]}' out.json
has 'provenance' '{"program":"ral-reward"' out.json

# --- re-scoring: records and end map byte for byte; only provenance grows ---
expect 0 'again' ral-reward -q out.ral -o again.ral
mkgroups --dump <again.ral >again.json
sed 1d out.json >a
sed 1d again.json >b
same 'equal records' a b
h1=$(head -n 1 out.json | wc -c) h2=$(head -n 1 again.json | wc -c)
[ "$h1" -lt "$h2" ] && ok 0 'provenance grows' || ok 1 'provenance grows'
# the id of the first record begins the part that must be the same
tail_of() { zstd -dc "$1" | LC_ALL=C sed -n '/bidbk1/,$p' | LC_ALL=C sed '1s/^.*bidbk1/k1/'; }
tail_of out.ral >a
tail_of again.ral >b
[ -s a ] && same 'equal bytes to the end map' a b

# --- settings ---
cat >recipe.yaml <<EOF
reward:
  weights: {choice: 2, format_think: 0.5}
  scale_rewards: none
update:
  beta: 0.04
EOF
ral-reward -q -c recipe.yaml out.ral | mkgroups --dump >r.json
has 'rules of a recipe' '"rewards":{"choice":1.0,"format_think":1.0},"reward":2.5,"advantage":1.0' r.json
expect 2 'unknown rule' ral-reward -s 'reward.weights={acuracy: 1}' in.ral
says "did you mean 'accuracy'"
expect 2 'unknown key' ral-reward -s reward.wieghts=1 in.ral
expect 2 'unknown scaling' ral-reward -s reward.scale_rewards=std in.ral
expect 2 'unknown option' ral-reward --bogus in.ral
expect 2 'a fraction' ral-reward --max-failed 2 in.ral
says 'max-failed'
expect 0 'help' ral-reward --help
expect 0 'version' ral-reward -V

# --- the deviation of the whole batch, by hand ---
# rewards 1, 7 x 0.1; 0.1, 0.1; 0, 1, 0.0: mean 3.0 / 13
ral-reward -q -s reward.scale_rewards=batch -s 'reward.weights={accuracy: 1}' in.ral |
    mkgroups --dump >b.json
# 2 of 13 right: s = sqrt(13/12 * 2/13 * 11/13) = 0.37553; 7/8 / (s + 1e-4)
has 'batch scaling' '"reward":1.0,"advantage":2.3293' b.json
ral-reward -q -s reward.scale_rewards=batch -s 'reward.weights={accuracy: 1}' in.ral >b1.ral
ral-reward -q -s reward.scale_rewards=batch -s 'reward.weights={accuracy: 1}' b1.ral >b2.ral
tail_of b1.ral >a
tail_of b2.ral >b
[ -s a ] && same 'batch scaling again' a b
# the batch's mean as the baseline: 2 / 13, so 11/13 and -2/13
ral-reward -q -s reward.baseline=batch -s reward.scale_rewards=none \
    -s 'reward.weights={accuracy: 1}' in.ral | mkgroups --dump >n.json
has 'batch baseline' '"reward":1.0,"advantage":0.84615384615384' n.json
grep '"id":"k0"' n.json >k0.json
has 'a group of equal rewards has one, too' '"reward":0.0,"advantage":-0.1538461538461' k0.json
ral-reward -q -s reward.baseline=batch in.ral >b1.ral
ral-reward -q -s reward.baseline=batch b1.ral >b2.ral
tail_of b1.ral >a
tail_of b2.ral >b
[ -s a ] && same 'batch baseline again' a b
expect 1 'no room for the spool' env TMPDIR=/nonexistent ral-reward -s reward.scale_rewards=batch in.ral
says '/nonexistent'

# --- other baselines: of k1 one is right, so the mean of a wrong one's others is 1/7 ---
ral-reward -q -s reward.baseline=leave_one_out -s reward.scale_rewards=none \
    -s 'reward.weights={accuracy: 1}' in.ral | mkgroups --dump >l.json
has 'leave one out' '"reward":1.0,"advantage":1.0' l.json
has 'the others' '"reward":0.0,"advantage":-0.142857142857142' l.json
grep '"id":"k0"' l.json >k0.json
has 'equal rewards: still none' '"reward":0.0,"advantage":0.0' k0.json
ral-reward -q -s reward.baseline=none -s reward.scale_rewards=none in.ral |
    mkgroups --dump >p.json
has 'no baseline' '"reward":0.1,"advantage":0.1' p.json
expect 2 'unknown baseline' ral-reward -s reward.baseline=rloo in.ral
says 'group|leave_one_out|batch|none'

# --- a rule with parameters; a right answer's 20 bytes and an end make T 21 ---
cat >long.yaml <<EOF
reward:
  weights: {accuracy: 1, overlong: 0.5}
  overlong:
    max_completion_length: 24
    soft_punish_cache: 8
EOF
expect 0 'overlong' ral-reward -q -c long.yaml in.ral -o long.ral
mkgroups --dump <long.ral >long.json
has '21 of 24 tokens: (24 - 8 - 21) / 8' '"rewards":{"accuracy":1.0,"overlong":-0.625},"reward":0.6875' long.json
has '4 tokens lose nothing' '"rewards":{"accuracy":0.0,"overlong":0.0},"reward":0.0' long.json
has 'more than the longest' '"rewards":{"accuracy":0.0,"overlong":-1.0},"reward":-0.5' long.json
ral-reward -q -s 'reward.weights={overlong: 1}' in.ral | mkgroups --dump >long.json
has "the stream's longest" '"rewards":{"overlong":0.0}' long.json
printf 'reward:\n  overlong:\n    soft_punish_cache: -1\n' >bad.yaml
expect 2 'a parameter out of range' ral-reward -c bad.yaml in.ral
says 'bad.yaml:3:24: reward.overlong.soft_punish_cache: -1 is not between'
printf 'reward:\n  overlong: {max_completion_length: long}\n' >bad.yaml
expect 2 'a parameter of a wrong type' ral-reward -c bad.yaml in.ral
says 'bad.yaml:2:37: reward.overlong.max_completion_length'
printf 'reward:\n  overlong: {soft_punish_cash: 1}\n' >bad.yaml
expect 2 'an unknown parameter' ral-reward -c bad.yaml in.ral
says "bad.yaml:2:14: unknown key 'reward.overlong.soft_punish_cash'; did you mean"
expect 2 'a buffer longer than all' ral-reward -c long.yaml \
    -s reward.overlong.soft_punish_cache=25 -o no.ral in.ral
says '25 is more than the 24 tokens'
[ ! -e no.ral ] && ok 0 'nothing is written' || ok 1 'nothing is written'
expect 2 'and told before a run' ral-view --get reward.weights \
    -s reward.overlong.soft_punish_cache=25 long.yaml
says '25 is more than the 24 tokens'

# --- shards: joined, or one alone ---
sed -n 1p rows | mkgroups --shard 1 --shards 2 >s1
sed -n 2,3p rows | mkgroups --shard 2 --shards 2 >s2
cat s1 s2 | ral-reward -q >joined.ral
tail_of joined.ral >b
tail_of out.ral >a
same 'joined shards are the whole' a b
mkgroups --dump <joined.ral | head -n 1 >h
has 'and say so' '"shard":[1,1]' h
ral-reward -q s2 >s2.ral
mkgroups --dump <s2.ral | head -n 1 >h
has 'a shard alone stays one' '"shard":[2,2]' h
ral-reward -q s1 >s1.ral
expect 0 'scored shards join' sh -c 'cat s1.ral s2.ral | ral-reward -q >j2.ral'
tail_of j2.ral >b
same 'to the same records' a b

# --- failures ---
cat >half <<EOF
{"id":"good","answer":"red","texts":[$good,$bad]}
{"id":"lost","failed":"x.png: not an image","texts":[]}
{"id":"bare","texts":[$good,$bad]}
EOF
mkgroups <half >half.ral
expect 3 'too many failed' ral-reward -q half.ral -o half.out
says '2 of 3 records failed'
mkgroups --dump <half.out >half.json
has 'the record passes' '"status":"failed","error":"x.png: not an image"' half.json
has 'and what lacks an answer is no zero' '"status":"failed","error":"the row has no text answer' half.json
grep -c '"reward"' half.json | grep -qx 1 && ok 0 'no number there' || ok 1 'no number there'
expect 0 'allowed' ral-reward --max-failed 0.7 half.ral -o half.out
grep -qF '2 of 3 records failed; the first: record lost' err && ok 0 'but said' || ok 1 'but said'
expect 0 'rules that need no answer' ral-reward -q --max-failed 0.5 -s 'reward.weights={format: 1}' half.out -o f.out
mkgroups --dump <f.out >f.json
grep '"id":"bare"' f.json | grep -q '"error"' && ok 1 'a sample recovers' || ok 0 'a sample recovers'

# --- bad input ---
head -c 300 out.ral >cut
expect 1 'cut' ral-reward -o no.ral cut
says 'truncated'
[ ! -e no.ral ] && ok 0 'nothing half-written' || ok 1 'nothing half-written'
expect 1 'rows' ral-reward rows
says 'rows'
: >empty
expect 1 'empty' ral-reward empty
says 'empty'
expect 1 'missing file' ral-reward none.ral
says 'none.ral'
expect 1 'too large a record' ral-reward --max-record 100 in.ral
says 'max-record'
expect 1 'full disk' sh -c 'ral-reward -q in.ral >/dev/full'
says 'stdout'
expect 0 'closed pipe' sh -c 'ral-reward -q in.ral 2>err2 | head -c 10 >/dev/null; ! test -s err2'

# --- memory does not grow with the stream (sanitizers need it all) ---
case $O in
*,*) ;;
*)
    mkstream -n 100 -g 4 -p 2000 -t 30 >big.ral # 100 MB decoded
    for s in group batch; do
        expect 0 "100 MB in 60, $s" sh -c "ulimit -v 60000
            ral-reward -q -s reward.scale_rewards=$s <big.ral >/dev/null"
    done
    ;;
esac

# --- the examples of the man page ---
sed -n '/^\.SH EXAMPLES/,$p' "$top/man/ral-reward.1" |
    sed -n '/^\.EX/,/^\.EE/p' | sed '/^\.E/d; s/\\-/-/g; s/\\e$/\\/' >examples
cp in.ral rollouts.ral
expect 0 'examples' sh -eu examples
[ -s scored.ral ] && [ -s choice.ral ] && [ -s reward.jsonl ] && [ -s short.ral ] &&
    ok 0 'they made their files' || ok 1 'they made their files'

# --- metrics ---
ral-reward -q --log m.jsonl in.ral >/dev/null
has 'metrics' '"step":5,"records":3,"failed":0,"flat":1,"samples":13' m.jsonl
finish
