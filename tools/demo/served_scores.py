#!/usr/bin/env python3
"""Scores the demo adapters as they are served: the held-out sets, sent to a running edgelora server.

The same three runs as evaluate.py (base, base with instruction, adapter), through the packed model and the packed adapters, all
adapters in the same batches. Prints the table of the README. Needs no packages; for example

    make serve MODEL=gemma3-270m &
    tools/demo/served_scores.py --base gemma3-270m
"""

import argparse
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bases
import tasks

HERE = Path(__file__).resolve().parent
MAX_TOKENS = 48
CLIENTS = 16


def ask(url, model, prompt, form=None):
    """form: as in bases.py."""
    body = {"model": model, "max_tokens": MAX_TOKENS, "temperature": 0}
    if form:
        path, body = "completions", {**body, "prompt": form.format(prompt=prompt), "stop": "\n"}
    else:
        path, body = "chat/completions", {**body, "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(f"{url}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        choice = json.load(reply)["choices"][0]
    return (choice["text"] if form else choice["message"]["content"]).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument("--base", choices=bases.BASES, default=bases.DEFAULT, help="the base model (default: %(default)s)")
    parser.add_argument("names", nargs="*", help="adapters (default: all that the base has)")
    args = parser.parse_args()
    base = bases.BASES[args.base]
    names = args.names or list(base["adapters"])

    jobs = []  # (adapter, run, right answer, model, prompt)
    for name in names:
        instruction = tasks.load(name).INSTRUCTION
        for line in (HERE / "heldout" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            jobs.append((name, "base", row["completion"], base["served"], row["prompt"]))
            jobs.append((name, "instructed", row["completion"], base["served"], f"{instruction}\n\n{row['prompt']}"))
            jobs.append((name, "adapter", row["completion"], name, row["prompt"]))
    jobs.sort(key=lambda job: hash((job[4], job[1])))  # adapters mixed, so that batches hold many
    with ThreadPoolExecutor(CLIENTS) as pool:
        texts = list(pool.map(lambda job: ask(args.url, job[3], job[4], base["form"]), jobs))

    print("| adapter | base | base + instruction | adapter |\n|---|---|---|---|")
    for name in names:
        normal = tasks.load(name).normal
        cells = []
        for run in ("base", "instructed", "adapter"):
            hits = [normal(text) == normal(job[2]) for job, text in zip(jobs, texts) if job[0] == name and job[1] == run]
            cells.append(f"{100 * sum(hits) / len(hits):.0f}%")
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
