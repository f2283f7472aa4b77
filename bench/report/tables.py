"""The tables of a report, which HTML and Markdown show alike."""

from typing import NamedTuple

from .comparison import ratio
from .run import BYTES, COUNT, METRICS, MILLISECONDS, SECONDS, SHARE
from .text import decimals, number

ABSENT = "–"


class Column(NamedTuple):
    group: str  # above it; the same one as that of the column before continues it
    title: str
    metric: str


class Table(NamedTuple):
    title: str
    note: str
    columns: tuple
    ratios: bool = False  # to the baseline instead of values

    def rows(self, report):
        return [row for row in report.rows if not self.ratios or report.base_of(row)]

    def shown(self, report):
        return not self.ratios or bool(report.bases)


class Cell(NamedTuple):
    value: str = ABSENT
    spread: str = ""  # "12.1–12.9"; empty where there are no repetitions, or where they are equal
    better: int = 0  # of a ratio: 1, -1; 0: neither


def _columns(*rows):
    return tuple(Column(*row) for row in rows)


RESULTS = Table("Results", "", _columns(
    ("Throughput", "req/s", "requests_per_second"),
    ("Throughput", "tok/s in", "tokens_in_per_second"),
    ("Throughput", "tok/s out", "tokens_out_per_second"),
    ("Latency (s)", "mean", "latency_mean_seconds"),
    ("Latency (s)", "p50", "latency_p50_seconds"),
    ("Latency (s)", "p90", "latency_p90_seconds"),
    ("Latency (s)", "p99", "latency_p99_seconds"),
    ("First token (s)", "p50", "first_token_p50_seconds"),
    ("First token (s)", "p99", "first_token_p99_seconds"),
    ("First token (s)", "in goal", "slo_attainment"),
    ("", "errors", "requests_failed"),
    ("", "cache hits", "hit_rate"),
    ("", "peak memory", "peak_memory_bytes"),
    ("", "J/request", "joules_per_request")))

RATIOS = Table("Beside the baseline", (
    "How many times better than the baseline with the same workload, by medians: rates are divided by the baseline's; the baseline's "
    "times, memory and energy are divided by the row's. ▲ is better, ▼ worse."), _columns(
    ("Throughput", "req/s", "requests_per_second"),
    ("Throughput", "tok/s out", "tokens_out_per_second"),
    ("Latency", "mean", "latency_mean_seconds"),
    ("Latency", "p50", "latency_p50_seconds"),
    ("Latency", "p99", "latency_p99_seconds"),
    ("First token", "p50", "first_token_p50_seconds"),
    ("First token", "p99", "first_token_p99_seconds"),
    ("First token", "in goal", "slo_attainment"),
    ("", "peak memory", "peak_memory_bytes"),
    ("", "J/request", "joules_per_request")), ratios=True)

FURTHER = Table("Further figures", (
    "“Latest” is how much later than planned the generator sent a request, at worst; latencies count from the plan."), _columns(
    ("Requests", "answered", "requests_done"),
    ("Requests", "failed", "requests_failed"),
    ("First token (s)", "mean", "first_token_mean_seconds"),
    ("Between tokens (ms)", "p50", "gap_p50_seconds"),
    ("Between tokens (ms)", "p99", "gap_p99_seconds"),
    ("A token of a request (ms)", "p50", "per_token_p50_seconds"),
    ("A token of a request (ms)", "p99", "per_token_p99_seconds"),
    ("Load generator", "latest (ms)", "sent_late_max_seconds"),
    ("Load generator", "of a core", "generator_cores")))

TABLES = (RESULTS, RATIOS, FURTHER)


def metric_text(key, value):
    """With its unit where the column has none ("1.25 GiB", "99.5%"); three significant digits."""
    unit = METRICS[key].unit
    if unit == SHARE:
        # Nearly all is not all: 99.97%.
        return number(100 * value, 2 if 0.9995 <= value < 1 else int(0 < value < 1)) + "%"
    if unit == SECONDS:  # milliseconds are enough, where there are some
        return number(value, 3 if 0.01 <= value < 1 else decimals(value))
    if unit == MILLISECONDS:
        return number(1e3 * value, decimals(1e3 * value))
    if unit == COUNT:
        return number(value, int(value != int(value)))
    if unit == BYTES:
        units = ["B", "KiB", "MiB", "GiB", "TiB"]
        while value >= 1024 and len(units) > 1:
            value /= 1024
            del units[0]
        return f"{number(value, decimals(value) if value < 1000 else 0)} {units[0]}"
    return number(value, decimals(value))


def _spread(low, high):
    if low == high:
        return ""
    # The unit stands once.
    digits = low.rstrip(" %BKMGTi")
    return f"{digits}–{high}" if low[len(digits):] == high[len(high.rstrip(" %BKMGTi")):] else f"{low}–{high}"


def cell(report, table, row, key):
    if table.ratios:
        base = report.base_of(row)
        times = base and ratio(row, base, key)
        if times is None:
            return Cell()
        value = number(times, decimals(times)) + "x"
        return Cell(value, better=0 if value == "1.00x" else 1 if times > 1 else -1)  # what reads as 1.00x is neither
    figure = row.figures.get(key)
    if not figure:
        return Cell("not available" if key == "joules_per_request" else ABSENT)
    return Cell(metric_text(key, figure.median), _spread(metric_text(key, figure.low), metric_text(key, figure.high)) if figure.n > 1 else "")
