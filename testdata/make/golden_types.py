#!/usr/bin/env python3
"""Writes quant/policy/testdata/llama.txt: the type that llama.cpp gives each tensor, for each file type.

    python golden_types.py OUT [--quantize llama-quantize]

The models have the tensors and the keys of Phi-2 and PhiMoE, narrow, and all values are 0: a dry run does not look at
them. Needs numpy and gguf, and llama-quantize of llama.cpp.
"""
import argparse
import os
import re
import subprocess
import tempfile

import gguf
import numpy as np

TYPES = ("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K "
         "IQ4_NL IQ4_XS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M").split()

# name: architecture, layers, heads, key-value heads, experts, width, feed-forward. Rows of 256 fit all types, rows of
# 32 and 96 those with blocks of 32.
MODELS = {
    "phi2, 8 layers": ("phi2", 8, 4, 4, 0, 256, 512),
    "phi2, 32 layers": ("phi2", 32, 4, 4, 0, 256, 256),
    "phi2, narrow": ("phi2", 24, 2, 2, 0, 32, 96),
    "phimoe, 16 experts": ("phimoe", 8, 8, 2, 16, 256, 256),
    "phimoe, 32 layers": ("phimoe", 32, 4, 2, 4, 32, 32),
    "phimoe, 8 experts": ("phimoe", 8, 8, 2, 8, 256, 512),
    "phimoe, 8 experts, a key for each head": ("phimoe", 17, 4, 4, 8, 256, 256),
    "phimoe, 8 experts, narrow": ("phimoe", 9, 4, 1, 8, 32, 96),
}


def write(path, arch, layers, heads, kv_heads, experts, width, ff):
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(64)
    w.add_embedding_length(width)
    w.add_feed_forward_length(ff)
    w.add_block_count(layers)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_eps(1e-5)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // heads)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)

    def add(name, *shape, bias=False):
        w.add_tensor(name + ".weight", np.zeros(shape, np.float32))
        if bias:
            w.add_tensor(name + ".bias", np.zeros(shape[:1], np.float32))

    kv = width // heads * kv_heads
    add("token_embd", 64, width)
    add("output_norm", width, bias=True)
    add("output", 64, width, bias=True)
    for layer in range(layers):
        blk = f"blk.{layer}."
        add(blk + "attn_norm", width, bias=True)
        add(blk + "attn_q", width, width, bias=True)
        add(blk + "attn_k", kv, width, bias=True)
        add(blk + "attn_v", kv, width, bias=True)
        add(blk + "attn_output", width, width, bias=True)
        if not experts:
            add(blk + "ffn_up", ff, width, bias=True)
            add(blk + "ffn_down", width, ff, bias=True)
            continue
        add(blk + "ffn_norm", width, bias=True)
        add(blk + "ffn_gate_inp", experts, width)
        add(blk + "ffn_gate_exps", experts, ff, width)
        add(blk + "ffn_up_exps", experts, ff, width)
        add(blk + "ffn_down_exps", experts, width, ff)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_imatrix(path):
    """An importance matrix of no tensor of the models: two rules ask only whether there is one."""
    w = gguf.GGUFWriter(path, "none")
    w.add_string("general.type", "imatrix")
    w.add_array("imatrix.datasets", ["none"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 1)
    w.add_tensor("none.weight.in_sum2", np.ones((1, 32), np.float32))
    w.add_tensor("none.weight.counts", np.ones((1, 1), np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


LINE = re.compile(r"^\[ *\d+/ *\d+\] (\S+) .* type = +(\w+), size = .*? MiB(?: -> .* \((\w+)\))?$", re.M)


def types(command):
    """{role: [type of each layer]} of a dry run."""
    p = subprocess.run(command, capture_output=True, text=True)
    found = LINE.findall(p.stdout + p.stderr)
    if p.returncode or not found:
        raise SystemExit(f"{command}: {p.stdout}{p.stderr}")
    roles = {}
    for name, was, became in found:
        layer = re.match(r"blk\.(\d+)\.", name)
        role = re.sub(r"^blk\.\d+\.", "", name)
        roles.setdefault(role, {})[int(layer[1]) if layer else 0] = (became or was).upper()
    return {role: [t for _, t in sorted(of.items())] for role, of in roles.items()}


def text(roles):
    """A line for each sequence of types: from which layer on there is which, and the tensors that have them."""
    lines = {}
    for role in sorted(roles):
        of = roles[role]
        changes = [f"{i}:{t}" for i, t in enumerate(of) if i == 0 or t != of[i - 1]]
        lines.setdefault(" ".join(changes), []).append(role)
    return "".join(f"  {changes} = {' '.join(names)}\n" for changes, names in lines.items())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--quantize", default="llama-quantize")
    a = ap.parse_args()
    out = ""
    with tempfile.TemporaryDirectory() as tmp:
        imatrix = os.path.join(tmp, "imatrix.gguf")
        write_imatrix(imatrix)
        for name, shape in MODELS.items():
            model = os.path.join(tmp, "model.gguf")
            write(model, *shape)
            for typ in TYPES:
                plain = text(types([a.quantize, "--dry-run", model, typ]))
                out += f"{typ}, {name}\n{plain}"
                important = text(types([a.quantize, "--dry-run", "--imatrix", imatrix, model, typ]))
                if important != plain:
                    out += f"{typ}, {name}, imatrix\n{important}"
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(out)


main()
