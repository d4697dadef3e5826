#!/usr/bin/env python3
"""What PyTorch does with a checkpoint: rollout tokens/s, update samples/s.

    peer_torch.py CKPT [-j THREADS] [...]      one JSON object on stdout

The opponent is given every chance: transformers itself (its vision attention
over equal windows batched, which it does one by one) and a plain
re-implementation without its overhead, checked against it; each with eager
and sdpa attention; rollouts with the prompt's cache shared by its samples or
computed for each; several batch sizes. The best of each is reported.
Sequences of the update are per sample, as trainers build them. Versions:
tests/golden/requirements.txt. Without torch or transformers it says so and
exits 0.
"""
import argparse
import json
import math
import os
import sys
import time

SKIP = None
try:
    import torch
    import torch.nn.functional as F
    import transformers
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as ref
except ImportError as e:
    SKIP = f"{(e.name or str(e)).split('.')[0]} not installed"


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("ckpt", help="Hugging Face folder of the model")
    p.add_argument("-j", "--threads", type=int, default=1)
    p.add_argument("--prompts", type=int, default=64)
    p.add_argument("--samples", type=int, default=8)
    p.add_argument("--size", type=int, default=112, help="pixels a side")
    p.add_argument("--text-tokens", type=int, default=25)
    p.add_argument("--max-new", type=int, default=8)
    p.add_argument("--response", type=int, default=8,
                   help="response tokens of a sequence in the update")
    p.add_argument("--mini-batches", type=int, default=1,
                   help="optimiser steps that the samples are cut into")
    p.add_argument("--seconds", type=float, default=3,
                   help="how long each of the best three is measured again")
    p.add_argument("--only", choices=["rollout", "update"])
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


# ---- the work -------------------------------------------------------------

class Work:
    """Prompts of one shape: text, a picture, text."""

    def __init__(self, cfg, a):
        gen = torch.Generator().manual_seed(a.seed)
        vis, text = cfg.vision_config, cfg.text_config
        self.side = a.size // vis.patch_size
        self.units = (self.side // vis.spatial_merge_size)**2
        low = min(cfg.image_token_id, cfg.vision_start_token_id,
                  text.vocab_size)
        before = a.text_tokens // 2
        words = torch.randint(0, low, (a.prompts, a.text_tokens),
                              generator=gen)

        def column(token, n=1):
            return torch.full((a.prompts, n), token)
        self.prompt = torch.cat([
            words[:, :before], column(cfg.vision_start_token_id),
            column(cfg.image_token_id, self.units),
            column(cfg.vision_end_token_id), words[:, before:]], 1)
        self.first = before + 1         # first visual token
        row = 3 * vis.temporal_patch_size * vis.patch_size**2
        self.pixels = torch.randn(a.prompts, self.side**2, row, generator=gen)
        self.G, self.max_new, self.R = a.samples, a.max_new, a.response
        self.response = torch.randint(
            0, low, (a.prompts * a.samples, a.response), generator=gen)
        self.adv = torch.randn(a.prompts * a.samples, generator=gen)
        self.pos = self.positions(vis.spatial_merge_size,
                                  self.prompt.shape[1] + a.max_new +
                                  a.response)

    def positions(self, merge, n):
        """[3, n]: the same for every prompt."""
        edge = self.side // merge
        pos = torch.arange(n).repeat(3, 1)
        end = self.first + self.units
        pos[:, end:] -= self.units - edge
        unit = torch.arange(self.units)
        pos[0, self.first:end] = self.first
        pos[1, self.first:end] = self.first + unit // edge
        pos[2, self.first:end] = self.first + unit % edge
        return pos


# ---- transformers ---------------------------------------------------------

def batched_vision(self, hidden_states, cu_seqlens, position_embeddings=None,
                   **kw):
    """The reference's vision attention, equal segments as one batch."""
    n, length = hidden_states.shape[0], int(cu_seqlens[1])
    assert (cu_seqlens.diff() == length).all()
    q, k, v = self.qkv(hidden_states).reshape(
        n, 3, self.num_heads, -1).unbind(1)
    q, k = ref.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.view(-1, length, self.num_heads, self.head_dim)
               .transpose(1, 2) for x in (q, k, v))
    fn = ref.ALL_ATTENTION_FUNCTIONS.get_interface(
        self.config._attn_implementation, ref.eager_attention_forward)
    out = fn(self, q, k, v, attention_mask=None, scaling=self.scaling,
             is_causal=False)[0]
    return self.proj(out.reshape(n, -1))


