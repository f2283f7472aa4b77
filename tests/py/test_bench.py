"""edgelora-bench: what its measurements of this machine print, whatever the figures are."""

import json
import os
import re

import pytest
from conftest import BENCH, MODEL, ROOT
from programs import bench, edgelora

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
TINY_LORA = ROOT / "tests" / "golden" / "lora" / "tiny.gguf"
TEXT = ROOT / "tests" / "golden" / "text.txt"

pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="edgelora-bench is not built (EDGELORA_BIN)")
done, refused = bench.done, bench.refused
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")


# ---- mistakes


@pytest.mark.parametrize("args, hint", [
    (["bacth"], "did you mean 'edgelora-bench batch'?"),
    (["kernel"], "did you mean 'edgelora-bench kernels'?"),
    (["peak", "--limits", "cache"], "--limits: 'cache' is not a list of compute, memory and caches"),
    (["kernels", "--isa", "mmx"], "--isa: 'mmx': isa: 'mmx' is not available; this CPU runs"),
    (["kernels", "--kernels", "gemm,"], "--kernels: 'gemm,' is not a list of gemm, quantize"),
    (["kernels", "--layouts", "q4,q5"], "--layouts: 'q4,q5' is not a list of q4, q4m"),
    (["kernels", "--shapes", "576"], "--shapes: '576' is not a list"),
    (["kernels", "--shapes", "576x577"], "columns are a multiple of 32"),
    (["kernels", "--shapes", "0x576"], "--shapes: '0x576'"),
    (["kernels", "--shapes", "-1x576"], "--shapes: '-1x576'"),
    (["kernels", "--shapes", "99999999x576"], "--shapes: '99999999x576'"),
    (["kernels", "--heads", "3x60"], "dimensions are a multiple of 16"),
    (["perplexity"], "-f FILE"),
])
def test_a_mistake_is_named_and_help_is_near(args, hint):
    message = refused(*args, status=2)
    assert hint in message and "--help'" in message


@pytest.mark.parametrize("args, limits", [
    (["batch", "--npl", "1,,2"], "--npl: '1,,2'"),
    (["batch", "--npl", "0"], "from 1 to 256"),
    (["batch", "--ranks", "1025"], "from 1 to 1024"),
    (["peak", "--threads", "0"], "from 1 to 1024"),
    (["peak", "--repeat", "0"], "--repeat: '0' is not a whole number from 1 to 1000"),
    (["kernels", "--cols", "1,,2"], "--cols: '1,,2'"),
    (["batch", "--n-adapters", "some"], "neither 'each' nor a whole number"),
])
def test_numbers_out_of_range_are_refused_with_their_limits(args, limits):
    assert limits in refused(*args, status=2)


def test_without_a_model_it_says_how_to_get_one(tmp_path):
    for args in (["perplexity", "-f", TEXT], ["batch"]):
        message = refused(*args, status=2, env={"XDG_CACHE_HOME": str(tmp_path)})
        assert "make model" in message and str(tmp_path) in message


def test_a_missing_file_is_named():
    assert "/no/such.gguf" in refused("perplexity", "-m", TINY, "-f", "/no/such.gguf", status=1)


# ---- perplexity


PERPLEXITY = re.compile(r"perplexity ([\d.]+) ± ([\d.]+) \((\d+) tokens scored, (\d+) chunks of (\d+)\)\n")


def perplexity(*args):
    last = done("perplexity", "-f", TEXT, *args).decode()
    found = PERPLEXITY.fullmatch(last)
    assert found, last
    return float(found[1]), float(found[2]), *map(int, found.groups()[2:])


def test_perplexity_scores_half_of_each_chunk_whatever_runs_beside():
    one = perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--slots", "1")
    assert one[2:] == (6 * 31, 6, 64)
    assert perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--slots", "4") == one
    assert perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--adapter", f"tiny={TINY_LORA}", "-a", "tiny")[0] != one[0]


@pytest.mark.long
@needs_model
def test_perplexity_is_the_peers():
    golden = json.loads((TEXT.parent / "perplexity.json").read_text())
    running = next(r["running"] for r in golden["results"] if r["name"] == "default")
    value, *_, chunks, size = perplexity("-m", MODEL, "--chunks", "2")
    assert (chunks, size) == (2, 512)
    assert value == pytest.approx(running[1], rel=0.01)


@needs_model
@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="texts take a sanitizer's build long; the test before scores one")
def test_keys_and_values_of_8_bits_cost_little():
    args = ("-m", MODEL, "--chunks", "2")
    f16, q8 = perplexity(*args)[0], perplexity(*args, "--kv-type", "q8")[0]
    # Of two chunks another order of additions alone moves it by 0.5%; of all 17 q8 costs 0.2%.
    assert q8 != f16 and q8 == pytest.approx(f16, rel=0.01)


def test_an_unknown_kind_of_keys_and_values_is_refused():
    assert "'q4' is neither f16 nor q8" in refused("perplexity", "-m", TINY, "-f", TEXT, "--kv-type", "q4", status=1)


