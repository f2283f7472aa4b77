#!/usr/bin/env python3
"""Makes tests/golden/targets/ and targets.json: adapters that touch more than pairs on linear layers, and what PEFT makes of them.

The models are those of families.py, in transformers' own classes and in float64 (families_transformers.py builds them). PEFT puts an
adapter on one, whose values are made random and F16's, saves it, reads it back from the files, and gives the logits after each of the 64
tokens of the model's case in families.json. Each adapter is also read without what its case is about: the logits have to
move by more than a test would forgive.

Some are trained with a vocabulary of another size (transformers' resize_token_embeddings), and their texts have the added tokens.

Some are written as GGUF LoRA files too. NAME.bin holds the logits, [64][vocabulary] int16, little-endian, which times "step" are exact. Needs tools/demo/requirements.txt.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

import common
import expert_modules
import families
import families_transformers
import family_reference

OUT = common.GOLDEN / "targets"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
TWO = [0, 2]  # layers of most cases, so that files stay small


def drop(*parts):
    """Tensors whose names have one of these are left out."""
    return lambda config, tensors: [tensors.pop(name) for name in list(tensors) if any(p in name for p in parts)]


def plain(*fields, without=()):
    """The fields of the configuration are taken out, and tensors whose names have a part of `without`."""
    def take(config, tensors):
        for field in fields:
            config[field] = {"bias": "none", "use_dora": False, "lora_bias": False}.get(field)
        drop(*without)(config, tensors)
    return take


def nothing(*parts):
    """Tensors whose names have one of these are zero."""
    def take(config, tensors):
        for name in tensors:
            if any(p in name for p in parts):
                tensors[name] = torch.zeros_like(tensors[name])
    return take


without_rows = nothing("embed_tokens", "lm_head")


# name: model, what PEFT is asked for, what is taken out of it to see that it counts.
CASES = {
    "head": ("llama3", {"target_modules": ["q_proj", "down_proj", "lm_head"]}, drop("lm_head")),
    "head-alone": ("qwen3", {"target_modules": ["lm_head"], "r": 8}, drop("lm_head.lora")),
    "head-tied": ("gemma3", {"target_modules": ["v_proj", "lm_head"]}, drop("lm_head")),
    "dora": ("llama3", {"target_modules": ALL, "use_dora": True}, plain("use_dora", without=["magnitude"])),
    "dora-biases": ("llama-biases", {"target_modules": ["k_proj", "o_proj", "up_proj", "down_proj"], "use_dora": True, "bias": "all"},
                    plain("use_dora", without=["magnitude"])),
    "dora-head": ("gemma3", {"target_modules": ["q_proj", "o_proj", "lm_head"], "use_dora": True}, plain("use_dora", without=["magnitude"])),
    "dora-rslora": ("qwen2", {"target_modules": ["q_proj", "gate_proj"], "use_dora": True, "use_rslora": True},
                    plain("use_dora", without=["magnitude"])),
    "dora-embedding": ("llama3", {"target_modules": ["k_proj", "embed_tokens"], "use_dora": True}, plain("use_dora", without=["magnitude"])),
    "dora-embedding-scaled": ("gemma3", {"target_modules": ["o_proj", "embed_tokens"], "use_dora": True}, plain("use_dora", without=["magnitude"])),
    "bias-all": ("qwen2", {"target_modules": ["q_proj", "o_proj"], "bias": "all"}, plain("bias", without=[".bias"])),
    "bias-lora-only": ("llama-biases", {"target_modules": ["q_proj", "o_proj", "up_proj", "down_proj"], "bias": "lora_only"},
                       plain("bias", without=[".bias"])),
    "lora-bias": ("qwen2", {"target_modules": ALL, "lora_bias": True}, plain("lora_bias", without=[".bias"])),
    "embedding": ("llama3", {"target_modules": ["k_proj", "embed_tokens"]}, drop("embed_tokens")),
    "embedding-scaled": ("gemma3", {"target_modules": ["o_proj", "embed_tokens"]}, drop("embed_tokens")),
    "embedding-tied": ("gemma3", {"target_modules": ["o_proj", "embed_tokens"], "ensure_weight_tying": True},
                       plain("ensure_weight_tying", without=["lm_head"])),
    "embedding-and-head": ("qwen2", {"target_modules": ["embed_tokens", "lm_head", "v_proj"]}, drop("embed_tokens", "lm_head")),
    "saved-head": ("llama3", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, plain("modules_to_save", without=["lm_head"])),
    "saved-embedding": ("qwen2", {"target_modules": ["up_proj"], "modules_to_save": ["embed_tokens"]},
                        plain("modules_to_save", without=["embed_tokens"])),
    "saved-embedding-tied-base": ("gemma3", {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"]},
                                  plain("modules_to_save", without=["embed_tokens"])),
    "saved-tied": ("gemma3", {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
                   plain("ensure_weight_tying", without=["lm_head"])),
    "saved-both": ("llama3", {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
                   plain("modules_to_save", without=["embed_tokens", "lm_head"])),
    "saved-norms": ("llama3", {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm", "post_attention_layernorm", "norm"]},
                    plain("modules_to_save", without=["norm"])),
    "saved-norms-gemma": ("gemma3", {"target_modules": ["q_proj"], "modules_to_save": [
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "q_norm", "k_norm", "norm"]},
        plain("modules_to_save", without=["norm"])),
    "rank-1024": ("llama3", {"target_modules": ["v_proj"], "r": 1024, "use_rslora": True}, drop("v_proj")),
    "tokens": ("llama3", {"target_modules": ["q_proj"], "trainable_token_indices": list(range(3, 280, 5))},
               plain("trainable_token_indices", without=["token_adapter"])),
    "tokens-tied": ("gemma3", {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": list(range(1, 280, 3))}},
                    plain("trainable_token_indices", without=["token_adapter"])),
    "dora-experts": ("qwen3moe", {"target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"], "use_dora": True, "r": 2},
                     plain("use_dora", without=["magnitude"])),
    "dora-router": ("qwen3moe", {"target_modules": ["gate", "o_proj"], "use_dora": True, "r": 3}, plain("use_dora", without=["magnitude"])),
    "dora-experts-biases": ("gpt-oss", {"target_modules": ["o_proj", "gate_up_projs", "down_projs"], "use_dora": True, "bias": "all", "r": 2},
                            plain("use_dora", without=["magnitude"])),
    "lora-bias-experts": ("qwen3moe", {"target_modules": ["up_proj", "down_proj"], "lora_bias": True, "r": 2}, plain("lora_bias", without=[".bias"])),
}

# name: tokens more than the model has, whether PEFT saves the resized matrices (as it does where it finds the model's configuration).
RESIZED = {"resized": (5, True), "resized-tied": (3, True), "resized-trained": (2, True), "resized-pairs": (17, True), "resized-tokens": (4, True),
           "resized-tokens-tied": (4, True), "resized-tokens-alone": (4, False), "resized-smaller": (-6, True)}
CASES |= {
    "resized": ("llama3", {"target_modules": ["q_proj"]}, without_rows),
    "resized-tied": ("gemma3", {"target_modules": ["v_proj"]}, without_rows),
    "resized-trained": ("llama3", {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, without_rows),
    "resized-pairs": ("qwen2", {"target_modules": ["v_proj", "embed_tokens", "lm_head"]}, drop("embed_tokens.lora", "lm_head.lora")),
    "resized-tokens": ("llama3", {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, -1, -3], "lm_head": [5, -2]}},
                       nothing("token_adapter.trainable")),
    "resized-tokens-tied": ("gemma3", {"target_modules": ["q_proj"], "trainable_token_indices": [7, -1, -2]}, nothing("token_adapter.trainable")),
    "resized-tokens-alone": ("gemma3", {"target_modules": ["q_proj"], "trainable_token_indices": [9, -4, -3, -2, -1]}, without_rows),
    "resized-smaller": ("llama3", {"target_modules": ["q_proj"]}, without_rows),
}

# Those that change which experts a row goes to: where two are near a tie, rounding of packed weights decides, and so they are compared as F16 alone.
ROUTED = ("dora-router", "dora-experts-biases")

# Those whose experts have modules of their own: see expert_modules.py.
APART = ("dora-experts", "dora-router", "dora-experts-biases", "lora-bias-experts")

# Those that are written as mlx-lm has them too, and as GGUF. targets_mlx.py has files of mlx-lm's own.
AS_MLX = ("dora", "dora-rslora")
AS_GGUF = ("head-alone", "embedding-and-head", "embedding-scaled", "saved-norms-gemma")


def disturb(model, rng):
    """Random values, F16's, for all that would be trained; what is a copy of the base's is moved by a part of its size."""
    for name, p in model.named_parameters():
        shape, random = tuple(p.shape), torch.from_numpy(rng.standard_normal(tuple(p.shape)))
        if not p.requires_grad:
            continue
        if "lora_A" in name or "lora_embedding_B" in name:
            value = random * shape[-1] ** -0.5
        elif ("lora_B" in name and "bias" not in name) or "lora_embedding_A" in name:
            value = random * (0.2 if shape[-1] < 64 or "embedding" in name else 0.05)
        elif "magnitude" in name:
            value = p * (1 + 0.25 * random)
        elif name.endswith("bias"):
            value = p + 0.3 * random
        elif p.dim() == 1:
            value = p + 0.2 * random
        else:
            value = p + 0.5 * p.std() * random
        p.data.copy_(value.half().double())


def finish(folder, take=None):
    """The files that PEFT has written, with F16 values and no paths of this machine; `take`: less of it."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "tiny"
    tensors = {k: v.half().contiguous() for k, v in load_file(folder / "adapter_model.safetensors").items()}
    if take:
        take(config, tensors)
    config = {k: sorted(v) if k == "target_modules" else v for k, v in config.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    for other in folder.iterdir():
        if other.name not in ("adapter_config.json", "adapter_model.safetensors"):
            other.unlink()


def targets(names, wanted, layers):
    """Modules of these layers by their whole names; those of the whole model by their own, which PEFT looks for."""
    of_model = [w for w in wanted if w in ("lm_head", "embed_tokens")]
    own = lambda n: n.rstrip("0123456789").rstrip(".").split(".")[-1]  # noqa: E731: without an expert's number
    return of_model + [n for n in names if own(n) in wanted and n.split(".")[-1] not in ("gate_up_projs", "down_projs") and n.startswith(tuple(f"model.layers.{i}." for i in layers))]


def write_gguf(path, folder, reference):
    """The same adapter as llama.cpp's convert_lora_to_gguf.py writes it; of a family whose rows have one order."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[reference.arch], reference.n_layers)
    writer = gguf.GGUFWriter(path, reference.arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"])
    for key, value in sorted(load_file(folder / "adapter_model.safetensors").items()):
        value, key = value.float().numpy(), key.removeprefix("base_model.model.")
        if ".base_layer." in key:
            continue
        if key.endswith("norm.weight"):
            one = reference.arch in ("gemma2", "gemma3")
            writer.add_tensor(names.get_name(key.removesuffix(".weight")) + ".weight", value + one)
            continue
        module, part = key.removesuffix(".weight").rsplit(".", 1)
        if part == "lora_embedding_A":
            value = np.ascontiguousarray(value.T)
        writer.add_tensor(f"{names.get_name(module)}.weight.lora_{part[-1].lower()}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mlx(to, folder):
    """The same adapter in the files of mlx-lm 0.32.2: lora_a [in, r], lora_b [r, out], m [out], and a scale."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    scale = config["lora_alpha"] / config["r"] ** (0.5 if config["use_rslora"] else 1)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    state = {}
    for key, value in load_file(folder / "adapter_model.safetensors").items():
        module, part = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        state[module + {"lora_A": ".lora_a", "lora_B": ".lora_b", "lora_magnitude_vector": ".m"}[part]] = value.T.contiguous() if value.dim() == 2 else value
    save_file(state, to / "adapters.safetensors")
    (to / "adapter_config.json").write_text(json.dumps({"fine_tune_type": "dora", "model": "tiny", "num_layers": -1, "lora_parameters": {
        "rank": config["r"], "scale": scale, "dropout": 0.0}}, indent=1) + "\n", encoding="utf-8")


def build(reference, name):
    """The model, with the vocabulary of the case: what is added is random."""
    model = families_transformers.build(reference)
    if name in RESIZED:
        torch.manual_seed(7)
        model.resize_token_embeddings(model.config.get_text_config().vocab_size + RESIZED[name][0], mean_resizing=False)
        for p in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            p.data[-max(RESIZED[name][0], 1):] = torch.randn_like(p.data[-max(RESIZED[name][0], 1):]) * p.data.std()
    return expert_modules.apart(model) if name in APART else model


def tokens_of(asked, vocab):
    """Indices below zero count from the end of the resized vocabulary."""
    if isinstance(asked, dict):
        return {k: tokens_of(v, vocab) for k, v in asked.items()}
    return sorted(t % vocab for t in asked)


def read_logits(reference, name, folder, ids):
    model = PeftModel.from_pretrained(build(reference, name), folder).double().eval()
    return families_transformers.logits(model, ids)


def case(name, family):
    model_name, asked, take = CASES[name]
    reference = family_reference.Model(common.GOLDEN / family["model"])
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    asked = {"r": 4, "lora_alpha": 8 if asked.get("r", 4) < 64 else 32, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", **asked}
    plain = build(reference, name)
    names, vocab = [n for n, _ in plain.named_modules()], plain.get_input_embeddings().weight.shape[0]
    if name in RESIZED and "trainable_token_indices" in asked:
        asked["trainable_token_indices"] = tokens_of(asked["trainable_token_indices"], vocab)
    asked["target_modules"] = targets(names, asked["target_modules"], [1] if name == "rank-1024" else TWO)
    torch.manual_seed(len(name))
    model = get_peft_model(build(reference, name), LoraConfig(**asked)).double().eval()
    disturb(model, np.random.default_rng(sum(name.encode())))
    model.save_pretrained(folder, save_embedding_layers=RESIZED[name][1] if name in RESIZED else "auto")
    finish(folder)
    ids = family["ids"]
    if name in RESIZED:
        ids = [vocab - 1 - i % max(RESIZED[name][0], 1) if i % 5 == 2 else t % vocab for i, t in enumerate(ids)]
    exact, base = read_logits(reference, name, folder, ids), families_transformers.logits(build(reference, name), ids)
    with tempfile.TemporaryDirectory() as less:
        less = type(folder)(less) / "less"
        shutil.copytree(folder, less)
        finish(less, take)
        without = read_logits(reference, name, less, ids) if load_file(less / "adapter_model.safetensors") else base
    moved, counts = families.distance(base, exact), families.distance(without, exact)
    step = float(abs(exact).max() / 32767)
    data = OUT / f"{name}.bin"
    data.write_bytes(np.round(exact / step).astype("<i2").tobytes())
    tensors = load_file(folder / "adapter_model.safetensors")
    print(f"{name:26} std {exact.std():.2f}, moved by {moved:.3f}, by {counts:.3f} of it alone, {len(tensors)} tensors, "
          f"{sum(f.stat().st_size for f in folder.iterdir())} bytes")
    entry = {"name": name, "model": family["model"], "sha256": family["sha256"], "ctx": family["ctx"], "peft": f"targets/{name}",
             "vocab": exact.shape[1], "ids": ids, "logits": f"targets/{data.name}", "step": step, "std": round(float(exact.std()), 4),
             "peer": family["peer"], "moved": round(moved, 4), "counts": round(counts, 4)}
    if name in ROUTED:
        entry["routed"] = True
    if name in AS_MLX:
        entry["mlx"] = f"targets/{name}-mlx"
        write_mlx(common.GOLDEN / entry["mlx"], folder)
    if name in AS_GGUF:
        entry["lora"] = f"targets/{name}.gguf"
        write_gguf(common.GOLDEN / entry["lora"], folder, reference)
    return entry, [] if counts >= families.VISIBLE else [f"{name}: logits move by {counts} only"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", help="of cases; the others are kept (default: all)")
    a = p.parse_args()
    unknown = set(a.names) - set(CASES)
    if unknown:
        p.error(f"there is no {', '.join(sorted(unknown))}")
    import peft
    import transformers
    OUT.mkdir(exist_ok=True)
    known = {c["name"]: c for c in json.loads((common.GOLDEN / "families.json").read_text(encoding="utf-8"))["cases"]}
    file = common.GOLDEN / "targets.json"
    cases = {c["name"]: c for c in json.loads(file.read_text(encoding="utf-8"))["cases"]} if file.exists() else {}
    problems = []
    for name in a.names or CASES:
        cases[name], wrong = case(name, known[CASES[name][0]])
        problems += wrong
    common.write("targets.json", {"program": f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}",
                                  "script": "tools/golden/targets.py", "exact": "float64"},
                 {"positions": families.POSITIONS, "cases": [cases[n] for n in CASES if n in cases]})
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
