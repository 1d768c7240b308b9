#!/usr/bin/env python3
"""Golden gradients of the tiny model and of small random models: ../golden/gradients.json.

    python golden_gradients.py
    python golden_gradients.py --model DIR --text FILE --tokens N > FILE

The second form prints the case of another model and the first N tokens of a text, and how long PyTorch takes for it in
float32. In ../../runtime, go test -run GradientsOther -gradients FILE compares them.
"""
import argparse
import base64
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast
from transformers.models.phi3 import modeling_phi3

from golden_variants import TORCH, VARIANTS, weights, words

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "tiny-phi3")
OUT = os.path.join(HERE, "..", "golden", "gradients.json")



class Wide:
    """torch, but norms and softmax, which are float32 in the model's code, are float64. Angles of RoPE stay float32."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def load(dir):
    model = Phi3ForCausalLM.from_pretrained(dir, dtype=torch.float32, attn_implementation="eager").eval()
    for p in model.parameters():
        p.requires_grad_(False)
    return model


def groups(model):
    """(layer, first row, rows) in the order of evaluation."""
    c = model.config
    head = c.hidden_size // c.num_attention_heads
    q, kv, f = c.hidden_size, c.num_key_value_heads * head, c.intermediate_size
    out = []
    for l in model.model.layers:
        out += [(l.self_attn.qkv_proj, 0, q), (l.self_attn.qkv_proj, q, kv), (l.self_attn.qkv_proj, q + kv, kv), (l.self_attn.o_proj, 0, q),
                (l.mlp.gate_up_proj, 0, f), (l.mlp.gate_up_proj, f, f), (l.mlp.down_proj, 0, q)]
    return out + [(model.lm_head, 0, c.vocab_size)]


def norms(model, tokens, labels):
    """Squared norms [groups, tokens] of the gradient of Σ -log p(label), and the seconds of both passes."""
    seen, hooks = {}, []

    def keep(layer, _, y):
        y.retain_grad()
        seen[layer] = y

    for layer in {g[0] for g in groups(model)}:
        hooks.append(layer.register_forward_hook(keep))
    start = time.time()
    x = model.model.embed_tokens(torch.from_numpy(tokens)[None]).requires_grad_()
    logits = model(inputs_embeds=x, use_cache=False).logits
    middle = time.time()
    torch.nn.functional.cross_entropy(logits[0], torch.from_numpy(labels), reduction="sum").backward()
    end = time.time()
    for h in hooks:
        h.remove()
    out = np.stack([seen[layer].grad[0, :, first:first + rows].double().square().sum(-1).numpy() for layer, first, rows in groups(model)])
    return out, middle - start, end - middle


def draw(model, name, tokens):
    """A label for each position, drawn from the model's distribution."""
    with torch.no_grad():
        p = model(input_ids=torch.from_numpy(tokens)[None], use_cache=False).logits[0].double().softmax(-1).numpy()
    at = words(f"{name}/labels/{len(tokens)}", len(tokens)).astype(np.float64) / 2.0**64
    return np.minimum((p.cumsum(-1) < at[:, None]).sum(-1), p.shape[1] - 1)


def encode(x, type):
    return base64.b64encode(np.ascontiguousarray(x).astype(type).tobytes()).decode()


def case(model, name, tokens):
    """The gradients in float64, and how far float32 is from them."""
    tokens = np.array(tokens, np.int64)
    labels = draw(model, name, tokens)
    single, forward, backward = norms(model, tokens, labels)
    print(f"{name}, {len(tokens)} tokens: float32 takes {forward:.2f} s forward, {backward:.2f} s backward", file=sys.stderr)
    modeling_phi3.torch = Wide()
    x = norms(model.double(), tokens, labels)[0]
    modeling_phi3.torch = torch
    model.float()
    # The first token sees itself alone: its query does not matter.
    assert np.isfinite(x).all() and ((x > 0) | (np.arange(x.shape[1]) == 0)).all()
    off = np.abs(np.sqrt(single) - np.sqrt(x)) / np.sqrt(np.maximum(x, 1e-30))
    print(f"   squared norms to {x.max():.1e}; norms in float32 differ by {np.quantile(off, 0.5):.1e} (median), {np.quantile(off, 0.99):.1e} (1 %), {off.max():.1e}", file=sys.stderr)
    return dict(name=f"{name}, length {len(tokens)}", tokens=tokens.tolist(), labels=labels.tolist(), norms=encode(x, "<f4"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--text")
    parser.add_argument("--tokens", type=int, default=512)
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.model:
        with open(args.text) as f:
            ids = PreTrainedTokenizerFast(tokenizer_file=os.path.join(args.model, "tokenizer.json")).encode(f.read(20 * args.tokens))
        json.dump(dict(models=[dict(name=args.model, cases=[case(load(args.model), "live", ids[:args.tokens])])]), sys.stdout)
        return

    with open(os.path.join(HERE, "..", "golden", "logits.json")) as f:
        texts = {c["name"]: c["tokens"] for c in json.load(f)["cases"]}
    models = [dict(name="tiny-phi3", cases=[case(load(TINY), "tiny-phi3", texts[k]) for k in ("window_text", "chat")])]
    for name, (dtype, c, lengths) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as dir:
            save_file({k: torch.from_numpy(v).to(TORCH[dtype]) for k, v in weights(name, dtype, c).items()}, os.path.join(dir, "model.safetensors"), metadata={"format": "pt"})
            with open(os.path.join(dir, "config.json"), "w") as f:
                json.dump(json.loads(json.dumps(c).replace('"su"', '"longrope"')), f)  # as golden_variants.py says
            model = load(dir)
            tokens = [(words(f"{name}/tokens/{n}", n) % np.uint64(c["vocab_size"])).astype(np.int64) for n in (lengths[-1], lengths[1])]
            models.append(dict(name=name, cases=[case(model, name, t) for t in tokens]))
    about = ("gradients of the loss sum of -log p(label) over all positions, by transformers in float64 with RoPE's angles in float32: norms is base64 of little-endian float32 "
             "[groups, tokens], the squared norm of the gradient with respect to a linear layer's outputs; groups are, for each layer, q, k, v (before RoPE), "
             "attention output, gate, up, down, and last the logits. The models are ../tiny-phi3 and those of variants.json")
    head = dict(about=about, transformers=version("transformers"), torch=version("torch"))
    text = "{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()) + ',\n"models": [\n'
    with open(OUT, "w") as f:
        f.write(text + ",\n".join(json.dumps(m) for m in models) + "\n]}\n")
    print("gradients.json", os.path.getsize(OUT), "bytes")


if __name__ == "__main__":
    main()