def test_adapters_in_memory_have_the_bits_that_were_asked_for():
    def measure(kind, scores):
        args = ("-m", TINY, "-c", "64", "--chunks", "6", "--adapter", f"tiny={TINY_LORA}", "-a", "tiny", "--adapter-type", kind)
        scores.append(perplexity(*args)[0])
        log = edgelora("run", *args[:2], *args[6:], "-v", "-n", "1", "-p", "hello").stderr.decode()
        return float(re.search(r"adapter tiny: loaded .* ([\d.]+) MB in", log)[1])

    scores = []
    f16, q8, q4 = (measure(kind, scores) for kind in ("f16", "q8", "q4"))
    assert f16 > q8 > q4
    assert len(set(scores)) == 3
    assert scores[1] == pytest.approx(scores[0], rel=0.01) and scores[2] == pytest.approx(scores[0], rel=0.1)


def test_an_unknown_type_of_adapters_is_refused():
    message = refused("perplexity", "-m", TINY, "-f", TEXT, "--adapter-type", "q5", status=1)
    assert "adapter_type: 'q5' is none of q8, f16, q4" in message


def test_perplexity_of_a_text_too_short_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("short\n")
    message = refused("perplexity", "-m", TINY, "-f", path, status=1)
    assert "short.txt" in message and "512" in message


# ---- the machine, the program and its parts


def test_bench_batch_reports_every_batch_as_json():
    report = json.loads(done("batch", "-m", TINY, "--npl", "1,3", "--npp", "16", "--ntg", "8", "--repeat", "2",
                             "--n-adapters", "each", "--ranks", "4,8", "--json"))
    assert report["adapters"] == {"count": 3, "ranks": [4, 8]}
    assert report["npp"] == 16 and report["ntg"] == 8 and report["repeat"] == 2
    assert report["machine"]["threads"] >= 1 and report["machine"]["cpu"] and report["machine"]["isa"]
    assert report["model"]["architecture"] == "llama" and report["model"]["weight_bytes"] > 0
    assert [row["npl"] for row in report["results"]] == [1, 3]
    for row in report["results"]:
        for figure in (row["prompt_tokens_per_second"], row["decode_tokens_per_second"]):
            assert 0 < figure["min"] <= figure["median"] <= figure["max"]


def test_bench_batch_prints_a_table():
    lines = done("batch", "-m", TINY, "--npl", "2", "--npp", "8", "--ntg", "4", "--repeat", "1").decode().splitlines()
    assert [line.split()[0] for line in lines if line] == ["machine", "model", "adapters", "requests", "batch", "2"]


@pytest.mark.long
def test_bench_batch_profile_tells_where_a_step_goes():
    args = ("batch", "--profile", "-m", TINY, "--npl", "1,3", "--npp", "40", "--ntg", "4", "--step-rows", "16")
    report = json.loads(done(*args, "--n-adapters", "2", "--ranks", "4", "--json"))
    assert [r["npl"] for r in report["results"]] == [1, 3] and report["step_rows"] == 16
    for r in report["results"]:
        assert (r["prompt"]["steps"], r["prompt"]["rows"]) == (3 * r["npl"], 40 * r["npl"])
        assert (r["decode"]["steps"], r["decode"]["rows"]) == (4, 4 * r["npl"])
        for kind in ("prompt", "decode"):
            parts = r[kind]["parts"]
            assert all(parts[name] > 0 for name in ("attention", "gate, up", "norms", "LoRA: A"))
            assert sum(parts.values()) <= r[kind]["seconds"] <= sum(parts.values()) * 1.5 + 0.01
        assert r["kv_gb_per_second"] > 0 and r["read_gb_per_second"] > 0
    text = done(*args).decode()
    assert re.search(r"^attention +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+%$", text, re.MULTILINE)
    assert "LoRA" not in text


@pytest.mark.long
def test_bench_batch_context_decodes_behind_contexts_that_were_not_computed():
    args = ("batch", "--context", "40,1000", "-m", TINY, "--npl", "1,3", "--ntg", "4", "--repeat", "2", "--n-adapters", "2", "--ranks", "4")
    report = json.loads(done(*args, "--json"))
    assert [(r["context"], r["npl"]) for r in report["results"]] == [(40, 1), (40, 3), (1000, 1), (1000, 3)]
    for r in report["results"]:
        assert all(positive(r[figure]) for figure in ("tokens_per_second", "attention_ms", "kv_gb_per_second", "read_gb_per_second"))
        each = r["kv_mb"] / r["npl"] / (r["context"] + 2.5)  # of a token; 2.5: the four steps' own, on average
        assert each == pytest.approx(report["results"][0]["kv_mb"] / 42.5)
    rows = done(*args).decode().splitlines()[-4:]
    assert [row.split()[:2] for row in rows] == [["1", "40"], ["3", "40"], ["1", "1000"], ["3", "1000"]]


def positive(figure):
    return 0 < figure["min"] <= figure["median"] <= figure["max"]


def bench_json(*args):
    return json.loads(done(*args, "--repeat", "1", "--json"))


