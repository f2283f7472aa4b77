#!/usr/bin/env python3
"""Makes the manual pages (docs/man) and the shells' completions (deploy/completions) of the programs' own tables.

tools/manual/make.py [--check] [PROGRAM]: PROGRAM is build/edgelora where it is not said, and edgelora-bench is beside it. What is made is
kept in the repository, since a program that was built for another machine cannot be asked. --check changes nothing: exit status 1 and the names of files that are not as
they would be made.
"""

import pathlib
import sys

import pages
import shells
import tables

ROOT = pathlib.Path(__file__).resolve().parents[2]


def made(program):
    programs = {path.name: tables.walk(path) for path in (program, program.with_name("edgelora-bench"))}
    files = {ROOT / "docs/man" / name: text for name, text in pages.all_pages(*programs.values()).items()}
    for name, commands in programs.items():
        files[ROOT / f"deploy/completions/{name}.bash"] = shells.bash(name, commands)
        files[ROOT / f"deploy/completions/_{name}"] = shells.zsh(name, commands)
    return files


def main():
    words = sys.argv[1:]
    check = "--check" in words
    words = [w for w in words if w != "--check"]
    files = made(pathlib.Path(words[0]) if words else ROOT / "build/edgelora")
    stale = [p for p, text in files.items() if not p.exists() or p.read_text() != text]
    stale += [p for folder in {p.parent for p in files} for p in folder.glob("*edgelora*") if p not in files]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not what tools/manual/make.py makes", file=sys.stderr)
        elif path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return check and bool(stale)


if __name__ == "__main__":
    sys.exit(main())
