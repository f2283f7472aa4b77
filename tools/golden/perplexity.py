#!/usr/bin/env python3
"""Makes tests/golden/perplexity.json: the perplexity of tests/golden/text.txt by the peer's llama-perplexity.

For the default model as it is, and for it requantised: every weight dequantised to F32 first, then
quantised by llama-quantize with its default mix (not --pure). The width 576 is no multiple of 256, so llama-quantize
replaces K types by others in most matrices; "types" says what each file really holds.

With the names of other models (tools/fetch-model --list) it writes no file, but prints our perplexity beside the peer's.
"""

import argparse
import collections
import os
import re
import subprocess

import common

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K")
FLAGS = ("-c", "512", "-t", str(common.THREADS))


def matrix_types(model):
    import gguf
    return dict(collections.Counter(t.tensor_type.name for t in gguf.GGUFReader(model).tensors if len(t.shape) > 1))


def measure(name, model):
    text = common.GOLDEN / "text.txt"
    run = subprocess.run(["nice", "-n", "5", common.peer("llama-perplexity"), "-m", model, "-f", text, *FLAGS],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    # A line per chunk, "[3]14.1234,", then the whole: "Final estimate: PPL = 13.5 +/- 0.4".
    final = re.search(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)", run.stdout)
    if not final:
        raise SystemExit(f"llama-perplexity said nothing of use about {name}:\n{run.stdout[-2000:]}")
    running = [float(x) for x in re.findall(r"\[\d+\]([\d.]+)", run.stdout)]
    result = {"name": name, "ppl": float(final.group(1)), "stderr": float(final.group(2)), "chunks": len(running),
              "running": running, "bytes": os.path.getsize(model), "sha256": common.sha256(model), "types": matrix_types(model)}
    print(f"{name:8} {result['ppl']:.4f} +/- {result['stderr']:.4f}  {result['types']}", flush=True)
    return result


def compare(name):
    model = common.named_model(name)
    theirs = measure(name, model)
    told = subprocess.run([common.ROOT / "build" / "edgelora-bench", "perplexity", "-m", model, "-f", common.GOLDEN / "text.txt"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    ours = float(re.search(r"perplexity ([0-9.]+) ", told.splitlines()[-1]).group(1))
    print(f"| {name} ({theirs['chunks']} chunks) | {theirs['ppl']:.3f} | {ours:.3f} | {100 * (ours / theirs['ppl'] - 1):+.2f}% |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="NAME", help="compare these models (default: make the golden file)")
    p.add_argument("--keep", action="store_true", help="leave the requantised models in the cache")
    a = p.parse_args()
    if a.names:
        for name in a.names:
            compare(name)
        return
    results = [measure("default", common.default_model())]
    for kind in KINDS:
        model = common.quantize(common.f32_model(), common.WORK / f"smollm2-{kind.lower()}.gguf", kind)
        results.append(measure(kind, model))
        if not a.keep and kind != "F32":
            model.unlink()
    common.write("perplexity.json", {
        "program": common.peer_version(), "script": "tools/golden/perplexity.py",
        "flags": "llama-perplexity " + " ".join(FLAGS) + " -f tests/golden/text.txt",
    }, {"model_sha256": common.MODEL_SHA256, "text_sha256": common.sha256(common.GOLDEN / "text.txt"), "results": results})


if __name__ == "__main__":
    main()
