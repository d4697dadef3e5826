#!/bin/sh
# tests/cli/view.sh - streams as JSON lines, counted, checked and refused
. "${0%/*}/../lib.sh"

is() {                  # is NAME: out equals want
    if cmp -s out want; then
        ok 0 "$1"
    else
        ok 1 "$1"
        diff out want | sed 's/^/# /' | head -n 5
    fi
}

mkstream -n 3 >s.ral
expect 0 'JSON lines' ral-view s.ral
cp out lines
jq -c '[.id, .level, .box, (.samples | length), (.samples[0] | has("attn")),
    .samples[1].ids, .samples[1].logp, .samples[1].finish, .status]' \
    lines >out
cat >want <<'END'
["row-0",3,[-0.0,1e+300],2,false,[10,11,12,13],[-0.333333343,-0.666666687,-1.0,-1.33333337],"length","ok"]
["row-1",3,[-0.0,1e+300],2,false,[110,111,112,113],[-0.333333343,-0.666666687,-1.0,-1.33333337],"length","ok"]
["row-2",3,[-0.0,1e+300],2,false,[210,211,212,213],[-0.333333343,-0.666666687,-1.0,-1.33333337],"length","ok"]
END
# jq versions write numbers their own way
jq -c . out >a && jq -c . want >b && mv a out && mv b want
is 'values'
grep -qF '"box":[-0.0,1e+300]' lines && grep -qF '"level":3,' lines &&
    grep -qF '"logp":[-0.333333343,-0.666666687,-1.0]' lines
ok $? 'floats keep their bits, integers their kind'
expect 0 'stdin' sh -c 'ral-view <s.ral'
cp lines want && is 'the same lines'

expect 0 'with attention' ral-view --full --limit 1 s.ral
ok "$([ "$(jq '.samples[0].attn | length' out)" = 21 ]; echo $?)" \
    'P + t values a row'
expect 0 'one record' ral-view --record row-1 s.ral
sed -n 2p lines >want && is 'that one'
expect 1 'a record that is not there' ral-view --record row-7 s.ral
says 'ral-view: s.ral: no record with the id row-7'
expect 0 'header' ral-view -H s.ral
ok "$(jq -e '.ral == 1 and .policy == "0123456789abcdef0123456789abcdef" and
    .attn.layers == [1] and .sampling.num_generations == 2 and .shard == [1, 1] and
    .provenance[0].args == ["--seed", "7"]' out >/dev/null; echo $?)" 'its keys'
expect 0 'count' ral-view --count s.ral
echo 3 >want && is 'three'
expect 0 'check' ral-view --check s.ral
: >want && is 'says nothing'
expect 0 'into a file' ral-view --count -o n s.ral
ok "$([ "$(cat n)" = 3 ]; echo $?)" 'it is there'

mkstream -n 0 >empty.ral
expect 0 'a stream without records' ral-view --count empty.ral
echo 0 >want && is 'none'
mkstream --failed >failed.ral
expect 0 'failed records are records' ral-view --check failed.ral

# joined
mkstream -n 2 --shard 1 --shards 2 >1.ral
mkstream -n 1 --first 2 --shard 2 --shards 2 >2.ral
cat 2.ral 1.ral >both.ral
expect 0 'concatenated' ral-view --count both.ral
echo 3 >want && is 'all'
expect 0 'named one by one' ral-view 1.ral 2.ral
cut -d, -f1 out >a && cut -d, -f1 lines >want && mv a out && is 'in order'
expect 1 'a missing shard' ral-view --count 1.ral
says '1.ral: shard 2 of 2 is missing'
expect 0 'a shard alone' ral-view --part --count 1.ral
expect 1 'a repeated shard' ral-view --count 1.ral 1.ral
says 'shard 1 of 2 comes twice'
expect 1 'a stream twice' ral-view --count s.ral s.ral
says 'shard 1 of 1 comes twice'
mkstream --shard 2 --shards 2 --policy ff >other.ral
expect 1 'parts of two policies' ral-view --count 1.ral other.ral
says 'differ in their policy'

expect 0 'help' ral-view --help
expect 0 'version' ral-view -V
grep -q '^ral-view [0-9]' out
ok $? 'its name'

# a reader that closes early ends it quietly, however much would follow
mkstream -n 100 -t 40 >long.ral
expect 0 'closed pipe' sh -c '{ ral-view --full long.ral; echo $? >status; } | head -n 1'
[ "$(cat status)" -eq 141 ] && [ ! -s err ]
ok $? 'SIGPIPE, and nothing said'

# memory does not grow with the stream
case $O in *address*) ;; *)
    mkstream -n 1000 -t 40 >longer.ral
    peak() { # of ral-view, KiB
        python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
    }
    if command -v python3 >/dev/null; then
        a=$(peak ral-view --full long.ral)
        b=$(peak ral-view --full longer.ral)
        [ "$b" -lt $((a + 1024)) ]
        ok $? "flat memory ($a and $b KiB)"
    else
        ok 0 'flat memory # SKIP no python3'
    fi ;;
