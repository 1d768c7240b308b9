#!/usr/bin/env python3
"""Golden values of the quantized formats, by the gguf package: ../golden/dequant.json and ../golden/quantize.json.

    python golden_quant.py LIBGGML

LIBGGML is llama.cpp's libggml-base.so, which decodes the types that the package does not know.

Every binary field is base64. Float values are float32, little-endian; F16 and BF16 rows hold 2 bytes a value.
"""
import base64
import ctypes
import json
import os
import sys
from importlib.metadata import version

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
SEED = 3

# Byte offsets of the float16 fields (scale, minimum) within a block.
SCALES = {
    T.F16: [0], T.BF16: [],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0],
    T.IQ3_S: [0], T.IQ3_XXS: [0], T.IQ2_S: [0], T.IQ2_XS: [0], T.IQ2_XXS: [0], T.IQ1_S: [0], T.IQ1_M: [],
    T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [], T.NVFP4: [],
}
# Types that the package does not know: name, ggml's number, weights and bytes of a block; decoded by ggml. d comes first.
BY_GGML = [("Q1_0", 41, 128, 18), ("Q2_0", 42, 64, 18)]
# Zeros, the smallest and largest denormals, the smallest normal, ordinary values, the largest finite ones.
SPECIAL = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x1A2B, 0x9C4D, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF]


def b64(a):
    return base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def finite_f16(rng, n):
    """n random float16 bit patterns, none of them Inf or NaN."""
    bits = rng.integers(0, 0x7C00, n)
    return (bits | rng.integers(0, 2, n) << 15).astype("<u2")


def blocks_of(rng, t):
    """Random blocks of type t as [blocks, bytes]: one per special scale, payloads of only 0 and only 1 bits, random ones."""
    b = scaled_blocks(rng, gguf.GGML_QUANT_SIZES[t][1], SCALES[t])
    if t == T.IQ1_M:  # the bits of d are the high nibbles of four words
        d = np.concatenate([np.array(SPECIAL, "<u2"), finite_f16(rng, len(b) - len(SPECIAL))])
        for i in range(4):
            b[:, 49 + 2 * i] = b[:, 49 + 2 * i] & 15 | ((d >> 4 * i & 15) << 4).astype(np.uint8)
    if t == T.MXFP4:
        b[:, 0] = np.concatenate([[0, 1, 2, 3, 126, 127, 128, 250], rng.integers(0, 251, len(b) - 8)])
    return b


def scaled_blocks(rng, size, scales):
    n = len(SPECIAL) + 2 + 4
    b = rng.integers(0, 256, (n, size)).astype(np.uint8)
    b[len(SPECIAL)] = 0x00
    b[len(SPECIAL) + 1] = 0xFF
    for k, off in enumerate(scales):
        # The second field takes the special values in another order, so that pairs of both signs occur.
        s = np.concatenate([np.roll(np.array(SPECIAL, "<u2"), 5 * k), np.array([0x2E66, 0xAE66], "<u2"), finite_f16(rng, 4)])
        b[:, off : off + 2] = s.view(np.uint8).reshape(n, 2)
    return b


def dequant_cases():
    out = []
    for t in SCALES:
        rng = np.random.default_rng([SEED, int(t)])
        if t == T.F16:
            data = np.concatenate([np.array(SPECIAL, "<u2"), finite_f16(rng, 64)]).view(np.uint8)[None]
        elif t == T.BF16:
            bits = rng.integers(0, 0x7F80, 64) | rng.integers(0, 2, 64) << 15
            bits = np.concatenate([[0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F], bits])
            data = bits.astype("<u2").view(np.uint8)[None]
        else:
            data = blocks_of(rng, t).reshape(1, -1)
        values = quants.dequantize(data, t).astype("<f4")
        assert np.isfinite(values).all(), t
        out.append(dict(type=t.name, values_per_block=gguf.GGML_QUANT_SIZES[t][0], bytes_per_block=gguf.GGML_QUANT_SIZES[t][1],
                        count=values.size, data=b64(data), values=b64(values)))
    lib = ctypes.CDLL(sys.argv[1])
    for name, number, elems, size in BY_GGML:
        data = scaled_blocks(np.random.default_rng([SEED, number]), size, [0])
        values = np.zeros(len(data) * elems, np.float32)
        getattr(lib, "dequantize_row_" + name.lower())(
            ctypes.c_void_p(np.ascontiguousarray(data).ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size))
        assert np.isfinite(values).all(), name
        out.append(dict(type=name, values_per_block=elems, bytes_per_block=size, count=values.size, data=b64(data), values=b64(values)))
    return out


