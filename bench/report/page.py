"""The page: one HTML file that needs no other and runs no script. Its look is in page.css."""

from pathlib import Path

from .charts import CHARTS_MAX, sections
from .drawing import SERIES_COLOURS
from .run import DIMENSIONS
from .tables import ABSENT, FURTHER, RATIOS, RESULTS, cell
from .text import escape_html

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<!-- Names are escaped; should one get through, nothing runs and nothing is fetched. -->
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{common}</header>
{body}
<footer>edgelora {version}, tools/report</footer>
</body>
</html>
"""


def _swatch(series, length):
    """A piece of a series' line."""
    kind = f"s{series % SERIES_COLOURS + 1}" + (" again" if series >= SERIES_COLOURS else "")
    return f'<svg class="swatch {kind}" viewBox="0 0 {length} 10" width="{length}" height="10" aria-hidden="true"><path d="M1 5H{length - 1}"/></svg>'


# ---- tables

def _head(report, table):
    first = "server" if report.group == "server" else DIMENSIONS[report.group].title
    above = [f'<th rowspan="2" class="name">{first}</th>', *(f'<th rowspan="2">{key}</th>' for key in report.columns)]
    below, groups = [], []
    for column in table.columns:
        begins = not groups or groups[-1][0] != column.group
        if begins:
            groups.append([column.group, 0])
        groups[-1][1] += 1
        below.append(f'<th class="first">{column.title}</th>' if begins else f"<th>{column.title}</th>")
    above += [f'<th colspan="{n}" class="first">{group}</th>' for group, n in groups]
    return f"<thead><tr>{''.join(above)}</tr><tr>{''.join(below)}</tr></thead>"


def _row_head(report, row):
    key = _swatch(row.series, 16) if len(report.series) > 1 else ""
    repeated = f" <small>{len(row.runs)} runs</small>" if len(row.runs) > 1 else ""
    interrupted = " <small>interrupted</small>" if row.interrupted else ""
    return f'<th scope="row">{key}{escape_html(report.series_names[row.series])}{repeated}{interrupted}</th>'


def _cell(report, table, row, column, begins):
    c = cell(report, table, row, column.metric)
    failed = column.metric == "requests_failed" and row.figures.get(column.metric, (0,))[0] > 0
    words = " " in c.value and not any(sign.isdigit() for sign in c.value)  # they may take two lines
    classes = ["first"] * begins + ["better"] * (c.better > 0) + ["worse"] * (c.better < 0 or failed) + ["told"] * words
    mark = {1: "▲ ", 0: "", -1: "▼ "}[c.better]
    return f'<td class="{" ".join(classes)}">{mark}{c.value}{f"<small>{c.spread}</small>" if c.spread else ""}</td>'


def _table(report, table):
    lines, before = [], None
    for row in table.rows(report):
        values = row.runs[0].values
        cells = [_row_head(report, row), *(f"<td>{escape_html(values[key].text if key in values else ABSENT)}</td>" for key in report.columns)]
        for i, column in enumerate(table.columns):
            cells.append(_cell(report, table, row, column, i == 0 or column.group != table.columns[i - 1].group))
        new = ' class="new"' if before not in (None, row.case) else ""
        lines.append(f"<tr{new}>{''.join(cells)}</tr>")
        before = row.case
    note = f'<p class="note">{table.note}</p>\n' if table.note else ""
    return (f'<section class="whole">\n<h2>{table.title}</h2>\n{note}<div class="wide"><table class="figures">\n{_head(report, table)}\n<tbody>\n'
            + "\n".join(lines) + "\n</tbody></table></div>\n</section>")


# ---- charts

def _legend(report):
    if len(report.series_names) < 2:
        return ""
    return '<ul class="legend">' + "".join(f"<li>{_swatch(i, 26)}{escape_html(name)}</li>" for i, name in enumerate(report.series_names)) + "</ul>\n"


def _section(report, section):
    figures = "\n".join(f"<figure><figcaption>{escape_html(caption)}</figcaption>{svg}</figure>" for caption, svg in section.charts)
    return (f'<section>\n<h2>{section.title}</h2>\n<p class="note">{section.note}</p>\n{_legend(report) if section.legend else ""}'
            f'<div class="charts">\n{figures}\n</div>\n</section>')


# ---- runs

def _facts(facts):
    return "<dl>\n" + "".join(f"<dt>{escape_html(name)}</dt><dd>{escape_html(value)}</dd>\n" for name, value in facts) + "</dl>"


def _run_name(run):
    server = run.values["server"].text if "server" in run.values else ""
    return f"<h3>{escape_html(server)} <small>{escape_html(run.file)}</small></h3>"


def _runs(report):
    """Facts that all runs share stand once, before the others."""
    others = [set(run.facts) for run in report.runs]
    shared = [fact for fact in report.runs[0].facts if all(fact in facts for facts in others)]
    parts = ["<section>\n<h2>Machine, versions and runs</h2>", "<h3>All runs</h3>" if len(report.runs) > 1 else _run_name(report.runs[0]), _facts(shared)]
    if len(report.runs) > 1:
        parts.append('<div class="runs">')
        for run in report.runs:
            parts.append(f'<div class="run">{_run_name(run)}\n{_facts(fact for fact in run.facts if fact not in shared)}\n</div>')
        parts.append("</div>")
    return "\n".join(parts) + "\n</section>"


def write_page(report, version):
    charts, left_out = sections(report)
    body = [_table(report, RESULTS)]
    if RATIOS.shown(report):
        body.append(_table(report, RATIOS))
    body += [_section(report, section) for section in charts]
    if left_out:
        body.append(f'<p class="note">{left_out} more charts are left out: a page has {CHARTS_MAX}. Fewer files make a page with all of theirs.</p>')
    body += [_table(report, FURTHER), _runs(report)]
    common = report.common_name()
    return PAGE.format(title=escape_html(report.title), style=(Path(__file__).parent / "page.css").read_text(), version=version,
                       common=f"<p>{escape_html(common)}</p>\n" if common else "", body="\n".join(body))
