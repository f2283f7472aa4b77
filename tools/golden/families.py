#!/usr/bin/env python3
"""Makes tests/golden/families/ and families.json: a tiny random model of each family, and its logits at 64 positions.

A case is a model (with an adapter, perhaps), 64 random tokens, and two answers, all logits after each token:
  exact   of family_reference.py: the formula in float64, on dequantised weights
  peer    llama.cpp's on the file as it is, with an F32 KV cache and no flash attention, so that what it differs by from
          exact is what int8 activations cost
The peer is also asked with all weights dequantised to F32: it has to agree with the formula (in which GELU is then the
peer's, from a table of F16), or the formula is wrong ("peer_f32" tells by how much they differ). And each part of a family is taken out in turn, in the formula: the
logits have to move by more than a test would forgive ("parts"), or a test could not tell whether an engine has the part.

NAME.bin holds both, [64 positions][vocabulary] each: exact as int16, little-endian, which times "step" are logits, and
what the peer's are above them as int8, times "peer_step".
"""

import argparse
import json
import sys

import numpy as np

import common
import family_adapters
import family_models
import family_reference
import tiny

OUT = common.GOLDEN / "families"
POSITIONS = 64
CTX = 256
# Chosen experts lead by this much, where nothing else says which tokens to take: else noise chooses others.
MARGIN = 0.4
# What is taken out of a model has to move its logits by as many standard deviations, in the root mean square.
VISIBLE = 0.03
# And how far the peer with F32 weights may be from the formula, in the same unit.
SAME = 0.0005
# cases: name, context, adapter. phi3's and longrope's factors depend on the context.
LONG = {"phi3": 512, "llama-longrope": 512}


def tokens(path, vocab, name, loras):
    """The fixed random tokens of a model; for a mixture of experts such that their choice is clear at each, with and without adapter."""
    rng = np.random.default_rng(len(name) * 1000 + vocab)
    models = [family_reference.Model(path) for _ in (None, *loras)]
    for model, adapter in zip(models[1:], loras):
        model.add_lora(adapter)
    ids = []
    while len(ids) < POSITIONS:
        ids.append(int(rng.integers(vocab)))
        if any(t.endswith("ffn_gate_inp.weight") for t in models[0].w):
            for model in models:
                model.least_margin = np.inf
                model.logits(ids)
            if min(model.least_margin for model in models) < MARGIN:
                ids.pop()
    return ids


def parts(model):
    """Each optional part of a model as (its name, a function that takes it out)."""
    def key(name, value):
        return lambda m: m.keys.update({f"{m.arch}.{name}": value})

    def family(**changes):
        return lambda m: m.family.update(changes)

    def tensors(end, change):
        def take(m):
            for name in [n for n in m.w if n.endswith(end)]:
                m.w[name] = change(m.w[name])
        return take

    endings = sorted({n.split(".", 2)[-1] if n.startswith("blk.") else n for n in model.w})
    for end in endings:
        if end.endswith("norm.weight") or end in ("layer_output_scale.weight", "rope_freqs.weight"):
            yield end, tensors(end, np.ones_like)
        elif end.endswith(".bias"):
            yield end, tensors(end, np.zeros_like)
        elif end == "attn_sinks.weight":
            yield end, tensors(end, lambda w: w - 1e6)
        elif end == "ffn_down_shexp.weight":
            yield "shared expert", tensors(end, np.zeros_like)
        elif end in ("rope_factors_long.weight", "rope_factors_short.weight"):
            yield end, tensors(end, np.ones_like)
    f = model.family
    window, layers = model.key("attention.sliding_window", 0), range(model.n_layers)
    yield "rotation of the other pairs", family(pairs="halves" if f["pairs"] == "neighbours" else "neighbours")
    yield "all of it without positions", family(unrotated=1)
    if f["act"] != "silu":
        yield "activation", family(act="silu")
    if any(model.windowed(i) for i in layers):
        yield "window", key("attention.sliding_window", 10**6)
        yield "window one longer", key("attention.sliding_window", window + 1)
        yield "window one shorter", key("attention.sliding_window", window - 1)
        on = [bool(model.windowed(i)) for i in layers]
        if len({model.head_size(i) for i in layers}) == 1:
            yield "pattern of windows", key("attention.sliding_window_pattern", on[1:] + on[:1])
        if model.key("rope.freq_base_swa"):
            yield "base of windows", key("rope.freq_base_swa", model.key("rope.freq_base"))
    if "window_plain" in f and window:
        yield "plain rotation of windows", family(window_plain=False)
    if f.get("window_unscaled") and model.key("rope.scaling.factor"):
        yield "no scale in windows", family(window_unscaled=False)
    if "attention_cap" in f:
        yield "cap of attention", key("attn_logit_softcapping", 1e6)
    if model.key("final_logit_softcapping"):
        yield "cap of logits", key("final_logit_softcapping", 0.0)
    if f.get("value_norm"):
        yield "norm of values", family(value_norm=False)
        yield "scale of scores", family(score_scale=0)
        yield "second embedding", tensors("per_layer_token_embd.weight", np.zeros_like)
        yield "projection of the first", tensors("per_layer_model_proj.weight", lambda w: w * 0)
    if f.get("unrotated"):
        yield "layers without rotation", family(unrotated=0)
    for name in ("attention.scale", "embedding_scale", "residual_scale", "logit_scale", "rope.scaling.factor", "attention.temperature_scale",
                 "rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"):
        if model.key(name):
            yield name, lambda m, name=name: m.keys.pop(f"{m.arch}.{name}")
    if model.key("rope.scaling.attn_factor"):
        yield "rope.scaling.attn_factor", key("rope.scaling.attn_factor", 1.0)
    if model.key("rope.scaling.type") == "yarn":
        yield "yarn", key("rope.scaling.type", "linear")
    if model.key("rope.dimension_count") and model.key("rope.dimension_count") < model.head_size(0):
        yield "part that is not rotated", lambda m: m.keys.pop(f"{m.arch}.rope.dimension_count") and [
            m.w.pop(n) for n in ("rope_factors_long.weight", "rope_factors_short.weight")]


