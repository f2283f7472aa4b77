"""From the files of runs to docs/performance/evaluation.md: medians over runs, with the least and the most."""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from experiments import OURS, THEIRS, TITLES

median = statistics.median
INTRODUCTION = """\
After this page you know how edgelora compares with llama-server under load, which goals it reached
and which it missed, and what each of its ideas brings.

`make paper` (tools/paper) writes this page; its `--help` says how it measures.

- Adapters are random, of rank 16 on all linear layers. Prompts have 8 to 128 tokens and answers 8
  to 256, as in the EdgeLoRA paper, unless a title says otherwise.
- Figures are medians of the runs, with the least and the most; figures without a range are of one
  run. Every run has other arrivals, which both servers get.
- Closed loops (no rate given) have as many clients as the first table below. Their throughput
  counts what ended after the first quarter of the time.
- *First text* and *latency* count from when a request was due. In a closed loop, which ends with
  the time, they are of the requests that had ended. *In time*: first text within 6 s, of all
  requests. *Failed*: no answer within the timeout, which is 60 s by default.
- edgelora takes its memory at the start (`--prefault`), as llama-server does.
"""
REPORT = Path(__file__).resolve().parents[1] / "report"
# Written by hand: why figures are what they are.
NOTES = Path(__file__).resolve().parent / "notes.md"
# Points of other experiments that are rows of these too: {experiment: (what the row is called, the point)}.
REFERENCES = {"alpha": ("1", ("adapters", "200")), "switches": ("all on", ("adapters", "200")), "cv": ("1.5", ("rate", "0.8-ours"))}
# The part of a closed loop that is left out at its beginning, when no request can have ended yet.
LEFT_OUT = 0.25


@dataclass
class Run:
    experiment: str
    key: str
    server: str
    facts: dict
    load: dict  # None: the server did not start
    path: Path

    @property
    def summary(self):
        return self.load["summary"]

    @property
    def throughput(self):
        """Requests a second. In a closed loop: those that ended between a quarter of the time and its end, over that time."""
        if self.facts["rate"]:
            return self.summary["requests_per_second"]
        place = {name: i for i, name in enumerate(self.load["request_columns"])}
        seconds = self.facts["seconds"]
        ended = [r[place["done"]] for r in self.load["requests"] if r[place["end"]] == "done"]
        return sum(LEFT_OUT * seconds <= t < seconds for t in ended) / ((1 - LEFT_OUT) * seconds)

    def percentile(self, what, which):
        return (self.summary[what] or {}).get(which)

    @property
    def slo(self):
        return self.summary["slo"]["met"] / self.summary["slo"]["of"] if self.summary["slo"]["of"] else None

    @property
    def hit_rate(self):
        return (self.load["cache"] or {}).get("hit_rate")

    @property
    def resident_mib(self):
        memory = self.load["memory"]
        return max(s[1] for s in memory["samples"]) / (1 << 20) if memory and memory["samples"] else None


def read(folder):
    """All runs of a model, in the order of their files' names."""
    runs = []
    for path in sorted(folder.glob("*.facts")):
        facts, load = json.loads(path.read_text()), path.parent / f"{path.name.removesuffix('.facts')}.json"
        if "failed" in facts or load.exists():
            runs.append(Run(facts["experiment"], facts["key"], facts["server"], facts,
                            None if "failed" in facts else json.loads(load.read_text()), load))
    return runs


def spread(values, form, factor=1):
    """'median (least–most)'; nothing if there are none."""
    values = [v * factor for v in values if v is not None]
    if not values:
        return ""
    middle, least, most = (format(v, form) for v in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least}–{most})"


class Group:
    """The runs of one point on one server."""

    def __init__(self, runs):
        self.runs = [r for r in runs if r.load]
        self.failed = next((r.facts["failed"] for r in runs if not r.load), None)

    def values(self, get):
        return [get(r) for r in self.runs]

    def middle(self, get):
        values = [v for v in self.values(get) if v is not None]
        return median(values) if values else None


def throughput(r):
    return r.throughput


def first(which):
    return lambda r: r.percentile("first_text_seconds", which)


