"""The command line: what it says, how it ends, and that its results are the results alone."""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
from conftest import BINARY, MODEL, ROOT
from programs import bench, edgelora

sys.path.insert(0, str(ROOT / "tools" / "golden"))
import gguf_pre  # noqa: E402

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
TINY_LORA = ROOT / "tests" / "golden" / "lora" / "tiny.gguf"
TINY_PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
COMMANDS = ["run", "serve", "tokenize", "inspect", "adapter check", "router profile", "router train", "router eval", "router show"]
BENCHES = ["batch", "cache", "kernels", "load", "peak", "perplexity", "plan", "threads"]
HELP = [*((edgelora, command) for command in COMMANDS), *((bench, command) for command in BENCHES)]

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")
done, refused = edgelora.done, edgelora.refused
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """A GGUF file that is a model's metadata, with no tensor."""
    data = TINY.read_bytes()
    version, _, n_kv = struct.unpack_from("<IQQ", data, 4)
    at = 24
    for _ in range(n_kv):
        _, at = gguf_pre.string_at(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        at = gguf_pre.skip_value(data, at + 4, kind)
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, n_kv) + data[24:at])
    return path


# ---- help and mistakes


def test_help_lists_every_command():
    for program, command in HELP:
        assert re.search(rf"^  {command.split()[0]} +\S", program.done("--help").decode(), re.MULTILINE), command
    for program in (edgelora, bench):
        assert program.done("help") == program.done("--help")
        assert program.done("--version").decode().startswith(f"{program.name} ")


@pytest.mark.parametrize("program, command", HELP, ids=lambda v: getattr(v, "name", v))
def test_help_of_a_command_tells_usage_options_and_examples(program, command):
    words = command.split()
    r = program(*words, "--help")
    text = r.stdout.decode()
    assert r.returncode == 0 and r.stderr == b""
    assert text.startswith(f"usage: {program.name} {command} ")
    assert f"\nExamples:\n  {program.name} {command}" in text
    assert program("help", *words).stdout == r.stdout
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.long
def test_help_tells_each_commands_every_option():
    """A command takes the options that its help names, and a wrong value of each is refused by that name."""
    for program, command in HELP:
        text = program.done(*command.split(), "--help").decode()
        for name, value in re.findall(r"^  (?:-\w, |    )--([\w-]+)(?: (N|K|R|T|P|X|TOKENS|SECONDS|MIB|LIST))?(?: |$)", text, re.MULTILINE):
            if value:
                assert f"--{name}: 'x'" in program.refused(*command.split(), f"--{name}", "x", status=2)


@pytest.mark.parametrize("args, now", [
    (["bench"], "edgelora-bench"),
    (["bench", "batch", "--npl", "1"], "edgelora-bench"),
    (["bench", "report", "run.json"], "tools/report"),
    (["perplexity", "-f", "x"], "edgelora-bench perplexity"),
    (["help", "bench"], "edgelora-bench"),
])
def test_what_has_moved_says_where_to(args, now):
    assert refused(*args, status=2) == f"edgelora: this command has moved: use '{now}'\n"


def test_no_command_is_a_mistake():
    r = edgelora()
    assert r.returncode == 2 and r.stdout == b"" and b"usage: edgelora" in r.stderr


@pytest.mark.parametrize("args, hint", [
    (["rum"], "did you mean 'edgelora run'?"),
    (["run", "--temprature", "1"], "did you mean '--temp'?"),
    (["serve", "--prot", "1"], "did you mean '--port'?"),
    (["run", "--zzzzzz"], "unknown option '--zzzzzz'"),
    (["run", "-Z"], "unknown option '-Z'"),
    (["run", "stray"], "unexpected argument 'stray'"),
    (["run", "-p"], "-p needs a value"),
    (["run", "--chat=yes"], "--chat takes no value"),
    (["run", "-p", "x", "-f", "y"], "exclude each other"),
    (["tokenize"], "one text is needed"),
    (["tokenize", "two", "texts"], "one text is needed"),
    (["inspect"], "a file is needed"),
])
def test_wrong_usage_ends_with_2_and_says_where_help_is(args, hint):
    message = refused(*args, status=2)
    assert hint in message
    assert re.search(r"try 'edgelora.* --help'\n$", message)