class HF:
    def __init__(self, model, attn, work):
        self.m, self.attn, self.w = model, attn, work
        self.grid = [[1, work.side, work.side]]

    def call(self, ids, pixels, at, **kw):
        B, n = ids.shape
        pos = self.w.pos[:, None, at:at + n].expand(3, B, n)
        if pixels is not None:
            kw["pixel_values"] = pixels.reshape(-1, pixels.shape[-1])
            kw["image_grid_thw"] = torch.tensor(self.grid * len(pixels))
        self.m.set_attn_implementation(self.attn)
        return self.m(input_ids=ids, position_ids=pos, **kw)

    def prefill(self, ids, pixels, repeat, room):
        out = self.call(ids, pixels, 0, use_cache=True, logits_to_keep=1)
        self.cache = out.cache
        if repeat > 1:
            self.cache.batch_repeat_interleave(repeat)
        return out.logits[:, -1]

    def step(self, ids, at):
        return self.call(ids, None, at, use_cache=True,
                         cache=self.cache).logits[:, -1]

    def logits(self, ids, pixels, keep):
        return self.call(ids, pixels, 0, use_cache=False,
                         logits_to_keep=keep).logits


# ---- the same in plain PyTorch --------------------------------------------

class Plain:
    """Equal prompts and pictures; weights are shared with the model."""

    def __init__(self, model, attn, work):
        cfg, self.w, self.sdpa = model.config, work, attn == "sdpa"
        self.t, self.v = cfg.text_config, cfg.vision_config
        self.lm, self.vis = model.model.language_model, model.model.visual
        self.head = model.lm_head.weight
        self.cos, self.sin = (x[0, None] for x in self.lm.rotary_emb(
            self.head, work.pos[:, None]))
        grid = torch.tensor([[1, work.side, work.side]])
        self.order, self.cu = ref.get_vision_window_index(
            grid, spatial_merge_size=self.v.spatial_merge_size,
            window_size=self.v.window_size, patch_size=self.v.patch_size)
        self.unit = self.v.spatial_merge_size**2
        at = ref.get_vision_position_ids(grid, self.v.spatial_merge_size)
        self.vcos, self.vsin = (
            self.permute(x[None]) for x in self.vis.rotary_pos_emb(
                self.head, at))
        assert (self.cu.diff() == self.cu[1]).all(), "windows must be equal"

    def permute(self, x):
        """[B, patches, d] into window order."""
        B, n, d = x.shape
        x = x.view(B, n // self.unit, self.unit * d)
        return x[:, self.order].view(B, n, d)

    def attend(self, q, k, v, causal):
        """q [B, H, n, hd], k and v [B, kv, s, hd]."""
        if self.sdpa:
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])
        B, H, n, hd = q.shape
        s, kv = k.shape[2], k.shape[1]
        q = q.reshape(B, kv, H // kv * n, hd)
        a = (q @ k.transpose(2, 3)) * hd**-0.5
        if causal:
            mask = torch.full((n, s), -math.inf).triu(1)
            a = (a.view(B, H, n, s) + mask).view(B, kv, -1, s)
        return (a.softmax(-1) @ v).view(B, H, n, hd)

    @staticmethod
    def norm(x, m):
        return F.rms_norm(x, m.weight.shape, m.weight, m.variance_epsilon)

    @staticmethod
    def mlp(x, m):
        return m.down_proj(F.silu(m.gate_proj(x)) * m.up_proj(x))

    @staticmethod
    def rotate(x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def vision(self, pixels):
        B, n, _ = pixels.shape
        x = pixels @ self.vis.patch_embed.proj.weight.flatten(1).T
        x, H = self.permute(x), self.v.num_heads
        cos, sin = self.vcos[:, :, None], self.vsin[:, :, None]
        for i, b in enumerate(self.vis.blocks):
            seg = n if i in self.v.fullatt_block_indexes else int(self.cu[1])
            q, k, v = b.attn.qkv(self.norm(x, b.norm1)).view(
                B, n, 3, H, -1).unbind(2)
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            q, k, v = (t.reshape(-1, seg, H, t.shape[-1]).transpose(1, 2)
                       for t in (q, k, v))
            o = self.attend(q, k, v, False).transpose(1, 2)
            x = x + b.attn.proj(o.reshape(B, n, -1))
            x = x + self.mlp(self.norm(x, b.norm2), b.mlp)
        m = self.vis.merger
        x = m.mlp(self.norm(x, m.ln_q).view(B, n // self.unit, -1))
        return x[:, self.order.argsort()]

    def decode(self, x, at, cache):
        B, n, _ = x.shape
        cos, sin = (c[:, None, at:at + n] for c in (self.cos, self.sin))
        hd = self.t.hidden_size // self.t.num_attention_heads
        for i, l in enumerate(self.lm.layers):
            h, s = self.norm(x, l.input_layernorm), l.self_attn
            q, k, v = (p(h).view(B, n, -1, hd).transpose(1, 2)
                       for p in (s.q_proj, s.k_proj, s.v_proj))
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            if cache is not None:
                for c, new in zip(cache[i], (k, v)):
                    c[:, :, at:at + n] = new
                k, v = (c[:, :, :at + n] for c in cache[i])
            o = self.attend(q, k, v, n > 1).transpose(1, 2)
            x = x + s.o_proj(o.reshape(B, n, -1))
            x = x + self.mlp(self.norm(x, l.post_attention_layernorm), l.mlp)
        return x

    def embed(self, ids, pixels):
        x = self.lm.embed_tokens(ids)
        a, b = self.w.first, self.w.first + self.w.units
        return torch.cat((x[:, :a], self.vision(pixels), x[:, b:]), 1)

    def out(self, x):
        return self.norm(x, self.lm.norm) @ self.head.T

    def prefill(self, ids, pixels, repeat, room):
        B, n = ids.shape
        kv = self.t.num_key_value_heads
        hd = self.t.hidden_size // self.t.num_attention_heads
        self.cache = [[torch.zeros(B, kv, n + room, hd) for _ in range(2)]
                      for _ in self.lm.layers]
        x = self.decode(self.embed(ids, pixels), 0, self.cache)
        if repeat > 1:
            self.cache = [[c.repeat_interleave(repeat, 0) for c in pair]
                          for pair in self.cache]
        return self.out(x[:, -1])

    def step(self, ids, at):
        return self.out(self.decode(self.lm.embed_tokens(ids), at,
                                    self.cache)[:, -1])

    def logits(self, ids, pixels, keep):
        return self.out(self.decode(self.embed(ids, pixels), 0,
                                    None)[:, -keep:])


# ---- rollout --------------------------------------------------------------

@torch.no_grad() if SKIP is None else (lambda f: f)
def rollout(net, work, prompts, shared, eos):
    """All prompts x G, `prompts` of them at a time; tokens sampled."""
    tokens = 0
    for at in range(0, len(work.prompt), prompts):
        ids, px = work.prompt[at:at + prompts], work.pixels[at:at + prompts]
        if not shared:                  # as generate() expands its inputs
            ids = ids.repeat_interleave(work.G, 0)
            px = px.repeat_interleave(work.G, 0)
        row = net.prefill(ids, px, work.G if shared else 1, work.max_new)
        if shared:
            row = row.repeat_interleave(work.G, 0)
        alive = torch.ones(len(row), dtype=torch.bool)
        for j in range(work.max_new):
            logp = row.log_softmax(-1)
            new = torch.multinomial(logp.exp(), 1)
            logp.gather(1, new)         # what a trainer records
            tokens += int(alive.sum())
            alive &= ~torch.isin(new[:, 0], eos)
            if j + 1 == work.max_new or not alive.any():
                break
            row = net.step(new, ids.shape[1] + j)
    return tokens


# ---- update ---------------------------------------------------------------

def update(net, work, opt, micro, mini):
    """GRPO's clipped surrogate over all samples; returns their number."""
    n = len(work.response)
    per = n // mini
    for start in range(0, n, per):
        opt.zero_grad(set_to_none=True)
        for at in range(start, start + per, micro):
            backward(net, work, slice(at, min(at + micro, start + per)),
                     per * work.R)
        torch.nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], 1.0)
        opt.step()
    return n


def backward(net, work, part, tokens):
    idx = torch.arange(part.start, part.stop) // work.G
    resp, adv = work.response[part], work.adv[part, None]
    ids = torch.cat([work.prompt[idx], resp], 1)
    logits = net.logits(ids, work.pixels[idx], work.R + 1)[:, :-1]
    logp = logits.log_softmax(-1).gather(2, resp[..., None])[..., 0]
    ratio = (logp - logp.detach()).exp()
    loss = -torch.minimum(ratio * adv, ratio.clamp(0.8, 1.2) * adv)
    (loss.sum() / tokens).backward()


# ---- measuring ------------------------------------------------------------

def clock():
    """One thread's own time: what else runs on the machine counts less."""
    return (time.process_time() if torch.get_num_threads() == 1
            else time.perf_counter())


def rate(fn, seconds):
    """The best of the runs that fit into the time, at least one."""
    best, end = 0, clock() + seconds
    while True:
        t = clock()
        n = fn()
        now = clock()
        best = max(best, n / (now - t))
        if now > end:
            return best


def rollout_runs(net, work, a, eos):
    """(what, function) of every way that is worth a try."""
    ways = [(max(1, a.prompts // k), True) for k in (1, 2, 4)]
    for p, shared in ways + [(max(1, a.prompts // 4), False)]:
        yield (dict(what="rollout", batch=p * a.samples,
                    shared_prefill=shared),
               lambda p=p, shared=shared: rollout(net, work, p, shared, eos))


def update_runs(net, model, work, a):
    keep = {k: v.clone() for k, v in model.state_dict().items()}
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for micro in (16, 32, 64, 128):
        if micro > max(16, len(work.response) // a.mini_batches):
            continue

        yield (dict(what="update", batch=micro),
               lambda micro=micro: update(net, work, opt, micro,
                                          a.mini_batches))
    model.load_state_dict(keep)


def screen(runs, **about):
    """Each once, the first warmed up; winners are measured again later."""
    out = []
    for what, fn in runs:
        if not out:
            fn()
        what = dict(what, **about, rate=rate(fn, 0))
        out.append((what, fn))
        print(what, file=sys.stderr)
    return out


def best(tried, what, seconds):
    """The best three of the screening, given more time."""
    tried = sorted((t for t in tried if t[0]["what"] == what),
                   key=lambda t: -t[0]["rate"])[:3]
    for about, fn in tried:
        about["rate"] = round(max(about["rate"], rate(fn, seconds)), 1)
    return max((t[0] for t in tried), key=lambda r: r["rate"], default=None)


@torch.no_grad() if SKIP is None else (lambda f: f)
def check(nets, work):
    """All of them compute the same, uncached and cached."""
    ids = torch.cat([work.prompt[:4], work.response[:4]], 1)
    P, want = work.prompt.shape[1], None
    for kind, attn, net in nets:
        full = net.logits(ids, work.pixels[:4], work.R + 1)
        rows = [net.prefill(ids[:, :P], work.pixels[:4], 1, work.R)]
        rows += [net.step(ids[:, P + j:P + j + 1], P + j)
                 for j in range(work.R)]
        want = full if want is None else want
        for got in (full, torch.stack(rows, 1)):
            err = float((got - want).abs().max() / want.abs().max())
            if not err < 1e-4:
                sys.exit(f"peer_torch: {kind.__name__} {attn} is wrong by "
                         f"{err:.1e}")


def end_tokens(ckpt, cfg):
    path = os.path.join(ckpt, "generation_config.json")
    eos = cfg.text_config.eos_token_id
    if os.path.exists(path):
        with open(path) as f:
            eos = json.load(f).get("eos_token_id", eos)
    return torch.tensor(eos if isinstance(eos, list) else [eos or -1])


def main():
    a = arguments()
    if SKIP:
        print(json.dumps(dict(skipped=SKIP)))
        return 0
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    ref.Qwen2_5_VLVisionAttention.forward = batched_vision
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        a.ckpt, dtype=torch.float32).eval()
    work, eos = Work(model.config, a), end_tokens(a.ckpt, model.config)
    nets = [(kind, attn, kind(model, attn, work))
            for kind in (HF, Plain) for attn in ("eager", "sdpa")]
    check(nets, work)
    tried = []
    for kind, attn, net in nets:
        about = dict(code=kind.__name__.lower(), attn_implementation=attn)
        if a.only != "update":
            tried += screen(rollout_runs(net, work, a, eos), **about)
        if a.only != "rollout":
            tried += screen(update_runs(net, model, work, a), **about)
    ro, up = (best(tried, w, a.seconds) for w in ("rollout", "update"))
    print(json.dumps(dict(
        rollout_tokens_per_s=ro and ro["rate"],
        update_samples_per_s=up and up["rate"],
        attn_implementation="/".join(dict.fromkeys(
            r["attn_implementation"] for r in (ro, up) if r)),
        threads=a.threads, torch=torch.__version__,
        transformers=transformers.__version__, rollout=ro, update=up,
        shape=dict(prompts=a.prompts, samples=a.samples, size=a.size,
                   prompt_tokens=work.prompt.shape[1], max_new=a.max_new,
                   response=a.response, mini_batches=a.mini_batches))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
