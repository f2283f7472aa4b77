#!/usr/bin/env python3
"""Makes tests/golden/dequant.json: blocks of every weight type as bytes, and the floats they stand for.

The blocks are random bytes, so that every bit of codes and packed scales counts; only their half-precision
scales are set to ordinary values. The floats are those of the gguf package's dequantiser, which computes in
float32; another order of the same operations may differ in the last bit. Types that it lacks, and a check of all
the others, come from the peer's ggml. Both are hexadecimal, floats as little-endian float32.

"quantised" are blocks that the peer's quantisers made of 512 normally distributed numbers, for the types that this
file has no other use of real blocks for: the loss of repacking is measured on them.
"""

import argparse
import ctypes

import gguf
import numpy as np

import common

BLOCKS = 3
# Where a block's half-precision scales are: byte offsets.
SCALES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ3_XXS": (0,), "IQ1_S": (0,), "IQ4_NL": (0,), "IQ3_S": (0,), "IQ2_S": (0,),
    "IQ4_XS": (0,), "IQ1_M": (), "TQ1_0": (52,), "TQ2_0": (64,), "MXFP4": (), "NVFP4": (), "Q1_0": (0,), "Q2_0": (0,),
}
# What the gguf package does not know: number, values and bytes of a block.
ONLY_GGML = {"Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}
FLOATS = ("F32", "F16", "BF16")


def layout_of(kind):
    """The type's number, values and bytes of a block."""
    if kind in ONLY_GGML:
        return ONLY_GGML[kind]
    qtype = gguf.GGMLQuantizationType[kind]
    return int(qtype), *gguf.GGML_QUANT_SIZES[qtype]


class Ggml:
    """The peer's own quantisers."""

    def __init__(self):
        self.lib = ctypes.CDLL(str(common.peer("libggml-base.so")))
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t

    def dequantize(self, kind, raw, n):
        name = f"dequantize_row_{kind.lower().replace('_k', '_K')}"
        out = np.empty(n, dtype="<f4")
        getattr(self.lib, name)(raw.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(n))
        return out

    def quantize(self, kind, values):
        number, block, size = layout_of(kind)
        out = np.empty(len(values) // block * size, dtype=np.uint8)
        weights = np.ones(len(values), dtype="<f4")  # an importance matrix that says nothing
        n = self.lib.ggml_quantize_chunk(number, values.ctypes.data_as(ctypes.c_void_p),
                                         out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(0), ctypes.c_int64(1),
                                         ctypes.c_int64(len(values)), weights.ctypes.data_as(ctypes.c_void_p))
        assert n == len(out)
        return out


def blocks_of(kind, rng):
    """[blocks, bytes] of uint8."""
    _, _, size = layout_of(kind)
    if kind in FLOATS:
        numbers = (rng.standard_normal(BLOCKS * 32) * 2.0 ** rng.integers(-12, 8, BLOCKS * 32)).astype(np.float32)
        if kind == "F16":
            return numbers.astype("<f2").view(np.uint8).reshape(BLOCKS, -1)
        if kind == "BF16":
            return (numbers.view("<u4") >> 16).astype("<u2").view(np.uint8).reshape(BLOCKS, -1)
        return numbers.view(np.uint8).reshape(BLOCKS, -1)
    raw = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for offset in SCALES[kind]:
        raw[:, offset : offset + 2] = rng.uniform(-0.05, 0.05, (BLOCKS, 1)).astype("<f2").view(np.uint8)
    if kind == "IQ1_M":  # its scale is in the highest nibbles of four 16-bit numbers
        scale = rng.uniform(-0.05, 0.05, BLOCKS).astype("<f2").view("<u2")
        for i in range(4):
            raw[:, 49 + 2 * i] = raw[:, 49 + 2 * i] & 15 | (scale >> (4 * i) & 15).astype(np.uint8) << 4
    if kind == "MXFP4":  # powers of two: the one that is a subnormal number, and two ordinary ones
        raw[:, 0] = (1, 118, 131)
    return raw


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rng = np.random.default_rng(7)
    ggml = Ggml()
    entries, quantised = [], []
    for kind in (*FLOATS, *SCALES):
        number, block, _ = layout_of(kind)
        raw = blocks_of(kind, rng)
        values = BLOCKS * (32 if kind in FLOATS else block)
        if kind in ONLY_GGML:
            floats = ggml.dequantize(kind, raw, values)
        else:
            view = {"F32": "<f4", "F16": "<f2"}.get(kind)
            qtype = gguf.GGMLQuantizationType[kind]
            floats = gguf.quants.dequantize(raw.view(view) if view else raw, qtype).astype("<f4").ravel()
            assert kind in FLOATS or np.array_equal(floats, ggml.dequantize(kind, raw, values)), kind
        assert np.isfinite(floats).all() and floats.size == values
        entries.append({"type": kind, "ggml_type": number, "blocks": BLOCKS, "values": floats.size,
                        "bytes": raw.tobytes().hex(), "floats": floats.tobytes().hex()})
    numbers = np.random.default_rng(8).standard_normal(512).astype("<f4") * np.float32(0.05)
    for kind in SCALES:
        raw = ggml.quantize(kind, numbers)
        quantised.append({"type": kind, "ggml_type": layout_of(kind)[0], "values": len(numbers), "bytes": raw.tobytes().hex()})
    from importlib.metadata import version
    common.write("dequant.json", {"program": f"gguf {version('gguf')} (gguf.quants.dequantize), checked with and completed "
                                             f"by {common.peer_version()}",
                                  "script": "tools/golden/dequant.py"}, {"types": entries, "quantised": quantised})


if __name__ == "__main__":
    main()
