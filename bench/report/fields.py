"""Values out of a run's JSON file, checked: a failure names the file and the field."""

import json
import math
import sys

from .text import printable

FILE_MAX = 1 << 30  # bytes
ROWS_MAX = 5_000_000  # requests, or samples of memory: a thousand a second for an hour and a half
FIGURE_MAX = 1e15  # no figure of a run is greater: a day in microseconds, or a petabyte


class Refused(Exception):
    """A file or a wish that cannot be met; its text is for the user."""


def is_number(value):
    """A number that a figure may be; NaN and infinity, which Python reads, are none."""
    return type(value) in (int, float) and 0 <= value <= FIGURE_MAX


def _read(path):
    parts, left = [], FILE_MAX + 1
    source = sys.stdin.buffer if path == "-" else open(path, "rb")
    try:
        # In pieces, so that memory is asked for what is there alone.
        while left and (part := source.read(min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
    finally:
        if path != "-":
            source.close()
    if not left:
        raise Refused(f"is longer than {FILE_MAX} bytes")
    return b"".join(parts)


def _unique(pairs):
    members = dict(pairs)
    if len(members) < len(pairs):
        seen = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise Refused(f"'{name[:60]}' is twice in one object")
    return members


def _parse(data):
    odd = []

    def constant(name):  # NaN and the infinities, which are no JSON
        odd.append(name)
        return math.nan

    try:
        root = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise Refused(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise Refused("its brackets are nested too deeply") from None
    except ValueError:  # the only other one: Python's own limit
        raise Refused("holds a number of more than 4300 digits") from None
    return root, odd


class File:
    """One parsed file. Fields are named by their keys with points between them: "a.b" of {"a": {"b": 1}}."""

    def __init__(self, path):
        self.path = path
        try:
            self.root, odd = _parse(_read(path))
        except OSError as error:
            raise Refused(f"{printable(path)}: {error.strerror}") from None
        except Refused as error:
            raise Refused(printable(f"{path}: {error}")) from None
        if not isinstance(self.root, dict):
            raise Refused(f"{printable(path)}: is no object")
        if odd:
            raise self.wrong(self._field_of_nan(), f"{odd[0]} is no number")

    def _field_of_nan(self):
        """The way to the first NaN. Neither recursive nor with a list of what is left: a file may be deep and large."""
        ways = [("", iter([("", self.root)]))]  # the members that are left of each container that this one is in
        while ways:
            parent, left = ways[-1]
            step, value = next(left, (None, None))
            if step is None:
                ways.pop()
                continue
            field = parent + (step if parent or not step.startswith(".") else step[1:])
            if isinstance(value, float) and math.isnan(value):
                return field
            if isinstance(value, dict):
                ways.append((field, ((f".{key[:60]}", v) for key, v in value.items())))
            elif isinstance(value, list):
                ways.append((field, ((f"[{i}]", v) for i, v in enumerate(value))))
        return "?"

    def wrong(self, field, what):
        return Refused(printable(f"{self.path}: {field}: {what}"))

    def find(self, field):
        """None: it is absent or null."""
        value, done = self.root, []
        for key in field.split("."):
            if value is None:
                return None
            if not isinstance(value, dict):
                raise self.wrong(".".join(done), "is no object")
            value = value.get(key)
            done.append(key)
        return value

    def number(self, field):
        value = self.find(field)
        if value is None:
            return None
        if type(value) not in (int, float):
            raise self.wrong(field, "is no number")
        if not is_number(value):
            raise self.wrong(field, f"{_short(value)} is not from 0 to {FIGURE_MAX:g}")
        return float(value)

    def _of(self, field, kind, what):
        value = self.find(field)
        if value is not None and not isinstance(value, kind):
            raise self.wrong(field, what)
        return value

    def text(self, field):
        return self._of(field, str, "is no text")

    def flag(self, field):
        return bool(self._of(field, bool, "is neither true nor false"))

    def members(self, field):
        return self._of(field, dict, "is no object") or {}

    def rows(self, field):
        """A table's rows."""
        value = self.find(field)
        if not isinstance(value, list):
            raise self.wrong(field, "is no list")
        if len(value) > ROWS_MAX:
            raise self.wrong(field, f"has more than {ROWS_MAX} entries")
        return value

    def columns(self, field, names):
        """Where the columns of these names stand in a table's rows."""
        value = self.find(field)
        if not isinstance(value, list):
            raise self.wrong(field, "is no list")
        for name in names:
            if name not in value:
                raise self.wrong(field, f"has no '{name}'")
        return [value.index(name) for name in names]

    def row(self, field, place, row):
        if not isinstance(row, list):
            raise self.wrong(f"{field}[{place}]", "is no list")

    def cell(self, field, place, row, column, name):
        """A time or a size of a row; None where it is null."""
        value = row[column] if column < len(row) else ""
        if value is None:
            return None
        if not is_number(value):
            raise self.wrong(f"{field}[{place}]", f"'{name}' is no number from 0 to {FIGURE_MAX:g}")
        return float(value)


def _short(value):
    """A number that may be of any size: a great integer is no float, and has up to 4300 digits."""
    return f"{value:g}" if isinstance(value, float) or abs(value) < 10**300 else "a number of more than 300 digits"
