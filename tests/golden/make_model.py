#!/usr/bin/env python3
"""Make the model's golden files: see README.md for names and shapes.

    make_model.py DIR               write checkpoints and golden files to DIR
    make_model.py --compare D1 D2   are two such folders equal, byte for byte?

Weights, inputs and positions are made here with numpy alone; transformers
only computes. Its forward runs as it is, in fp32; gradients come from the same
modules in float64 with the fp32 casts patched out (class Float64).
"""
import filecmp
import json
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as ref

V, IMAGE, VIDEO, START, END, PAD, EOS = 320, 300, 301, 302, 303, 304, 305
T = 7                                   # response tokens
GREEDY = 8
MADE_BY = f"transformers {transformers.__version__}, torch " + \
    f"{torch.__version__.split('+')[0]}, numpy {np.__version__}; make_model.py"

FIXTURES = {
    "a": dict(seed=1, D=64, heads=4, kv=2, sections=[2, 3, 3], inter=96,
              layers=3, theta=1e4, tied=True, vheads=2, patch=4, window=32),
    "b": dict(seed=2, D=96, heads=4, kv=1, sections=[4, 4, 4], inter=96,
              layers=3, theta=1e6, tied=False, vheads=4, patch=4, window=32),
    "c": dict(seed=3, D=32, heads=2, kv=2, sections=[4, 2, 2], inter=96,
              layers=2, theta=1e6, tied=False, vheads=2, patch=14, window=112),
}
VISION = dict(width=32, depth=4, full=[1, 3], inter=44, merge=2, temporal=2)

# Lengths of the text before, between and after the pictures.
CASES = {
    "img4x4": ([(1, 4, 4)], [5, 4]),
    "img8x8": ([(1, 8, 8)], [3, 6]),
    "img10x14": ([(1, 10, 14)], [5, 5]),
    "img16x24": ([(1, 16, 24)], [2, 7]),
    "two": ([(1, 8, 8), (1, 6, 10)], [4, 3, 5]),
    "text": ([], [11]),
}
CASES_C = {"img4x6": ([(1, 4, 6)], [4, 5])}


# ---- checkpoints ----------------------------------------------------------

def text_config(f):
    return dict(
        vocab_size=V, hidden_size=f["D"], intermediate_size=f["inter"],
        num_hidden_layers=f["layers"], num_attention_heads=f["heads"],
        num_key_value_heads=f["kv"], hidden_act="silu", rms_norm_eps=1e-6,
        max_position_embeddings=4096, attention_dropout=0.0,
        initializer_range=0.02, use_cache=True, use_sliding_window=False,
        sliding_window=4096, max_window_layers=f["layers"],
        bos_token_id=PAD, eos_token_id=EOS)


def vision_config(f):
    return dict(
        depth=VISION["depth"], hidden_act="silu", hidden_size=VISION["width"],
        intermediate_size=VISION["inter"], num_heads=f["vheads"],
        in_chans=3, out_hidden_size=f["D"], patch_size=f["patch"],
        spatial_merge_size=2, spatial_patch_size=f["patch"],
        temporal_patch_size=2, tokens_per_second=2,
        window_size=f["window"], fullatt_block_indexes=VISION["full"])


def config(name, f):
    ids = dict(image_token_id=IMAGE, video_token_id=VIDEO,
               vision_start_token_id=START, vision_end_token_id=END)
    top = dict(architectures=["Qwen2_5_VLForConditionalGeneration"],
               model_type="qwen2_5_vl", tie_word_embeddings=f["tied"])
    if name == "b":                     # as newer releases write it
        text = dict(text_config(f), model_type="qwen2_5_vl_text",
                    rope_parameters=dict(mrope_section=f["sections"],
                                         rope_theta=f["theta"],
                                         rope_type="default", type="mrope"))
        vision = vision_config(f)
        vision["in_channels"] = vision.pop("in_chans")
        del vision["spatial_patch_size"]
        vision["model_type"] = "qwen2_5_vl_vision"
        return dict(top, **ids, dtype="float32", text_config=text,
                    vision_config=vision,
                    transformers_version=transformers.__version__)
    flat = dict(top, **text_config(f), **ids)   # as published
    flat["rope_theta"] = f["theta"]
    flat["rope_scaling"] = dict(type="mrope", mrope_section=f["sections"])
    flat["torch_dtype"] = "bfloat16" if name == "c" else "float32"
    flat["transformers_version"] = "4.41.2"
    flat["vision_config"] = vision_config(f)
    return flat


