#!/usr/bin/env python3
"""Makes tests/golden/alora.json: what PEFT makes of an activated adapter (aLoRA), for where it begins and what comes before.

The adapter is lora/tiny-peft with alora_invocation_tokens, the model tiny/q8_0.gguf as transformers' Llama with the GGUF's weights, in float64.
A case is a prompt and the log probability of each of its tokens but the first. PEFT itself looks for the invocation. `early` and `late` say by how
much the log probabilities move (root mean square) if the adapter begins one token earlier or later: whoever is nearer to the case than that has it right.

Needs tools/demo/requirements.txt.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from peft import PeftModel
from peft.tuners.lora.variants import calculate_alora_offsets

import common
import families_transformers
import family_reference

MODEL, ADAPTER = "tiny/q8_0.gguf", "lora/tiny-peft"
INVOCATION = [40, 41, 42]
LENGTH = 48


def prompts():
    """Name and tokens: of the invocation all, twice, half, at the ends, overlapping itself."""
    rng = np.random.default_rng(5)

    def text():
        return [int(t) for t in rng.integers(43, 300, LENGTH)]

    def put(ids, *places):
        for at in places:
            ids[at : at + len(INVOCATION)] = INVOCATION
        return ids

    half = put(text(), 10)
    half[30:32] = INVOCATION[:2]
    again = put(text(), 20)
    again[18:20] = INVOCATION[:2]
    yield "in the middle", put(text(), 20)
    yield "at the beginning", put(text(), 0)
    yield "at the end", put(text(), LENGTH - 3)
    yield "at a page's border", put(text(), 16)
    yield "twice: the last one counts", put(text(), 8, 33)
    yield "half of another one behind it", half
    yield "begun twice", again
    yield "none", text()


def log_probabilities(model, ids, **more):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False, **more).logits[0]
    table = torch.log_softmax(logits.double(), -1)
    return table[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    base = families_transformers.build(family_reference.Model(common.GOLDEN / MODEL))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(common.GOLDEN / ADAPTER, folder, dirs_exist_ok=True)
        config = Path(folder) / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"alora_invocation_tokens": INVOCATION}))
        model = PeftModel.from_pretrained(base, folder).double().eval()
    cases = []
    for name, ids in prompts():
        offset = calculate_alora_offsets(model.peft_config, "default", torch.tensor([ids]))[0]
        exact = log_probabilities(model, ids)

        def moved(by):
            other = log_probabilities(model, ids, alora_offsets=[(offset or 0) + by])
            return float(np.sqrt(np.mean((other - exact) ** 2)))

        case = {"name": name, "ids": ids, "begin": None if offset is None else len(ids) - offset,
                "logprobs": [round(float(x), 6) for x in exact], "late": moved(-1) if offset else None,
                "early": moved(1) if offset and offset < len(ids) else None}
        print(f"{name}: begins at {case['begin']}, early {case['early']}, late {case['late']}")
        cases.append(case)
    common.write("alora.json", {"program": f"PEFT {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}, float64",
                                "script": "tools/golden/alora.py"},
                 {"model": MODEL, "peft": ADAPTER, "invocation": INVOCATION, "cases": cases})


if __name__ == "__main__":
    main()
