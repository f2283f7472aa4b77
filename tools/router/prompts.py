#!/usr/bin/env python3
"""The prompts of the demo router.

    prompts.py train -o prompts.jsonl   what `edgelora router profile` runs: the demo adapters' training sentences with their
                                        answers, and prompts of no trade (ood.py), without
    prompts.py heldout                  writes heldout/ood.jsonl, prompts of no trade that share nothing with those above
    prompts.py tables -o FOLDER         tables to judge a router with, from tools/demo/heldout and heldout/ood.jsonl:
                                        right.csv gives 1 to the adapter of the prompt's trade (the base for none), and
                                        kept.csv 1 to the base, so that a router's score there is the share it leaves to
                                        the base
    prompts.py background --table table.csv -o FILE
                                        the rows of no trade of a profiling table, with the base and the mean of all adapters as
                                        the only candidates: for a router that knows adapters by their examples only

The same files come out on every machine.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import ood

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "demo"
sys.path.insert(0, str(DEMO))
import data  # noqa: E402
import tasks  # noqa: E402

OTHER = "other"  # the task of a prompt that is of no trade


def train_rows(per_trade):
    """Trades in turn, the prompts of no trade spread between them."""
    sets = [[(name, *pair) for pair in data.train_set(name, per_trade)] for name in tasks.NAMES]
    rows = [{"prompt": p, "task": name, "expected": answer} for group in zip(*sets) for name, p, answer in group]
    others = [{"prompt": p, "task": f"{OTHER} {kind}"} for p, kind in ood.make("train")]
    assert all(row["prompt"].strip() for row in others), "an empty line among the templates"
    step = max(1, len(rows) // max(1, len(others)))
    mixed = []
    for i, row in enumerate(rows):
        mixed.append(row)
        if i % step == step - 1 and others:
            mixed.append(others.pop(0))
    return mixed + others


def ood_rows():
    """The held-out prompts of no trade; asserts that they are none of the training prompts."""
    known = {prompt for prompt, _ in ood.make("train")}
    rows = [{"prompt": prompt, "kind": kind} for prompt, kind in ood.make("test")]
    assert not known & {row["prompt"] for row in rows}, "a held-out prompt is in training"
    shared = set(ood.TRAIN_SLOTS) & set(ood.TEST_SLOTS)
    for slot in sorted(shared - {"a", "b"}):
        words = [set(" ".join(slots[slot].split()).split("|")) for slots in (ood.TRAIN_SLOTS, ood.TEST_SLOTS)]
        assert not words[0] & words[1], f"in training and held out: {words[0] & words[1]}"
    templates = [{t for _, text in part.values() for t in text.splitlines()} for part in (ood.TRAIN, ood.TEST)]
    assert not templates[0] & templates[1], f"in training and held out: {templates[0] & templates[1]}"
    return rows


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def heldout_rows():
    """[(prompt, task, name of the right candidate)]. The first half of a trade's prompts is in sentence forms that
    training uses (with other words), the second in forms that it never shows."""
    rows = []
    for name in tasks.NAMES:
        prompts = read_jsonl(DEMO / "heldout" / f"{name}.jsonl")
        for i, row in enumerate(prompts):
            rows.append((row["prompt"], f"{name} {'known' if i < len(prompts) // 2 else 'new'}", name))
    rows += [(row["prompt"], f"{OTHER} {row['kind']}", "base") for row in read_jsonl(HERE / "heldout" / "ood.jsonl")]
    return rows


def fresh_rows(which="fresh"):
    """The same of heldout/fresh.jsonl, written by hand, or of heldout/second.jsonl (fresh.py): no constant was chosen on either."""
    rows = read_jsonl(HERE / "heldout" / f"{which}.jsonl")
    return [(row["prompt"], f"{OTHER} fresh" if row["right"] == "base" else f"{row['right']} new", row["right"]) for row in rows]


def write_table(path, rows, score):
    """rows: (prompt, task, right candidate); score: of a candidate where another or the same is right."""
    names = ["base", *sorted(tasks.NAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["prompt", "task", *(f"score_{name}" for name in names)])
        out.writerows([prompt, task, *(score(name, right) for name in names)] for prompt, task, right in rows)


def write_background(table, path):
    """"any" is no adapter's name, so the router that learns from this chooses the base or who has examples."""
    with open(table, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"].startswith(OTHER)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["prompt", "task", "score_base", "score_any"])
        for row in rows:
            scores = [float(row[f"score_{name}"]) for name in tasks.NAMES]
            out.writerow([row["prompt"], row["task"], row["score_base"], f"{sum(scores) / len(scores):.6g}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "heldout", "tables", "background"])
    parser.add_argument("-o", "--output", type=Path, help="the file or folder to write")
    parser.add_argument("--table", type=Path, help="background: the profiling table")
    parser.add_argument("--per-trade", type=int, default=400, help="training prompts of each trade (default: %(default)s)")
    args = parser.parse_args()
    if args.what != "heldout" and not args.output:
        parser.error(f"{args.what}: -o is needed")
    if args.what == "background" and not args.table:
        parser.error("background: --table is needed")
    if args.per_trade < 1 or args.per_trade > data.CHECKED:
        parser.error(f"--per-trade: 1 to {data.CHECKED}")

    if args.what == "train":
        write_jsonl(args.output, train_rows(args.per_trade))
    elif args.what == "heldout":
        write_jsonl(args.output or HERE / "heldout" / "ood.jsonl", ood_rows())
    elif args.what == "background":
        write_background(args.table, args.output)
    else:
        rows = heldout_rows()
        write_table(args.output / "right.csv", rows, lambda name, right: int(name == right))
        write_table(args.output / "kept.csv", rows, lambda name, right: int(name == "base"))


if __name__ == "__main__":
    main()