def distance(a, b):
    """Root mean square difference, in units of b's standard deviation."""
    return float(np.sqrt(((a - b) ** 2).mean()) / b.std())


def visible(path, ids, ctx, exact):
    """What the logits move by without each part, and the parts that nobody would miss."""
    moved = {}
    for name, take in parts(family_reference.Model(path)):
        other = "long" if ctx <= CTX else "short"
        if name == f"rope_factors_{other}.weight":
            continue
        model = family_reference.Model(path)
        take(model)
        moved[name] = round(distance(model.logits(ids, ctx), exact), 4)
    return moved


def case(name, path, ids, ctx=CTX, adapter=None):
    label = name + ("-lora" if adapter else "") + ("-long" if ctx > CTX else "")
    flags = ["--exact", "--ctx", str(ctx)]
    if adapter:
        flags += ["--lora", common.GOLDEN / adapter["lora"]]
    job = [{"ids": ids, "each": True}]
    ask = lambda file: np.array(common.ask(file, job, *flags)[0]["each"])  # noqa: E731
    model = family_reference.Model(path)
    if adapter:
        model.add_lora(common.GOLDEN / adapter["lora"])
    exact, peer, full = model.logits(ids, ctx), ask(path), ask(tiny.dequantized(path))
    moved = {} if adapter else visible(path, ids, ctx, exact)
    if adapter:
        moved["adapter"] = round(distance(family_reference.Model(path).logits(ids, ctx), exact), 4)
    as_the_peer = exact
    if model.family["act"] == "gelu":
        model.family["act"] = "half_gelu"
        as_the_peer = model.logits(ids, ctx)
    off = distance(full, as_the_peer)
    worst = sorted(moved.items(), key=lambda x: x[1])[:3]
    agree = (peer.argmax(1) == exact.argmax(1)).mean()
    print(f"{label:20} {path.stat().st_size:7} bytes, std {exact.std():.2f}, peer {distance(peer, exact):.4f} (max "
          f"{abs(peer - exact).max() / exact.std():.3f}, {agree:.0%} of best tokens), peer F32 {off:.5f}, least {worst}")
    problems = [f"{label}: without {part} logits move by {by} only" for part, by in moved.items() if by < VISIBLE]
    if off > SAME:
        problems.append(f"{label}: the peer with F32 weights differs by {off}")
    step, peer_step = float(abs(exact).max() / 32767), float(abs(peer - exact).max() / 127)
    data = OUT / f"{label}.bin"
    data.write_bytes(np.round(exact / step).astype("<i2").tobytes() + np.round((peer - exact) / peer_step).astype("i1").tobytes())
    entry = {"name": label, "arch": model.arch, "model": f"families/{path.name}", "sha256": common.sha256(path), "ctx": ctx, **(adapter or {}),
             "vocab": exact.shape[1], "ids": ids, "logits": f"families/{data.name}", "step": step, "peer_step": peer_step, "std": round(float(exact.std()), 4),
             "peer": round(distance(peer, exact), 5), "peer_max": round(float(abs(peer - exact).max() / exact.std()), 5),
             "peer_f32": round(off, 7), "parts": moved}
    return entry, problems


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", help="of models in family_models.py; the others keep their cases (default: all)")
    a = p.parse_args()
    unknown = set(a.names) - set(family_models.MODELS)
    if unknown:
        p.error(f"there is no {', '.join(sorted(unknown))}")
    made_by = {
        "program": common.peer_version(), "script": "tools/golden/families.py", "models": "tools/golden/family_models.py",
        "flags": f"-t {common.THREADS}, F32 KV cache, no flash attention", "exact": "tools/golden/family_reference.py, float64",
    }
    file = common.GOLDEN / "families.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"cases": [], "positions": POSITIONS}
    cases, problems = {c["name"]: c for c in old["cases"]}, []
    for name in a.names or family_models.MODELS:
        model, path = family_models.MODELS[name](), OUT / f"{name}.gguf"
        model.write(path)
        forms = family_adapters.write(name, path, OUT) if name in family_adapters.ADAPTERS else {}
        ids = tokens(path, model.vocab, name, [forms["lora"]] if forms else [])
        runs = [(CTX, None)]
        if name in LONG:
            runs.append((LONG[name], None))
        if forms:
            runs.append((CTX, {form: str(p.relative_to(common.GOLDEN)) for form, p in forms.items()}))
        for ctx, adapter in runs:
            entry, wrong = case(name, path, ids, ctx, adapter)
            cases[entry["name"]] = entry
            problems += wrong
    order = list(family_models.MODELS)
    rank = lambda c: (order.index(c["model"].split("/")[1].removesuffix(".gguf")), c["name"])  # noqa: E731
    common.write("families.json", made_by, {"positions": POSITIONS, "cases": sorted(cases.values(), key=rank)})
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
