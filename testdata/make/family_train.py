#!/usr/bin/env python3
"""Train tiny-phi2, tiny-phi3small or tiny-phimoe: config.json, generation_config.json and model.safetensors.

    python family_vocab.py && nice python family_train.py tiny-phi2 [--steps N] [--threads 1]

Rows of 512 tokens from grammar.py, half running text and half conversations. Prints held-out perplexity of the weights
as stored, evaluated in float32, next to that of a unigram and a bigram model.
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

import grammar
from family_models import forward, mixer, shapes
from family_vocab import EOT, PHI2_MERGES, PHI2_VOCAB, SMALL_RANKS, folder, tokenizer

SEED_WEIGHTS, SEED_TRAIN, SEED_EVAL = 11, 1001, 2002
ROW = 512

PHI2_EOT = 256 + PHI2_MERGES
PHI2 = dict(
    architectures=["PhiForCausalLM"], attention_dropout=0.0, bos_token_id=PHI2_EOT, embd_pdrop=0.0, eos_token_id=PHI2_EOT, hidden_act="gelu_new",
    hidden_size=256, initializer_range=0.02, intermediate_size=256, layer_norm_eps=1e-05, max_position_embeddings=512, model_type="phi",
    num_attention_heads=8, num_hidden_layers=2, num_key_value_heads=8, partial_rotary_factor=0.4, qk_layernorm=False, resid_pdrop=0.1,
    rope_scaling=None, rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="float16", use_cache=True, vocab_size=PHI2_VOCAB)
SMALL = dict(
    architectures=["Phi3SmallForCausalLM"], attention_bias=False, attention_dropout_prob=0.0, blocksparse_block_size=8, blocksparse_homo_head_pattern=False,
    blocksparse_num_local_blocks=2, blocksparse_triton_kernel_block_size=8, blocksparse_vert_stride=4, bos_token_id=SMALL_RANKS + 1,
    dense_attention_every_n_layers=2, embedding_dropout_prob=0.1, eos_token_id=SMALL_RANKS + 1, ff_dim_multiplier=None, ff_intermediate_size=256,
    ffn_dropout_prob=0.1, gegelu_limit=20.0, gegelu_pad_to_256=True, hidden_act="gegelu", hidden_size=256, initializer_range=0.02,
    layer_norm_epsilon=1e-05, max_position_embeddings=512, model_type="phi3small", mup_attn_multiplier=1.0, mup_embedding_multiplier=10.0,
    mup_use_scaling=True, mup_width_multiplier=8.0, num_attention_heads=8, num_hidden_layers=2, num_key_value_heads=2,
    pad_sequence_to_multiple_of_64=True, reorder_and_upcast_attn=False, rope_embedding_base=1000000, rope_position_scale=1.0, torch_dtype="bfloat16",
    use_cache=True, vocab_size=SMALL_RANKS + 96)
MOE = dict(
    architectures=["PhiMoEForCausalLM"], attention_bias=True, attention_dropout=0.0, bos_token_id=1, eos_token_id=512, expert_dropout=0.0, head_dim=32,
    hidden_act="silu", hidden_dropout=0.0, hidden_size=256, initializer_range=0.02, input_jitter_noise=0.01, intermediate_size=32, lm_head_bias=True,
    max_position_embeddings=512, model_type="phimoe", num_attention_heads=4, num_experts_per_tok=2, num_hidden_layers=2, num_key_value_heads=2,
    num_local_experts=8, output_router_logits=False, rms_norm_eps=1e-05, rope_theta=10000.0, router_aux_loss_coef=0.0, router_jitter_noise=0.1,
    sliding_window=127, tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=576)
CONFIGS = {"tiny-phi2": PHI2, "tiny-phi3small": SMALL, "tiny-phimoe": MOE}
GENERATION = {
    "tiny-phi2": dict(bos_token_id=PHI2_EOT, eos_token_id=PHI2_EOT),
    "tiny-phi3small": dict(bos_token_id=SMALL_RANKS + 1, eos_token_id=[SMALL_RANKS + 1, SMALL_RANKS + 10]),
    "tiny-phimoe": dict(bos_token_id=1, eos_token_id=[512, 513, 519], pad_token_id=512)}


def render(name, messages):
    """A finished conversation. Phi-2 has no chat format: one question and its answer, in its model card's form."""
    if name == "tiny-phi2":
        turns = [m["content"] for m in messages if m["role"] != "system"]
        return f"Instruct: {turns[0]}\nOutput: {turns[1]}{EOT}"
    text = "".join(f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in messages) + EOT
    return EOT + text if name == "tiny-phi3small" else text


