#!/usr/bin/env python3
"""Golden logits of small random Phi-3 models of every variant: ../golden/variants.json.

    python golden_variants.py

The weights are not stored: a formula makes them, here and in ../variants.go, to the bit. The logits are those of
transformers in float32. They are checked against a forward pass in NumPy in float64, and the models and sequences are
checked to tell that forward pass from ones with the usual mistakes.
"""
import base64
import hashlib
import json
import math
import os
import tempfile
from importlib.metadata import version

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Phi3ForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "variants.json")

# Weights. A type with b significant bits gets integers of b bits times a power of two, thus holds every value exactly.
BITS = {"F32": 24, "F16": 11, "BF16": 8}
TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def words(key, n):
    """n outputs of splitmix64, seeded with the 64-bit FNV-1a hash of key."""
    seed = 0xCBF29CE484222325
    for c in key.encode():
        seed = (seed ^ c) * 0x100000001B3 % 2**64
    z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def scale(n, up):
    """2**up over about the square root of n, the length of a row: 2**(up - s) for the largest s with 4**s <= 2*n."""
    s = 0
    while 4 ** (s + 1) <= 2 * n:
        s += 1
    return 2.0 ** (up - s)


def matrix(key, dtype, shape, up):
    b = BITS[dtype]
    k = (words(key, math.prod(shape)) >> np.uint64(64 - b)).astype(np.int64) - 2 ** (b - 1)
    return (k * scale(shape[1], up) / 2 ** (b - 1)).astype(np.float32).reshape(shape)


def norm(key, dtype, n):
    """Numbers from 1 up to 2."""
    b = BITS[dtype]
    return (1 + (words(key, n) >> np.uint64(65 - b)).astype(np.int64) / 2 ** (b - 1)).astype(np.float32)


def weights(name, dtype, c):
    """The tensors in file order."""
    d, f, v, head = c["hidden_size"], c["intermediate_size"], c["vocab_size"], c["hidden_size"] // c["num_attention_heads"]
    out = {}

    def m(tensor, shape, up):
        out[tensor] = matrix(f"{name}/{tensor}", dtype, shape, up)

    def n(tensor):
        out[tensor] = norm(f"{name}/{tensor}", dtype, d)

    m("model.embed_tokens.weight", (v, d), 2)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        n(layer + "input_layernorm.weight")
        m(layer + "self_attn.qkv_proj.weight", (d + 2 * c["num_key_value_heads"] * head, d), 1)
        m(layer + "self_attn.o_proj.weight", (d, d), 0)
        n(layer + "post_attention_layernorm.weight")
        m(layer + "mlp.gate_up_proj.weight", (2 * f, d), 1)
        m(layer + "mlp.down_proj.weight", (d, f), 0)
    n("model.norm.weight")
    if not c["tie_word_embeddings"]:
        m("lm_head.weight", (v, d), 2)
    return out


def config(hidden, heads, kv, inter, vocab, layers=2, context=128, **more):
    c = dict(
        architectures=["Phi3ForCausalLM"], model_type="phi3", vocab_size=vocab, hidden_size=hidden, intermediate_size=inter,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, hidden_act="silu",
        max_position_embeddings=context, original_max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=10000.0,
        rope_scaling=None, sliding_window=None, tie_word_embeddings=False, attention_bias=False, bos_token_id=1, eos_token_id=2,
        pad_token_id=2)
    c.update(more)
    return {k: v for k, v in c.items() if v != "absent"}


def factors(pairs):
    """Short and long factors, both visible, the long ones steeper."""
    return dict(short_factor=[round(1 + 0.04 * i, 2) for i in range(pairs)], long_factor=[round(1.1 * 1.17**i, 3) for i in range(pairs)])


