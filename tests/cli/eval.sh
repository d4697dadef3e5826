#!/bin/sh
# tests/cli/eval.sh - accuracy, evidence, comparison, and the nightly script
. "${0%/*}/../lib.sh"

command -v jq >/dev/null || { echo '1..0 # SKIP needs jq'; exit 0; }
is() {                  # is NAME FILE FILTER...: jq says true of the file
    name=$1 file=$2
    shift 2
    if jq -e "$@" "$file" >/dev/null 2>&1; then
        ok 0 "$name"
    else
        ok 1 "$name"
        sed 's/^/# /' "$file" | cut -c1-400 | head -n 3
    fi
}
same() { cmp -s "$2" "$3" && ok 0 "$1" || ok 1 "$1"; }
timeless='del(.seconds, .tokens_per_s, .peak_bytes)'

# A policy that has learned to answer red, whatever is asked.
ral-synth -q -o d --rows 16
ral-init -q "$top/share/models/tiny" -o blank
grep '"answer":"red"' d/train.jsonl | head -n 2 >d/red.jsonl
ral-update -q --sft -m blank -o red --steps 12 -s sft.batch_size=2 \
    -s sft.learning_rate=0.005 d/red.jsonl
right=$(grep -c '"answer":"red"' d/train.jsonl)

# --- rows ---
expect 0 'rows' ral-eval -m red d/train.jsonl --max-tokens 8 --rows rows.jsonl
mv out all.json
mv err table
is 'one object with its keys' all.json -s 'length == 1 and (.[0] | keys_unsorted ==
    ["program", "version", "model", "digest", "data", "metric", "n", "correct",
     "accuracy", "ci95", "clusters", "unparsed", "categories", "evidence_mass",
     "evidence_ci95", "evidence_uniform", "evidence_n", "evidence_skipped",
     "evidence_unboxed", "failed", "mean_tokens", "seconds", "tokens_per_s",
     "peak_bytes"])'
is 'counts' all.json --argjson r "$right" '.n == 16 and .correct == $r and
    .failed == 0 and .unparsed == 0 and .mean_tokens == 4'
is 'two questions a picture' all.json '.clusters == 8'
is 'the interval holds the mean' all.json \
    '.ci95[0] < .accuracy and .accuracy < .ci95[1]'
is 'categories' all.json '.categories == {colour: {n, accuracy, ci95}}'
is 'evidence of every answer' all.json '.evidence_n == 16 and
    .evidence_mass > 0 and .evidence_mass < 1 and .evidence_uniform > 0'
grep -q 'colour  *16 ' table && ok 0 'a table' || ok 1 'a table'
is 'a line for each answer' rows.jsonl -s --argjson r "$right" 'length == 16 and
    (map(.correct) | add) == $r and
    all(.[]; .answer == "red" and .text == "<answer>red</answer>" and
        .cluster and .evidence > 0)'
expect 0 'quiet' ral-eval -q -m red d/train.jsonl --limit 2 --max-tokens 8
[ -s err ] && ok 1 'no table' || ok 0 'no table'
is 'limit' out '.n == 2'
expect 0 'a pipe of rows' sh -c 'head -n 3 d/train.jsonl |
    ral-eval -q -m red --max-tokens 8 --media-root d'
is 'its name' out '.n == 3 and .data == "stdin"'

# --- the same bits for any -j and batch ---
jq "$timeless" all.json >want
for how in '-j 1' '-j 2 --batch 1' '--batch 7'; do
    # shellcheck disable=SC2086
    ral-eval -q -m red d/train.jsonl --max-tokens 8 --rows r $how |
        jq "$timeless" >got
    same "same results, $how" want got
    same "same answers, $how" rows.jsonl r
done

# --- a stream: the same answers, the same figures, and no policy ---
ral-rollout -q -m red -n 1 --temperature 0 --max-tokens 8 d/train.jsonl >s.ral
expect 0 'a stream' sh -c 'ral-eval -q --rows r <s.ral'
jq "$timeless | .model = 0 | .data = 0" all.json >want
jq "$timeless | .model = 0 | .data = 0" out >got
same 'same results' want got
same 'same answers' rows.jsonl r
expect 0 'a pipe' sh -c 'cat s.ral | ral-eval -q -'
jq "$timeless | .model = 0 | .data = 0" out >got
same 'the same from a pipe' want got
expect 0 'of a file' ral-eval -q s.ral
expect 0 'a part of it' ral-eval -q --limit 3 s.ral
is 'three records' out '.n == 3'
ral-rollout -q -m red -n 3 --max-tokens 8 --limit 4 d/train.jsonl >s3.ral
expect 0 'three answers to a row' ral-eval -q --rows r s3.ral
is 'each counts' out '.n == 12 and .clusters == 2'
is 'and has a name' r -s '.[2].id | endswith("/3")'

