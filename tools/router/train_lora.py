#!/usr/bin/env python3
"""Trains a LoRA for a router to read prompts with, as the EdgeLoRA paper's router has one.

The base model's first layers, with the LoRA on them, and a linear head on the mean of the prompt's hidden states learn the
scores of a profiling table by binary cross-entropy. Only the LoRA is kept, as a PEFT folder: `edgelora router train --lora
FOLDER` then fits its own head on the states that the model has with it.

Kept is the state that foretells best, on the validation part, how a prompt's scores differ from their mean (the squared
error). The log loss is no guide there: most of it is how hard a prompt is for all candidates alike, which chooses nothing.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "demo"))
import bases  # noqa: E402
from model import load_base  # noqa: E402
from train import save  # noqa: E402

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
MARK = "\x02"  # stands for the prompt in the chat template; no text has it


def read_table(path):
    """(prompts, names of the candidates, scores [n, candidates])"""
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        names = list(rows[0]["scores"])
        return [row["prompt"] for row in rows], names, torch.tensor([[float(row["scores"][name]) for name in names] for row in rows])
    csv.field_size_limit(1 << 24)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [column for column in rows[0] if column.startswith("score_")]
    return [row["prompt"] for row in rows], names, torch.tensor([[float(row[name]) for name in names] for row in rows])


def encode(tokenizer, texts, max_tokens):
    """[(tokens, first, end)]: the chat prompt, and which of its tokens are the prompt's own text."""
    before, _ = tokenizer.apply_chat_template([{"role": "user", "content": MARK}], tokenize=False, add_generation_prompt=True).split(MARK)
    prefix = tokenizer(before, add_special_tokens=False)["input_ids"]
    encoded = []
    for text in texts:
        own = tokenizer(text, add_special_tokens=False)["input_ids"][:max_tokens]
        encoded.append((prefix + own, len(prefix), len(prefix) + len(own)))
    return encoded


