"""The tools that compare speeds: that they run to the end and print what they promise, not which speeds they find."""

import importlib.machinery
import importlib.util
import json
import random
import re
import struct
import subprocess
import sys

import pytest
from conftest import BINARY, ROOT

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEER = ROOT / "tools" / "peer" / "bench.py"
COMPARE = ROOT / "tools" / "bench-compare"
ADAPTERS = ROOT / "tools" / "bench-adapters"
SOAK = ROOT / "tools" / "soak.py"

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")

# What llama-batched-bench prints, in proportion to the batch; the second argument of -npl and so on is the list.
FAKE_PEER = """#!{python}
import sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("a line that is no result")
for batch in map(int, options["-npl"].split(",")):
    print('{{"pp": %s, "tg": %s, "pl": %d, "speed_pp": 100.0, "speed_tg": %d}}' % (options["-npp"], options["-ntg"], batch, 10 * batch))
"""


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=300)


def test_bench_peer_compares_and_tells_shares_of_the_limits(tmp_path):
    fake, out = tmp_path / "llama-batched-bench", tmp_path / "table.md"
    fake.write_text(FAKE_PEER.format(python=sys.executable))
    fake.chmod(0o755)
    r = run(PEER, "--models", TINY, "--edgelora", BINARY, "--peer", fake, "--rounds", "1", "--npl", "1,2", "--prompt", "16",
            "--npp", "4", "--ntg", "4", "--threads", "1", "--out", out)
    assert r.returncode == 0, r.stderr
    assert out.read_text() == r.stdout
    assert ", 1 thread; " in r.stdout and "### q8_0.gguf" in r.stdout
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in r.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["prompt of 16", "decode, batch 1", "decode, batch 2"]
    for row, peer in zip(rows, (100, 10, 20)):
        assert float(row[1].split()[0]) == peer
        ours = float(row[3].split()[0])
        assert ours > 0 and abs(float(row[5].rstrip("x")) - ours / peer) <= 0.01 * ours / peer + 0.01
    # The reading speed may have changed in between, which is said.
    assert all(re.fullmatch(r"\d+%|\?", row[i]) for row in rows for i in (2, 4))
    assert all(re.fullmatch(r"\d+%", row[7]) for row in rows[1:])


@pytest.mark.parametrize("args, message", [
    (["--models", "/no/such.gguf"], "/no/such.gguf: no such file"),
    (["--rounds", "0"], "'0' is not a positive whole number"),
    (["--npl", "1,x"], "'1,x' is not a list of positive whole numbers"),
    (["--edgelora", "/no/such"], "/no/such: no such program; run make first"),
])
def test_bench_peer_refuses_what_it_cannot_do_before_it_builds_anything(args, message):
    r = run(PEER, "--edgelora", BINARY, *args)
    assert r.returncode != 0 and message in r.stderr and r.stdout == ""


@pytest.mark.parametrize("args, message", [
    ([], "--base"),
    (["--base", "no-such-revision"], "'no-such-revision' is no revision of this repository"),
    (["--base", "HEAD", "--rounds", "none"], "'none' is not a positive whole number"),
])
def test_bench_compare_refuses_what_it_cannot_do(args, message):
    r = run(COMPARE, *args)
    assert r.returncode != 0 and message in r.stderr and r.stdout == ""


# ---- bench-adapters and what it shares with the soak


def load(path):
    """A tool as a module."""
    sys.path.insert(0, str(path.parent))
    try:
        loader = importlib.machinery.SourceFileLoader(path.stem.replace("-", "_"), str(path))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


serving = load(ROOT / "tools" / "serving.py")


def test_a_power_law_draws_each_as_often_as_it_says():
    pick = serving.power_law(4, 1)  # 12/25, 6/25, 4/25, 3/25
    counts = [0] * 4
    for k in range(2500):
        counts[pick(k / 2500)] += 1
    assert all(abs(n - expected) <= 1 for n, expected in zip(counts, (1200, 600, 400, 300)))
    assert pick(0.0) == 0 and pick(1 - 2**-53) == 3
    even = serving.power_law(10, 0)
    assert [even((i + 0.5) / 10) for i in range(10)] == list(range(10))


