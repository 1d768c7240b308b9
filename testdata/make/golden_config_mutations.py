#!/usr/bin/env python3
"""Logits by transformers of the tiny models whose config.json or generation_config.json was changed in one way each.

    python golden_config_mutations.py

Writes ../golden/config-mutations.json. Edits are those of golden_mutations.py.
"""
import base64
import copy
import hashlib
import json
import os
import tempfile

import numpy as np
import torch
import transformers

from golden_mutations import ROOT, apply, drop, put

HERE = os.path.dirname(os.path.abspath(__file__))
C, G = "config.json", "generation_config.json"
LENGTH, ROWS, EVERY = 140, (20, 139), 4  # tokens; the positions whose logits are kept; of these each fourth


def short(n):
    return [1 + i / 64 for i in range(n)]


def long(n):
    return [1.5 + i / 8 for i in range(n)]


def longrope(n, **more):
    return dict(dict(type="longrope", short_factor=short(n), long_factor=long(n)), **more)


def values(key, *all):
    """A change for each value of a key; ... stands for a missing key."""
    for v in all:
        yield f"{key}: {'missing' if v is ... else json.dumps(v)}", [drop(C, key) if v is ... else put(C, key, value=v)]


def phi3():
    yield "as it is", []
    yield from values("torch_dtype", ..., None, "float32", "float16")
    yield "dtype", [drop(C, "torch_dtype"), put(C, "dtype", value="bfloat16")]
    yield "dtype and torch_dtype", [put(C, "dtype", value="float32")]
    yield from values("architectures", ..., None, ["Phi3ForCausalLM", "Other"], ["Phi3Model"])
    yield from values("model_type", ..., "phi")
    yield from values("hidden_act", ..., None, "swish", "gelu")
    yield from values("tie_word_embeddings", ..., None, True)
    yield from values("head_dim", 64, None, 32)
    yield from values("num_key_value_heads", ..., None, 4, 1, 3, 0)
    yield "num_attention_heads: 8 with 4", [put(C, "num_attention_heads", value=8), put(C, "num_key_value_heads", value=4)]
    yield from values("sliding_window", ..., None, 0, 1, 64, 512, -1, "127")
    yield from values("use_sliding_window", False)
    yield "layer_types: sliding", [put(C, "layer_types", value=["sliding_attention"] * 4)]
    yield "layer_types: full", [put(C, "layer_types", value=["full_attention"] * 4)]
    yield "layer_types: mixed", [put(C, "layer_types", value=["sliding_attention", "full_attention"] * 2)]
    yield from values("max_position_embeddings", ..., None, 200, 1 << 20)
    yield from values("original_max_position_embeddings", ..., None, 4096)
    yield from values("rms_norm_eps", ..., None, 0.001, "1e-5", 0)
    yield from values("rope_theta", ..., None, 500000, 10000, "10000", 0)
    yield from values("partial_rotary_factor", 1, 0.5, None, 0.25, 1.5, 0)
    yield from values("attention_bias", ..., True)
    yield from values("mlp_bias", True)
    yield from values("vocab_size", ..., 575, 577)
    yield from values("num_hidden_layers", ..., 3, 5)
    yield from values("intermediate_size", 500)
    yield from values("hidden_size", ..., 256.0)
    yield from values("quantization_config", None)
    yield "dropouts", [put(C, key, value=0.5) for key in ("attention_dropout", "resid_pdrop", "embd_pdrop")]
    # rotation
    yield from values("rope_scaling", ..., {}, dict(type="linear", factor=2.0), dict(rope_type="dynamic", factor=2.0), dict(rope_type="default"), dict(factor=2.0))
    yield from values("rope_parameters", None, {}, dict(rope_type="default"), dict(rope_theta=500000), dict(rope_type="default", rope_theta=500000, partial_rotary_factor=0.5),
                      dict(full_attention=dict(rope_type="default", rope_theta=500000.0)), dict(rope_type="linear", factor=2.0), [])
    yield "rope_parameters without rope_theta at the top", [drop(C, "rope_theta"), drop(C, "rope_scaling"), put(C, "rope_parameters", value=dict(rope_type="default", rope_theta=500000))]
    yield "rope_scaling and rope_parameters", [put(C, "rope_scaling", value=dict(rope_type="default", rope_theta=1000)), put(C, "rope_parameters", value=dict(rope_type="default", rope_theta=500000))]
    yield "partial_rotary_factor twice", [put(C, "partial_rotary_factor", value=0.5), put(C, "rope_parameters", value=dict(rope_type="default", partial_rotary_factor=0.25))]
    original = put(C, "original_max_position_embeddings", value=128)
    for name, scaling in (("longrope", longrope(32)), ("su", longrope(32, type="su")), ("yarn", dict(type="yarn", factor=4.0)), ("yarn with factors", longrope(32, type="yarn")),
                          ("rope_type", longrope(32, rope_type="longrope")), ("type against rope_type", longrope(32, rope_type="default")),
                          ("attention_factor", longrope(32, attention_factor=1.25)), ("attention_factor null", longrope(32, attention_factor=None)), ("factor", longrope(32, factor=8.0)),
                          ("factor 1", longrope(32, factor=1.0)), ("no long_factor", dict(type="longrope", short_factor=short(32))),
                          ("no short_factor", dict(type="longrope", long_factor=long(32))), ("too many factors", longrope(33)),
                          ("a factor that is a string", longrope(32, short_factor=["1"] * 32)), ("original inside", longrope(32, original_max_position_embeddings=64)),
                          ("mscale", longrope(32, short_mscale=1.1, long_mscale=1.2)), ("rope_theta inside", longrope(32, rope_theta=500000.0))):
        yield "longrope: " + name, [original, put(C, "rope_scaling", value=scaling)]
    yield "longrope: original missing", [drop(C, "original_max_position_embeddings"), put(C, "rope_scaling", value=longrope(32))]
    yield "longrope: original 512, the context", [put(C, "rope_scaling", value=longrope(32))]
    yield "longrope: original 0", [put(C, "original_max_position_embeddings", value=0), put(C, "rope_scaling", value=longrope(32))]
    yield "longrope: partial", [original, put(C, "partial_rotary_factor", value=0.5), put(C, "rope_scaling", value=longrope(16))]
    yield "longrope: rope_parameters", [original, drop(C, "rope_scaling"), drop(C, "rope_theta"), put(C, "rope_parameters", value=dict(longrope(32), rope_type="longrope", rope_theta=10000.0))]
    yield "longrope: rope_parameters, original inside only", [drop(C, "original_max_position_embeddings"), drop(C, "rope_scaling"),
          put(C, "rope_parameters", value=longrope(32, rope_type="longrope", original_max_position_embeddings=128))]
    yield "longrope: rope_scaling, default in rope_parameters", [original, put(C, "rope_scaling", value=longrope(32)), put(C, "rope_parameters", value=dict(rope_type="default", rope_theta=10000.0))]
    yield "longrope: rope_parameters, rope_scaling null", [original, put(C, "rope_parameters", value=longrope(32, rope_type="longrope"))]
    # ends of an answer
    for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
        yield from values(key, ..., None)
    yield from values("eos_token_id", [512, 519], 519, 600)
    yield "generation_config.json: missing", [drop(G)]
    yield "generation_config.json: missing, eos list", [drop(G), put(C, "eos_token_id", value=[512, 519])]
    for v in (..., None, 519, [519, 512], []):
        yield f"generation_config.json: eos_token_id {'missing' if v is ... else v}", [drop(G, "eos_token_id") if v is ... else put(G, "eos_token_id", value=v)]


