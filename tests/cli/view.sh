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
expect 2 'no recipe' ral-view --get train.steps -s train.steps=1
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
expect 2 "a key that no program knows" ral-view --get train.steps \
    -s train.step=7 r.yaml
says "did you mean 'train.steps'?"

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
sed -n '/^\.EX/,/^\.EE/{/^\.E[XE]/d;s/\\-/-/g;p;}' "$top/man/ral-view.1" >examples
ok "$([ "$(wc -l <examples)" -ge 6 ]; echo $?)" 'there are examples'
while read -r line; do
    expect 0 "$line" sh -c "$line" </dev/null
    case $O in *address*) ;; *) [ ! -s err ] || ok 1 'nothing on stderr' ;; esac
done <examples
ok "$([ -s look.png ]; echo $?)" 'the heat map'
finish
