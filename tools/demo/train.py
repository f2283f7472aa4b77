#!/usr/bin/env python3
"""Trains one demo adapter with PEFT on the CPU and saves it as a PEFT folder."""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import bases
import data
import tasks
from model import answer_tokens, load_base, prompt_tokens
from settings import ACTIVATED, BATCH, INVOCATION

WARMUP_STEPS = 10


def shared_prefix(sequences):
    length = 0
    while all(len(s) > length and s[length] == sequences[0][length] for s in sequences):
        length += 1
    return length


def pack(examples, prefix):
    """One row of tokens that holds the shared prefix once and after it every example's remaining tokens.

    A token sees the prefix and the tokens before it in its own example, at the positions they have in the unpacked
    prompt. So the loss is the one of the separate sequences, without padding and without computing the system prompt
    again for each of them.

    examples: [(prompt tokens, answer tokens)]. Returns the tokens [1, n], positions [1, n], what is added to scores
    [1, 1, n, n], and for the answers the indices of the tokens that predict them and the tokens to be predicted.
    """
    tokens = list(examples[0][0][:prefix])
    positions = list(range(prefix))
    owner = [0] * prefix
    predict_at, targets = [], []
    for number, (prompt, answer) in enumerate(examples, start=1):
        predict_at += range(len(tokens) + len(prompt) - prefix - 1, len(tokens) + len(prompt) - prefix - 1 + len(answer))
        targets += answer
        rest = prompt[prefix:] + answer[:-1]
        tokens += rest
        positions += range(prefix, prefix + len(rest))
        owner += [number] * len(rest)
    owner = torch.tensor(owner)
    visible = (owner[None, :] == owner[:, None]) | (owner[None, :] == 0)
    mask = visible & torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    return (
        torch.tensor([tokens]),
        torch.tensor([positions]),
        torch.where(mask, 0.0, -torch.inf)[None, None],
        torch.tensor(predict_at),
        torch.tensor(targets),
    )


def packed_loss(base, prefix):
    """The loss of examples in one row, as a function of them."""

    def loss(examples):
        tokens, positions, mask, predict_at, targets = pack(examples, prefix)
        hidden = base.model(input_ids=tokens, position_ids=positions, attention_mask=mask.bfloat16(), use_cache=False).last_hidden_state
        return torch.nn.functional.cross_entropy(base.lm_head(hidden[0, predict_at]).float(), targets)

    return loss


def padded_loss(model, pad):
    """The same of an activated adapter: a row for each example, filled up on the left. PEFT finds out where the adapter
    begins in each row; it cannot where a row holds several."""

    def loss(examples):
        rows = [prompt + answer[:-1] for prompt, answer in examples]
        width, kept = max(map(len, rows)), max(len(answer) for _, answer in examples)
        tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        # -100: counts for nothing
        targets = torch.tensor([[-100] * (kept - len(answer)) + answer for _, answer in examples])
        logits = model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    return loss


def train(name, gguf, setting, form, activated):
    """Returns the trained PEFT model and a record of the run. form: as in bases.py."""
    steps, batch = setting["steps"], BATCH
    torch.manual_seed(0)
    base, tokenizer = load_base(gguf, torch.bfloat16)
    base.set_attn_implementation("eager")  # on CPUs a third faster than torch's own attention, whose way back is slow
    config = LoraConfig(task_type="CAUSAL_LM", **setting["lora"])
    if activated:
        config.alora_invocation_tokens = tokenizer(INVOCATION, add_special_tokens=False)["input_ids"]
    model = get_peft_model(base, config)
    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=setting["lr"], weight_decay=0.0)
    warmup_then_cosine = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2
    )

    pairs = data.train_set(name, steps * batch)
    examples = [(prompt_tokens(tokenizer, prompt, form), answer_tokens(tokenizer, answer)) for prompt, answer in pairs]
    if activated:
        loss_of = padded_loss(model, tokenizer.eos_token_id)
    else:
        loss_of = packed_loss(base, shared_prefix([prompt for prompt, _ in examples]))
    start = time.monotonic()
    recent = []
    for step in range(steps):
        loss = loss_of(examples[step * batch : (step + 1) * batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        warmup_then_cosine.step()
        optimizer.zero_grad()
        recent = [*recent[-19:], loss.item()]
        if (step + 1) % 20 == 0:
            seconds = (time.monotonic() - start) / (step + 1)
            print(f"{name} step {step + 1}/{steps} loss {sum(recent) / len(recent):.4f} {seconds:.2f} s/step", flush=True)
    record = {
        "steps": steps,
        "examples": steps * batch,
        "final_loss": round(sum(recent) / len(recent), 4),
        "seconds_per_step": round((time.monotonic() - start) / steps, 2),
    }
    return model, record


def save(model, folder, dtype, base_name):
    model.save_pretrained(folder)
    # PEFT notes the path the base was loaded from, and the target modules in an order that changes from run to run.
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_name
    config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    weights = folder / "adapter_model.safetensors"
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    (folder / "README.md").unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=tasks.NAMES)
    bases.add_options(parser)
    parser.add_argument("--activated", action="store_true", help="activated LoRA, which begins with the answer")
    parser.add_argument("--out", type=Path, help="the PEFT folder to write (default: NAME in the base's folder of adapters)")
    parser.add_argument("--record", type=Path, help="JSON file to write the run's numbers to")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: as settings.py and bases.py say)")
    args = parser.parse_args()

    base = bases.BASES[args.base]
    if args.activated and (args.name not in ACTIVATED or args.base != bases.DEFAULT):
        parser.error(f"{args.name} has no activated adapter for {args.base}")
    setting = dict(ACTIVATED[args.name]) if args.activated else bases.settings(args.base, args.name)
    if args.steps:
        setting["steps"] = args.steps
    model, record = train(args.name, args.gguf or bases.fetch(args.base), setting, base["form"], args.activated)
    folder = bases.ROOT / "adapters-activated" if args.activated else bases.folder(args.base)
    save(model, args.out or folder / args.name, getattr(torch, setting["dtype"]), base["hub"])
    if args.record:
        args.record.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
