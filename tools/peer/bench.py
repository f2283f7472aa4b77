#!/usr/bin/env python3
"""Our speed beside llama.cpp's, alternating on the same machine, with the share of the machine's limits, as Markdown.

Builds the peer if it is not there (tools/peer/build.sh), and fetches or makes the models that are not. Each round runs,
for each model: `edgelora bench peak`, then llama-batched-bench, `edgelora bench batch` without adapters and with a
distinct adapter for each request; every other round in the opposite order. So a drift of the machine's speed hits all
of them. Figures are medians over the rounds, with the range; ratios are of medians, shares are of each round's limits.

The peer runs as it is fastest by itself: built for this CPU (for AVX2 alone with --isa avx2), the same number of
threads for prompts and decoding, its defaults for batch sizes and flash attention ('auto'), keys and values in F16, as
ours. A prompt is one sequence of --prompt tokens, which is what the peer's batches of 512 suit best.
"""
import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgelora"
DEFAULT_MODELS = "default,1b-q4_0,1b-q8_0"


def say(text):
    print(f"bench-peer: {text}", file=sys.stderr, flush=True)


def output(*cmd):
    r = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"bench-peer: {' '.join(map(str, cmd))}: exit status {r.returncode}\n{r.stderr[-2000:]}")
    return r.stdout


# ---- what is compared


def cpu():
    """Its name, and what it has of the instruction sets that matter here."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)", text, re.MULTILINE)
    flags = set((re.search(r"^(?:flags|Features)\s*:\s*(.*)", text, re.MULTILINE) or [0, ""])[1].split())
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "asimd", "asimddp", "i8mm")
    return f"{name[1] if name else os.uname().machine} ({', '.join(f for f in known if f in flags)})"


def compiler(path):
    """What a compiler left in a binary's comment section."""
    found = re.search(rb"(GCC: \([^)]*\) [\d.]+|clang version [\d.]+)", Path(path).read_bytes())
    return found[1].decode().replace("GCC: ", "gcc ") if found else "unknown compiler"


def peer_flags(folder):
    """The machine options that the peer's arithmetic was compiled with."""
    for path in Path(folder).resolve().parent.glob("ggml/src/CMakeFiles/ggml-cpu.dir/flags.make"):
        found = re.search(r"^CXX_FLAGS = (.*)", path.read_text(), re.MULTILINE)
        return " ".join(f for f in found[1].split() if f.startswith(("-m", "-O")))
    return "unknown flags"


def python_with_gguf():
    if all(importlib.util.find_spec(name) for name in ("numpy", "gguf")):
        return sys.executable
    venv = CACHE / "venv"
    python = venv / "bin" / "python"
    if not (venv / "made").exists():
        say(f"installing numpy and gguf into {venv}")
        output(sys.executable, "-m", "venv", "--clear", venv)
        output(python, "-m", "pip", "install", "--quiet", "-r", TOOLS / "golden" / "requirements.txt")
        (venv / "made").touch()
    return python


MADE = r"1b-(q4_0|q4_1|q5_0|q5_1|q8_0|f16|bf16)"


def check_models(names):
    """Before anything takes long."""
    for name in names:
        if name != "default" and not re.fullmatch(MADE, name) and not Path(name).is_file():
            sys.exit(f"bench-peer: {name}: no such file, and none of 'default', '1b-q4_0', '1b-q8_0'")


def model_path(name):
    """A file, or one of the names: default, 1b-TYPE."""
    if name == "default":
        return Path(output(TOOLS / "fetch-model").strip())
    made = re.fullmatch(MADE, name)
    if not made:
        return Path(name)
    kind = made[1].upper()
    path = CACHE / "models" / f"random-1b.{kind}.gguf"
    if not path.exists():
        say(f"making {path} (a minute or two)")
        part = path.with_suffix(".part")
        output(python_with_gguf(), TOOLS / "make_model.py", "--preset", "1b", "--type", kind, "--vocab-from",
               model_path("default"), part)
        part.rename(path)
    return path


def matrices(args, model):
    """Of a model's file: parameters in the layers' matrices; parameters and bytes of what a decoding step reads, that is,
    those and the output matrix (the embeddings' own, where the file has no other)."""
    layers = step = step_bytes = 0
    table = {}
    for line in output(args.edgelora, "inspect", model).splitlines():
        found = re.match(r"  (\S+\.weight)\s+\S+\s+(\d+) bytes\s+\[(\d+), (\d+)\]", line)
        if found:
            table[found[1]] = (int(found[2]), int(found[3]) * int(found[4]))
    output_name = "output.weight" if "output.weight" in table else "token_embd.weight"
    for name, (size, parameters) in table.items():
        layers += parameters if name.startswith("blk.") else 0
        if name.startswith("blk.") or name == output_name:
            step += parameters
            step_bytes += size
    if not layers:
        sys.exit(f"bench-peer: {model}: 'edgelora inspect' lists no matrices of layers")
    return layers, step, step_bytes


