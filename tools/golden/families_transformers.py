#!/usr/bin/env python3
"""Checks tests/golden/families/ against a third implementation: transformers, and PEFT for the adapters.

Each model of family_models.py is built from transformers' own class, in float64, with the GGUF's weights brought back into the
checkpoint's form: what llama.cpp's converter does, the other way round. The logits have to be the golden "exact" ones,
computed by family_reference.py as the files hold them rounded. PEFT reads the folders as a user's adapter.

Needs tools/demo/requirements.txt. OpenELM is not in transformers, and which factors phi3 takes there depends on the prompt's
length, so the long ones are left out.
"""

import argparse
import json
import math
import os
import re
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import gguf
import numpy as np
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM

import common
import family_reference
import reference

# Largest difference from exact, in units of the logits' deviation: some of transformers' constants are float32.
SAME = 1e-4
TYPES = {"qwen3moe": "qwen3_moe", "gemma3": "gemma3_text", "gemma4": "gemma4_text", "granitemoe": "granitemoeshared", "gpt-oss": "gpt_oss",
         "mistral3": "ministral3"}
REORDERED = ("llama", "mistral3", "granite", "granitemoe", "smollm3")
EXPERTS = ("experts.gate_up_proj", "experts.gate_up_proj_bias", "block_sparse_moe.input_linear.weight")


def rotation(m):
    """rope_parameters of the full layers."""
    base, original = m.key("rope.freq_base", 10000.0), m.key("rope.scaling.original_context_length")
    kind, factor, own = m.key("rope.scaling.type"), m.key("rope.scaling.factor"), m.key("rope.scaling.attn_factor")
    if "rope_freqs.weight" in m.w and m.arch == "llama":  # as make_model.rope_factors has made them
        return {"rope_type": "llama3", "rope_theta": base, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64}
    if "rope_factors_short.weight" in m.w:
        return {"rope_type": "longrope", "rope_theta": base, "factor": 2.0, "attention_factor": own, "original_max_position_embeddings": original,
                "short_factor": m.w["rope_factors_short.weight"].tolist(), "long_factor": m.w["rope_factors_long.weight"].tolist(),
                "partial_rotary_factor": m.key("rope.dimension_count") / m.head_size(0)}
    if kind == "linear":
        return {"rope_type": "linear", "rope_theta": base, "factor": factor}
    if kind != "yarn":
        return {"rope_type": "default", "rope_theta": base}
    out = {"rope_type": "yarn", "rope_theta": base, "factor": factor, "original_max_position_embeddings": original,
           "beta_fast": m.key("rope.scaling.yarn_beta_fast", 32.0), "beta_slow": m.key("rope.scaling.yarn_beta_slow", 1.0)}
    if m.key("rope.scaling.yarn_log_multiplier"):
        out.update(mscale=1.0, mscale_all_dim=m.key("rope.scaling.yarn_log_multiplier"))
    if own:
        out["attention_factor"] = own * (0.1 * math.log(factor) + 1)
    return out


