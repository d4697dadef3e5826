#!/usr/bin/env python3
"""Train the tokenizer of the tiny model folder.

    train_tiny_tokenizer.py -o share/models/tiny/tokenizer.json ROWS.jsonl...

ROWS are training rows (the questions of Omniglot and NLVR); the words of the
synthetic sets are listed below. Needs the Python package `tokenizers`; the
result depends on nothing but its version and the rows. 256 bytes, 750 merges
and 18 added tokens make 1,024 ids.
"""
import argparse
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from tokenizers import normalizers, pre_tokenizers, processors, trainers

COLOURS = """red orange yellow green blue purple pink brown black grey white
cyan""".split()
SHAPES = """circle square triangle star cross diamond hexagon heart moon ring
pentagon arrow plus""".split()
OTHERS = """yes no true false zero one two three four five six seven eight nine
ten left right above below Aramaic Balinese Greek Japanese Katakana Hiragana
Korean Latin Sanskrit Tagalog Hebrew Cyrillic Armenian""".split()
PLURALS = """circles squares triangles stars crosses diamonds hexagons hearts
moons rings pentagons arrows pluses""".split()
SPECIAL = """endoftext im_start im_end object_ref_start object_ref_end
box_start box_end quad_start quad_end vision_start vision_end vision_pad
image_pad video_pad""".split()
PLAIN = "<answer> </answer> <think> </think>".split()
COMMON = """a about after all and animal apple are as at back bag ball banana
be because bed been before behind between bicycle big bird boat book bottle
boy building bus but by cake can car cat chair child children city clock close
cloud coat colour could day did different do does dog door down dress each
eye face far find first fish floor flower food foot for from front girl glass
go good grass hand has hat have he head her here his holding horse house how
if in inside into is its kitchen large last less letter light line little long
made make man many me more most mountain name near next night not number of
off old on open or other our out outside over part people person phone photo
picture place plate playing put rain river road room round running same say
sea see she show side sign sitting size sky small snow so some standing street
sun table tall than that their them then there these they thing think this
time to top train tree under up us use very view walking wall was watch water
we wearing were what wheel when which who why will window with woman word work
would writing written year you young your""".split()
IDS = 1024
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
           r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def questions(rng):
    """Texts like those of the synthetic sets."""
    for _ in range(4000):
        c, d = rng.choice(COLOURS), rng.choice(COLOURS)
        s, t = rng.choice(SHAPES), rng.choice(SHAPES)
        p = rng.choice(PLURALS)
        side = rng.choice("left of|right of|above|below".split("|"))
        yield from (
            f"What colour is the {s}?", "What shape is it?",
            f"What shape is {c}?", f"What shape is the {c} object?",
            f"How many {c} {p} are there?", f"How many {p} are there?",
            "How many objects are there?", "What colour is it?",
            f"Is the {s} {side} the {t}?",
            f"Is the {c} {s} {side} the {d} {t}?",
            f"Is there a {c} {s}? Answer yes or no.",
            f"Where is the {s}?", f"Which object is {side} the {s}?",
            f"Which shape is largest?", f"Are there more {c} than {d} {p}?",
            f"The {s} is {c}.", f"It is a {c} {s}.",
            f"A. {c}\nB. {d}\nC. {s}\nD. {t}\nAnswer with the letter.")


def corpus(paths):
    rng = random.Random(1)
    for w in COLOURS + SHAPES + OTHERS:
        yield from [w, " " + w] * 3000
    for w in PLURALS:
        yield from [" " + w] * 3000
    for w in COMMON:
        yield from [" " + w] * 100
    for _ in range(2000):
        yield "system\nYou are a helpful assistant."
        yield "user\n"
        yield "assistant\n"
        yield "What is in the picture?\nAnswer in one word.\n\n  Yes. No."
        yield "The answer is A: so it's not B, and I don't think it's (C)."
    yield from questions(rng)
    for path in paths:
        for line in open(path, encoding="utf-8"):
            for message in json.loads(line)["messages"]:
                content = message["content"]
                if isinstance(content, str):
                    content = [{"type": "text", "text": content}]
                yield from (x["text"] for x in content if x["type"] == "text")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("-o", required=True)
    ap.add_argument("rows", nargs="*")
    args = ap.parse_args()
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.train_from_iterator(corpus(args.rows), trainers.BpeTrainer(
        vocab_size=IDS - len(SPECIAL) - len(PLAIN), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.add_special_tokens([
        AddedToken(f"<|{s}|>", special=True, normalized=False)
        for s in SPECIAL])
    tok.add_tokens([AddedToken(s, special=False, normalized=False)
                    for s in PLAIN])
    assert tok.get_vocab_size() == IDS, tok.get_vocab_size()
    for w in COLOURS + SHAPES + OTHERS:
        for text in w, " " + w:
            assert len(tok.encode(text).ids) == 1, text
    tok.save(args.o, pretty=True)


if __name__ == "__main__":
    main()
