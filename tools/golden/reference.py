#!/usr/bin/env python3
"""Checks the golden files against a second implementation: the model's formula in numpy, in float64.

It shares no code with the peer. Weights are dequantised by the gguf package and brought back to the row order of
Hugging Face checkpoints, so that rotary embedding and PEFT's B matrices are applied as those define them. What is
compared are the logits after the prompt that the golden files call exact. With F16 adapters those are good to about
0.002 only, since the peer rounds what it multiplies with F16 matrices to F16.
"""

import argparse
import json
import pathlib
import sys

import gguf
import numpy as np

import common

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import peft_to_gguf  # noqa: E402


def unpermute(w, heads):
    """GGUF's row order (rotary pairs side by side) back to two halves of a head. w: [heads * d, in]"""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        value = lambda key: reader.get_field("llama." + key).contents()  # noqa: E731
        self.layers, self.heads, self.kv_heads = value("block_count"), value("attention.head_count"), value("attention.head_count_kv")
        self.dim, self.base, self.eps = value("rope.dimension_count"), value("rope.freq_base"), value("attention.layer_norm_rms_epsilon")
        self.w = {}
        for t in reader.tensors:
            shape = [int(n) for n in reversed(t.shape)]
            self.w[t.name] = gguf.quants.dequantize(t.data, t.tensor_type).reshape(shape).astype(np.float64)
        for i in range(self.layers):
            for part, heads in (("q", self.heads), ("k", self.kv_heads)):
                name = f"blk.{i}.attn_{part}.weight"
                self.w[name] = unpermute(self.w[name], heads)
        self.pairs = {}

    def add_lora(self, folder):
        config = json.loads((folder / "adapter_config.json").read_text())
        self.pairs = peft_to_gguf.collect(peft_to_gguf.read_safetensors(folder / "adapter_model.safetensors"))
        for (layer, module), pair in self.pairs.items():
            full = f"model.layers.{layer}.{module}"
            alpha = peft_to_gguf.pattern_value(config.get("alpha_pattern"), full, config["lora_alpha"])
            rank = peft_to_gguf.pattern_value(config.get("rank_pattern"), full, config["r"])
            assert pair["A"].shape[0] == rank
            pair["scale"] = alpha / (rank**0.5 if config.get("use_rslora") else rank)

    def linear(self, x, layer, module):
        """x: [rows, in] -> [rows, out]"""
        y = x @ self.w[f"blk.{layer}.{peft_to_gguf.MODULES[module]}.weight"].T
        if (layer, module) in self.pairs:
            pair = self.pairs[layer, module]
            y = y + pair["scale"] * (x @ pair["A"].T.astype(np.float64)) @ pair["B"].T
        return y

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.w[name]

    def logits(self, ids):
        """The logits after the last of ids."""
        n, d, half = len(ids), self.dim, self.dim // 2
        factors = self.w.get("rope_freqs.weight", np.ones(half))
        angle = np.arange(n)[:, None] * (self.base ** (-np.arange(0, d, 2) / d) / factors)
        cos, sin = (np.tile(f(angle), 2)[:, None] for f in (np.cos, np.sin))
        rotate = lambda q: q * cos + np.concatenate([-q[..., half:], q[..., :half]], -1) * sin  # noqa: E731
        future = np.triu(np.ones((n, n), bool), 1)

        x = self.w["token_embd.weight"][ids]
        for i in range(self.layers):
            h = self.norm(x, f"blk.{i}.attn_norm.weight")
            q = rotate(self.linear(h, i, "self_attn.q_proj").reshape(n, self.heads, d))
            k = rotate(self.linear(h, i, "self_attn.k_proj").reshape(n, self.kv_heads, d))
            v = self.linear(h, i, "self_attn.v_proj").reshape(n, self.kv_heads, d)
            k, v = (np.repeat(a, self.heads // self.kv_heads, 1) for a in (k, v))
            scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d)
            scores[:, future] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            x = x + self.linear(np.einsum("hij,jhd->ihd", p, v).reshape(n, -1), i, "self_attn.o_proj")
            h = self.norm(x, f"blk.{i}.ffn_norm.weight")
            gate = self.linear(h, i, "mlp.gate_proj")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(h, i, "mlp.up_proj"), i, "mlp.down_proj")
        return self.norm(x[-1:], "output_norm.weight")[0] @ self.w.get("output.weight", self.w["token_embd.weight"]).T


def distance(model, case):
    """The largest difference from the exact logits of a golden case."""
    mine, golden = model.logits(case["ids"]), case["exact"]
    pairs = enumerate(golden["logits"]) if "logits" in golden else golden["top"]
    return max(abs(mine[i] - logit) for i, logit in pairs)


def golden(name):
    return json.loads((common.GOLDEN / name).read_text(encoding="utf-8"))


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    failed = 0

    def check(label, model, cases, limit):
        nonlocal failed
        worst = max(distance(model, c) for c in cases)
        failed += worst > limit
        print(f"{'ok' if worst <= limit else 'FAIL':4} {label}: {worst:.5f}")

    for entry in golden("tiny.json")["models"]:
        check(entry["file"], Model(common.GOLDEN / entry["file"]), entry["cases"], 0.001)
    entry = golden("lora.json")["models"][0]
    model = Model(common.GOLDEN / entry["model"])
    model.add_lora(common.GOLDEN / entry["peft"])
    check(entry["peft"], model, entry["cases"], 0.005)
    model = Model(common.default_model())
    check("default model", model, golden("greedy.json")["cases"], 0.001)
    for entry in golden("adapters.json")["adapters"]:
        model.add_lora(common.ROOT / "adapters" / entry["adapter"])
        check(f"adapters/{entry['adapter']}", model, entry["cases"], 0.001)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
