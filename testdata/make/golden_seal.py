#!/usr/bin/env python3
"""Golden values of the comparison of a model with a seal: ../golden/seal.json.

    pip install numpy
    python golden_seal.py

From docs/format-seal.md alone: the codes of each position, the least KLD of all probabilities that they allow, and
what the drawn tokens and the full rows say of the gap. Logits and probabilities are long double.
"""
import json
import os

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "seal.json")
MASK = (1 << 64) - 1
VOCAB, TOP_K, MIN_P, COUNT, FULL = 300, 24, 0.004, 100, 20
HALF = 0.5 + 2.0**-20
L = np.longdouble


class Rows:
    """Rows of logits from Knuth's MMIX generator; the test makes the same. All are exact in float32."""

    def __init__(self, seed):
        self.state = seed

    def next(self, bits):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return self.state >> (64 - bits)

    def pair(self, vocab, shift):
        base, quant = [], []
        for _ in range(vocab):
            x = self.next(23)
            x = x * x * 3 >> 25
            base.append(x)
            quant.append(x + (self.next(20) >> shift))
        return np.array(base, L) / (1 << 19), np.array(quant, L) / (1 << 19)


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def least_kld(low, high, q):
    """The least Σ p ln(p/q) with low <= p <= high and the sum 1: p is q scaled and cut, by bisection of the scale."""
    below, above = L(-800), L(800)
    for _ in range(200):
        x = (below + above) / 2
        p = np.clip(q * np.exp(x), low, high)
        if p.sum() < 1:
            below = x
        else:
            above = x
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def split_mix(i):
    z = i * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def has_row(i):
    j = i * FULL // COUNT
    begin, end = -(-j * COUNT // FULL), -(-(j + 1) * COUNT // FULL)
    return i - begin == split_mix(j + 1) % (end - begin)


rows = Rows(1)
positions, bounds, klds, base_nll, quant_nll = [], [], [], [], []
for i in range(COUNT):
    base, quant = rows.pair(VOCAB, i % 7)
    token = (i + 1) * 37 % VOCAB
    lp, lq = log_softmax(base), log_softmax(quant)
    p, q = np.exp(lp), np.exp(lq)
    order = np.argsort(-base, kind="stable")[:TOP_K]
    top = [t for rank, t in enumerate(order) if rank < 5 or p[t] >= MIN_P]
    rest = np.setdiff1d(np.arange(VOCAB), top)
    codes = np.minimum(65535, np.rint(p[top] * 65536))
    tail = np.rint(-np.log(p[rest].sum()) * 256)
    reached = np.cumsum(p[rest]) > (split_mix(2**32 + i) >> 11) / 2**53 * p[rest].sum()
    drawn = rest[np.argmax(reached)]
    drawn_code = np.rint(-lp[drawn] * 256)
    low = np.append(np.maximum(0, (codes - HALF) / 65536), np.exp(-(tail + HALF) / 256))
    high = np.append((codes + HALF) / 65536, np.exp(-(tail - HALF) / 256))
    bound = max(0.0, least_kld(low, high, np.append(q[top], q[rest].sum())))
    entry = {"ids": [int(t) for t in top], "codes": [int(c) for c in codes], "tail": int(tail), "drawn": [int(drawn), int(drawn_code)], "bound": bound}
    bounds.append(bound)
    base_nll.append(float(np.float32(-lp[token])))
    quant_nll.append(float(-lq[token]))
    x = -drawn_code / 256 - lq[drawn] + tail / 256 + np.log(q[rest].sum())
    ratio = -tail / 256 - np.log(q[rest].sum()) + x + np.exp(-x) - 1
    if has_row(i):
        row = np.exp(-np.rint(-lp * 8) / 8)[rest]
        spread = row / row.sum()  # over the tail
        ratio = -tail / 256 + (spread * (np.log(spread) - lq[rest])).sum() - 1 / 8**2 / 24
    # The least of T·(x + e^-x - 1) on a grid over the ranges of the two codes: convex in x, 0 at 0, rising with T.
    x = np.linspace(x - 2 * HALF / 256, x + 2 * HALF / 256, 20001)
    entry["beyond"] = float(np.exp(-(tail + HALF) / 256) * (0 if x[0] <= 0 <= x[-1] else (x + np.exp(-x) - 1).min()))
    entry["full"] = has_row(i)
    total = np.append(codes / 65536, np.exp(-tail / 256))
    kld = (total[:-1] * (np.log(total[:-1]) - lq[top])).sum() + total[-1] * ratio
    entry["kld"] = max(0.0, float(kld / total.sum() - np.log(total.sum())))
    klds.append(entry["kld"])
    positions.append(entry)

b, t = np.array(bounds), np.array(klds)
assert sum(e["full"] for e in positions) == FULL
mean, kld = b.mean(), t.mean()
kld_se = np.std(t, ddof=1) / np.sqrt(COUNT)
share = mean / kld
share_se = np.std(b - share * t, ddof=1) / np.sqrt(COUNT) / kld
beyond = np.array([e["beyond"] for e in positions])
least = mean + max(0, max((np.log1p(s * beyond).sum() - np.log(21e6)) / (s * COUNT) for s in 2.0 ** np.arange(-6, 15)))
with open(OUT, "w") as f:
    json.dump({
        "positions": positions, "bound": mean, "share": share, "share_se": share_se, "kld": kld, "kld_se": kld_se, "least": least,
        "ppl_base": float(np.exp(np.mean(base_nll))), "ppl": float(np.exp(np.mean(quant_nll))),
    }, f, separators=(",", ":"))
    f.write("\n")
