#!/usr/bin/env python3
"""Our batched speed beside llama.cpp's, alternating on the same machine, as a Markdown table.

Each round runs llama-batched-bench, then `edgelora bench batch` without adapters and with one distinct adapter a request, so that
a drift of the machine's speed hits all three. Medians over the rounds, with the range; ratios are of medians.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cpu_name():
    flags = name = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line.split(":", 1)[1]
            break
    isa = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if f" {f}" in flags]
    return f"{name or platform.processor()} ({', '.join(isa)})"


def peer(binary, args):
    cmd = [binary, "-m", args.model, "-c", "8192", "-npp", str(args.npp), "-ntg", str(args.ntg), "-npl", args.npl,
           "-t", str(args.threads), "--output-format", "jsonl"]
    out = subprocess.run(cmd, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {r["pl"]: (r["speed_pp"], r["speed_tg"]) for r in rows}


def ours(args, adapters):
    cmd = [args.edgelora, "bench", "batch", "-m", args.model, "--npp", str(args.npp), "--ntg", str(args.ntg), "--npl", args.npl,
           "--threads", str(args.threads), "--repeat", "1", "--json"]
    if adapters:
        cmd += ["--n-adapters", "each", "--ranks", str(args.rank)]
    rows = json.loads(subprocess.run(cmd, capture_output=True, text=True, check=True).stdout)["results"]
    return {r["npl"]: (r["prompt_tokens_per_second"]["median"], r["decode_tokens_per_second"]["median"]) for r in rows}


def cell(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def table(title, rounds, which, batches):
    print(f"\n{title}, tokens/s: median (range) of {len(rounds)} rounds\n")
    print("| batch | llama.cpp | edgelora, base | ratio | edgelora, a distinct adapter each | ratio to llama.cpp without | against our base |")
    print("|---|---|---|---|---|---|---|")
    for b in batches:
        p, base, lora = ([r[k][b][which] for r in rounds] for k in ("peer", "base", "lora"))
        mp, mb, ml = map(statistics.median, (p, base, lora))
        print(f"| {b} | {cell(p)} | {cell(base)} | {mb / mp:.2f}x | {cell(lora)} | {ml / mp:.2f}x | {100 * ml / mb:.0f}% |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", required=True, help="GGUF file")
    p.add_argument("--edgelora", default="build/edgelora", help="our binary (default %(default)s)")
    p.add_argument("--peer", help="llama-batched-bench (default: the one of build.sh)")
    p.add_argument("--npl", default="1,2,4,8,16,32", help="batch sizes (default %(default)s)")
    p.add_argument("--npp", type=int, default=64, help="prompt tokens (default %(default)s)")
    p.add_argument("--ntg", type=int, default=24, help="generated tokens (default %(default)s)")
    p.add_argument("--rank", type=int, default=16, help="rank of the adapters, on all linear layers (default %(default)s)")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each (default %(default)s)")
    p.add_argument("--rounds", type=int, default=5, help="(default %(default)s)")
    args = p.parse_args()
    binary = args.peer
    if not binary:
        where = subprocess.run([HERE / "build.sh", "--where"], capture_output=True, text=True, check=True).stdout.strip()
        binary = str(Path(where) / "llama-batched-bench")

    rounds = []
    for i in range(args.rounds):
        print(f"round {i + 1} of {args.rounds}", file=sys.stderr)
        rounds.append({"peer": peer(binary, args), "base": ours(args, False), "lora": ours(args, True)})
    batches = [int(b) for b in args.npl.split(",")]
    print(f"{Path(args.model).name}; {cpu_name()}; {args.threads} threads; {args.npp} prompt tokens, {args.ntg} generated; "
          f"adapters of rank {args.rank} on all linear layers")
    table("Decode", rounds, 1, batches)
    table("Prompt", rounds, 0, batches)


if __name__ == "__main__":
    main()