esac

# recipes
printf 'train:\n  steps: 12\ndata:\n  where: [a, b]\n' >r.yaml
expect 0 'a value of a recipe' ral-view --get train.steps r.yaml
echo 12 >want && is 'that value'
expect 0 'overridden' ral-view --get train.steps -s train.steps=7 r.yaml
echo 7 >want && is 'the override'
expect 1 'a key that is not set' ral-view --get train.stop r.yaml
says "r.yaml: does not set 'train.stop'"
expect 0 'a default' ral-view --get rollout.batch_size r.yaml
echo 32 >want && is 'the default'
expect 0 'a list' ral-view --get update.attn_layers \
    -s 'update.attn_layers=[0, -1]' r.yaml
printf '0\n-1\n' >want && is 'its numbers'
expect 0 'a word' ral-view --get sft.backward -s sft.backward=blas r.yaml
expect 2 'not such a word' ral-view --get sft.backward -s sft.backward=mkl r.yaml
says 'sft.backward: '"'mkl' is none of exact|blas"
expect 1 'a default that is no value' ral-view --get eval.every r.yaml
says "r.yaml: does not set 'eval.every'"
expect 0 'all settings' ral-view --settings
grep '^rollout.temperature' out >got
printf 'rollout.temperature\t--temperature\tnumber, 0 or 1e-06 to 100\t1\t0 is greedy\n' >want
ok "$(cmp got want >/dev/null; echo $?)" 'a setting with its values and default'
expect 0 'what stands in for it' ral-view --get train.stop --default - r.yaml
echo - >want && is 'that text'
expect 0 'its default comes first' \
    ral-view --get rollout.batch_size --default - r.yaml
echo 32 >want && is 'that default'
expect 0 'a list' ral-view --get data.where --default - r.yaml
printf 'a\nb\n' >want && is 'an item a line'
expect 1 'a section is no value' ral-view --get train --default - r.yaml
expect 2 "a key that no program knows" ral-view --get train.steps \
    -s train.step=7 r.yaml
says "did you mean 'train.steps'?"
expect 2 'lines of a recipe' ral-view --get train.steps --last r.yaml
says '--where and --last are for .json and .jsonl files'
expect 2 'a value of nothing' ral-view --get train.steps -s train.steps=7
expect 2 'a choice without a value' ral-view --last s.ral
says '--where, --last and --default need --get'

# results and metrics: values by name, wherever they stand
get() {                 # get WANT OPTIONS...: the values, words on one line
    what=$1
    shift
    expect 0 "--get $*" ral-view --get "$@"
    xargs <out >o && mv o out && echo "$what" >want && is "$what"
}
cat >r.json <<'END'
{"categories": {"accuracy": {"accuracy": 1}, "a.b": {"n": 4}}, "none": null,
 "gain": {"ci95": [-0.25, 12.5]}, "accuracy": 0.543333333, "data": "d e.jsonl",
 "evidence": 1.0}
END
get 0.543333333 accuracy r.json
get '-0.25 12.5' gain.ci95 r.json
get 1 categories.accuracy.accuracy r.json
get 4 categories.a.b.n r.json
get 'd e.jsonl' data r.json
get 1.0 evidence r.json
get - none --default - r.json
get - accuracy --where data=d --default - r.json
get 0.543333333 accuracy --where 'data=x,d e.jsonl' --where gain.n!=3 r.json
expect 1 'null is no value' ral-view --get none r.json
says "r.json: does not set 'none'"
expect 1 'nor is a map, by default or not' \
    ral-view --get categories --default - r.json
says "r.json: 'categories' holds further values"
expect 2 'overrides are for recipes' ral-view --get n -s train.steps=1 r.json
cat >m.jsonl <<'END'
{"program":"sft","step":1,"loss":6.5}
{"loss":3,"program":"sft","x":{"step":3},"step":2}

{"step":2,"jsd":1e-5,"program":"rl","skipped":false}
{"step":2,"jsd":2e-5,"program":"rl","skipped":true}
END
get '6.5 3' loss m.jsonl
get 2e-5 jsd --last m.jsonl
get 6.5 loss --limit 1 m.jsonl
get 3 loss --where program=sft --where step=2 --last m.jsonl
get '1 2 2' step --where skipped!=true m.jsonl
get 2 step --where skipped=false m.jsonl
get 2 step --where x.step=3 m.jsonl
get - loss --where program=rl --last --default - m.jsonl
expect 1 'no such line' ral-view --get loss --where program=rl m.jsonl
says "m.jsonl: nothing of that kind sets 'loss'"
expect 2 'a condition that is none' ral-view --get loss --where program m.jsonl
expect 1 'a file that is not there' ral-view --get a --default 0 no.jsonl
printf '{"loss":' >>m.jsonl
expect 1 'half a line' ral-view --get loss --default 0 m.jsonl
says 'm.jsonl:6'