class Reader(torch.nn.Module):
    """The first layers, the mean of the prompt's states (each divided by its root mean square), and a head."""

    def __init__(self, gguf, layers, rank, targets, n_out):
        super().__init__()
        base, self.tokenizer = load_base(gguf, torch.float32)
        if not 1 <= layers <= len(base.model.layers):
            raise SystemExit(f"--layers: 1 to {len(base.model.layers)}")
        base.model.layers = base.model.layers[:layers]
        base.model.norm = torch.nn.Identity()
        base.config.num_hidden_layers = layers
        self.lora = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=targets))
        self.body = base.model
        self.center = torch.nn.Parameter(torch.zeros(base.config.hidden_size), requires_grad=False)
        self.scale = torch.nn.Parameter(torch.ones(base.config.hidden_size), requires_grad=False)
        self.head = torch.nn.Linear(base.config.hidden_size, n_out)
        torch.nn.init.zeros_(self.head.weight)

    def features(self, batch):
        width = max(len(tokens) for tokens, _, _ in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        seen = torch.zeros(len(batch), width, dtype=torch.long)
        own = torch.zeros(len(batch), width)
        for row, (tokens, first, end) in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            seen[row, : len(tokens)] = 1
            own[row, first:end] = 1 / (end - first)
        states = self.body(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state
        states = states * states.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()
        return torch.einsum("bt,btd->bd", own, states)

    def forward(self, batch):
        return self.head((self.features(batch) - self.center) * self.scale)


def batches(encoded, size, generator=None):
    """Indices, those of like lengths together, so that little is padding; the batches in random order for training."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    if generator is None:
        return groups
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]


@torch.inference_mode()
def standardise(model, encoded, size):
    """So that the head begins with features of mean 0 and deviation 1."""
    x = torch.cat([model.features([encoded[i] for i in group]) for group in batches(encoded, size)])
    model.center.copy_(x.mean(0))
    model.scale.copy_(1 / x.std(0).clamp_min(1e-4))


@torch.inference_mode()
def judge(model, encoded, scores, size):
    """(log loss, squared error of scores less their prompt's mean over that of foretelling each candidate's mean, mean score
    of the candidate that is foretold best)."""
    logits = torch.zeros_like(scores)
    for group in batches(encoded, size):
        logits[group] = model([encoded[i] for i in group])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, scores).item()
    p = torch.sigmoid(logits)
    centred = scores - scores.mean(1, keepdim=True)
    error = ((p - p.mean(1, keepdim=True)) - centred).pow(2).mean()
    plain = (centred - centred.mean(0)).pow(2).mean()
    chosen = scores.gather(1, p.argmax(1, keepdim=True)).mean().item()
    return loss, (error / plain).item(), chosen


def train(model, args, data, valid):
    """Leaves the model in its best state; returns what is known of it."""
    generator = torch.Generator().manual_seed(args.seed)
    encoded, scores = data
    standardise(model, encoded, args.batch)
    with torch.no_grad():
        model.head.bias.copy_(torch.logit(scores.mean(0).clamp(0.01, 0.99)))
    lora = [p for p in model.lora.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": lora, "weight_decay": 0.0}, {"params": model.head.parameters(), "weight_decay": args.decay}], lr=args.lr)
    best = {"error": float("inf")}
    began = time.monotonic()
    for epoch in range(args.epochs + 1):
        loss, error, chosen = judge(model, *valid, args.batch)
        print(f"epoch {epoch}: log loss {loss:.4f}, error {error:.4f}, chosen {chosen:.4f}, {time.monotonic() - began:.0f} s", flush=True)
        if error < best["error"]:
            kept = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
            best = {"epoch": epoch, "log_loss": loss, "error": error, "chosen": chosen}
        elif epoch - best["epoch"] >= args.patience:
            break
        if epoch == args.epochs or time.monotonic() - began > args.seconds:
            break
        for group in batches(encoded, args.batch, generator):
            logits = model([encoded[i] for i in group])
            torch.nn.functional.binary_cross_entropy_with_logits(logits, scores[group]).backward()
            torch.nn.utils.clip_grad_norm_(lora, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if time.monotonic() - began > args.seconds:
                break
    for name, p in model.named_parameters():
        if name in kept:
            p.data.copy_(kept[name])
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="the profiling table, CSV or JSONL")
    parser.add_argument("--valid", type=Path, help="a table to validate on (default: a fifth of the table)")
    parser.add_argument("--gguf", type=Path, required=True, help="the base model's GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="the PEFT folder to write")
    parser.add_argument("--layers", type=int, default=6, help="how many layers the router reads with (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--mlp", action="store_true", help="LoRA on all linear layers, not on attention's alone")
    parser.add_argument("--max-tokens", type=int, default=128, help="tokens that are read of a prompt (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="prompts a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=5e-4, help="(default: %(default)s)")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay of the head (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="at most (default: %(default)s)")
    parser.add_argument("--patience", type=int, default=1, help="epochs without progress that end it (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3600, help="of training at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    texts, names, scores = read_table(args.table)
    if args.valid:
        valid_texts, valid_names, valid_scores = read_table(args.valid)
        if valid_names != names:
            parser.error(f"{args.valid} has other candidates than {args.table}")
    else:
        order = torch.randperm(len(texts)).tolist()
        split = len(order) // 5
        valid_texts, valid_scores = [texts[i] for i in order[:split]], scores[order[:split]]
        texts, scores = [texts[i] for i in order[split:]], scores[order[split:]]
    model = Reader(args.gguf, args.layers, args.rank, ATTENTION + (MLP if args.mlp else []), len(names))
    data = encode(model.tokenizer, texts, args.max_tokens), scores
    valid = encode(model.tokenizer, valid_texts, args.max_tokens), valid_scores
    best = train(model, args, data, valid)
    args.out.mkdir(parents=True, exist_ok=True)
    save(model.lora, args.out, torch.float16, bases.BASES[bases.DEFAULT]["hub"])
    print(json.dumps({"layers": args.layers, "train": len(texts), "valid": len(valid_texts), **best}))


if __name__ == "__main__":
    main()
