"""The random adapters of tools/golden/families.py: the same matrices as a GGUF LoRA and as PEFT writes them.

An adapter is made in the order of the GGUF's rows and then brought into PEFT's: rows of q and k of a family whose file has
them reordered are put back, joined modules get one A, and what transformers keeps as one parameter for all experts
becomes one pair whose rows of A go by expert and whose columns of B go by rank first. Values are F16's, so that the files
hold the same numbers; the GGUF has them as F32, as the peer rounds what it multiplies with F16 matrices.
"""

import json

import gguf
import numpy as np

import lora
import reference

ALPHA_OF_RANK = 2
SPLIT = {"self_attn.q_proj": ["attn_q"], "self_attn.k_proj": ["attn_k"], "self_attn.v_proj": ["attn_v"], "self_attn.o_proj": ["attn_output"]}
DENSE = {**SPLIT, "mlp.gate_proj": ["ffn_gate"], "mlp.up_proj": ["ffn_up"], "mlp.down_proj": ["ffn_down"]}


def of_experts(module):
    """PEFT nests what it wraps around the parameters of one module; the first is innermost."""
    return {f"{module}.base_layer": ["ffn_gate_exps", "ffn_up_exps"], module: ["ffn_down_exps"]}


# name: layers, rank, {module: tensors that share its A}.
ADAPTERS = {
    "qwen2": ((0, 2), 4, DENSE),
    "gemma3": ((0, 4, 5), 4, DENSE),
    "phi3": ((0, 1, 2), 4, {"self_attn.qkv_proj": ["attn_qkv"], "self_attn.o_proj": ["attn_output"], "mlp.gate_up_proj": ["ffn_up"],
                            "mlp.down_proj": ["ffn_down"]}),
    "smollm3": ((2, 3), 4, DENSE),
    "openelm": ((0, 3), 4, {"attn.qkv_proj": ["attn_qkv"], "attn.out_proj": ["attn_output"], "ffn.proj_1": ["ffn_gate", "ffn_up"],
                            "ffn.proj_2": ["ffn_down"]}),
    "qwen3moe": ((1,), 2, {**SPLIT, **of_experts("mlp.experts")}),
    "granitemoe": ((1,), 2, {**SPLIT, "shared_mlp.input_linear": ["ffn_gate_shexp", "ffn_up_shexp"], "shared_mlp.output_linear": ["ffn_down_shexp"],
                             "block_sparse_moe.router": ["ffn_gate_inp"], **of_experts("block_sparse_moe.experts")}),
    "gpt-oss": ((2,), 2, {**SPLIT, **of_experts("mlp.experts")}),
}
REORDERED = ("llama", "smollm3", "granitemoe")


def pairs(name, shapes):
    """{(layer, module): (A, [B of each tensor])}: A is [rank, in] or [experts, rank, in], B [out, rank] or [experts, out, rank]."""
    layers, rank, modules = ADAPTERS[name]
    rng = np.random.default_rng(len(name) * 100 + rank)
    half = lambda shape, spread: (rng.standard_normal(shape) * spread).astype("<f2")  # noqa: E731
    out = {}
    for layer in layers:
        for module, tensors in modules.items():
            *experts, _, inputs = shapes[f"blk.{layer}.{tensors[0]}.weight"]
            a = half((*experts, rank, inputs), inputs**-0.5)
            out[layer, module] = a, [half((*experts, shapes[f"blk.{layer}.{t}.weight"][-2], rank), 0.2) for t in tensors]
    return out


