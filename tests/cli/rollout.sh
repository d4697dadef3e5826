#!/bin/sh
# tests/cli/rollout.sh - the same bits however they are asked for
. "${0%/*}/../lib.sh"

ral-synth -q --rows 11 --objects 2 --name x -o data
ral-synth -q --rows 3 --objects 3 --cells 3 --split validation --name y -o data
# prompts of several lengths, one without and one with two pictures
{ cat data/x.jsonl data/y.jsonl
    echo '{"messages":[{"role":"user","content":"Which colour has no picture?"}],"answer":"x"}'
    sed -n 2p data/y.jsonl | sed 's/"y-000002"/"two"/
        s/{"type":"image","image":"\([^"]*\)"}/&,{"type":"text","text":"or"},{"type":"image","image":"images\/x\/000001.png"}/'
} >data/rows.jsonl
rows=data/rows.jsonl n=$(wc -l <data/rows.jsonl)
policy m
sample() {              # sample OPTIONS...: a stream on stdout
    ral-rollout -q -m m -n 3 --max-tokens 4 --seed 5 "$@"
}
records() {             # records FILE: what ral-view shows of all records
    ral-view --full "$1"
}
sample $rows >a.ral
records a.ral >a
holds 'as many records as rows' "$(wc -l <a) == $n && $(ral-view --count a.ral) == $n"
holds 'of three samples' "$(grep -o '"finish"' a | wc -l) == 3 * $n"
holds 'that differ' "$(grep -o '"ids":"[^"]*"\|"ids":\[[^]]*\]' a | sort -u | wc -l) > $n"
ids() { sed -n 's/.*"id":"\([^"]*\)","messages.*/\1/p' "$1"; }
ids a >got
sed -n 's/^{"id":"\([^"]*\)".*/\1/p' $rows >want
grep -vE '^[0-9a-f]{16}$' got >named
same 'in the order of the rows' want named
holds 'a row without an id has a digest for one' "$(grep -cE '^[0-9a-f]{16}$' got) == 1"
# all bytes after the id of the first record: the header's arguments differ
bytes() {
    zstd -dc "$1" | LC_ALL=C sed -n '/bidhx-000001/,$p' |
        LC_ALL=C sed '1s/^.*bidhx-000001//'
}
bytes a.ral >a.bytes

# --- any number of threads, any batch, any shards, every kernel ---
for o in '-j 1' '-j 2' '--batch 1' '--batch 3' '--batch 16'; do
    sample $o $rows >b.ral
    records b.ral >b
    same "the same values for $o" a b
    bytes b.ral >b
    same "the same bytes for $o" a.bytes b
done
for c in c avx2; do
    RAL_CPU=$c sample --limit 5 $rows >b.ral
    records b.ral >b
    head -n 5 a >want
    same "the same bits for RAL_CPU=$c" want b
done
for k in 1 2 3; do sample --shard $k/3 $rows >s$k; done
cat s1 s2 s3 >b.ral
records b.ral >b
same 'the same bits in three shards' a b
holds 'each a third' "$(ral-view --count --part s2) == int($n / 3) || $(ral-view --count --part s2) == int($n / 3) + 1"
expect 1 'a shard alone is no stream' ral-view --count s2
ral-view -H s2 >got
expect 0 'the header tells the shard' grep -q '"shard":\[2,3\]' got
sample --shard 1/20 $rows | ral-view --count --part >got
expect 0 'more shards than rows' grep -qx 0 got
for s in 0/3 4/3 x 1/; do
    expect 2 "--shard $s" sample --shard $s $rows
    says "--shard $s: must be k/n with 1 <= k <= n"
done

