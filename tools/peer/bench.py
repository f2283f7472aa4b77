#!/usr/bin/env python3
"""Our speed beside llama.cpp's, alternating on the same machine, with the share of the machine's limits, as Markdown.

Builds the peer if it is not there (tools/peer/build.sh), and fetches or makes the models that are not. Each round runs,
for each model: llama-batched-bench, `edgelora-bench batch` without adapters and with a distinct adapter for each
request, and between them `edgelora-bench peak`; every other round in the opposite order. So a drift of the machine's
speed hits all of them. Figures are medians over the rounds, with the range; ratios are of medians, shares are of the
limits at that moment.

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


def our_version(program, kernels=None):
    commit = subprocess.run(["git", "-C", TOOLS.parent, "describe", "--always", "--dirty"], capture_output=True, text=True)
    version = f"{output(program, '--version').strip()} ({commit.stdout.strip() or 'not from git'})"
    return ", ".join([version, *([f"{kernels} kernels"] if kernels else []), compiler(program)])


def peer_version(program):
    """Of the peer, one of its programs being that."""
    folder = Path(program).resolve().parent
    version = re.search(r"^VERSION=(\S+)", (HERE / "build.sh").read_text(), re.MULTILINE)[1]
    library = next(iter(sorted(folder.glob("libggml-cpu.so*"))), program)
    return f"llama.cpp of llama-cpp-python {version}, {compiler(library)}, {peer_flags(folder)}"


def bench_of(program):
    """edgelora-bench is built and installed beside edgelora."""
    return Path(program).with_name("edgelora-bench")


def physical_cores(program):
    """As many threads as edgelora takes by itself."""
    return json.loads(output(bench_of(program), "peak", "--threads", 1, "--repeat", 1, "--limits", "compute", "--json"))["machine"]["cores"]


def built(program):
    """Where build.sh has put one of the peer's programs; None: it was not run."""
    where = subprocess.run([HERE / "build.sh", "--where"], capture_output=True, text=True)
    return Path(where.stdout.strip()) / program if where.returncode == 0 else None


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


def fetched():
    """The names that tools/fetch-model knows."""
    return [line.split()[0] for line in (TOOLS / "models.txt").read_text().splitlines() if line and not line.startswith("#")]


def check_models(names):
    """Before anything takes long."""
    for name in names:
        if name not in ("default", *fetched()) and not re.fullmatch(MADE, name) and not Path(name).is_file():
            sys.exit(f"bench-peer: {name}: no such file, and none of default, 1b-q4_0, 1b-q8_0, {', '.join(fetched())}")


def model_path(name):
    """A file, or one of the names: default, 1b-TYPE, those of tools/fetch-model."""
    if name == "default" or name in fetched():
        return Path(output(TOOLS / "fetch-model", *([] if name == "default" else [name])).strip())
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
    """Of a model's file: parameters in the layers' matrices; of them those that each token of a prompt is multiplied with, that is, all but the
    last layer's feed-forward, which both programs leave out for tokens whose logits nobody reads; parameters and bytes of what a decoding step
    reads, that is, the layers' and the output matrix (the embeddings' own, where the file has no other)."""
    layers = unread = step = step_bytes = 0
    table = {}
    for line in output(args.edgelora, "inspect", model).splitlines():
        found = re.match(r"  (\S+\.weight)\s+\S+\s+(\d+) bytes\s+\[(\d+), (\d+)\]", line)
        if found:
            table[found[1]] = (int(found[2]), int(found[3]) * int(found[4]))
    output_name = "output.weight" if "output.weight" in table else "token_embd.weight"
    last = max((int(name.split(".")[1]) for name in table if name.startswith("blk.")), default=0)
    for name, (size, parameters) in table.items():
        layers += parameters if name.startswith("blk.") else 0
        unread += parameters if name.startswith(f"blk.{last}.ffn_") else 0
        if name.startswith("blk.") or name == output_name:
            step += parameters
            step_bytes += size
    if not layers:
        sys.exit(f"bench-peer: {model}: 'edgelora inspect' lists no matrices of layers")
    return layers, layers - unread, step, step_bytes


# ---- one run of each


