"""Which charts a report has, in sections of the page."""

from typing import NamedTuple

import numpy as np

from .drawing import Chart, Line, draw
from .run import BYTES, DIMENSIONS, METRICS, SECONDS, SHARE

CHARTS_MAX = 300  # of a page: one is drawn in about 30 ms
FAR = 30  # where values are this many times apart, a linear axis would press most of them against its end

SWEPT = ("requests_per_second", "tokens_out_per_second", "latency_mean_seconds", "first_token_p99_seconds", "slo_attainment", "hit_rate",
         "peak_memory_bytes")


class Section(NamedTuple):
    title: str
    note: str
    charts: list  # of (caption, SVG)
    legend: bool


class Drawer:
    """Draws the charts of a page, up to the limit, and counts those that are left out."""

    def __init__(self):
        self.drawn = self.left_out = 0

    def draw(self, chart):
        """[(caption, SVG)], or nothing."""
        if not any(len(line.x) for line in chart.lines):
            return []
        if self.drawn == CHARTS_MAX:
            self.left_out += 1
            return []
        self.drawn += 1
        return [(chart.title, draw(chart, self.drawn))]


def _far(values):
    """Of arrays: whether a logarithmic axis is needed."""
    values = np.concatenate([np.asarray(v, float) for v in values]) if values else np.empty(0)
    return bool(values.size and values.min() > 0 and values.max() / values.min() >= FAR)


def _samples(runs, kind):
    """Of all runs: arrays of times of arrival and of values."""
    samples = [getattr(run, kind) for run in runs]
    return np.concatenate([np.frombuffer(s.at) for s in samples]), np.concatenate([np.frombuffer(s.value) for s in samples])


def _slos(runs):
    return [run.slo for run in runs if run.slo is not None]


# ---- over one dimension

def _groups(report, key):
    """Rows that differ in nothing but the series and, maybe, this dimension."""
    groups = {}
    for row in report.rows:
        values = row.runs[0].values
        rest = tuple(values.get(k) for k in report.case_dimensions if k != key)
        groups.setdefault(rest, []).append(row)
    return groups.values()


def _place(row, key):
    """Where a row stands along a dimension; None where it is no number."""
    value = row.runs[0].values.get(key)
    return None if value is None or value.is_text else value.order


def _has_line(rows, key):
    """Some series has two values of the dimension."""
    places = {}
    for row in rows:
        if (place := _place(row, key)) is not None:
            places.setdefault(row.series, set()).add(place)
    return any(len(of_series) > 1 for of_series in places.values())


def _sweep_chart(report, rows, key, metric):
    scale = {SHARE: 100, BYTES: 2**-20}.get(METRICS[metric].unit, 1)
    lines = []
    for series, name in enumerate(report.series_names):
        points = [(place, *row.figures[metric][:3]) for row in rows
                  if row.series == series and metric in row.figures and (place := _place(row, key)) is not None]
        x, y, low, high = np.array(points, float).reshape(-1, 4).T
        lines.append(Line(name, series, x, y * scale, low * scale, high * scale))
    rest = report.case_name(rows[0].case, but=key)
    y_log = METRICS[metric].unit == SECONDS and _far([a for line in lines for a in (line.low, line.high)])
    return Chart("points", METRICS[metric].title + (f" ({rest})" if rest else ""), DIMENSIONS[key].title, "", lines, x_log=_far([line.x for line in lines]),
                 y_log=y_log, y_reach=() if y_log else (0, 100) if METRICS[metric].unit == SHARE else (0,))


def _sweeps(report, drawer):
    for key in report.columns:
        charts = []
        for rows in _groups(report, key):
            if _has_line(rows, key):
                for metric in SWEPT:
                    charts += drawer.draw(_sweep_chart(report, rows, key, metric))
        if charts:
            yield Section(f"Over {DIMENSIONS[key].title}", "Medians of repeated runs; where there are several, a bar from the least to the most.", charts, True)


# ---- distributions

