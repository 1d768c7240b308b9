"""Prints what transformers makes of configurations that say RoPE's numbers twice or not at all: inv_freq[1] and
attention_scaling, the values in internal/arch/rope_test.go. Needs torch and transformers 5.24.

    python golden_rope.py
"""

import json
import tempfile

from transformers import AutoConfig
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

BASE = dict(
    architectures=["Phi3ForCausalLM"], model_type="phi3", vocab_size=576, hidden_size=256, intermediate_size=512,
    num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    bos_token_id=1, eos_token_id=2, pad_token_id=2,
)
FACTORS = dict(short_factor=[1 + 0.02 * i for i in range(32)], long_factor=[1 + 0.9 * i for i in range(32)])
ORIGINAL = dict(original_max_position_embeddings=64)
LONG = dict(type="longrope", **FACTORS)

CASES = [
    dict(rope_theta=10000.0),
    dict(ORIGINAL, rope_parameters=dict(rope_type="default", rope_theta=10000.0), rope_scaling=LONG),
    dict(ORIGINAL, rope_parameters=dict(rope_type="longrope", **FACTORS), rope_scaling=dict(type="default")),
    dict(ORIGINAL, rope_parameters=dict(rope_type="longrope", rope_theta=10000, **FACTORS), rope_scaling={}),
    dict(rope_theta=20000.0, rope_parameters=dict(rope_type="default", rope_theta=30000.0)),
    dict(ORIGINAL, rope_parameters=dict(rope_theta=30000.0), rope_scaling=LONG),
    dict(ORIGINAL, rope_theta=20000.0, rope_parameters=dict(rope_theta=30000.0), rope_scaling=LONG),
    dict(original_max_position_embeddings=128, rope_scaling=dict(LONG, **ORIGINAL)),
    dict(rope_scaling=LONG),
    dict(rope_scaling=dict(LONG, **ORIGINAL)),
    dict(ORIGINAL, rope_scaling=dict(LONG, factor=4.0)),
    dict(ORIGINAL, rope_scaling=dict(LONG, type="linear", rope_type="longrope")),
    dict(ORIGINAL, rope_scaling=dict(LONG, rope_type="default")),
    dict(ORIGINAL, rope_scaling=dict(LONG, type="yarn", factor=8.0)),
    dict(partial_rotary_factor=0.75, rope_parameters=dict(rope_type="default", partial_rotary_factor=0.5)),
]

for case in CASES:
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/config.json", "w") as f:
            json.dump(BASE | case, f)
        rope = Phi3RotaryEmbedding(AutoConfig.from_pretrained(d))
    print(f"{float(rope.inv_freq[1]):.6f} {rope.attention_scaling:.6f}")