# --- stdin, a pipe by name, another folder ---
cd data
ral-rollout -q -m ../m -n 3 --max-tokens 4 --seed 5 <rows.jsonl >../b.ral
cd ..
records b.ral >b
same 'stdin: paths from the working directory' a b
mkfifo pipe
cat $rows >pipe &
ral-rollout -q -m m -n 3 --max-tokens 4 --seed 5 --media-root data pipe >b.ral
records b.ral >b
same 'a named pipe' a b
mkdir far
cp $rows far/rows.jsonl
sample --media-root data far/rows.jsonl >b.ral
records b.ral >b
same '--media-root' a b
(cd far && ral-rollout -q -m ../m -n 3 --max-tokens 4 --seed 5 ../data/rows.jsonl) >b.ral
records b.ral >b
same 'paths are relative to the file' a b
sed "s:\"images/:\"$scratch/data/images/:g" $rows >abs.jsonl
sample --media-root data abs.jsonl >b.ral
records b.ral >b
grep -o '"media":[^]]*\]' a >want
grep -o '"media":[^]]*\]' b >got
same 'absolute paths below the root are kept relative' want got
sed 's/"type":"image","image":\("[^"]*"\)/"type":"image_url","image_url":{"url":\1}/g' \
    $rows >url.jsonl
grep -q '"type":"image_url","image_url":{"url":"images/' url.jsonl
sample --media-root data url.jsonl >b.ral
records b.ral | sed 's/"messages":[^]]*]}],//' >b
sed 's/"messages":[^]]*]}],//' a >want
same 'image_url names a file, too' want b
ral-view -H a.ral >got
expect 0 'the header holds the media root' grep -qF \
    "\"media_root\":\"$scratch/data\"" got

# --- drawing ---
sample --draw 5 --step 2 $rows >b.ral
records b.ral >b
ids b >got
holds 'a batch of five, all different' "$(wc -l <got) == 5 && $(sort -u got | wc -l) == 5"
sample --draw 5 --step 2 $rows | records - >want
same 'drawn again' want b
sample --draw 5 --step 3 $rows | records - >b3
ids b3 >got3
cat got got3 | sort | uniq -d >twice
holds 'the next batch of the epoch has others' "$(wc -l <twice) == 0"
while read -r id; do
    sed -n "s/^{\"id\":\"$id\".*/&/p" $rows
done <got >drawn.jsonl
if grep -qE '^[0-9a-f]{16}$' got; then grep '^{"messages"' $rows >>drawn.jsonl; fi
cp drawn.jsonl data/drawn.jsonl
sample --step 2 data/drawn.jsonl | records - | sort >want
sort b >got
same 'given directly with the same step' want got
sample --step 7 $rows | records - >b
cmp -s a b && ok 1 'another step, other samples' || ok 0 'another step, other samples'
sample --limit 4 $rows | records - >b
head -n 4 a >want
same '--limit' want b
expect 1 'a draw of more than there are' ral-rollout -q -m m --draw $((n + 1)) $rows
says "a draw of more than its $n rows"

# --- sampling ---
one() { ral-rollout -q -m m -n 2 --max-tokens 4 "$@" $rows | records - >b; }
one --temperature 0
holds 'greedy: both samples alike' "$(grep -o '"ids":[^]]*\]' b | sort | uniq -c | awk '$1 % 2' | wc -l) == 0"
cp b greedy
one --top-k 1
grep -o '"ids":[^]]*\]' b >got
grep -o '"ids":[^]]*\]' greedy >want
same 'top-k 1 is greedy' want got
one --top-p 0.0001
grep -o '"ids":[^]]*\]' b >got
same 'so is a small top-p' want got
one --temperature 0 --seed 9
same 'greedy has no seed' greedy b
one --seed 9
mv b seed9
one --seed 8
cmp -s b seed9 && ok 1 'another seed' || ok 0 'another seed'
one --temperature 0.0001
grep -o '"ids":[^]]*\]' b >got
same 'cold is greedy' want got
for o in '--temperature -1' '--top-p 0' '--top-p 1.5' '--top-k -1' '-n 0' \
    '--max-tokens 0' '--max-failed -1' '--step 0' '--draw -1' '--limit -1' '--batch -1' '-j -1'; do
    expect 2 "ral-rollout $o" ral-rollout -q -m m $o $rows
