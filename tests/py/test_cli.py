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

sys.path.insert(0, str(ROOT / "tools" / "golden"))
import gguf_pre  # noqa: E402

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
TINY_LORA = ROOT / "tests" / "golden" / "lora" / "tiny.gguf"
TINY_PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
TEXT = ROOT / "tests" / "golden" / "text.txt"
COMMANDS = ["run", "serve", "tokenize", "inspect", "perplexity", "router profile", "router train", "router eval", "router show", "bench batch", "bench peak",
            "bench kernels", "bench load", "bench report"]

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")


def edgelora(*args, stdin=b"", env=None, stdout=subprocess.PIPE, timeout=300):
    """Runs the program to its end. Its outputs are bytes."""
    return subprocess.run([BINARY, *map(str, args)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=timeout,
                          env={**os.environ, **(env or {})})


def done(*args, **kwargs):
    """What a run that must succeed prints."""
    r = edgelora(*args, **kwargs)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout


def refused(*args, status, **kwargs):
    """What a run that must fail says; it prints no result."""
    r = edgelora(*args, **kwargs)
    assert r.returncode == status, (r.returncode, r.stderr.decode())
    assert r.stdout == b""
    message = r.stderr.decode()
    assert message.startswith("edgelora: "), message
    return message


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
    text = done("--help").decode()
    for command in COMMANDS:
        assert re.search(rf"^  {command.split()[0]} +\S", text, re.MULTILINE), command
    assert done("help") == done("--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_tells_usage_options_and_examples(command):
    words = command.split()
    r = edgelora(*words, "--help")
    text = r.stdout.decode()
    assert r.returncode == 0 and r.stderr == b""
    assert text.startswith(f"usage: edgelora {command} ")
    assert f"\nExamples:\n  edgelora {command}" in text
    assert edgelora("help", *words).stdout == r.stdout
    assert max(map(len, text.splitlines())) <= 120


def test_help_tells_each_commands_every_option():
    """A command takes the options that its help names, and a wrong value of each is refused by that name."""
    for command in COMMANDS:
        text = done(*command.split(), "--help").decode()
        for name, value in re.findall(r"^  (?:-\w, |    )--([\w-]+)(?: (N|K|R|T|P|X|TOKENS|SECONDS|MIB|LIST))?(?: |$)", text, re.MULTILINE):
            if value:
                assert f"--{name}: 'x'" in refused(*command.split(), f"--{name}", "x", status=2)


def test_no_command_is_a_mistake():
    r = edgelora()
    assert r.returncode == 2 and r.stdout == b"" and b"usage: edgelora" in r.stderr


@pytest.mark.parametrize("args, hint", [
    (["rum"], "did you mean 'edgelora run'?"),
    (["bench", "bacth"], "did you mean 'edgelora bench batch'?"),
    (["bench", "kernel"], "did you mean 'edgelora bench kernels'?"),
    (["bench", "peak", "--limits", "cache"], "--limits: 'cache' is not a list of compute, memory and caches"),
    (["bench", "kernels", "--isa", "mmx"], "--isa: 'mmx': isa: 'mmx' is not available; this CPU runs"),
    (["bench", "kernels", "--kernels", "gemm,"], "--kernels: 'gemm,' is not a list of gemm, quantize"),
    (["bench", "kernels", "--layouts", "q4,q5"], "--layouts: 'q4,q5' is not a list of q4, q4m"),
    (["bench", "kernels", "--shapes", "576"], "--shapes: '576' is not a list"),
    (["bench", "kernels", "--shapes", "576x577"], "columns are a multiple of 32"),
    (["bench", "kernels", "--shapes", "0x576"], "--shapes: '0x576'"),
    (["bench", "kernels", "--shapes", "-1x576"], "--shapes: '-1x576'"),
    (["bench", "kernels", "--shapes", "99999999x576"], "--shapes: '99999999x576'"),
    (["bench", "kernels", "--heads", "3x60"], "dimensions are a multiple of 16"),
    (["run", "--temprature", "1"], "did you mean '--temp'?"),
    (["serve", "--prot", "1"], "did you mean '--port'?"),
    (["run", "--zzzzzz"], "unknown option '--zzzzzz'"),
    (["run", "-Z"], "unknown option '-Z'"),
    (["run", "stray"], "unexpected argument 'stray'"),
    (["run", "-p"], "-p needs a value"),
    (["run", "--chat=yes"], "--chat takes no value"),
    (["run", "-p", "x", "-f", "y"], "exclude each other"),
    (["perplexity"], "-f FILE"),
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
    (["bench", "batch", "--npl", "1,,2"], "--npl: '1,,2'"),
    (["bench", "batch", "--npl", "0"], "from 1 to 1024"),
    (["bench", "batch", "--ranks", "1025"], "from 1 to 1024"),
    (["bench", "peak", "--threads", "0"], "from 1 to 1024"),
    (["bench", "peak", "--repeat", "0"], "--repeat: '0' is not a whole number from 1 to 1000"),
    (["bench", "kernels", "--cols", "1,,2"], "--cols: '1,,2'"),
    (["bench", "batch", "--n-adapters", "some"], "neither 'each' nor a whole number"),
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
    for args in (["run", "-p", "x"], ["serve"], ["tokenize", "x"], ["perplexity", "-f", TEXT], ["bench", "batch"]):
        message = refused(*args, status=2, env={"XDG_CACHE_HOME": str(tmp_path)})
        assert "make model" in message and str(tmp_path) in message


def test_a_missing_file_is_named():
    for args in (["run", "-m", "/no/such.gguf", "-p", "x"], ["inspect", "/no/such.gguf"], ["tokenize", "-m", "/no/such.gguf", "x"],
                 ["perplexity", "-m", TINY, "-f", "/no/such.gguf"], ["run", "-m", TINY, "-p", "x", "--adapter", "a=/no/such.gguf"],
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


@needs_model
def test_a_load_of_two_seconds_tells_its_progress_in_the_log():
    p = subprocess.Popen([BINARY, *map(str, SLOW_LOAD)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pause_while_loading(p.pid, 2.1)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and out
    lines = err.decode().splitlines()
    assert re.fullmatch(r"edgelora: loading the model: \d+%, \d+ MB/s", lines[0]), lines
    assert re.fullmatch(r"edgelora: loaded the model: 96 MB in \d+\.\d s", lines[-1]), lines


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


# ---- perplexity


PERPLEXITY = re.compile(r"perplexity ([\d.]+) ± ([\d.]+) \((\d+) tokens scored, (\d+) chunks of (\d+)\)\n")


def perplexity(*args):
    last = done("perplexity", "-f", TEXT, *args).decode()
    found = PERPLEXITY.fullmatch(last)
    assert found, last
    return float(found[1]), float(found[2]), *map(int, found.groups()[2:])


def test_perplexity_scores_half_of_each_chunk_whatever_runs_beside():
    one = perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--slots", "1")
    assert one[2:] == (6 * 31, 6, 64)
    assert perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--slots", "4") == one
    assert perplexity("-m", TINY, "-c", "64", "--chunks", "6", "--adapter", f"tiny={TINY_LORA}", "-a", "tiny")[0] != one[0]


@pytest.mark.long
@needs_model
def test_perplexity_is_the_peers():
    golden = json.loads((TEXT.parent / "perplexity.json").read_text())
    running = next(r["running"] for r in golden["results"] if r["name"] == "default")
    value, *_, chunks, size = perplexity("-m", MODEL, "--chunks", "2")
    assert (chunks, size) == (2, 512)
    assert value == pytest.approx(running[1], rel=0.01)


@needs_model
@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="texts take a sanitizer's build long; the test before scores one")
def test_keys_and_values_of_8_bits_cost_little():
    args = ("-m", MODEL, "--chunks", "2")
    f16, q8 = perplexity(*args)[0], perplexity(*args, "--kv-type", "q8")[0]
    # Of two chunks another order of additions alone moves it by 0.5%; of all 17 q8 costs 0.2%.
    assert q8 != f16 and q8 == pytest.approx(f16, rel=0.01)


def test_an_unknown_kind_of_keys_and_values_is_refused():
    assert "'q4' is neither f16 nor q8" in refused("perplexity", "-m", TINY, "-f", TEXT, "--kv-type", "q4", status=1)


def test_adapters_in_memory_have_the_bits_that_were_asked_for():
    def measure(kind, scores):
        args = ("-m", TINY, "-c", "64", "--chunks", "6", "--adapter", f"tiny={TINY_LORA}", "-a", "tiny", "--adapter-type", kind)
        scores.append(perplexity(*args)[0])
        log = edgelora("run", *args[:2], *args[6:], "-v", "-n", "1", "-p", "hello").stderr.decode()
        return float(re.search(r"adapter tiny: loaded .* ([\d.]+) MB in", log)[1])

    scores = []
    f16, q8, q4 = (measure(kind, scores) for kind in ("f16", "q8", "q4"))
    assert f16 > q8 > q4
    assert len(set(scores)) == 3
    assert scores[1] == pytest.approx(scores[0], rel=0.01) and scores[2] == pytest.approx(scores[0], rel=0.1)


def test_an_unknown_type_of_adapters_is_refused():
    message = refused("perplexity", "-m", TINY, "-f", TEXT, "--adapter-type", "q5", status=1)
    assert "adapter_type: 'q5' is none of q8, f16, q4" in message


def test_perplexity_of_a_text_too_short_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("short\n")
    message = refused("perplexity", "-m", TINY, "-f", path, status=1)
    assert "short.txt" in message and "512" in message


# ---- bench


def test_bench_batch_reports_every_batch_as_json():
    report = json.loads(done("bench", "batch", "-m", TINY, "--npl", "1,3", "--npp", "16", "--ntg", "8", "--repeat", "2",
                             "--n-adapters", "each", "--ranks", "4,8", "--json"))
    assert report["adapters"] == {"count": 3, "ranks": [4, 8]}
    assert report["npp"] == 16 and report["ntg"] == 8 and report["repeat"] == 2
    assert report["machine"]["threads"] >= 1 and report["machine"]["cpu"] and report["machine"]["isa"]
    assert report["model"]["architecture"] == "llama" and report["model"]["weight_bytes"] > 0
    assert [row["npl"] for row in report["results"]] == [1, 3]
    for row in report["results"]:
        for figure in (row["prompt_tokens_per_second"], row["decode_tokens_per_second"]):
            assert 0 < figure["min"] <= figure["median"] <= figure["max"]


def test_bench_batch_prints_a_table():
    lines = done("bench", "batch", "-m", TINY, "--npl", "2", "--npp", "8", "--ntg", "4", "--repeat", "1").decode().splitlines()
    assert [line.split()[0] for line in lines if line] == ["machine", "model", "adapters", "requests", "batch", "2"]


@pytest.mark.long
def test_bench_batch_profile_tells_where_a_step_goes():
    args = ("bench", "batch", "--profile", "-m", TINY, "--npl", "1,3", "--npp", "40", "--ntg", "4", "--step-rows", "16")
    report = json.loads(done(*args, "--n-adapters", "2", "--ranks", "4", "--json"))
    assert [r["npl"] for r in report["results"]] == [1, 3] and report["step_rows"] == 16
    for r in report["results"]:
        assert (r["prompt"]["steps"], r["prompt"]["rows"]) == (3 * r["npl"], 40 * r["npl"])
        assert (r["decode"]["steps"], r["decode"]["rows"]) == (4, 4 * r["npl"])
        for kind in ("prompt", "decode"):
            parts = r[kind]["parts"]
            assert all(parts[name] > 0 for name in ("attention", "gate, up", "norms", "LoRA: A"))
            assert sum(parts.values()) <= r[kind]["seconds"] <= sum(parts.values()) * 1.5 + 0.01
        assert r["kv_gb_per_second"] > 0 and r["read_gb_per_second"] > 0
    text = done(*args).decode()
    assert re.search(r"^attention +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+%$", text, re.MULTILINE)
    assert "LoRA" not in text


@pytest.mark.long
def test_bench_batch_context_decodes_behind_contexts_that_were_not_computed():
    args = ("bench", "batch", "--context", "40,1000", "-m", TINY, "--npl", "1,3", "--ntg", "4", "--repeat", "2", "--n-adapters", "2", "--ranks", "4")
    report = json.loads(done(*args, "--json"))
    assert [(r["context"], r["npl"]) for r in report["results"]] == [(40, 1), (40, 3), (1000, 1), (1000, 3)]
    for r in report["results"]:
        assert all(positive(r[figure]) for figure in ("tokens_per_second", "attention_ms", "kv_gb_per_second", "read_gb_per_second"))
        each = r["kv_mb"] / r["npl"] / (r["context"] + 2.5)  # of a token; 2.5: the four steps' own, on average
        assert each == pytest.approx(report["results"][0]["kv_mb"] / 42.5)
    rows = done(*args).decode().splitlines()[-4:]
    assert [row.split()[:2] for row in rows] == [["1", "40"], ["3", "40"], ["1", "1000"], ["3", "1000"]]


def positive(figure):
    return 0 < figure["min"] <= figure["median"] <= figure["max"]


def bench_json(*args):
    return json.loads(done("bench", *args, "--repeat", "1", "--json"))


@pytest.mark.long
def test_bench_peak_reports_every_limit_for_each_number_of_threads():
    report = bench_json("peak", "--threads", "1,2", "--memory-mib", "8")
    machine = report["machine"]
    assert machine["cpu"] and machine["cores"] >= 1 and machine["memory_bytes"] > 0 and report["kernels"]
    compute = {(c["kind"], c["isa"], c["threads"]) for c in report["compute"]}
    assert len(compute) == len(report["compute"]) and all(positive(c["gops"]) for c in report["compute"])
    assert {c[:2] for c in compute if c[2] == 1} == {c[:2] for c in compute if c[2] == 2}
    # What is used by default has a peak to compare with.
    assert report["kernels"] == "scalar" or ("int8", report["kernels"], 1) in compute
    assert [r["threads"] for r in report["read"] if r["level"] == "memory"] == [1, 2]
    for r in report["read"]:
        assert positive(r["gb_per_second"]) and r["streams"] >= 1 and r["load_bytes"] >= 16
    assert all(r["bytes"] == 8 << 20 for r in report["read"] if r["level"] == "memory")


def test_bench_peak_measures_what_is_asked_for():
    report = bench_json("peak", "--limits", "memory", "--threads", "1", "--memory-mib", "4")
    assert report["compute"] == [] and [r["level"] for r in report["read"]] == ["memory"]


def test_bench_peak_prints_a_table():
    text = done("bench", "peak", "--threads", "1", "--memory-mib", "8", "--repeat", "1").decode()
    assert re.search(r"^limit +1 thread$", text, re.MULTILINE)
    assert re.search(r"^read  memory +[\d.]+ \([\d.]+-[\d.]+\)  GB/s$", text, re.MULTILINE)


def test_bench_threads_reports_every_number_of_threads():
    report = bench_json("threads", "--threads", "1,2")
    assert [r["threads"] for r in report["results"]] == [1, 2] and not report["pinned"]
    for r in report["results"]:
        for what in ("barrier_ns", "run_ns", "wake_us", "speed_quiet", "speed_busy"):
            assert positive(r[what])


def test_bench_threads_refuses_more_threads_than_listed_cpus():
    assert "too few for 1024 threads" in refused("bench", "threads", "--cpu-list", "auto", "--threads", "1024", status=1)


SMALL = ["--shapes", "40x64", "--cols", "1,3", "--heads", "2x32", "--positions", "20", "--threads", "2"]


@pytest.mark.long
def test_bench_kernels_reports_every_kernel_as_json():
    report = bench_json("kernels", "--isa", "all", *SMALL)
    isas = [limit["isa"] for limit in report["limits"]]
    assert isas and len(set(isas)) == len(isas)
    assert all(limit["threads"] == 2 and limit["read_gb_per_second"] > 0 for limit in report["limits"])
    for isa in isas:
        results = [r for r in report["results"] if r["isa"] == isa]
        gemm = {(r["layout"], r["rows"], r["columns_of_weights"], r["columns"]) for r in results if r["kernel"] == "gemm"}
        assert gemm == {(layout, 40, 64, n) for layout in ("q4", "q4m", "q8", "q8m", "f16", "bf16") for n in (1, 3)}
        assert sorted(r["kernel"] for r in results if r["kernel"] != "gemm") == ["attend", "quantize", "rms_norm", "swiglu"]
        for r in results:
            assert positive(r["gops"]) and positive(r["weight_gb_per_second"]) if r["kernel"] == "gemm" else positive(r["gb_per_second"])
            # Every share has a limit of the same run.
            assert r.get("share_of_peak", 1) > 0 and not r["cold"]


def test_bench_kernels_of_the_portable_kernels_have_no_peak():
    report = bench_json("kernels", "--isa", "scalar", "--layouts", "q8", "--kernels", "gemm", *SMALL)
    assert {r["isa"] for r in report["results"]} == {"scalar"} and len(report["results"]) == 2
    assert not any("share_of_peak" in r for r in report["results"])


@pytest.mark.long
def test_bench_kernels_with_weights_from_memory_tell_their_share_of_reading():
    report = bench_json("kernels", "--cold", "--layouts", "q4", "--kernels", "gemm,attend", *SMALL)
    gemm = [r for r in report["results"] if r["kernel"] == "gemm"]
    assert len(gemm) == 2 and all(r["cold"] and r["share_of_read"] > 0 for r in gemm)
    assert [(r["cold"], r["share_of_read"] > 0) for r in report["results"] if r["kernel"] == "attend"] == [(True, True)]


@pytest.mark.long
def test_bench_kernels_prints_tables():
    text = done("bench", "kernels", "--layouts", "q4,f16", "--repeat", "1", *SMALL).decode()
    assert re.search(r"^q4 +40x64 +[\d.]+ ", text, re.MULTILINE) and re.search(r"^f16 +40x64 ", text, re.MULTILINE)
    assert re.search(r"^attend +2 x 32, 20 positions +[\d.]+ GB/s", text, re.MULTILINE)
