#!/usr/bin/env python3
"""Makes tests/golden/forms/: adapters as PEFT saves them, one for each field that decides the result or looks as if it did and for each way in which
keys get their names, one as mlx-lm saves them, and forms.json: what each adds to a vector, by PEFT's own get_delta_weight (for converted adapters: by the
trained weights less the base's).

The base is a Llama of two layers with random weights, which only some starts (PiSSA and the like) look at. Needs tools/demo/requirements.txt.
"""

import json
import pathlib
import shutil
import tempfile

import huggingface_hub
import peft
import safetensors.torch
import torch
import transformers
from torch.distributed.algorithms._checkpoint import checkpoint_wrapper

import common

OUT = common.GOLDEN / "forms"
IN = {"q_proj": 32, "k_proj": 32, "v_proj": 32, "o_proj": 32, "gate_proj": 32, "up_proj": 32, "down_proj": 48}
TARGETS = ["q_proj", "down_proj"]


def base():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                      vocab_size=64, tie_word_embeddings=False)
    return transformers.LlamaForCausalLM(config).float()


def vector(n):
    return torch.tensor([((37 * j) % 17 - 8) / 8 for j in range(n)], dtype=torch.float64)


def train(model):
    """Random weights, as training leaves them."""
    torch.manual_seed(1)
    for name, p in model.named_parameters():
        if "lora_" in name:
            with torch.no_grad():
                p += 0.1 * torch.randn_like(p)


def linears(model):
    return {n: m for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in IN}


def plain(name):
    """The module's name in the base."""
    for part in ("base_model.model.", "_orig_mod.", "_checkpoint_wrapped_module.", "module."):
        name = name.replace(part, "")
    return name


def delta_of(model, adapter="default"):
    out = {}
    for name, m in linears(model).items():
        if adapter in getattr(m, "lora_A", {}):
            d = m.get_delta_weight(adapter).detach().double()
            out[plain(name)] = [float(f"{v:.9g}") for v in d @ vector(d.shape[1])]
    return out


def made(adapter="default", **fields):
    fields = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **fields}
    model = peft.get_peft_model(base(), peft.LoraConfig(**fields), adapter_name=adapter)
    train(model)
    return model


def saved(name, **fields):
    model = made(**fields)
    model.save_pretrained(OUT / name)
    return delta_of(model)


def raw(name, model, adapter="default", prefix=""):
    """The state dict as it is, which many save instead."""
    state = {prefix + k: v.contiguous() for k, v in model.state_dict().items() if "lora_" in k}
    (OUT / name).mkdir(parents=True)
    safetensors.torch.save_file(state, OUT / name / "adapter_model.safetensors")
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    inner.peft_config[adapter].save_pretrained(OUT / name)
    return delta_of(model, adapter)


def checkpointed():
    model = made()
    layers = model.base_model.model.model.layers
    for i, layer in enumerate(layers):
        layers[i] = checkpoint_wrapper.checkpoint_wrapper(layer)
        layers[i]._state_dict_hooks.clear()  # it takes its name out of keys, unless it is saved through another wrapper
    return model


def doubled():
    inner = made()
    outer = peft.PeftModel(inner, inner.peft_config["default"], adapter_name="outer")
    (OUT / "doubled").mkdir(parents=True)
    state = {k: v.contiguous() for k, v in outer.state_dict().items() if ".default." in k}
    safetensors.torch.save_file(state, OUT / "doubled" / "adapter_model.safetensors")
    inner.peft_config["default"].save_pretrained(OUT / "doubled")
    return delta_of(inner)


def sharded():
    model = made()
    (OUT / "sharded").mkdir(parents=True)
    model.peft_config["default"].save_pretrained(OUT / "sharded")
    state = {k: v.contiguous() for k, v in peft.get_peft_model_state_dict(model).items()}
    huggingface_hub.save_torch_state_dict(state, OUT / "sharded", filename_pattern="adapter_model{suffix}.safetensors", max_shard_size=2500)
    return delta_of(model)


