"""Phi-2, Phi-3-small and PhiMoE as functions of a configuration and tensors under their published names.

    logits = forward(config, tensors, ids)      # ids [batch, length], logits [batch, length, vocab_size]

They compute in the type of the tensors (angles of RoPE in float32, as all published code has it), and serve for training
and, in float64, for golden values. `tap(name, y)` is called with the outputs of each linear layer, by the name of its
module, and returns what takes their place.
"""
import math

import torch
import torch.nn.functional as F

UNTAPPED = lambda name, y: y


def linear(t, name, x, tap):
    return tap(name, F.linear(x, t[name + ".weight"], t.get(name + ".bias")))


def norm(t, name, x, eps):
    return F.layer_norm(x, x.shape[-1:], t[name + ".weight"], t[name + ".bias"], eps)


def rope(x, base, rotary):
    """x [batch, heads, length, head size]: pairs (i, i + rotary/2) of the first dimensions are turned."""
    inverse = 1.0 / base ** (torch.arange(0, rotary, 2, dtype=torch.float32) / rotary)
    angle = torch.outer(torch.arange(x.shape[2], dtype=torch.float32), inverse)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b, rest = x[..., : rotary // 2], x[..., rotary // 2 : rotary], x[..., rotary:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


def attention(q, k, v, scale, hidden):
    """q, k, v [batch, heads or key heads, length, head size]; hidden [heads or 1, length, length] is true where a key is not seen."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden[None], scale=scale).transpose(1, 2).flatten(2)


def later(n):
    """True where the key comes after the query, [1, n, n]."""
    return torch.ones(1, n, n, dtype=torch.bool).triu(1)


def phi2(c, t, ids, tap=UNTAPPED):
    heads = c["num_attention_heads"]
    head = c["hidden_size"] // heads
    rotary = int(head * c["partial_rotary_factor"])
    eps, hidden = c["layer_norm_eps"], later(ids.shape[1])
    x = F.embedding(ids, t["model.embed_tokens.weight"])
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        h = norm(t, p + "input_layernorm", x, eps)
        q, k, v = (linear(t, p + f"self_attn.{part}_proj", h, tap).unflatten(-1, (-1, head)).transpose(1, 2) for part in "qkv")
        q, k = rope(q, c["rope_theta"], rotary), rope(k, c["rope_theta"], rotary)
        a = linear(t, p + "self_attn.dense", attention(q, k, v, head**-0.5, hidden), tap)
        f = F.gelu(linear(t, p + "mlp.fc1", h, tap), approximate="tanh")
        x = x + a + linear(t, p + "mlp.fc2", f, tap)
    return linear(t, "lm_head", norm(t, "model.final_layernorm", x, eps), tap)


def sparse(c, n):
    """True where a query head of a block-sparse layer does not see a key, [heads, n, n]."""
    heads, stride = c["num_attention_heads"], c["blocksparse_vert_stride"]
    step = 0 if c["blocksparse_homo_head_pattern"] else max(1, stride // heads)
    block = torch.arange(n) // c["blocksparse_block_size"]
    local = block[:, None] - block < c["blocksparse_num_local_blocks"]
    vertical = (block + torch.arange(heads)[:, None] * step + 1) % stride == 0
    return ~(local | vertical[:, None, :]) | later(n)


def phi3small(c, t, ids, tap=UNTAPPED):
    heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
    head, share, eps = c["hidden_size"] // heads, heads // groups, c["layer_norm_epsilon"]
    scale, limit = c["mup_attn_multiplier"] / head, c["gegelu_limit"]
    patterns = sparse(c, ids.shape[1]), later(ids.shape[1])
    x = F.embedding(ids, t["model.embed_tokens.weight"]) * c["mup_embedding_multiplier"]
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        y = linear(t, p + "self_attn.query_key_value", norm(t, p + "input_layernorm", x, eps), tap).unflatten(-1, (groups, share + 2, head))
        q, k, v = (y[..., part, :].flatten(2, 3).transpose(1, 2) for part in (slice(share), slice(share, share + 1), slice(share + 1, share + 2)))
        q, k = rope(q, c["rope_embedding_base"], head), rope(k, c["rope_embedding_base"], head)
        dense = (l + 1) % c["dense_attention_every_n_layers"] == 0
        x = x + linear(t, p + "self_attn.dense", attention(q, k, v, scale, patterns[dense]), tap)
        u = linear(t, p + "mlp.up_proj", norm(t, p + "post_attention_layernorm", x, eps), tap)
        g, u = u[..., 0::2].clamp(max=limit), u[..., 1::2].clamp(-limit, limit)
        x = x + linear(t, p + "mlp.down_proj", g * torch.sigmoid(1.702 * g) * (u + 1), tap)
    y = tap("lm_head", F.linear(norm(t, "model.final_layernorm", x, eps), t["model.embed_tokens.weight"]))
    y = y.to(torch.promote_types(y.dtype, torch.float32)) / c["mup_width_multiplier"]  # bfloat16 has no such number as masked ids get
    ranks = c["vocab_size"] - 96
    used = torch.arange(c["vocab_size"]) < ranks
    used[[ranks + k for k in (1, 5, 6, 7, 10)]] = True
    return y.masked_fill(~used, torch.finfo(torch.float32).min)


def mixer(s, jitter):
    """Router logits [..., experts] to the weights of all experts, zero but for two, and the two, [..., 2]."""
    weights, chosen, left = torch.zeros_like(s), [], s
    for _ in range(2):
        best, expert = left.max(-1, keepdim=True)
        far = (best - left) / torch.maximum(s.abs(), best) > 2 * jitter
        slot = left.masked_fill(far, -math.inf).softmax(-1)
        weights = weights.scatter(-1, expert, slot.gather(-1, expert))
        chosen.append(expert)
        left = left.scatter(-1, expert, -math.inf)
    return weights, torch.cat(chosen, -1)


def phimoe(c, t, ids, tap=UNTAPPED, route=lambda layer, s: None):
    """route(layer, router logits) may return the weights of the experts; else the mixer does."""
    head, eps, experts = c["head_dim"], c["rms_norm_eps"], c["num_local_experts"]
    n = ids.shape[1]
    hidden = later(n) | torch.ones(1, n, n, dtype=torch.bool).tril(-c["sliding_window"])
    x = F.embedding(ids, t["model.embed_tokens.weight"])
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        h = norm(t, p + "input_layernorm", x, eps)
        q, k, v = (linear(t, p + f"self_attn.{part}_proj", h, tap).unflatten(-1, (-1, head)).transpose(1, 2) for part in "qkv")
        q, k = rope(q, c["rope_theta"], head), rope(k, c["rope_theta"], head)
        x = x + linear(t, p + "self_attn.o_proj", attention(q, k, v, head**-0.5, hidden), tap)
        h, m = norm(t, p + "post_attention_layernorm", x, eps), p + "block_sparse_moe."
        s = linear(t, m + "gate", h, tap)
        weights = route(l, s)
        if weights is None:
            weights = mixer(s, c["router_jitter_noise"])[0]
        for e in range(experts):
            f = F.silu(linear(t, m + f"experts.{e}.w1", h, tap)) * linear(t, m + f"experts.{e}.w3", h, tap)
            x = x + weights[..., e, None] * linear(t, m + f"experts.{e}.w2", f, tap)
    return linear(t, "lm_head", norm(t, "model.norm", x, eps), tap)


MODELS = dict(phi=phi2, phi3small=phi3small, phimoe=phimoe)


def forward(config, tensors, ids, **kw):
    return MODELS[config["model_type"]](config, tensors, ids, **kw)


def shapes(c):
    """Shape of each tensor, in the order of the published modules."""
    d, out = c["hidden_size"], {}

    def lin(name, rows, columns, bias=True):
        out[name + ".weight"] = rows, columns
        if bias:
            out[name + ".bias"] = (rows,)

    def ln(name):
        out[name + ".weight"] = out[name + ".bias"] = (d,)

    kind, heads, kv = c["model_type"], c["num_attention_heads"], c["num_key_value_heads"]
    head = c.get("head_dim", d // heads)
    out["model.embed_tokens.weight"] = c["vocab_size"], d
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        if kind == "phi3small":
            lin(p + "self_attn.query_key_value", (heads + 2 * kv) * head, d)
            lin(p + "self_attn.dense", d, d)
            lin(p + "mlp.up_proj", 2 * c["ff_intermediate_size"], d)
            lin(p + "mlp.down_proj", d, c["ff_intermediate_size"])
        else:
            for part, n in (("q", heads), ("k", kv), ("v", kv)):
                lin(p + f"self_attn.{part}_proj", n * head, d)
            lin(p + f"self_attn.{'dense' if kind == 'phi' else 'o_proj'}", d, heads * head)
        if kind == "phi":
            lin(p + "mlp.fc1", c["intermediate_size"], d)
            lin(p + "mlp.fc2", d, c["intermediate_size"])
        if kind == "phimoe":
            lin(p + "block_sparse_moe.gate", c["num_local_experts"], d, False)
            for e in range(c["num_local_experts"]):
                lin(p + f"block_sparse_moe.experts.{e}.w1", c["intermediate_size"], d, False)
                lin(p + f"block_sparse_moe.experts.{e}.w2", d, c["intermediate_size"], False)
                lin(p + f"block_sparse_moe.experts.{e}.w3", c["intermediate_size"], d, False)
        ln(p + "input_layernorm")
        if kind != "phi":
            ln(p + "post_attention_layernorm")
    ln("model.norm" if kind == "phimoe" else "model.final_layernorm")
    if kind != "phi3small":
        lin("lm_head", c["vocab_size"], d)
    return out
