"""Every command that README.md and docs/ show is run as it stands there, or stands in NOT_RUN with a reason.

Commands run in a folder that has what pages name (a model, adapters, files), with this build's programs first in PATH. A page's
`edgelora serve` is started, and what follows in the block asks it; a block without one asks the server of the API's page. Should
something else listen on port 8080, these are asked on another port. An answer that stands beside a command, as comments or as JSON, is
compared: the names of its members must be there, and what a model says must be what it says."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from conftest import BENCH, BINARY, MODEL, ROOT, Server
from load_runs import load_run

pytestmark = [pytest.mark.long, pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)"),
              pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")]

SERVER = "edgelora serve --adapters adapters --router router.gguf"  # of blocks that start none
PORT = "8080"
SECONDS = 300  # that a command may take: a hundred times what the longest takes on an idle machine

MEASURES = "measures for half a minute or more; tests/py/test_cli.py and test_bench_*.py run each of these with small sizes"
COSTS = "needs what the command before measures; tests/py/test_bench_plan.py has such a file"
BUILDS = "builds, with packages and models from the network; tools/test and .ci/run are what it does"
OPERATORS = "needs what an operator has: an installed service, an object store"

# What is not run: a command, as a page shows it without its comment, and the reason. One that ends in " ..." stands for all that begin so.
NOT_RUN = {
    "make serve": BUILDS,
    "make serve MODEL=gemma3-270m": BUILDS,
    "make serve MODEL=qwen2.5-coder-0.5b": BUILDS,
    "make fuzz ...": "runs for ten minutes",
    "make fuzz-long ...": "runs for hours",
    "meson test -C build kernels kernels_amx low_rank step": "is a part of tools/test",
    "cc example.c $(pkg-config --cflags --libs edgelora)": "needs an installed library; tests/install does this",
    "EDGELORA_MODEL=$(tools/fetch-model) EDGELORA_BIN=$PWD/build/edgelora build/venv/bin/python -m pytest -q tests/py/test_cli.py":
        "runs for a minute; it is how this file is run",
    "tools/soak.py ...": "runs for half an hour; tools/test tsan has a short one",
    "podman ...": "needs podman and the network; tests/py/test_container.py reads the file",
    "rclone ...": OPERATORS,
    "edgelora serve --config /etc/edgelora/edgelora.yaml": OPERATORS,
    "edgelora-bench batch ...": MEASURES,
    "edgelora-bench kernels ...": MEASURES,
    "edgelora-bench load ...": MEASURES,
    "edgelora-bench peak ...": MEASURES,
    "edgelora-bench plan --costs ...": COSTS,
    "edgelora-bench plan -m ...": MEASURES,
    "edgelora-bench threads ...": MEASURES,
    "tools/peer/long-context ...": "builds llama.cpp",
}


def stands_for(pattern, command):
    """Whether an entry of NOT_RUN means a command."""
    beginning = pattern.removesuffix(" ...")
    return command == pattern or pattern.endswith(" ...") and (command == beginning or command.startswith(f"{beginning} "))


@dataclass
class Command:
    text: str  # as it stands in the page
    page: str
    line: int
    server: str = SERVER  # the one that it asks
    answer: list = field(default_factory=list)  # the lines below it that tell what it prints

    @property
    def plain(self):
        """Without the comment at its end, in one line."""
        return " ".join(self.text[:len(self.text) - len(self.comment)].split())

    @property
    def comment(self):
        """What stands behind the first # that is neither in quotes nor in a word."""
        quote = ""
        for i, sign in enumerate(self.text):
            if sign in "'\"" and quote in ("", sign):
                quote = "" if quote else sign
            elif sign == "#" and not quote and self.text[:i][-1:].isspace():
                return self.text[i:]
        return ""


# ---- what pages show


def blocks(text):
    """(language, line, text) of each block between fences, without its indentation."""
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        body = "".join(line[len(found[1]):] or "\n" for line in found[3].splitlines(keepends=True))
        yield found[2], text.count("\n", 0, found.start()) + 2, body


