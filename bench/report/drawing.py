"""One chart as inline SVG, drawn by matplotlib.

matplotlib sees numbers and the report's own words only: names out of files become the chart's escaped <title>s afterwards. Its colours
are replaced by the page's variables, so that one drawing serves light, dark and paper; its text stays text, in the page's font. What
falls on the same pixel is drawn once: a run of a hundred thousand requests is a few kilobytes, and looks as all of its points would."""

import io
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Optional

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from .text import clean

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# In pixels; a page shows a chart near this size, so that its text is as large as the page's.
WIDTH, HEIGHT, TOP, TOP_WITHOUT_TITLE, BOTTOM, RIGHT, DIGIT = 400, 250, 30, 12, 44, 16, 7
X_TICKS, Y_TICKS, LOG_TICKS = 7, 6, 9
LEAST, DECADES = 1e-30, 12  # no measurement is smaller; a logarithmic axis is no longer
SERIES_COLOURS = 8  # for this many series the page has colours (page.css); then they repeat, dotted

# What matplotlib draws in, and what stands there instead. The colours mean nothing: they are only told apart.
PAPER, SOFT, HAIR, RULE, COLOUR = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {PAPER: "var(--paper)", SOFT: "var(--soft)", HAIR: "var(--hair)", RULE: "var(--rule)", COLOUR: "var(--c)"}

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "edgelora", "path.simplify": False, "font.family": "sans-serif", "font.size": 11.5,
         "axes.linewidth": 1, "axes.edgecolor": RULE, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
         "axes.axisbelow": True, "axes.grid": True, "axes.grid.axis": "y", "grid.color": HAIR, "grid.linewidth": 1, "xtick.color": RULE, "ytick.color": RULE,
         "xtick.labelcolor": SOFT, "ytick.labelcolor": SOFT, "xtick.major.size": 4, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
         "text.color": SOFT, "axes.labelcolor": SOFT, "lines.solid_capstyle": "round", "lines.solid_joinstyle": "round", "timezone": "UTC"}

ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


@dataclass
class Line:
    """One series' points. `low` and `high`: the spread of y over repeated runs."""

    name: str  # what a pointer over it is told
    series: int
    x: object  # arrays of numbers from 0 on, all of one length; x rises, but for dots
    y: object
    low: object = None
    high: object = None


@dataclass
class Chart:
    shape: str  # "points": lines with marks and spreads; "steps": each y holds until the next x; "dots"
    title: str
    x_title: str
    y_title: str  # "": none
    lines: list
    x_log: bool = False
    y_log: bool = False
    x_reach: tuple = ()  # numbers that the axis must reach
    y_reach: tuple = ()
    x_goal: Optional[float] = None  # a dashed rule across
    y_goal: Optional[float] = None


# ---- axes

def linear_ticks(low, high, most):
    """About as many round numbers, with one distance between all; the first and the last are the axis' ends."""
    if high - low <= 1e-6 * high:
        low, high = low / 2, high + (high / 2 or 1.0)
    return [float(t) for t in MaxNLocator(most - 1, steps=[1, 2, 5, 10]).tick_values(low, high)]