done
expect 2 'two files' ral-rollout -m m $rows $rows
says 'one file of rows at a time'
expect 2 'no policy' ral-rollout $rows
says '-m CHECKPOINT is needed'

# --- attention of layers and heads ---
attn() {                # attn OPTIONS...: a, with other attention
    sample --limit 5 "$@" $rows
}
head -n 5 a >last
attn --attn-layers 0,-1 >two.ral
records two.ral >two
attn --attn-layers 0,-1 --attn-heads each >each.ral
records each.ral >each
ral-view -H two.ral >got
expect 0 'the header tells layers' grep -q '"attn":{"layers":\[0,1\],"heads":"mean",' got
ral-view -H each.ral >got
expect 0 'and heads' grep -q '"attn":{"layers":\[0,1\],"heads":4,' got
expect 0 'every length is right' ral-view --check each.ral
planes() {              # planes FILE N: numbers of attn / of a plane are N
    jq -se --argjson n "$2" 'all(.[]; (.prompt_ids | length) as $P |
        all(.samples[]; (.ids | length) as $T |
            (.attn | length) == $n * ($P * $T + $T * ($T - 1) / 2)))' "$1"
}
for p in 'last 1' 'two 2' 'each 8'; do
    expect 0 "planes in $p" planes $p
done
rest() { sed 's/"attn":\[[^]]*\]//g' "$1"; }
for f in last two each; do rest $f >$f.rest; done
same 'nothing else depends on the layers' last.rest two.rest
same 'nor on the heads' last.rest each.rest
jq -c '.samples[].attn' last >want
jq -c '.samples[].attn | .[length / 2:]' two >got
same 'the last of two layers has the bits of the last alone' want got
# Heads are averaged before the self position is left out and the rest divided by
# its sum Z, so a mean row is that of the heads' rows weighted by their Z, which
# streams do not hold: four weights a row, found by least squares.
cat >mean.py <<'P'
import json
def dot(p, q):
    return sum(map(float.__mul__, p, q))
def solve(a, b):
    for i in range(4):
        for k in range(i + 1, 4):
            f = a[k][i] / a[i][i]
            a[k] = [x - f * y for x, y in zip(a[k], a[i])]
            b[k] -= f * b[i]
    for i in reversed(range(4)):
        b[i] = (b[i] - sum(a[i][k] * b[k] for k in range(i + 1, 4))) / a[i][i]
    return b
off, low, high, n = 0, 1, 0, 0
for e, m in zip(open("each"), open("two")):
    e, m = json.loads(e), json.loads(m)
    for x, y in zip(e["samples"], m["samples"]):
        at, plane = 0, len(y["attn"]) // 2
        for S in range(len(e["prompt_ids"]), len(e["prompt_ids"]) + len(x["ids"])):
            for layer in 0, 1:
                h = [list(map(float, x["attn"][(4 * layer + p) * plane + at:][:S]))
                     for p in range(4)]
                want = list(map(float, y["attn"][layer * plane + at:][:S]))
                w = solve([[dot(p, q) for q in h] for p in h],
                          [dot(p, want) for p in h])
                off = max([off] + [abs(dot(w, c) - v) for v, c in zip(want, zip(*h))])
                low, high, n = min([low] + w), max([high] + w), n + 1
            at += S
print(off, low, high, n)
P
if command -v python3 >/dev/null; then
    python3 mean.py >got
    read -r off low high means <got
    holds "$means rows of means are weighted means of heads ($off off)" "$means > 50 && $off <= 1e-6"
    holds "weights from $low to $high" "$low > 0 && $high < 1"
else
    ok 0 'weighted means # SKIP no python3'
fi
bytes each.ral >each.bytes
for o in '-j 1' '-j 2' '--batch 1'; do
    attn --attn-layers 0,-1 --attn-heads each $o | bytes /dev/stdin >b
    same "each head: the same bytes for $o" each.bytes b