def phi2():
    yield "as it is", []
    yield from values("partial_rotary_factor", ..., None, 1.0, 0.5)
    yield from values("num_key_value_heads", ..., None, 4)
    yield from values("layer_norm_eps", ..., 0.001)
    yield from values("qk_layernorm", ..., None, True)
    yield from values("hidden_act", ..., "gelu", "gelu_pytorch_tanh", "gelu_new")
    yield from values("tie_word_embeddings", ..., True)
    yield from values("head_dim", 32, 16)
    yield from values("rope_theta", ..., 500000)
    yield "rope_parameters", [drop(C, "rope_theta"), drop(C, "partial_rotary_factor"), put(C, "rope_parameters", value=dict(rope_type="default", rope_theta=500000, partial_rotary_factor=0.4))]
    yield "rope_parameters without the part", [drop(C, "partial_rotary_factor"), put(C, "rope_parameters", value=dict(rope_type="default", rope_theta=500000))]
    yield from values("rope_scaling", dict(type="linear", factor=2.0), dict(type="dynamic", factor=2.0))


def phimoe():
    yield "as it is", []
    yield from values("num_key_value_heads", ..., None, 4)
    yield from values("head_dim", ..., None)
    yield from values("rope_theta", ..., None, 500000)
    yield from values("num_experts_per_tok", ..., 1, 4)
    yield from values("num_local_experts", ..., 4)
    yield from values("router_jitter_noise", ..., 0.3, 0)
    yield from values("input_jitter_noise", ..., 0.5)
    yield from values("attention_bias", ..., False)
    yield from values("lm_head_bias", ..., False)
    yield from values("sliding_window", ..., 64)
    yield from values("tie_word_embeddings", True)
    yield from values("rms_norm_eps", ..., 0.001)
    # transformers takes the short factors beyond the original context too, unlike the published code
    for name, more in (("both mscales", dict(short_mscale=1.1, long_mscale=1.2)), ("no mscale", {})):
        yield "longrope: " + name, [put(C, "original_max_position_embeddings", value=200), put(C, "rope_scaling", value=longrope(16, original_max_position_embeddings=200, **more))]


