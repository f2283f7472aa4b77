"""What a report shows of a run's file as it is: machine, versions, options, errors."""

import collections
import datetime
import math

from .fields import is_number
from .text import clean

FACTS_MAX = 200
YEAR_9999 = 253402300799  # in seconds since the epoch: beyond it is no date of a run


def _value_text(file, field, value):
    """A scalar, or two numbers ("[8, 128]" is "8–128"); None: something else, which is not shown."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise file.wrong(field, "is no finite number")
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) == 2 and all(type(end) in (int, float) for end in value):
        return "–".join(_value_text(file, field, end) for end in value)
    return None


def _members(file, field, prefix):
    for key, value in file.members(field).items():
        if (text := _value_text(file, f"{field}.{clean(key)}", value)) is not None:
            yield f"{prefix} {key}".strip().replace("_", " "), text


def _began(file):
    began = file.number("began")
    if began is None:
        return
    if began > YEAR_9999:
        raise file.wrong("began", "is no time")
    yield "began", datetime.datetime.fromtimestamp(began, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _asked_for_most(file):
    """Whether the load was as told can be seen by who was asked for most."""
    adapters = file.find("adapters")
    if not isinstance(adapters, list) or not adapters:
        return
    (column,) = file.columns("request_columns", ["adapter"])
    asked = (row[column] for row in file.rows("requests") if column < len(row))
    counts = collections.Counter(adapter for adapter in asked if type(adapter) is int and 0 <= adapter < len(adapters))
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    names = (adapters[place] if isinstance(adapters[place], str) else "?" for place, _ in most)
    if most:
        yield "asked for most", ", ".join(f"{clean(name)} ({n})" for name, (_, n) in zip(names, most))


def _errors(file):
    for kind, error in file.members("errors").items():
        field = f"errors.{clean(kind)}"
        if not isinstance(error, dict):
            raise file.wrong(field, "is no object")
        n, first = error.get("n"), error.get("first")
        if not is_number(n):
            raise file.wrong(f"{field}.n", "is no count")
        yield f"errors: {kind}", f"{n:.0f}" + (f"; the first: {first}" if isinstance(first, str) else "")


def facts_of(file):
    """[(name, value)], neither cleaned nor escaped."""
    parts = [_began(file), _members(file, "machine", "machine"), _members(file, "server", "server")]
    version, source = file.find("version"), file.find("energy.source")
    parts.append([("load generator", text)] if (text := _value_text(file, "version", version)) is not None else [])
    parts.append(_members(file, "workload", ""))
    parts.append([("energy source", text)] if (text := _value_text(file, "energy.source", source)) is not None else [])
    parts += [_asked_for_most(file), _errors(file)]
    facts = []
    for part in parts:
        for fact in part:
            if len(facts) == FACTS_MAX:
                raise file.wrong("machine, server, workload and errors", f"more than {FACTS_MAX} facts")
            facts.append(fact)
    return facts
