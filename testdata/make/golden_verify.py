#!/usr/bin/env python3
"""Golden values of the comparison of two models' logits and its statistics: ../golden/verify.json.

    pip install numpy scipy
    python golden_verify.py

Probabilities are computed in long double (x86: 64 bits of mantissa), statistics by numpy and scipy in float64.
"""
import json
import math
import os

import numpy as np
import scipy
from scipy import stats

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "verify.json")
MASK = (1 << 64) - 1


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
            x = x * x * 3 >> 25  # few large logits, 0 to 12 after scaling
            base.append(x)
            quant.append(x + (self.next(20) >> shift))
        return np.array(base, np.float32) / np.float32(1 << 19), np.array(quant, np.float32) / np.float32(1 << 19)


def compare(base, quant, token):
    lb, lq = (x - x.max() - np.log(np.exp(x - x.max()).sum()) for x in (base.astype(np.longdouble), quant.astype(np.longdouble)))
    top = [np.argsort(-x, kind="stable")[:5] for x in (base, quant)]
    return {
        "token": token,
        "base": float(-lb[token]),
        "quant": float(-lq[token]),
        "kld": float((np.exp(lb) * (lb - lq)).sum()),
        "same_top": bool(top[0][0] == top[1][0]),
        "top5": len(set(top[0]) & set(top[1])),
        "delta_p": float(np.exp(lq[token]) - np.exp(lb[token])),
    }


def estimate(value, se, low, high):
    return {"value": value, "se": se, "low": low, "high": high}


def mean(x):
    """Mean with Johnson's interval for skewed distributions, and the terms of order 1/n."""
    z, n = stats.norm.ppf(0.975), len(x)
    g, k = stats.skew(x), stats.kurtosis(x)
    se, shift = stats.sem(x), g * (1 + 2 * z**2) / (6 * math.sqrt(n))
    return estimate(np.mean(x), se, np.mean(x) + se * (shift - wide(z, g, k, n)), np.mean(x) + se * (shift + wide(z, g, k, n)))


def wide(z, g, k, n):
    """The z for which |T + a·skewness/√n| < z has the wanted probability to order 1/n, T being Student's statistic.

    The terms are those of the shift squared, of the shift in the first term of T's Edgeworth expansion, of its second
    term (Hall 1983), and of the covariance of T and the estimated skewness.
    """
    a = (1 + 2 * z**2) / 6
    shifted = -(a * g) ** 2 * z / 2
    first = -a * g**2 * (3 * z - 2 * z**3) / 6
    second = z * (k * (z**2 - 3) / 12 - g**2 * (z**4 + 2 * z**2 - 3) / 18 - (z**2 + 1) / 4)
    estimated = -z * a * (k - 1.5 * g**2)
    return z + max(0, -(shifted + first + second + estimated)) / n


def exponential(x):
    m = mean(x)
    v = math.exp(m["value"])
    return estimate(v, v * m["se"], math.exp(m["low"]), math.exp(m["high"]))


def quantile(x, q):
    """Interval of order statistics, from the binomial distribution."""
    x, n = np.sort(x), len(x)
    low = int(stats.binom.ppf(0.025, n, q))  # P(B < low) ≤ 0.025
    high = n + 1 - int(stats.binom.ppf(0.025, n, 1 - q))
    lo, hi = x[low - 1] if low > 0 else None, x[high - 1] if high <= n else None
    se = None if lo is None or hi is None else (hi - lo) / (2 * stats.norm.ppf(0.975))
    return estimate(np.quantile(x, q), se, lo, hi)


def share(x, trials):
    p = np.mean(x)
    if trials > 1:  # an interval of our own
        return estimate(p, stats.sem(x), None, None)
    wilson = stats.binomtest(int(x.sum()), len(x)).proportion_ci(method="wilson")
    return estimate(p, stats.sem(x), float(wilson.low), float(wilson.high))


def summarize(ps):
    base, quant, kld, dp = (np.array([p[k] for p in ps]) for k in ("base", "quant", "kld", "delta_p"))
    same, top5 = np.array([float(p["same_top"]) for p in ps]), np.array([p["top5"] / 5 for p in ps])
    square = mean(dp * dp)
    rms = math.sqrt(square["value"])
    s = {
        "count": len(ps),
        "ppl_base": exponential(base), "ppl": exponential(quant), "ppl_ratio": exponential(quant - base), "ln_ppl_ratio": mean(quant - base),
        "kld": mean(kld), "kld_median": quantile(kld, 0.5), "kld_p90": quantile(kld, 0.9), "kld_p95": quantile(kld, 0.95),
        "kld_p99": quantile(kld, 0.99), "kld_p99_9": quantile(kld, 0.999), "kld_max": kld.max(),
        "same_top": share(same, 1), "top5": share(top5, 5),
        "delta_p": mean(dp),
        "rms_delta_p": estimate(rms, square["se"] / (2 * rms), math.sqrt(max(0, square["low"])), math.sqrt(square["high"])),
        "delta_p_min": dp.min(), "delta_p_max": dp.max(), "delta_p_median": quantile(dp, 0.5),
    }
    for q in (1, 5, 25, 75, 95, 99):
        s[f"delta_p_p{q}"] = quantile(dp, q / 100)
    return s


def main():
    rows = Rows(1)
    positions = []
    for i in range(500):
        base, quant = rows.pair(300, i % 7)
        positions.append(compare(base, quant, i * 37 % 300))
    large = compare(*rows.pair(49152, 4), 12345)
    shown = positions[:20]
    golden = {
        "about": f"500 pairs of rows of 300 logits, then one of 49152: the first 20 positions, the large one, the summary of the 500 "
                 f"(null: not a number, or not computed here). numpy {np.__version__}, scipy {scipy.__version__}.",
        "positions": shown,
        "large": large,
        "summary": summarize(positions),
    }
    with open(OUT, "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


main()
