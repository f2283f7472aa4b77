#!/usr/bin/env python3
"""Makes tests/golden/greedy.json: what the peer says to each prompt with the default model.

Twice: as the model is (Q4_1 weights; the peer then quantises activations too), and with the weights dequantised
to F32, an F32 KV cache and no flash attention, which is as exact as the peer can be. The distance between
the two is the error that quantised arithmetic may have; an engine's own error is measured against the exact one.
"""

import argparse

import common
import prompts

TOKENS = 32


def jobs(items):
    return [{"text": text, "special": special, "n": TOKENS, "top": 20} for _, text, special in items]


def cases(items, asked, exact):
    """One entry a prompt: the peer's answer, and the exact model's beside it under "exact"."""
    out = []
    for (name, text, special), a, e in zip(items, asked, exact):
        assert a["ids"] == e.pop("ids")
        out.append({"name": name, "text": text, "special": special, **a, "exact": e})
    return out


def report(label, found):
    same = sum(c["out"] == c["exact"]["out"] for c in found)
    gaps = sorted(s[1] - s[3] for c in found for s in c["steps"])
    differ = sorted(abs(x[1] - dict(map(tuple, c["exact"]["top"])).get(x[0], x[1])) for c in found for x in c["top"])
    print(f"{label}: {len(found)} prompts, {same} with the exact model's 32 tokens; smallest gap {gaps[0]:.4f}, "
          f"median {gaps[len(gaps) // 2]:.2f}; logits differ by {differ[len(differ) // 2]:.3f} in the median, "
          f"{differ[-1]:.3f} at most")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    asked = common.ask(common.default_model(), jobs(prompts.PROMPTS))
    exact = common.ask(common.f32_model(), jobs(prompts.PROMPTS), "--exact")
    found = cases(prompts.PROMPTS, asked, exact)
    report("greedy", found)
    common.write("greedy.json", {
        "program": common.peer_version(), "script": "tools/golden/greedy.py", "flags": f"-t {common.THREADS}, n_ubatch 512",
        "exact": "llama-quantize --allow-requantize MODEL F32; F32 KV cache, no flash attention",
    }, {"model_sha256": common.MODEL_SHA256, "max_tokens": TOKENS, "cases": found})


if __name__ == "__main__":
    main()
