#!/usr/bin/env python3
"""Makes tests/golden/lora/: random LoRA adapters as files, and lora.json: what the peer says with each of them.

tiny-peft/ and tiny.gguf are one adapter for tiny/q8_0.gguf in both formats (rank 4, alpha 8, every matrix). smollm2.gguf is
one for the default model: rank 4, every matrix of two of its 30 layers, so that it stays small. All GGUF files are
made by tools/peft_to_gguf.py. The weights are random, and large enough to change the output.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys

import gguf
import numpy as np

import common
import greedy
import prompts
import tiny

LORA = common.GOLDEN / "lora"
RANK, ALPHA = 4, 8
MODULES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
           "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def write_safetensors(path, tensors):
    """tensors: name to F16 array."""
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in tensors.values()))


def write_peft(folder, model, layers, seed):
    """A random adapter for the given layers of a model, in PEFT's format."""
    shapes = {t.name: tuple(int(n) for n in t.shape) for t in gguf.GGUFReader(model).tensors}  # (in, out)
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in layers:
        for module, name in MODULES.items():
            inputs, outputs = shapes[f"blk.{layer}.{name}.weight"]
            key = f"base_model.model.model.layers.{layer}.{module}.lora_"
            tensors[key + "A.weight"] = (rng.standard_normal((RANK, inputs)) / inputs**0.5).astype("<f2")
            tensors[key + "B.weight"] = (rng.standard_normal((outputs, RANK)) * 0.1).astype("<f2")
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": model.name, "r": RANK, "lora_alpha": ALPHA,
              "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "use_rslora": False,
              "target_modules": [m.split(".")[1] for m in MODULES], "layers_to_transform": list(layers)}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def convert(folder, model, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, common.ROOT / "tools" / "peft_to_gguf.py", "--base", model, folder, out], check=True)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    tiny_model = tiny.TINY / "q8_0.gguf"
    write_peft(LORA / "tiny-peft", tiny_model, range(2), seed=11)
    convert(LORA / "tiny-peft", tiny_model, LORA / "tiny.gguf")
    jobs = [{"text": t, "n": tiny.TOKENS, "top": 20} for t in tiny.TEXTS]
    items = [(t.split()[0], t, False) for t in tiny.TEXTS]
    small = greedy.cases(items, common.ask(tiny_model, jobs, "--lora", LORA / "tiny.gguf"),
                         common.ask(tiny.dequantized(tiny_model), jobs, "--exact", "--lora", LORA / "tiny.gguf"))
    greedy.report("tiny", small)

    folder = common.WORK / "smollm2-peft"
    shutil.rmtree(folder, ignore_errors=True)
    write_peft(folder, common.default_model(), (3, 17), seed=12)
    convert(folder, common.default_model(), LORA / "smollm2.gguf")
    jobs = greedy.jobs(prompts.ADAPTER_PROMPTS)
    full = greedy.cases(prompts.ADAPTER_PROMPTS, common.ask(common.default_model(), jobs, "--lora", LORA / "smollm2.gguf"),
                        common.ask(common.f32_model(), jobs, "--exact", "--lora", LORA / "smollm2.gguf"))
    greedy.report("smollm2", full)
    base = {c["text"]: c["out"] for c in json.loads((common.GOLDEN / "greedy.json").read_text())["cases"]}
    changed = [c["out"] != base[c["text"]] for c in full if c["text"] in base]
    print(f"smollm2: {sum(changed)} of {len(changed)} outputs differ from the base model's")

    common.write("lora.json", {
        "program": common.peer_version(), "script": "tools/golden/lora.py", "flags": f"-t {common.THREADS}, --lora FILE, scale 1",
        "exact": "model's weights dequantised, F32 KV cache, no flash attention",
    }, {"models": [
        {"model": "tiny/q8_0.gguf", "lora": "lora/tiny.gguf", "peft": "lora/tiny-peft", "max_tokens": tiny.TOKENS, "cases": small},
        {"model": common.MODEL.name, "lora": "lora/smollm2.gguf", "max_tokens": greedy.TOKENS, "cases": full},
    ]})


if __name__ == "__main__":
    main()