# ---- one run of each


def peer(args, model, prompt, generate, batches):
    """{batch: (prompt tokens/s, decode tokens/s)}"""
    context = max(batches) * ((prompt + generate + 255) // 256) * 256
    out = output(args.peer, "-m", model, "-c", context, "-npp", prompt, "-ntg", generate, "-npl",
                 ",".join(map(str, batches)), "-t", args.threads, "--output-format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {r["pl"]: (r["speed_pp"], r["speed_tg"]) for r in rows}


def ours(args, model, prompt, generate, batches, adapters):
    cmd = [args.edgelora, "bench", "batch", "-m", model, "--npp", prompt, "--ntg", generate, "--npl",
           ",".join(map(str, batches)), "--threads", args.threads, "--repeat", 1, "--json"]
    cmd += ["--n-adapters", "each", "--ranks", args.rank] if adapters else []
    cmd += ["--isa", args.isa] if args.isa else []
    report = json.loads(output(*cmd))
    args.kernels = report["machine"]["isa"]
    return {r["npl"]: (r["prompt_tokens_per_second"]["median"], r["decode_tokens_per_second"]["median"])
            for r in report["results"]}


def limits(args):
    """GOPS by instruction set, and GB/s."""
    report = json.loads(output(args.edgelora, "bench", "peak", "--threads", args.threads, "--repeat", 3, "--json"))
    gops = {c["isa"]: c["gops"]["median"] for c in report["compute"] if c["kind"] == "int8"}
    return gops, next(r["gb_per_second"]["median"] for r in report["read"] if r["level"] == "memory")


def one_round(args, model, backwards):
    def prompts_and_decode(run):
        return {"prompt": run(args.prompt, 1, [1])[1][0],
                "decode": {b: s[1] for b, s in run(args.npp, args.ntg, args.npl).items()}}

    runs = {
        "peer": lambda: prompts_and_decode(lambda *a: peer(args, model, *a)),
        "base": lambda: prompts_and_decode(lambda *a: ours(args, model, *a, False)),
        "lora": lambda: {"decode": {b: s[1] for b, s in ours(args, model, args.npp, args.ntg, args.npl, True).items()}},
    }
    gops, gb = limits(args)
    result = {name: runs[name]() for name in (reversed(runs) if backwards else runs)}
    # Not before: our kernels' name is known from a run.
    return {**result, "gops": gops.get(args.kernels), "gb": gb}


# ---- the tables


def cell(values):
    form = ".1f" if statistics.median(values) < 100 else ".0f"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def share(shares):
    return "" if None in shares else f"{100 * statistics.median(shares):.0f}%"


def ratio(a, b):
    return f"{statistics.median(a) / statistics.median(b):.2f}x"


def table(args, model, rounds):
    layers, step, step_bytes = matrices(args, model)
    yield f"\n### {model.name}\n"
    yield f"Matrices of {layers / 1e6:.0f} M parameters in the layers; a decoding step reads {step_bytes / 1e6:.0f} MB. Limits: " + (
        f"{cell([r['gops'] for r in rounds])} GOPS, " if rounds[0]["gops"] else "") + f"{cell([r['gb'] for r in rounds])} GB/s.\n"
    yield "| | llama.cpp, tokens/s | of the limit | edgelora, base | of the limit | ratio | edgelora, an adapter each | against base |"
    yield "|---|---|---|---|---|---|---|---|"

    def prompt_share(r, speed):
        return r["gops"] and 2e-9 * layers * speed / r["gops"]

    p, o = ([r[k]["prompt"] for r in rounds] for k in ("peer", "base"))
    yield (f"| prompt of {args.prompt} | {cell(p)} | {share([prompt_share(r, s) for r, s in zip(rounds, p)])} | {cell(o)} "
           f"| {share([prompt_share(r, s) for r, s in zip(rounds, o)])} | {ratio(o, p)} | | |")
    for b in args.npl:
        def decode_share(r, speed):
            read = r["gb"] * 1e9 * b / step_bytes
            return speed / (min(read, r["gops"] * 1e9 / (2 * step)) if r["gops"] else read)

        p, o, a = ([r[k]["decode"][b] for r in rounds] for k in ("peer", "base", "lora"))
        yield (f"| decode, batch {b} | {cell(p)} | {share([decode_share(r, s) for r, s in zip(rounds, p)])} | {cell(o)} "
               f"| {share([decode_share(r, s) for r, s in zip(rounds, o)])} | {ratio(o, p)} | {cell(a)} "
               f"| {100 * statistics.median(a) / statistics.median(o):.0f}% |")


def head(args, folder):
    as_avx2 = "; **both as on a CPU with AVX2 and nothing newer**" if args.isa == "avx2" else ""
    commit = subprocess.run(["git", "-C", TOOLS.parent, "describe", "--always", "--dirty"], capture_output=True, text=True)
    version = f"{output(args.edgelora, '--version').strip()} ({commit.stdout.strip() or 'not from git'})"
    peer_version = re.search(r"^VERSION=(\S+)", (HERE / "build.sh").read_text(), re.MULTILINE)[1]
    library = next(iter(sorted(folder.glob("libggml-cpu.so*"))), args.peer)
    yield f"{cpu()}, {args.threads} thread{'s' * (args.threads > 1)}{as_avx2}; {time.strftime('%Y-%m-%d')}.\n"
    yield f"- {version}, {args.kernels} kernels, {compiler(args.edgelora)}"
    yield f"- llama.cpp of llama-cpp-python {peer_version}, {compiler(library)}, {peer_flags(folder)}; flash attention: auto"
    yield (f"- {args.rounds} round{'s' * (args.rounds > 1)}, alternating: median (least–most). Prompt: one sequence of {args.prompt} tokens. Decode: "
           f"after {args.npp} tokens each, {args.ntg} steps. Adapters: rank {args.rank} on all linear layers, llama.cpp "
           "without any")
    yield ("- The limit of a prompt: 2 x parameters of the layers' matrices x tokens/s = int8 peak of the instruction set. Of "
           "decoding: that with the output matrix, or reading all weights once a step, whichever is lower. Peak and reading "
           "speed as `edgelora bench peak` measured them in each round")


def numbers(text):
    try:
        values = [int(v) for v in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of positive whole numbers such as 1,8,16")
    return values


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default=DEFAULT_MODELS, metavar="LIST",
                   help="GGUF files, 'default' (SmolLM2-135M Q4_1), '1b-q4_0' and so on (the shape of a model of 1 B "
                        f"parameters with random weights); default {DEFAULT_MODELS}")
    p.add_argument("--npl", type=numbers, default="1,2,4,8,16,32", metavar="LIST", help="batch sizes (default %(default)s)")
    p.add_argument("--prompt", type=positive, default=512, metavar="N", help="tokens of the prompt that is timed (default 512)")
    p.add_argument("--npp", type=positive, default=32, metavar="N", help="tokens that decoding sequences have behind them (default 32)")
    p.add_argument("--ntg", type=positive, default=16, metavar="N", help="steps of decoding (default 16)")
    p.add_argument("--rank", type=positive, default=16, metavar="N", help="of the adapters (default 16)")
    p.add_argument("--threads", type=positive, metavar="N", help="of each (default: one per physical core, as edgelora takes)")
    p.add_argument("--rounds", type=positive, default=5, metavar="N", help="(default 5)")
    p.add_argument("--isa", metavar="NAME", help="our kernels; 'avx2' takes a peer that was built for AVX2 alone, too")
    p.add_argument("--quick", action="store_true", help="3 rounds, batches 1, 8 and 16, fewer tokens: rough figures in about 3 minutes")
    p.add_argument("--edgelora", default=TOOLS.parent / "build" / "edgelora", metavar="FILE", help="our program (default build/edgelora)")
    p.add_argument("--peer", metavar="FILE", help="another llama-batched-bench than that of build.sh")
    p.add_argument("--out", metavar="FILE", type=Path, help="write the tables there, too")
    args = p.parse_args()
    if args.quick:
        args.rounds, args.npl, args.ntg, args.npp, args.prompt = 3, [1, 8, 16], 8, 16, 256
    args.edgelora = Path(args.edgelora).resolve()
    if not args.edgelora.exists():
        sys.exit(f"bench-peer: {args.edgelora}: no such program; run make first")
    check_models(args.models.split(","))
    if not args.peer:
        variant = ["--avx2"] if args.isa == "avx2" else []
        say(output(HERE / "build.sh", *variant).strip())
        args.peer = Path(output(HERE / "build.sh", *variant, "--where").strip()) / "llama-batched-bench"
    if not args.threads:
        args.threads = json.loads(output(args.edgelora, "bench", "peak", "--threads", 1, "--repeat", 1, "--memory-mib", 1,
                                         "--json"))["machine"]["cores"]
    models = [model_path(name) for name in args.models.split(",")]

    lines, started = [], time.monotonic()
    for model in models:
        rounds = []
        for i in range(args.rounds):
            say(f"{model.name}, round {i + 1} of {args.rounds}, after {time.monotonic() - started:.0f} s")
            rounds.append(one_round(args, model, i % 2))
        lines += [*([] if lines else head(args, Path(args.peer).parent)), *table(args, model, rounds)]
        if args.out:
            args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
