"""The figures of a report as JSON: schema edgelora-report/1."""

import json

from .comparison import ratio
from .run import METRICS
from .text import clean


def _round(x):
    """Nine digits; what is not available is null."""
    return None if x is None else float(f"{x:.9g}")


def _figure(figure):
    return figure and {"median": _round(figure.median), "min": _round(figure.low), "max": _round(figure.high), "n": figure.n}


def _row(report, row):
    out = {
        "name": clean(report.row_name(row)), "series": clean(report.series_names[row.series]),
        "files": [clean(run.file) for run in row.runs],
        "workload": {key: clean(v.text) if v.is_text else v.order for key, v in row.runs[0].values.items()},
        "figures": {key: _figure(row.figures.get(key)) for key in METRICS},
    }
    if base := report.base_of(row):
        out["baseline"] = clean(report.row_name(base))
        out["ratios"] = {key: _round(ratio(row, base, key)) for key, m in METRICS.items() if m.better}
    return out


def _run(run):
    return {"file": clean(run.file), "interrupted": run.interrupted, "facts": {clean(name): clean(value) for name, value in run.facts}}


def write_json(report, version):
    out = {"schema": "edgelora-report/1", "program": f"edgelora {version}", "title": clean(report.title),
           "rows": [_row(report, row) for row in report.rows], "runs": [_run(run) for run in report.runs]}
    return json.dumps(out, indent=2, ensure_ascii=False) + "\n"
