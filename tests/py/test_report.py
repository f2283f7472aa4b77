"""tools/report: what a page must hold, whatever the names in its files are, and which files are refused."""

import copy
import json
import math
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from conftest import BENCH, ROOT
from load_runs import load_run

sys.path.insert(0, str(ROOT / "bench"))
from report import command, comparison, drawing, tables, text  # noqa: E402
from report import page as _page  # noqa: E402, F401 (loads matplotlib, once)
from report.run import Run, number_value, text_value  # noqa: E402

sys.path.remove(str(ROOT / "bench"))

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`&\x07\u202e"


@pytest.fixture
def report(capfdbinary):
    """Runs the tool in this process, where matplotlib is loaded once: status, standard output, standard error."""
    def run(*args):
        capfdbinary.readouterr()
        try:
            status = command.main([str(arg) for arg in args])
        except SystemExit as end:
            status = end.code
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return run


@pytest.fixture
def refused(report):
    def run(*args, status=1):
        got, out, err = report(*args)
        assert got == status and out == "", err
        return err

    return run


@pytest.fixture
def made(report):
    """What the tool writes in one form, of which all is well."""
    def run(form, *args):
        status, out, err = report(*args, form, "-")
        assert status == 0 and err == "", err
        return json.loads(out) if form == "--json" else out

    return run


@pytest.fixture
def page(made):
    return lambda *args: made("-o", *args)


@pytest.fixture
def write(tmp_path):
    def put(name, run):
        path = tmp_path / name
        path.write_bytes((run if isinstance(run, str) else json.dumps(run)).encode(errors="surrogateescape"))
        return path

    return put


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two servers with 20, 50 and 200 adapters, the first one twice."""
    folder = tmp_path_factory.mktemp("runs")

    def write(name, run):
        (folder / name).write_text(json.dumps(run))
        return folder / name

    args = []
    for n in (200, 20, 50):
        args += [f"ours={write(f'ours-{n}-{seed}.json', load_run(adapters=n, seed=seed, duration=20))}" for seed in (1, 2)]
        args.append(write(f"theirs-{n}.json", load_run("llama-server", adapters=n, service=1.5, duration=20, failed=2)))
    return args


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    """The page of all of them."""
    path = tmp_path_factory.mktemp("page") / "whole.html"
    assert command.main([*map(str, files), "-o", str(path), "--title", "Nightly", "--baseline", "llama-server"]) == 0
    return path.read_text()


def charts(html):
    """The drawings, parsed: XML that is not well-formed fails."""
    return [ET.fromstring(text) for text in re.findall(r'<svg [^>]*class="chart".*?</svg>', html, re.DOTALL)]


def test_a_page_has_all_runs_and_needs_nothing_else(files, whole):
    html = whole
    assert "<title>Nightly</title>" in html and "<h1>Nightly</h1>" in html
    for path in files:
        assert str(path).split("=")[-1] in html
    assert not re.search(r"<script|<link|<img|\bsrc=|@import|url\(|\shref=|font-family: ?(?!inherit)", html)
    assert set(re.findall(r'xlink:href="([^"])', html)) <= {"#"}  # marks of the chart itself
    for heading in ("Results", "Beside the baseline", "Over adapters", "Latency", "First token", "First token over time",
                    "Memory over time", "Further figures", "Machine, versions and runs"):
        assert f"<h2>{heading}</h2>" in html
    assert "AMD EPYC (a made-up one)" in html and "prefers-color-scheme:dark" in html
    # A drawing has the page's colours alone, which are others in the dark.
    assert not re.search(r"#[0-9a-f]{6}", "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL)))
    # One table row a server and case: 3 numbers of adapters, 2 servers.
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr") == 6 and body.count("2 runs") == 3
    order = re.findall(r"</th><td>(\d+)</td>", body)
    assert order == ["20", "20", "50", "50", "200", "200"]


def test_charts_are_well_formed_and_have_a_line_for_each_server(whole):
    drawn = charts(whole)
    titles = [c.find(f"{SVG}title").text for c in drawn]
    assert "Requests per second" in titles and titles.count("20 adapters") == 3  # latency, first token, memory
    assert len({c.get("aria-labelledby") for c in drawn}) == len(drawn)
    sweep = drawn[titles.index("Requests per second")]
    assert lines_of(sweep) == {"ours": 3, "llama-server": 3}
    for chart in drawn:
        numbers = [float(x) for p in chart.iter(f"{SVG}path") for x in re.findall(r"-?\d+\.?\d*", p.get("d"))]
        assert numbers and all(-4 <= x <= 402 for x in numbers)


def lines_of(chart):
    """How many marks the line of each series has."""
    groups = [g for g in chart.iter(f"{SVG}g") if g.get("class", "").startswith("points") and g.find(f".//{SVG}use") is not None]
    return {g.find(f"{SVG}title").text: len(g.findall(f".//{SVG}use")) for g in groups}


@pytest.mark.parametrize("failed, ends", [(0, 100), (5, 75)])
def test_a_distribution_ends_at_the_share_of_requests_that_were_answered(write, failed, ends, page):
    run = load_run(duration=30, failed=failed)
    del run["requests"][20:]
    html = page(write("a.json", run))
    (chart,) = [c for c in charts(html) if any(t.text == "latency (s)" for t in c.iter(f"{SVG}text"))]
    (line,) = [g.find(f"{SVG}path").get("d") for g in chart.iter(f"{SVG}g") if g.get("class") == "steps s1"]
    marks = {t.text: float(t.get("y")) for t in chart.iter(f"{SVG}text") if t.text in ("0", "100") and t.get("text-anchor") == "end"}
    begin, end = (float(re.findall(r"[ML] [\d.]+ ([\d.]+)", line)[i]) for i in (0, -1))
    assert abs((begin - end) / (marks["0"] - marks["100"]) - ends / 100) < 0.01


def test_names_cannot_leave_their_place(write, page, made):
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
    markdown = made("--markdown", *args)
    assert "<" not in markdown and "\x07" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    # A sign that parts cells and is not escaped would give a row more of them.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]} == {len(re.findall(r"(?<!\\)\|", rows[0]))}
    data = made("--json", *args)
    assert "\x07" not in data["title"]


def test_the_same_files_give_the_same_bytes(files, tmp_path, report):
    outputs, files = [], files[:3]
    for i in range(2):
        paths = [tmp_path / f"{i}.{kind}" for kind in ("html", "md", "json")]
        assert report(*files, "-o", paths[0], "--markdown", paths[1], "--json", paths[2], "--baseline", "ours") == (0, "", "")
        outputs.append([p.read_bytes() for p in paths])
    assert outputs[0] == outputs[1]


def test_figures_are_those_of_the_files(write, made):
    runs = [load_run(adapters=50, seed=s, duration=20, joules=2.0 + s) for s in (1, 2, 3)]
    theirs = load_run("llama-server", adapters=50, service=1.5, duration=20, hit_rate=None)
    args = [f"ours={write(f'{i}.json', run)}" for i, run in enumerate(runs)] + [write("theirs.json", theirs)]
    data = made("--json", *args, "--baseline", "llama-server")
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
    markdown = made("--markdown", *args, "--baseline", "llama-server")
    assert f"{ours['ratios']['requests_per_second']:.2f}x" in markdown and "not available" in markdown


def test_servers_that_were_measured_for_different_times_are_beside_each_other(write, made):
    lengths = {20: (10, 25), 50: (15, 15)}
    args = [f"{name}={write(f'{name}-{n}.json', load_run(api, adapters=n, duration=seconds[i]))}"
            for n, seconds in lengths.items() for i, (name, api) in enumerate((("ours", "openai"), ("theirs", "llama-server")))]
    rows = made("--json", *args, "--baseline", "theirs")["rows"]
    assert [(row["name"], row.get("baseline")) for row in rows] == [
        ("ours, 20 adapters", "theirs, 20 adapters"), ("theirs, 20 adapters", None), ("ours, 50 adapters", "theirs, 50 adapters"), ("theirs, 50 adapters", None)]
    # One workload that a server had for two lengths of time are two rows.
    args.append(f"ours={write('longer.json', load_run(adapters=20, duration=40))}")
    rows = made("--json", *args, "--baseline", "theirs")["rows"]
    assert len(rows) == 5 and "ours, 20 adapters, 40 s" in [row["name"] for row in rows]


def test_another_dimension_can_name_the_lines(write, page, made):
    args = [write(f"{a}-{n}.json", load_run(alpha=a, adapters=n, duration=10) | {"requests": [], "memory": None}) for a in (0.5, 1) for n in (20, 50)]
    data = made("--json", *args, "--group", "alpha")
    assert [row["series"] for row in data["rows"]] == ["0.5", "1", "0.5", "1"]
    sweep = next(c for c in charts(page(*args, "--group", "alpha")) if c.find(f"{SVG}title").text == "Requests per second")
    assert lines_of(sweep) == {"0.5": 2, "1": 2}


def test_what_a_run_does_not_tell_is_not_available(write, page):
    run = load_run(hit_rate=None)
    run["memory"] = run["energy"] = None
    for key in ("latency_seconds", "first_text_seconds", "gap_seconds", "late_seconds"):
        run["summary"][key] = None
    run["requests"] = []
    html = page(write("a.json", run))
    assert "not available" in html and "–" in html and charts(html) == []
    minimal = {"schema": "edgelora-load/1", "summary": {}, "request_columns": ["at", "first", "done", "end", "adapter"], "requests": []}
    assert "<h2>Results</h2>" in page(write("b.json", minimal))


def test_an_interrupted_run_is_marked(write, page, made):
    file = write("a.json", load_run(duration=5, interrupted=True, requests=[]))
    assert "interrupted</small>" in page(file) and "(interrupted)" in made("--markdown", file)
    assert "interrupted</small>" not in page(write("b.json", load_run(duration=5, requests=[])))


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
    ("machine", {f"k{i}": i for i in range(300)}, "machine, server, workload and errors: more than 200 facts"),
    ("machine.load", 1e999, "machine.load: Infinity is no number"),
    ("errors", {"http": 3}, "errors.http: is no object"),
    ("errors", {"http": {"first": "x"}}, "errors.http.n: is no count"),
    ("workload.adapters", 10**400, "workload.adapters: a number of more than 300 digits is not from 0"),
    ("workload.input", [8, 10**400], "workload.input: is not two counts"),
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
def test_a_wrong_file_is_refused_by_its_name_and_field(write, path, value, message, refused):
    file = write("wrong.json", changed(path, value))
    said = refused(file, "-o", "-")
    assert said.startswith(f"report: {file}: ") and message in said


@pytest.mark.parametrize("text, message", [
    ("", "line 1"),
    ("[]", "is no object"),
    ('{"schema": NaN}', "schema: NaN is no number"),
    ('{"schema": "edgelora-load/1", "gaps": [0, {"a": -Infinity}]}', "gaps[1].a: -Infinity is no number"),
    ('{"schema": "edgelora-load/1", "summary": {"done": 1e999}}', "summary.done: inf is not from 0"),
    ('{"schema": "edgelora-load/1", "summary": {"done": 1' + "0" * 400 + "}}", "summary.done: a number of more than 300 digits is not from 0"),
    ('{"schema": 1' + "0" * 5000 + "}", "a number of more than 4300 digits"),
    ('{"schema": "a", "schema": "b"}', "'schema' is twice in one object"),
    ("[" * 100000, "its brackets are nested too deeply"),
    ('{"a":' * 100000, "its brackets are nested too deeply"),
    ("\udcff", "byte 0 is not UTF-8"),
])
def test_what_is_no_json_is_refused_by_its_line(write, text, message, refused):
    file = write("wrong.json", text)
    assert f"{file}: " in (said := refused(file, "-o", "-")) and message in said


def test_a_cut_file_is_refused(write, refused):
    text = json.dumps(load_run(duration=2))
    for end in range(1, len(text) - 1, len(text) // 40):
        refused(write("cut.json", text[:end]), "-o", "-")


@pytest.mark.parametrize("args, message", [
    (["-o", "-"], "no FILE of a run was given"),
    (["a.json"], "one of --out, --markdown and --json is needed"),
    (["a.json", "-o"], "-o/--out: expected one argument"),
    (["a.json"] * 1001 + ["-o", "-"], "1001 files are more than 1000"),
])
def test_what_is_not_asked_rightly_is_a_mistake(args, message, refused):
    assert message in refused(*args, status=2)


def test_names_that_are_not_there_are_refused_with_those_that_are(write, refused):
    file = write("a.json", load_run(duration=2))
    assert "no/such.json: No such file" in refused("no/such.json", "-o", "-")
    assert "baseline: 'x' is no name of the report; there are 'openai'" in refused(file, "--json", "-", "--baseline", "x")
    assert "group: 'x' is none of server, " in refused(file, "--json", "-", "--group", "x")
    assert "/no/such/folder/x.html: No such file" in refused(file, "--json", "/no/such/folder/x.html")


@pytest.mark.skipif(not BENCH.exists(), reason="edgelora-bench is not built (EDGELORA_BIN)")
def test_what_bench_load_writes_is_read(fake, tmp_path, page, made):
    server = fake(slots=4)
    files = [tmp_path / f"{i}.json" for i in range(2)]
    for i, file in enumerate(files):
        r = subprocess.run([BENCH, "load", "--url", server.url, "--clients", "4", "--requests", "20", "--n-adapters", "0", "--input", "8",
                            "--output", "4", "--seed", str(i), "--server-pid", str(server.process.pid), "--json", file], capture_output=True, timeout=60)
        assert r.returncode == 0, r.stderr.decode()
    data = made("--json", "fake=", *files)
    (row,) = data["rows"]
    assert row["name"] == "fake" and row["workload"]["clients"] == 4 and row["workload"]["input"] == 8
    assert row["figures"]["requests_done"] == {"median": 20, "min": 20, "max": 20, "n": 2}
    for metric in ("requests_per_second", "latency_p99_seconds", "first_token_p50_seconds", "peak_memory_bytes", "slo_attainment"):
        assert row["figures"][metric]["median"] > 0
    drawn = charts(page("fake=", *files))
    assert [c.find(f"{SVG}title").text for c in drawn] == ["Latency", "First token", "Memory over time", "fake"]


# ---- hostile files, names and numbers

def places(value, way=()):
    yield way
    for key, v in value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ():
        yield from places(v, (*way, key))


def put(root, way, value):
    for key in way[:-1]:
        root = root[key]
    root[way[-1]] = value


def test_whatever_stands_in_a_file_it_becomes_a_page_or_is_refused_by_name(write, report):
    rng = random.Random(5)
    odd = [None, True, -1, 0, 7, 0.5, 1e15, 1e300, 10**400, math.nan, math.inf, "", "x" * 500, EVIL, "\ud800\0", [], {}, [8, 8], [1e300, 2], [[]], {"n": 1}]
    base = load_run(duration=2, failed=1)
    ways = [way for way in places(base) if way]
    pages = 0
    for i in range(150):
        run = copy.deepcopy(base)
        for way in rng.sample(ways, 1 if i % 3 else 3):
            try:
                put(run, way, rng.choice(odd))
            except (KeyError, IndexError, TypeError):  # another change took its place
                pass
        file = write("odd.json", run)
        page = i % 25 == 3
        status, out, err = report(file, "-o" if page else "--json", "-")
        if status:
            assert status == 1 and out == "" and err.startswith(f"report: {file}: ") and err.count("\n") == 1, err
        else:
            pages += 1
            assert err == "" and "<script" not in out
            charts(out) if page else json.loads(out)
    assert 30 < pages < 120


def test_names_have_no_meaning_in_a_page():
    for name, expected in (("<script>alert('x')&\"", "&lt;script&gt;alert(&#x27;x&#x27;)&amp;&quot;"), ("a\x01\x1b[31m\n", "a\ufffd\ufffd[31m\ufffd"),
                           ("\u202egpj", "\ufffdgpj"), ("\uffff\U0010fffe", "\ufffd\ufffd"), ("ü€😀", "ü€😀"), ("\ud800", "\ufffd")):
        assert text.escape_html(name) == expected
    assert text.escape_markdown("a|b*[x](y)<i>$~") == "a\\|b\\*\\[x\\](y)&lt;i&gt;\\$\\~"
    assert text.escape_markdown("line\nbreak") == "line\ufffdbreak"
    assert text.clean("x" * 400) == "x" * 120 + "…"


@pytest.mark.parametrize("key, value, shown", [
    ("latency_p50_seconds", 0.012345, "0.012"), ("latency_p50_seconds", 0.0012345, "0.00123"), ("gap_p50_seconds", 0.0012345, "1.23"),
    ("latency_p50_seconds", 1.2345, "1.23"), ("latency_p50_seconds", 1234.5, "1,234"), ("latency_p50_seconds", 0, "0"),
    ("slo_attainment", 1, "100%"), ("slo_attainment", 0.9951, "99.5%"), ("slo_attainment", 0.99971, "99.97%"), ("slo_attainment", 0, "0%"),
    ("peak_memory_bytes", 512, "512 B"), ("peak_memory_bytes", 1.5 * 2**30, "1.50 GiB"), ("requests_failed", 12345, "12,345"), ("requests_failed", 1.5, "1.5"),
])
def test_values_are_shown_with_three_digits_and_their_unit(key, value, shown):
    assert tables.metric_text(key, value) == shown


def test_what_rounds_to_zero_has_no_sign():
    assert [text.number(-0.001, 1), text.number(-1234, 0), text.number(999.96, 1)] == ["0.0", "-1,234", "1,000.0"]


# ---- axes and lines

def test_ticks_are_round_and_cover_the_data():
    def labels(ticks, log):
        return " ".join(drawing.tick_labels(ticks, log))

    for ends, most, expected in (((0, 1), 6, "0.0 0.2 0.4 0.6 0.8 1.0"), ((0, 100), 6, "0 20 40 60 80 100"), ((0.31, 0.36), 6, "0.31 0.32 0.33 0.34 0.35 0.36"),
                                 ((0, 1234567), 6, "0 500,000 1,000,000 1,500,000"), ((0, 0), 6, "0.0 0.2 0.4 0.6 0.8 1.0")):
        assert labels(drawing.linear_ticks(*ends, most), False) == expected
    assert labels(drawing.log_ticks(20, 2000, 9), True) == "20 50 100 200 500 1,000 2,000"
    assert labels(drawing.log_ticks(1, 1, 9), True) == "0.5 1 2"
    # More than fit: powers of ten, and ends that have no label.
    assert labels(drawing.log_ticks(0.02, 30, 9), True) == " 0.1 1 10 "
    rng = random.Random(7)
    for i in range(500):
        low, high = sorted(10 ** rng.uniform(-9, 15) for _ in range(2))
        if i % 7 == 0:
            high = low * (1 + 10 ** rng.uniform(-16, -6))
        for ticks, most in ((drawing.linear_ticks(low, high, 6), 8), (drawing.log_ticks(low, high, 9), 11)):
            assert 2 <= len(ticks) <= most and ticks == sorted(set(ticks)), (low, high, ticks)
            assert ticks[0] <= low * (1 + 1e-6) and ticks[-1] >= high * (1 - 1e-6), (low, high, ticks)


def chart(shape, x, y):
    return drawing.draw(drawing.Chart(shape, "t", "x", "y", [drawing.Line("n", 0, drawing.np.array(x, float), drawing.np.array(y, float))]), 1)


@pytest.mark.parametrize("numbers", [[0, 0], [5e-324, 1e-310], [0, 5e-324, 1], [1e-300, 1e15], [1e15, 1e15], [0, 1e-29]])
def test_numbers_of_any_size_are_drawn(numbers):
    line = drawing.Line("n", 0, drawing.np.array(numbers), drawing.np.array(numbers))
    for shape in ("steps", "dots", "points"):
        drawn = drawing.draw(drawing.Chart(shape, "t", "x", "y", [line], x_log=shape == "dots", y_log=shape != "steps", y_goal=numbers[0]), 1)
        (chart,) = charts(drawn)
        assert not re.search("nan|inf", drawn) and chart.find(f".//{SVG}g[@class='{shape} s1']") is not None


def test_a_page_says_how_many_charts_it_leaves_out(write, page, monkeypatch):
    for name in ("report.charts", "report.page"):
        monkeypatch.setattr(sys.modules[name], "CHARTS_MAX", 3)
    html = page(*(write(f"{n}.json", load_run(adapters=n, duration=2)) for n in (20, 50)))
    assert len(charts(html)) == 3 and "12 more charts are left out: a page has 3" in html


def test_a_hundred_thousand_points_are_a_small_drawing():
    n = 100000
    y = [50 if i == n // 2 else i % 2 for i in range(n)]
    for shape in ("steps", "dots"):
        assert 1000 < len(chart(shape, range(n), y)) < 120000


def test_what_has_no_points_is_not_drawn():
    assert chart("steps", [], []) == ""


def test_a_peak_between_pixels_is_not_lost():
    x, y = [i * 1e-3 + (i > 990) * 1000 for i in range(1000)], [100 if i == 500 else 0 for i in range(1000)]
    line = re.search(r'class="steps s1">.*?d="([^"]*)"', chart("steps", x, y))[1]
    heights = [float(v) for v in re.findall(r"[ML] [\d.]+ ([\d.]+)", line)]
    # All of the first 990 stand on one pixel, from which the line goes up to the top of the field, 30, and back.
    assert min(heights) == 30 and heights[0] == heights[-1] == 206


# ---- which runs belong together

def made_run(server, adapters, rate, value=None, model=None):
    values = {"server": text_value(server), "adapters": number_value(adapters), "rate": number_value(rate)}
    if model:
        values["model"] = text_value(model)
    return Run("f.json", values, {} if value is None else {"requests_per_second": value})


def test_repetitions_become_a_median_with_its_spread():
    r = comparison.Comparison("t", [made_run(*of) for of in (("a", 100, 1, 5), ("a", 20, 1, 9), ("b", 20, 1, 3), ("a", 20, 1, 7), ("a", 20, 1, 8), ("b", 100, 1))])
    assert [(row.series, row.case, len(row.runs)) for row in r.rows] == [(0, 0, 3), (1, 0, 1), (0, 1, 1), (1, 1, 1)]
    assert r.rows[0].figures["requests_per_second"] == (8, 7, 9, 3)  # 20 adapters before 100: by number, not by text
    assert "requests_per_second" not in r.rows[3].figures and r.varies == ["server", "adapters"]
    assert r.row_name(r.rows[1]) == "b, 20 adapters"
    even = comparison.Comparison("t", [made_run("a", 1, 1, value) for value in (1, 2, 3, 9)])
    assert even.rows[0].figures["requests_per_second"].median == 2.5


def test_a_baseline_is_put_beside_the_same_workload():
    runs = [made_run("a", 20, 1, 9), made_run("a", 100, 1, 8), made_run("b", 20, 1, 3)]
    for run, p99 in zip(runs, (2, 0, 5)):
        run.metrics["latency_p99_seconds"] = p99
    r = comparison.Comparison("t", runs, baseline="b")
    base = r.base_of(r.rows[0])
    assert base is r.rows[1] and r.base_of(base) is None and r.base_of(r.rows[2]) is None  # b has no run with 100 adapters
    assert comparison.ratio(r.rows[0], base, "requests_per_second") == 3 and comparison.ratio(r.rows[0], base, "latency_p99_seconds") == 2.5
    assert comparison.ratio(r.rows[2], base, "latency_p99_seconds") is None
    assert tables.cell(r, tables.RATIOS, r.rows[0], "requests_per_second") == ("3.00x", "", 1)
    r = comparison.Comparison("t", runs, baseline="a, 100 adapters")
    assert r.base_of(r.rows[0]) is r.rows[2] and r.base_of(r.rows[2]) is None


def test_any_dimension_can_name_the_lines():
    r = comparison.Comparison("t", [made_run("a", 20, 1), made_run("a", 20, 2), made_run("b", 20, 2)], group="rate")
    assert r.series_names == ["1", "2"] and len(r.cases) == 2


def test_how_servers_spell_their_model_does_not_part_runs():
    assert len(comparison.Comparison("t", [made_run("a", 20, 1, model="/models/SmolLM2.gguf"), made_run("b", 20, 1)]).cases) == 1
    assert len(comparison.Comparison("t", [made_run("a", 20, 1, model="135M"), made_run("a", 20, 1, model="1B")]).rows) == 2


# ---- the program

def test_markdown_and_json_need_no_matplotlib_and_a_page_says_what_to_install(write, refused, made, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("matplotlib", "numpy") or name in ("report.page", "report.charts", "report.drawing")]:
        monkeypatch.setitem(sys.modules, name, None if "." not in name else sys.modules[name])
        if name.startswith("report."):
            monkeypatch.delitem(sys.modules, name)
    file = write("a.json", load_run(duration=2))
    said = refused(file, "-o", "-")
    assert "need matplotlib" in said and "pip install -r bench/report/requirements.txt" in said
    assert made("--markdown", file).startswith("# ") and made("--json", file)["rows"]


def test_the_program_reads_standard_input_and_survives_a_reader_that_went_away(write):
    program = [sys.executable, ROOT / "tools" / "report"]
    run = json.dumps(load_run(duration=2)).encode()
    r = subprocess.run([*program, "x=-", "--json", "-"], input=run, capture_output=True)
    assert r.returncode == 0 and json.loads(r.stdout)["rows"][0]["name"] == "x", r.stderr
    with open("/dev/full", "wb") as full:
        r = subprocess.run([*program, "-", "--json", "-"], input=run, stdout=full, stderr=subprocess.PIPE)
    assert (r.returncode, r.stderr) == (1, b"report: standard output: No space left on device\n")