def run(base, edits):
    """Logits and stop ids of the base with the edits, or why there are none."""
    source = os.path.join(ROOT, "testdata", base)
    with tempfile.TemporaryDirectory() as dir:
        for f in os.listdir(source):
            if f.endswith(".safetensors"):
                os.symlink(os.path.join(source, f), os.path.join(dir, f))
            elif f in (C, G):
                with open(os.path.join(source, f), "rb") as a, open(os.path.join(dir, f), "wb") as b:
                    b.write(a.read())
        apply(dir, edits)
        try:
            model, info = transformers.AutoModelForCausalLM.from_pretrained(dir, dtype=torch.float32, output_loading_info=True)
            if info["missing_keys"] or info["mismatched_keys"]:
                return dict(error=f"tensors missing or of other shapes: {sorted(map(str, list(info['missing_keys']) + list(info['mismatched_keys'])))[0]}")
            n = model.get_input_embeddings().weight.shape[0]
            tokens = torch.tensor([[(7 * i * i + 3 * i) % min(n, 300) for i in range(LENGTH)]])
            with torch.no_grad():
                logits = model.eval()(tokens, use_cache=False).logits[0]
            rows = np.stack([logits[i].numpy()[::EVERY] for i in ROWS]).astype("<f4")
            if not np.isfinite(rows).all():
                return dict(error="the logits are not finite")
            eos = model.generation_config.eos_token_id
            return dict(rows=base64.b64encode(rows.tobytes()).decode(), eos=eos if isinstance(eos, list) or eos is None else [eos])
        except Exception as e:  # whatever it is, transformers has no answer
            return dict(error=(f"{type(e).__name__}: {e}".splitlines() or [""])[0][:160])


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    out, logits = [], {}
    for base, changes in (("tiny-phi3", phi3()), ("tiny-phi2", phi2()), ("tiny-phimoe", phimoe())):
        for name, edits in changes:
            got = run(base, copy.deepcopy(edits))
            if "rows" in got:
                key = hashlib.sha256(got["rows"].encode()).hexdigest()[:8]
                logits[key] = got.pop("rows")
                got["logits"] = key
            out.append(dict(base=base, name=name, edits=edits) | got)
            print(base, name, got)
    about = (f"logits: a key of the table, where little-endian float32 are in base64: each {EVERY}th logit after the tokens {ROWS} of {LENGTH}, (7i²+3i) mod min(rows, 300); "
             "eos: the ids that end an answer; error: why transformers has no answer")
    with open(os.path.join(os.path.dirname(HERE), "golden", "config-mutations.json"), "w", encoding="utf-8", newline="") as f:
        head = dict(about=about, transformers=transformers.__version__, torch=torch.__version__)
        f.write("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()))
        f.write(',\n"logits": {\n' + ",\n".join(f'"{k}": "{v}"' for k, v in logits.items()) + "}")
        f.write(',\n"changes": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in out) + "]}\n")


if __name__ == "__main__":
    main()
