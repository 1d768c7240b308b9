"""Writes the golden files of this directory with the PyPI packages gguf (0.19.0)
and numpy:

    pip install gguf==0.19.0 numpy && python make.py

all.gguf has a key of every value type and tensors of several types;
split-0000N-of-00003.gguf is a split set. Byte i of a tensor's data is
(7*i + len(name)) % 256.
"""

import os

import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFValueType as V
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES

HERE = os.path.dirname(os.path.abspath(__file__))


def add(w, name, qtype, shape):  # shape in numpy's order
    block, size = GGML_QUANT_SIZES[qtype]
    row = shape[-1] // block * size
    nbytes = int(np.prod(shape[:-1], dtype=int)) * row
    data = np.array([(7 * i + len(name)) % 256 for i in range(nbytes)], dtype=np.uint8)
    w.add_tensor(name, data.reshape(*shape[:-1], row), raw_dtype=qtype)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


w = GGUFWriter(os.path.join(HERE, "all.gguf"), "test")
w.add_custom_alignment(64)
w.add_uint8("v.u8", 200)
w.add_int8("v.i8", -100)
w.add_uint16("v.u16", 60000)
w.add_int16("v.i16", -30000)
w.add_uint32("v.u32", 4000000000)
w.add_int32("v.i32", -2000000000)
w.add_float32("v.f32", 0.1)
w.add_bool("v.bool", True)
w.add_string("v.str", "Phi-3 \u2581 é\n")
w.add_uint64("v.u64", 2**63 + 1)
w.add_int64("v.i64", -(2**62))
w.add_float64("v.f64", 0.1)
w.add_key_value("a.u8", [0, 255], V.ARRAY, V.UINT8)
w.add_key_value("a.i8", [-128, 127], V.ARRAY, V.INT8)
w.add_key_value("a.u16", [0, 65535], V.ARRAY, V.UINT16)
w.add_key_value("a.i16", [-32768, 32767], V.ARRAY, V.INT16)
w.add_key_value("a.u32", [0, 2**32 - 1], V.ARRAY, V.UINT32)
w.add_array("a.i32", [1, -2, 3])
w.add_array("a.f32", [0.5, -1.5])
w.add_array("a.bool", [True, False, True])
w.add_array("a.str", ["", "<s>", "\u2581the"])
w.add_key_value("a.u64", [0, 2**64 - 1], V.ARRAY, V.UINT64)
w.add_key_value("a.i64", [-(2**63), 2**63 - 1], V.ARRAY, V.INT64)
w.add_key_value("a.f64", [0.25, 1e300], V.ARRAY, V.FLOAT64)
w.add_array("a.nested", [[1, 2], [3]])
add(w, "one", Q.F32, [3])
add(w, "norm.weight", Q.F32, [5])
add(w, "half", Q.F16, [2, 3])
add(w, "brain", Q.BF16, [2, 2, 3])
add(w, "four.dims", Q.F32, [2, 1, 3, 2])
add(w, "blk.0.attn_q.weight", Q.Q8_0, [2, 64])
add(w, "blk.0.ffn_up.weight", Q.Q4_K, [2, 256])
add(w, "blk.0.ffn_down.weight", Q.IQ4_XS, [1, 256])
finish(w)

w = GGUFWriter(os.path.join(HERE, "split.gguf"), "test", split_max_size=200)
w.add_uint32("test.block_count", 2)
for i in range(2):
    add(w, f"blk.{i}.a", Q.F32, [4, 8])
    add(w, f"blk.{i}.b", Q.F32, [2, 8])
    add(w, f"blk.{i}.c", Q.F32, [8])
finish(w)
