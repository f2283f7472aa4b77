#!/usr/bin/env python3
"""Runs llama-server's own tests (tools/server/tests of llama.cpp) against llama-server and against edgelora serve.

The tests are the peer's (tools/peer/build.sh unpacks them outside the repository). They run as they are, but for what
this machine cannot have: every model is one small file, what an answer's text says is not looked at (match_regex holds
always), and those marked slow are left out. server_shim.py stands in for the program: it is started with llama-server's
command line and becomes edgelora serve.

  tools/peer/server_tests.py                        # both; prints how many pass, and which differ
  tools/peer/server_tests.py --only edgelora -k tokenize
  tools/peer/server_tests.py --only llama-server unit/test_rerank.py   # files of theirs
  tools/peer/server_tests.py --model FILE.gguf      # default: two layers of random weights with SmolLM2's vocabulary

Results are kept in the cache (peer/server-tests); --only one of both compares with the other's last.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import venv
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "edgelora"
TESTS = CACHE / "peer" / "src" / "tools" / "server" / "tests"
WORK = CACHE / "peer" / "server-tests"
PACKAGES = ("pytest==8.3.4", "pytest-timeout==2.3.1", "filelock", "numpy", "openai", "prometheus-client", "requests", "wget", "aiohttp", "gguf")
# What needs files from the network or is no server of a model's: its router of processes, tools that it runs, images.
TEST_S, FILE_S = 120, 3600  # at most, of a test and of a file of them
OUT_OF_SCOPE = ("test_vision_api.py", "test_mcp_servers.py", "test_tools_builtin.py", "test_router.py")


def python():
    """Of an environment with what the tests need."""
    env = WORK / "venv"
    if not (env / "done").exists():
        venv.create(env, with_pip=True)
        subprocess.run([env / "bin" / "pip", "install", "--quiet", *PACKAGES], check=True)
        (env / "done").touch()
    return env / "bin" / "python"


def small_model():
    model = WORK / "small.gguf"
    if not model.exists():
        vocabulary = subprocess.run([ROOT / "tools" / "fetch-model"], check=True, capture_output=True, text=True).stdout.strip()
        shape = "--layers 2 --width 64 --ffn 128 --heads 2 --kv-heads 2 --context 8192 --type Q8_0".split()
        subprocess.run([python(), ROOT / "tools" / "make_model.py", *shape, "--vocab-from", vocabulary, model], check=True)
    return model


def run_file(which, binary, model, file, rest):
    """Results by test of one file, in a process of its own: what hangs or dies costs no other file its results."""
    report = WORK / f"{which}.xml"
    report.unlink(missing_ok=True)
    # llama-server waits in a loop for its threads: with as many as there are cores, and others that want them, a token takes a second.
    env = {"LLAMA_ARG_THREADS": "1", **os.environ, "LLAMA_SERVER_BIN_PATH": str(binary), "SERVER_TESTS_MODEL": str(model), "PYTHONPATH": str(HERE),
           "LLAMA_CACHE": str(WORK)}
    command = [python(), "-m", "pytest", "-q", "-p", "server_tests_plugin", "-p", "no:cacheprovider", "-m", "not slow", f"--timeout={TEST_S}", "--tb=line",
               f"--junitxml={report}", file, *rest]
    try:
        subprocess.run(command, cwd=TESTS, env=env, stdout=sys.stderr, timeout=FILE_S)
    except subprocess.TimeoutExpired:
        print(f"{which}: {file} takes longer than {FILE_S} s", file=sys.stderr)
    results = {}
    if not report.exists():
        return results
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        failed = [e for e in case if e.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname').removeprefix('unit.')}::{case.get('name')}"
        results[name] = [failed[0].tag, failed[0].get("message") or ""] if failed else ["passed", ""]
    return results


def run(which, binary, model, rest):
    """Results by test, kept for the next comparison."""
    files = [arg for arg in rest if arg.startswith("unit/")]
    rest = [arg for arg in rest if arg not in files]
    kept = WORK / f"{which}.json"
    results = {}
    for file in files or sorted(f"unit/{f.name}" for f in (TESTS / "unit").glob("test_*.py") if f.name not in OUT_OF_SCOPE):
        results.update(run_file(which, binary, model, file, rest))
        before = json.loads(kept.read_text()) if kept.exists() else {}
        kept.write_text(json.dumps({**before, **results}, indent=1))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("llama-server", "edgelora"))
    parser.add_argument("--model", type=pathlib.Path)
    args, rest = parser.parse_known_args()
    if not TESTS.exists():
        sys.exit("llama.cpp is missing: tools/peer/build.sh")
    WORK.mkdir(parents=True, exist_ok=True)
    model = args.model or small_model()
    programs = {"llama-server": CACHE / "peer" / "bin" / "llama-server", "edgelora": HERE / "server_shim.py"}
    results = {}
    for which, binary in programs.items():
        if args.only in (None, which):
            results[which] = run(which, binary, model, rest)
        elif (WORK / f"{which}.json").exists():
            results[which] = json.loads((WORK / f"{which}.json").read_text())
    for which, cases in results.items():
        print(f"{which}: {sum(r[0] == 'passed' for r in cases.values())} of {len(cases)} pass")
    if len(results) == 2:
        theirs, ours = results["llama-server"], results["edgelora"]
        both = [name for name in theirs if theirs[name][0] == "passed" and name in ours]
        missing = [name for name in both if ours[name][0] != "passed"]
        print(f"of {len(both)} that llama-server passes, edgelora passes {len(both) - len(missing)}; not:")
        for name in missing:
            print(f"  {name}: {ours[name][1].splitlines()[0][:120] if ours[name][1] else ours[name][0]}")


if __name__ == "__main__":
    main()
