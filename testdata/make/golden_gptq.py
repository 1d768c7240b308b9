#!/usr/bin/env python3
"""Golden values for error feedback: GPTQ as its paper has it, in float64.

The upper Cholesky factor of the damped inverse Hessian, columns in order, each rounded to
the nearest multiple of its block's scale from -8 to 7, its error over the factor's diagonal fed into the
columns after it.

    python3 golden_gptq.py > ../golden/gptq.json
"""

import json

import numpy as np

rng = np.random.default_rng(5)
rows, cols, damp = 6, 96, 0.01
mix = rng.normal(size=(cols, cols)) * np.exp(rng.normal(size=cols))
x = rng.normal(size=(300, cols)) @ mix
h = (x.T @ x).astype(np.float32)
w = (rng.normal(size=(rows, cols)) * 0.05).astype(np.float32)
scale = (np.abs(w.reshape(rows, -1, 32)).max(axis=2) / 8).astype(np.float16).astype(np.float32)

hd = h.astype(np.float64)
hd = hd + damp * np.mean(np.diag(hd)) * np.eye(cols)
u = np.linalg.cholesky(np.linalg.inv(hd)).T
moved = w.astype(np.float64)
codes = np.zeros((rows, cols), int)
values = np.zeros((rows, cols))
for j in range(cols):
    s = scale[:, j // 32]
    level = np.clip(np.rint(moved[:, j] / s), -8, 7)
    codes[:, j] = level + 8
    values[:, j] = s * level
    error = (moved[:, j] - values[:, j]) / u[j, j]
    moved[:, j:] -= np.outer(error, u[j, j:])
e = w - values
print(json.dumps({
    "Rows": rows, "Cols": cols, "Damp": damp,
    "W": [float(v) for v in w.ravel()], "H": [float(v) for v in h.ravel()],
    "Scale": [float(v) for v in scale.ravel()], "Codes": codes.ravel().tolist(),
    "Error": float(np.trace(e @ h.astype(np.float64) @ e.T)),
}, separators=(",", ":")))