def is_whole(text):
    """No quote is left open, and the last line does not go on."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return not text.endswith("\\")


def commands_of_block(body, page, line):
    found, server = [], SERVER
    text = ""
    for i, part in enumerate(body.rstrip("\n").split("\n")):
        if not text and part.startswith("#") and found:
            found[-1].answer.append(part[2:])
            continue
        if not text and not part.strip() or not text and part.startswith("#"):
            continue
        begin = line + i if not text else begin
        text = f"{text}\n{part}" if text else part
        if is_whole(text):
            command = Command(text, page, begin)
            if re.search(r"(^|/)edgelora serve ", command.plain):
                server = command.plain
            command.server = server
            found.append(command)
            text = ""
    assert not text, f"{page}:{line}: a quote is left open"
    return found


def commands_of_page(text, page):
    found, after = [], None
    for language, line, body in blocks(text):
        if language == "sh":
            found += (block := commands_of_block(body, page, line))
            after = block[-1], line + body.count("\n")
        elif language == "json" and after and line - after[1] <= 6:  # the answer, with a line of words between
            after[0].answer += body.splitlines()
        assert language not in ("bash", "shell", "console"), f"{page}:{line}: blocks of commands are called sh, which are run"
    return found


def pages():
    yield from (page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def reason(command):
    """Why a command is not run, or None."""
    return next((why for pattern, why in NOT_RUN.items() if stands_for(pattern, command.plain)), None)


COMMANDS = [c for page in pages() for c in commands_of_page(page.read_text(), str(page.relative_to(ROOT)))]
# In the order of the servers, so that each is started once.
RUN = sorted((c for c in COMMANDS if not reason(c)), key=lambda c: (c.server != SERVER, c.server))


# ---- where they run


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Place:
    """A folder with what the pages' commands name, and the server that is asked at the moment."""

    def __init__(self, folder):
        self.folder, self.server, self.started = folder, None, None
        self.port = PORT if port_is_free(int(PORT)) else str(any_port())
        self.bin = folder / "bin"
        self.fill()

    def link(self, name, target):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def write(self, name, text):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def fill(self):
        for program in (BINARY, BENCH):
            self.link(f"bin/{program.name}", program)
        self.link("build", BINARY.parent)
        # An answer of 400 or above is a failure of the command; and this Python has what the tests need.
        for name, line in (("curl", f"{shutil.which('curl')} --fail-with-body -sS"), ("python3", sys.executable)):
            self.write(f"bin/{name}", f'#!/bin/sh\nexec {line} "$@"\n')
            (self.bin / name).chmod(0o755)
        self.link("tools", ROOT / "tools")
        self.link("model.gguf", MODEL)
        shutil.copy(ROOT / "routers" / "demo.gguf", self.folder / "router.gguf")  # a page trains one of this name
        for adapter in (ROOT / "adapters").iterdir():
            self.link(f"adapters/{adapter.name}", adapter)
        for name in ("adapters/acme/sql", "more-adapters/sql", "path/to/peft-folder", "downloads/sql"):
            self.link(name, ROOT / "adapters" / "sql")
        shutil.copytree(ROOT / "adapters" / "sql", self.folder / "more" / "run-7")  # a link would lead out of the folder
        self.write("file.txt", "Hello world\n")
        self.write("texts.jsonl", '"Hello world"\n"Good bye"\n')
        prompts = [{"prompt": f"List the distinct {what}.", "expected": f"SELECT DISTINCT {what};"} for what in ("colour", "origin")]
        self.write("prompts.jsonl", "".join(json.dumps(p) + "\n" for p in prompts))
        for name, seed in (("train", 0), ("valid", 1), ("unseen", 2)):
            rows = [{"prompt": f"{'List the' if i % 2 else 'Count all'} {seed}{i} lines", "scores": {"sql": i % 2, "shell": 1 - i % 2, "base": 0.1}} for i in range(24)]
            lines = [f'"{r["prompt"]}",{r["scores"]["sql"]},{r["scores"]["shell"]},{r["scores"]["base"]}' for r in rows]
            self.write(f"{name}.csv", "prompt,score_sql,score_shell,score_base\n" + "\n".join(lines) + "\n")
        self.write("run.json", json.dumps(load_run(duration=2)))
        for name, api in (("ours", "openai"), ("theirs", "llama-server")):
            self.write(f"{name}-20.json", json.dumps(load_run(api, adapters=20, duration=2)))
        # A file whose text a page shows is that text.
        for command in COMMANDS:
            if shown := re.fullmatch(r"cat (\S+)", command.plain):
                self.write(shown[1], "".join(f"{line}\n" for line in command.answer))
                (self.folder / shown[1]).chmod(0o600)

    def here(self, text):
        return text if self.port == PORT else text.replace(f":{PORT}", f":{self.port}")

    def serve(self, command):
        """Sees to it that this server is the one that runs."""
        if self.started == command:
            return
        self.stop()
        try:
            self.server = self.start(command)
        except pytest.fail.Exception:
            if self.port != PORT or port_is_free(int(PORT)):
                raise
            self.port = str(any_port())  # somebody was faster
            self.server = self.start(command)
        self.started = command

    def start(self, command):
        port = "" if self.port == PORT else f" --port {self.port}"
        return Server(["env", "-C", self.folder, f"PATH={self.bin}:{os.environ['PATH']}", "bash", "-c", f"exec {command}{port}"])

    def run(self, command):
        """What a command prints."""
        process = subprocess.Popen(["bash", "-c", self.here(command.text)], cwd=self.folder, env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{command.text}\nhas not ended after {SECONDS} s; what takes long is listed in NOT_RUN")
        finally:
            if process.poll() is None:  # with what it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.returncode == 0, f"{command.text}\n{(out + err).decode(errors='replace')}"
        return out.decode()

    def stop(self):
        if self.server:
            assert self.server.stop() == 0, self.server.log[-20:]
        self.server = self.started = None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("docs"))
    yield p
    p.stop()


