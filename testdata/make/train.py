#!/usr/bin/env python3
"""Train the tiny model and write ../tiny-phi3/{config.json,generation_config.json,model.safetensors}.

    python vocab.py && nice python train.py [--steps 2400] [--threads 2]

Rows of 256 tokens, half running text and half conversations, generated as it goes. Prints held-out perplexity of the
bfloat16 weights (evaluated in float32) next to that of a unigram and a bigram model.
"""
import argparse
import json
import math
import os
import random
import time
from collections import Counter

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Phi3Config, Phi3ForCausalLM

import grammar

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tiny-phi3")
SEED_WEIGHTS, SEED_TRAIN, SEED_EVAL, SEED_CALIB = 11, 1001, 2002, 3003
ROW = 256
BOS, EOS = 1, 512

CONFIG = dict(
    architectures=["Phi3ForCausalLM"], attention_bias=False, attention_dropout=0.0, bos_token_id=BOS, embd_pdrop=0.0, eos_token_id=EOS,
    hidden_act="silu", hidden_size=256, initializer_range=0.02, intermediate_size=512, max_position_embeddings=512, model_type="phi3",
    num_attention_heads=4, num_hidden_layers=4, num_key_value_heads=2, original_max_position_embeddings=512, pad_token_id=EOS,
    resid_pdrop=0.0, rms_norm_eps=1e-05, rope_scaling=None, rope_theta=10000.0, sliding_window=127, tie_word_embeddings=False,
    torch_dtype="bfloat16", use_cache=True, vocab_size=576)
GENERATION = dict(_from_model_config=True, bos_token_id=BOS, eos_token_id=[512, 513, 519], pad_token_id=EOS)

tokenizer = Tokenizer.from_file(os.path.join(OUT, "tokenizer.json"))


def render(messages):
    """A finished conversation in the chat template's form."""
    return "".join(f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in messages) + "<|endoftext|>"


def model_config():
    keep = {k: v for k, v in CONFIG.items() if k not in ("torch_dtype", "rope_scaling", "rope_theta", "architectures", "model_type")}
    return Phi3Config(**keep, rope_parameters=dict(rope_type="default", rope_theta=CONFIG["rope_theta"]))


class Rows:
    """An endless supply of training rows, [ROW + 1] token ids each."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.stream = []

    def plain(self):
        n = ROW + 1
        if len(self.stream) < n:
            docs = "\n\n".join(grammar.plain(self.r) for _ in range(400))
            self.stream += tokenizer.encode(docs).ids + tokenizer.encode("\n\n").ids[1:]
        bos = [BOS] * (self.r.random() < 0.5)
        n -= len(bos)
        row, self.stream = bos + self.stream[:n], self.stream[n:]
        return row

    def chat(self):
        row = [BOS] * (self.r.random() < 0.5)
        while len(row) < ROW + 1:
            row += tokenizer.encode(render(grammar.chat(self.r))).ids
        return row[: ROW + 1]

    def batch(self, n):
        return torch.tensor([self.plain() if i % 2 == 0 else self.chat() for i in range(n)])


def nll(model, rows):
    """Summed negative log-likelihood and the number of predicted tokens of rows [n, len], scored from the second token on."""
    total, count = 0.0, 0
    with torch.no_grad():
        for x in rows.split(16):
            logp = model(input_ids=x[:, :-1], use_cache=False).logits.float().log_softmax(-1)
            total -= logp.gather(-1, x[:, 1:, None]).double().sum().item()
            count += x[:, 1:].numel()
    return total, count


def heldout():
    """Held-out rows: (running text, conversations), each [n, ROW + 1]."""
    ids = tokenizer.encode(grammar.text(SEED_EVAL, 80_000)).ids
    n = len(ids) // (ROW + 1)
    plain = torch.tensor(ids[: n * (ROW + 1)]).view(n, ROW + 1)
    rows = Rows(SEED_EVAL)
    return plain, torch.tensor([rows.chat() for _ in range(64)])


def baselines(test):
    """Perplexity of add-one unigram and interpolated bigram models, counted on training text, on rows [n, len]."""
    train = Rows(SEED_TRAIN)
    uni, bi = Counter(), Counter()
    for _ in range(2000):
        row = train.plain()
        uni.update(row)
        bi.update(zip(row, row[1:]))
    size, total = len(tokenizer.get_vocab()), sum(uni.values())
    h1 = h2 = n = 0
    for row in test.tolist():
        for a, b in zip(row, row[1:]):
            p1 = (uni[b] + 1) / (total + size)
            h1 -= math.log(p1)
            h2 -= math.log((bi[a, b] + p1) / (uni[a] + 1))
            n += 1
    return math.exp(h1 / n), math.exp(h2 / n)


def save(model):
    """Write the checkpoint as published on the hub; the norms, like all weights, are bfloat16."""
    state = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(state, os.path.join(OUT, "model.safetensors.tmp"), metadata={"format": "pt"})
    os.chmod(os.path.join(OUT, "model.safetensors.tmp"), 0o644)
    os.replace(os.path.join(OUT, "model.safetensors.tmp"), os.path.join(OUT, "model.safetensors"))
    for name, value in (("config.json", CONFIG), ("generation_config.json", GENERATION)):
        with open(os.path.join(OUT, name), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")


def evaluate(model):
    """Held-out perplexity of the bfloat16-rounded weights in float32: (running text, conversations)."""
    rounded = Phi3ForCausalLM(model_config())
    rounded.set_attn_implementation("eager")
    rounded.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in model.state_dict().items()})
    rounded.eval()
    return [math.exp(a / n) for a, n in (nll(rounded, rows) for rows in heldout())]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--steps", type=int, default=2400)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--save-at", type=int, action="append", default=[], help="also save after this many steps")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(SEED_WEIGHTS)
    model = Phi3ForCausalLM(model_config())
    model.set_attn_implementation("eager")  # the fastest of the implementations on a CPU at this size
    model.train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    optimizers = [torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"),
                  torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [[g["lr"] for g in o.param_groups] for o in optimizers]
    rows, start, seen = Rows(SEED_TRAIN), time.time(), 0.0
    for step in range(1, a.steps + 1):
        rate = min(1.0, step / 50) * min(1.0, (a.steps - step + 1) / (0.6 * a.steps))
        for o, lrs in zip(optimizers, base):
            for g, lr in zip(o.param_groups, lrs):
                g["lr"] = lr * rate
        x = rows.batch(a.batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=x[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in optimizers:
            o.step()
            o.zero_grad(set_to_none=True)
        seen = loss.item() if step == 1 else 0.95 * seen + 0.05 * loss.item()
        if step % 50 == 0 or step == 1:
            print(f"step {step} loss {seen:.4f} {time.time() - start:.0f}s", flush=True)
        if step in a.save_at:
            save(model)
            print("held-out perplexity: text %.3f, chat %.3f" % tuple(evaluate(model)), flush=True)
    save(model)
    print("held-out perplexity: text %.3f, chat %.3f" % tuple(evaluate(model)))
    print("unigram %.2f, bigram %.2f (text)" % baselines(heldout()[0]))
    here = os.path.join(OUT, "..")
    for name, seed, size in (("tiny-phi3-eval.txt", SEED_EVAL, 80_000), ("tiny-phi3-calib.txt", SEED_CALIB, 100_000)):
        with open(os.path.join(here, name), "w", encoding="utf-8") as f:
            f.write(grammar.text(seed, size))


if __name__ == "__main__":
    main()