def shapes(f):
    """(older name, shape) of every tensor, in the order of the draws."""
    D, I, hd = f["D"], f["inter"], f["D"] // f["heads"]
    d, iv, w4 = VISION["width"], VISION["inter"], 4 * VISION["width"]

    yield "model.embed_tokens.weight", (V, D)
    for i in range(f["layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (D,)
        for n, rows in (("q", D), ("k", hd * f["kv"]), ("v", hd * f["kv"])):
            yield p + f"self_attn.{n}_proj.weight", (rows, D)
            yield p + f"self_attn.{n}_proj.bias", (rows,)
        yield p + "self_attn.o_proj.weight", (D, D)
        yield p + "post_attention_layernorm.weight", (D,)
        yield p + "mlp.gate_proj.weight", (I, D)
        yield p + "mlp.up_proj.weight", (I, D)
        yield p + "mlp.down_proj.weight", (D, I)
    yield "model.norm.weight", (D,)
    if not f["tied"]:
        yield "lm_head.weight", (V, D)
    yield "visual.patch_embed.proj.weight", (d, 3, 2, f["patch"], f["patch"])
    for i in range(VISION["depth"]):
        p = f"visual.blocks.{i}."
        for n, s in (("norm1", (d,)), ("norm2", (d,)),
                     ("attn.qkv", (3 * d, d)), ("attn.proj", (d, d)),
                     ("mlp.gate_proj", (iv, d)), ("mlp.up_proj", (iv, d)),
                     ("mlp.down_proj", (d, iv))):
            yield p + n + ".weight", s
            if len(s) == 2:
                yield p + n + ".bias", s[:1]
    yield "visual.merger.ln_q.weight", (d,)
    yield "visual.merger.mlp.0.weight", (w4, w4)
    yield "visual.merger.mlp.0.bias", (w4,)
    yield "visual.merger.mlp.2.weight", (D, w4)
    yield "visual.merger.mlp.2.bias", (D,)


def weights(f):
    rng = np.random.Generator(np.random.PCG64(f["seed"]))
    out = {}
    for name, shape in shapes(f):
        if name.endswith(".bias"):
            w = 0.2 * rng.standard_normal(shape)
        elif len(shape) == 1:
            w = rng.uniform(0.5, 1.5, shape)
        else:
            w = rng.standard_normal(shape) * 1.5 / np.sqrt(np.prod(shape[1:]))
        out[name] = w.astype(np.float32)
    return out


def newer_name(name):
    if name.startswith("visual."):
        return "model." + name
    return name.replace("model.", "model.language_model.", 1)


def older_name(name):
    for new, old in (("model.language_model.", "model."),
                     ("model.visual.", "visual.")):
        if name.startswith(new):
            return old + name[len(new):]
    return name


def write_json(path, value):
    with open(path, "w") as out:
        json.dump(value, out, indent=2)
        out.write("\n")


def write_shards(dir, tensors):
    """bf16, the vision tower and one layer apart from the rest."""
    bf = {k: torch.from_numpy(v).to(torch.bfloat16)
          for k, v in tensors.items()}
    names = ["model-00001-of-00002.safetensors",
             "model-00002-of-00002.safetensors"]
    second = [k for k in bf if k.startswith(("visual.", "model.layers.1."))]
    place = {k: names[k in second] for k in sorted(bf)}
    for n in names:
        save_torch({k: v for k, v in bf.items() if place[k] == n},
                   os.path.join(dir, n), {"format": "pt"})
        finish(os.path.join(dir, n))
    total = sum(v.numel() * 2 for v in bf.values())
    write_json(os.path.join(dir, "model.safetensors.index.json"),
               dict(metadata=dict(total_size=total), weight_map=place))


def write_checkpoint(dir, name, f):
    os.makedirs(dir, exist_ok=True)
    write_json(os.path.join(dir, "config.json"), config(name, f))
    write_json(os.path.join(dir, "generation_config.json"), dict(
        bos_token_id=PAD, eos_token_id=[EOS, PAD], pad_token_id=PAD,
        do_sample=True, repetition_penalty=1.05, temperature=1e-6,
        transformers_version="4.49.0"))
    write_json(os.path.join(dir, "preprocessor_config.json"), dict(
        image_processor_type="Qwen2VLImageProcessor",
        processor_class="Qwen2_5_VLProcessor",
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
        min_pixels=4 * (2 * f["patch"])**2,
        max_pixels=1024 * (2 * f["patch"])**2,
        patch_size=f["patch"], temporal_patch_size=2, merge_size=2))
    w = weights(f)
    if name == "c":
        write_shards(dir, w)
    else:
        if name == "b":
            w = {newer_name(k): v for k, v in w.items()}
        save_file(w, os.path.join(dir, "model.safetensors"),
                  {"format": "pt"})
        finish(os.path.join(dir, "model.safetensors"))


def finish(path):
    os.chmod(path, 0o644)               # the writer makes them 0600


def load(dir):
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        dir, dtype=torch.float32, attn_implementation="eager",
        output_loading_info=True)
    for k in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[k], (k, info[k])
    return model.eval()


# ---- inputs ---------------------------------------------------------------

def positions(ids, grids):
    """MODEL: text counts on; a picture's token is (p, p + y, p + x) in units
    of 2x2 patches, and p continues at the largest position + 1."""
    pos, p, i, grids = [], 0, 0, list(grids)
    while i < len(ids):
        if ids[i] != IMAGE:
            pos.append((p, p, p))
            p, i = p + 1, i + 1
            continue
        t, h, w = grids.pop(0)
        h, w = h // 2, w // 2
        pos += [(p, p + y, p + x) for y in range(h) for x in range(w)]
        p, i = p + max(h, w), i + t * h * w
    assert not grids
    return np.array(pos, np.int64).T


def make_inputs(f, case, seed):
    grids, texts = case
    rng = np.random.Generator(np.random.PCG64([f["seed"], seed]))
    ids = list(rng.integers(0, IMAGE, texts[0]))
    for g, n in zip(grids, texts[1:]):
        ids += [START] + [IMAGE] * (g[0] * g[1] * g[2] // 4) + [END]
        ids += list(rng.integers(0, IMAGE, n))
    P = len(ids)
    ids = np.array(ids + list(rng.integers(0, IMAGE, T)), np.int64)
    n = sum(t * h * w for t, h, w in grids)
    pixels = rng.standard_normal((n, 3 * 2 * f["patch"]**2))
    return dict(ids=ids, P=P, pos=positions(ids, grids), grids=grids,
                pixels=pixels.astype(np.float32), rng=rng)


def call(model, x, ids, pos, first=True, **kw):
    dtype = model.lm_head.weight.dtype
    if x["grids"] and first:
        kw["pixel_values"] = torch.from_numpy(x["pixels"]).to(dtype)
        kw["image_grid_thw"] = torch.tensor(x["grids"])
    return model(input_ids=torch.from_numpy(ids)[None],
                 position_ids=torch.from_numpy(pos)[:, None], **kw)


# ---- forward --------------------------------------------------------------

class Record:
    """Hooks that keep what passes the modules, under the README's names."""

    def __init__(self, model):
        self.t, self.handles = {}, []
        vis, text = model.model.visual, model.model.language_model
        self.keep(vis.patch_embed, "patch_embed")
        for i, b in enumerate(vis.blocks):
            self.keep(b, f"vis_block.{i}")
        self.keep(vis.merger, "merger_window")
        self.keep(vis, "merger", lambda o: o.pooler_output)
        self.before(vis.blocks[0], self.first_block)
        self.before(text.layers[0], self.first_layer)
        for i, l in enumerate(text.layers):
            self.keep(l, f"layer.{i}")
        self.keep(text.layers[-1].self_attn, "full_attn", lambda o: o[1][0])
        self.keep(text.norm, "norm")

    def keep(self, module, name, pick=lambda o: o):
        def hook(_, args, out):
            t = pick(out)
            self.t[name] = t[0] if t.dim() == 3 and t.shape[0] == 1 else t
        self.handles.append(module.register_forward_hook(hook))

    def before(self, module, fn):
        self.handles.append(
            module.register_forward_pre_hook(fn, with_kwargs=True))

    def first_block(self, _, args, kw):
        self.t["vis_cos"], self.t["vis_sin"] = kw["position_embeddings"]

    def first_layer(self, _, args, kw):
        self.t["embeds"] = (args[0] if args else kw["hidden_states"])[0]
        self.t["cos"], self.t["sin"] = (
            c[0] for c in kw["position_embeddings"])

    def close(self):
        for h in self.handles:
            h.remove()


def check_positions(model, x):
    if not x["grids"]:
        return
    ids = torch.from_numpy(x["ids"])[None]
    theirs, _ = model.model.get_rope_index(
        ids, (ids == IMAGE).int(), torch.tensor(x["grids"]))
    assert (theirs[:, 0].numpy() == x["pos"]).all()


def window_order(model, x):
    v = model.config.vision_config
    grid = torch.tensor(x["grids"])
    index, cu = ref.get_vision_window_index(
        grid, spatial_merge_size=2, window_size=v.window_size,
        patch_size=v.patch_size)
    full = np.cumsum([0] + [h * w for t, h, w in x["grids"]
                            for _ in range(t)])
    return index.numpy(), cu.numpy(), full


def inputs_out(x):
    out = dict(input_ids=x["ids"], prompt_len=np.array([x["P"]]),
               position_ids=x["pos"])
    if x["grids"]:
        out.update(grid_thw=np.array(x["grids"]), pixel_values=x["pixels"])
    return out


@torch.no_grad()
def forward(model, x, all_logits):
    P = x["P"]
    check_positions(model, x)
    rec = Record(model)
    logits = call(model, x, x["ids"], x["pos"]).logits[0]
    rec.close()
    t = rec.t
    attn = t.pop("full_attn")[:, P:]
    out = {k: v.numpy() for k, v in t.items()}
    out.update(inputs_out(x))
    if x["grids"]:
        out["window_index"], out["cu_window"], out["cu_full"] = \
            window_order(model, x)
    out["attn"], out["attn_mean"] = attn.numpy(), attn.mean(0).numpy()
    out["logits"] = logits[P - 1:].numpy()
    if all_logits:
        out["logits_all"] = logits.numpy()
    out["logp"] = response_logp(logits, x).numpy()
    out.update(greedy(model, x))
    return out


def response_logp(logits, x):
    ids = torch.from_numpy(x["ids"][x["P"]:])
    rows = torch.log_softmax(logits[x["P"] - 1:-1], -1)
    return rows.gather(1, ids[:, None])[:, 0]


@torch.no_grad()
def greedy(model, x):
    """Own loop with explicit positions: nothing of `generate` takes part."""
    P = x["P"]
    out = call(model, x, x["ids"][:P], x["pos"][:, :P], use_cache=True)
    pos, ids, rows = x["pos"][:, P - 1:P] + 1, [], []
    for j in range(GREEDY):
        rows.append(out.logits[0, -1])
        ids.append(int(rows[-1].argmax()))
        out = call(model, x, np.array([ids[-1]]), pos + j, first=False,
                   cache=out.cache, use_cache=True)
    rows = torch.stack(rows)
    top = rows.topk(2).values
    margin = (top[:, 0] - top[:, 1]).numpy()
    assert margin.min() > 1e-2, margin  # else rounding picks the token

    ids = np.concatenate([x["ids"][:P], ids])
    tail = x["pos"][:, P - 1:P] + 1 + np.arange(GREEDY)
    full = call(model, x, ids, np.concatenate([x["pos"][:, :P], tail], 1))
    err = (full.logits[0, P - 1:-1] - rows).abs().max() / rows.abs().max()
    assert err < 1e-5, err
    return dict(greedy_ids=ids[P:], greedy_logits=rows.numpy(),
                greedy_margin=margin)


# ---- gradients ------------------------------------------------------------

class Float64:
    """The reference with its fp32 casts taken out, for a float64 model.

    Patched: RMSNorm, the softmax of eager attention, the vision rotary, and
    both rotary tables (angles stay the fp32 products that define the model;
    their cos and sin are taken in double). Losses are computed here."""

    def __enter__(self):
        self.old = (ref.Qwen2_5_VLRMSNorm.forward,
                    ref.eager_attention_forward,
                    ref.apply_rotary_pos_emb_vision,
                    ref.Qwen2_5_VLVisionRotaryEmbedding.forward,
                    ref.Qwen2_5_VLRotaryEmbedding.forward)
        self.put((rms_norm, attention, rotate_vision, vision_table,
                  text_table))
        return self

    def __exit__(self, *_):
        self.put(self.old)

    @staticmethod
    def put(fns):
        (ref.Qwen2_5_VLRMSNorm.forward,
         ref.eager_attention_forward,
         ref.apply_rotary_pos_emb_vision,
         ref.Qwen2_5_VLVisionRotaryEmbedding.forward,
         ref.Qwen2_5_VLRotaryEmbedding.forward) = fns


def rms_norm(self, x):
    mean = x.pow(2).mean(-1, keepdim=True)
    return self.weight * (x * torch.rsqrt(mean + self.variance_epsilon))


def attention(module, query, key, value, attention_mask, scaling, **_):
    n = module.num_key_value_groups
    key, value = ref.repeat_kv(key, n), ref.repeat_kv(value, n)
    s = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        s = s + attention_mask
    a = torch.softmax(s, -1)
    return torch.matmul(a, value).transpose(1, 2).contiguous(), a


def rotate_vision(q, k, cos, sin):
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return (q * cos + ref.rotate_half(q) * sin,
            k * cos + ref.rotate_half(k) * sin)


def table(self, position_ids):
    angle = position_ids[..., None].float() * self.inv_freq.float()
    angle = angle.double()
    return (self.recomposition_frequencies(angle.cos()),
            self.recomposition_frequencies(angle.sin()))


def vision_table(self, x, position_ids):
    return table(self, position_ids)


def text_table(self, x, position_ids):
    return table(self, position_ids.expand(3, -1, -1))


def jsd(p, q):
    m = (p + q) / 2
    return (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum() / 2


def ral_loss(attn_mean, x, q, A):
    """Rows of RAL.md: self left out, renormalised, keys before self."""
    rows = []
    for r in range(T):
        t = x["P"] + r
        a = attn_mean[r, :t]
        rows.append(jsd(a / a.sum(), torch.from_numpy(q[r, :t])))
    rows = torch.stack(rows)
    return (torch.from_numpy(A) * rows).mean(), rows.detach().numpy()


def grads(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    out = {}
    for name, p in model.named_parameters():
        if p.grad is not None and bool((p.grad != 0).any()):
            out[older_name(name)] = p.grad.numpy().copy()
    return out


def random_rows(x):
    """c, q and A, rounded to fp32 first so that the files hold them."""
    N, P, rng = len(x["ids"]), x["P"], x["rng"]
    c = rng.standard_normal((T, N)).astype(np.float32)
    q = np.exp(1.5 * rng.standard_normal((T, N)))
    for r in range(T):
        c[r, P + r + 1:] = 0
        q[r, P + r:] = 0
    q = (q / q.sum(1, keepdims=True)).astype(np.float32)
    A = rng.standard_normal(T).astype(np.float32)
    return c, q, A


def unreached(f):
    p = f"model.layers.{f['layers'] - 1}."
    names = [p + n for n in (
        "self_attn.v_proj.weight", "self_attn.v_proj.bias",
        "self_attn.o_proj.weight", "post_attention_layernorm.weight",
        "mlp.gate_proj.weight", "mlp.up_proj.weight",
        "mlp.down_proj.weight")] + ["model.norm.weight"]
    return set(names) | (set() if f["tied"] else {"lm_head.weight"})


def in_float64(model, f, x, case, fp32):
    """Losses and gradients; returns (loss_ce, gradient file or None)."""
    rec = Record(model)
    logits = call(model, x, x["ids"], x["pos"]).logits[0]
    rec.close()
    attn_mean = rec.t["full_attn"][:, x["P"]:].mean(0)
    report(case, rec.t, logits, attn_mean, fp32, x)
    ce = -response_logp(logits, x).mean()
    if case not in ("img10x14", "two"):
        return ce.item(), None

    every = {n for n, _ in shapes(f)}
    c, q, A = random_rows(x)
    out = dict(loss_ce=np.array([ce.item()]))
    g = grads(model, ce)
    assert set(g) == every
    out.update({"ce." + k: v.astype(np.float32) for k, v in g.items()})
    if case == "img10x14":
        kind, out["c"] = "attn", c
        loss = (torch.from_numpy(c) * attn_mean).sum()
    else:
        kind, out["q"], out["A"] = "ral", q, A
        loss, out["jsd"] = ral_loss(attn_mean, x, q.astype(np.float64),
                                    A.astype(np.float64))
    out["loss_" + kind] = np.array([loss.item()])
    g = grads(model, loss)
    assert set(g) == every - unreached(f), set(g) ^ (every - unreached(f))
    out.update({f"{kind}.{k}": v.astype(np.float32) for k, v in g.items()})
    return ce.item(), out


def report(case, t, logits, attn_mean, fp32, x):
    """How far the reference's own fp32 is from float64."""
    def rel(a, b):
        a = a.detach().numpy()
        return np.abs(a - b).max() / np.abs(a).max()
    blocks = [k for k in t if k.startswith(("vis_block", "layer", "merger"))]
    print(f"{case:9} fp32 against float64: blocks "
          f"{max(rel(t[k], fp32[k]) for k in blocks):.1e} logits "
          f"{rel(logits[x['P'] - 1:], fp32['logits']):.1e} attention "
          f"{np.abs(attn_mean.detach().numpy() - fp32['attn_mean']).max():.1e}"
          f" smallest greedy margin {fp32['greedy_margin'].min():.2f}")


# ---- files ----------------------------------------------------------------

def stored(a):
    a = np.ascontiguousarray(a)
    if a.dtype.kind == "i":
        return a.astype(np.int32)
    assert a.dtype in (np.float32, np.float64) and np.isfinite(a).all()
    return a


def save(tensors, path):
    save_file({k: stored(v) for k, v in tensors.items()}, path,
              {"made_by": MADE_BY})
    finish(path)
    print(f"{path}: {os.path.getsize(path)} bytes")


def make_ab(dir, name):
    f = FIXTURES[name]
    folder = os.path.join(dir, "fixture_" + name)
    write_checkpoint(folder, name, f)
    model, double = load(folder), load(folder).double()
    every = {}
    for seed, (case, what) in enumerate(CASES.items()):
        x = make_inputs(f, what, seed)
        out = forward(model, x, case == "img10x14")
        with Float64():
            ce, g = in_float64(double, f, x, case, out)
        out["loss_ce"] = np.array([ce])
        every.update({f"{case}.{k}": v for k, v in out.items()})
        if g:
            save(g, f"{dir}/golden_{name}_grad_{case}.safetensors")
    save(every, f"{dir}/golden_{name}.safetensors")


@torch.no_grad()
def make_c(dir):
    f = FIXTURES["c"]
    folder = os.path.join(dir, "fixture_c")
    write_checkpoint(folder, "c", f)
    model, out = load(folder), {}
    for seed, (case, what) in enumerate(CASES_C.items()):
        x = make_inputs(f, what, seed)
        check_positions(model, x)
        logits = call(model, x, x["ids"], x["pos"]).logits[0]
        t = dict(inputs_out(x), logits=logits[x["P"] - 1:].numpy())
        out.update({f"{case}.{k}": v for k, v in t.items()})
    save(out, f"{dir}/golden_c.safetensors")


def made_files(dir):
    for root, _, names in os.walk(dir):
        for n in names:
            path = os.path.relpath(os.path.join(root, n), dir)
            if path.startswith(("fixture_", "golden_")):
                yield path


def compare(one, two):
    a, b = set(made_files(one)), set(made_files(two))
    bad = sorted(a ^ b)
    bad += [p for p in sorted(a & b) if not filecmp.cmp(
        os.path.join(one, p), os.path.join(two, p), shallow=False)]
    for p in bad:
        print("differs:", p)
    print(f"{len(a & b) - len(bad)} of {len(a | b)} files equal")
    return 1 if bad else 0


def main(argv):
    if len(argv) == 4 and argv[1] == "--compare":
        return compare(argv[2], argv[3])
    if len(argv) != 2 or argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.enabled = False
    os.makedirs(argv[1], exist_ok=True)
    for name in ("a", "b"):
        make_ab(argv[1], name)
    make_c(argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
