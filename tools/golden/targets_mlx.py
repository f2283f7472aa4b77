#!/usr/bin/env python3
"""Makes tests/golden/targets_mlx/ and targets_mlx.json: adapters as mlx-lm saves them, and what mlx-lm makes of them.

The models are those of families.py. transformers' own class brings a GGUF's weights into a checkpoint's form, mlx-lm's class
takes them, and mlx computes on the CPU, in float64, or for experts, of which it has no such product, in float32; without an adapter its logits have to be transformers'. mlx-lm turns
layers into its own, whose values are made random and F16's; configuration and weights are saved as its training does.
A fresh model reads that folder by mlx-lm's load_adapters and gives the logits after each of the 64 tokens of the model's case in
families.json, which NAME.bin holds as those of targets.py. Each is also computed without what its case is about.

Needs tools/demo/requirements.txt, and mlx-lm 0.32.2 with mlx[cpu] 0.32.4.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import mlx.core as mx
import mlx_lm.lora
import mlx_lm.utils
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from safetensors.numpy import load_file, save_file

import common
import expert_modules
import families
import families_transformers
import family_reference

OUT = common.GOLDEN / "targets_mlx"
EMBEDDING = "model.embed_tokens"


def drop(*parts):
    """Tensors whose names have one of these are left out."""
    def take(config, tensors):
        for name in [n for n in tensors if any(p in n for p in parts)]:
            tensors.pop(name)
    return take


def no_dora(config, tensors):
    config["fine_tune_type"] = "lora"
    drop(".m")(config, tensors)


def untied(model):
    """The output without what the embedding has been given."""
    own = model.model.embed_tokens
    while hasattr(own, "embedding"):
        own = own.embedding
    model.model.embed_tokens.as_linear = own.as_linear


# name: model, kind, layers, modules (None: those that mlx-lm takes by itself), what is taken out of it to see that it counts.
CASES = {
    "lora": ("qwen2", "lora", 2, None, drop("lora_b")),
    "dora": ("llama3", "dora", 2, ["self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj"], no_dora),
    "dora-head": ("qwen3", "dora", 1, ["self_attn.o_proj", "lm_head"], no_dora),
    "embedding": ("qwen3", "lora", 2, ["self_attn.v_proj", EMBEDDING, "lm_head"], drop("embed_tokens")),
    "dora-embedding": ("qwen3", "dora", 2, ["self_attn.v_proj", EMBEDDING], no_dora),
    "embedding-tied": ("llama3", "lora", 2, ["self_attn.v_proj", EMBEDDING], untied),
    "embedding-scaled": ("gemma3", "lora", 1, ["self_attn.v_proj", EMBEDDING], untied),
    "dora-embedding-tied": ("qwen2", "dora", 2, ["mlp.up_proj", EMBEDDING], no_dora),
    "experts": ("qwen3moe", "lora", 1, ["self_attn.q_proj", "mlp.gate", "mlp.switch_mlp.gate_proj", "mlp.switch_mlp.up_proj",
                                        "mlp.switch_mlp.down_proj"], drop("switch_mlp")),
    "dora-router": ("qwen3moe", "dora", 2, ["self_attn.o_proj", "mlp.gate"], no_dora),
}
ROUTED = ("experts", "dora-router")  # as in targets.py


def convert(hf):
    """mlx-lm's model with the weights of transformers'."""
    config = hf.config.to_dict()
    rope = config["rope_parameters"]
    if "full_attention" in rope:  # gemma3
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = 1 + config["layer_types"].index("full_attention")
        rope = rope["full_attention"]
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    kind = type(hf).__name__
    config["model_type"] = {"Qwen3MoeForCausalLM": "qwen3_moe"}.get(kind, config["model_type"])
    if kind.startswith("Qwen3Moe"):
        config |= {"num_experts": config["num_local_experts"], "decoder_sparse_step": 1, "mlp_only_layers": []}
    dtype = mx.float32 if kind.startswith("Qwen3Moe") else mx.float64
    of, arguments = mlx_lm.utils._get_classes(config)
    model = of(arguments.from_dict(config))
    weights = {name: mx.array(p.detach().numpy(), dtype=dtype) for name, p in hf.named_parameters()}
    if hasattr(model, "sanitize"):
        weights = model.sanitize(weights)
    model.load_weights(list(weights.items()), strict=True)
    return model


def build(reference):
    hf = families_transformers.build(reference)
    return convert(expert_modules.apart(hf) if reference.arch == "qwen3moe" else hf)


def logits(model, ids):
    return np.array(model(mx.array([ids]))[0]).astype(np.float64)


def disturb(model, rng):
    """Random values, F16's, for all that would be trained."""
    changed = []
    for name, p in tree_flatten(model.trainable_parameters()):
        random = rng.standard_normal(p.shape)
        if name.endswith("lora_a"):
            value = random * (0.2 if "embed_tokens" in name else p.shape[-1 if p.ndim == 3 else 0] ** -0.5)
        elif name.endswith("lora_b"):
            value = random * (p.shape[-1] ** -0.5 if "embed_tokens" in name else 0.2)
        else:
            value = np.array(p) * (1 + 0.25 * random)
        changed.append((name, mx.array(value.astype(np.float16))))
    model.load_weights(changed, strict=False)


