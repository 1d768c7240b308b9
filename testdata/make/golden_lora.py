"""Writes ../golden/lora.json: what peft's merge_and_unload makes of adapters of the tiny model, in float32. Their
matrices follow a formula, which internal/source/merged_test.go has too, so that no adapter is stored. Needs torch,
transformers 5.24, peft 0.21 and safetensors.

    python golden_lora.py ../tiny-phi3
"""

import json
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ALL = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
CASES = {
    "plain": dict(r=4, lora_alpha=6, target_modules=ALL),
    "rslora, patterns": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["qkv_proj", "down_proj"],
                             rank_pattern={"down_proj": 2}, alpha_pattern={"layers.1.self_attn.qkv_proj": 9}),
    "dora": dict(r=4, lora_alpha=8, use_dora=True, target_modules=["o_proj", "gate_up_proj"]),
    "embedding": dict(r=2, lora_alpha=4, target_modules=["embed_tokens", "lm_head"]),
    "saved beside": dict(r=2, lora_alpha=4, target_modules=["o_proj"], modules_to_save=["embed_tokens", "lm_head"]),
    "tied, lm_head": dict(r=2, lora_alpha=4, target_modules=["lm_head"]),
    "tied, saved": dict(r=2, lora_alpha=4, target_modules=["o_proj"], modules_to_save=["lm_head"]),
}


def formula(number, shape):
    """The values of tensor number `number` of a file: multiples of 1/1024 below 0.5."""
    n = 1
    for d in shape:
        n *= d
    i = torch.arange(n, dtype=torch.int64)
    return (((i * 7919 + number * 104729) % 1000 - 500).float() / 1024).reshape(shape)


def base(tied):
    m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, tie_word_embeddings=tied)
    if tied:  # the file's own output matrix differs
        m.lm_head.weight = m.model.embed_tokens.weight
    return m


out = {}
for name, options in CASES.items():
    tied = name.startswith("tied")
    with tempfile.TemporaryDirectory() as d:
        model = get_peft_model(base(tied), LoraConfig(task_type="CAUSAL_LM", **options))
        model.save_pretrained(d, save_embedding_layers=False)
        tensors = load_file(d + "/adapter_model.safetensors")
        names = sorted(tensors)
        for i, key in enumerate(names):
            x = formula(i, tensors[key].shape)
            tensors[key] = x.abs() + 0.25 if "magnitude" in key else x
        save_file(tensors, d + "/adapter_model.safetensors")
        with open(d + "/adapter_config.json") as f:
            config = json.load(f)
        plain = {k: v.clone() for k, v in base(tied).state_dict().items()}
        merged = PeftModel.from_pretrained(base(tied), d).merge_and_unload().state_dict()
    changed = {}
    for key, x in merged.items():
        if not torch.equal(x, plain[key]):
            rows = [0, x.shape[0] // 2 + 1, x.shape[0] - 1]
            changed[key] = {"rows": rows, "values": [x[r, :4].tolist() for r in rows], "sum": x.double().sum().item(),
                            "squares": (x.double() ** 2).sum().item()}
    config["base_model_name_or_path"] = "tiny-phi3"
    out[name] = {"tied": tied, "config": config, "tensors": {k: list(tensors[k].shape) for k in names},
                 "changed": changed}
with open(sys.argv[1] + "/../golden/lora.json", "w") as f:
    json.dump(out, f, indent=None, separators=(",", ":"))
