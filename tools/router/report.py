#!/usr/bin/env python3
"""How a router of the demo adapters does on prompts that are held out: tools/demo/heldout and tools/router/heldout.

Without --examples the prompts go through `edgelora router eval`. With --examples N they go to `POST /v1/route` of a server
that this program starts, whose adapters have the first N of their examples: that is how adapters are chosen that the
router was not trained with. --served asks a server too, with the examples as they are.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import prompts

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 16


def by_eval(args, scratch):
    """{task: (prompts, share right, share that is left to the base)}"""
    rows = args.rows()
    shares = []
    for name, score in (("right", lambda name, right: int(name == right)), ("kept", lambda name, right: int(name == "base"))):
        table = scratch / f"{name}.csv"
        prompts.write_table(table, rows, score)
        command = [args.edgelora, "router", "eval", "--router", args.router, "--table", table, "--json", "-q"]
        command += ["-m", args.model] if args.model else []
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
        shares.append({task["task"]: (task["prompts"], task["chosen"]) for task in json.loads(done.stdout)["tasks"]})
    right, kept = shares
    return {task: (n, share, kept[task][1]) for task, (n, share) in right.items()}


def copy_adapters(source, folder, n_examples, seed):
    """Links to the adapters' files, with only the first examples, or with a draw of them."""
    for adapter in sorted(path for path in source.iterdir() if path.is_dir()):
        (folder / adapter.name).mkdir()
        for file in adapter.iterdir():
            if file.name == "examples.jsonl":
                lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
                if seed is not None:
                    random.Random(seed).shuffle(lines)
                (folder / adapter.name / file.name).write_text("".join(lines[:n_examples]), encoding="utf-8")
            else:
                (folder / adapter.name / file.name).symlink_to(file.resolve())


def ask(url, prompt):
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "top_n": 6})
    request = urllib.request.Request(f"{url}/v1/route", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer = json.load(reply)
    # The best-scored one: which of the best is in memory is not what is judged here.
    return answer["candidates"][0]["name"]


def known_adapters(url):
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        return float(re.search(r"^edgelora_adapters_in_router (\S+)", reply.read().decode(), re.MULTILINE)[1])


def by_server(args, scratch):
    adapters = args.adapters
    if args.examples is not None:
        adapters = scratch / "adapters"
        adapters.mkdir()
        copy_adapters(args.adapters, adapters, args.examples, args.draw)
    command = [args.edgelora, "serve", "--router", args.router, "--adapters", adapters, "--model-name", "base", "--port", "0"]
    command += ["-m", args.model] if args.model else []
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            said = []
            for line in server.stdout:
                said.append(line)
                if found := re.search(r"listening on (http://\S+:\d+)", line):
                    break
            else:
                sys.exit(f"the server did not start:\n{''.join(said)}")
            n_adapters = sum(1 for path in adapters.iterdir() if path.is_dir())
            while known_adapters(found.group(1)) < n_adapters:  # their examples are being read
                time.sleep(0.05)
            rows = args.rows()
            with ThreadPoolExecutor(CLIENTS) as pool:
                names = list(pool.map(lambda row: ask(found.group(1), row[0]), rows))
        finally:
            server.terminate()
    counts = {}
    for (_, task, right), name in zip(rows, names, strict=True):
        n, hits, kept = counts.get(task, (0, 0, 0))
        counts[task] = (n + 1, hits + (name == right), kept + (name == "base"))
    return {task: (n, hits / n, kept / n) for task, (n, hits, kept) in counts.items()}


def mean(rows, which):
    return sum(row[0] * row[which] for row in rows) / sum(row[0] for row in rows)


def show(results):
    trades = {task: row for task, row in results.items() if not task.startswith(prompts.OTHER)}
    others = {task: row for task, row in results.items() if task.startswith(prompts.OTHER)}
    print("| prompts | | right | left to the base |\n|---|---|---|---|")
    for task, (n, right, kept) in [*trades.items(), *others.items()]:
        print(f"| {task} | {n} | {100 * right:.1f}% | {100 * kept:.1f}% |")
    halves = [("trades, sentences as in training", "known"), ("trades, sentences of other forms", "new")]
    for title, half in halves:
        rows = [row for task, row in trades.items() if task.endswith(half)]
        if not rows:
            continue
        print(f"| **{title}** | {sum(row[0] for row in rows)} | {100 * mean(rows, 1):.1f}% | {100 * mean(rows, 2):.1f}% |")
    for title, rows in (("all trades", trades.values()), ("of no trade", others.values())):
        print(f"| **{title}** | {sum(row[0] for row in rows)} | {100 * mean(rows, 1):.1f}% | {100 * mean(rows, 2):.1f}% |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgelora", type=Path, default=ROOT / "build" / "edgelora", help="the program (default: build/edgelora)")
    parser.add_argument("--model", type=Path, help="the base model (default: as edgelora's)")
    parser.add_argument("--router", type=Path, default=ROOT / "routers" / "demo.gguf", help="(default: routers/demo.gguf)")
    parser.add_argument("--adapters", type=Path, default=ROOT / "adapters", help="for a server (default: adapters)")
    parser.add_argument("--examples", type=int, metavar="N", help="ask a server whose adapters have their first N examples")
    parser.add_argument("--served", action="store_true", help="ask a server, with the adapters as they are")
    parser.add_argument("--draw", type=int, metavar="SEED", help="with --examples: not the first ones of each adapter, but a random draw")
    parser.add_argument("--fresh", nargs="?", const="fresh", choices=["fresh", "second"],
                        help="on prompts that nothing was tuned on: heldout/fresh.jsonl, or second.jsonl (fresh.py)")
    args = parser.parse_args()
    args.rows = (lambda: prompts.fresh_rows(args.fresh)) if args.fresh else prompts.heldout_rows
    if args.examples is not None and args.examples < 1:
        parser.error("--examples: 1 at least")
    if not os.access(args.edgelora, os.X_OK):
        parser.error(f"{args.edgelora} is no program: build it, or name another with --edgelora")
    with tempfile.TemporaryDirectory() as scratch:
        served = args.served or args.examples is not None
        show((by_server if served else by_eval)(args, Path(scratch)))


if __name__ == "__main__":
    main()