@pytest.mark.long
def test_bench_peak_reports_every_limit_for_each_number_of_threads():
    report = bench_json("peak", "--threads", "1,2", "--memory-mib", "8")
    machine = report["machine"]
    assert machine["cpu"] and machine["cores"] >= 1 and machine["memory_bytes"] > 0 and report["kernels"]
    compute = {(c["kind"], c["isa"], c["threads"]) for c in report["compute"]}
    assert len(compute) == len(report["compute"]) and all(positive(c["gops"]) for c in report["compute"])
    assert {c[:2] for c in compute if c[2] == 1} == {c[:2] for c in compute if c[2] == 2}
    # What is used by default has a peak to compare with.
    assert report["kernels"] == "scalar" or ("int8", report["kernels"], 1) in compute
    assert [r["threads"] for r in report["read"] if r["level"] == "memory"] == [1, 2]
    for r in report["read"]:
        assert positive(r["gb_per_second"]) and r["streams"] >= 1 and r["load_bytes"] >= 16
    assert all(r["bytes"] == 8 << 20 for r in report["read"] if r["level"] == "memory")


def test_bench_peak_measures_what_is_asked_for():
    report = bench_json("peak", "--limits", "memory", "--threads", "1", "--memory-mib", "4")
    assert report["compute"] == [] and [r["level"] for r in report["read"]] == ["memory"]


def test_bench_peak_prints_a_table():
    text = done("peak", "--threads", "1", "--memory-mib", "8", "--repeat", "1").decode()
    assert re.search(r"^limit +1 thread$", text, re.MULTILINE)
    assert re.search(r"^read  memory +[\d.]+ \([\d.]+-[\d.]+\)  GB/s$", text, re.MULTILINE)


def test_bench_threads_reports_every_number_of_threads():
    report = bench_json("threads", "--threads", "1,2")
    assert [r["threads"] for r in report["results"]] == [1, 2] and not report["pinned"]
    for r in report["results"]:
        for what in ("barrier_ns", "run_ns", "wake_us", "speed_quiet", "speed_busy"):
            assert positive(r[what])


def test_bench_threads_refuses_more_threads_than_listed_cpus():
    assert "too few for 1024 threads" in refused("threads", "--cpu-list", "auto", "--threads", "1024", status=1)


SMALL = ["--shapes", "40x64", "--cols", "1,3", "--heads", "2x32", "--positions", "20", "--threads", "2"]


@pytest.mark.long
def test_bench_kernels_reports_every_kernel_as_json():
    report = bench_json("kernels", "--isa", "all", *SMALL)
    isas = [limit["isa"] for limit in report["limits"]]
    assert isas and len(set(isas)) == len(isas)
    assert all(limit["threads"] == 2 and limit["read_gb_per_second"] > 0 for limit in report["limits"])
    for isa in isas:
        results = [r for r in report["results"] if r["isa"] == isa]
        gemm = {(r["layout"], r["rows"], r["columns_of_weights"], r["columns"]) for r in results if r["kernel"] == "gemm"}
        assert gemm == {(layout, 40, 64, n) for layout in ("q4", "q4m", "q8", "q8m", "f16", "bf16") for n in (1, 3)}
        assert sorted(r["kernel"] for r in results if r["kernel"] != "gemm") == ["attend", "quantize", "rms_norm", "swiglu"]
        for r in results:
            assert positive(r["gops"]) and positive(r["weight_gb_per_second"]) if r["kernel"] == "gemm" else positive(r["gb_per_second"])
            # Every share has a limit of the same run.
            assert r.get("share_of_peak", 1) > 0 and not r["cold"]


def test_bench_kernels_of_the_portable_kernels_have_no_peak():
    report = bench_json("kernels", "--isa", "scalar", "--layouts", "q8", "--kernels", "gemm", *SMALL)
    assert {r["isa"] for r in report["results"]} == {"scalar"} and len(report["results"]) == 2
    assert not any("share_of_peak" in r for r in report["results"])


@pytest.mark.long
def test_bench_kernels_with_weights_from_memory_tell_their_share_of_reading():
    report = bench_json("kernels", "--cold", "--layouts", "q4", "--kernels", "gemm,attend", *SMALL)
    gemm = [r for r in report["results"] if r["kernel"] == "gemm"]
    assert len(gemm) == 2 and all(r["cold"] and r["share_of_read"] > 0 for r in gemm)
    assert [(r["cold"], r["share_of_read"] > 0) for r in report["results"] if r["kernel"] == "attend"] == [(True, True)]


@pytest.mark.long
def test_bench_kernels_prints_tables():
    text = done("kernels", "--layouts", "q4,f16", "--repeat", "1", *SMALL).decode()
    assert re.search(r"^q4 +40x64 +[\d.]+ ", text, re.MULTILINE) and re.search(r"^f16 +40x64 ", text, re.MULTILINE)
    assert re.search(r"^attend +2 x 32, 20 positions +[\d.]+ GB/s", text, re.MULTILINE)
