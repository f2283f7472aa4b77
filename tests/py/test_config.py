"""The configuration file of `serve`: every option by its name, what is wrong is said with its line, and the command line comes first.

docs/serving.md names the promises that these tests check."""

import re
import shutil
import subprocess

import pytest
from conftest import BINARY, ROOT, Server
from test_server_adapters import LORA, TINY

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
    ("slots: 0", 1, "slots: '0' is not a whole number from 1 to 256"),
    ("# a comment\n\nslots: many", 3, "slots: 'many' is not a whole number from 1 to 256"),
    ("slots: '8'", 1, "slots: is a number, without quotes"),
    ("slots: 99999999999999999999", 1, "slots: '99999999999999999999' is not a whole number from 1 to 256"),
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


# ---------------------------------------------------------------- --check

KEY_FILE = "sk-first-0123456789\nsk-second-0123456789 one\n"


@pytest.fixture
def right(tmp_path):
    """A configuration that is right, and what it names."""
    shutil.copytree(LORA / "tiny-peft", tmp_path / "adapters" / "one")
    (tmp_path / "keys").write_text(KEY_FILE)
    (tmp_path / "keys").chmod(0o600)
    return "adapters: [adapters]\napi-keys: keys\nmemory: 64M\nctx-size: 256\nslots: 4\nport: 0\n"


def test_check_says_what_it_would_do_with_memory(tmp_path, right):
    done = with_file(tmp_path, right, "-m", TINY, "--check")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines())
    said = {name: value.strip() for name, value in lines.items()}
    assert said["configuration"] == f"{tmp_path}/edgelora.yaml, 6 keys"
    assert said["model"] == f"{TINY}, llama"
    assert said["pool"].startswith("64.0 MiB for keys, values and adapters, in 128 blocks of 512 KiB")
    assert re.match(r"256 tokens a sequence, [\d.]+ MiB; \d+ whole ones at once beside an adapter, for 4 slots", said["contexts"])
    found = re.match(r"1, and 0 that cannot be used; one of them takes ([\d.]+) MiB, and (\d+) fit beside a whole context", said["adapters"])
    assert found and 0 < float(found[1]) * int(found[2]) <= 64
    assert said["api keys"] == f"2 in {tmp_path}/keys" and said["address"] == "127.0.0.1, any free port"


def test_what_check_says_is_what_is_served(tmp_path, right):
    path = tmp_path / "edgelora.yaml"
    path.write_text(right)
    contexts = re.search(r"contexts: +(\d+) tokens a sequence", serve("--config", path, "-m", TINY, "--check", "--ctx-size", 0).stdout)
    s = Server([BINARY, "serve", "--config", path, "-m", TINY, "--ctx-size", "0"])
    models = s.get("/v1/models", headers={"Authorization": "Bearer sk-first-0123456789"}).json()["data"]
    assert s.stop() == 0
    assert models[0]["max_model_len"] == int(contexts[1]) and models[1]["id"] == "one"


def test_check_tells_an_adapter_that_cannot_be_used(tmp_path, right):
    (tmp_path / "adapters" / "one" / "adapter_config.json").write_text("{")
    done = with_file(tmp_path, right, "-m", TINY, "--check")
    assert done.returncode == 0 and "adapter one: " in done.stderr and "0, and 1 that cannot be used; one of rank 16 takes" in done.stdout


@pytest.mark.parametrize(
    "line, status, message",
    [("slots: 0", 2, "slots: '0' is not"), ("model: none.gguf", 1, "none.gguf: No such file"), ("adapters: [none]", 1, "none"),
     ("adapter: [a=none]", 1, "none"), ("adapter: [none]", 2, "'none' is not NAME=PATH"), ("api-keys: none", 1, "none: No such file"),
     ("router: none", 1, "none"), ("chat-template: none", 1, "none"), ("preset: none", 1, "none"), ("weights: q3", 1, "q3"), ("isa: none", 1, "none"),
     ("speculate: 99", 2, "'99' is not auto"), ("memory: 1K", 1, "memory: "), ("host: ''", 1, "host is empty"),
     ("chat-template-kwargs: '[]'", 1, "chat-template-kwargs: it is not a JSON object"), ("allow-adapters-from: [none]", 1, "none"),
     ("tls-cert: none", 1, "tls-key is missing"), ("tls-cert: none\ntls-key: none", 1, "tls-cert: ")],
)
def test_check_fails_as_a_start_would(tmp_path, line, status, message):
    done = with_file(tmp_path, line, *([] if "model" in line else ["-m", TINY]), "--check")
    assert (done.returncode, done.stdout) == (status, "") and message in done.stderr, done.stderr


def test_the_example_is_right_and_so_are_its_comments(tmp_path):
    assert serve("--config", EXAMPLE, "-m", TINY, "--check").returncode == 0
    all_of_it = re.sub(r"^#([a-z0-9-]+:|  - )", r"\1", EXAMPLE.read_text(), flags=re.M)
    done = with_file(tmp_path, all_of_it, "-m", TINY, "--check")  # the files that it names are nowhere
    assert done.returncode == 1 and "line" not in done.stderr, done.stderr
    assert len(re.findall(r"^[a-z0-9-]+:", all_of_it, re.M)) == len(options())
