#!/usr/bin/env python3
"""Scores the demo adapters as they are served: the held-out sets, sent to a running edgelora server.

The same three runs as evaluate.py (base, base with instruction, adapter), through the packed model and the packed adapters, all
adapters in the same batches. Prints the table of the README. Needs no packages; for example

    build/edgelora serve --adapters adapters --model-name base --port 8080 &
    tools/demo/served_scores.py --base base
"""

import argparse
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tasks

HERE = Path(__file__).resolve().parent
MAX_TOKENS = 48
CLIENTS = 16


def ask(url, model, prompt):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS, "temperature": 0})
    request = urllib.request.Request(f"{url}/v1/chat/completions", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)["choices"][0]["message"]["content"].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument("--base", default="SmolLM2-135M-Instruct", help="the base model's name there (default: %(default)s)")
    parser.add_argument("names", nargs="*", default=tasks.NAMES, help="adapters (default: all)")
    args = parser.parse_args()

    jobs = []  # (adapter, run, right answer, model, prompt)
    for name in args.names:
        instruction = tasks.load(name).INSTRUCTION
        for line in (HERE / "heldout" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            jobs.append((name, "base", row["completion"], args.base, row["prompt"]))
            jobs.append((name, "instructed", row["completion"], args.base, f"{instruction}\n\n{row['prompt']}"))
            jobs.append((name, "adapter", row["completion"], name, row["prompt"]))
    jobs.sort(key=lambda job: hash((job[4], job[1])))  # adapters mixed, so that batches hold many
    with ThreadPoolExecutor(CLIENTS) as pool:
        texts = list(pool.map(lambda job: ask(args.url, job[3], job[4]), jobs))

    print("| adapter | base | base + instruction | adapter |\n|---|---|---|---|")
    for name in args.names:
        normal = tasks.load(name).normal
        cells = []
        for run in ("base", "instructed", "adapter"):
            hits = [normal(text) == normal(job[2]) for job, text in zip(jobs, texts) if job[0] == name and job[1] == run]
            cells.append(f"{100 * sum(hits) / len(hits):.0f}%")
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