@pytest.mark.parametrize("args, limits", [
    (["run", "--temp", "hot"], "--temp: 'hot' is not a number from 0 to 100"),
    (["run", "--temp", "-0.1"], "--temp: '-0.1'"),
    (["run", "--temp", "nan"], "--temp: 'nan'"),
    (["run", "--top-p", "1.5"], "from 0 to 1"),
    (["run", "-n", "1.5"], "--max-tokens: '1.5' is not a whole number from -1"),
    (["run", "-n", "99999999999999999999"], "--max-tokens"),
    (["run", "-n", ""], "--max-tokens: ''"),
    (["run", "--seed", "-1"], "--seed: '-1' is not a whole number from 0"),
    (["serve", "--port", "65536"], "from 0 to 65535"),
    (["serve", "--slots", "0"], "--slots: '0' is not a whole number from 1"),
])
def test_numbers_out_of_range_are_refused_with_their_limits(args, limits):
    assert limits in refused(*args, status=2)


def test_a_full_disk_is_a_failure():
    with open("/dev/full", "wb") as full:
        for args in (["--help"], ["run", "--help"], ["tokenize", "-m", TINY, "Hello"], ["run", "-m", TINY, "-p", "Hello", "-n", "4"]):
            r = edgelora(*args, stdout=full)
            assert r.returncode == 1, args
            assert b"standard output" in r.stderr, args


# ---- files that are not there, or not what they should be


def test_without_a_model_it_says_how_to_get_one(tmp_path):
    for args in (["run", "-p", "x"], ["serve"], ["tokenize", "x"]):
        message = refused(*args, status=2, env={"XDG_CACHE_HOME": str(tmp_path)})
        assert "make model" in message and str(tmp_path) in message


def test_a_missing_file_is_named():
    for args in (["run", "-m", "/no/such.gguf", "-p", "x"], ["inspect", "/no/such.gguf"], ["tokenize", "-m", "/no/such.gguf", "x"],
                 ["run", "-m", TINY, "-p", "x", "--adapter", "a=/no/such.gguf"],
                 ["run", "-m", TINY, "-f", "/no/such.gguf"]):
        assert "/no/such.gguf" in refused(*args, status=1)


@pytest.mark.parametrize("size", [0, 3, 4, 23, 24, 1000, 20000, -4096, -1])
def test_a_truncated_model_is_refused(size, tmp_path):
    data = TINY.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[:size])
    assert "cut.gguf" in refused("run", "-m", path, "-p", "Hello", status=1)
    assert edgelora("inspect", path).returncode == 1


