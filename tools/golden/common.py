"""What the golden scripts share: where things are, how the peer is asked, how a file is written."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "edgelora"
MODEL = CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PEER = CACHE / "peer"
WORK = CACHE / "golden"

# The peer's threads: 2 wherever it is asked, so that a remade file is the same on any machine.
THREADS = 2


def peer_version():
    """The pinned sdist, llama.cpp's own version in it, and the compiler's target: what the figures depend on."""
    build = (ROOT / "tools" / "peer" / "build.sh").read_text()
    sdist = re.search(r"^VERSION=(.+)$", build, re.M).group(1)
    log = (PEER / "configure.log").read_text()
    own = re.search(r"llama.cpp version: (\S+)", log).group(1)
    return f"llama.cpp {own} (from llama-cpp-python {sdist}), Release, GGML_NATIVE=ON, CPU flags {cpu_flags()}"


def cpu_flags():
    """The instruction sets that decide which kernels the peer runs."""
    try:
        flags = set(re.search(r"^flags\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M).group(1).split())
    except (OSError, AttributeError):
        return "unknown"
    return "+".join(f for f in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16") if f in flags) or "none known"


def peer(tool):
    path = PEER / "bin" / tool
    if not path.exists():
        sys.exit(f"{tool} is missing: run tools/peer/build.sh")
    return path


def compiled(source, compiler, lib, *flags):
    """The program of a source file of this folder, linked with a library; compiled when either is newer than the last build."""
    source = pathlib.Path(__file__).with_name(source)
    binary = WORK / source.stem
    newest = max(source.stat().st_mtime, lib.stat().st_mtime)
    if not binary.exists() or binary.stat().st_mtime < newest:
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([*compiler, "-O2", "-Wall", "-o", binary, source, lib, f"-Wl,-rpath,{lib.parent}", *flags], check=True)
    return binary


def oracle_binary():
    lib, src = peer("libllama.so").resolve(), PEER / "src"
    return compiled("oracle.cpp", ["g++", "-std=c++17"], lib, f"-I{src}/include", f"-I{src}/ggml/include", f"-I{src}/vendor",
                    f"-L{lib.parent}", "-lggml", "-lggml-base")


def ask(model, jobs, *flags):
    """The oracle's answers to the jobs, in order."""
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    command = ["nice", "-n", "5", oracle_binary(), "--model", model, "--threads", str(THREADS), *flags]
    out = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout
    # Not splitlines(): JSON strings may hold characters that Python takes for line ends.
    answers = [json.loads(line) for line in out.split("\n") if line]
    assert len(answers) == len(jobs)
    return answers


def ask_ours(model, jobs):
    """Our engine's greedy tokens for each (prompt's ids, how many): [[id, ...]], -1 where it ended; and the tokens that end."""
    lib = ROOT / "build" / "libedgelora.so"
    if not lib.exists():
        sys.exit(f"{lib.name} is missing: run make")
    binary = compiled("ours.c", ["gcc", "-std=c11"], lib.resolve(), f"-I{ROOT}/include")
    lines = "".join(" ".join(map(str, [n, *ids])) + "\n" for ids, n in jobs)
    out = subprocess.run([binary, model], input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout
    ends, *answers = [[int(word) for word in line.split()] for line in out.splitlines()]
    assert len(answers) == len(jobs)
    return answers, ends


def named_model(name):
    """A model by its name for tools/fetch-model, which checks it."""
    return pathlib.Path(subprocess.run([ROOT / "tools" / "fetch-model", name], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


def quantize(source, target, kind, *flags):
    """Runs llama-quantize unless its result is there already."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        subprocess.run(["nice", "-n", "5", peer("llama-quantize"), *flags, source, part, kind, str(THREADS)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part.rename(target)
    return target


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def default_model():
    """The default model, checked, so that no golden value comes from another file."""
    if not MODEL.exists():
        sys.exit(f"{MODEL.name} is missing in {MODEL.parent}: see tools/golden/README.md")
    if sha256(MODEL) != MODEL_SHA256:
        sys.exit(f"{MODEL} is not the file that the golden values were made from")
    return MODEL


def f32_model():
    """The default model with every weight dequantised to F32: what the exact figures come from."""
    return quantize(default_model(), WORK / "smollm2-f32.gguf", "F32", "--allow-requantize")


def write(name, made_by, body):
    """Writes a golden file: one top-level entry a line, so that a diff shows what changed."""
    head = {"made_by": made_by}
    items = {**head, **body}
    rows = []
    for key, value in items.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in value)
            rows.append(f"{json.dumps(key)}:[\n{inner}\n]")
        else:
            rows.append(f"{json.dumps(key)}:{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}")
    path = GOLDEN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