def _distribution(report, row, kind):
    """The requests of all repetitions together: (value, share of requests that took no longer). Failed requests are among them: the curve
    of a server that fails some ends below 100%."""
    values = np.sort(_samples(row.runs, kind)[1])
    shares = 100 * np.arange(len(values) + 1) / max(sum(run.ended for run in row.runs), 1)
    return Line(report.row_name(row), row.series, np.concatenate([values[:1], values]), shares if len(values) else values)


def _distributions(report, drawer, title, x_title, kind, goal):
    """[(case, chart)]; their axes have the same ends, so that they can be compared at a glance."""
    everything = _samples(report.runs, kind)[1]
    if not everything.size:
        return []
    reach = (everything.min(), everything.max(), *(_slos(report.runs) if goal else ()))
    charts = []
    for case, name in _cases(report, title):
        rows = [row for row in report.rows if row.case == case]
        slos = _slos(rows[-1].runs[:1]) if goal else []
        charts += drawer.draw(Chart("steps", name, x_title, "% of requests", [_distribution(report, row, kind) for row in rows], x_log=_far([reach]),
                                    x_reach=reach, y_reach=(0, 100), x_goal=slos[0] if slos else None))
    return charts


def _cases(report, only):
    """(case, name); `only`: where there is one case."""
    return [(case, report.case_name(case) if len(report.cases) > 1 else only) for case in range(len(report.cases))]


# ---- over time

def _memory(report, drawer):
    at, values = _samples(report.runs, "memory")
    if not at.size:
        return []
    unit, scale = ("GiB", 2**-30) if values.max() >= 1 << 30 else ("MiB", 2**-20)
    charts = []
    for case, name in _cases(report, "Memory over time"):
        lines = []
        for row in report.rows:
            for run in row.runs if row.case == case else ():
                times, sizes = _samples([run], "memory")
                lines.append(Line(report.row_name(row), row.series, times, sizes * scale))
        charts += drawer.draw(Chart("steps", name, "time since the start (s)", f"memory ({unit})", lines, x_reach=(0, at.max()), y_reach=(0, values.max() * scale)))
    return charts


def _first_tokens(report, drawer):
    at, values = _samples(report.runs, "first_token")
    if not at.size:
        return []
    reach = (values.min(), values.max(), *_slos(report.runs))
    far = _far([reach])
    charts = []
    for row in report.rows:
        slos = _slos(row.runs[:1])
        lines = [Line(report.row_name(row), row.series, *_samples([run], "first_token")) for run in row.runs]
        charts += drawer.draw(Chart("dots", report.row_name(row), "time of arrival (s)", "first token (s)", lines, y_log=far, x_reach=(0, at.max()),
                                    y_reach=reach if far else (0, *reach), y_goal=slos[0] if slos else None))
    return charts


# ---- the whole

def sections(report):
    """(sections, how many charts were left out)."""
    drawer = Drawer()
    found = list(_sweeps(report, drawer))
    latency = _distributions(report, drawer, "Latency", "latency (s)", "latency", goal=False)
    first = _distributions(report, drawer, "First token", "first token (s)", "first_token", goal=True)
    memory = _memory(report, drawer)
    if len(report.cases) == 1:  # what would be sections of one chart each share one
        found.append(Section("Latency, first token and memory", (
            "Curves: the share of requests that were answered, or had their first token, within a time, counted from their arrival. Memory: "
            "what of the server is in memory (resident set)."), latency + first + memory, True))
    else:
        found += [
            Section("Latency", "The share of requests that were answered to their end within a time, counted from their arrival.", latency, True),
            Section("First token", "The share of requests whose first token came within a time, counted from their arrival.", first, True),
            Section("Memory over time", "What of the server is in memory (resident set), one line a run.", memory, True)]
    found.append(Section("First token over time", (  # each chart has one series, which its title names
        "A dot is a request, where it arrived; of repeated runs, all are drawn. A rising cloud is a queue that grows."), _first_tokens(report, drawer), False))
    return [section for section in found if section.charts], drawer.left_out