def test_something_else_than_a_model_is_refused(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("This is no model.\n" * 1000)
    for args in (["run", "-p", "x", "-m"], ["tokenize", "x", "-m"], ["inspect"]):
        assert "text.gguf" in refused(*args, path, status=1)


def test_a_vocabulary_alone_is_no_model(vocabulary):
    assert "vocabulary.gguf" in refused("run", "-m", vocabulary, "-p", "Hello", status=1)


def test_an_unknown_adapter_is_named():
    assert "nobody" in refused("run", "-m", TINY, "--adapter", f"tiny={TINY_LORA}", "-a", "nobody", "-p", "Hello", status=1)
    assert "NAME=PATH" in refused("run", "-m", TINY, "--adapter", TINY_LORA, "-p", "Hello", status=2)


def test_an_adapter_of_another_model_is_refused():
    assert "tiny.gguf" in refused("run", "-m", TINY.with_name("f32.gguf"), "--adapter", f"tiny={TINY_LORA}", "-p", "Hello", status=1)


# ---- tokenize


def tokenize(*args, **kwargs):
    return [json.loads(line) for line in done("tokenize", *args, **kwargs).splitlines()]


def test_tokenize_needs_no_weights(vocabulary):
    texts = ["Hello", "", " two  spaces", "Zwölf Boxkämpfer", "日本語 🙂", "nul\0byte", "a\nb"]
    lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
    ids = tokenize("-m", vocabulary, "--file", "-", stdin=lines)
    assert ids == tokenize("-m", TINY, "--file", "-", stdin=lines)
    assert len(ids) == len(texts) and ids[1] == []
    assert ids[0] == tokenize("-m", vocabulary, "Hello")[0]
    for text, row in zip(texts, ids):
        assert done("tokenize", "-m", vocabulary, "--decode", json.dumps(row)) == text.encode()


def test_tokenize_takes_special_tokens_for_text_unless_told(vocabulary):
    special = done("tokenize", "-m", vocabulary, "--decode", "--special", "2")
    assert special and done("tokenize", "-m", vocabulary, "--decode", "2") == b""
    assert tokenize("-m", vocabulary, "--special", special.decode()) == [[2]]
    plain = tokenize("-m", vocabulary, special.decode())[0]
    assert 2 not in plain and len(plain) > 1


def test_tokenize_reads_any_bytes(vocabulary):
    data = bytes(range(256)) * 3
    (ids,) = tokenize("-m", vocabulary, "-", stdin=data)
    assert done("tokenize", "-m", vocabulary, "--decode", str(ids)) == data


@pytest.mark.parametrize("line", [b"Hello", b"3", b'["a"]', b'"open', b'"a" "b"', b'"\xff"', b""])
def test_tokenize_names_the_line_that_is_no_json_string(line, vocabulary):
    r = edgelora("tokenize", "-m", vocabulary, "--file", "-", stdin=b'"fine"\n' + line + b'\n"fine"\n')
    assert r.returncode == 1
    assert b"line 2 is not a JSON string" in r.stderr


def test_tokenize_refuses_ids_that_do_not_exist(vocabulary):
    for ids in ("[1, 320]", "[-1]", "1e3", "x", "99999999999999999999"):
        assert "is not a token id from 0 to 319" in refused("tokenize", "-m", vocabulary, "--decode", ids, status=2)


# ---- inspect


def test_inspect_describes_each_kind_of_file():
    assert b"llama" in done("inspect", TINY)
    assert b"Q8_0" in done("inspect", TINY)
    assert b"lora" in done("inspect", TINY_LORA).lower()
    assert b"lora_A" in done("inspect", TINY_PEFT / "adapter_model.safetensors")
    folder = done("inspect", TINY_PEFT)
    assert b"rank" in folder.lower() or b'"r"' in folder
    both = done("inspect", TINY, TINY_LORA)
    assert done("inspect", TINY) in both and done("inspect", TINY_LORA) in both


# ---- run


def run(*args, **kwargs):
    return done("run", "-m", TINY, *args, **kwargs)


def test_run_prints_the_same_completion_again():
    first = run("-p", "Hello", "-n", "24")
    assert first and run("-p", "Hello", "-n", "24") == first
    drawn = run("-p", "Hello", "-n", "24", "--temp", "2", "--seed", "7")
    assert drawn == run("-p", "Hello", "-n", "24", "--temp", "2", "--seed", "7")
    assert drawn != first


def test_run_prints_the_completion_alone():
    """More tokens continue the same bytes; the prompt is not repeated, nothing is added at the end."""
    long = run("-p", "Hello", "-n", "40", "--ignore-eos", "-q")
    assert b"Hello" not in long[:5]
    assert long.startswith(run("-p", "Hello", "-n", "20", "--ignore-eos").decode(errors="ignore").encode()[:8])
    assert run("-p", "Hello", "-n", "0") == b""


def test_run_reads_the_prompt_from_where_it_is_told(tmp_path):
    expected = run("-p", "Hello world", "-n", "12")
    path = tmp_path / "prompt.txt"
    path.write_text("Hello world\n")
    assert run("-f", path, "-n", "12") == expected
    assert run("-n", "12", stdin=b"Hello world\n") == expected
    assert run("-f", "-", "-n", "12", stdin=b"Hello world") == expected


def test_run_with_an_adapter_is_not_the_base():
    base = run("-p", "Hello", "-n", "16")
    assert run("-p", "Hello", "-n", "16", "--adapter", f"tiny={TINY_LORA}") == base
    adapted = run("-p", "Hello", "-n", "16", "--adapter", f"tiny={TINY_LORA}", "-a", "tiny")
    assert adapted != base
    assert run("-p", "Hello", "-n", "16", "--adapter", f"peft={TINY_PEFT}", "-a", "peft") == adapted
    assert run("-p", "Hello", "-n", "16", "--adapters", TINY_LORA.parent, "-a", "tiny-peft") == adapted


def test_run_warns_when_no_adapter_is_chosen():
    r = edgelora("run", "-m", TINY, "-p", "Hello", "-n", "1", "--adapter", f"tiny={TINY_LORA}")
    assert r.returncode == 0 and b"-a NAME" in r.stderr


def test_run_stops_before_a_stop_string():
    whole = run("-p", "Hello", "-n", "60", "--temp", "3", "--seed", "1", "--ignore-eos").decode(errors="replace")
    stop = next(c for c in whole[5:] if c.isascii() and c.isprintable())
    cut = run("-p", "Hello", "-n", "60", "--temp", "3", "--seed", "1", "--ignore-eos", "--stop", stop).decode(errors="replace")
    assert cut == whole[: whole.index(stop)]


def test_run_refuses_a_prompt_beyond_the_context():
    r = edgelora("run", "-m", TINY, "-c", "16", stdin=b"word " * 1000)
    assert r.returncode == 1 and b"16" in r.stderr


def test_chat_without_a_template_is_chatml_and_says_so():
    r = edgelora("run", "-m", TINY, "--chat", "-p", "Hello", "-n", "4")
    assert r.returncode == 0 and b"no chat template" in r.stderr
    written = edgelora("run", "-m", TINY, "-p", "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "-n", "4", "--special")
    assert written.stdout == r.stdout and b"template" not in written.stderr


def test_another_chat_template_is_used_instead_of_the_models(tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}:{{ messages | length }}")
    r = edgelora("run", "-m", TINY, "--chat-template", tmp_path / "t.jinja", "--chat", "-p", "Hello", "-n", "4")
    assert r.returncode == 0 and b"template" not in r.stderr
    assert r.stdout == edgelora("run", "-m", TINY, "-p", "Hello:1", "-n", "4").stdout


def test_a_chat_template_that_does_not_parse_is_refused_with_its_file_and_line(tmp_path):
    (tmp_path / "t.jinja").write_text("a\n{% for %}")
    message = refused("run", "-m", TINY, "--chat-template", tmp_path / "t.jinja", "--chat", "-p", "Hello", status=1)
    assert "t.jinja: line 2: " in message
    assert "no-such" in refused("run", "-m", TINY, "--chat-template", tmp_path / "no-such", "-p", "Hello", status=1)


def test_an_unknown_isa_is_refused():
    assert "z80" in refused("run", "-m", TINY, "--isa", "z80", "-p", "Hello", status=1)


@pytest.mark.parametrize("cpus, says", [
    ("0-", "cpu_list: '0-' is neither a list of CPUs"),
    ("1023", "cpu_list: CPU 1023 is not one that this process may use"),
])
def test_a_list_of_cpus_that_cannot_be_is_refused(cpus, says):
    assert says in refused("run", "-m", TINY, "--cpu-list", cpus, "-p", "Hello", status=1)


def test_more_threads_than_listed_cpus_are_refused():
    says = refused("run", "-m", TINY, "--cpu-list", "auto", "-t", "1024", "-p", "Hello", status=1)
    assert "too few for 1024 threads" in says


def test_pinned_threads_give_the_same_answer():
    assert run("-p", "Hello", "-n", "4", "--cpu-list", "auto") == run("-p", "Hello", "-n", "4", "-t", "1")


def test_every_isa_of_this_machine_runs():
    assert run("-p", "Hello", "-n", "4", "--isa", "scalar")


def test_auto_needs_a_router_unless_something_is_called_that():
    args = ("run", "-m", TINY, "-p", "Hello", "-n", "4", "-a", "auto")
    assert "auto: there is no router" in refused(*args, status=1)
    assert "--router FILE" in refused(*args, "--adapter", f"tiny={TINY_LORA}", status=1)
    assert done(*args, "--adapter", f"auto={TINY_LORA}") == done(*args[:-1], "x", "--adapter", f"x={TINY_LORA}")


def test_interrupt_ends_a_completion_with_130():
    p = subprocess.Popen([BINARY, "run", "-m", TINY, "-p", "Hello", "-n", "-1", "--ignore-eos", "-c", "100000"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.read(16)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 130, err


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(BINARY, [str(BINARY), *map(str, args)])
        self.text = ""

    def expect(self, pattern, timeout=60):
        """Reads until the pattern comes, and forgets what was read up to its end."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, self.text
                self.text += data.decode(errors="replace")
        self.text = self.text[found.end() :]

    def send(self, text):
        os.write(self.fd, text.encode())

    def status(self):
        deadline = time.monotonic() + 60
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass


def test_chat_commands_and_leaving():
    t = Terminal("run", "-m", TINY, "--adapter", f"tiny={TINY_LORA}")
    t.expect("> ")
    t.send("/nonsense\n")
    t.expect("no command '/nonsense'")
    t.expect("/quit")
    t.send("/adapter\n")
    t.expect(r"\* -.*\n.*tiny")
    for name in ("nobody", "auto"):  # there is no router
        t.send(f"/adapter {name}\n")
        t.expect(f"no adapter '{name}'")
    t.send("/adapter tiny\n")
    t.expect("tiny> ")
    t.send("/quit\n")
    assert t.status() == 0


@pytest.mark.parametrize("token, missing", [(40, True), (1, False)])  # 1: <|im_start|>, which opens every turn
def test_a_chat_says_when_an_activated_adapter_s_invocation_is_missing(tmp_path, token, missing):
    shutil.copytree(TINY_PEFT, tmp_path / "own")
    config = tmp_path / "own" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "alora_invocation_tokens": [token]}))
    t = Terminal("run", "-m", TINY, "--adapter", f"own={tmp_path / 'own'}", "-a", "own", "-n", "2", "-t", "1")
    t.expect("own> ")
    t.send("x\n")
    if missing:
        t.expect("the prompt does not have the adapter's invocation: the base model has answered")
    t.expect("own> ")
    assert "invocation" not in t.text
    t.send("/quit\n")
    assert t.status() == 0


def test_chat_ends_with_130_after_two_interrupts():
    t = Terminal("run", "-m", TINY)
    t.expect("> ")
    t.send("\x03")
    t.expect("once more to leave")
    t.send("\x03")
    assert t.status() == 130


@needs_model
def test_chat_answers_on_and_an_interrupt_stops_the_answer_alone():
    t = Terminal("run", "-m", MODEL, "-n", "-1")
    t.expect("> ")
    t.send("Count from one to one thousand, in words.\n")
    t.expect(r"in words\.\r\n\S")
    t.send("\x03")
    t.expect(r"\(stopped\)")
    t.expect("> ")
    t.send("\x04")
    assert t.status() == 0


# ---- loading


def pause_while_loading(pid, seconds):
    """Stops the process for a while, once it packs the weights. Before it is the program it is a copy of this one."""
    status, program = pathlib.Path(f"/proc/{pid}/statm"), pathlib.Path(f"/proc/{pid}/exe")
    deadline = time.monotonic() + 60
    while program.resolve() != pathlib.Path(BINARY).resolve() or int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < 60e6:
        assert time.monotonic() < deadline
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


# As 16 bits on one thread it takes a few tenths of a second: enough to catch it.
SLOW_LOAD = ["run", "-m", MODEL, "--weights", "f16", "-t", "1", "-p", "Hello", "-n", "1"]


@pytest.mark.long
@needs_model
def test_a_load_of_two_seconds_tells_its_progress_in_the_log():
    p = subprocess.Popen([BINARY, *map(str, SLOW_LOAD)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pause_while_loading(p.pid, 2.1)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and out
    lines = err.decode().splitlines()
    assert re.fullmatch(r"edgelora: loading the model: \d+%, \d+ MB/s", lines[0]), lines
    assert re.fullmatch(r"edgelora: loaded the model: 96 MB in \d+\.\d s", lines[-1]), lines


@pytest.mark.long
@needs_model
def test_a_load_of_two_seconds_tells_its_progress_on_a_terminal():
    t = Terminal(*SLOW_LOAD)
    pause_while_loading(t.pid, 2.1)
    t.expect(r"\rloading the model: \d+%, \d+ MB/s\x1b\[K")
    t.expect(r"\r\x1b\[K")
    assert t.status() == 0


@needs_model
@pytest.mark.skipif(bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ)), reason="a sanitizer's load takes seconds")
def test_a_short_load_says_nothing():
    assert edgelora("run", "-m", MODEL, "-p", "Hello", "-n", "1").stderr == b""


# ---- serve


def test_serve_says_when_a_port_is_taken():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in refused("serve", "-m", TINY, "-q", "--port", port, status=1)


def tried(count, *args):
    """The path and the body of the last of the first COUNT lines to try that a server prints."""
    p = subprocess.Popen([BINARY, "serve", *args, "--port", "0", "--examples"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    lines = []
    while len([line for line in lines if line.startswith("  curl")]) < count:
        line = p.stderr.readline().decode()
        assert line, lines
        lines.append(line)
    ready = [line for line in lines if line.startswith("listening on http://127.0.0.1:")]
    assert len(ready) == 1
    assert any(line.startswith(f"Open {ready[0].split()[-1]} in a browser") for line in lines), "the page's address"
    words = subprocess.run(["sh", "-c", "printf '%s\\n' " + lines[-1].split("curl", 1)[1]], stdout=subprocess.PIPE, text=True, check=True)
    p.send_signal(signal.SIGINT)
    _, rest = p.communicate(timeout=30)
    assert p.returncode == 0, rest
    url = next(word for word in words.stdout.splitlines() if word.startswith("http://"))
    return "/" + url.split("/", 3)[3], json.loads(words.stdout.splitlines()[-1])


def test_serve_prints_a_line_to_try_for_each_adapter():
    _, body = tried(2, "-m", TINY, "--adapter", f"it's={TINY_LORA}")
    assert body["model"] == "it's"


def test_the_line_to_try_is_a_completion_where_the_model_has_no_chat_template():
    path, body = tried(1, "-m", TINY)
    assert path == "/v1/completions" and body["prompt"] and "messages" not in body


@pytest.mark.skipif(not MODEL.exists(), reason="the default model is not there")
def test_the_line_to_try_is_a_chat_where_the_model_has_a_template():
    path, body = tried(1, "-m", MODEL)
    assert path == "/v1/chat/completions" and body["messages"][0]["role"] == "user"