def test_a_percentile_is_one_of_the_values():
    values = list(range(100, 0, -1))
    assert [serving.percentile(values, p) for p in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert serving.percentile([7.5], 0.99) == 7.5


@pytest.mark.parametrize("kind, form", [("F32", "<256f"), ("F16", "<256e")])
def test_random_weights_are_of_one_magnitude_either_sign_and_their_own(kind, form):
    values = struct.unpack(form, serving.random_weights(random.Random(1), kind, 256, -3))
    assert all(0.125 <= abs(v) < 0.25 for v in values)
    assert 64 < sum(v < 0 for v in values) < 192 and len(set(values)) > 200
    assert values != struct.unpack(form, serving.random_weights(random.Random(2), kind, 256, -3))


def test_a_made_adapter_is_one_that_the_program_reads(tmp_path):
    matrices = serving.linear_matrices(BINARY, TINY)
    serving.gguf_adapter(tmp_path / "made.gguf", matrices, 3, random.Random(1))
    r = run(BINARY, "inspect", tmp_path / "made.gguf")
    assert r.returncode == 0, r.stderr
    assert re.search(r"rank +3\n +scale +1\n", r.stdout)
    assert len(re.findall(r"lora_[ab] ", r.stdout)) == 2 * len(matrices)


def test_the_table_says_what_was_not_measured():
    bench = load(ADAPTERS)
    ours = {"registered": 1000, "server": "edgelora", "start_seconds": 0.12, "start_again_seconds": 0.1, "started_mib": 100.4, "resident_mib": 1234.5,
            "hit_rate": 0.567, "loads": 12, "requests": 34, "requests_per_second": 5.67, "first_token_ms": {"p50": 78.4, "p99": 1090.1}}
    lines = list(bench.table([ours, {"registered": 10000, "server": "llama-server", "failed": "given up"}]))
    assert lines[2] == "| 1,000 | edgelora | 0.12 (0.10) | 100 | 1,234 | 57% | 12 | 34 | 5.7 | 78 | 1,090 |"
    assert lines[3].startswith("| 10,000 | llama-server | given up |") and len({line.count("|") for line in lines}) == 1


def test_bench_adapters_runs_and_gives_up_a_peer_that_does_not_start(tmp_path):
    fake, out = tmp_path / "llama-server", tmp_path / "figures.json"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    r = run(ADAPTERS, "--edgelora", BINARY, "--model", TINY, "--peer", fake, "--peer-start", "0.2", "--sizes", "2,20", "--files", "5", "--rank", "2", "--resident",
            "3", "--slots", "2", "--clients", "3", "--context", "64", "--prompt", "1-4", "--answer", "2-4", "--warmup", "0.3", "--seconds", "0.7", "--json", out)
    assert r.returncode == 0, r.stderr
    small, large, peer = json.loads(out.read_text())["results"]
    assert (small["registered"], large["registered"]) == (2, 20)
    assert small["loads"] == 0 and small["hit_rate"] == 1  # both are in memory when measuring begins
    assert large["loads"] > 0 and 0 < large["hit_rate"] < 1 and large["resident_adapters"] < 20
    assert small["requests"] > 0 and 0 < small["first_token_ms"]["p50"] <= small["first_token_ms"]["p99"]
    assert "given up after 0." in peer["failed"] and f"| 2 | llama-server | {peer['failed']} |" in r.stdout


@pytest.mark.parametrize("args, message", [
    (["--edgelora", "/no/such"], "/no/such: no such program; run make first"),
    (["--sizes", "10,0"], "'10,0' is not a list of positive whole numbers"),
    (["--prompt", "9-3"], "'9-3' is not a range"),
])
def test_bench_adapters_refuses_what_it_cannot_do(args, message):
    r = run(ADAPTERS, "--edgelora", BINARY, *args)
    assert r.returncode != 0 and message in r.stderr and r.stdout == ""


@pytest.mark.parametrize("slack, code", [(1 << 20, 0), (-(1 << 20), 1)])
def test_soak_checks_answers_and_growth(slack, code):
    r = run(SOAK, "--edgelora", BINARY, "--adapters", "20", "--resident", "4", "--requests", "1000", "--slack-kib", slack)
    assert r.returncode == code, r.stderr
    assert "20 adapters, 60 different answers" in r.stdout and "1000 requests in " in r.stdout
    assert ("the heap in use grew by" in r.stderr) == bool(code)
