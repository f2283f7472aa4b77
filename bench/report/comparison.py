"""Runs put in order: repetitions become rows of medians, rows with the same workload become a case, and one dimension (usually the
server) names the series, which have the same colour in all charts."""

import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

from .fields import Refused
from .run import DIMENSIONS, METRICS
from .text import clean


class Figure(NamedTuple):
    median: float
    low: float
    high: float
    n: int  # runs that have it


@dataclass
class Row:
    """One series in one case."""

    series: int
    case: int
    runs: list
    figures: dict = field(init=False)  # by metric; what no run has is absent

    def __post_init__(self):
        self.figures = {}
        for key in METRICS:
            values = [run.metrics[key] for run in self.runs if key in run.metrics]
            if values:
                self.figures[key] = Figure(statistics.median(values), min(values), max(values), len(values))

    @property
    def interrupted(self):
        """One of its runs was ended early: its slowest requests may be those that were cut off."""
        return any(run.interrupted for run in self.runs)


def _order(run, keys):
    """What runs are equal by in these dimensions, and sorted by. One that does not tell comes first."""
    return tuple((run.values[key][:2] if key in run.values else (False, float("-inf"))) for key in keys)


def _drop_what_servers_differ_in(runs, key):
    """Every server spells its model's name as it likes, and some tell none; and a slow one is measured for longer, or with fewer requests.
    As long as each server has one name, and one length of each workload, these say nothing about the workload; dropped, runs of
    different servers can be put beside each other. The list of runs has them still."""
    by = ["server"] if key == "model" else [k for k in DIMENSIONS if k != key]
    values = {}
    for run in runs:
        values.setdefault(_order(run, by), set()).add(_order(run, [key]))
    if all(len(of_one) == 1 for of_one in values.values()):
        if len(set.union(*values.values())) > 1:
            for run in runs:
                run.values.pop(key, None)


class Comparison:
    """`group`: the dimension that names the series. `baseline`: a series' name or a row's, or None."""

    def __init__(self, title, runs, group="server", baseline=None):
        if group not in DIMENSIONS:
            raise Refused(f"group: '{clean(group)}' is none of {', '.join(DIMENSIONS)}")
        self.title, self.runs, self.group = title, runs, group
        for key in ("model", "requests", "duration"):
            if key != group:
                _drop_what_servers_differ_in(runs, key)
        self.varies = [key for key in DIMENSIONS if len({_order(run, [key]) for run in runs}) > 1]
        self.case_dimensions = [key for key in DIMENSIONS if key != group]
        series = {_order(run, [group]): run for run in reversed(runs)}  # the first run of each
        self.series = {order: i for i, order in enumerate(dict.fromkeys(_order(run, [group]) for run in runs))}
        self.series_names = [self._series_name(series[order]) for order in self.series]
        cases = {self.case_order(run): run for run in reversed(runs)}
        self.cases = [cases[c] for c in sorted(cases)]  # a run of each
        self.rows = self._find_rows()
        self._find_baseline(baseline)

    def case_order(self, run):
        return _order(run, self.case_dimensions)

    def _find_rows(self):
        members = {}
        places = {self.case_order(run): i for i, run in enumerate(self.cases)}
        for run in self.runs:
            at = places[self.case_order(run)], self.series[_order(run, [self.group])]
            members.setdefault(at, []).append(run)
        return [Row(series, case, members[case, series]) for case, series in sorted(members)]

    # ---- names, neither cleaned nor escaped

    def _series_name(self, run):
        return run.values[self.group].text if self.group in run.values else "not told"

    @staticmethod
    def _wording(run, keys):
        return ", ".join(DIMENSIONS[key].wording.format(run.values[key].text) for key in keys if key in run.values)

    @property
    def columns(self):
        """The dimensions that tell cases apart."""
        return [key for key in self.varies if key != self.group]

    def case_name(self, case, but=None):
        return self._wording(self.cases[case], [key for key in self.columns if key != but])

    def row_name(self, row):
        """Its series' name and, where there are several cases, its case's."""
        series = self.series_names[row.series] if self.group == "server" else self._wording(row.runs[0], [self.group])
        return ", ".join(part for part in (series, self.case_name(row.case)) if part)

    def common_name(self):
        """What all runs have in common."""
        return self._wording(self.runs[0], [key for key in DIMENSIONS if key != "server" and key not in self.varies])

    # ---- the baseline: a series, beside which each case is put, or a row, beside which all are

    def _find_baseline(self, name):
        self.bases = {}  # by case
        if name is None:
            return
        if name in self.series_names:
            self.bases = {row.case: row for row in self.rows if row.series == self.series_names.index(name)}
            return
        base = next((row for row in self.rows if self.row_name(row) == name), None)
        self.bases = dict.fromkeys(range(len(self.cases)), base)
        if base is None:
            known = ", ".join(f"'{clean(s)}'" for s in self.series_names)
            raise Refused(f"baseline: '{clean(name)}' is no name of the report; there are {known[:300]}")

    def base_of(self, row):
        """The row that it is put beside; None: none, or itself."""
        base = self.bases.get(row.case)
        return None if base is row else base


def ratio(row, base, key):
    """How many times better a row's median is than the base's, whichever way the figure counts: 2 is twice the throughput, and half the
    latency. None: it is not known, or one of them is 0."""
    if key not in row.figures or key not in base.figures:
        return None
    a, b = row.figures[key].median, base.figures[key].median
    if not (a > 0 and b > 0):
        return None
    value = b / a if METRICS[key].better < 0 else a / b
    return value if value < float("inf") else None
