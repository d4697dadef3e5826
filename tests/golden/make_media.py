#!/usr/bin/env python3
"""Make media.json and media/*.png: what Pillow and transformers' PIL image
processor make of pictures of every kind. Needs the versions that
requirements.txt names; the result is the same bytes every time.

    make_media.py DIR       (DIR is this folder)

PNG files are written by hand here, for Pillow cannot write most kinds.
Large inputs are not stored: test and script compute them by one formula.
"""
import json
import os
import struct
import sys
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import PIL
import transformers
from PIL import Image, ImageOps
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil, smart_resize)

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
         (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def fnv(data):
    """FNV-1a, 64 bits."""
    h = 0xcbf29ce484222325
    for b in data:
        h = ((h ^ b) * 0x100000001b3) & 0xffffffffffffffff
    return "%016x" % h


class Noise:
    """A linear congruential generator's top bytes."""

    def __init__(self, seed):
        self.x = seed

    def byte(self):
        self.x = (self.x * 1664525 + 1013904223) & 0xffffffff
        return self.x >> 24


def test_picture(w, h):
    """Left half noise, right half a gradient; the C test has it, too."""
    n, out = Noise(w * 65536 + h), np.zeros((h, w, 3), np.uint8)
    for y in range(h):
        for x in range(w):
            for c in range(3):
                v = n.byte()
                out[y, x, c] = v if 2 * x < w else (x * 7 + y * 3 + c * 50) & 255
    return out


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + \
        struct.pack(">I", zlib.crc32(kind + body))


def pack(samples, depth):
    """[n] samples to bytes, most significant bits first."""
    if depth == 16:
        return b"".join(struct.pack(">H", s) for s in samples)
    bits = "".join(format(s, "0%db" % depth) for s in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def png(px, colour, depth, interlace=False, palette=None, trns=None,
        extra=b"", after=b"", pieces=1):
    """px [h][w][channels]; filters none, sub and up by turns."""
    h, w, ch = px.shape
    raw = b""
    bpp = max(1, ch * depth // 8)
    for x0, y0, dx, dy in (ADAM7 if interlace else [(0, 0, 1, 1)]):
        part = px[y0::dy, x0::dx]
        if part.shape[0] == 0 or part.shape[1] == 0:
            continue
        last = None
        for y, row in enumerate(part):
            row = pack([int(v) for v in row.ravel()], depth)
            if y % 3 == 1:
                left = b"\0" * bpp + row
                out = bytes((a - b) & 255 for a, b in zip(row, left))
            elif y % 3 == 2:
                out = bytes((a - b) & 255 for a, b in zip(row, last))
            else:
                out = row
            raw += bytes([y % 3]) + out
            last = row
    z = zlib.compress(raw, 9)
    step = -(-len(z) // pieces)
    f = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace)))
    f += extra
    if palette is not None:
        f += chunk(b"PLTE", bytes(int(v) for v in palette.ravel()))
    if trns is not None:
        f += chunk(b"tRNS", trns)
    for i in range(0, len(z), step):
        f += chunk(b"IDAT", z[i:i + step])
    return f + after + chunk(b"IEND", b"")


def exif(orientation, end):
    body = (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(
        end + "IHHHIHHHHIHHI", 8, 2, 0x0100, 3, 1, 5, 0,
        0x0112, 3, 1, orientation, 0, 0)
    return chunk(b"eXIf", body)


def pngs():
    """(name, bytes) of every kind."""
    rng = Noise(7)

    def noise(h, w, ch, top):
        return np.array([(rng.byte() * 256 + rng.byte()) % top
                         for _ in range(h * w * ch)]).reshape(h, w, ch)

    pal = noise(16, 1, 3, 256)
    for inter in (False, True):
        i = "_adam7" if inter else ""
        for d in (1, 2, 4, 8, 16):
            top = 1 << d
            yield f"grey{d}{i}", png(noise(9, 13, 1, top), GREY, d, inter)
        yield f"grey16_dark{i}", png(noise(9, 13, 1, 400), GREY, 16, inter)
        for d in (8, 16):
            for name, c in (("rgb", RGB), ("la", GREY_ALPHA), ("rgba", RGBA)):
                yield f"{name}{d}{i}", png(
                    noise(9, 13, CHANNELS[c], 1 << d), c, d, inter)
        for d in (1, 2, 4, 8):
            n = min(16, 1 << d)
            yield f"palette{d}{i}", png(noise(9, 13, 1, n), PALETTE, d, inter,
                                        pal[:n])
    # transparency by tRNS
    for d in (1, 2, 4, 8, 16):
        px = noise(9, 13, 1, 1 << d)
        yield f"grey{d}_trns", png(px, GREY, d, trns=struct.pack(
            ">H", int(px[2, 3, 0])))
    px = noise(9, 13, 3, 4) * 85
    yield "rgb8_trns", png(px, RGB, 8, trns=struct.pack(
        ">3H", *[int(v) for v in px[1, 1]]))
    px = noise(9, 13, 3, 2) * 65535
    yield "rgb16_trns", png(px, RGB, 16, trns=struct.pack(
        ">3H", *[int(v) for v in px[1, 1]]))
    px = noise(9, 13, 1, 16)
    yield "palette8_trns", png(px, PALETTE, 8, palette=pal,
                               trns=bytes(range(0, 240, 24)))
    yield "palette4_one", png(px, PALETTE, 4, palette=pal,
                              trns=b"\xff\xff\0\xff")
    # every value under every alpha
    yield "alpha_all", png(np.stack(np.meshgrid(
        np.arange(256), np.arange(256)), -1), GREY_ALPHA, 8)
    yield "palette_short", png(noise(9, 13, 1, 16), PALETTE, 8,
                               palette=pal[:9])
    for name, (h, w) in (("one", (1, 1)), ("tall", (9, 1)), ("wide", (1, 9)),
                         ("five", (5, 5))):
        yield f"size_{name}_adam7", png(noise(h, w, 3, 256), RGB, 8, True)
    for o in range(1, 10):
        end = "<" if o % 2 else ">"
        yield f"exif{o}", png(noise(4, 6, 3, 256), RGB, 8,
                              extra=exif(o, end) if o != 6 else b"",
                              after=exif(o, end) if o == 6 else b"")
    yield "gamma", png(noise(9, 13, 3, 256), RGB, 8,
                       extra=chunk(b"gAMA", struct.pack(">I", 100000)))
    yield "idats", png(noise(9, 13, 3, 256), RGB, 8, pieces=7)


def on_white(im):
    im = ImageOps.exif_transpose(im)
    if "A" in im.getbands() or im.info.get("transparency") is not None:
        white = Image.new("RGBA", im.size, (255, 255, 255, 255))
        im = Image.alpha_composite(white, im.convert("RGBA"))
    return np.array(im.convert("RGB"))


SIZES = [  # from w, h to w, h
    (13, 9, 13, 9), (13, 9, 28, 9), (13, 9, 13, 28), (13, 9, 28, 28),
    (13, 9, 5, 4), (13, 9, 1, 1), (1, 1, 28, 28), (1, 50, 28, 700),
    (50, 1, 700, 28), (2, 3, 56, 84), (100, 100, 112, 112), (98, 70, 112, 56),
    (105, 105, 112, 112), (112, 112, 56, 56), (112, 112, 224, 224),
    (113, 111, 112, 112), (111, 113, 112, 112), (200, 150, 196, 140),
    (150, 200, 140, 196), (320, 240, 308, 252), (240, 320, 252, 308),
    (320, 240, 84, 56), (320, 240, 31, 17), (320, 240, 320, 17),
    (320, 240, 31, 240), (300, 7, 28, 28), (7, 300, 28, 28),
    (400, 300, 336, 252), (64, 48, 640, 476), (333, 77, 364, 84),
    (500, 400, 504, 392), (257, 255, 256, 256), (96, 32, 392, 140),
    (640, 480, 644, 476),
]

CLIP = ([0.48145466, 0.4578275, 0.40821073],
        [0.26862954, 0.26130258, 0.27577711])
PATCHES = [  # w, h, patch, merge, temporal, min, max pixels, mean, std
    (112, 112, 14, 2, 2, 3136, 12845056, *CLIP),
    (112, 112, 14, 2, 2, 3136, 12845056, [1.0] * 3, [0.3] * 3),
    (100, 75, 14, 2, 2, 3136, 12845056, *CLIP),
    (75, 100, 4, 2, 2, 256, 4096, *CLIP),
    (97, 31, 4, 2, 2, 256, 1003520, [0.5] * 3, [0.5, 0.25, 0.125]),
    (320, 240, 14, 2, 2, 3136, 50176, *CLIP),
    (10, 10, 14, 2, 2, 3136, 12845056, *CLIP),
    (60, 90, 14, 1, 3, 196, 100000, *CLIP),
    (64, 64, 8, 4, 1, 1024, 100000, *CLIP),
]


def smart_cases():
    n = Noise(11)

    def below(k):
        return (n.byte() << 16 | n.byte() << 8 | n.byte()) % k

    fixed = [(70, 98), (98, 70), (1080, 1920), (480, 640), (4000, 6000),
             (10, 10), (14, 2000), (1, 200), (1, 201), (13, 13), (14, 14),
             (42, 42), (28, 5600), (28, 5601)]
    for h, w in fixed:
        yield h, w, 28, 3136, 12845056
    for _ in range(400):
        side = 1 + below([60, 300, 2000, 9000][below(4)])
        f = [28, 28, 28, 8, 56, 32][below(6)]
        lo = [3136, 200704, 4 * f * f][below(3)]
        hi = [12845056, 1003520, 401408, lo][below(4)]
        yield side, 1 + below(2 * side), f, lo, max(lo, hi)


def main(top):
    out = {"made_by": f"Pillow {PIL.__version__}, "
                      f"transformers {transformers.__version__}",
           "png": [], "resize": [], "smart": [], "patches": []}
    assert PIL.__version__ == "12.3.0", "another Pillow resizes otherwise"
    folder = os.path.join(top, "media")
    os.makedirs(folder, exist_ok=True)
    for name, data in pngs():
        path = os.path.join(folder, name + ".png")
        with open(path, "wb") as f:
            f.write(data)
        a = on_white(Image.open(path))
        out["png"].append({"file": name + ".png", "width": a.shape[1],
                           "height": a.shape[0], "fnv": fnv(a.tobytes())})
    for w, h, W, H in SIZES:
        a = np.array(Image.fromarray(test_picture(w, h)).resize(
            (W, H), Image.BICUBIC))
        out["resize"].append({"from": [w, h], "to": [W, H],
                              "fnv": fnv(a.tobytes())})
    for h, w, f, lo, hi in smart_cases():
        try:
            size = list(smart_resize(h, w, f, lo, hi))
        except ValueError:
            size = None
        out["smart"].append([h, w, f, lo, hi, size])
    for w, h, P, m, T, lo, hi, mean, std in PATCHES:
        proc = Qwen2VLImageProcessorPil(
            patch_size=P, merge_size=m, temporal_patch_size=T,
            image_mean=mean, image_std=std,
            size={"shortest_edge": lo, "longest_edge": hi})
        got = proc(Image.fromarray(test_picture(w, h)), return_tensors="np")
        x = np.ascontiguousarray(got["pixel_values"], dtype=np.float32)
        out["patches"].append({
            "from": [w, h], "patch": P, "merge": m, "temporal": T,
            "pixels": [lo, hi], "mean": mean, "std": std,
            "grid": [int(v) for v in got["image_grid_thw"][0]],
            "first": float(x.ravel()[0]), "fnv": fnv(x.tobytes())})
    with open(os.path.join(top, "media.json"), "w") as f:
        f.write("{" + ",\n".join(
            '"%s": %s' % (k, json.dumps(v) if isinstance(v, str) else
                          "[\n" + ",\n".join(map(json.dumps, v)) + "\n]")
            for k, v in out.items()) + "}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