# name: checkpoint's type, config.json, lengths of the sequences
SHORT, WINDOW, CROSS = [1, 7, 33], [15, 16, 17, 18, 48], [23, 24, 25, 26, 60]
VARIANTS = {
    "mha": ("F32", config(64, 4, 4, 160, 160), SHORT),
    "gqa": ("F32", config(96, 6, 2, 128, 160, layers=3), SHORT),
    "odd": ("F32", config(72, 4, 2, 88, 131, rms_norm_eps=1e-2), SHORT),  # heads of 18; ε that counts
    "partial": ("F32", config(128, 4, 2, 192, 144, partial_rotary_factor=0.75), SHORT),
    "tied": ("F32", config(80, 5, 1, 96, 144, tie_word_embeddings=True), SHORT),
    "head96": ("F16", config(288, 3, 3, 256, 160), SHORT),
    "head128": ("BF16", config(256, 2, 1, 320, 160, rope_theta=250000.0), SHORT),
    "window": ("F32", config(64, 4, 2, 112, 131, sliding_window=16), WINDOW),
    "longrope_su": ("F32", config(96, 4, 4, 128, 144, original_max_position_embeddings=24, sliding_window=262144,
                                  rope_scaling=dict(type="su", **factors(12))), CROSS),
    "longrope_window": ("F32", config(64, 4, 1, 96, 144, original_max_position_embeddings=24, sliding_window=16,
                                      rope_scaling=dict(type="longrope", **factors(8))), CROSS),
    # As transformers 5 saves it, with a factor of its own.
    "longrope_v5": ("F32", config(128, 4, 2, 96, 144, original_max_position_embeddings=24, rope_theta="absent", rope_scaling="absent",
                                  rope_parameters=dict(rope_type="longrope", rope_theta=50000.0, partial_rotary_factor=0.75,
                                                       original_max_position_embeddings=24, attention_factor=1.3, **factors(12))), CROSS),
    # The combination of Phi-4-mini.
    "phi4mini": ("BF16", config(192, 6, 2, 160, 200, original_max_position_embeddings=24, sliding_window=262144, partial_rotary_factor=0.75,
                                tie_word_embeddings=True, rope_scaling=dict(type="longrope", **factors(12))), CROSS),
}


