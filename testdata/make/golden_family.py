#!/usr/bin/env python3
"""Golden values of tiny-phi2, tiny-phi3small and tiny-phimoe: ../golden/NAME/{tokens,logits,chat,perplexity,gradients}.json.

    python golden_family.py [NAME ...]

The models are those of family_models.py, in float64. The logits of Phi-2 and PhiMoE are compared with those of
transformers first. Binary fields are base64, little-endian.
"""
import argparse
import json
import math
import os
from importlib.metadata import version

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from transformers.utils.chat_template_utils import render_jinja_template

from family_models import forward, mixer
from family_train import CONFIGS, GENERATION
from family_vocab import RUNS, folder, tokenizer
from golden_gradients import encode
from golden_model import CHATS, OUT, TEXTS, write
from golden_variants import words

# Beyond the texts of tiny-phi3: runs of white space, and names of special tokens.
MORE = [s + "a" for s in RUNS] + ["a" + s for s in RUNS] + ["a" + " " * n + "b" for n in (9, 10, 15, 16, 17, 40)] + [
    "\t" * 5 + "x", " \t \t", "  \t\t  ", "   \n   x", "    if x:\n\t\treturn  1\n", "Instruct: Who are you?\nOutput:", "I've you're WE'LL 'tis it'S",
    "1234567 12,345.67", "x\n\n\n  \r\n y", "<|fim_prefix|>", "<|endofprompt|>", "<|dummy_id_0|><|dummy_id_2|>", "<|dummy_id_11|> <|dummy_id_86|>", "<|dummy_id_87|>"]


def load(name):
    return {k: v.double() for k, v in load_file(os.path.join(folder(name), "model.safetensors")).items()}


def run(name, tensors, toks):
    """Logits of one sequence, [len(toks), vocab_size]."""
    with torch.no_grad():
        return forward(CONFIGS[name], tensors, torch.tensor([toks]))[0]


def eval_ids(name):
    with open(os.path.join(folder(""), "tiny-phi3-eval.txt"), encoding="utf-8") as f:
        return tokenizer(name).encode(f.read())


def template(name):
    with open(os.path.join(folder(name), "tokenizer_config.json"), encoding="utf-8") as f:
        return json.load(f)


def prompt(name, messages):
    if name == "tiny-phi2":
        return f"Instruct: {messages[-1]['content']}\nOutput:"
    c = template(name)
    return render_jinja_template([messages], chat_template=c["chat_template"], add_generation_prompt=True, bos_token=c["bos_token"], eos_token=c["eos_token"])[0][0]


def tokens(name):
    t, cases = tokenizer(name), []
    for text in TEXTS + MORE:
        ids = t.encode(text)
        cases.append(dict(text=text, ids=ids, plain=t.plain(text), decoded=t.decode(ids)))
    tool = "tiktoken" if name == "tiny-phi3small" else "tokenizers"
    write(f"{name}/tokens.json", f"by {tool}; ids: special tokens in the text are parsed; plain: special tokens are taken for text; decoded: ids back to text without special tokens",
          **{tool: version(tool)}, cases=cases)


def routes(tensors, toks):
    """The router's logits [layers, tokens, experts], the experts and their weights [layers, tokens, 2], and how far, relative to the
    larger of both logits, the nearest decision is from falling otherwise."""
    c, logits = CONFIGS["tiny-phimoe"], []
    with torch.no_grad():
        forward(c, tensors, torch.tensor([toks]), route=lambda layer, s: logits.append(s[0]))
    s = torch.stack(logits)
    weights, chosen = mixer(s, c["router_jitter_noise"])
    order = s.sort(-1, descending=True).values
    far = [(order[..., k, None] - order[..., k + 1:]) / torch.maximum(order[..., k + 1:].abs(), order[..., k, None]) for k in (0, 1)]
    margin = min(min(x.min(), (x - 2 * c["router_jitter_noise"]).abs().min()).item() for x in far)
    return s, chosen, weights.gather(-1, chosen), margin