# --- evidence mass against its definition, for one box inside one cell ---
sed 's/}]}\],"answer"/}]},{"role":"assistant","content":"<answer>red<\/answer>"}],"answer"/' \
    d/train.jsonl | head -n 4 >d/given.jsonl
token='((.samples[0].text | index("red")) as $at |
    [.samples[0].ends[] | select(. <= $at)] | length - 1)'
mass() {                # mass NAME STREAM: as defined, where the answer is red
    ral-eval -q --rows r "$2" >given.json
    ral-view --full "$2" | jq -c '
        (.prompt_ids | length) as $P |
        '"$token"' as $t |
        ($t * $P + $t * ($t - 1) / 2) as $from |
        .samples[0].attn[$from:$from + $P + $t] as $p |
        [.prompt_ids | to_entries[] | select(.value == 1018) | .key] as $v |
        .boxes[0] as $b |
        ($b[0] / 28 | floor) as $x | ($b[1] / 28 | floor) as $y |
        (($b[2] - $b[0]) * ($b[3] - $b[1]) / 784) as $part |
        $p[$v[4 * $y + $x]] * $part / ([$v[] | $p[.]] | add)' >want
    jq -c .evidence r >got
    paste want got | awk 'NF == 2 && ($1 - $2) ^ 2 < 1e-14 * $1 ^ 2 {n++}
        END {exit n != 4}' && ok 0 "$1" || ok 1 "$1"
}
look() {                # look NAME STREAM: the heat map is of that token, too
    ral-view --heatmap a.png "$2"
    ral-view --heatmap b.png \
        --token "$(ral-view "$2" | head -n 1 | jq "$token")" "$2"
    same "$1" a.png b.png
}
reply() {               # reply TEXT STREAM: the rows with another response
    jq -c --arg t "$1" '.messages[1].content = $t' d/given.jsonl >d/reply.jsonl
    ral-rollout -q -m blank --given d/reply.jsonl >"$2"
}
reply '<answer>red</answer> or rather <answer>blue</answer>' two.ral
mass 'evidence mass of the first of two answers' two.ral
look 'and its heat map' two.ral
reply "<answer>$(printf '\302\240')red</answer>" space.ral
mass 'evidence mass after a no-break space' space.ral
look 'and its heat map' space.ral
reply '<answer>red' open.ral
ral-eval -q open.ral >out
is 'an answer without an end is none' out '.evidence_skipped == 4'
expect 1 'nor has it a heat map' ral-view --heatmap a.png open.ral
says 'there is no <answer>...</answer> in its text'
reply '<answer>red</answer>' given.ral
mass 'evidence mass' given.ral
look 'heat map' given.ral
is 'uniform: area of the boxes' given.json --slurpfile r d/given.jsonl '
    ([$r[].boxes[0] | (.[2] - .[0]) * (.[3] - .[1])] | add / 4 / 12544) as $u |
    .evidence_uniform - $u | . * . < 1e-16'
sed 's/"boxes":[^"]*"/"/' d/given.jsonl | ral-rollout -q -m blank --given \
    --media-root d >bare.ral
ral-eval -q bare.ral >out
is 'without boxes: left out, counted' out \
    '.evidence_mass == null and .evidence_unboxed == 4 and .evidence_n == 0'
ral-rollout -q -m blank -n 1 --max-tokens 2 --limit 4 d/train.jsonl | ral-eval -q >out
is 'without an answer: skipped, counted' out \
    '.evidence_skipped == 4 and .unparsed == 4 and .accuracy == 0'

# --- choices ---
cat >letters <<'EOF'
{"id":"1","answer":"B","choices":["red","blue"],"texts":["<answer>(B)</answer>"]}
{"id":"2","answer":"B","choices":["red","blue"],"texts":["<answer>blue</answer>"]}
{"id":"3","answer":"B","choices":["red","blue"],"texts":["<answer>bluish</answer>"]}
{"id":"4","answer":"B","choices":["red","blue"],"texts":["B"]}
EOF
mkgroups <letters >letters.ral
ral-eval -q -s eval.metric=choice letters.ral >out
is 'choice' out '.correct == 2 and .unparsed == 2 and .metric == "choice"'
ral-eval -q letters.ral >out
is 'exact' out '.correct == 0 and .unparsed == 1 and .metric == "accuracy"'

