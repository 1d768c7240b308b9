#!/usr/bin/env python3
"""Golden values of the change of figures from one model to another on the same tokens: ../golden/baseline.json.

    pip install numpy scipy
    python golden_baseline.py
"""
import json
import math
import os

import numpy as np
import scipy
from scipy import stats

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "baseline.json")
MASK = (1 << 64) - 1
N = 2000
Z = stats.norm.ppf(0.975)


def tokens():
    """Positions of the old and of the new model from Knuth's MMIX generator; the test makes the same."""
    state = 7

    def uniform():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        return (state >> 44) / (1 << 20)

    for _ in range(N):
        u, v, w = uniform(), uniform(), uniform()
        mixed = 0.875 * u + 0.125 * v
        old = {"kld": 1 / (1.0625 - u), "quant": 3 * u, "same": w < 0.9}
        now = {"kld": 1.125 / (1.0625 - mixed), "quant": 3 * mixed + 0.0625 * v * v, "same": w < 0.9 - 0.03125 * v or w > 0.99}
        yield old, now


def mean(d):
    """Paired mean with the interval of golden_verify.py."""
    n, a, g, k = len(d), (1 + 2 * Z**2) / 6, stats.skew(d), stats.kurtosis(d)
    se, shift = stats.sem(d), g * a / math.sqrt(n)
    terms = [a * (k - 1.5 * g**2), a**2 * g**2 / 2, a * g**2 * (3 - 2 * Z**2) / 6, g**2 * (Z**4 + 2 * Z**2 - 3) / 18, -k * (Z**2 - 3) / 12, (Z**2 + 1) / 4]
    z = Z + max(0, Z * sum(terms)) / n
    return estimate(d.mean(), se, d.mean() - se * (z - shift), d.mean() + se * (z + shift))


def share(old, now):
    """Agresti and Min's interval for matched pairs: the difference of two proportions of a table with 1/2 more in each cell."""
    def wald(both, gained, lost, neither):
        n = both + gained + lost + neither
        p1, p2 = (both + gained) / n, (both + lost) / n
        variance = (p1 * (1 - p1) + p2 * (1 - p2) - 2 * (both / n - p1 * p2)) / n
        return p1 - p2, math.sqrt(variance)

    table = np.array([(old & now).sum(), (now & ~old).sum(), (old & ~now).sum(), (~old & ~now).sum()], float)
    d, se = wald(*table)
    middle, half = wald(*(table + 0.5))
    return estimate(d, se, middle - Z * half, middle + Z * half)


def quantile(old, now, q):
    def spread(x):
        above = (1 - q) * len(x)
        factor = np.exp(Z * np.sqrt(q / above))
        at = np.interp([len(x) - above / factor + 0.5, len(x) - above * factor + 0.5], np.arange(1, len(x) + 1), np.sort(x))
        return (at[0] - at[1]) / 2

    before, after = np.quantile(old, q), np.quantile(now, q)
    one = ((old > before) != (now > after)).sum() / 2 + 0.25
    correlation = 1 - one / (len(old) * (1 - q) * q)
    a, b = spread(old), spread(now)
    half = math.sqrt(np.array([a, -b]) @ np.array([[1, correlation], [correlation, 1]]) @ np.array([a, -b]))
    d = after - before
    return estimate(d, half / Z, d - half, d + half)


def estimate(value, se, low, high):
    return {"value": float(value), "se": float(se), "low": float(low), "high": float(high)}


def main():
    old, now = zip(*tokens())
    column = lambda rows, k: np.array([r[k] for r in rows])
    golden = {
        "about": f"Changes of figures on {N} tokens. numpy {np.__version__}, scipy {scipy.__version__}.",
        "kld": mean(column(now, "kld") - column(old, "kld")),
        "kld-p99": quantile(column(old, "kld"), column(now, "kld"), 0.99),
        "ln-ppl": mean(column(now, "quant") - column(old, "quant")),
        "top1": share(column(old, "same"), column(now, "same")),
    }
    with open(OUT, "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


main()