def ratio_of_first(r):
    return first("p99")(r) / first("p50")(r) if first("p50")(r) else None


class Model:
    def __init__(self, name, runs):
        self.name, self.runs = name, runs
        self.facts = runs[0].facts
        self.groups = {}
        for r in runs:
            self.groups.setdefault((r.experiment, r.key, r.server), []).append(r)
        self.groups = {key: Group(group) for key, group in self.groups.items()}

    def get(self, experiment, key, server=OURS):
        return self.groups.get((experiment, key, server), Group([]))

    def keys(self, experiment):
        """In the order of the numbers in them, as far as there are any."""
        def order(key):
            facts = next(r.facts for r in self.runs if (r.experiment, r.key) == (experiment, key))
            number = key.split("-")[0]
            return (facts["rate"] or 0, float(number) if number.replace(".", "").isdigit() else 0)
        return sorted({r.key for r in self.runs if r.experiment == experiment}, key=order)


COLUMNS = ("requests/s | hits | loads/s | first text, s: p50 | p99 | latency, s: p50 | p99 | in time | failed | memory, MiB | start, s").split(" | ")


def cells(group):
    if group.failed:
        return [f"no figures: {group.failed}", *[""] * (len(COLUMNS) - 1)]

    def seconds(what, which):
        return spread(group.values(lambda r: r.percentile(what, which)), ".2f")

    def loads(r):
        return r.load["cache"]["misses"] / r.summary["seconds"] if r.load["cache"] else None

    return [spread(group.values(throughput), ".2f"), spread(group.values(lambda r: r.hit_rate), ".0%"), spread(group.values(loads), ".1f"),
            seconds("first_text_seconds", "p50"), seconds("first_text_seconds", "p99"), seconds("latency_seconds", "p50"),
            seconds("latency_seconds", "p99"), spread(group.values(lambda r: r.slo), ".1%"), spread(group.values(lambda r: r.summary["failed"]), ".0f"),
            spread(group.values(lambda r: r.resident_mib), ",.0f"), spread([r.facts["start_seconds"] for r in group.runs], ".1f")]


def table(model, experiment):
    yield f"| | server | {' | '.join(COLUMNS)} |"
    yield "|---" * (2 + len(COLUMNS)) + "|"
    rows = [(key, (experiment, key)) for key in model.keys(experiment)]
    if experiment in REFERENCES:
        rows.insert(0, REFERENCES[experiment])
    for key, point in rows:
        for server in (OURS, THEIRS):
            group = model.get(*point, server)
            if not group.runs and not group.failed:
                continue
            rates = {r.facts["rate"] for r in group.runs if r.facts["rate"]}
            shown = f"{median(rates):.2f}/s" if rates else key
            if experiment == "cv":
                shown = f"cv {key}, {shown}"
            elif rates:
                shown += f", {key.replace('-theirs', f' of what {THEIRS} reaches').replace('-ours', ' of what we reach')}"
            yield f"| {shown} | {server} | {' | '.join(cells(group))} |"


# ---- goals


def ratio(a, b):
    return a / b if a is not None and b else None


def goals(models):
    """(what, goal, measured or None, reached)"""
    for m in models:
        clients = str(m.facts.get("clients", m.facts["slots"]))
        value = ratio(m.get("goal", clients).middle(throughput), m.get("goal", clients, THEIRS).middle(throughput))
        goal = 10 if clients == "16" else 5
        yield (f"{m.facts['model']}: {clients} clients with an adapter each, requests/s against {THEIRS}", f"≥ {goal}x",
               value and f"{value:.1f}x", value and value >= goal)
        if m.name != "default":
            continue
        value = m.get("rate", "0.8-ours").middle(ratio_of_first)
        yield "first text p99 / p50 at 80% of our throughput, cv 1.5", "≤ 3", value and f"{value:.1f}", value and value <= 3
        value = ratio(m.get("adapters", "2000").middle(throughput), m.get("adapters", "20").middle(throughput))
        yield "throughput with 2,000 adapters against 20, memory for 50", "≥ 60%", value and f"{value:.0%}", value and value >= 0.6
        # Of the rates at which it keeps half of the requests at most, the lowest.
        for key in m.keys("rate"):
            theirs, ours = m.get("rate", key, THEIRS), m.get("rate", key)
            if theirs.runs and theirs.middle(lambda r: r.slo) <= 0.5 and ours.runs:
                value = ours.middle(lambda r: r.slo)
                yield (f"in time (first text within 6 s) at the rate where {THEIRS} keeps {theirs.middle(lambda r: r.slo):.0%}", "≥ 99%",
                       f"{value:.1%}", value >= 0.99)
                break
        else:
            yield f"in time at the rate where {THEIRS} falls to 50%", "≥ 99%", None, None