SETTLED = 3e-5  # float32 arithmetic moves a route by less


def settled(name, tensors, candidates):
    """The first sequence whose routes don't depend on rounding."""
    return next(toks for toks in candidates if name != "tiny-phimoe" or routes(tensors, toks)[3] > SETTLED)


def sequences(name, tensors):
    """(name, tokens, positions or None for all)."""
    t, ids, stop = tokenizer(name), eval_ids(name), GENERATION[name]["bos_token_id"]
    edges = [0, 1, 7, 8, 15, 16, 17, 23, 24, 31, 32, 63, 64, 126, 127, 128, 129, 255, 256, 383, 511]
    parts = lambda n: settled(name, tensors, (ids[first:first + n] for first in range(1000, len(ids) - n, n)))
    cases = [("bos", [stop], None), ("chat", t.encode(prompt(name, [dict(role="user", content="Where is the red ball?")])), None),
             ("bytes", t.encode("Zoë says: 🙂"), None), ("text", parts(140), [p for p in edges if p < 140] + [139]), ("full_context", parts(512), edges)]
    if name != "tiny-phimoe":
        return cases
    # A key at the edge of the window hardly ever counts: a sequence of random tokens is searched for in which it does.
    c = CONFIGS[name]
    w = c["sliding_window"]
    for seed in range(1000):
        toks = np.random.default_rng(seed).integers(3, 523, w + 4).tolist()
        right = run(name, tensors, toks)
        error = []
        for other in (w - 1, w + 1):
            c["sliding_window"] = other
            error.append(((run(name, tensors, toks) - right).square().sum(-1) / right.square().sum(-1))[w:].min().item())
        c["sliding_window"] = w
        if min(error) > 1e-4 and routes(tensors, toks)[3] > SETTLED:
            print(f"  window_random has seed {seed}")
            return cases + [("window_random", toks, list(range(w - 2, w + 4)))]
    raise SystemExit("no sequence shows the window's edge")


