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

# --- scoring what was sampled: one uncached forward, the same bits ---
ral-update -q --sft --steps 12 -s sft.batch_size=8 -s sft.learning_rate=0.003 \
    -m m -o taught $rows
ral-rollout -q -m taught -n 4 --max-tokens 8 --temperature 0.9 $rows >b.ral
records b.ral >b
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
if python3 given.py rows >data/given.jsonl; then
    for o in '' '--batch 1' '-j 1'; do
        ral-rollout -q -m taught --given --temperature 0.9 $o data/given.jsonl |
            records - >given
        expect 0 "--given $o: logp and attn as sampled" python3 given.py check
    done
    read -r n skipped all <out
    echo "# $n of $all equal, $skipped read as other tokens"
    holds '20 responses or more' "$n >= 20 && $n + $skipped == $all"
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
