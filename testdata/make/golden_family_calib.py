#!/usr/bin/env python3
"""Second moments of the inputs of the linear layers of tiny-phi2, tiny-phi3small and tiny-phimoe, of each expert by
itself: ../golden/NAME/calib.json.

    python golden_family_calib.py [NAME ...]

The models are those of family_models.py, in float64.
"""
import argparse
import os

import torch

import family_models
from family_train import CONFIGS
from family_vocab import folder, tokenizer
from golden_family import groups, load
from golden_gradients import encode
from golden_model import write

CONTEXT, SEQUENCES = 64, 10


def inputs(name, tensors, sequences):
    """The inputs of each linear layer, by the name of its module, and for each pass through the experts of a block the
    two that each token chose."""
    seen, chosen = {}, []
    linear, mixer = family_models.linear, family_models.mixer

    def keep(t, layer, x, tap):
        seen.setdefault(layer, []).append(x[0])
        return linear(t, layer, x, tap)

    def choose(s, jitter):
        weights, experts = mixer(s, jitter)
        chosen.append(experts[0])
        return weights, experts

    family_models.linear, family_models.mixer = keep, choose
    for s in sequences:
        family_models.forward(CONFIGS[name], tensors, s[None])
    family_models.linear, family_models.mixer = linear, mixer
    return {layer: torch.cat(x) for layer, x in seen.items()}, chosen


def entries(name, tensors, sequences):
    c, (seen, chosen) = CONFIGS[name], inputs(name, tensors, sequences)
    layers, out = c["num_hidden_layers"], {}
    for entry, layer, _ in groups(c):
        if layer not in seen:
            continue  # the output matrix of tiny-phi3small, which is the embedding
        x, (entry, _, expert) = seen[layer], entry.partition("_exps.")
        if expert:
            entry += "_exps"
            x = x[(torch.cat(chosen[int(layer.split(".")[2])::layers]) == int(expert)).any(-1)]
        e = out.setdefault(entry + ".weight", dict(counts=[], sums=[]))
        e["counts"].append(len(x))
        e["sums"].append(x.square().sum(0))
    return {k: dict(counts=e["counts"], sums=encode(torch.cat(e["sums"]), "<f4")) for k, e in out.items()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("models", nargs="*", default=list(CONFIGS))
    a = ap.parse_args()
    torch.set_grad_enabled(False)
    with open(os.path.join(folder(""), "tiny-phi3-calib.txt"), encoding="utf-8") as f:
        text = f.read()
    for name in a.models:
        sequences = torch.tensor(tokenizer(name).encode(text)[: CONTEXT * SEQUENCES]).view(SEQUENCES, CONTEXT)
        e = entries(name, load(name), sequences)
        write(f"{name}/calib.json", "inputs of each linear layer for the first tokens of tiny-phi3-calib.txt, in sequences by themselves, by family_models.py in float64. "
              "counts: the tokens that reach the layer, or each of its experts; sums: Σx² of each column, expert by expert, base64 of float32", context=CONTEXT, sequences=SEQUENCES, entries=e)
        print(name, {k: v["counts"] for k, v in e.items()})


if __name__ == "__main__":
    main()