def forward(w, c, tokens, mistake=None):
    """Logits [len(tokens), vocab_size] in float64. mistake names one to make."""
    w = {k: v.astype(np.float64) for k, v in w.items()}
    n, heads, kv = len(tokens), c["num_attention_heads"], c["num_key_value_heads"]
    window = c["sliding_window"] or n
    hd, f = c["hidden_size"] // heads, c["intermediate_size"]
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    theta = rope.get("rope_theta") or c["rope_theta"]
    rd = int(hd * (rope.get("partial_rotary_factor") or c.get("partial_rotary_factor", 1)))
    original = c["original_max_position_embeddings"]
    window += {"window-1": -1, "window+1": 1}.get(mistake, 0)
    original += {"original-1": -1, "original+1": 1}.get(mistake, 0)
    frequency, factor = theta ** (-np.arange(0, rd, 2) / (hd if mistake == "theta by head" else rd)), 1.0
    if "long_factor" in rope:
        frequency /= np.array(rope["long_factor" if n > original else "short_factor"])
        s = c["max_position_embeddings"] / c["original_max_position_embeddings"]
        factor = rope.get("attention_factor", math.sqrt(1 + math.log(s) / math.log(c["original_max_position_embeddings"])))
        if mistake == "factor 1" or mistake == "factor of long only" and n <= original:
            factor = 1.0
    angle = np.arange(n)[:, None, None] * frequency
    cos, sin = np.cos(angle) * factor, np.sin(angle) * factor

    def rms(x, weight):
        return weight * x / np.sqrt((x * x).mean(-1, keepdims=True) + (0 if mistake == "no epsilon" else c["rms_norm_eps"]))

    def turn(x):  # [n, heads, head_dim]
        out = x.copy()
        a, b = (slice(0, rd, 2), slice(1, rd, 2)) if mistake == "interleaved" else (slice(0, rd // 2), slice(rd // 2, rd))
        if mistake == "halves of head":
            a, b = slice(0, rd // 2), slice(hd // 2, hd // 2 + rd // 2)
        out[..., a] = x[..., a] * cos - x[..., b] * sin
        out[..., b] = x[..., b] * cos + x[..., a] * sin
        return out

    x = w["model.embed_tokens.weight"][tokens]
    back = np.arange(n)[:, None] - np.arange(n)
    visible = (back >= 0) & (back < window)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        qkv = rms(x, w[layer + "input_layernorm.weight"]) @ w[layer + "self_attn.qkv_proj.weight"].T
        q, k, v = np.split(qkv.reshape(n, -1, hd), [heads, heads + kv], axis=1)
        q, k = turn(q), turn(k)
        of = np.arange(heads) % kv if mistake == "kv heads" else np.arange(heads) * kv // heads
        score = np.einsum("ihd,jhd->hij", q, k[:, of]) / math.sqrt(rd if mistake == "scale" else hd)
        score = np.where(visible, score, -np.inf)
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", p, v[:, of]).reshape(n, -1) @ w[layer + "self_attn.o_proj.weight"].T
        both = rms(x, w[layer + "post_attention_layernorm.weight"]) @ w[layer + "mlp.gate_up_proj.weight"].T
        gate, up = (both[:, f:], both[:, :f]) if mistake == "gate and up" else (both[:, :f], both[:, f:])
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[layer + "mlp.down_proj.weight"].T
    return rms(x, w["model.norm.weight"]) @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def mistakes(c):
    """Those that this variant can show."""
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    out = ["interleaved", "gate and up"]
    if c["rms_norm_eps"] > 1e-3:
        out += ["no epsilon"]
    if 1 < c["num_key_value_heads"] < c["num_attention_heads"]:
        out += ["kv heads"]
    if (c["sliding_window"] or 1000) < 1000:
        out += ["window-1", "window+1"]
    if "long_factor" in rope:
        out += ["original-1", "original+1", "factor 1", "factor of long only"]
    if "partial_rotary_factor" in c or "partial_rotary_factor" in rope:
        out += ["theta by head", "halves of head", "scale"]
    return out


def nmse(want, got):
    return float(((want - got) ** 2).sum() / (want.astype(np.float64) ** 2).sum())


def positions(n, c):
    """All of a short sequence; of a longer one the first, those around the window's edge, and the last."""
    at = set(range(n)) if n <= 8 else {0, n - 4, n - 3, n - 2, n - 1}
    if n > 40:
        w = min(c["sliding_window"] or n, n)
        at |= {1, n // 2} | {p for p in range(w - 2, w + 3) if p < n}
    return sorted(at)


def variant(name, dtype, c, lengths):
    w = weights(name, dtype, c)
    stored = {k: torch.from_numpy(v).to(TORCH[dtype]) for k, v in w.items()}
    assert all(torch.equal(stored[k].float(), torch.from_numpy(v)) for k, v in w.items())
    sha = hashlib.sha256()
    for t in stored.values():
        sha.update(t.view(torch.uint8).numpy().tobytes())
    with tempfile.TemporaryDirectory() as dir:
        save_file(stored, os.path.join(dir, "model.safetensors"), metadata={"format": "pt"})
        with open(os.path.join(dir, "config.json"), "w") as f:
            # transformers 5 knows the older name, but then misses original_max_position_embeddings, which is not in rope_scaling.
            json.dump(json.loads(json.dumps(c).replace('"su"', '"longrope"')), f)
        model = Phi3ForCausalLM.from_pretrained(dir, dtype=torch.float32, attn_implementation="eager").eval()
    assert model.config._attn_implementation == "eager" and all(p.dtype == torch.float32 for p in model.parameters())
    assert all(torch.equal(p, torch.from_numpy(w[k])) for k, p in model.named_parameters())

    cases, worst, seen, margin = [], 0.0, dict.fromkeys(mistakes(c), 0.0), math.inf
    for n in lengths:
        tokens = (words(f"{name}/tokens/{n}", n) % np.uint64(c["vocab_size"])).astype(np.int64)
        with torch.no_grad():
            y = model(input_ids=torch.from_numpy(tokens)[None], use_cache=False).logits[0].numpy()
        assert y.dtype == np.float32
        worst = max(worst, nmse(y, forward(w, c, tokens)))
        at = positions(n, c)
        for m in seen:
            seen[m] = max(seen[m], nmse(y[at], forward(w, c, tokens, m)[at]))
        top = np.sort(y[at])[:, -2:]
        margin = min(margin, float((top[:, 1] - top[:, 0]).min()))
        cases.append(dict(name=f"length {n}", tokens=tokens.tolist(), positions=at, logits=base64.b64encode(y[at].astype("<f4").tobytes()).decode()))
    print(f"{name}: NumPy within NMSE {worst:.1e}, logits' deviation {y.std():.1f}, least margin {margin:.4f}")
    print("   mistakes:", ", ".join(f"{m} {e:.1e}" for m, e in seen.items()))
    assert worst < 1e-11 and min(seen.values()) > 5e-3
    return dict(name=name, dtype=dtype, sha256=sha.hexdigest(), config=c, cases=cases)


def main():
    torch.set_num_threads(1)
    about = ("random models of the variants of Phi3ForCausalLM. dtype: the checkpoint's; sha256: of its tensors' bytes one after the other, "
             "in order embedding, layers, norm, lm_head; logits: float32 [positions, vocab_size], the output at these positions (0 is the first token) of "
             "one forward pass over tokens, by transformers, float32 arithmetic, CPU, eager attention")
    head = dict(about=about, transformers=version("transformers"), torch=version("torch"))
    text = "{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()) + ',\n"variants": [\n'
    lines = []
    for name, (dtype, c, lengths) in VARIANTS.items():
        v = variant(name, dtype, c, lengths)
        cases = v.pop("cases")
        lines.append(json.dumps(v)[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(x) for x in cases) + "\n]}")
    with open(OUT, "w") as f:
        f.write(text + ",\n".join(lines) + "\n]}\n")
    print("variants.json", os.path.getsize(OUT), "bytes")


if __name__ == "__main__":
    main()