def peer(args, model, prompt, generate, batches):
    """{batch: (prompt tokens/s, decode tokens/s)}"""
    context = max(batches) * ((prompt + generate + 255) // 256) * 256
    out = output(args.peer, "-m", model, "-c", context, "-npp", prompt, "-ntg", generate, "-npl",
                 ",".join(map(str, batches)), "-t", args.threads, "--output-format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {r["pl"]: (r["speed_pp"], r["speed_tg"]) for r in rows}


def ours(args, model, prompt, generate, batches, adapters):
    cmd = [bench_of(args.edgelora), "batch", "-m", model, "--npp", prompt, "--ntg", generate, "--npl",
           ",".join(map(str, batches)), "--threads", args.threads, "--repeat", 1, "--json", "--temperature", args.temperature]
    cmd += ["--n-adapters", "each", "--ranks", args.rank] if adapters else []
    cmd += ["--isa", args.isa] if args.isa else []
    report = json.loads(output(*cmd))
    args.kernels = report["machine"]["isa"]
    return {r["npl"]: (r["prompt_tokens_per_second"]["median"], r["decode_tokens_per_second"]["median"])
            for r in report["results"]}


def peak(args, what):
    return json.loads(output(bench_of(args.edgelora), "peak", "--limits", what, "--threads", args.threads, "--repeat", 3, "--json"))


def reading_speed(args):
    return peak(args, "memory")["read"][0]["gb_per_second"]["median"]


def one_round(args, model, backwards):
    """Runs each. Batch 1, which memory limits, runs alone between two measurements of the reading speed: on a virtual
    machine that may double or halve within seconds, when the host moves its processors."""
    programs = {"peer": lambda *a: peer(args, model, *a), "base": lambda *a: ours(args, model, *a, False),
                "lora": lambda *a: ours(args, model, *a, True)}
    result = {name: {"decode": {}} for name in programs}
    order = list(reversed(programs)) if backwards else list(programs)
    for name in order if 1 in args.npl else []:
        before = reading_speed(args)
        result[name]["decode"][1] = programs[name](args.npp, args.ntg, [1])[1][1]
        result[name]["reading"] = (before, reading_speed(args))
    many = [b for b in args.npl if b > 1]
    for name in order:
        if many:
            result[name]["decode"].update({b: speed[1] for b, speed in programs[name](args.npp, args.ntg, many).items()})
        if name != "lora":
            result[name]["prompt"] = programs[name](args.prompt, 1, [1])[1][0]
    # Last: our kernels' name is known from a run.
    gops = {c["isa"]: c["gops"]["median"] for c in peak(args, "compute")["compute"] if c["kind"] == "int8"}
    return {**result, "gops": gops.get(args.kernels)}


# ---- the tables


def cell(values):
    form = ".1f" if statistics.median(values) < 100 else ".0f"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def share(shares):
    """Of those rounds that have one."""
    known = [s for s in shares if s is not None]
    return f"{100 * statistics.median(known):.0f}%" if known else "?"


def ratio(a, b):
    return f"{statistics.median(a) / statistics.median(b):.2f}x"


def compute_share(parameters):
    return lambda run, r, speed: r["gops"] and 2e-9 * parameters * speed / r["gops"]


def reading_share(step_bytes):
    """None where the reading speed changed while the program ran."""
    def of(run, r, speed):
        before, after = run["reading"]
        return 2e-9 * step_bytes * speed / (before + after) if max(before, after) < 1.1 * min(before, after) else None

    return of


def table(args, model, rounds):
    layers, prompt, step, step_bytes = matrices(args, model)
    reading = [gb for r in rounds for name in ("peer", "base", "lora") for gb in r[name].get("reading", ())]
    yield f"\n### {model.name}\n"
    yield (f"{layers / 1e6:.0f} M parameters in the layers' matrices; {step_bytes / 1e6:.0f} MB of weights are read in a step of decoding."
           + (f" int8 peak: {cell([r['gops'] for r in rounds])} GOPS." if rounds[0]["gops"] else "")
           + (f" Reading: {cell(reading)} GB/s." if reading else "") + "\n")
    yield "| | llama.cpp, tokens/s | of the limit | edgelora, base | of the limit | ratio | edgelora, an adapter each | against base |"
    yield "|---|---|---|---|---|---|---|---|"

    def row(title, figure, limit):
        """figure: of a program's round. limit: the share that a speed is of it."""
        columns = {name: [figure(r[name]) for r in rounds] for name in ("peer", "base", "lora") if figure(rounds[0][name])}
        shares = {name: share([limit(r[name], r, s) for r, s in zip(rounds, columns[name])]) for name in ("peer", "base")}
        lora = columns.get("lora")
        against = f"{100 * statistics.median(lora) / statistics.median(columns['base']):.0f}%" if lora else ""
        return (f"| {title} | {cell(columns['peer'])} | {shares['peer']} | {cell(columns['base'])} | {shares['base']} "
                f"| {ratio(columns['base'], columns['peer'])} | {cell(lora) if lora else ''} | {against} |")

    yield row(f"prompt of {args.prompt}", lambda run: run.get("prompt"), compute_share(prompt))
    for b in args.npl:
        yield row(f"decode, batch {b}", lambda run: run["decode"][b], reading_share(step_bytes) if b == 1 else compute_share(step))


def head(args):
    as_avx2 = "; **both as on a CPU with AVX2 and nothing newer**" if args.isa == "avx2" else ""
    yield f"{cpu()}, {args.threads} thread{'s' * (args.threads > 1)}{as_avx2}; {time.strftime('%Y-%m-%d')}.\n"
    yield f"- {our_version(args.edgelora, args.kernels)}"
    yield f"- {peer_version(args.peer)}; flash attention: auto"
    yield (f"- {args.rounds} round{'s' * (args.rounds > 1)}, alternating: median (least–most). Prompt: one sequence of {args.prompt} tokens. Decode: "
           f"after {args.npp} tokens each, {args.ntg} steps. Adapters: rank {args.rank} on all linear layers, llama.cpp "
           "without any")
    yield ("- Of the limit: at batch 1, bytes of weights x steps/s over the reading speed right before and after; otherwise "
           "2 x parameters x tokens/s over the int8 peak of the instruction set (prompts: parameters of the layers' matrices but for the last feed-forward; decoding: "
           "with the output matrix). Both as `edgelora-bench peak` measures them. A question mark: it changed while the program ran")


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
    p.add_argument("--models", "--model", default=DEFAULT_MODELS, metavar="LIST",
                   help="GGUF files, names that tools/fetch-model knows, 'default' (SmolLM2-135M Q4_1), '1b-q4_0' and so on (the "
                        f"shape of a model of 1 B parameters with random weights); default {DEFAULT_MODELS}")
    p.add_argument("--npl", type=numbers, default="1,2,4,8,16,32", metavar="LIST", help="batch sizes (default %(default)s)")
    p.add_argument("--prompt", type=positive, default=512, metavar="N", help="tokens of the prompt that is timed (default 512)")
    p.add_argument("--npp", type=positive, default=32, metavar="N", help="tokens that decoding sequences have behind them (default 32)")
    p.add_argument("--ntg", type=positive, default=16, metavar="N", help="steps of decoding (default 16)")
    p.add_argument("--rank", type=positive, default=16, metavar="N", help="of the adapters (default 16)")
    p.add_argument("--temperature", type=float, default=1, metavar="T",
                   help="that our tokens are drawn with; the peer's bench draws none (default 1)")
    p.add_argument("--threads", type=positive, metavar="N", help="of each (default: one per physical core, as edgelora takes)")
    p.add_argument("--rounds", type=positive, default=5, metavar="N", help="(default 5)")
    p.add_argument("--isa", metavar="NAME", help="our kernels; 'avx2' takes a peer that was built for AVX2 alone, too")
    p.add_argument("--quick", action="store_true", help="3 rounds, batches 1, 8 and 16, fewer tokens: rough figures in about 5 minutes; options beside it count")
    p.add_argument("--edgelora", default=TOOLS.parent / "build" / "edgelora", metavar="FILE", help="our program (default build/edgelora)")
    p.add_argument("--peer", metavar="FILE", help="another llama-batched-bench than that of build.sh")
    p.add_argument("--out", metavar="FILE", type=Path, help="write the tables there, too")
    if p.parse_known_args()[0].quick:
        p.set_defaults(rounds=3, npl=[1, 8, 16], ntg=8, npp=16, prompt=256)
    args = p.parse_args()
    args.edgelora = Path(args.edgelora).resolve()
    if not args.edgelora.exists():
        sys.exit(f"bench-peer: {args.edgelora}: no such program; run make first")
    check_models(args.models.split(","))
    if not args.peer:
        variant = ["--avx2"] if args.isa == "avx2" else []
        say(output(HERE / "build.sh", *variant).strip())
        args.peer = Path(output(HERE / "build.sh", *variant, "--where").strip()) / "llama-batched-bench"
    args.threads = args.threads or physical_cores(args.edgelora)
    models = [model_path(name) for name in args.models.split(",")]

    lines, started = [], time.monotonic()
    for model in models:
        rounds = []
        for i in range(args.rounds):
            say(f"{model.name}, round {i + 1} of {args.rounds}, after {time.monotonic() - started:.0f} s")
            rounds.append(one_round(args, model, i % 2))
        lines += [*([] if lines else head(args)), *table(args, model, rounds)]
        if args.out:
            args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
