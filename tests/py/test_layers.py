"""Folders include each other as src/layers.txt says, and meson's libraries say the same. Needs no build; as a program it prints what
breaks a rule.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def read_table(root):
    """{folder: (those that it may include, its public headers)}, in the table's order."""
    text = re.sub(r"\n +", " ", (root / "src/layers.txt").read_text())
    lines = re.findall(r"^(\w+):(.*)\|(.*)$", text, re.M)
    return {folder: (uses.split(), [f"{name}.h" for name in public.split()]) for folder, uses, public in lines}


def folder_of(root, path):
    """The layer that a file is in, and its path in there."""
    first, *rest = path.relative_to(root).parts
    return (rest[0], "/".join(rest[1:])) if first == "src" else (first, "/".join(rest))


def broken_includes(root):
    table, broken = read_table(root), []
    for path in sorted((root / "src").rglob("*.[ch]")) + sorted((root / "bench").rglob("*.[ch]")):
        folder = folder_of(root, path)[0]
        uses = table[folder][0]
        for name in re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.M):
            places = [(base / name).resolve() for base in (path.parent, root / "src", root)]
            target = next((p for p in places if p.is_file()), None)
            if not target:  # the system's, a generated one, or edgelora.h
                continue
            other, header = folder_of(root, target)
            if other == folder or uses == ["*"]:
                continue
            if other not in uses:
                broken.append(f"{path.relative_to(root)}: {folder} may not include {other} ({name})")
            elif header not in table[other][1]:
                broken.append(f"{path.relative_to(root)}: {name} is private to {other}")
    return broken


def broken_order(root):
    """Where the table contradicts itself, names headers that are not there, or differs from meson's libraries."""
    table, broken, reached = read_table(root), [], {}
    subdirs = r"^\s*subdir\('src/(\w+)'\)"
    library, programs = (root / "meson.build").read_text().split("both_libraries", 1)
    library, programs = re.findall(subdirs, library, re.M), re.findall(subdirs, programs, re.M)
    order = [f for f in library + programs if f in table]
    if order != [f for f in table if f in order]:
        broken.append(f"meson.build has the order {order}")
    for i, (folder, (uses, public)) in enumerate(table.items()):
        home = root / "src" / folder
        if not home.is_dir():
            continue
        broken += [f"{folder} may include {u}, which is not above it" for u in uses if u not in list(table)[:i]]
        broken += [f"{folder} has no {h}" for h in public if not (home / h).is_file()]
        linked = set(re.findall(r"\b(\w+)_dep\b", (home / "meson.build").read_text())) & set(table) - {folder}
        broken += [f"{folder} links {u}, which it may not include" for u in sorted(linked) if u not in uses]
        reached[folder] = linked.union(*(reached.get(u, ()) for u in linked))
        if folder in library:
            broken += [f"{folder} may include {u}, which it does not link" for u in uses if u not in reached[folder]]
    return broken


def broken_inside_server(root):
    """Includes from a folder of src/server to one after it, and folders that the table lacks."""
    home, broken = root / "src/server", []
    order = re.search(r"^server/: (.*)$", (root / "src/layers.txt").read_text(), re.M)[1].split()
    for path in sorted(home.rglob("*.[ch]")):
        own = path.relative_to(home).parts[0] if path.parent != home else None
        if own and own not in order:
            broken.append(f"src/layers.txt lacks server/{own}")
            continue
        for other, header in re.findall(r'^\s*#\s*include\s*"server/(?:(\w+)/)?(\w+\.h)"', path.read_text(), re.M):
            if own and (header != "server.h" if not other else other not in order[: order.index(own) + 1]):
                broken.append(f"{path.relative_to(root)}: {own} may not include {other or 'server'} ({header})")
    return broken


def test_folders_include_what_they_may():
    assert broken_includes(ROOT) == []


def test_folders_inside_server_depend_one_way():
    assert broken_inside_server(ROOT) == []


def test_the_table_and_meson_agree():
    assert broken_order(ROOT) == []


def test_what_breaks_a_rule_is_found(tmp_path):
    def write(name, text=""):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    write("meson.build", "subdir('src/base')\nsubdir('src/model')\nboth_libraries()\nsubdir('src/cli')\n")
    write("src/layers.txt", "base: | buf\nmodel: base | model\ncli: base |\nbench: * |\n")
    write("src/base/meson.build", "base_dep = 1")
    write("src/model/meson.build", "model_dep = base_dep")
    write("src/cli/meson.build")
    write("src/base/buf.h")
    write("src/base/own.h")
    write("src/base/buf.c", '#include "base/own.h"\n#include <stdio.h>\n')
    write("src/model/model.h", '#include "base/buf.h"\n#include "edgelora.h"\n')
    write("bench/steps.c", '#include "base/own.h"\n#include "model/model.h"\n')
    assert broken_includes(tmp_path) == [] and broken_order(tmp_path) == []

    write("src/base/up.c", '#include "model/model.h"\n')
    write("src/cli/past.c", '  # include "../model/model.h"\n')
    write("src/model/private.c", "#include <base/own.h>\n")
    write("src/model/bench.c", '#include "bench/steps.c"\n')
    assert broken_includes(tmp_path) == [
        "src/base/up.c: base may not include model (model/model.h)",
        "src/cli/past.c: cli may not include model (../model/model.h)",
        "src/model/bench.c: model may not include bench (bench/steps.c)",
        "src/model/private.c: base/own.h is private to base",
    ]

    write("src/layers.txt", "server/: common http\n")
    write("src/server/common/a.c", '#include "server/server.h"\n#include "server/common/a.h"\n#include "server/http/b.h"\n')
    write("src/server/http/b.c", '#include "server/common/a.h"\n#include "server/private.h"\n')
    write("src/server/new/c.c")
    write("src/server/server.c", '#include "server/http/b.h"\n')
    assert broken_inside_server(tmp_path) == [
        "src/server/common/a.c: common may not include http (b.h)",
        "src/server/http/b.c: http may not include server (private.h)",
        "src/layers.txt lacks server/new",
    ]

    write("src/layers.txt", "model: base | model lost\nbase: | buf\ncli: base |\n")
    write("src/model/meson.build", "model_dep = cli_dep")
    assert broken_order(tmp_path) == [
        "meson.build has the order ['base', 'model', 'cli']",
        "model may include base, which is not above it",
        "model has no lost.h",
        "model links cli, which it may not include",
        "model may include base, which it does not link",
    ]


if __name__ == "__main__":
    sys.exit("\n".join(broken_includes(ROOT) + broken_inside_server(ROOT) + broken_order(ROOT)) or None)
