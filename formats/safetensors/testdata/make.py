"""Writes the golden files of this directory with the PyPI packages safetensors
(0.8.0) and numpy:

    pip install safetensors==0.8.0 numpy && python make.py

Byte i of every tensor's data is (7*i + len(name)) % 256, except for the tensors
named value.*, which hold VALUES.
"""

import json
import os

import numpy as np
from safetensors import TensorSpec, serialize_file

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = [0.0, -0.0, 1.0, -1.5, 65504.0, 6e-5, 3.140625, -0.333251953125]

keep = []  # the arrays must outlive the TensorSpecs


def spec(dtype, shape, data):
    array = np.frombuffer(data, dtype=np.uint8)
    keep.append(array)
    return TensorSpec(dtype=dtype, shape=shape, data_ptr=array.ctypes.data, data_len=len(data))


def pattern(name, dtype, shape, nbytes):
    return spec(dtype, shape, bytes((7 * i + len(name)) % 256 for i in range(nbytes)))


# One tensor of each type that the package writes (all but F6_E2M3 and F6_E3M2),
# three rows of two. The package counts F4 in pairs.
DTYPES = [
    ("bool", 8), ("float4_e2m1fn_x2", 8), ("uint8", 8), ("int8", 8),
    ("float8_e5m2", 8), ("float8_e4m3fn", 8), ("float8_e8m0fnu", 8), ("float8_e4m3fnuz", 8), ("float8_e5m2fnuz", 8),
    ("int16", 16), ("uint16", 16), ("float16", 16), ("bfloat16", 16),
    ("int32", 32), ("uint32", 32), ("float32", 32),
    ("complex64", 64), ("float64", 64), ("int64", 64), ("uint64", 64),
]
tensors = {"t." + d: pattern("t." + d, d, [3, 2], 6 * bits // 8) for d, bits in DTYPES}
tensors["scalar"] = pattern("scalar", "float32", [], 4)
tensors["empty"] = pattern("empty", "int64", [4, 0], 0)
tensors['odd "name" \\ é <&>\t'] = pattern('odd "name" \\ é <&>\t', "uint8", [1, 1, 5], 5)
f32 = np.array(VALUES, dtype="<f4")
tensors["value.float16"] = spec("float16", [2, 4], f32.astype("<f2").tobytes())
tensors["value.bfloat16"] = spec("bfloat16", [2, 4], (f32.view("<u4") >> 16).astype("<u2").tobytes())
tensors["value.float32"] = spec("float32", [2, 4], f32.tobytes())
tensors["value.float64"] = spec("float64", [2, 4], np.array(VALUES, dtype="<f8").tobytes())
serialize_file(tensors, os.path.join(HERE, "all.safetensors"), {"format": "pt"})

serialize_file({}, os.path.join(HERE, "none.safetensors"))

# Two shards with an index, as transformers writes them.
shards = [["b.weight", "c.weight"], ["a.weight"]]
weight_map = {}
for i, names in enumerate(shards):
    file = "model-%05d-of-%05d.safetensors" % (i + 1, len(shards))
    serialize_file({n: pattern(n, "bfloat16", [2, 8], 32) for n in names},
                   os.path.join(HERE, "sharded", file), {"format": "pt"})
    weight_map.update({n: file for n in names})
with open(os.path.join(HERE, "sharded", "model.safetensors.index.json"), "w") as f:
    json.dump({"metadata": {"total_size": 96}, "weight_map": weight_map}, f, indent=2, sort_keys=True)
    f.write("\n")
