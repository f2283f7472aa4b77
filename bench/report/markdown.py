"""The tables of a report as Markdown."""

from .run import DIMENSIONS
from .tables import ABSENT, TABLES, cell
from .text import escape_markdown


def _head(report, table):
    if table.note:
        yield f"{table.note}\n"
    first = "server" if report.group == "server" else DIMENSIONS[report.group].title
    # A cell cannot span columns here, so each has the whole name.
    names = [first, *report.columns, *(f"{c.group}, {c.title}" if c.group else c.title for c in table.columns)]
    yield f"| {' | '.join(names)} |"
    yield "|---|" + "---:|" * (len(names) - 1)


def _row(report, table, row):
    name = escape_markdown(report.series_names[row.series])
    if len(row.runs) > 1:
        name += f" ({len(row.runs)} runs)"
    if row.interrupted:
        name += " (interrupted)"
    values = row.runs[0].values
    cells = [name, *(escape_markdown(values[key].text if key in values else ABSENT) for key in report.columns)]
    for column in table.columns:
        c = cell(report, table, row, column.metric)
        cells.append({1: "▲ ", 0: "", -1: "▼ "}[c.better] + c.value + (f" ({c.spread})" if c.spread else ""))
    return f"| {' | '.join(cells)} |"


def _run(run):
    server = f"{escape_markdown(run.values['server'].text)}: " if "server" in run.values else ""
    yield f"\n### {server}{escape_markdown(run.file)}\n"
    for name, value in run.facts:
        yield f"- {escape_markdown(name)}: {escape_markdown(value)}"


def write_markdown(report):
    lines = [f"# {escape_markdown(report.title)}"]
    if common := report.common_name():
        lines.append(f"\n{escape_markdown(common)}")
    for table in TABLES:
        if table.shown(report):
            lines += [f"\n## {table.title}\n", *_head(report, table), *(_row(report, table, row) for row in table.rows(report))]
    lines.append("\n## Machine, versions and runs")
    for run in report.runs:
        lines += _run(run)
    return "\n".join(lines) + "\n"
