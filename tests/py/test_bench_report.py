"""`edgelora-bench report`: what a page must hold, whatever the names in its files are, and which files are refused."""

import copy
import json
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest
from conftest import BENCH
from load_runs import load_run

pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="edgelora-bench is not built (EDGELORA_BIN)")

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`&\x07\u202e"


def report(*args):
    return subprocess.run([BENCH, "report", *map(str, args)], capture_output=True, timeout=60)


def refused(*args, status=1):
    r = report(*args)
    assert r.returncode == status, r.stderr.decode()
    assert r.stdout == b""
    return r.stderr.decode()


@pytest.fixture
def write(tmp_path):
    def put(name, run):
        path = tmp_path / name
        path.write_text(run if isinstance(run, str) else json.dumps(run))
        return path

    return put


@pytest.fixture
def files(write):
    """Two servers with 20, 50 and 200 adapters, the first one twice."""
    args = []
    for n in (200, 20, 50):
        args += [f"ours={write(f'ours-{n}-{seed}.json', load_run(adapters=n, seed=seed, duration=20))}" for seed in (1, 2)]
        args.append(write(f"theirs-{n}.json", load_run("llama-server", adapters=n, service=1.5, duration=20, failed=2)))
    return args


def page(*args):
    r = report(*args, "-o", "-")
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout.decode()


def charts(html):
    """The drawings, parsed: XML that is not well-formed fails."""
    return [ET.fromstring(text) for text in re.findall(r'<svg class="chart".*?</svg>', html, re.DOTALL)]


def test_a_page_has_all_runs_and_needs_nothing_else(files):
    html = page(*files, "--title", "Nightly", "--baseline", "llama-server")
    assert "<title>Nightly</title>" in html and "<h1>Nightly</h1>" in html
    for path in files:
        assert str(path).split("=")[-1] in html
    assert not re.search(r"<script|<link|<img|\bsrc=|@import|url\(|\shref=", html)
    for heading in ("Results", "Beside the baseline", "Over adapters", "Latency", "First token", "First token over time",
                    "Memory over time", "Further figures", "Machine, versions and runs"):
        assert f"<h2>{heading}</h2>" in html
    assert "AMD EPYC (a made-up one)" in html and "prefers-color-scheme:dark" in html
    # One table row a server and case: 3 numbers of adapters, 2 servers.
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr") == 6 and body.count("2 runs") == 3
    order = re.findall(r"</th><td>(\d+)</td>", body)
    assert order == ["20", "20", "50", "50", "200", "200"]


def test_charts_are_well_formed_and_have_a_line_for_each_server(files):
    drawn = charts(page(*files))
    titles = [c.find(f"{SVG}title").text for c in drawn]
    assert "Requests per second" in titles and titles.count("20 adapters") == 3  # latency, first token, memory
    assert len({c.get("aria-labelledby") for c in drawn}) == len(drawn)
    sweep = drawn[titles.index("Requests per second")]
    lines = [g for g in sweep.findall(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    assert [g.find(f"{SVG}title").text for g in lines] == ["ours", "llama-server"]
    assert all(len(g.findall(f"{SVG}circle")) == 3 for g in lines)
    for chart in drawn:
        numbers = [float(x) for p in chart.iter(f"{SVG}path") for x in re.findall(r"-?\d+\.?\d*", p.get("d"))]
        assert numbers and all(-2 <= x <= 402 for x in numbers)


@pytest.mark.parametrize("failed, ends", [(0, 100), (5, 75)])
def test_a_distribution_ends_at_the_share_of_requests_that_were_answered(write, failed, ends):
    run = load_run(duration=30, failed=failed)
    del run["requests"][20:]
    html = page(write("a.json", run))
    (chart,) = [c for c in charts(html) if any(t.text == "latency (s)" for t in c.iter(f"{SVG}text"))]
    line = next(p.get("d") for p in chart.iter(f"{SVG}path") if p.get("class") == "line")
    ticks = [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)H", next(p.get("d") for p in chart.iter(f"{SVG}path") if p.get("class") == "grid"))]
    bottom, top = ticks[0], ticks[-1]
    end = float(re.search(r"V([\d.]+)$", line)[1])
    assert abs((bottom - end) / (bottom - top) - ends / 100) < 0.01


def test_names_cannot_leave_their_place(write):
    run = load_run(names=[EVIL] * 50, failed=1)
    run["server"]["model"] = run["machine"]["cpu"] = run["errors"]["http"]["first"] = run["workload"]["replay"] = EVIL
    run["machine"][EVIL] = EVIL
    run["errors"][EVIL] = {"n": 1, "first": EVIL}
    other = copy.deepcopy(run)
    other["server"]["api"] = EVIL
    args = [write("a.json", run), write("b<i>.json", other), "--title", EVIL]
    html = page(*args)
    assert "<script" not in html and "<img" not in html and "<i>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\x07" not in html and "\u202e" not in html
    assert len(charts(html)) > 2
    markdown = report(*args, "--markdown", "-").stdout.decode()
    assert "<" not in markdown and "\x07" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    # A sign that parts cells and is not escaped would give a row more of them.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]} == {len(re.findall(r"(?<!\\)\|", rows[0]))}
    data = json.loads(report(*args, "--json", "-").stdout)
    assert "\x07" not in data["title"]


def test_the_same_files_give_the_same_bytes(files, tmp_path):
    outputs = []
    for i in range(2):
        paths = [tmp_path / f"{i}.{kind}" for kind in ("html", "md", "json")]
        r = report(*files, "-o", paths[0], "--markdown", paths[1], "--json", paths[2], "--baseline", "ours")
        assert r.returncode == 0 and r.stdout == b"" and r.stderr == b""
        outputs.append([p.read_bytes() for p in paths])
    assert outputs[0] == outputs[1]


def test_figures_are_those_of_the_files(write):
    runs = [load_run(adapters=50, seed=s, duration=20, joules=2.0 + s) for s in (1, 2, 3)]
    theirs = load_run("llama-server", adapters=50, service=1.5, duration=20, hit_rate=None)
    args = [f"ours={write(f'{i}.json', run)}" for i, run in enumerate(runs)] + [write("theirs.json", theirs)]
    data = json.loads(report(*args, "--json", "-", "--baseline", "llama-server").stdout)
    assert data["schema"] == "edgelora-report/1" and [row["name"] for row in data["rows"]] == ["ours", "llama-server"]
    ours, other = data["rows"]
    rates = sorted(run["summary"]["requests_per_second"] for run in runs)
    assert ours["figures"]["requests_per_second"] == pytest.approx({"median": rates[1], "min": rates[0], "max": rates[2], "n": 3})
    assert ours["figures"]["joules_per_request"]["median"] == 4 and other["figures"]["joules_per_request"] is None
    assert ours["figures"]["slo_attainment"]["max"] <= 1 and other["figures"]["hit_rate"] is None
    peak = max(s[1] for s in theirs["memory"]["samples"])
    assert other["figures"]["peak_memory_bytes"]["median"] == peak
    assert ours["baseline"] == "llama-server" and "baseline" not in other
    assert ours["ratios"]["requests_per_second"] == pytest.approx(rates[1] / theirs["summary"]["requests_per_second"])
    markdown = report(*args, "--markdown", "-", "--baseline", "llama-server").stdout.decode()
    assert f"{ours['ratios']['requests_per_second']:.2f}x" in markdown and "not available" in markdown


def test_servers_that_were_measured_for_different_times_are_beside_each_other(write):
    lengths = {20: (10, 25), 50: (15, 15)}
    args = [f"{name}={write(f'{name}-{n}.json', load_run(api, adapters=n, duration=seconds[i]))}"
            for n, seconds in lengths.items() for i, (name, api) in enumerate((("ours", "openai"), ("theirs", "llama-server")))]
    rows = json.loads(report(*args, "--json", "-", "--baseline", "theirs").stdout)["rows"]
    assert [(row["name"], row.get("baseline")) for row in rows] == [
        ("ours, 20 adapters", "theirs, 20 adapters"), ("theirs, 20 adapters", None), ("ours, 50 adapters", "theirs, 50 adapters"), ("theirs, 50 adapters", None)]
    # One workload that a server had for two lengths of time are two rows.
    args.append(f"ours={write('longer.json', load_run(adapters=20, duration=40))}")
    rows = json.loads(report(*args, "--json", "-", "--baseline", "theirs").stdout)["rows"]
    assert len(rows) == 5 and "ours, 20 adapters, 40 s" in [row["name"] for row in rows]


def test_another_dimension_can_name_the_lines(write):
    args = [write(f"{a}-{n}.json", load_run(alpha=a, adapters=n, duration=10)) for a in (0.5, 1) for n in (20, 50)]
    data = json.loads(report(*args, "--json", "-", "--group", "alpha").stdout)
    assert [row["series"] for row in data["rows"]] == ["0.5", "1", "0.5", "1"]
    sweep = next(c for c in charts(page(*args, "--group", "alpha")) if c.find(f"{SVG}title").text == "Requests per second")
    assert len(sweep.findall(f".//{SVG}circle")) == 4


def test_what_a_run_does_not_tell_is_not_available(write):
    run = load_run(hit_rate=None)
    run["memory"] = run["energy"] = None
    for key in ("latency_seconds", "first_text_seconds", "gap_seconds", "late_seconds"):
        run["summary"][key] = None
    run["requests"] = []
    html = page(write("a.json", run))
    assert "not available" in html and "–" in html and charts(html) == []
    minimal = {"schema": "edgelora-load/1", "summary": {}, "request_columns": ["at", "first", "done", "end", "adapter"], "requests": []}
    assert "<h2>Results</h2>" in page(write("b.json", minimal))


def test_an_interrupted_run_is_marked(write):
    file = write("a.json", load_run(duration=5, interrupted=True))
    assert "interrupted</small>" in page(file) and "(interrupted)" in report(file, "--markdown", "-").stdout.decode()
    assert "interrupted</small>" not in page(write("b.json", load_run(duration=5)))


def changed(path, value):
    run = load_run(duration=5)
    *keys, last = path.split(".")
    at = run
    for key in keys:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return run


@pytest.mark.parametrize("path, value, message", [
    ("schema", "edgelora-load/9", "schema: 'edgelora-load/9' is not 'edgelora-load/1'"),
    ("schema", 1, "schema: is no text"),
    ("summary", [], "summary: is no object"),
    ("summary.latency_seconds", 3, "summary.latency_seconds: is no object"),
    ("summary.latency_seconds.p99", "3", "summary.latency_seconds.p99: is no number"),
    ("summary.done", -1, "summary.done: -1 is not from 0"),
    ("summary.requests_per_second", 1e300, "summary.requests_per_second: 1e+300 is not from 0"),
    ("summary.slo.met", 1e9, "summary.slo.met: is more than summary.slo.of"),
    ("cache.hit_rate", 1.5, "cache.hit_rate: is more than 1"),
    ("workload.input", [8], "workload.input: is not two counts"),
    ("workload.input", [8, -1], "workload.input: is not two counts"),
    ("workload.auto", 1, "workload.auto: is neither true nor false"),
    ("workload", [], "workload: is no object"),
    ("machine", 3, "machine: is no object"),
    ("machine", {f"k{i}": i for i in range(300)}, "more than 200 facts"),
    ("began", 1e14, "began: is no time"),
    ("requests", {}, "requests: is no list"),
    ("requests.3", 7, "requests[3]: is no list"),
    ("requests.3.0", None, "requests[3]: 'at' is no number"),
    ("requests.3.2", "x", "requests[3]: 'first' is no number"),
    ("requests.3.4", -1, "requests[3]: 'done' is no number from 0"),
    ("requests.3.4", 0, "requests[3]: 'done' is before 'at'"),
    ("requests.3.12", 0, "requests[3]: 'end' is no text"),
    ("request_columns", None, "request_columns: is no list"),
    ("request_columns", ["at", "first", 7, "end"], "request_columns: has no 'done'"),
    ("memory.columns", ["at"], "memory.columns: has no 'resident_bytes'"),
    ("memory.samples", 1, "memory.samples: is no list"),
    ("memory.samples.2", [0, 1, 1], "memory.samples[2]: is earlier than the one before"),
])
def test_a_wrong_file_is_refused_by_its_name_and_field(write, path, value, message):
    file = write("wrong.json", changed(path, value))
    said = refused(file, "-o", "-")
    assert said.startswith(f"edgelora-bench: {file}: ") and message in said


@pytest.mark.parametrize("text, message", [
    ("", "line 1"),
    ("[]", "is no object"),
    ('{"schema": NaN}', "line 1"),
    ('{"schema": "edgelora-load/1", "summary": {"done": 1e999}}', "line 1"),
    ('{"schema": "a", "schema": "b"}', "line 1"),
    ("[" * 100000, "line 1"),
])
def test_what_is_no_json_is_refused_by_its_line(write, text, message):
    file = write("wrong.json", text)
    assert f"{file}: " in (said := refused(file, "-o", "-")) and message in said


def test_a_cut_file_is_refused(write):
    text = json.dumps(load_run(duration=2))
    for end in range(1, len(text) - 1, len(text) // 40):
        refused(write("cut.json", text[:end]), "-o", "-")


@pytest.mark.parametrize("args, message", [
    (["-o", "-"], "no FILE of a run was given"),
    (["a.json"], "one of --out, --markdown and --json is needed"),
    (["a.json", "-o"], "-o needs a value"),
])
def test_what_is_not_asked_rightly_is_a_mistake(args, message):
    assert message in refused(*args, status=2)


def test_names_that_are_not_there_are_refused_with_those_that_are(write):
    file = write("a.json", load_run(duration=2))
    assert "no/such.json: No such file" in refused("no/such.json", "-o", "-")
    assert "baseline: 'x' is no name of the report; there are 'openai'" in refused(file, "-o", "-", "--baseline", "x")
    assert "group: 'x' is none of server, " in refused(file, "-o", "-", "--group", "x")
    assert "/no/such/folder/x.html: No such file" in refused(file, "-o", "/no/such/folder/x.html")


def test_what_bench_load_writes_is_read(fake, tmp_path):
    server = fake(slots=4)
    files = [tmp_path / f"{i}.json" for i in range(2)]
    for i, file in enumerate(files):
        r = subprocess.run([BENCH, "load", "--url", server.url, "--clients", "4", "--requests", "20", "--n-adapters", "0", "--input", "8",
                            "--output", "4", "--seed", str(i), "--server-pid", str(server.process.pid), "--json", file], capture_output=True, timeout=60)
        assert r.returncode == 0, r.stderr.decode()
    data = json.loads(report("fake=", *files, "--json", "-").stdout)
    (row,) = data["rows"]
    assert row["name"] == "fake" and row["workload"]["clients"] == 4 and row["workload"]["input"] == 8
    assert row["figures"]["requests_done"] == {"median": 20, "min": 20, "max": 20, "n": 2}
    for metric in ("requests_per_second", "latency_p99_seconds", "first_token_p50_seconds", "peak_memory_bytes", "slo_attainment"):
        assert row["figures"][metric]["median"] > 0
    drawn = charts(page("fake=", *files))
    assert [c.find(f"{SVG}title").text for c in drawn] == ["Latency", "First token", "Memory over time", "fake"]
