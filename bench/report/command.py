"""The command line of tools/report."""

import argparse
import os
import re
import sys
from pathlib import Path

from .as_json import write_json
from .comparison import Comparison
from .fields import Refused
from .markdown import write_markdown
from .run import DIMENSIONS, read_run
from .text import printable

ROOT = Path(__file__).resolve().parents[2]
RUNS_MAX = 1000

ABOUT = """\
Reads what 'edgelora-bench load --json' wrote, one FILE a run, and writes a page with tables and charts that needs no other file
and no network. Runs of one server with one workload are repetitions: the tables show their median, least and most.
NAME=FILE calls the server NAME instead of what the file calls it; NAME= alone does so for all files after it."""

EXAMPLES = """\
examples:
  tools/report run.json -o report.html
  tools/report ours= ours-*.json llama-server= theirs-*.json -o report.html --baseline llama-server"""

NO_MATPLOTLIB = """\
the charts of a page need matplotlib, which this Python does not have. One of these installs it:
  apt-get install python3-matplotlib
  python3 -m pip install -r bench/report/requirements.txt
--markdown and --json need nothing."""


def version():
    """Of this source. tools/version knows the commit too, which would make two reports of the same files differ."""
    found = re.search(r"^  version: '(.*)',", (ROOT / "meson.build").read_text(), re.MULTILINE)
    return found[1] if found else "?"


def _parser():
    parser = argparse.ArgumentParser("tools/report", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="tools/report [NAME=]FILE... [-o FILE] [--markdown FILE] [--json FILE] [options]", allow_abbrev=False)
    parser.add_argument("files", nargs="*", metavar="[NAME=]FILE", help="of a run; '-': standard input")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--out", metavar="FILE", help="the page (HTML), one file that needs no other; '-': standard output")
    output.add_argument("--markdown", metavar="FILE", help="its tables as Markdown")
    output.add_argument("--json", metavar="FILE", help="its figures as JSON")
    content = parser.add_argument_group("content")
    content.add_argument("--title", metavar="TEXT", default="edgelora: load report", help="of the report")
    content.add_argument("--baseline", metavar="NAME", help="a server's name: each one is put beside it where both had the same workload; "
                                                            "or a row's whole name: all are put beside that one")
    content.add_argument("--group", metavar="KEY", default="server", help=f"what names a line of the charts: {', '.join(DIMENSIONS)}")
    return parser


def _named_files(arguments):
    """[(path, name or None)]. What stands before a "=" is no name when it has a "/"."""
    name_of_rest = None
    for argument in arguments:
        found = re.match(r"([^/=]+)=(.*)", argument, re.DOTALL)
        if found and not found[2]:
            name_of_rest = found[1]
        elif found:
            yield found[2], found[1]
        else:
            yield argument, name_of_rest


def _write(path, text):
    data = text.encode()
    try:
        if path == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            Path(path).write_bytes(data)
    except OSError as error:
        if path == "-":  # or Python's own attempt at the end would tell once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Refused(f"{'standard output' if path == '-' else printable(path)}: {error.strerror}") from None


def _page_writer():
    """matplotlib is asked for before files are read, and only where it is needed."""
    try:
        from .page import write_page
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("matplotlib", "numpy"):
            raise
        raise Refused(NO_MATPLOTLIB) from None
    return write_page


def run(args):
    write_page = _page_writer() if args.out else None
    runs = [read_run(path, name) for path, name in _named_files(args.files)]
    report = Comparison(args.title, runs, args.group, args.baseline)
    if args.out:
        _write(args.out, write_page(report, version()))
    if args.markdown:
        _write(args.markdown, write_markdown(report))
    if args.json:
        _write(args.json, write_json(report, version()))


def main(arguments=None):
    """The exit status: 0; 1: a file or a wish was refused; 2: the command line is wrong."""
    parser = _parser()
    args = parser.parse_intermixed_args(arguments)
    n = sum(1 for _ in _named_files(args.files))
    if not n:
        parser.error("no FILE of a run was given")
    if n > RUNS_MAX:
        parser.error(f"{n} files are more than {RUNS_MAX}")
    if not (args.out or args.markdown or args.json):
        parser.error("one of --out, --markdown and --json is needed")
    try:
        run(args)
    except Refused as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("report: out of memory", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