def write_gguf(path, name, arch, made):
    _, rank, modules = ADAPTERS[name]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_name(f"random adapter of tiny {name}")
    writer.add_float32("adapter.lora.alpha", ALPHA_OF_RANK * rank)
    for (layer, module), (a, bs) in made.items():
        for tensor, b in zip(modules[module], bs):
            writer.add_tensor(f"blk.{layer}.{tensor}.weight.lora_a", a.astype(np.float32))
            writer.add_tensor(f"blk.{layer}.{tensor}.weight.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def peft_pair(arch, module, a, bs, heads):
    """A and B as PEFT has them."""
    if a.ndim == 2:
        b = np.concatenate(bs)
        if arch in REORDERED and module in heads:
            b = reference.unpermute(b, heads[module])
        return a, b
    # gpt-oss has gate and up in alternating rows, others one after the other.
    b = np.stack(bs, 2).reshape(len(a), -1, a.shape[1]) if arch == "gpt-oss" and len(bs) > 1 else np.concatenate(bs, 1)
    return a.reshape(-1, a.shape[2]), b.transpose(1, 2, 0).reshape(b.shape[1], -1)


def write_folder(folder, name, tensors, **config):
    layers, rank, _ = ADAPTERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    lora.write_safetensors(folder / "adapter_model.safetensors", {k: np.ascontiguousarray(v) for k, v in tensors.items()})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": name, "r": rank, "lora_alpha": ALPHA_OF_RANK * rank,
              "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "use_rslora": False, "layers_to_transform": list(layers), **config}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_peft(folder, name, arch, made, heads):
    layers, _, modules = ADAPTERS[name]
    root = "base_model.model." + ("transformer" if arch == "openelm" else "model")
    tensors = {}
    for (layer, module), (a, bs) in made.items():
        key = f"{root}.layers.{layer}.{module}.lora_"
        tensors[key + "A.weight"], tensors[key + "B.weight"] = peft_pair(arch, module, a, bs, heads)
    parameters = {m: [f"{m}.gate_up_proj", f"{m}.down_proj"] for m in modules if m.endswith(".experts")}
    parameters |= {m: [f"{m}.weight"] for m in modules if m.endswith(".router")}
    config = {"target_modules": [m.split(".")[-1] for m in modules if m.removesuffix(".base_layer") not in parameters]}
    if parameters:
        config["peft_version"] = "0.21.2"  # what A and B mean depends on it where a matrix is square
        config["target_parameters"] = [f"layers.{i}.{p}" for i in layers for of_module in parameters.values() for p in of_module]
    write_folder(folder, name, tensors, **config)


def write_peft_by_expert(folder, name, made):
    """As transformers 4 had it: each expert's matrices are modules of their own."""
    names = {"mlp.experts.base_layer": ("gate_proj", "up_proj"), "mlp.experts": ("down_proj",)}
    tensors = {}
    for (layer, module), (a, bs) in made.items():
        root = f"base_model.model.model.layers.{layer}."
        if module not in names:
            tensors[f"{root}{module}.lora_A.weight"], tensors[f"{root}{module}.lora_B.weight"] = a, bs[0]
            continue
        for part, b in zip(names[module], bs):
            for e in range(len(a)):
                key = f"{root}mlp.experts.{e}.{part}.lora_"
                tensors[key + "A.weight"], tensors[key + "B.weight"] = a[e], b[e]
    write_folder(folder, name, tensors, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def write(name, path, out):
    """Writes the adapter of a model in all its forms to the folder out: {form: path}."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.get_field(key).contents()  # noqa: E731
    arch = value("general.architecture")
    made = pairs(name, {t.name: [int(n) for n in reversed(t.shape)] for t in reader.tensors})
    heads = {"self_attn.q_proj": value(f"{arch}.attention.head_count"), "self_attn.k_proj": value(f"{arch}.attention.head_count_kv")}
    forms = {"lora": out / f"{name}-lora.gguf", "peft": out / f"{name}-peft"}
    write_gguf(forms["lora"], name, arch, made)
    write_peft(forms["peft"], name, arch, made, heads)
    if name == "qwen3moe":
        forms["peft_by_expert"] = out / f"{name}-peft-by-expert"
        write_peft_by_expert(forms["peft_by_expert"], name, made)
    return forms
