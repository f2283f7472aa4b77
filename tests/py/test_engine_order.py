"""The files of src/engine call each other in one direction, as its README says."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = Path(os.environ.get("EDGELORA_BIN", ROOT / "build/edgelora")).parent / "src/engine/libel_engine.a.p"


def listed():
    text = (ROOT / "src/engine/README.md").read_text()
    block = re.search(r"### Which file may call which.*?```\n(.*?)```", text, re.S).group(1)
    return {name: i for i, line in enumerate(block.splitlines()) for name in line.split()}


def symbols():
    """Symbols that each object defines, and those that it wants."""
    defined, wanted = {}, {}
    for path in sorted(OBJECTS.glob("*.c.o")):
        name = path.name.removesuffix(".c.o")
        wanted[name] = set()
        for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
            *_, kind, symbol = line.split()
            if not symbol.startswith("el_"):
                continue
            if kind == "U":
                wanted[name].add(symbol)
            elif kind in "TDBR":
                defined[symbol] = name
    return defined, wanted


@pytest.mark.skipif(not OBJECTS.is_dir(), reason="the program has no build folder")
def test_files_call_files_above_them_alone():
    order, (defined, wanted) = listed(), symbols()
    assert set(order) == {p.stem for p in (ROOT / "src/engine").glob("*.c")} == set(wanted)
    upward = [f"{name} calls {symbol} of {defined[symbol]}" for name, some in wanted.items() for symbol in sorted(some)
              if defined.get(symbol, name) != name and order[defined[symbol]] >= order[name]]
    assert not upward
