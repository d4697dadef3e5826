#!/usr/bin/env python3
"""Golden texts and ids for tests/unit/test_tokenizer.c.

    make_tokenizer.py share/models/tiny/tokenizer.json tests/golden

Writes tokenizer.jsonl (texts with their ids and decodings under the tiny
tokenizer), tokenizer_probe.json (a tokenizer whose merges join every byte that
can begin or end a UTF-8 character with a few ASCII neighbours, so that ids
show where the text was split) and tokenizer_probe.jsonl (digests of the
probe's ids for code points in contexts). The reference is the Python package
`tokenizers`; written with 0.23.3.
"""
import json
import random
import sys

from tokenizers import Tokenizer

NEAR = "a.1's \n\r"
CONTEXTS = ["{}", "a{}a", " {}a", "a {}", "  {}a", "'{}a", "{}'sa", "{} a",
            "{}  a", "{}\na", "\n{}a", "\r{}\r", "1{}1", ".{}.a", "{}\u0301a",
            "a\u0316{}\u0301", "\uac00{}a", "a{0}{0}1", "'{}"]
# As in the unit test: first, end, step. TEXTS are set apart by bars.
RANGES = [(0, 0x3400, 1), (0x3400, 0xA000, 61), (0xA000, 0xAC00, 1),
          (0xAC00, 0xD7A4, 7), (0xD7A4, 0xD800, 1), (0xE000, 0xF900, 61),
          (0xF900, 0x17000, 1), (0x17000, 0x18B00, 13), (0x18B00, 0x20000, 1),
          (0x20000, 0x32400, 13), (0x32400, 0x110000, 1009)]

TEXTS = """
What colour is the star?¦It's what you'd think; we'LL SEE 'S¦<answer>red</answer>
<think> Greek </think> <answer> D </answer>¦<|im_start|>user\\nHi<|im_end|>\\n
<|im_end|><|im_end|>x<|im_en|>d<|<|im_end|>¦<answer<answer>></answer></answer
  two  spaces¦\\n\\n\\n¦\\r\\n\\r\\n x¦   \\n  \\n   x¦tab\\t\\ttab¦a \\n¦ \\n a¦  
x   ¦   x¦\\u3000\\u3000日本¦a\\u00a0 b¦a\\u2028\\u2029b¦a\\u0085b \\u0085 c
\\u180e a\\u180e¦1234567¦x12y3.5%¦½ ² Ⅷ ٣ 一¦ſ'ſ it'ſ IT'S 'Tis '\\u017f
e\\u0301 é \\u00e9¦\\u0301¦a\\u0301\\u0316 a\\u0316\\u0301¦\\u0958 \\u0915\\u093c
\\u1100\\u1161\\u11a8 \\uac00\\u11a8 \\uac00\\u11a7 \\u1100\\u1161\\u11a7
\\u212b \\u2126 \\ufb01 \\u1e9b\\u0323¦q\\u0307\\u0323 \\u1e0b\\u0323¦\\u11938
\\u0f71\\u0f72\\u0f74¦\\ufdfa ﬃ¦😀👍🏽👨‍👩‍👧¦\\ue000\\uf8ff¦\\uffff\\ufffe¦\\U0010ffff
שָׁלוֹם¦مُحَمَّد¦สวัสดีครับ¦देवनागरी¦ক্ষ¦தமிழ்¦한국어 조선말¦ひらがなカタカナ漢字
Ελληνικά Кириллица Հայերեն ქართული¦ⴰⵎⴰⵣⵉⵖ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ¦ŻÓŁĆ¦İı ß ẞ Ǆ ǅ ǆ
𝕳𝖊𝖑𝖑𝖔¦𐍈 𐎀¦a\\u200bb\\u200d\\u2060¦\\ufeffbom¦\\u0000¦\\u0000a\\u0001\\u001f¦\\u007f
$100 + €5 = ¥?¦http://x.y/z?q=1&r=2#s¦{"a": [1, 2]}¦if (x) {\\n    return;\\n}
\\u0e33\\u0eb3¦\\u0344 \\u0340\\u0341¦\\u2adc \\u1d15e\\u1d165¦\\u0b94\\u0bd7
""".strip("\n")


