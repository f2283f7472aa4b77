#!/usr/bin/env python3
"""Scores a demo adapter and the base model on a held-out set, greedily and by exact match.

Three runs over the same inputs: the base model with the plain input, the base model with the task's instruction before
the input, and the adapter with the plain input. A match is equality of the answers as the task's normal() writes them.
"""

import argparse
import json
from pathlib import Path

import torch
from peft import PeftModel

import bases
import tasks
from model import load_base, prompt_tokens

MAX_NEW_TOKENS = 48
ROWS = 30  # prompts answered at once


@torch.inference_mode()
def answers(model, tokenizer, prompts, form):
    """form: as in bases.py."""
    texts = [None] * len(prompts)
    tokens = [prompt_tokens(tokenizer, prompt, form) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lambda i: len(tokens[i]))
    for at in range(0, len(by_length), ROWS):
        rows = by_length[at : at + ROWS]
        width = max(len(tokens[i]) for i in rows)
        ids = torch.full((len(rows), width), tokenizer.eos_token_id)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(rows):
            ids[row, width - len(tokens[i]) :] = torch.tensor(tokens[i])
            mask[row, width - len(tokens[i]) :] = 1
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        for row, i in enumerate(rows):
            text = tokenizer.decode(out[row, width:], skip_special_tokens=True)
            texts[i] = (text.split("\n")[0] if form else text).strip()
    return texts


def score(task, texts, wanted):
    """Percent right: over all, and over each half (sentence forms known from training, forms that are not)."""
    hits = [task.normal(text) == task.normal(want) for text, want in zip(texts, wanted, strict=True)]
    half = len(hits) // 2

    def percent(part):
        return round(100 * sum(part) / len(part), 1)

    return {"all": percent(hits), "known_forms": percent(hits[:half]), "new_forms": percent(hits[half:])}


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=tasks.NAMES)
    bases.add_options(parser)
    parser.add_argument("--adapter", type=Path, help="the PEFT folder (default: NAME in the base's folder of adapters)")
    parser.add_argument("--heldout", type=Path, help="the test set (default: heldout/NAME.jsonl)")
    parser.add_argument("--runs", nargs="+", choices=["base", "instructed", "adapter"], default=["base", "instructed", "adapter"])
    parser.add_argument("--record", type=Path, help="JSON file to write the scores to")
    parser.add_argument("--wrong", action="store_true", help="print the answers that missed")
    args = parser.parse_args()

    task = tasks.load(args.name)
    heldout = args.heldout or here / "heldout" / f"{args.name}.jsonl"
    rows = [json.loads(line) for line in heldout.read_text(encoding="utf-8").splitlines()]
    plain = [row["prompt"] for row in rows]
    wanted = [row["completion"] for row in rows]
    model, tokenizer = load_base(args.gguf or bases.fetch(args.base), torch.float32)

    scores = {}
    for run in args.runs:
        prompts = plain
        if run == "instructed":
            prompts = [f"{task.INSTRUCTION}\n\n{prompt}" for prompt in plain]
        if run == "adapter":
            model = PeftModel.from_pretrained(model, args.adapter or bases.folder(args.base) / args.name)
        texts = answers(model, tokenizer, prompts, bases.BASES[args.base]["form"])
        scores[run] = score(task, texts, wanted)
        print(args.name, run, scores[run], flush=True)
        if args.wrong:
            for prompt, want, text in zip(plain, wanted, texts, strict=True):
                if task.normal(text) != task.normal(want):
                    print(f"  {prompt!r}\n    want {want!r}\n    got  {text!r}")
    if args.record:
        args.record.write_text(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
