#!/usr/bin/env python3
"""Makes tests/golden/embeddings.json: vectors of texts as llama-server --embedding pools them, not normalised.

Small models of tiny.py and families.py, one with an adapter, and the default model. Each case has the vectors with the file as it is
("out") and, as the exact reference, with all weights dequantised to F32, F32 keys and values and no flash attention ("exact"); the
adapter is merged into the weights there, so that nothing of the peer's way to apply one is in it.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import gguf
import numpy as np

import common
import tiny

POOLINGS = ["mean", "cls", "last"]
TEXTS = tiny.TEXTS[1:]
CTX = 256
MODELS = ["tiny/f32", "tiny/q4_0", "tiny/q5_k", "families/gemma3", "families/qwen3", "families/granite"]
ADAPTED = ("tiny/q8_0", "lora/tiny")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def vectors(model, prompts, pooling, *flags):
    """The server's vector of each prompt's ids."""
    port = free_port()
    server = subprocess.Popen([common.peer("llama-server"), "-m", model, "--embedding", "--pooling", pooling, "-t", str(common.THREADS), "-c",
                               str(CTX), "--parallel", "1", "--no-warmup", "--port", str(port), *flags],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                ask(port, "/health")
                break
            except OSError:
                time.sleep(0.1)
        out = []
        for ids in prompts:
            (answer,) = ask(port, "/embedding", {"content": ids, "embd_normalize": -1})
            (vector,) = answer["embedding"]
            out.append(vector)
        return out
    finally:
        server.terminate()
        server.wait()


def merged(model, lora):
    """The model with F32 weights and the adapter in them."""
    out = common.WORK / "tiny" / (model.stem + "-merged.gguf")
    shutil.copyfile(tiny.dequantized(model), out)
    reader, adapter = gguf.GGUFReader(out, "r+"), gguf.GGUFReader(lora)
    pairs = {t.name: t for t in adapter.tensors}
    alpha = adapter.get_field("adapter.lora.alpha").contents()
    n = 0
    for t in reader.tensors:
        if f"{t.name}.lora_a" not in pairs:
            continue
        a, b = (gguf.quants.dequantize(pairs[f"{t.name}.lora_{x}"].data, pairs[f"{t.name}.lora_{x}"].tensor_type) for x in "ab")
        t.data[:] = t.data + (alpha / a.shape[0] * (b.astype(np.float64) @ a.astype(np.float64))).astype(np.float32)
        n += 1
    assert 2 * n == len(pairs) and n > 0
    reader.data.flush()
    return out


def rounded(vector):
    return [float(f"{x:.6g}") for x in vector]


def case(name, model, exact, prompts, poolings=POOLINGS, lora=None):
    out = {"model": name, **({"lora": lora} if lora else {}), "prompts": prompts, "vectors": {}}
    exact_flags = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    flags = ["--lora", common.GOLDEN / f"{lora}.gguf"] if lora else []
    for pooling in poolings:
        plain, reference = vectors(model, prompts, pooling, *flags), vectors(exact, prompts, pooling, *exact_flags)
        out["vectors"][pooling] = [{"out": rounded(x), "exact": rounded(y)} for x, y in zip(plain, reference)]
        error = [np.linalg.norm(np.subtract(x, y)) / np.linalg.norm(y) for x, y in zip(plain, reference)]
        print(f"{name} {lora or ''} {pooling}: the peer's own distance from the exact vectors {max(error):.5f}")
    return out


def prompts_of(model):
    """Ids of the texts; of a family, the tokens of its own case."""
    if model.startswith("families/"):
        (of_family,) = [c for c in json.loads((common.GOLDEN / "families.json").read_text())["cases"] if c["model"] == model + ".gguf" and "lora" not in c]
        return [of_family["ids"], of_family["ids"][:5]]
    return [a["ids"] for a in common.ask(common.GOLDEN / f"{model}.gguf", [{"text": t, "max_tokens": 1, "special": False} for t in TEXTS])]


def main():
    cases = []
    for name in MODELS:
        model = common.GOLDEN / f"{name}.gguf"
        cases.append(case(name, model, tiny.dequantized(model), prompts_of(name)))
    name, lora = ADAPTED
    model = common.GOLDEN / f"{name}.gguf"
    cases.append(case(name, model, merged(model, common.GOLDEN / f"{lora}.gguf"), prompts_of(name), lora=lora))
    model = common.default_model()
    ids = [a["ids"] for a in common.ask(model, [{"text": t, "max_tokens": 1, "special": False} for t in TEXTS])]
    real = case(common.MODEL.name, model, common.f32_model(), ids, ["mean", "last"])
    real["texts"] = TEXTS
    common.write("embeddings.json", {"program": common.peer_version(), "script": "tools/golden/embeddings.py",
                                     "flags": f"--embedding --pooling P -t {common.THREADS} -c {CTX}, embd_normalize -1",
                                     "exact": "weights dequantised, the adapter merged, F32 KV cache, no flash attention"},
                 {"models": cases, "default": real})


if __name__ == "__main__":
    main()