done
attn --attn-layers -1,0 --attn-heads each | bytes /dev/stdin >b
same 'for another order of the layers' each.bytes b
for v in RAL_CPU=c RAL_DEVICE=guard; do
    export "$v"
    attn --attn-layers 0,-1 --attn-heads each >b.ral
    same "each head: the same stream for $v" each.ral b.ral
    unset "${v%=*}"
done
for l in 9 2 -3 0,0 1,-1 '' x 0,x 1.5; do
    expect 2 "--attn-layers '$l'" attn --attn-layers "$l"
done
expect 2 "--attn-heads some" attn --attn-heads some
attn --attn-layers 9 2>err || :
says 'attn_layers: there is no layer 9; the model has 0 to 1, or -2 to -1'

# --- scoring what was sampled: one uncached forward, the same bits ---
ral-update -q --sft --steps 12 -s sft.batch_size=8 -s sft.learning_rate=0.003 \
    -m m -o taught $rows
cat >given.py <<'P'
import json, sys
n = skipped = 0
want = {}
for line in open("b"):
    r = json.loads(line)
    for k, s in enumerate(r["samples"]):
        if s["finish"] == "stop":
            want[f'{r["id"]}#{k}'] = r, s
if sys.argv[1] == "rows":
    for i, (r, s) in want.items():
        turn = {"role": "assistant", "content": s["text"]}
        print(json.dumps({"id": i, "messages": r["messages"] + [turn]}))
    sys.exit()
for line in open("given"):
    r = json.loads(line)
    s, g = want[r["id"]][1], r["samples"][0]
    if s["ids"] != g["ids"]:
        skipped += 1
        continue
    n += 1
    for key in "logp", "attn", "text", "finish", "ends":
        if s[key] != g[key]:
            sys.exit(f'{r["id"]}: {key} differs')
print(n, skipped, len(want))
P
given() {               # given OPTIONS...: sampled with them, and scored
    ral-rollout -q -m taught -n 4 --max-tokens 8 --temperature 0.9 "$@" $rows |
        records - >b
    python3 given.py rows >data/given.jsonl
    for o in '' '--batch 1' '-j 1'; do
        ral-rollout -q -m taught --given --temperature 0.9 "$@" $o \
            data/given.jsonl | records - >given
        expect 0 "--given $* $o: logp and attn as sampled" python3 given.py check
    done
    read -r n skipped all <out
    echo "# $n of $all equal, $skipped read as other tokens"
    holds '20 responses or more' "$n >= 20 && $n + $skipped == $all"
}
if command -v python3 >/dev/null; then
    given
    given --attn-layers 0,-1 --attn-heads each
else
    ok 0 '--given # SKIP no python3'
fi

# --- a run folder, metrics, settings ---
mkdir run
ln -s ../m run/latest
ral-rollout -q -m run -n 3 --max-tokens 4 --seed 5 $rows | records - >b
same 'a run folder stands for its newest' a b
cat >r.yaml <<'Y'
model: {init: tiny}
data:
  where: ["category=colour"]
  prompt_suffix: " Answer."
rollout: {num_generations: 2, max_completion_length: 3, temperature: 0.5}
reward: {weights: {accuracy: 1}}
Y
ral-rollout -q -m m -c r.yaml --log log --limit 4 $rows >b.ral
ral-view -H b.ral >got
expect 0 'a recipe' grep -q '"temperature":0.5' got
holds 'its samples' "$(field samples log) == 8"
holds 'and tokens' "$(field tokens log) <= 24"
ral-rollout -q -m m -c r.yaml -n 1 -s rollout.max_completion_length=1 --limit 4 \
    --log log2 $rows >b.ral
holds 'options win over it' "$(field samples log2) == 4 && $(field tokens log2) == 4"
printf 'rollout:\n  temprature: 1\n' >bad.yaml
expect 2 'an unknown key' ral-rollout -c bad.yaml -m m $rows
says "bad.yaml:2:3: unknown key 'rollout.temprature'; did you mean 'rollout.temperature'?"
finish
