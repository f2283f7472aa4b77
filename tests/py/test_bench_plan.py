"""edgelora-bench plan: measured costs become a prediction; the same costs give the same one; mistakes are named."""

import json
import subprocess

import pytest
from conftest import BENCH, ROOT

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="edgelora-bench is not built (EDGELORA_BIN)")


def plan(*args, status=0):
    """Runs it; standard output and what it said."""
    done = subprocess.run([BENCH, "plan", *map(str, args)], capture_output=True, text=True, timeout=300)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def report(*args):
    r = json.loads(plan(*args, "--json")[0])
    assert r["schema"] == "edgelora-plan/1"
    return r


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """Measured with the tiny model, few rows a step."""
    path = tmp_path_factory.mktemp("plan") / "costs.json"
    out, err = plan("-m", TINY, "--rank", 4, "--slots", 4, "--step-rows", 16, "-c", 64, "--input", 8, "--output", 8, "--duration", 5, "--rate", 20,
                    "--adapters", 10, "--memory", "8M", "--save-costs", path)
    assert "measuring steps" in err and "requests/s" in out
    return path


def test_what_is_measured_is_kept(costs):
    c = json.loads(costs.read_text())
    assert c["schema"] == "edgelora-costs/1" and c["rank"] == 4 and c["steps"][-1][0] == 16
    assert all(row[1] > 0 for row in c["steps"])
    assert c["seconds"]["load"] > 0 and c["seconds"]["request"] > 0
    assert c["adapter_blocks"] >= 1 and c["adapter_bytes"] > 0
    assert c["started_bytes"] > c["weight_bytes"] > 0


SMALL = ("-c", 64, "--slots", 4, "--step-rows", 16, "--input", "4:16", "--output", "4:16", "--memory", "8M")


def test_the_same_costs_give_the_same_plan(costs):
    first, second = (report("--costs", costs, *SMALL, "--adapters", 50, "--rate", 30, "--duration", 20) for _ in range(2))
    assert first == second
    s = first["summary"]
    assert s["done"] == s["sent"] > 300 and s["failed"] == 0
    assert first["cache"]["hits"] + first["cache"]["misses"] == s["sent"]
    assert first["saturating_requests_per_second"] > 0


def test_more_load_than_it_can_take_waits(costs):
    closed = report("--costs", costs, *SMALL, "--adapters", 5, "--clients", 8, "--duration", 5)
    most = closed["summary"]["requests_per_second"]
    low, high = (report("--costs", costs, *SMALL, "--adapters", 5, "--rate", x * most, "--cv", 1, "--duration", 10) for x in (0.3, 3))
    assert abs(low["saturating_requests_per_second"] / most - 1) < 0.2
    assert low["summary"]["requests_per_second"] < 0.5 * most
    assert high["summary"]["requests_per_second"] == pytest.approx(most, rel=0.2)
    assert high["summary"]["first_text_seconds"]["p50"] > 20 * low["summary"]["first_text_seconds"]["p50"]
    assert high["limits"]["waiting_for_slots"] > 0.5 > low["limits"]["waiting_for_slots"]


def test_a_saved_trace_is_replayed(costs, tmp_path):
    trace = tmp_path / "trace.jsonl"
    lines = [{"schema": "edgelora-trace/1"}] + [{"at": i / 10, "adapter": "abc"[i % 3], "input": 8, "output": 4} for i in range(30)]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    r = report("--costs", costs, *SMALL, "--adapters", 0, "--replay", trace, "--warm-up", 0)
    assert r["summary"]["done"] == 30 and r["summary"]["tokens_out"] == 120
    assert r["cache"]["misses"] >= 3 and r["workload"]["adapters"] == 3
    trace.write_text(json.dumps(lines[0]) + "\n" + json.dumps(dict(lines[1], adapter="auto")) + "\n")
    assert "request 1 leaves the choice" in plan("--costs", costs, *SMALL, "--replay", trace, status=1)[1]


def test_nodes_share_the_load(costs):
    one = report("--costs", costs, *SMALL, "--adapters", 1000, "--rate", 100, "--duration", 5)
    for balance in ("random", "hash", "bounded", "share"):
        ten = report("--costs", costs, *SMALL, "--adapters", 1000, "--rate", 100, "--duration", 5, "--nodes", 10, "--balance", balance)
        assert ten["summary"]["sent"] == one["summary"]["sent"]
        assert ten["limits"]["steps_idlest_node"] <= ten["limits"]["steps"] <= ten["limits"]["steps_busiest_node"]
        assert ten["limits"]["steps"] < one["limits"]["steps"]


def test_a_model_that_is_not_at_hand():
    r = report("--shape", "llama-3.1-8b-q8_0", "--gops", 1500, "--gbs", 80, "--adapters", 10000, "--slots", 20, "--memory", "16G", "-c", 2048,
               "--rate", 0.1)
    # A token alone reads 8 GB at 80 GB/s.
    assert r["summary"]["per_token_seconds"]["p50"] > 0.09
    assert r["costs"]["adapter_bytes"] > 30e6 and r["engine"]["pool_bytes"] <= 16 << 30


@pytest.mark.parametrize("args, status, says", [
    (("--shape", "llama-3.1-8b-q8_0"), 2, "--shape needs --gops and --gbs"),
    (("--shape", "llama-9", "--gops", "1", "--gbs", "1"), 1, "llama-3.1-8b-q8_0"),
    (("--gops", "5"), 2, "only with --shape"),
    (("--costs", "x", "--shape", "y"), 2, "either read or computed"),
    (("--costs", "/does/not/exist"), 1, "/does/not/exist"),
    (("--costs", "x", "-m", "y"), 2, "nothing is measured"),
    (("--balance", "fair"), 2, "'fair' is none of random, hash, bounded and share"),
    (("--nodes", "2", "--clients", "3"), 2, "open loop"),
    (("--own-adapter",), 2, "needs --clients"),
    (("--input", "9:3"), 2, "--input"),
    (("--rate", "0"), 2, "more than 0"),
    (("--slots", "64", "--step-rows", "32"), 2, "--step-rows"),
])
def test_mistakes_are_named(args, status, says):
    assert says in plan(*args, status=status)[1]


def test_costs_of_other_types_are_refused(costs):
    assert "was measured with f16" in plan("--costs", costs, "--kv-type", "q8", status=1)[1]


def test_a_pool_without_room_for_an_adapter_is_refused():
    shape = ("--shape", "llama-3.2-3b-q4_0", "--gops", 500, "--gbs", 40, "-c", 512)
    assert "--memory: one adapter takes" in plan(*shape, "--rank", 256, "--memory", "300M", status=1)[1]
    assert "do not hold one adapter" in plan(*shape, "--memory", "20M", status=1)[1]