def save(model, folder, kind, layers, modules):
    """As mlx_lm.lora.train_model and its trainer do."""
    args = {**mlx_lm.lora.CONFIG_DEFAULTS, "model": "tiny", "data": "data", "adapter_path": "adapters", "train": True, "fine_tune_type": kind, "num_layers": layers,
            "lora_parameters": {"rank": 2, "dropout": 0.0, "scale": 2.0, **({"keys": modules} if modules else {})}}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.freeze()
    linear_to_lora_layers(model, layers, args["lora_parameters"], use_dora=kind == "dora")
    disturb(model, np.random.default_rng(sum(folder.name.encode())))
    mlx_lm.utils.save_config(args, folder / "adapter_config.json")
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))


def adapted(reference, folder, ids, change=None):
    model = load_adapters(build(reference), folder)
    if change:
        change(model)
    model.eval()
    return logits(model, ids)


def without(reference, folder, take, ids):
    if take is untied:
        return adapted(reference, folder, ids, untied)
    with tempfile.TemporaryDirectory() as less:
        less = pathlib.Path(less) / "less"
        shutil.copytree(folder, less)
        config, tensors = json.loads((less / "adapter_config.json").read_text(encoding="utf-8")), load_file(less / "adapters.safetensors")
        take(config, tensors)
        (less / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(tensors, less / "adapters.safetensors")
        return adapted(reference, less, ids)


def case(name, family):
    model_name, kind, layers, modules, take = CASES[name]
    reference, ids, folder = family_reference.Model(common.GOLDEN / family["model"]), family["ids"], OUT / name
    hf = families_transformers.logits(families_transformers.build(reference), ids)
    model = build(reference)
    base = logits(model, ids)
    save(model, folder, kind, layers, modules)
    exact = adapted(reference, folder, ids)
    off, moved, counts = families.distance(base, hf), families.distance(base, exact), families.distance(without(reference, folder, take, ids), exact)
    step = float(abs(exact).max() / 32767)
    data = OUT / f"{name}.bin"
    data.write_bytes(np.round(exact / step).astype("<i2").tobytes())
    tensors = load_file(folder / "adapters.safetensors")
    print(f"{name:20} off transformers {off:.1e}, std {exact.std():.2f}, moved by {moved:.3f}, by {counts:.3f} of it alone, {len(tensors)} tensors")
    entry = {"name": name, "model": family["model"], "sha256": family["sha256"], "ctx": family["ctx"], "mlx": f"targets_mlx/{name}",
             "vocab": exact.shape[1], "ids": ids, "logits": f"targets_mlx/{data.name}", "step": step, "std": round(float(exact.std()), 4),
             "peer": family["peer"], "moved": round(moved, 4), "counts": round(counts, 4), **({"routed": True} if name in ROUTED else {})}
    problems = [f"{name}: logits move by {counts} only"] if counts < families.VISIBLE else []
    return entry, problems + ([f"{name}: the base is {off} off"] if off > families_transformers.SAME else [])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", help="of cases; the others are kept (default: all)")
    a = p.parse_args()
    unknown = set(a.names) - set(CASES)
    if unknown:
        p.error(f"there is no {', '.join(sorted(unknown))}")
    mx.set_default_device(mx.cpu)
    OUT.mkdir(exist_ok=True)
    known = {c["name"]: c for c in json.loads((common.GOLDEN / "families.json").read_text(encoding="utf-8"))["cases"]}
    file = common.GOLDEN / "targets_mlx.json"
    cases = {c["name"]: c for c in json.loads(file.read_text(encoding="utf-8"))["cases"]} if file.exists() else {}
    problems = []
    for name in a.names or CASES:
        cases[name], wrong = case(name, known[CASES[name][0]])
        problems += wrong
    common.write("targets_mlx.json", {"program": f"mlx-lm {mlx_lm.__version__}, mlx {mx.__version__}", "script": "tools/golden/targets_mlx.py",
                                      "exact": "float64, of experts float32"},
                 {"positions": families.POSITIONS, "cases": [cases[n] for n in CASES if n in cases]})
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