def goal_table(models):
    yield "| what | goal | measured | |\n|---|---|---|---|"
    for what, goal, value, reached in goals(models):
        yield f"| {what} | {goal} | {value or 'not measured'} | {'' if value is None else 'reached' if reached else '**missed**'} |"


# ---- the document


def losses(models):
    """Where llama-server is better: the median of a figure at the same point."""
    figures = (("requests/s", throughput, 1), ("first text p50", first("p50"), -1), ("first text p99", first("p99"), -1),
               ("latency p50", lambda r: r.percentile("latency_seconds", "p50"), -1), ("memory", lambda r: r.resident_mib, -1))
    for m in models:
        for experiment, key, server in m.groups:
            ours, theirs = m.get(experiment, key), m.get(experiment, key, THEIRS)
            if server != THEIRS or not theirs.runs or not ours.runs:
                continue
            for name, get, sign in figures:
                a, b = ours.middle(get), theirs.middle(get)
                if a is not None and b is not None and sign * b > sign * a:
                    yield f"- {m.facts['model']}, {experiment} {key}: {name} {b:.3g} against our {a:.3g}"


def document(models, versions, cpu, seconds):
    yield "# Evaluation\n"
    yield INTRODUCTION
    yield "## Machine and versions\n"
    yield f"- {cpu}, the load generator on the same cores; {time.strftime('%Y-%m-%d')}; runs of {seconds}"
    yield from (f"- {v}" for v in versions)
    yield "\n## Goals\n"
    yield from goal_table(models)
    if NOTES.exists():
        yield "\n## Notes\n"
        yield NOTES.read_text().strip()
    yield "\n## Where llama-server is better\n"
    yield "\n".join(losses(models)) or "In nothing that was measured at the same point."
    for m in models:
        yield f"\n## {m.facts['model']}, {m.facts['slots']} slots"
        for experiment, title in TITLES.items():
            if m.keys(experiment):
                yield f"\n### {title}\n"
                yield from table(m, experiment)


def write(args, runs, versions, cpu):
    """runs: {name of a model: what `read` found}"""
    models = [Model(name, found) for name, found in runs.items() if found]
    measured = sorted({r.facts["seconds"] for m in models for r in m.runs if r.load})
    if not measured:
        print("paper: nothing was measured")
        return
    lengths = f"{measured[0]} s" if len(measured) == 1 else f"{measured[0]} to {measured[-1]} s"
    args.evaluation.write_text("\n".join(document(models, versions, cpu, lengths)) + "\n")
    print(f"paper: {args.evaluation}")
    for m in models:
        report(args, m)


def report(args, model):
    """The page of a model's runs. Our server with something switched off is a server of its own there."""
    files = {OURS: [], THEIRS: []}
    for r in model.runs:
        if r.load:
            files.setdefault(f"{r.server}, {r.key}" if r.facts.get("options") else r.server, []).append(str(r.path))
    files = {server: paths for server, paths in files.items() if paths}
    page = args.out / f"report-{Path(model.name).stem}.html"
    done = subprocess.run([sys.executable, str(REPORT), *(f for server, paths in files.items() for f in (f"{server}=", *paths)), "-o", str(page),
                           "--title", f"{model.facts['model']}: edgelora and llama-server", "--baseline", THEIRS if THEIRS in files else OURS],
                          capture_output=True, text=True)
    print(f"paper: {page}" if done.returncode == 0 else f"paper: no page of {model.name}: {done.stderr.strip()}")
