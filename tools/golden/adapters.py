#!/usr/bin/env python3
"""Makes tests/golden/adapters.json: what the peer says with each demo adapter of adapters/.

Each PEFT folder is converted by tools/peft_to_gguf.py into the cache, and asked eight prompts: five of its own
examples.jsonl in the chat template, two of general interest, and a raw text. Every adapter is asked both by
the default model as it is and by the exact one (weights dequantised), as for greedy.json. An adapter whose file is still the
one that the golden file names is not asked again.
"""

import argparse
import json
import subprocess
import sys

import common
import greedy
import prompts

EXAMPLES = 5
GENERAL = [p for p in prompts.ADAPTER_PROMPTS if p[0] in ("capital", "chat-gravity", "chat-sky")]


def folders():
    return sorted(p.parent for p in (common.ROOT / "adapters").glob("*/adapter_config.json")
                  if (p.parent / "adapter_model.safetensors").exists())


def items_of(folder):
    items, answers = [], {}
    examples = folder / "examples.jsonl"
    lines = examples.read_text(encoding="utf-8").split("\n") if examples.exists() else []
    for i, line in enumerate([x for x in lines if x][:EXAMPLES]):
        example = json.loads(line)
        items.append((f"example-{i}", prompts.chat(example["prompt"]), True))
        answers[items[-1][1]] = example["completion"]
    return items + GENERAL, answers


def known(made_by):
    """The entries of the present golden file by the adapter file's SHA-256, if the same peer made them."""
    path = common.GOLDEN / "adapters.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {e["sha256"]: e for e in old["adapters"]} if old.get("made_by") == made_by else {}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--all", action="store_true", help="ask every adapter again")
    a = p.parse_args()
    made_by = {
        "program": common.peer_version(), "script": "tools/golden/adapters.py",
        "flags": f"-t {common.THREADS}, --lora FILE (tools/peft_to_gguf.py --type f32), scale 1",
        "exact": "weights dequantised, F32 KV cache, no flash attention",
    }
    old = {} if a.all else known(made_by)
    entries = []
    for folder in folders():
        digest = common.sha256(folder / "adapter_model.safetensors")
        if digest in old:
            entries.append(old[digest])
            continue
        lora = common.WORK / "adapters" / f"{folder.name}.gguf"
        lora.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, common.ROOT / "tools" / "peft_to_gguf.py", "--type", "f32", "--base", common.default_model(),
                        folder, lora], check=True)
        items, answers = items_of(folder)
        jobs = greedy.jobs(items)
        cases = greedy.cases(items, common.ask(common.default_model(), jobs, "--lora", lora),
                             common.ask(common.f32_model(), jobs, "--exact", "--lora", lora))
        greedy.report(folder.name, cases)
        for case in cases:
            if case["text"] in answers:
                case["wanted"] = answers[case["text"]]
        entries.append({"adapter": folder.name, "sha256": digest, "cases": cases})
    if not entries:
        sys.exit("there are no adapters in adapters/ yet")
    common.write("adapters.json", made_by, {"model_sha256": common.MODEL_SHA256, "max_tokens": greedy.TOKENS, "adapters": entries})


if __name__ == "__main__":
    main()
