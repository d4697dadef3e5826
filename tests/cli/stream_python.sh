#!/bin/sh
# tests/cli/stream_python.sh - a decoder that is not ours reads a stream, by
# the lines that ral-stream(5) shows
. "${0%/*}/../lib.sh"

python=
for p in python3 /usr/bin/python3; do
    if "$p" -c 'import cbor2, zstandard' 2>/dev/null; then
        python=$p
        break
    fi
done
if [ -z "$python" ]; then
    echo '1..0 # SKIP needs python3-cbor2 and python3-zstandard'
    exit 0
fi

mkstream -n 3 --scored >x.ral
sed -n '/^\.EX/,/^\.EE/{/^\.E[XE]/d;s/\\-/-/g;s/\\e/\\/g;p;}' \
    "$top/man/ral-stream.5" >manual.py
ok "$([ "$(wc -l <manual.py)" -eq 5 ]; echo $?)" 'five lines'
expect 0 'they run' "$python" manual.py
ok "$([ "$(wc -l <out)" -eq 4 ]; echo $?)" 'a header and three records'

# The same lines, keeping what they print, then every value.
sed 's/print(item)/items.append(item)/' manual.py >read.py
cat >check.py <<'END'
import struct
items = []
exec(open("read.py").read())
header, records, end = items[0], items[1:], item
f32 = lambda v: struct.unpack("<f", struct.pack("<f", v))[0]

assert list(header)[0] == "ral" and header["ral"] == 1
assert header["policy"] == "0123456789abcdef0123456789abcdef"
assert header["sampling"] == dict(temperature=1.0, top_p=1.0, top_k=0, seed=7,
    step=1, num_generations=2, max_completion_length=16, greedy=False)
assert header["attn"] == dict(layers=[1], heads="mean", type="f32")
assert header["vision"] == dict(image_token_id=99, video_token_id=98,
    patch_size=14, spatial_merge_size=2)
assert header["shard"] == [1, 1] and "media_root" not in header
assert header["provenance"] == [dict(program="mkstream", version="1",
    args=["--seed", "7"], seed=7, previous=None)]

assert len(records) == 3 and end["end"] == 3 and list(end) == ["end", "sum"]
for r, rec in enumerate(records):
    assert list(rec)[0] == "id" and rec["id"] == "row-%d" % r
    assert rec["messages"] == [dict(role="user", content='Which "one"? \u00e9\n')]
    assert rec["answer"] == "B" and rec["level"] == 3 and rec["weight"] == 0.1
    assert struct.pack("<2d", *rec["box"]) == struct.pack("<2d", -0.0, 1e300)
    assert rec["media"] == [] and rec["status"] == "ok" and "error" not in rec
    P = len(rec["prompt_ids"])
    assert rec["prompt_ids"].typecode == "i" and list(rec["prompt_ids"]) == list(range(6))
    assert len(rec["samples"]) == 2
    for i, s in enumerate(rec["samples"]):
        T = 3 + i
        assert list(s["ids"]) == [100 * r + 10 * i + t for t in range(T)]
        assert s["text"] == "<answer>B</answer>"
        assert list(s["ends"]) == [8, 9] + [18] * (T - 2)
        assert s["finish"] == ["stop", "length"][i]
        assert list(s["logp"]) == [-f32(f32(t + 1) / 3) for t in range(T)]
        want = [2 * (j + 1) / ((P + t) * (P + t + 1)) for t in range(T) for j in range(P + t)]
        assert len(s["attn"]) == P * T + T * (T - 1) // 2
        assert list(s["attn"]) == [f32(v) for v in want]
        assert s["reward"] == i / 3 and s["advantage"] == i - 1
END
expect 0 'every value' "$python" check.py
expect 1 'the check can fail' "$python" -c 'import re
s = open("check.py").read().replace("rec[\"level\"] == 3", "rec[\"level\"] == 4")
exec(s)'
finish
