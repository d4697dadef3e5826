#!/usr/bin/env python3
"""Float64 reference values for lib/rl and lib/eval/stats: writes rl.json.

Needs PyTorch (autograd in float64); only for people who regenerate the file:

    python3 tests/golden/make_rl.py >tests/golden/rl.json

Every input is a float32 number, so that C reads the same values. Gradients
come from autograd through the plain definitions; none of the formulas that the
C code uses for them is written here.
"""
import json
import math
import sys

import torch

torch.set_default_dtype(torch.float64)
gen = torch.Generator().manual_seed(7)


def randn(*shape, scale=1.0):
    x = torch.randn(*shape, generator=gen) * scale
    return x.to(torch.float32).to(torch.float64)


def lists(**kw):
    return {k: v.detach().tolist() if torch.is_tensor(v) else v
            for k, v in kw.items()}


def xlogx(x, y):
    """x ln(x/y), 0 where x is 0."""
    return torch.where(x > 0, x * torch.log(torch.where(x > 0, x / y, 1.0)), 0.0)


def attention(H, S, scale, advantage):
    """softmax per head -> head mean -> drop self -> renormalise -> JSD."""
    s = randn(H, S + 1, scale=scale).requires_grad_()
    q = torch.softmax(randn(S, scale=scale), 0)
    q = q.to(torch.float32).to(torch.float64)
    a = torch.softmax(s, 1)
    alpha = a.mean(0)
    p = alpha[:S] / alpha[:S].sum()
    m = (p + q) / 2
    jsd = (xlogx(p, m).sum() + xlogx(q, m).sum()) / 2
    (advantage * jsd).backward()
    return lists(H=H, S=S, s=s, q=q, p=p, jsd=jsd, advantage=advantage,
                 ds=s.grad)


def grpo(T, advantage, low, high, beta):
    old = -torch.rand(T, generator=gen).to(torch.float32).to(torch.float64) * 4
    lp = (old + randn(T, scale=0.3)).to(torch.float32).to(torch.float64)
    ref = (old + randn(T, scale=0.3)).to(torch.float32).to(torch.float64)
    lp.requires_grad_()
    ratio = torch.exp(lp - old)
    surrogate = torch.minimum(ratio * advantage,
                              torch.clamp(ratio, 1 - low, 1 + high) * advantage)
    kl = torch.exp(ref - lp) - (ref - lp) - 1
    loss = (-surrogate + beta * kl).mean()
    loss.backward()
    return lists(T=T, logp=lp, logp_old=old, logp_ref=ref, advantage=advantage,
                 low=low, high=high, beta=beta, loss=loss, dlogp=lp.grad,
                 surrogate=surrogate.sum(), kl=kl.sum())


def distill(V):
    z = randn(V, scale=2).requires_grad_()
    logq = torch.log_softmax(randn(V, scale=2), 0)
    logp = torch.log_softmax(z, 0)
    kl = (logp.exp() * (logp - logq)).sum()
    kl.backward()
    return lists(V=V, logp=logp, logq=logq, kl=kl, dlogits=z.grad)


def advantages(scale, groups):
    out = []
    every = torch.tensor(sum(groups, []))
    for g in groups:
        r = torch.tensor(g)
        a = r - r.mean()
        if scale == "group":
            a = a / (r.std() + 1e-4)
        elif scale == "batch":
            a = a / (every.std() + 1e-4)
        out += a.tolist()
    return dict(scale=scale, groups=groups, advantage=out)


def clustered(n, k):
    """Mean, CR1 cluster-robust deviation, by regression on a constant:
    (X'X)^-1 (sum_c X_c' u_c u_c' X_c) (X'X)^-1 G/(G-1)."""
    x = (torch.rand(n, generator=gen) < 0.6).to(torch.float64)
    c = torch.randint(k, (n,), generator=gen)
    X = torch.ones(n, 1)
    b = torch.linalg.solve(X.T @ X, X.T @ x)
    u = x - X @ b
    meat = torch.zeros(1, 1)
    used = sorted(set(c.tolist()))
    for j in used:
        v = X[c == j].T @ u[c == j]
        meat += torch.outer(v, v)
    bread = torch.linalg.inv(X.T @ X)
    G = len(used)
    var = (bread @ meat @ bread)[0, 0] * G / (G - 1)
    return lists(x=x, cluster=c, mean=b[0], se=var.sqrt(), clusters=G,
                 t=t_quantile(0.975, G - 1))


def t_quantile(prob, df):
    """By integrating the density (Simpson) and bisecting."""
    const = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
                     ) / math.sqrt(df * math.pi)

    def cdf(t, n=4000):
        h = t / n
        f = [const * (1 + (i * h) ** 2 / df) ** (-(df + 1) / 2)
             for i in range(n + 1)]
        return 0.5 + h / 3 * (f[0] + f[-1] + 4 * sum(f[1:-1:2])
                              + 2 * sum(f[2:-1:2]))

    lo, hi = 0.0, 100.0
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if cdf(mid) < prob else (lo, mid)
    return lo


def wilson(right, n):
    """The two roots of (p - r)^2 = z^2 p (1 - p) / n, by bisection."""
    z = 1.959963984540054
    r = right / n

    def f(p):
        return (p - r) ** 2 - z * z * p * (1 - p) / n

    def root(lo, hi):  # f(lo) >= 0 >= f(hi)
        for _ in range(200):
            mid = (lo + hi) / 2
            lo, hi = (mid, hi) if f(mid) > 0 else (lo, mid)
        return lo

    return dict(right=right, n=n, lo=root(0.0, r) if right else 0.0,
                hi=root(1.0, r) if right < n else 1.0)


json.dump({
    "attention": [attention(1, 7, 1, 1.0), attention(4, 7, 1, -0.75),
                  attention(4, 40, 3, 2.5), attention(3, 1, 1, 1.0)],
    "grpo": [grpo(9, 1.25, 0.2, 0.2, 0.0), grpo(9, -0.5, 0.2, 0.28, 0.04),
             grpo(9, 0.8, 0.1, 0.3, 0.5), grpo(1, -1.0, 0.2, 0.2, 0.04)],
    "distill": [distill(11), distill(300)],
    "advantage": [advantages(s, [[1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
                                 [0.25, 1.0, 0.5], [0.0, 1.0]])
                  for s in ("group", "batch", "none")],
    "clustered": [clustered(60, 8), clustered(200, 41), clustered(30, 2)],
    "t": [dict(df=d, t=t_quantile(0.975, d)) for d in (1, 2, 3, 10, 29, 200, 201, 5000)],
    "wilson": [wilson(1, 2), wilson(7, 10), wilson(290, 512), wilson(0, 20),
               wilson(20, 20)],
}, sys.stdout, indent=None)
print()