def mlx():
    """What mlx-lm 0.32.2 leaves: lora.py saves its arguments as the configuration, tuner/lora.py adds scale * ((x @ lora_a) @ lora_b)."""
    torch.manual_seed(3)
    (OUT / "mlx").mkdir(parents=True)
    scale, rank, state, out = 5.0, 4, {}, {}
    for name, m in linears(base()).items():
        if name.startswith("model.layers.1.") and name.rsplit(".", 1)[-1] in TARGETS:
            n_out, n_in = m.weight.shape
            a, b = 0.1 * torch.randn(n_in, rank), 0.1 * torch.randn(rank, n_out)
            state |= {name + ".lora_a": a, name + ".lora_b": b}
            out[name] = [float(f"{v:.9g}") for v in scale * ((vector(n_in) @ a.double()) @ b.double())]
    safetensors.torch.save_file(state, OUT / "mlx" / "adapters.safetensors")
    config = {"adapter_path": "adapters", "batch_size": 4, "config": None, "data": "data/", "fine_tune_type": "lora", "grad_checkpoint": False, "iters": 1000,
              "learning_rate": 1e-05, "lora_parameters": {"keys": ["self_attn.q_proj", "mlp.down_proj"], "rank": rank, "scale": scale, "dropout": 0.0},
              "lr_schedule": None, "mask_prompt": False, "max_seq_length": 2048, "model": "org/base", "num_layers": 1, "optimizer": "adam",
              "optimizer_config": {"adam": {}, "adamw": {}}, "resume_adapter_file": None, "save_every": 100, "seed": 0, "train": True}
    (OUT / "mlx" / "adapter_config.json").write_text(json.dumps(config, indent=4))
    return out


def converted(name, init):
    """Saved so that it fits the base as it was."""
    torch.manual_seed(2)
    original = {n: m.weight.detach().double().clone() for n, m in linears(base()).items()}
    model = peft.get_peft_model(base(), peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM", init_lora_weights=init))
    with tempfile.TemporaryDirectory() as start:
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(start)
        model.peft_config["default"].init_lora_weights = init
        train(model)
        model.save_pretrained(OUT / (name + "-unconverted"))
        model.save_pretrained(OUT / name, path_initial_model_for_weight_conversion=start)
    merged = linears(model.merge_and_unload())
    return {n: [float(f"{v:.9g}") for v in (m.weight.detach().double() - original[n]) @ vector(m.weight.shape[1])]
            for n, m in merged.items() if n.rsplit(".", 1)[-1] in TARGETS}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    cases = {
        "plain": saved("plain"),
        "rslora": saved("rslora", use_rslora=True),
        "patterns": saved("patterns", rank_pattern={"^model.layers.1.self_attn.q_proj": 2, r".*layers\.0\..*down_proj": 6, "q_proj": 3},
                          alpha_pattern={"layers.1.mlp.down_proj": 3, "q.proj": 20, "proj": 99}),
        "patterns-rslora": saved("patterns-rslora", use_rslora=True, rank_pattern={"down_proj": 2}, alpha_pattern={"1.self_attn.q_proj": 5}),
        "fan-in-fan-out": saved("fan-in-fan-out", fan_in_fan_out=True),
        "layers": saved("layers", layers_to_transform=[1], layers_pattern="layers"),
        "exclude": saved("exclude", target_modules="all-linear", exclude_modules=r".*layers\.0\..*|.*(gate|up|k|v)_proj"),
        "orthogonal": saved("orthogonal", init_lora_weights="orthogonal"),
        "mica": saved("mica", init_lora_weights="mica"),
        "gaussian": saved("gaussian", init_lora_weights="gaussian"),
        "velora": saved("velora", velora_config=peft.VeloraConfig() if hasattr(peft, "VeloraConfig") else {}),
        "named": raw("named", made("sql-v2"), "sql-v2"),
        "compiled": raw("compiled", torch.compile(made())),
        "data-parallel": raw("data-parallel", torch.nn.DataParallel(made())),
        "checkpointed": raw("checkpointed", checkpointed()),
        "doubled": doubled(),
        "sharded": sharded(),
        "mlx": mlx(),
        "pissa": converted("pissa", "pissa"),
        "olora": converted("olora", "olora"),
    }
    shape = {"n_layers": 2, "n_head": 4, "n_head_kv": 2}
    made_by = f"PEFT {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
    (common.GOLDEN / "forms.json").write_text(json.dumps({"made_by": made_by, "shape": shape, "cases": cases}, separators=(",", ":")) + "\n")
    for readme in OUT.glob("*/README.md"):
        readme.unlink()
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