# heat maps: a picture of 28x28 patches in 2x2 blocks gives 14x14 cells
pic=$top/tests/golden/media
mkstream -p 240 --image alpha_all.png --media-root "$pic" --grid-h 28 \
    --grid-w 28 >look.ral
expect 0 'heat map' ral-view --heatmap look.png look.ral
ok "$([ "$(head -c 8 look.png | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ]
    echo $?)" 'a PNG'
cp look.png first.png
expect 0 'the same again' ral-view --heatmap - --token 0 --sample 0 \
    --record row-0 look.ral
cmp -s out first.png
ok $? 'token 0 predicts the answer'
expect 0 'another token' ral-view --heatmap - --token 2 look.ral
cmp -s out first.png && ok 1 'another picture' || ok 0 'another picture'
cp "$pic/alpha_all.png" .
expect 0 're-based' ral-view --heatmap - --media-root . look.ral
cmp -s out first.png
ok $? 'the same picture'
expect 0 'the last layer by its number, and from the end' \
    ral-view --heatmap - --layer 1 look.ral
cmp -s out first.png
ok $? 'the same picture'
for o in '--layer 0' '--layer -2' '--head 0'; do
    expect 2 "a stream that lacks $o" ral-view --heatmap x.png $o look.ral
    says "record row-0: there is no ${o#--}; the stream's attn holds layer 1, the mean of its heads"
done
for o in '--sample 1' '--token 0' '--layer 0' '--head 0' '--media-root .'; do
    expect 2 "$o without a heat map" ral-view $o look.ral
done
says '--sample, --token, --layer, --head and --media-root need --heatmap'
# each head of two layers, as a policy records them
ral-synth -q --rows 2 --objects 2 --name x -o data
policy m
ral-rollout -q -m m -n 2 --max-tokens 3 --attn-layers 0,-1 --attn-heads each \
    data/x.jsonl >each.ral
look() {                # look NAME STREAM OPTIONS...: a picture in NAME
    to=$1 stream=$2
    shift 2
    expect 0 "heat map $* of $stream" \
        ral-view --heatmap - --token 1 "$@" "$stream"
    mv out "$to"
}
look default each.ral
look last each.ral --layer 1
same 'the last layer is the default' default last
# which heads and rows these are, test_group knows; titles differ, too
for l in 0 1; do
    ral-rollout -q -m m -n 2 --max-tokens 3 --attn-layers $l --attn-heads each \
        data/x.jsonl >one.ral
    for h in '' '--head 0' '--head 3'; do
        look want one.ral $h
        look got each.ral --layer $l $h
        same "layer $l $h as recorded alone" want got
    done
done
expect 2 'a layer that was not recorded' \
    ral-view --heatmap x.png --token 1 --layer 2 each.ral
says "there is no layer 2; the stream's attn holds layers 0, 1 of each of 4 heads"
expect 2 'a head that there is not' \
    ral-view --heatmap x.png --token 1 --head 4 each.ral
says "there is no head 4; the stream's attn holds layers 0, 1 of each of 4 heads"
expect 0 'all of it is checked' ral-view --check each.ral
printf x >>alpha_all.png
expect 1 'another file' ral-view --heatmap x.png --media-root . look.ral
says 'record row-0: ./alpha_all.png: not the file that the stream was made with'
[ -e x.png ] && ok 1 'nothing written' || ok 0 'nothing written'
expect 1 'a missing file' ral-view --heatmap x.png --media-root /nosuch look.ral
says 'record row-0: /nosuch/alpha_all.png: cannot open'
expect 1 'no picture' ral-view --heatmap x.png s.ral
says 'record row-0: it has no picture'
expect 2 'no such sample' ral-view --heatmap x.png --sample 5 look.ral
expect 2 'no such token' ral-view --heatmap x.png --token 99 look.ral
mkstream -p 40 --image alpha_all.png --media-root "$pic" --grid-h 28 \
    --grid-w 28 >few.ral
expect 1 'too few visual tokens' ral-view --heatmap x.png few.ral
says '39 visual tokens in the prompt, but its grids have 196 cells'
expect 1 'no records' ral-view --heatmap x.png empty.ral
says 'empty.ral: no records'

# the manual's examples, line by line
mkstream -p 240 --scored --image alpha_all.png --media-root "$pic" \
    --grid-h 28 --grid-w 28 >rollouts.ral
cp r.json results.json
echo '{"program":"ral-update","step":3,"reward":0.5}' >metrics.jsonl
sed -n '/^\.EX/,/^\.EE/{/^\.E[XE]/d;s/\\-/-/g;p;}' "$top/man/ral-view.1" >examples
ok "$([ "$(wc -l <examples)" -ge 6 ]; echo $?)" 'there are examples'
while read -r line; do
    expect 0 "$line" sh -c "$line" </dev/null
    case $O in *address*) ;; *) [ ! -s err ] || ok 1 'nothing on stderr' ;; esac
done <examples
ok "$([ -s look.png ]; echo $?)" 'the heat map'
finish