# --- a recipe's splits ---
cat >r.yaml <<'EOF'
data: {test: d/train.jsonl, validation: d/red.jsonl, where: category=colour,
       test_where: answer=red}
eval: {max_completion_length: 8}
EOF
expect 0 'the test split' ral-eval -q -m red -c r.yaml
is 'under both wheres' out --argjson r "$right" '.n == $r and .accuracy == 1'
expect 0 'another split' ral-eval -q -m red -c r.yaml --split validation
is 'its rows' out '.n == 2 and .data == "d/red.jsonl"'
expect 0 'an operand wins' ral-eval -q -m red -c r.yaml d/train.jsonl
is 'under where alone' out '.n == 16'
expect 0 'without -m: a stream' sh -c 'ral-eval -q -c r.yaml <s.ral'

# --- comparison ---
ral-eval -q -m blank d/train.jsonl --max-tokens 8 --rows b.jsonl -o b.json
expect 3 'a regression' ral-eval -q -m blank d/train.jsonl --max-tokens 8 \
    --baseline all.json --max-drop 0.02 -o worse.json
says 'accuracy 0.0000 is below the baseline'
is 'results all the same' worse.json \
    '.n == 16 and .baseline.regressed and .baseline.max_drop == 0.02'
expect 0 'no drop' ral-eval -q -m red d/train.jsonl --max-tokens 8 \
    --baseline all.json --baseline-rows b.jsonl -o better.json
is 'a paired gain, in points' better.json --argjson r "$right" '.gain |
    .n == 16 and .unpaired == 0 and (.points - $r * 6.25 | . * . < 1e-9) and
    .ci95[0] < .points and .points < .ci95[1]'
expect 0 'a drop that is allowed' ral-eval -q letters.ral -o x.json \
    --baseline all.json --max-drop 1

# --- one night after the other, as cron runs it ---
mkdir run
cp -R red run/1
cp -R blank run/2
ln -s 1 run/latest
night() {
    env -i PATH=/usr/bin:/bin RAL_BIN="$O" "$top/share/cron/ral-nightly" "$@"
}
expect 0 'the first night' night run d/train.jsonl --max-tokens 8
expect 0 'the second' night run d/train.jsonl --max-tokens 8
[ -s out ] || [ -s err ] && ok 1 'silent' || ok 0 'silent'
is 'two lines' run/history.jsonl -s 'length == 2 and
    all(.[]; .time and .program == "ral-eval") and .[1].baseline.regressed == false'
ln -sfn 2 run/latest
expect 3 'a regression' night run d/train.jsonl --max-tokens 8
says 'below the baseline'
expect 3 'which is no baseline' night run d/train.jsonl --max-tokens 8
expect 3 'nor the best' night -b best run d/train.jsonl --max-tokens 8
cat >odd <<'EOF'
{"categories": {"colour": {"accuracy": 0}}, "accuracy": 1}
{"accuracy": 0, "baseline": {"regressed": true}}
EOF
expect 3 'keys in any order' night -f odd run d/train.jsonl --max-tokens 8
says "below the baseline's 1.0000"
expect 0 'an own history' night -f own run d/train.jsonl --max-tokens 8
printf '{"accuracy":9' >>run/history.jsonl
ln -sfn 1 run/latest
expect 0 'half a line is no night' night run d/train.jsonl --max-tokens 8
is 'six nights' run/history.jsonl -s 'length == 6'
expect 1 'no rows' night run none.jsonl
is 'no line' run/history.jsonl -s 'length == 6'
expect 1 'no run' night norun d/train.jsonl
expect 2 'usage' night
{ echo 'data: {test: d/train.jsonl}'; echo 'eval: {max_completion_length: 8}'; } \
    >run/recipe.yaml
expect 0 "the run's own recipe" night run
is 'its rows' run/history.jsonl -s '.[6].n == 16'
(
    flock 9
    expect 1 'two at once' night run d/train.jsonl
    says 'another ral-nightly'
    exit $failed
) 9>>run/history.jsonl.lock || failed=1
tests=$((tests + 2))
if command -v shellcheck >/dev/null; then
    expect 0 'shellcheck' shellcheck -s sh "$top/share/cron/ral-nightly"
fi

expect 0 'help' ral-eval --help
expect 0 'version' ral-eval -V
finish
