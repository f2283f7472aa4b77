#!/usr/bin/env python3
"""What `edgelora router train` is worth on a table, with everything that it chooses chosen inside the training part.

The table's prompts are shuffled and cut into --folds parts. For each of them a router is trained on all the others, which it sees as one
table (it takes its own validation part out of that, and picks layer, pooling and penalty there), and evaluated on the part, which nothing has
seen. Beside it, on the same parts: the best single model of the training part, the best per task, an oracle, and text
classifiers (compare_text.py), whose settings are chosen inside the training part too.

The gain is to the best single model of the training part, prompt by prompt. Its standard error is told over prompts (how far other
prompts may lie from these, for these routers) and over folds (which has in it what another training part changes, but few folds tell an
error badly).
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import compare_text  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def read_rows(paths):
    """(columns, rows) of tables with the same columns."""
    csv.field_size_limit(1 << 30)
    columns, rows = None, []
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if columns and set(columns) != set(reader.fieldnames):
                sys.exit(f"nested: {path}: has other columns than {paths[0]}")
            columns = columns or reader.fieldnames
            rows += list(reader)
    return columns, rows


def write_rows(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def program(args, *command):
    done = subprocess.run([args.edgelora, "router", *map(str, command), *(["-m", args.model] if args.model else [])],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"nested: edgelora router {command[0]}: {done.stderr}")
    return done.stdout


def of_program(args, columns, train, test, folder):
    """The score of the chosen candidate for each row of `test`, and what won."""
    write_rows(folder / "train.csv", columns, train)
    # The program tells means of tasks: a task of its own for each row makes it tell the rows'.
    numbered = [{**row, "task": str(i)} for i, row in enumerate(test)]
    write_rows(folder / "test.csv", columns if "task" in columns else [*columns, "task"], numbered)
    said = program(args, "train", "--table", folder / "train.csv", "-o", folder / "router.gguf", "--seed", args.seed)
    won = next((" ".join(line.split()[1:-3]) for line in said.splitlines() if line.startswith(" *")), "nothing to choose")
    told = json.loads(program(args, "eval", "--router", folder / "router.gguf", "--table", folder / "test.csv", "--json"))
    scores = {int(row["task"]): row["chosen"] for row in told["tasks"]}
    return np.array([scores[i] for i in range(len(test))]), won


def line(name, scores, single, fold_of, n_folds):
    """scores, single: of each prompt, fold by fold."""
    gain = scores - single
    by_fold = [np.array([values[fold_of == i].mean() for i in range(n_folds)]) for values in (scores, gain)]
    return (f"{name:30} {scores.mean():.4f} ± {compare_text.error(scores):.4f}, {compare_text.error(by_fold[0]):.4f}   "
            f"{gain.mean():+.4f} ± {compare_text.error(gain):.4f}, {compare_text.error(by_fold[1]):.4f}   "
            f"{int((by_fold[1] > 0).sum())} of {n_folds}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("tables", nargs="+", metavar="CSV", help="with the same columns; they are put together")
    p.add_argument("--folds", type=int, default=10, metavar="K", help="(default 10)")
    p.add_argument("--seed", type=int, default=1, help="of the shuffle and of the training (default 1)")
    p.add_argument("--text", nargs="*", default=["words, logistic", "words+chars, ridge", "SVD 100, ridge", "SVD 100, clusters"],
                   choices=list(compare_text.FAMILIES), metavar="NAME", help="text classifiers beside it; none: --text alone")
    p.add_argument("--edgelora", default=ROOT / "build" / "edgelora", metavar="FILE")
    p.add_argument("--model", metavar="FILE", help="the base (default: as edgelora)")
    args = p.parse_args()
    columns, rows = read_rows(args.tables)
    if not 2 <= args.folds <= len(rows) // 2:
        sys.exit(f"nested: --folds {args.folds}: {len(rows)} rows can be cut into 2 to {len(rows) // 2}")
    scores, fold_of = {}, []
    for i, (train, test) in enumerate(compare_text.folds(len(rows), args.folds, args.seed)):
        parts = [rows[k] for k in train], [rows[k] for k in test]
        with tempfile.TemporaryDirectory(prefix="edgelora-nested-") as folder:
            chosen, won = of_program(args, columns, *parts, Path(folder))
        fold = {"edgelora router": chosen}
        others = compare_text.one_split(*(compare_text.as_table(part) for part in parts), args.text, args.seed)
        fold |= {name: values for name, (values, _) in others.items()}
        for name, values in fold.items():
            scores.setdefault(name, []).append(values)
        fold_of += [i] * len(test)
        gains = {name: values - fold["best single"] for name, values in fold.items()}
        told = (f"{name} {values.mean():.4f} ({gains[name].mean():+.4f} ± {compare_text.error(gains[name]):.4f})" for name, values in fold.items())
        print(f"fold {i + 1} of {args.folds}: {len(test)} prompts, won by {won}: {', '.join(told)}", file=sys.stderr, flush=True)
    print(f"{len(rows)} prompts, {args.folds} folds: mean score of the chosen model, gain over the best single model of the training part "
          "(each ± standard error over prompts, over folds), folds won\n")
    scores = {name: np.concatenate(values) for name, values in scores.items()}
    for name in sorted(scores, key=lambda name: scores[name].mean()):
        print(line(name, scores[name], scores["best single"], np.array(fold_of), args.folds))


if __name__ == "__main__":
    main()