def probe():
    char = {}
    extra = 256
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174:
            char[b] = chr(b)
        else:
            char[b] = chr(extra)
            extra += 1
    near = [char[ord(c)] for c in NEAR]
    lead = [char[b] for b in range(0xC2, 0xF5)]
    tail = [char[b] for b in range(0x80, 0xC0)]
    pairs = [(x, y) for x in tail for y in near]
    pairs += [(x, y) for x in near for y in lead + near]
    vocab = {char[b]: b for b in range(256)}
    for x, y in pairs:
        vocab[x + y] = len(vocab)
    tiny = json.load(open(sys.argv[1], encoding="utf-8"))
    tiny["added_tokens"] = []
    tiny["model"]["vocab"] = vocab
    tiny["model"]["merges"] = [x + " " + y for x, y in pairs]
    return tiny


def dump(f, value):
    f.write(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def texts():
    out = [t.encode("ascii", "backslashreplace").decode("unicode_escape")
           if "\\" in t else t for t in TEXTS.replace("\n", "¦").split("¦")]
    rng = random.Random(7)
    bits = ["the ", " star", "red", "\n", "  ", "\t", "é", "e\u0301", "\u0323",
            "\u0345", "ſ", "'s", "'LL", "12", "\u0085", "日本", "\uac00",
            "\u11a7", "\u11a8", "<answer>", "</answer>", "<|im_end|>",
            "<|im", "_end|>", "?", "!!", "\r\n", "\u00a0", "Q", "\u0ebb",
            "\u1ac1", "\U00010d24", "\U0001e000", "'", ".", "<think>"]
    for _ in range(250):
        out.append("".join(rng.choice(bits)
                           for _ in range(rng.randrange(2, 14))))
    # One letter or mark from every block of 128 that has a character.
    for base in range(0, 0x20000, 128):
        if 0x3400 <= base < 0xA000 or 0xAC00 <= base < 0xF900:
            continue
        pick = [chr(c) for c in rng.sample(range(base, base + 128), 3)]
        out.append("a" + pick[0] + " " + pick[1] + pick[2] + "b")
    for n in (1, 2, 3, 15, 16, 17, 33, 100):
        for c in " \n\u0301ab":
            out.append("x" + c * n + "y")
    out.append("".join(chr(c) for c in [0x301, 0x316] * 40))
    return out


def digest(tok, context, first, end, step):
    h = 0xCBF29CE484222325
    batch = [context.format(chr(c)) for c in range(first, end, step)]
    for e in tok.encode_batch_fast(batch):
        for i in e.ids + [0xFFFFFFFF]:
            for k in range(4):
                h = ((h ^ (i >> 8 * k & 255)) * 0x100000001B3) % 2**64
    return f"{h:016x}"


def main():
    tok = Tokenizer.from_file(sys.argv[1])
    out = sys.argv[2]
    rng = random.Random(3)
    with open(f"{out}/tokenizer.jsonl", "w") as f:
        for text in texts():
            ids = tok.encode(text).ids
            row = {"text": text, "ids": ids}
            back = tok.decode(ids, skip_special_tokens=False)
            if back != text:
                row["decoded"] = back
            dump(f, row)
        for _ in range(80):         # mostly no UTF-8
            ids = [rng.randrange(tok.get_vocab_size() if k % 3 else 256)
                   for k in range(rng.randrange(1, 12))]
            dump(f, {"ids": ids,
                     "decoded": tok.decode(ids, skip_special_tokens=False),
                     "skipped": tok.decode(ids, skip_special_tokens=True)})
    with open(f"{out}/tokenizer_probe.json", "w") as f:
        dump(f, probe())
    tok = Tokenizer.from_file(f"{out}/tokenizer_probe.json")
    with open(f"{out}/tokenizer_probe.jsonl", "w") as f:
        for context in CONTEXTS:
            dump(f, {"context": context.replace("{0}", "{}"),
                     "digests": [digest(tok, context, *r) for r in RANGES]})


if __name__ == "__main__":
    main()