# ---- answers


def json_in(text):
    """The JSON value that a text holds, where "..." stands for what is left out; None: it holds none."""
    text = re.sub(r",\s*\.\.\.", "", text)
    text = re.sub(r"([{\[])\s*\.\.\.\s*", r"\1", text)
    begin = re.search(r"[{\[]", text)
    if not begin:
        return None
    try:
        return json.JSONDecoder().raw_decode(text[begin.start():])[0]
    except json.JSONDecodeError:
        return None


# What these members say is what a page tells; of others it shows an example.
SAID = {"object", "model", "role", "content", "adapter", "finish_reason"}


def differs(shown, got, way="the answer"):
    """How an answer is not as a page shows it; None: it is."""
    if isinstance(shown, dict):
        if not isinstance(got, dict):
            return f"{way} is no object"
        for key, value in shown.items():
            if key not in got:
                return f"{way} has no '{key}'"
            if isinstance(value, (dict, list)):
                if told := differs(value, got[key], f"{way}.{key}"):
                    return told
            elif key in SAID and value != got[key]:
                return f"{way}.{key} is {got[key]!r}, not {value!r}"
        return None
    if isinstance(shown, list):
        if not isinstance(got, list) or len(got) < len(shown):
            return f"{way} is no list of {len(shown)} or more"
        if all(isinstance(x, (int, float)) for x in shown):
            return None if shown == got else f"{way} is {got}, not {shown}"
        return next((told for i, x in enumerate(shown) if (told := differs(x, got[i], f"{way}[{i}]"))), None)
    return None


def headers_of(lines):
    return [line for line in lines if re.fullmatch(r"x-[\w-]+: \S+", line)]


def compare(command, printed):
    comment = command.comment[2:]
    answer = [comment] if comment.startswith(("[", "{")) else command.answer
    if not answer:
        return
    for header in headers_of(answer):
        assert header.lower() in printed.lower(), f"{command.text}\ndoes not print {header!r}, but\n{printed}"
    shown = json_in("\n".join(answer))
    if shown is not None:
        got = json_in(printed)
        assert (told := differs(shown, got)) is None, f"{command.page}:{command.line}: {told}\n{printed}"
    elif not headers_of(answer):
        assert printed.strip() == "\n".join(answer).strip()


# ---- the tests


@pytest.mark.parametrize("command", RUN, ids=lambda c: f"{c.page}:{c.line}")
def test_a_command_of_a_page_does_what_the_page_says(place, command):
    if command.plain == command.server:
        place.serve(command.server)
        return
    if re.search(r"\bcurl\b", command.plain):
        place.serve(command.server)
    compare(command, place.run(command))


def test_every_command_that_is_not_run_is_one_of_a_page():
    assert not [pattern for pattern in NOT_RUN if not any(stands_for(pattern, c.plain) for c in COMMANDS)]
    assert len(RUN) > 20
    assert [stands_for("make fuzz ...", c) for c in ("make fuzz", "make fuzz A=1", "make fuzz-long")] == [True, True, False]


def test_a_program_of_ours_has_the_options_with_which_it_is_not_run():
    for command in COMMANDS:
        words = shlex.split(command.plain)
        program = {"edgelora": BINARY, "edgelora-bench": BENCH}.get(words[0].removeprefix("build/"))
        if program and reason(command):
            told = subprocess.run([program, words[1], "--help"], capture_output=True, text=True).stdout
            unknown = [word for word in words[2:] if word.startswith("-") and not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", told)]
            assert not unknown, f"{command.page}:{command.line}: {command.plain}"


def test_what_a_page_shows_is_found_and_compared():
    page = """
```sh
# a comment
edgelora serve --adapters adapters
curl -d '{"model": "sql",
  "n": 1}' http://127.0.0.1:8080/x    # the page's words
# x-edgelora-adapter: sql
# {"model": "sql", "id": "a-...", ...
# "list": [{"a": 1}, ...]}
```

```json
[1, 2]
```
"""
    serve, curl = commands_of_page(page, "p")
    assert serve.server == curl.server == "edgelora serve --adapters adapters" and (serve.line, curl.line) == (4, 5)
    assert curl.plain.endswith("http://127.0.0.1:8080/x") and curl.comment == "# the page's words" and headers_of(curl.answer) == ["x-edgelora-adapter: sql"]
    assert json_in('{"a": "b-...", "c": [{"d": 1}, ...], ...}') == {"a": "b-...", "c": [{"d": 1}]}
    assert differs({"model": "sql", "id": 1}, {"model": "sql", "id": 2, "more": 3}) is None
    assert "has no 'id'" in differs({"id": 1}, {}) and "is 'a', not 'b'" in differs({"model": "b"}, {"model": "a"})
    assert differs([1, 2], [1, 3]) and differs([{"a": 1}], [{}])
