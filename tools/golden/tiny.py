#!/usr/bin/env python3
"""Makes tests/golden/tiny/*.gguf and tests/golden/tiny.json: a small random model of every weight type and its logits.

Three shapes, each the smallest that its types allow, since the files are committed: width 64 for the float types,
96 (3 heads on 1, a width that is no multiple of 64, as SmolLM2's) for the types with blocks of 32, and 256 for the K
types. Two variants more: rotary frequency factors, and an output matrix of its own with an odd vocabulary.

Each case has the peer's logits with the file as it is, and as the exact reference the logits with all
weights dequantised to F32 (by the gguf package's own dequantiser), F32 KV cache, no flash attention.
"""

import argparse
import pathlib
import subprocess
import sys

import gguf
import numpy as np

import common

TINY = common.GOLDEN / "tiny"
FLOAT = ["--layers", "2", "--width", "64", "--ffn", "128", "--heads", "2", "--kv-heads", "1"]
BLOCK = ["--layers", "2", "--width", "96", "--ffn", "160", "--heads", "3", "--kv-heads", "1"]
KTYPE = ["--layers", "1", "--width", "256", "--ffn", "256", "--heads", "4", "--kv-heads", "1"]

MODELS = {
    **{t.lower(): (t, FLOAT) for t in ("F32", "F16", "BF16")},
    **{t.lower(): (t, BLOCK) for t in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")},
    **{t.lower(): (t, KTYPE) for t in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")},
    "rope-factors": ("Q8_0", [*BLOCK, "--rope-factors", "--seed", "2"]),
    "untied": ("Q4_0", [*BLOCK, "--untied", "--vocab", "317", "--seed", "3"]),
}

TEXTS = [
    "Hello",
    "The quick brown fox jumps over the lazy dog.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, 1234567890 times: and the rest is in the text.",
]
TOKENS = 16


def dequantized(model):
    """A copy of a model with F32 matrices."""
    out = common.WORK / "tiny" / (model.stem + "-f32.gguf")
    out.parent.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(model)
    writer = gguf.GGUFWriter(out, reader.get_field("general.architecture").contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], sub)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for t in reader.tensors:
        shape = tuple(int(n) for n in reversed(t.shape))
        weights = gguf.quants.dequantize(t.data, t.tensor_type)
        writer.add_tensor(t.name, np.ascontiguousarray(weights.reshape(shape), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keep-models", action="store_true", help="ask about the committed files again, without making them anew")
    a = p.parse_args()
    jobs = [{"text": t, "n": TOKENS, "top": 1, "full": True} for t in TEXTS]
    entries = []
    for name, (kind, shape) in MODELS.items():
        path = TINY / f"{name}.gguf"
        if not a.keep_models:
            tool = pathlib.Path(__file__).resolve().parents[1] / "make_model.py"
            subprocess.run([sys.executable, tool, "--type", kind, *shape, path, "--name", f"tiny {name}"], check=True)
        asked = common.ask(path, jobs)
        exact = common.ask(dequantized(path), jobs, "--exact")
        worst = max(abs(x - y) for c, e in zip(asked, exact) for x, y in zip(c["logits"], e["logits"]))
        same = sum(c["out"] == e["out"] for c, e in zip(asked, exact))
        gap = min(s[1] - s[3] for e in exact for s in e["steps"])
        print(f"{name:13} std {exact[1]['std']:.2f}, peer and exact differ by {worst:.3f} at most, {same} of {len(jobs)} "
              f"outputs equal, smallest gap {gap:.4f}")
        cases = []
        for text, c, e in zip(TEXTS, asked, exact):
            for x in (c, e):
                x["logits"] = [round(v, 4) for v in x["logits"]]
                del x["top"], x["mean"]
            assert c["ids"] == e.pop("ids")
            cases.append({"text": text, **c, "exact": e})
        entries.append({"file": f"tiny/{path.name}", "type": kind, "sha256": common.sha256(path), "cases": cases})
    common.write("tiny.json", {
        "program": common.peer_version(), "script": "tools/golden/tiny.py", "models": "tools/make_model.py",
        "flags": f"-t {common.THREADS}", "exact": "weights dequantised by gguf.quants, F32 KV cache, no flash attention",
    }, {"max_tokens": TOKENS, "models": entries})


if __name__ == "__main__":
    main()