def rows():
    """Named float32 inputs, each [rows, 64]."""
    rng = np.random.default_rng([SEED, 1000])
    n = 64
    f = np.float32
    normal = rng.standard_normal((4, n)).astype(f)
    spike = np.zeros((4, n), f)
    spike[0, 0], spike[1, 31], spike[2, 32], spike[3, 63] = 1.5, -2.25, 1e-3, -1e4
    negative = -np.abs(rng.standard_normal((2, n))).astype(f)
    negative[:, ::2] *= -0.5  # the value of largest magnitude is negative
    positive = -negative
    same = np.stack([np.full(n, 0.75), np.full(n, -0.75), np.full(n, 3.0)]).astype(f)
    # Values halfway between two codes of every type: multiples of half a step for scales that are powers of two.
    tie = np.stack([np.arange(n) % 32 - 16, (np.arange(n) % 32 - 16) / 2, np.arange(n) % 16 / 2 - 4, (np.arange(n) % 32) * 4 - 63.5]).astype(f)
    tie_max = np.zeros((3, n), f)  # two values of the same largest magnitude: the first one decides the sign
    tie_max[0, [3, 9, 40, 50]] = [2, -2, -2, 2]
    tie_max[1, [3, 9, 40, 50]] = [-2, 2, 2, -2]
    tie_max[2] = np.where(np.arange(n) % 2 == 0, 1, -1)
    zeros = np.zeros((2, n), f)  # no -0.0: implementations differ in the sign of the zero scale they then store
    # Scales that are float16 denormals or round to zero in float16.
    tiny = np.stack([rng.standard_normal(n) * s for s in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-20, 1e-30)]).astype(f)
    large = np.stack([rng.uniform(-s, s, n) for s in (1e2, 1e3, 1e4)]).astype(f)
    heavy = (rng.standard_t(3, (4, n)) * 0.02).astype(f)
    offset = (rng.standard_normal((3, n)) * 0.01 + np.array([[5.0], [-5.0], [0.02]])).astype(f)
    mixed = np.concatenate([normal[:1, :32] * 1e-5, normal[:1, 32:] * 1e3], axis=1)
    return dict(normal=normal, spike=spike, negative=negative, positive=positive, same=same, tie=tie, tie_max=tie_max,
                zeros=zeros, tiny=tiny, large=large, heavy=heavy, offset=offset, mixed=mixed)


def float_edges(t):
    """float32 values around the rounding boundaries of a 16-bit type, [1, n]."""
    rng = np.random.default_rng([SEED, 2000, int(t)])
    if t == T.F16:
        h = np.concatenate([np.array(SPECIAL, "<u2") & 0x7FFF, rng.integers(0, 0x7BFF, 24).astype("<u2")]).view(np.float16).astype(np.float64)
        step = np.where(h < 2.0**-14, 2.0**-24, 2.0 ** (np.floor(np.log2(np.maximum(h, 2.0**-14))) - 10))
        half = (h + step / 2).astype(np.float32)  # exact: halfway to the next float16; above 65504 this is where Inf begins
    else:
        b = np.concatenate([[0x0000, 0x0001, 0x007F, 0x0080, 0x3F80, 0x3F81, 0x7F7F], rng.integers(0, 0x7F7F, 24)]).astype("<u4")
        half = (b << 16 | 0x8000).astype("<u4").view(np.float32)
    around = np.concatenate([np.nextafter(half, np.float32(0)), half, np.nextafter(half, np.float32(np.inf)), np.array([np.inf], np.float32)])
    return np.concatenate([around, -around])[None]


def quantize_cases():
    out = []
    for t in (T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1):
        inputs = rows()
        if t in (T.F16, T.BF16):
            inputs["edges"] = float_edges(t)
        for name, x in inputs.items():
            with np.errstate(over="ignore"):
                q = quants.quantize(x, t)
            if t != T.F16 and t != T.BF16:
                assert np.isfinite(quants.dequantize(q, t)).all(), (t, name)
            out.append(dict(type=t.name, name=name, rows=x.shape[0], columns=x.shape[1], values=b64(x.astype("<f4")), data=b64(q)))
    return out


def write(name, about, cases):
    """One line a case, so that a diff shows which cases changed."""
    path = os.path.join(OUT, name)
    with open(path, "w") as f:
        f.write('{"about": %s,\n"gguf": "%s",\n"cases": [\n' % (json.dumps(about), version("gguf")))
        f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    print(name, os.path.getsize(path), "bytes,", len(cases), "cases")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    write("dequant.json", "data: blocks; values: float32 by gguf.quants.dequantize, Q1_0 and Q2_0 by ggml; both base64, little-endian", dequant_cases())
    write("quantize.json", "values: [rows, columns] float32; data: rows of blocks by gguf.quants.quantize; both base64, little-endian", quantize_cases())
