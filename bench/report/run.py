"""What a report knows of one run: a file of `edgelora-bench load --json` (schema edgelora-load/1, docs/performance/load.md), checked and made flat."""

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from .facts import facts_of
from .fields import File

SCHEMA = "edgelora-load/1"
ROUNDING = 1e-3  # seconds: times are written with nine digits, so a short request may end, rounded, just before its arrival


class Dimension(NamedTuple):
    """In what runs can differ on purpose. Two runs that agree in all of them are repetitions of each other."""

    key: str  # on the command line and in JSON
    title: str  # of an axis
    wording: str  # how a value reads within a name
    field: Optional[str] = None  # of the file, where it is a plain number


DIMENSIONS = {d.key: d for d in (
    Dimension("server", "server", "{}"),
    Dimension("model", "model", "{}"),
    Dimension("adapters", "adapters", "{} adapters", "workload.adapters"),
    Dimension("selection", "selection", "{}"),
    Dimension("loop", "loop", "{} loop"),
    Dimension("clients", "clients", "{} clients", "workload.clients"),
    Dimension("rate", "arrivals (requests/s)", "{} req/s", "workload.rate"),
    Dimension("alpha", "power law's exponent", "alpha {}", "workload.alpha"),
    Dimension("cv", "variation of arrivals (cv)", "cv {}", "workload.cv"),
    Dimension("input", "tokens in", "{} tokens in"),
    Dimension("output", "tokens out", "{} tokens out"),
    Dimension("duration", "duration (s)", "{} s", "workload.duration"),
    Dimension("requests", "requests", "{} requests", "workload.requests"),
    Dimension("replay", "trace", "trace {}"),
    Dimension("speed", "speed of the trace", "at {} times its speed", "workload.speed"),
)}


class Value(NamedTuple):
    """Of a dimension, in the order of numbers, then of texts."""

    is_text: bool
    order: object  # the number or the text
    text: str


RATE, SECONDS, MILLISECONDS, SHARE, COUNT, BYTES, JOULES = range(7)  # units; with MILLISECONDS values are seconds, tables show milliseconds


class Metric(NamedTuple):
    key: str  # in JSON
    title: str  # of an axis, with the unit
    unit: int
    better: int  # 1: more is, -1: less is, 0: neither
    field: Optional[str] = None  # of the file; None: it is computed


METRICS = {m.key: m for m in (
    Metric("requests_per_second", "Requests per second", RATE, 1, "summary.requests_per_second"),
    Metric("tokens_in_per_second", "Tokens in per second", RATE, 1, "summary.tokens_in_per_second"),
    Metric("tokens_out_per_second", "Tokens out per second", RATE, 1, "summary.tokens_out_per_second"),
    Metric("latency_mean_seconds", "Mean latency, seconds", SECONDS, -1, "summary.latency_seconds.mean"),
    Metric("latency_p50_seconds", "Latency p50, seconds", SECONDS, -1, "summary.latency_seconds.p50"),
    Metric("latency_p90_seconds", "Latency p90, seconds", SECONDS, -1, "summary.latency_seconds.p90"),
    Metric("latency_p99_seconds", "Latency p99, seconds", SECONDS, -1, "summary.latency_seconds.p99"),
    Metric("first_token_mean_seconds", "Mean first token, seconds", SECONDS, -1, "summary.first_text_seconds.mean"),
    Metric("first_token_p50_seconds", "First token p50, seconds", SECONDS, -1, "summary.first_text_seconds.p50"),
    Metric("first_token_p99_seconds", "First token p99, seconds", SECONDS, -1, "summary.first_text_seconds.p99"),
    Metric("gap_p50_seconds", "Between tokens p50, seconds", MILLISECONDS, -1, "summary.gap_seconds.p50"),
    Metric("gap_p99_seconds", "Between tokens p99, seconds", MILLISECONDS, -1, "summary.gap_seconds.p99"),
    Metric("per_token_p50_seconds", "A token p50, seconds", MILLISECONDS, -1, "summary.per_token_seconds.p50"),
    Metric("per_token_p99_seconds", "A token p99, seconds", MILLISECONDS, -1, "summary.per_token_seconds.p99"),
    Metric("slo_attainment", "First token within the goal, % of requests", SHARE, 1),
    Metric("requests_done", "Requests answered", COUNT, 0, "summary.done"),
    Metric("requests_failed", "Requests failed", COUNT, -1, "summary.failed"),
    Metric("hit_rate", "Adapter cache hits, % of lookups", SHARE, 1, "cache.hit_rate"),
    Metric("peak_memory_bytes", "Peak memory, MiB", BYTES, -1),
    Metric("joules_per_request", "Energy, J a request", JOULES, -1, "energy.joules_per_request"),
    Metric("sent_late_max_seconds", "Sent late at worst, seconds", MILLISECONDS, 0, "summary.late_seconds.max"),
    Metric("generator_cores", "Load generator, % of a core", SHARE, 0, "generator.cores"),
)}


class Samples:
    """(seconds after the run's start, value) in two columns."""

    def __init__(self):
        self.at, self.value = array("d"), array("d")

    def __len__(self):
        return len(self.at)

    def add(self, at, value):
        self.at.append(at)
        self.value.append(value)


