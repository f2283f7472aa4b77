#!/usr/bin/env python3
"""Writes the README of each demo adapter and prints the table of tools/demo/README.md, from the records of the runs."""

import argparse
import json
from pathlib import Path

import settings
import tasks

README = """# {name}

LoRA adapter for SmolLM2-135M-Instruct: {trade}.

Prompt: one user message with the input alone, in the model's own chat template with its default system prompt. The
adapter knows its trade, so no instruction goes with it. Decode greedily.

```
{prompt}
```
answers
```
{completion}
```

`examples.jsonl` has {examples} prompts of the kind the adapter was trained on.

| | |
| --- | --- |
| rank, alpha | {rank} |
| target modules | {targets} |
| tensors | {dtype}, {size} |
| training | {trained} examples, each seen once; {steps} steps of {batch}; AdamW, peak learning rate {lr} |
| held-out exact match | {adapter} % (base model: {base} %, base model with an instruction: {instructed} %) |

The data is synthetic, made by `tools/demo/data.py` of this repository from word lists and sentence templates written for
it; the data and this adapter are under CC0 1.0. The base model, SmolLM2-135M-Instruct, is under Apache 2.0. How it was
trained and scored: `tools/demo/README.md`.
"""

TABLE_HEAD = """| adapter | trade | rank, alpha | target modules | tensors | examples / steps | base | base + instruction | adapter | known forms | new forms |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def rank_text(lora):
    text = f"{lora['r']}, {lora['lora_alpha']}"
    if lora.get("use_rslora"):
        text += ", rank-stabilised"
    for module, rank in lora.get("rank_pattern", {}).items():
        text += f"; `{module}`: {rank}, {lora['alpha_pattern'][module]}"
    return text


def facts(name, records, folder):
    setting = settings.SETTINGS[name]
    training = json.loads((records / f"{name}-train.json").read_text())
    scores = json.loads((records / f"{name}-scores.json").read_text())
    example = json.loads((folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()[0])
    lora = setting["lora"]
    return {
        "name": name,
        "trade": tasks.load(name).TRADE,
        "prompt": example["prompt"],
        "completion": example["completion"],
        "examples": len((folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()),
        "rank": rank_text(lora),
        "targets": "all linear" if lora["target_modules"] == settings.ALL_LINEAR else " ".join(lora["target_modules"]),
        "dtype": setting["dtype"],
        "size": f"{(folder / 'adapter_model.safetensors').stat().st_size / 1e6:.1f} MB",
        "trained": training["examples"],
        "steps": training["steps"],
        "batch": settings.BATCH,
        "lr": setting["lr"],
        "base": scores["base"]["all"],
        "instructed": scores["instructed"]["all"],
        "adapter": scores["adapter"]["all"],
        "known": scores["adapter"]["known_forms"],
        "new": scores["adapter"]["new_forms"],
    }


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=tasks.NAMES, help="the adapters (default: all of them)")
    parser.add_argument("--records", type=Path, required=True, help="folder with NAME-train.json and NAME-scores.json")
    parser.add_argument("--adapters", type=Path, default=here.parents[1] / "adapters")
    args = parser.parse_args()

    print(TABLE_HEAD)
    for name in args.names:
        folder = args.adapters / name
        fact = facts(name, args.records, folder)
        (folder / "README.md").write_text(README.format(**fact), encoding="utf-8")
        print(
            "| `{name}` | {trade} | {rank} | {targets} | {dtype}, {size} | {trained} / {steps} "
            "| {base} | {instructed} | **{adapter}** | {known} | {new} |".format(**fact)
        )


if __name__ == "__main__":
    main()
