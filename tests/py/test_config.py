"""The configuration file of `serve`: every option by its name, what is wrong is said with its line, and the command line comes first.

docs/operation.md names the promises that these tests check."""

import re
import subprocess

import pytest
from conftest import BINARY, ROOT

EXAMPLE = ROOT / "deploy" / "edgelora.yaml"


def serve(*args, cwd=None):
    return subprocess.run([BINARY, "serve", *map(str, args)], capture_output=True, text=True, timeout=60, cwd=cwd)


def with_file(tmp_path, text, *args, name="edgelora.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return serve("--config", path, *args)


def options():
    """The long names that the help has, but those that a file does not."""
    found = re.findall(r"^  (?:-\w, |    )--([a-z0-9-]+)(?: ([A-Za-z=|]+))?", serve("--help").stdout, re.M)
    assert len(found) > 40
    return {name: value for name, value in found if name not in ("config", "check")}


def keys_of_example():
    return re.findall(r"^#?([a-z0-9-]+):", EXAMPLE.read_text(), re.M)


# ---------------------------------------------------------------- the example


def test_the_example_has_every_option_once():
    assert sorted(keys_of_example()) == sorted(options())


# ---------------------------------------------------------------- what is wrong is said

WRONG = [
    ("slots: 0", 1, "slots: '0' is not a whole number from 1 to 4096"),
    ("# a comment\n\nslots: many", 3, "slots: 'many' is not a whole number from 1 to 4096"),
    ("slots: '8'", 1, "slots: is a number, without quotes"),
    ("slots: 99999999999999999999", 1, "slots: '99999999999999999999' is not a whole number from 1 to 4096"),
    ("slots: [8]", 1, "slots: is one value, and this is a list"),
    ("slots:", 1, "slots: has no value; leave it out for the default"),
    ("slots: ~", 1, "slots: has no value"),
    ("slots: {a: b}", 1, "slots: a value is a text, a number, true or false, or a list of these"),
    ("memory: 4Q", 1, "memory: '4Q' is not a size such as 512M or 4G"),
    ("memory: -1", 1, "memory: '-1' is not a size"),
    ("router-margin: nan", 1, "router-margin: 'nan' is not a number from -1 to 100"),
    ("strict: yes", 1, "strict: 'yes' is neither true nor false"),
    ("strict: 'true'", 1, "strict: is true or false, without quotes"),
    ("adapters: one", 1, "adapters: is a list: write [DIR], or lines that begin with '- '"),
    ("adapters: [a, [b]]", 1, "adapters: a value is a text"),
    ("adapters:\n  - a\n  -", 3, "adapters: has no value"),
    ("port: 1\nslots: 2\nport: 3", 3, "port: is there twice, in line 1 too"),
    ("slot: 8", 1, "slot: there is no such key; did you mean 'slots'?"),
    ("nonsense-nowhere: 8", 1, "nonsense-nowhere: there is no such key"),
    ("config: other.yaml", 1, "config: there is no such key"),
    ("help: true", 1, "help: there is no such key"),
    ("- slots: 8", 1, "this is no mapping"),
    ("slots", 1, "this is no mapping"),
    ("slots: 8\n---\nslots: 9", 2, "a second document begins here; a file has one"),
    ("[a]: 8", 1, "a key: a key is a text"),
    ("slots: 8\n  port: 9", 2, "mapping values are not allowed in this context"),
    ("host: 'a", 1, "found unexpected end of stream"),
    ('host: "a\\0b"', 1, "host: has a NUL character"),
    ('memory: "\\e[31m"', 1, "memory: has a control character"),
    ('memory: "4\\nG"', 1, "memory: '4 G' is not a size"),
    ('"a\\nb": 1', 1, "a b: there is no such key"),
    ("adapters: &a [x]", 1, "anchors (&) are not read"),
    ("host: *a", 1, "aliases (*) are not read"),
    ("slots: !!int 8", 1, "tags (!) are not read"),
    ("<<: {slots: 8}", 1, "<<: a value is a text"),
]


@pytest.mark.parametrize("text, line, message", WRONG, ids=[w[0][:24].replace("\n", "|") for w in WRONG])
def test_what_is_wrong_is_said_with_file_line_and_key(tmp_path, text, line, message):
    done = with_file(tmp_path, text)
    assert done.returncode == 2 and not done.stdout
    assert f"edgelora: {tmp_path}/edgelora.yaml, line {line}: " in done.stderr and message in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


HOSTILE = {
    "bomb": "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n",
    "deep": "alias: " + "[" * 100_000,
    "wide": "".join(f"key{i}: 1\n" for i in range(50_000)),
    "not UTF-8": b"host: \xff\xfe",
    "NUL": b"host: a\0b",
    "UTF-16": "slots: 8".encode("utf-16"),
    "binary": bytes(range(256)) * 64,
    "too large": "#" * ((1 << 20) + 1),
    "escape": 'host: "\\u001b[31m"\nslots: x',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_error_in_one_line(tmp_path, name):
    done = with_file(tmp_path, HOSTILE[name])
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr[-500:]
    assert done.stderr.startswith(f"edgelora: {tmp_path}/edgelora.yaml") and "\x1b" not in done.stderr


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    for path, why in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "is not a regular file"), ("/dev/zero", "is not a regular file")):
        done = serve("--config", path)
        assert (done.returncode, done.stderr) == (1, f"edgelora: {path}: {why}\n")


# ---------------------------------------------------------------- what it says counts


def test_relative_paths_begin_in_the_files_folder(tmp_path):
    done = with_file(tmp_path, "model: models/none.gguf", "-q")
    assert f"{tmp_path}/models/none.gguf: No such file" in done.stderr and done.returncode == 1
    done = serve("--config", "edgelora.yaml", "-q", cwd=tmp_path)
    assert "edgelora: models/none.gguf: No such file" in done.stderr.replace("cannot open ", "")
    assert "/none/a.gguf: No such file" in with_file(tmp_path, "model: /none/a.gguf").stderr


def test_the_command_line_comes_first(tmp_path):
    assert "named.gguf: No such file" in with_file(tmp_path, "model: file.gguf", "-m", "named.gguf").stderr
    done = with_file(tmp_path, "speculate: 99", "--speculate", "nonsense")
    assert done.returncode == 2 and "'nonsense' is not auto, off or a number" in done.stderr
    assert "'99' is not auto" in with_file(tmp_path, "speculate: 99").stderr
    # What is wrong in a file is an error even where it does not count.
    assert "slots: '0' is not" in with_file(tmp_path, "slots: 0", "--slots", "8").stderr


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n...\n", "%YAML 1.1\n---\n# nothing\n"])
def test_an_empty_file_says_nothing(tmp_path, text):
    done = with_file(tmp_path, text, "-m", "none.gguf")
    assert done.returncode == 1 and "none.gguf" in done.stderr