def config(m):
    """transformers' configuration of a model."""
    key, kind = m.key, TYPES.get(m.arch, m.arch)
    windows = [m.windowed(i) for i in range(m.n_layers)]
    rope = rotation(m)
    c = {"vocab_size": len(m.w["token_embd.weight"]), "hidden_size": m.width, "num_hidden_layers": m.n_layers,
         "num_attention_heads": key("attention.head_count"), "num_key_value_heads": m.by_layer("attention.head_count_kv", 0),
         "head_dim": m.head_size(0), "intermediate_size": m.by_layer("feed_forward_length", 0), "rms_norm_eps": key("attention.layer_norm_rms_epsilon"),
         "max_position_embeddings": key("context_length"), "tie_word_embeddings": "output.weight" not in m.w, "rope_parameters": rope,
         "sliding_window": max(windows) or None, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if any(windows):
        c["layer_types"] = ["sliding_attention" if w else "full_attention" for w in windows]
    plain = {"rope_type": "default", "rope_theta": key("rope.freq_base_swa", key("rope.freq_base"))}
    if key("expert_count"):
        c.update(num_experts=key("expert_count"), num_local_experts=key("expert_count"), num_experts_per_tok=key("expert_used_count"))
    if m.arch == "qwen3moe":
        c.update(moe_intermediate_size=key("expert_feed_forward_length"), norm_topk_prob=True)
    elif m.arch == "gpt-oss":
        c["attention_bias"] = True
    elif m.arch == "llama":
        c["attention_bias"] = c["mlp_bias"] = "blk.0.attn_q.bias" in m.w
    elif m.arch == "phi3":  # llama.cpp applies no window to this family
        c.update(original_max_position_embeddings=key("rope.scaling.original_context_length"), partial_rotary_factor=rope["partial_rotary_factor"])
    elif m.arch == "mistral3":
        rope["llama_4_scaling_beta"] = key("attention.temperature_scale")
    elif m.arch in ("granite", "granitemoe"):
        c.update(attention_multiplier=key("attention.scale"), embedding_multiplier=key("embedding_scale"), residual_multiplier=key("residual_scale"),
                 logits_scaling=key("logit_scale"), shared_intermediate_size=key("expert_shared_feed_forward_length"))
    elif m.arch in ("gemma2", "gemma3"):
        c.update(query_pre_attn_scalar=m.head_size(0), attn_logit_softcapping=key("attn_logit_softcapping"),
                 final_logit_softcapping=key("final_logit_softcapping"))
        if m.arch == "gemma3":
            c["rope_parameters"] = {"full_attention": rope, "sliding_attention": plain}
    elif m.arch == "olmo2" and any(windows):
        kind, c["rope_parameters"] = "olmo3", {"full_attention": rope, "sliding_attention": plain}
    elif m.arch == "gemma4":
        full = windows.index(0)
        c.update(global_head_dim=m.head_size(full), num_global_key_value_heads=m.heads(full)[1], attention_k_eq_v=True, use_double_wide_mlp=True,
                 num_kv_shared_layers=key("attention.shared_kv_layers"), hidden_size_per_layer_input=key("embedding_length_per_layer_input"),
                 vocab_size_per_layer_input=c["vocab_size"], final_logit_softcapping=key("final_logit_softcapping"), enable_moe_block=False)
        rotated = (m.w["rope_freqs.weight"] == 1).mean()
        c["rope_parameters"] = {"sliding_attention": plain, "full_attention": {
            "rope_type": "proportional", "rope_theta": key("rope.freq_base"), "partial_rotary_factor": float(rotated)}}
    return AutoConfig.for_model(kind, **c)


def weights(m, name, names):
    """The value of a parameter of transformers' model and the GGUF tensors that it is of."""
    layer = re.search(r"layers\.(\d+)\.", name)
    b = f"blk.{layer.group(1)}." if layer else ""
    suffix = ".bias" if name.endswith("bias") else ".weight"
    if "shared_mlp.input_linear" in name:
        parts = [b + "ffn_gate_shexp.weight", b + "ffn_up_shexp.weight"]
        return np.concatenate([m.w[p] for p in parts]), parts
    if name.endswith(EXPERTS):
        parts = [b + "ffn_gate_exps" + suffix, b + "ffn_up_exps" + suffix]
        gate, up = (m.w[p] for p in parts)
        if m.arch != "gpt-oss":
            return np.concatenate([gate, up], 1), parts
        both = np.stack([gate, up], 2).reshape(len(gate), -1, *gate.shape[2:])  # rows in turn
        return both.swapaxes(1, 2) if both.ndim == 3 else both, parts
    by_end = {"experts.down_proj": "ffn_down_exps", "experts.down_proj_bias": "ffn_down_exps", "shared_mlp.output_linear.weight": "ffn_down_shexp",
              "block_sparse_moe.output_linear.weight": "ffn_down_exps", "layer_scalar": "layer_output_scale", "self_attn.sinks": "attn_sinks"}
    tensor = next((b + t for end, t in by_end.items() if name.endswith(end)), None)
    if re.search(r"(mlp|block_sparse_moe)\.(router|gate)(\.layer)?\.(weight|bias)$", name):
        tensor = b + "ffn_gate_inp"
    tensor = (tensor or names.get_name(name.removesuffix(suffix))) + suffix
    w = m.w[tensor]
    if m.arch in REORDERED and ("q_proj" in name or "k_proj" in name):
        n_q, n_kv = m.heads(int(layer.group(1)))
        w = reference.unpermute(w.reshape(len(w), -1), n_q if "q_proj" in name else n_kv).reshape(w.shape)
    if m.arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        w = w - 1
    if m.arch == "gpt-oss" and name.endswith("experts.down_proj"):
        w = w.swapaxes(1, 2)
    return w, [tensor]


def build(m):
    model = AutoModelForCausalLM.from_config(config(m), attn_implementation="eager", experts_implementation="eager").double().eval()
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[m.arch], m.n_layers)
    left = set(m.w) - {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
    scalars = [(n, x) for n, x in model.named_buffers() if n.endswith("layer_scalar")]
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *scalars]:
            value, tensors = weights(m, name, names)
            assert tuple(parameter.shape) == value.shape, f"{name}: {tuple(parameter.shape)} and {value.shape}"
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
            left -= set(tensors)
    assert not left, f"nothing takes {', '.join(sorted(left))}"
    return model


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().numpy()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", help="of cases in families.json (default: all that transformers has)")
    a = p.parse_args()
    failed = 0
    for case in json.loads((common.GOLDEN / "families.json").read_text(encoding="utf-8"))["cases"]:
        name = case["name"]
        if (name not in a.names if a.names else name.endswith("-long") or case["arch"] == "openelm"):
            continue
        m = family_reference.Model(common.GOLDEN / case["model"])
        if "lora" in case:
            m.add_lora(common.GOLDEN / case["lora"])
        exact = m.logits(case["ids"], case["ctx"])
        for form in [f for f in ("peft", "peft_by_expert") if f in case] or [None]:
            model = build(m)
            if form:
                model = PeftModel.from_pretrained(model, common.GOLDEN / case[form]).double().eval()
            off = abs(logits(model, case["ids"]) - exact).max() / exact.std()
            failed += not off <= SAME
            print(f"{'ok' if off <= SAME else 'FAIL':4} {name}{' ' + form if form else ''}: {off:.1e}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