def log_ticks(low, high, most):
    """1, 2 or 5 times a power of ten; where these are too many, powers of ten alone, or every second, third ... one."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    round_numbers = [float(f"{m}e{e}") for e in exponents for m in (1, 2, 5)]
    first = max(i for i, x in enumerate(round_numbers) if x <= low * (1 + 1e-9))
    last = min(i for i, x in enumerate(round_numbers) if x >= high * (1 - 1e-9))
    if first == last:
        first, last = max(first - 1, 0), last + 1
    if last - first < most:
        return round_numbers[first:last + 1]
    inner = [float(f"1e{e}") for e in exponents if round_numbers[first] <= float(f"1e{e}") <= round_numbers[last]]
    return sorted({round_numbers[first], *inner[::math.ceil(len(inner) / most)], round_numbers[last]})


def tick_labels(ticks, log):
    """The ends of a logarithmic axis that are no power of ten between powers of ten have none."""
    if log:
        powers = len(ticks) > LOG_TICKS or all(math.log10(t).is_integer() for t in ticks[1:-1])
        return ["" if powers and len(ticks) > 3 and not math.log10(t).is_integer() else f"{t:,.10g}" if 1e-5 < t < 1e9 else f"{t:g}" for t in ticks]
    step = ticks[1] - ticks[0]
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{t:g}" if places > 5 or ticks[-1] >= 1e9 else f"{t:,.{places}f}" for t in ticks]


def _ticks(values, reach, log, most):
    """Of an axis that holds these numbers. A logarithmic one has no place for 0: it stands at its low end."""
    values = np.concatenate([*values, np.array(reach, float)])
    values = values[values >= LEAST] if log else np.where(values < LEAST, 0, values)
    if not values.size:
        values = np.ones(1)
    low, high = float(values.min()), float(values.max())
    return log_ticks(max(low, high / 10**DECADES), high, LOG_TICKS) if log else linear_ticks(low, high, most)


# ---- lines

def _pixel(values, ends, log, size):
    """Where values stand along an axis of `size` pixels."""
    values, (low, high) = np.clip(values, *ends), ends
    place = np.log(values / low) / math.log(high / low) if log else (values - low) / (high - low)
    return place * size


def thin(x, y):
    """Of the points whose x, in pixels, falls on the same half pixel: the first, the lowest, the highest, the last; so no peak is lost."""
    starts = np.flatnonzero(np.diff(np.floor(x * 2), prepend=-1))
    kept = set()
    for start, end in zip(starts, [*starts[1:], len(x)]):
        part = y[start:end]
        kept.update((int(start), int(start + part.argmin()), int(start + part.argmax()), int(end - 1)))
    return np.array(sorted(kept), int)


def _draw(axes, chart, line, gid):
    x_ends, y_ends = axes.get_xlim(), axes.get_ylim()
    x, y = np.clip(line.x, *x_ends), np.clip(line.y, *y_ends)
    common = {"color": COLOUR, "clip_on": False, "gid": gid}
    if chart.shape == "dots":
        # A dot is a line of no length with round ends.
        pixels = np.column_stack([_pixel(x, x_ends, chart.x_log, WIDTH), _pixel(y, y_ends, chart.y_log, HEIGHT)]).round()
        _, kept = np.unique(pixels, axis=0, return_index=True)
        gaps = np.full(len(kept), np.nan)
        axes.plot(np.column_stack([x[kept], x[kept], gaps]).ravel(), np.column_stack([y[kept], y[kept], gaps]).ravel(), linewidth=3.2, alpha=0.55, **common)
        return
    dashes = "-" if line.series < SERIES_COLOURS // 2 else (0, (3.5, 2)) if line.series < SERIES_COLOURS else (0, (1, 2))
    if chart.shape == "steps":
        kept = thin(_pixel(x, x_ends, chart.x_log, WIDTH), y)
        axes.plot(x[kept], y[kept], drawstyle="steps-post", linewidth=2, linestyle=dashes, **common)
        return
    if line.low is not None and (wide := line.high > line.low).any():
        axes.vlines(x[wide], np.clip(line.low[wide], *y_ends), np.clip(line.high[wide], *y_ends), linewidth=1.5, **common)
    axes.plot(x, y, linewidth=2, linestyle=dashes, marker="o", markersize=7, markeredgecolor=PAPER, markeredgewidth=1.5, **common)


def _goal(axes, chart, top):
    """What the rule says stands where there is room, before lines and dots."""
    dashed = {"color": RULE, "linewidth": 1, "linestyle": (0, (3, 3)), "clip_on": False, "zorder": 4}
    if chart.x_goal is not None:
        (low, high), goal = axes.get_xlim(), chart.x_goal
        right = _pixel(np.array([goal]), (low, high), chart.x_log, 1)[0] > 0.8
        axes.axvline(goal, **dashed)
        axes.annotate("goal", (goal, 1), (-4 if right else 4, -9), xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if right else "left", zorder=5)
    elif chart.y_goal is not None:
        near_top = _pixel(np.array([chart.y_goal]), axes.get_ylim(), chart.y_log, HEIGHT - top - BOTTOM)[0] > HEIGHT - top - BOTTOM - 14
        axes.axhline(chart.y_goal, **dashed)
        axes.annotate("goal", (1, chart.y_goal), (-2, -12 if near_top else 4), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", zorder=5)


# ---- the whole

def _svg(chart):
    """As matplotlib writes it."""
    goal = lambda x: () if x is None else (x,)  # noqa: E731
    y_values = [a for line in chart.lines for a in (line.y, line.low, line.high) if a is not None]
    x_ticks = _ticks([line.x for line in chart.lines], (*chart.x_reach, *goal(chart.x_goal)), chart.x_log, X_TICKS)
    y_ticks = _ticks(y_values, (*chart.y_reach, *goal(chart.y_goal)), chart.y_log, Y_TICKS)
    y_labels = tick_labels(y_ticks, chart.y_log)
    left, top = 14 + DIGIT * max(map(len, y_labels)), TOP if chart.y_title else TOP_WITHOUT_TITLE
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, facecolor="none")
        axes = figure.add_axes((left / WIDTH, BOTTOM / HEIGHT, (WIDTH - RIGHT - left) / WIDTH, (HEIGHT - top - BOTTOM) / HEIGHT), facecolor="none")
        for axis, ticks, labels, log in (("x", x_ticks, tick_labels(x_ticks, chart.x_log), chart.x_log), ("y", y_ticks, y_labels, chart.y_log)):
            if log:
                axes.set(**{f"{axis}scale": "log"})
            axes.set(**{f"{axis}lim": (ticks[0], ticks[-1])})
            drawn = getattr(axes, f"{axis}axis")
            drawn.set_major_locator(FixedLocator(ticks))
            drawn.set_major_formatter(FixedFormatter(labels))
            drawn.set_minor_locator(NullLocator())
        axes.set_xlabel(chart.x_title)
        if chart.y_title:  # it lies above the axis: turned text is hard to read
            figure.text(2 / WIDTH, 1 - (top - 12) / HEIGHT, chart.y_title)
        for i, line in enumerate(chart.lines):
            _draw(axes, chart, line, f"series-{i}")
        _goal(axes, chart, top)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    return out.getvalue()


def _tenth(match):
    return f"{float(match[0]):.1f}".removesuffix(".0")


def _colours(style):
    for colour, variable in VARIABLES.items():
        style = style.replace(colour, variable)
    return style


def draw(chart, number):
    """`number` tells the charts of a page apart. Lines without points are left out; "": no line has any."""
    chart.lines = [line for line in chart.lines if len(line.x)]
    if not chart.lines:
        return ""
    root = ET.fromstring(_svg(chart))
    for name in ("metadata", "defs"):  # of the whole: its date, and a style that would be the page's
        for element in root.findall(f"{{{SVG}}}{name}"):
            root.remove(element)
    title = f"chart{number}"
    used = {element.get(f"{{{XLINK}}}href") for element in root.iter(f"{{{SVG}}}use")}
    for element in root.iter():
        element.attrib.pop("clip-path", None)  # nothing lies outside
        if (gid := element.get("id", "")).startswith("series-"):
            line = chart.lines[int(gid.split("-")[1])]
            element.set("class", f"{chart.shape} s{line.series % SERIES_COLOURS + 1}")
            told = ET.Element(f"{{{SVG}}}title")
            told.text = clean(line.name)
            element.insert(0, told)
        if f"#{gid}" in used:
            element.set("id", f"{title}-{gid}")
        else:
            element.attrib.pop("id", None)
        if href := element.get(f"{{{XLINK}}}href"):
            element.set(f"{{{XLINK}}}href", f"#{title}-{href[1:]}")
        if "d" in element.attrib:
            element.set("d", re.sub(r"-?\d+\.\d+", _tenth, " ".join(element.get("d").split())))
        if "style" in element.attrib:
            element.set("style", _colours(element.get("style")))
        if element.tag == f"{{{SVG}}}text":  # its font is the page's
            anchor = re.search(r"text-anchor: (\w+)", element.get("style", ""))
            element.attrib.pop("style", None)
            if anchor:
                element.set("text-anchor", anchor[1])
    root.attrib.clear()
    root.attrib.update({"class": "chart", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-labelledby": title})
    name = ET.Element(f"{{{SVG}}}title", id=title)
    name.text = clean(chart.title)
    root.insert(0, name)
    return re.sub(r">\s+<", "><", ET.tostring(root, encoding="unicode"))