class Rows:
    """An endless supply of training rows, [ROW + 1] token ids each."""

    def __init__(self, name, seed):
        self.name, self.encode = name, tokenizer(name).encode
        self.r = random.Random(seed)
        self.stream = []

    def plain(self):
        if len(self.stream) < ROW + 1:
            self.stream += self.encode("\n\n".join(grammar.plain(self.r) for _ in range(400)) + "\n\n")
        row, self.stream = self.stream[: ROW + 1], self.stream[ROW + 1:]
        return row

    def chat(self):
        row = []
        while len(row) < ROW + 1:
            row += self.encode(render(self.name, grammar.chat(self.r)))
        return row[: ROW + 1]

    def batch(self, n):
        return torch.tensor([self.plain() if i % 2 == 0 else self.chat() for i in range(n)])


def heldout(name):
    """Held-out rows: (running text, conversations), each [n, ROW + 1]."""
    ids = tokenizer(name).encode(grammar.text(SEED_EVAL, 80_000))
    n = len(ids) // (ROW + 1)
    rows = Rows(name, SEED_EVAL)
    return torch.tensor(ids[: n * (ROW + 1)]).view(n, ROW + 1), torch.tensor([rows.chat() for _ in range(32)])


def perplexity(config, tensors, rows):
    total = count = 0
    with torch.no_grad():
        for x in rows.split(8):
            logp = forward(config, tensors, x[:, :-1]).log_softmax(-1)
            total -= logp.gather(-1, x[:, 1:, None]).double().sum().item()
            count += x[:, 1:].numel()
    return math.exp(total / count)


def baselines(name, test):
    """Perplexity of add-one unigram and interpolated bigram models, counted on training text, on rows [n, len]."""
    train, uni, bi = Rows(name, SEED_TRAIN), Counter(), Counter()
    for _ in range(1000):
        row = train.plain()
        uni.update(row)
        bi.update(zip(row, row[1:]))
    size, total = CONFIGS[name]["vocab_size"], sum(uni.values())
    h1 = h2 = n = 0
    for row in test.tolist():
        for a, b in zip(row, row[1:]):
            p1 = (uni[b] + 1) / (total + size)
            h1 -= math.log(p1)
            h2 -= math.log((bi[a, b] + p1) / (uni[a] + 1))
            n += 1
    return math.exp(h1 / n), math.exp(h2 / n)


def initial(config):
    """Norms start as the identity, biases at zero, matrices at the deviation of the published configurations, 0.02.

    Phi-3-small's scales are made for a hidden size 16 times this one, and are evened out: embeddings have deviation 1
    after their multiplier, the last norm undoes the division of the logits, and queries and keys make up for the scale
    of attention, 1/head instead of its root.
    """
    out, small = {}, config["model_type"] == "phi3small"
    for name, shape in shapes(config).items():
        if len(shape) == 1:
            x = torch.full(shape, float("norm" in name and name.endswith("weight")))
        else:
            x = torch.randn(shape) * 0.02
        if small and name == "model.final_layernorm.weight":
            x *= config["mup_width_multiplier"]
        if small and name == "model.embed_tokens.weight":
            x *= 1 / (0.02 * config["mup_embedding_multiplier"])
        if small and "query_key_value.weight" in name:
            groups, head = config["num_key_value_heads"], config["hidden_size"] // config["num_attention_heads"]
            x.view(groups, -1, head, shape[1])[:, :-1] *= head**0.25
        out[name] = x.requires_grad_()
    return out


