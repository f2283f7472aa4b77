#!/usr/bin/env python3
"""Converts a LoRA adapter from PEFT's folder format to a GGUF LoRA file, as llama.cpp reads it.

GGUF models of llama and its kin keep the rows of the q and k projections in an order of their own
(rotary pairs side by side), so the B matrices of those two are reordered the same way; this needs
the base model's architecture and head counts, read from its GGUF. PEFT's scale, lora_alpha / r (or lora_alpha / sqrt(r) with
rsLoRA), becomes the file's adapter.lora.alpha; where alpha_pattern or rank_pattern give a module another
scale, the difference goes into its B.

Needs the PyPI packages gguf and numpy. Example:
  tools/peft_to_gguf.py --base MODEL.gguf adapters/haiku haiku.gguf
"""

import argparse
import json
import math
import pathlib
import re
import struct
import sys

import gguf
import numpy as np

MODULES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    # phi3 joins q, k and v, and gate and up; its file calls the latter ffn_up.
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up",
}
# Architectures whose rows of q and k are reordered, and others.
REORDERED = {"llama", "mistral3", "granite", "granitemoe", "smollm3"}
AS_THEY_ARE = {"qwen2", "qwen3", "qwen3moe", "gemma2", "gemma3", "gemma4", "phi3", "olmo2", "gpt-oss"}
KEY = re.compile(r"(?:base_model\.model\.)?(?:model\.)?layers\.(\d+)\.([a-z_]+\.[a-z_]+)\.lora_([AB])(?:\.[^.]+)?\.weight$")


class Refused(Exception):
    """The adapter holds something that a GGUF LoRA cannot say."""


def read_safetensors(path):
    """All tensors of a safetensors file as float32 arrays."""
    raw = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    out = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        data = raw[8 + size + begin : 8 + size + end]
        if info["dtype"] == "BF16":
            array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif info["dtype"] in ("F16", "F32"):
            array = np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[info["dtype"]]).astype(np.float32)
        else:
            raise Refused(f"{name} has type {info['dtype']}")
        out[name] = array.reshape(info["shape"])
    return out


def permute(rows, heads):
    """From the order of Hugging Face checkpoints (two halves of a head) to GGUF's (pairs). rows: [heads * d, r]"""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def pattern_value(patterns, module, default):
    """PEFT's rank_pattern and alpha_pattern: the first key that matches the end of the module's name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def collect(tensors):
    """{(layer, module): {"A": ..., "B": ...}} of all pairs; refuses whatever is not part of one."""
    pairs = {}
    for name, array in tensors.items():
        m = KEY.match(name)
        if not m or m.group(2) not in MODULES:
            raise Refused(f"{name} is not a low-rank part of an attention or feed-forward matrix")
        pairs.setdefault((int(m.group(1)), m.group(2)), {})[m.group(3)] = array
    for (layer, module), pair in pairs.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise Refused(f"layer {layer}, {module}: A and B do not fit")
    return pairs


def base_shape(path):
    reader = gguf.GGUFReader(path)
    arch = reader.get_field("general.architecture").contents()
    heads = reader.get_field(f"{arch}.attention.head_count").contents()
    kv = reader.get_field(f"{arch}.attention.head_count_kv")
    return arch, heads, kv.contents() if kv else heads


def convert(folder, base, out, kind):
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type", "LORA") != "LORA" or config.get("use_dora") or config.get("fan_in_fan_out"):
        raise Refused("only plain LoRA can be converted")
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise Refused("biases and whole modules are not part of a GGUF LoRA")
    arch, heads, kv_heads = base_shape(base)
    if arch not in REORDERED | AS_THEY_ARE:
        raise Refused(f"{base} is of architecture {arch}, whose order of rows is not known here")
    pairs = collect(read_safetensors(folder / "adapter_model.safetensors"))

    root = math.sqrt if config.get("use_rslora") else float
    rank, alpha = config["r"], config["lora_alpha"]
    # llama.cpp scales each pair by alpha / (the pair's own rank).
    file_alpha = alpha / root(rank) * rank

    writer = gguf.GGUFWriter(out, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_name(folder.resolve().name)
    writer.add_float32("adapter.lora.alpha", file_alpha)
    for (layer, module), pair in sorted(pairs.items()):
        a, b = pair["A"], pair["B"]
        r = a.shape[0]
        full = f"model.layers.{layer}.{module}"
        wanted = pattern_value(config.get("alpha_pattern"), full, alpha) / root(r)
        b = b * np.float32(wanted / (file_alpha / r))
        if module == "self_attn.q_proj" and arch in REORDERED:
            b = permute(b, heads)
        elif module == "self_attn.k_proj" and arch in REORDERED:
            b = permute(b, kv_heads)
        name = f"blk.{layer}.{MODULES[module]}.weight"
        dtype = np.float16 if kind == "f16" else np.float32
        writer.add_tensor(name + ".lora_a", np.ascontiguousarray(a, dtype))
        writer.add_tensor(name + ".lora_b", np.ascontiguousarray(b, dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {len(pairs)} matrices, {out.stat().st_size} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=pathlib.Path, help="with adapter_config.json and adapter_model.safetensors")
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--base", required=True, help="the base model's GGUF")
    p.add_argument("--type", choices=("f16", "f32"), default="f16", help="of the tensors (default: %(default)s)")
    a = p.parse_args()
    try:
        convert(a.folder, a.base, a.out, a.type)
    except (Refused, OSError, KeyError, ValueError) as e:
        sys.exit(f"peft_to_gguf: {a.folder}: {e}")


if __name__ == "__main__":
    main()
