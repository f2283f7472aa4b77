#!/usr/bin/env python3
"""Makes tests/golden/dequant.json: blocks of every weight type as bytes, and the floats they stand for.

The blocks are random bytes, so that every bit of codes and packed scales counts; only their half-precision
scales are set to ordinary values. The floats are those of the gguf package's dequantiser, which computes in
float32; another order of the same operations may differ in the last bit. Both are hexadecimal, floats as
little-endian float32.
"""

import argparse

import gguf
import numpy as np

import common

BLOCKS = 3
# Where a block's half-precision scales are: byte offsets.
SCALES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}
FLOATS = ("F32", "F16", "BF16")


def blocks_of(kind, rng):
    """[blocks, bytes] of uint8."""
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
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
    return raw


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rng = np.random.default_rng(7)
    entries = []
    for kind in (*FLOATS, *SCALES):
        qtype = gguf.GGMLQuantizationType[kind]
        raw = blocks_of(kind, rng)
        view = {"F32": "<f4", "F16": "<f2"}.get(kind)
        floats = gguf.quants.dequantize(raw.view(view) if view else raw, qtype).astype("<f4")
        assert np.isfinite(floats).all()
        entries.append({"type": kind, "ggml_type": int(qtype), "blocks": BLOCKS, "values": floats.size,
                        "bytes": raw.tobytes().hex(), "floats": floats.tobytes().hex()})
    from importlib.metadata import version
    common.write("dequant.json", {"program": f"gguf {version('gguf')} (gguf.quants.dequantize)",
                                  "script": "tools/golden/dequant.py"}, {"types": entries})


if __name__ == "__main__":
    main()