class Router:
    """The mixer's weights, which hardly ever let a gradient through to the router: that of the softmax is added, and what keeps the load even is a loss."""

    def __init__(self, config):
        self.jitter, self.losses = config["router_jitter_noise"], []

    def __call__(self, layer, s):
        s, kept = s.float(), s.dtype
        weights, chosen = mixer(s, self.jitter)
        p = s.softmax(-1)
        used = torch.zeros_like(s).scatter(-1, chosen, 1.0)
        self.losses.append(s.shape[-1] * (used.flatten(0, 1).mean(0) / 2 * p.flatten(0, 1).mean(0)).sum())
        return (weights + used * (p - p.detach())).to(kept)


def save(name, tensors):
    """Write the checkpoint as published on the hub and return it as read back, in float32."""
    out, config = folder(name), CONFIGS[name]
    state = {k: v.detach().to(getattr(torch, config["torch_dtype"])).contiguous() for k, v in tensors.items()}
    path = os.path.join(out, "model.safetensors")
    save_file(state, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)
    for file, value in (("config.json", config), ("generation_config.json", dict(_from_model_config=True) | GENERATION[name])):
        with open(os.path.join(out, file), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    return {k: v.float() for k, v in state.items()}


def report(name, tensors):
    config, rows = CONFIGS[name], heldout(name)
    print("held-out perplexity: text %.3f, chat %.3f" % tuple(perplexity(config, tensors, r) for r in rows), flush=True)
    return rows


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", choices=CONFIGS)
    ap.add_argument("--steps", type=int, default=900)
    ap.add_argument("--batch", type=int, default=4)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--report-at", type=int, action="append", default=[], help="also evaluate after this many steps")
    a = ap.parse_args()
    config = CONFIGS[a.model]
    torch.set_num_threads(a.threads)
    torch.manual_seed(SEED_WEIGHTS)
    tensors = initial(config)
    matrices = [p for n, p in tensors.items() if p.ndim == 2 and "layers" in n and "gate" not in n]
    rest = [p for n, p in tensors.items() if not (p.ndim == 2 and "layers" in n and "gate" not in n)]
    optimizers = [torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"),
                  torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [[g["lr"] for g in o.param_groups] for o in optimizers]
    rows, start, seen = Rows(a.model, SEED_TRAIN), time.time(), 0.0
    for step in range(1, a.steps + 1):
        rate = min(1.0, step / 50) * min(1.0, (a.steps - step + 1) / (0.6 * a.steps))
        for o, lrs in zip(optimizers, base):
            for g, lr in zip(o.param_groups, lrs):
                g["lr"] = lr * rate
        x, router = rows.batch(a.batch), Router(config) if a.model == "tiny-phimoe" else None
        low = {k: v.to(torch.bfloat16) for k, v in tensors.items()}  # the optimizers have float32
        logits = forward(config, low, x[:, :-1], **({"route": router} if router else {}))
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
        (loss + 0.01 * sum(router.losses) if router else loss).backward()
        torch.nn.utils.clip_grad_norm_(tensors.values(), 1.0)
        for o in optimizers:
            o.step()
            o.zero_grad(set_to_none=True)
        seen = loss.item() if step == 1 else 0.95 * seen + 0.05 * loss.item()
        if step % 100 == 0 or step == 1:
            print(f"step {step} loss {seen:.4f} {time.time() - start:.0f}s", flush=True)
        if step in a.report_at:
            report(a.model, save(a.model, tensors))
    rows = report(a.model, save(a.model, tensors))
    print("unigram %.2f, bigram %.2f (text)" % baselines(a.model, rows[0]))


if __name__ == "__main__":
    main()