@dataclass
class Run:
    file: str
    values: dict = field(default_factory=dict)  # of dimensions; what the file does not tell is absent
    metrics: dict = field(default_factory=dict)  # what is not available is absent
    slo: Optional[float] = None  # seconds to the first token
    interrupted: bool = False
    facts: list = field(default_factory=list)  # (name, value): machine, versions, options
    ended: int = 0  # requests that succeeded or failed, not those that were cut off with the run
    latency: Samples = field(default_factory=Samples)  # of the requests that succeeded, in seconds
    first_token: Samples = field(default_factory=Samples)
    memory: Samples = field(default_factory=Samples)  # the server's, in bytes


def text_value(text):
    return Value(True, text, text)


def number_value(x):
    """As a person writes it: floats of the command line are 0.1 again, not 0.100000001."""
    text = f"{x:.6g}"
    return Value(False, float(text), text)


def _range_value(file, name):
    ends = file.find(name)
    if ends is None:
        return None
    if not (isinstance(ends, list) and len(ends) == 2 and all(type(end) is int and 0 <= end <= 1 << 53 for end in ends)):
        raise file.wrong(name, "is not two counts of tokens")
    # With equal ends it is a number, over which there may be a chart.
    return Value(False, float(ends[0]), str(ends[0])) if ends[0] == ends[1] else text_value(f"{ends[0]}–{ends[1]}")


def _read_values(file, run, name):
    found = {key: number_value(x) for key, d in DIMENSIONS.items() if d.field and (x := file.number(d.field)) is not None}
    if found.get("clients", number_value(0)).order == 0:  # an open loop has none
        found.pop("clients", None)
    for key in ("input", "output"):
        found[key] = _range_value(file, f"workload.{key}")
    called, api = file.text("server.name"), file.text("server.api")
    texts = {"server": name if name is not None else called if called is not None else api, "model": file.text("server.model"),
             "replay": file.text("workload.replay"), "loop": file.text("workload.loop")}
    automatic, own = file.flag("workload.auto"), file.flag("workload.own_adapter")
    texts["selection"] = "adapters chosen by the server" if automatic else "each client its own adapter" if own else None
    found.update({key: text_value(text) for key, text in texts.items() if text is not None})
    run.values = {key: found[key] for key in DIMENSIONS if found.get(key) is not None}


def _read_metrics(file, run):
    if not isinstance(file.find("summary"), dict):
        raise file.wrong("summary", "is no object")
    run.metrics = {m.key: x for m in METRICS.values() if m.field and (x := file.number(m.field)) is not None}
    met, of = file.number("summary.slo.met"), file.number("summary.slo.of")
    run.slo = file.number("summary.slo.first_text_seconds")
    if of and met is not None:
        if met > of:
            raise file.wrong("summary.slo.met", "is more than summary.slo.of")
        run.metrics["slo_attainment"] = met / of
    if run.metrics.get("hit_rate", 0) > 1:
        raise file.wrong("cache.hit_rate", "is more than 1")


def _read_requests(file, run):
    rows = file.rows("requests")
    at_column, first_column, done_column, end_column = file.columns("request_columns", ["at", "first", "done", "end"])
    for i, row in enumerate(rows):
        file.row("requests", i, row)
        end = row[end_column] if end_column < len(row) else None
        if not isinstance(end, str):
            raise file.wrong(f"requests[{i}]", "'end' is no text")
        at = file.cell("requests", i, row, at_column, "at")
        if at is None:
            raise file.wrong(f"requests[{i}]", "'at' is no number")
        times = [(name, samples, file.cell("requests", i, row, column, name))
                 for name, samples, column in (("first", run.first_token, first_column), ("done", run.latency, done_column))]
        run.ended += end != "cut"
        for name, samples, time in times:
            if end != "done" or time is None:
                continue
            if time < at - ROUNDING:
                raise file.wrong(f"requests[{i}]", f"'{name}' is before 'at'")
            samples.add(at, max(time - at, 0.0))


def _read_memory(file, run):
    if file.find("memory") is None:
        return
    at_column, bytes_column = file.columns("memory.columns", ["at", "resident_bytes"])
    for i, row in enumerate(file.rows("memory.samples")):
        file.row("memory.samples", i, row)
        at = file.cell("memory.samples", i, row, at_column, "at")
        size = file.cell("memory.samples", i, row, bytes_column, "resident_bytes")
        if at is None or size is None:
            continue
        if len(run.memory) and at < run.memory.at[-1]:
            raise file.wrong(f"memory.samples[{i}]", "is earlier than the one before")
        run.memory.add(at, size)
    if len(run.memory):
        run.metrics["peak_memory_bytes"] = max(run.memory.value)


def read_run(path, name=None):
    """`name`: what the server is called instead of what the file says."""
    file = File(path)
    schema = file.text("schema") or ""
    if schema != SCHEMA:
        raise file.wrong("schema", f"'{schema[:40]}' is not '{SCHEMA}', which edgelora-bench load --json writes")
    run = Run(path, interrupted=file.flag("interrupted"))
    _read_values(file, run, name)
    _read_metrics(file, run)
    _read_requests(file, run)
    _read_memory(file, run)
    run.facts = facts_of(file)
    return run
