"""The tools that compare speeds: that they run to the end and print what they promise, not which speeds they find."""

import re
import subprocess
import sys

import pytest
from conftest import BINARY, ROOT

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEER = ROOT / "tools" / "peer" / "bench.py"
COMPARE = ROOT / "tools" / "bench-compare"

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
