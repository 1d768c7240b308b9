#!/usr/bin/env python3
"""Write activations.json: activations, LayerNorm and their gradients, computed by PyTorch in float64.

    python make.py

Needs Python 3.11 with torch and transformers as in testdata/make/requirements.txt of this project. All inputs are
float32. dy is the gradient with respect to the result.
"""
import json
import os

import torch
from transformers.activations import ACT2FN

HERE = os.path.dirname(os.path.abspath(__file__))
EDGES = [0, 1e-30, 1e-3, 0.5, 1, 2, 3, 5, 8, 11, 19.75, 20, 20.25, 60, 1e5, 1e18]
torch.manual_seed(1)


def values(count, spread):
    x = torch.tensor([v * s for v in EDGES for s in (1, -1)] + (torch.randn(count) * spread).tolist())
    return x.float().double().requires_grad_()


def case(f, **inputs):
    y = f(*inputs.values())
    dy = torch.randn(len(y)).float().double()
    y.backward(dy)
    c = {k: v.detach().tolist() for k, v in inputs.items()} | {"y": y.tolist(), "dy": dy.tolist()}
    return c | {"d" + k: v.grad.tolist() for k, v in inputs.items() if v.grad is not None}


def gegelu(limit):
    def f(gate, up):
        if limit is not None:
            gate = torch.where(torch.isinf(gate), gate, gate.clamp(max=limit))
            up = torch.where(torch.isinf(up), up, up.clamp(min=-limit, max=limit))
        return gate * torch.sigmoid(1.702 * gate) * (up + 1)

    return f


def shuffled(x):
    return x.detach()[torch.randperm(len(x))].clone().requires_grad_()


def layer_norm(eps):
    return lambda x, w, b: torch.nn.functional.layer_norm(x, (len(x),), w, b, eps)


x = values(32, 3)
moderate = values(64, 8)
moderate = moderate.detach()[moderate.detach().abs() < 100].clone().requires_grad_()
weights = [(torch.randn(72) * s + m).float().double() for s, m in ((3, 5), (1, 0), (1, 0))]
cases = {
    "gelu": case(ACT2FN["gelu_new"], x=x),
    "gegelu": {"limit": 20, **case(gegelu(20), gate=moderate, up=shuffled(moderate))},
    "gegelu_unlimited": case(gegelu(None), gate=moderate.detach().clone().requires_grad_(), up=shuffled(moderate)),
    "layer_norm": {
        "eps": 1e-5,
        **case(layer_norm(1e-5), x=weights[0].requires_grad_(), w=weights[1], b=weights[2]),
    },
}
with open(os.path.join(HERE, "activations.json"), "w") as f:
    lines = [json.dumps(k) + ": " + json.dumps(v, separators=(",", ":")) for k, v in cases.items()]
    f.write("{" + ",\n".join(lines) + "}\n")
