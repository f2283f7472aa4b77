"""What the system refuses, and what lies where files are expected: limits of open files, of memory and of file sizes, closed
streams, no home, devices and FIFOs. Each costs what it must and no more, with a line in the log."""

import concurrent.futures
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
LORA = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
SANITIZED = {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ)

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")


@pytest.fixture
def folder(tmp_path):
    """A folder with an adapter called `one`."""
    shutil.copytree(LORA, tmp_path / "adapters" / "one")
    return tmp_path / "adapters"


@pytest.fixture
def serve(tmp_path):
    """Starts edgelora with the tiny model: serve("--adapters", DIR, shell="ulimit -n 64"). It ends with status 0."""
    started = []

    def start(*options, shell=":", env=None):
        command = ["env", *(env or [f"XDG_CACHE_HOME={tmp_path / 'cache'}"]), "sh", "-c", f'{shell}; exec "$@"', "sh"]
        started.append(Server([*command, BINARY, "serve", "-m", TINY, "--port", "0", *map(str, options)]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


def answers(s, model="one"):
    response = s.completion(model=model, prompt="abc", max_tokens=3)
    return response.status_code == 200 or response.text


def said(s, text, seconds=10):
    """Lines of the log with a text, as soon as there are any."""
    until = time.monotonic() + seconds
    while not (lines := [line for line in s.log if text in line]) and time.monotonic() < until:
        time.sleep(0.02)
    return lines


# ---------------------------------------------------------------- open files


def test_connections_leave_files_for_adapters(serve, folder):
    s = serve("--adapters", folder, shell="ulimit -n 64")
    assert len(said(s, "64 files may be open")) == 1
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(s.connect()) for _ in range(100)]
        body = b'{"model":"one","prompt":"abc","max_tokens":3}'
        many[0].sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert many[0].recv(65536).startswith(b"HTTP/1.1 200 ")
    assert answers(s) is True


def test_too_few_files_are_told_at_the_start():
    command = ["sh", "-c", 'ulimit -n 24; exec "$@"', "sh", BINARY, "serve", "-m", TINY, "--port", "0"]
    p = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert p.returncode == 1 and "24 files may be open (ulimit -n)" in p.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nobody_elses_file(closed, folder, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [BINARY, "serve", "-v", "-m", TINY, "--port", str(port), "--adapters", folder]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    p = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *command], env=env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as c:
                c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: c.recv(65536), b""))
                break
            time.sleep(0.05)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"edgelora:" not in answer
        assert [os.readlink(f"/proc/{p.pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    finally:
        p.terminate()
        assert p.wait(30) == 0


# ---------------------------------------------------------------- memory


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer's own memory counts")
def test_running_requests_end_also_when_there_is_no_memory_left(serve, folder):
    s = serve("--adapters", folder)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(s.completion, prompt=["abc"] * 32, max_tokens=500, ignore_eos=True)
        s.wait_busy()
        resource.prlimit(s.process.pid, resource.RLIMIT_AS, (1, 1))
        s.process.send_signal(signal.SIGTERM)
        assert running.result().status_code in (200, 500)  # an answer may need memory too
    s.process.wait(30)  # without a second signal, which would end it at once
    assert s.stop() == 0


# ---------------------------------------------------------------- the cache folder


def test_a_file_that_may_not_grow_is_a_line_in_the_log(serve, folder, tmp_path):
    s = serve("--adapters", folder, shell="ulimit -f 0")
    assert answers(s) is True
    assert s.stop() == 0
    assert "File too large" in said(s, "what is known about adapters is not kept")[0]
    assert not list(tmp_path.glob("cache/edgelora/*"))


@pytest.mark.parametrize("place", ["/dev/null", "/proc", "/dev/full"])
def test_a_cache_folder_that_cannot_be_is_a_line_in_the_log(serve, folder, place):
    s = serve("--adapters", folder, env=[f"XDG_CACHE_HOME={place}"])
    assert answers(s) is True
    assert s.stop() == 0
    assert len(said(s, "what is known about adapters is not kept")) == 1


def test_without_a_home_nothing_is_kept_anywhere_else(serve, folder):
    s = serve("--adapters", folder, env=["-u", "XDG_CACHE_HOME", "-u", "HOME"])
    assert len(said(s, "neither XDG_CACHE_HOME nor HOME is set")) == 1
    assert answers(s) is True
    assert s.stop() == 0
    assert not os.path.exists("/.cache/edgelora")


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("args", [["run", "-m", TINY, "-f"], ["tokenize", "-m", TINY, "-f"]])
def test_an_input_without_end_is_refused(args):
    p = subprocess.run([BINARY, *args, "/dev/zero"], capture_output=True, timeout=60, text=True)
    assert p.returncode == 1 and "/dev/zero: File too large" in p.stderr


def test_an_example_that_is_a_fifo_is_not_waited_for(serve, folder):
    os.mkfifo(folder / "one" / "examples.jsonl")
    s = serve("--adapters", folder, "--examples")
    assert said(s, '"model":"one"')


def test_a_name_cannot_write_a_line_of_its_own_into_the_log(serve, folder):
    shutil.copytree(LORA, folder / "a\nlistening on http://evil:1\x1b[31m")
    s = serve("--adapters", folder)
    assert answers(s) is True
    assert len(said(s, "skipped")) == 1 and not any("\x1b" in line for line in s.log)
    assert not any(line.startswith("listening on http://evil") for line in s.log)


# ---------------------------------------------------------------- ends


def test_servers_with_one_cache_folder_and_kills_leave_it_whole(serve, folder, tmp_path):
    for i in range(2, 6):
        shutil.copytree(LORA, folder / f"a{i}")
    for i in range(3):
        pair = [serve("--adapters", folder) for _ in range(2)]
        assert all(answers(s, f"a{i + 2}") is True for s in pair)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # both write the index at once
            assert list(pool.map(lambda s: s.stop(), pair)) == [0, 0]
        assert not [line for s in pair for line in s.log if "made anew" in line]
    last = serve("--adapters", folder)
    assert not said(last, "made anew", seconds=0)
    assert [p.name for p in tmp_path.glob("cache/edgelora/*") if p.suffix != ".index"] == []


@pytest.mark.parametrize("left", ["half", "folder", "fifo"])
def test_what_a_killed_server_left_of_the_index_is_written_over_or_told(serve, folder, tmp_path, left):
    s = serve("--adapters", folder)
    assert answers(s) is True
    assert s.stop() == 0
    index = next(tmp_path.glob("cache/edgelora/*.index"))
    index.unlink()
    new = index.with_name(index.name + ".new")
    {"half": lambda: new.write_bytes(b"edgelora"), "folder": new.mkdir, "fifo": lambda: os.mkfifo(new)}[left]()
    s = serve("--adapters", folder)
    assert answers(s) is True
    assert s.stop() == 0
    assert index.exists() == (left == "half")
    assert len(said(s, "what is known about adapters is not kept", seconds=0)) == (left != "half")


def test_a_second_signal_ends_the_server_at_once():
    s = Server([BINARY, "serve", "-m", TINY, "--port", "0", "--ctx-size", "512", "--slots", "1"])
    with s.connect() as c:
        body = b'{"prompt":%s,"max_tokens":500,"ignore_eos":true,"stream":true}' % str(["abc"] * 128).replace("'", '"').encode()
        c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert c.recv(16).startswith(b"HTTP/1.1 200")
        s.process.send_signal(signal.SIGTERM)
        assert said(s, "a second signal ends it at once")
        start = time.monotonic()
        assert s.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert time.monotonic() - start < 2
