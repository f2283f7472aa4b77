"""SIGHUP: keys, folders, and what of the configuration may change while requests run; what is broken changes nothing.

docs/serving.md names the promises that these tests check."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import threading
import time

import httpx
import pytest
from conftest import BINARY, START_SECONDS, Server
from test_server_adapters import ENDLESS, LORA, TINY, error_of

TEXT = "/v1/completions"


@pytest.fixture
def serve(tmp_path):
    """Starts `serve --config` with lines of a file, on a model that is small."""
    started = []

    def start(lines, *options):
        (tmp_path / "edgelora.yaml").write_text(lines)
        s = Server([BINARY, "serve", "--config", tmp_path / "edgelora.yaml", "-m", TINY, "--port", "0", "--threads", "1", *map(str, options)])
        started.append(s)
        return s

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


def hang_up(s):
    """Sends SIGHUP and waits until all has been read anew; the lines of the log about it."""
    begin = len(s.log)
    s.process.send_signal(signal.SIGHUP)
    wait_for(s, "SIGHUP: done", begin)
    return "\n".join(line for line in s.log[begin:] if "SIGHUP" in line)


def wait_for(s, text, begin=0):
    end = time.monotonic() + START_SECONDS
    while not any(text in line for line in s.log[begin:]):
        assert time.monotonic() < end and s.process.poll() is None, s.log[-20:]
        time.sleep(0.01)


def keys(path, *lines):
    path.write_text("".join(line + "\n" for line in lines))
    path.chmod(0o600)


def ask(s, key, **body):
    return s.post(TEXT, {"prompt": "abc", "max_tokens": 4, "temperature": 0, **body}, headers={"Authorization": f"Bearer {key}"})


def test_keys_are_replaced_and_what_runs_goes_on(serve, tmp_path):
    keys(tmp_path / "keys", "sk-first-0123456789", "sk-second-0123456789")
    s = serve("api-keys: keys\nctx-size: 1024\n")
    assert ask(s, "sk-first-0123456789").status_code == 200
    body = {**ENDLESS, "stream": True}
    with httpx.stream("POST", s.url + TEXT, json=body, headers={"Authorization": "Bearer sk-first-0123456789"}, timeout=60) as running:
        lines = running.iter_lines()
        assert next(lines).startswith("data: ")
        keys(tmp_path / "keys", "sk-second-0123456789", "sk-third-0123456789")
        assert f"keys of {tmp_path}/keys" in hang_up(s)
        error_of(ask(s, "sk-first-0123456789"), 401, None, "invalid_api_key")
        assert [ask(s, f"sk-{k}-0123456789").status_code for k in ("second", "third")] == [200, 200]
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]" and json.loads(rest[-2][6:])["choices"][0]["finish_reason"] == "length"


def test_a_broken_file_changes_nothing_and_is_said(serve, tmp_path):
    keys(tmp_path / "keys", "sk-first-0123456789")
    s = serve("api-keys: keys\n")
    (tmp_path / "edgelora.yaml").write_text("api-keys: others\nslots: 0\n")
    keys(tmp_path / "keys", "sk-first-0123456789", "sk-first-0123456789")
    said = hang_up(s)
    assert f"{tmp_path}/edgelora.yaml, line 2: slots: '0' is not a whole number from 1 to 256; nothing of the file is changed" in said
    assert f"api keys: {tmp_path}/keys, line 2: the key is there twice; the keys stay as they were" in said
    assert ask(s, "sk-first-0123456789").status_code == 200
    (tmp_path / "edgelora.yaml").unlink()
    (tmp_path / "keys").unlink()
    assert hang_up(s).count("No such file") == 2
    assert ask(s, "sk-first-0123456789").status_code == 200
    error_of(ask(s, "sk-others-0123456789"), 401, None, "invalid_api_key")


def test_a_new_file_of_keys_counts_and_a_lost_one_does_not_open_the_server(serve, tmp_path):
    for name in ("first", "second"):
        keys(tmp_path / name, f"sk-{name}-0123456789")
    s = serve("")
    assert s.completion(prompt="abc", max_tokens=1).status_code == 200
    for name in ("first", "second"):
        (tmp_path / "edgelora.yaml").write_text(f"api-keys: {name}\n")
        assert "at the next start" not in hang_up(s)
        assert [ask(s, f"sk-{k}-0123456789").status_code for k in ("first", "second")] == ([200, 401] if name == "first" else [401, 200])
    (tmp_path / "edgelora.yaml").write_text("")
    for _ in range(2):
        assert "changes at the next start: api-keys" in hang_up(s)
        assert ask(s, "sk-second-0123456789").status_code == 200 and ask(s, "none").status_code == 401


def test_what_cannot_change_is_named_in_one_line(serve, tmp_path):
    s = serve("slots: 8\nhost: 127.0.0.1\nqueue: 7\n", "--queue", "9")
    assert "next start" not in hang_up(s)
    (tmp_path / "edgelora.yaml").write_text("slots: 9\nmemory: 64M\nhost: 127.0.0.1\nqueue: 8\nverbose: true\n")
    for _ in range(2):  # as long as it is so
        lines = [line for line in hang_up(s).splitlines() if "next start" in line]
        assert len(lines) == 1 and lines[0].endswith("edgelora.yaml says of these changes at the next start: slots, memory"), lines
    (tmp_path / "edgelora.yaml").write_text("queue: 6\nhost: 127.0.0.1\nslots: 8\n")
    assert "next start" not in hang_up(s)


def test_what_is_logged_changes(serve, tmp_path):
    config = tmp_path / "edgelora.yaml"
    keys(tmp_path / "keys", "sk-first-0123456789")
    s = serve("api-keys: keys\n")
    loud = s.get("/health").headers["x-request-id"]
    keys(tmp_path / "keys", "sk-first-0123456789", "sk-first-0123456789")  # an error, which is said last where nothing else is
    config.write_text("api-keys: keys\nquiet: true\n")
    s.process.send_signal(signal.SIGHUP)
    wait_for(s, "the keys stay as they were")
    quiet = s.get("/health").headers["x-request-id"]
    config.write_text("api-keys: keys\nverbose: true\nlog-format: json\n")
    hang_up(s)
    assert json.loads(s.log[-1])["level"] == "info"
    log = "\n".join(s.log)
    assert loud in log and quiet not in log


def test_folders_are_looked_through(serve, tmp_path):
    folder = tmp_path / "adapters"
    folder.mkdir()
    s = serve("adapters: [adapters]\n")
    shutil.copytree(LORA / "tiny-peft", tmp_path / "new")
    (tmp_path / "new").rename(folder / "new")
    assert re.search(r"SIGHUP: adapters: \d added, \d changed, 0 removed, 0 failed", hang_up(s))
    assert "new" in [m["id"] for m in s.get("/v1/models").json()["data"]]


def test_a_hundred_signals_under_load_harm_nobody(serve, tmp_path):
    keys(tmp_path / "keys", "sk-first-0123456789", "sk-second-0123456789")
    s = serve("api-keys: keys\n")
    want = ask(s, "sk-first-0123456789", max_tokens=16).json()["choices"]
    hang_up(s)
    files = len(os.listdir(f"/proc/{s.process.pid}/fd"))
    over, wrong = threading.Event(), []

    def load(key):
        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                got = client.post(s.url + TEXT, json={"prompt": "abc", "max_tokens": 16, "temperature": 0}, headers={"Authorization": f"Bearer {key}"})
                if got.status_code != 200 or got.json()["choices"] != want:
                    wrong.append(got.text)

    threads = [threading.Thread(target=load, args=(f"sk-{k}-0123456789",)) for k in ("first", "second", "first")]
    for t in threads:
        t.start()
    for i in range(100):
        keys(tmp_path / "new", *(f"sk-{k}-0123456789" for k in (("first", "second") if i % 2 else ("second", "other", "first"))))
        (tmp_path / "new").rename(tmp_path / "keys")
        s.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    hang_up(s)
    over.set()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    assert len(os.listdir(f"/proc/{s.process.pid}/fd")) <= files + 3  # connections may be on their way out
    assert not [line for line in s.log if "bug" in line or "stay as they were" in line]


def test_a_terminal_that_closes_ends_it(tmp_path):
    master, slave = pty.openpty()
    log = open(tmp_path / "log", "wb")

    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen([BINARY, "serve", "-m", TINY, "--port", "0"], stdin=slave, stdout=slave, stderr=log, preexec_fn=own_terminal)
    os.close(slave)
    end = time.monotonic() + START_SECONDS

    def wait(text):
        while text not in (tmp_path / "log").read_text():
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.01)

    wait("listening on")
    process.send_signal(signal.SIGHUP)
    wait("SIGHUP: done")  # the terminal is there: somebody has asked for it
    os.close(master)
    assert process.wait(START_SECONDS) == 0
    assert "ending" in (tmp_path / "log").read_text()
