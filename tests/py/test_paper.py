"""tools/paper: what it makes of the files of runs, and a short run of all of it without the peer."""

import json
import pathlib
import subprocess
import sys

import pytest
from conftest import BINARY, ROOT

PAPER = ROOT / "tools" / "paper"
TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
sys.path.insert(0, str(PAPER))
import evaluation  # noqa: E402
import experiments  # noqa: E402

sys.path.remove(str(PAPER))


def put(folder, point, server, number, *, rate=None, seconds=8, ended=(), first=(0.5, 1.0), met=1, of=1, resident=100 << 20, **facts):
    """The files of a run whose requests ended at these times."""
    facts = {"model": "m.gguf", "experiment": point[0], "key": point[1], "server": server, "rate": rate, "slots": 32, "clients": 16, "seconds": seconds,
             "start_seconds": 0.5, **facts}
    load = {"summary": {"seconds": seconds, "requests_per_second": len(ended) / seconds, "failed": of - met, "first_text_seconds": {"p50": first[0], "p99": first[1]},
                        "latency_seconds": {"p50": 1, "p99": 2}, "slo": {"met": met, "of": of}},
            "cache": {"hits": 3, "misses": 1, "hit_rate": 0.75}, "memory": {"samples": [[0, resident // 2, 0], [1, resident, 1]]},
            "request_columns": ["done", "end"], "requests": [[t, "done"] for t in ended] + [[3, "cut"]]}
    name = folder / f"{'-'.join(point)}-{server}-{number}"
    pathlib.Path(f"{name}.facts").write_text(json.dumps(facts))
    if "failed" not in facts:
        pathlib.Path(f"{name}.json").write_text(json.dumps(load))


def model(folder):
    return evaluation.Model("default", evaluation.read(folder))


def test_the_beginning_of_a_closed_loop_does_not_count(tmp_path):
    put(tmp_path, ("goal", "16"), "edgelora", 1, ended=[1, 1.9, 2, 3, 7.9, 8])
    put(tmp_path, ("rate", "0.5-ours"), "edgelora", 1, ended=[1, 3], rate=2)
    closed, opened = evaluation.read(tmp_path)
    assert closed.throughput == 3 / 6 and opened.throughput == 2 / 8
    assert closed.hit_rate == 0.75 and closed.resident_mib == 100


def test_goals_are_ratios_of_medians_and_what_was_not_measured_is_said(tmp_path):
    for number, n in enumerate((10, 20, 60), 1):
        put(tmp_path, ("goal", "16"), "edgelora", number, ended=[4] * n)
    put(tmp_path, ("goal", "16"), "llama-server", 1, ended=[4, 5])
    put(tmp_path, ("adapters", "20"), "edgelora", 1, ended=[4] * 10)
    put(tmp_path, ("adapters", "2000"), "edgelora", 1, ended=[4] * 5)
    put(tmp_path, ("rate", "0.8-ours"), "edgelora", 1, rate=4, ended=[1], first=(0.5, 1.0))
    told = list(evaluation.goals([model(tmp_path)]))
    assert [(value, reached) for _, _, value, reached in told] == [("10.0x", True), ("2.0", True), ("50%", False), (None, None)]
    assert "**missed**" in "\n".join(evaluation.goal_table([model(tmp_path)]))


def test_in_time_is_told_at_the_lowest_rate_where_the_peer_keeps_half(tmp_path):
    for key, rate, theirs, ours in (("0.5-theirs", 1, 9, 10), ("1-theirs", 2, 5, 10), ("2-theirs", 4, 0, 9)):
        put(tmp_path, ("rate", key), "llama-server", 1, rate=rate, met=theirs, of=10)
        put(tmp_path, ("rate", key), "edgelora", 1, rate=rate, met=ours, of=10)
    assert model(tmp_path).keys("rate") == ["0.5-theirs", "1-theirs", "2-theirs"]
    what, _, value, reached = list(evaluation.goals([model(tmp_path)]))[-1]
    assert "keeps 50%" in what and (value, reached) == ("100.0%", True)


def test_losses_and_a_peer_that_did_not_start_are_told(tmp_path):
    put(tmp_path, ("adapters", "20"), "edgelora", 1, ended=[4], first=(0.5, 1))
    put(tmp_path, ("adapters", "20"), "llama-server", 1, ended=[4], first=(0.2, 3))
    put(tmp_path, ("adapters", "2000"), "llama-server", 1, failed="out of memory")
    lost = list(evaluation.losses([model(tmp_path)]))
    assert len(lost) == 1 and "first text p50 0.2 against our 0.5" in lost[0]
    lines = list(evaluation.table(model(tmp_path), "adapters"))
    assert "no figures: out of memory" in lines[-1] and len({line.count("|") for line in lines}) == 1


def test_every_experiment_has_a_title_and_points_have_names_of_their_own():
    for points in (list(experiments.everything(16)), list(experiments.shorter(8))):
        assert {p.experiment for p in points} <= set(experiments.TITLES)
        names = [p.name(s, 1) for p in points for s in p.servers]
        assert len(names) == len(set(names))


def run(*args):
    return subprocess.run([sys.executable, str(PAPER / "run.py"), "--edgelora", str(BINARY), *map(str, args)], capture_output=True, text=True)


def test_it_runs_goes_on_and_writes_the_evaluation(tmp_path):
    args = ("--models", TINY, "--peer", "none", "--only", "goal,adapters", "--seconds", "1", "--warmup", "1", "--runs", "1", "--files", "3", "--resident", "2",
            "--threads", "1", "--out", tmp_path / "out", "--evaluation", tmp_path / "evaluation.md")
    r = run(*args)
    assert r.returncode == 0, r.stderr
    text = (tmp_path / "evaluation.md").read_text()
    assert "## q8_0.gguf, 8 slots" in text and "| 200 | edgelora |" in text
    assert (tmp_path / "out" / "report-q8_0.html").stat().st_size > 1000
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "q8_0").iterdir()}
    (tmp_path / "out" / "q8_0" / "adapters-20-edgelora-1.json").unlink()
    r = run(*args)
    assert r.returncode == 0, r.stderr
    changed = {path.name for path, at in kept.items() if path.stat().st_mtime_ns != at}
    assert changed == {"adapters-20-edgelora-1.json", "adapters-20-edgelora-1.facts"}


@pytest.mark.parametrize("args, message", [
    (["--only", "speed"], "speed: no such experiment"),
    (["--edgelora", "/no/such"], "/no/such: no such program; run make first"),
    (["--models", "/no/such.gguf"], "/no/such.gguf: no such file"),
    (["--runs", "0"], "--runs"),
])
def test_it_refuses_what_it_cannot_do(args, message):
    r = run(*args)
    assert r.returncode != 0 and message in r.stderr and r.stdout == ""
