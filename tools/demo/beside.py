#!/usr/bin/env python3
"""Served answers of a demo adapter beside transformers' own: PEFT, float32, on the model file's dequantised weights, greedily.

Both get the same held-out prompts, as many of known sentence forms as of new ones. Where the answers differ: transformers'
log-probabilities of the two tokens at which they part. A server with the adapter must be running (see served_scores.py).
--record keeps transformers' answers in tests/golden/family_adapters.json, which tests/py/test_family_adapters.py asks again.
"""

import argparse
import json

import peft
import torch
import transformers
from peft import PeftModel

import bases
import tasks
from evaluate import answers
from model import load_base, prompt_tokens
from served_scores import HERE, ask


@torch.inference_mode()
def parting(model, tokenizer, prompt, one, other):
    """The text up to where two answers part, and the two tokens that follow with their log-probabilities."""
    ends = [tokenizer.eos_token_id]
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"] + ends for text in (one, other))
    at = next(i for i, (x, y) in enumerate(zip(a, b)) if x != y)
    logp = model(torch.tensor([prompt + a[:at]])).logits[0, -1].log_softmax(-1)
    return tokenizer.decode(a[:at]), [(tokenizer.decode([x]), round(logp[x].item(), 3)) for x in (a[at], b[at])]


def record(base, name, prompts, served, own):
    """Puts an adapter's answers into the golden file, in place of those that it has of it."""
    path = bases.ROOT / "tests" / "golden" / "family_adapters.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["adapters"] if path.exists() else []
    entry = {"base": base, "adapter": name, "cases": [{"prompt": p, "answer": o} for p, o in zip(prompts, own)],
             "differ": [p for p, s, o in zip(prompts, served, own) if s != o]}
    entries = [e for e in kept if (e["base"], e["adapter"]) != (base, name)] + [entry]
    made_by = {"program": f"transformers {transformers.__version__}, PEFT {peft.__version__}, torch {torch.__version__.split('+')[0]}, float32",
               "script": "tools/demo/beside.py", "differ": "prompts whose served answer was another one"}
    golden = {"made_by": made_by, "adapters": sorted(entries, key=lambda e: (e["base"], e["adapter"]))}
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tasks.NAMES)
    bases.add_options(parser)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument("-n", type=int, default=20, help="prompts (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="keep transformers' answers as golden ones")
    args = parser.parse_args()

    form = bases.BASES[args.base]["form"]
    lines = (HERE / "heldout" / f"{args.name}.jsonl").read_text(encoding="utf-8").splitlines()
    half = len(lines) // 2
    prompts = [json.loads(line)["prompt"] for line in lines[: args.n // 2] + lines[half : half + args.n - args.n // 2]]
    served = [ask(args.url, args.name, prompt, form) for prompt in prompts]
    model, tokenizer = load_base(args.gguf or bases.fetch(args.base), torch.float32)
    model = PeftModel.from_pretrained(model, bases.folder(args.base) / args.name)
    own = answers(model, tokenizer, prompts, form)
    print(f"{args.base}, {args.name}: {sum(a == b for a, b in zip(served, own))} of {len(prompts)} answers equal")
    for prompt, a, b in zip(prompts, served, own):
        if a != b:
            before, tokens = parting(model, tokenizer, prompt_tokens(tokenizer, prompt, form), a, b)
            print(f"{prompt!r}\n  after {before!r}: served {tokens[0]}, transformers {tokens[1]}")
    if args.record:
        record(args.base, args.name, prompts, served, own)


if __name__ == "__main__":
    main()