def check(name, tensors, toks):
    """The largest difference of float32 logits from transformers'."""
    cls = dict(phi="PhiForCausalLM", phimoe="PhimoeForCausalLM").get(CONFIGS[name]["model_type"])
    if not cls:
        return
    model, info = getattr(transformers, cls).from_pretrained(folder(name), dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    with torch.no_grad():
        other = model.eval()(input_ids=torch.tensor([toks]), use_cache=False).logits[0]
    y = run(name, tensors, toks)
    off, size = (y - other).abs().max().item(), y.std().item()
    print(f"  transformers: largest difference {off:.1e}, standard deviation of logits {size:.2f}")
    assert off < 1e-5 * size, "the models differ"


def logits(name, tensors):
    out = []
    for case, toks, at in sequences(name, tensors):
        y = run(name, tensors, toks)
        at = list(range(len(toks))) if at is None else at
        out.append(dict(name=case, tokens=toks, positions=at, logits=encode(y[at], "<f4")))
        if name == "tiny-phimoe":
            s, chosen, weights, margin = routes(tensors, toks)
            assert margin > SETTLED, f"{case}: a route is open by {margin}: take another sequence"
            out[-1] |= dict(router=encode(s, "<f4"), experts=chosen.tolist(), weights=encode(weights, "<f4"), margin=float(f"{margin:.2g}"))
        if case == "full_context":
            check(name, tensors, toks)
    about = "logits: float32 [positions, vocab_size], the output at these positions (0 is the first token) of the sequence tokens, by family_models.py in float64 with RoPE's angles in float32"
    if name == "tiny-phimoe":
        about += ("; router: float32 [layers, tokens, experts], the router's logits; experts [layers, tokens, 2] and weights, float32, in the same shape: the first and the second "
                  "that it chooses; margin: how far, relative to the larger of two logits, the nearest choice or threshold of the sequence is from falling otherwise; position p sees the keys "
                  "p-sliding_window+1 to p, and window_random tells a window of 127 from 126 and 128")
    write(f"{name}/logits.json", about, torch=version("torch"), vocab_size=CONFIGS[name]["vocab_size"], cases=out)
    return {c["name"]: c["tokens"] for c in out}


def chats(name, tensors):
    t, stop, out = tokenizer(name), GENERATION[name]["eos_token_id"], []
    stop = [stop] if isinstance(stop, int) else stop
    for case in CHATS:
        messages = []
        for m in case:
            role, _, rest = m.partition(": ")
            messages.append(dict(role=role, content=rest) if role in ("system", "assistant") else dict(role="user", content=m))
        if name == "tiny-phi2" and len(messages) > 1:
            continue
        text = prompt(name, messages)
        ids, answer, margin = t.encode(text), [], math.inf
        while len(answer) < 96 and not (answer and answer[-1] in stop):
            top = run(name, tensors, ids + answer)[-1].topk(2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            answer.append(top.indices[0].item())
        said = t.decode([i for i in answer if i not in stop])
        out.append(dict(messages=messages, prompt=text, prompt_ids=ids, answer_ids=answer, answer=said, margin=round(margin, 4)))
        print("  %-60s %s  (margin %.2f)" % (messages[-1]["content"][-60:], said, margin))
    write(f"{name}/chat.json", "answers by greedy decoding, up to and including the first stop id, at most 96 tokens; prompt: messages through the chat template"
          f"{', of which this model has none: the form of its model card' if name == 'tiny-phi2' else ''}; "
          "margin: the smallest gap between the two largest logits of any step", stop_ids=stop, cases=out)


def perplexities(name, tensors):
    tensors, ids, out = {k: v.float() for k, v in tensors.items()}, torch.tensor(eval_ids(name)), []
    for context in (256, 512):
        rows = ids[: len(ids) // context * context].view(-1, context)
        nll = []
        with torch.no_grad():
            for x in rows.split(8):
                logp = forward(CONFIGS[name], tensors, x)[:, :-1].double().log_softmax(-1)
                nll.append(-logp.gather(-1, x[:, 1:, None])[..., 0])
        nll = torch.cat(nll)
        for first in (0, context // 2):
            part = nll[:, first:]
            out.append(dict(context=context, first=first, chunks=len(rows), scored=part.numel(), nll=part.mean().item(), perplexity=part.mean().exp().item()))
            print("  context %d from %d: %.4f" % (context, first, out[-1]["perplexity"]))
    write(f"{name}/perplexity.json", "tiny-phi3-eval.txt as one sequence of tokens without BOS, cut in chunks of context tokens, each run on its own, in float32; scored: the predictions "
          "at positions first to context-2 of each chunk (first = context/2 is what llama-perplexity scores)", tokens=len(ids), cases=out)


def groups(c):
    """(name in GGUF, with .N for expert N; name of the layer; the rows of its output), in the order of evaluation."""
    out, kind = [], c["model_type"]
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    for l in range(c["num_hidden_layers"]):
        p, b = f"model.layers.{l}.", f"blk.{l}."
        if kind == "phi3small":
            # Rows of the fused layer by group of heads: its queries, its key, its value.
            rows = torch.arange((heads + 2 * kv) * 32).view(kv, heads // kv + 2, 32)
            for part, at in (("q", slice(-2)), ("k", slice(-2, -1)), ("v", slice(-1, None))):
                out.append((b + "attn_" + part, p + "self_attn.query_key_value", rows[:, at].flatten()))
        else:
            out += [(b + "attn_" + part, p + f"self_attn.{part}_proj", slice(None)) for part in "qkv"]
        out.append((b + "attn_output", p + ("self_attn.o_proj" if kind == "phimoe" else "self_attn.dense"), slice(None)))
        if kind == "phi":
            out += [(b + "ffn_up", p + "mlp.fc1", slice(None)), (b + "ffn_down", p + "mlp.fc2", slice(None))]
        elif kind == "phi3small":
            out += [(b + "ffn_gate", p + "mlp.up_proj", slice(0, None, 2)), (b + "ffn_up", p + "mlp.up_proj", slice(1, None, 2)), (b + "ffn_down", p + "mlp.down_proj", slice(None))]
        else:
            out.append((b + "ffn_gate_inp", p + "block_sparse_moe.gate", slice(None)))
            for part, w in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
                out += [(b + f"ffn_{part}_exps.{e}", p + f"block_sparse_moe.experts.{e}.{w}", slice(None)) for e in range(c["num_local_experts"])]
    return out + [("output", "lm_head", slice(None))]


def norms(name, tensors, toks, labels):
    """Squared norms [groups, tokens] of the gradient of Σ -log p(label)."""
    seen = {}

    def keep(layer, y):
        y.retain_grad()
        seen[layer] = y
        return y

    embed = "model.embed_tokens.weight"
    leaf = {embed: tensors[embed].clone().requires_grad_()}  # the one tensor that makes autograd run
    y = forward(CONFIGS[name], tensors | leaf, torch.tensor([toks]), tap=keep)[0]
    torch.nn.functional.cross_entropy(y, torch.tensor(labels), reduction="sum").backward()
    return torch.stack([seen[layer].grad[0][:, rows].double().square().sum(-1) for _, layer, rows in groups(CONFIGS[name])]).numpy()


def gradients(name, tensors, texts):
    out, single = [], {k: v.float() for k, v in tensors.items()}
    for key in ("text", "chat"):
        toks = texts[key]
        cumulated = run(name, tensors, toks).softmax(-1).cumsum(-1).numpy()
        at = words(f"{name}/labels/{len(toks)}", len(toks)).astype(np.float64) / 2.0**64
        labels = np.minimum((cumulated < at[:, None]).sum(-1), cumulated.shape[1] - 1).tolist()
        x, low = norms(name, tensors, toks, labels), norms(name, single, toks, labels)
        assert np.isfinite(x).all()
        size = np.sqrt(x) + 0.01 * np.sqrt(x.mean(1, keepdims=True))  # where almost nothing is left of a token's gradient, rounding is
        off = np.abs(np.sqrt(low) - np.sqrt(x)) / np.maximum(size, 1e-30)
        print(f"  {key}: squared norms to {x.max():.1e}, {(x == 0).mean():.0%} are 0; norms in float32 differ by {np.quantile(off, 0.5):.1e} (median), {off.max():.1e} (most)")
        out.append(dict(name=f"{name}, length {len(toks)}", tokens=toks, labels=labels, norms=encode(x, "<f4")))
    about = ("gradients of the loss sum of -log p(label) over all positions, by PyTorch's autograd on family_models.py in float64 with RoPE's angles in float32: norms is float32 [groups, tokens], "
             "the squared norm of the gradient with respect to a linear layer's outputs, q and k before RoPE")
    if name == "tiny-phi3small":
        about += "; attn_q, _k and _v are rows of query_key_value, ffn_gate and ffn_up the even and odd rows of up_proj; output: before the division by mup_width_multiplier and the mask"
    if name == "tiny-phimoe":
        about += ("; the choice of experts and of the logits kept by the threshold is fixed, and the gradient goes through the softmax over the kept ones; ffn_gate_inp: the router's logits; "
                  "of expert N: ffn_gate_exps.N (w1), ffn_up_exps.N (w3), ffn_down_exps.N (w2, before the expert's weight), 0 for tokens that do not reach it")
    write(f"{name}/gradients.json", about, torch=version("torch"), groups=[g[0] for g in groups(CONFIGS[name])], cases=out)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("models", nargs="*", default=list(CONFIGS))
    a = ap.parse_args()
    torch.set_num_threads(1)
    for name in a.models:
        print(name)
        os.makedirs(os.path.join(OUT, name), exist_ok=True)
        tensors = load(name)
        tokens(name)
        texts = logits(name, tensors)
        gradients(name, tensors, texts)
        perplexities(name, tensors)
        chats(name, tensors)


if __name__ == "__main__":
    main()
