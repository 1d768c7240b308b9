#!/usr/bin/env python3
"""Statistics of the tiny model's activations: ../golden/calib.json, and with llama-imatrix also
../golden/imatrix.{gguf,dat}.

    python golden_calib.py [--llama-imatrix PATH --model tiny-phi3-F32.gguf]
"""
import argparse
import base64
import json
import os
import subprocess
import tempfile

import torch
from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "tiny-phi3")
OUT = os.path.join(HERE, "..", "golden")
CONTEXT, SEQUENCES = 64, 20
NAMES = {"self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}

parser = argparse.ArgumentParser()
parser.add_argument("--llama-imatrix")
parser.add_argument("--model")
args = parser.parse_args()


def b64(x):
    return base64.b64encode(x.numpy().astype("<f4").tobytes()).decode()


torch.set_grad_enabled(False)
tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(MODEL, "tokenizer.json"))
model = Phi3ForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
text = open(os.path.join(HERE, "..", "tiny-phi3-calib.txt"), encoding="utf-8").read()
sequences = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"][: CONTEXT * SEQUENCES]).view(SEQUENCES, CONTEXT)

inputs = {}
for path, module in model.named_modules():
    *prefix, part = path.split(".", 3)
    name = "output.weight" if path == "lm_head" else f"blk.{prefix[2]}.{NAMES[part]}.weight" if part in NAMES else None
    if name:
        module.register_forward_pre_hook(lambda _, a, name=name: inputs.setdefault(name, []).append(a[0].double().flatten(0, 1)))
for s in sequences:
    model(s[None], use_cache=False)

entries = {}
for name, parts in inputs.items():
    x = torch.cat(parts)
    probe = torch.cos(torch.arange(x.shape[1], dtype=torch.float64))
    entries[name] = {"sums": b64((x * x).sum(0)), "probe": b64(x.T @ (x @ probe))}
about = ("Inputs of each linear layer of tiny-phi3 for the first tokens of tiny-phi3-calib.txt, in sequences by themselves, by transformers in "
         "float32. sums: Σx² of each column; probe: (Σ x·xᵀ)·v, v[i] = cos(i). base64 of float32.")
with open(os.path.join(OUT, "calib.json"), "w", encoding="utf-8") as f:
    json.dump({"about": about, "context": CONTEXT, "sequences": SEQUENCES, "entries": entries}, f, indent=1)
    f.write("\n")

if args.llama_imatrix:
    with tempfile.TemporaryDirectory() as tmp:
        part = os.path.join(tmp, "tiny-phi3-calib.txt")
        with open(part, "w", encoding="utf-8") as f:
            f.write(text)
        for form in ("gguf", "dat"):
            out = os.path.join(OUT, "imatrix." + form)
            subprocess.run([args.llama_imatrix, "-m", os.path.abspath(args.model), "-f", os.path.basename(part), "-c", str(CONTEXT), "-b", str(CONTEXT),
                            "--chunks", str(SEQUENCES), "--output-format", form, "-o", os.path.abspath(out), "--no-ppl", "-fa", "off", "-ctk", "f32", "-ctv", "f32"],
                           check=True, cwd=tmp)
