"""What the tests of the programs share: where the programs are, and servers that start, are spoken to, and stop.

EDGELORA_BIN names the program (default: build/edgelora), beside which edgelora-bench is; EDGELORA_MODEL the default model's file.
"""

import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading
import time

import httpx
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("EDGELORA_BIN", ROOT / "build" / "edgelora"))
BENCH = BINARY.with_name("edgelora-bench")
FAKE = BINARY.parent / "tests" / "server_fake" / "server_fake"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
MODEL = pathlib.Path(os.environ.get("EDGELORA_MODEL", CACHE / "edgelora" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
START_SECONDS = 120
os.environ["EDGELORA_ABORT_ON_BUG"] = "1"  # what a server would survive is to be seen here
# What is promised within a second: a sanitizer's build takes that long for one step of a full batch.
SECOND = 10.0 if {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ) else 1.0


def pytest_configure(config):
    config.addinivalue_line("markers", "long: computes long enough that a run under sanitizers leaves it out (-m 'not long')")


class Server:
    """A program that prints `listening on http://ADDRESS:PORT` when it is ready."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.log = []
        ready = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        try:
            self.url = ready.get(timeout=START_SECONDS)
        except queue.Empty:
            self.url = None
        if not self.url:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{command[0]} did not start:\n" + "\n".join(self.log[-20:]))
        self.port = int(self.url.rsplit(":", 1)[1])

    def _read(self, ready):
        for line in self.process.stdout:
            self.log.append(line.decode(errors="replace").rstrip())
            found = re.search(r"listening on (https?://\S+:\d+)", self.log[-1])
            if found:
                ready.put(found.group(1))
        ready.put(None)

    def stop(self, sig=signal.SIGTERM, timeout=30):
        """Ends the program; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join()
        return self.process.returncode

    def get(self, path, **kwargs):
        return httpx.get(self.url + path, timeout=60, **kwargs)

    def post(self, path, body, **kwargs):
        """`body`: bytes as they are, or something that becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.url + path, content=data, timeout=60, **kwargs)

    def completion(self, **body):
        return self.post("/v1/completions", body)

    def chat(self, text, **body):
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **body})

    key = None  # an operator's, where the server asks for one: its health has figures then

    def health(self):
        return self.get("/health", headers={"Authorization": f"Bearer {self.key}"} if self.key else {}).json()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def wait_idle(self, seconds):
        """How long it took until no generation ran or waited; fails after `seconds`."""
        start = time.monotonic()
        while True:
            health = self.health()
            took = time.monotonic() - start
            if health["slots_busy"] == 0 and health["queued"] == 0:
                return took
            assert took < seconds, health
            time.sleep(0.02)

    def wait_busy(self, n=1, seconds=30):
        """Until n generations run or wait."""
        start = time.monotonic()
        while True:
            health = self.health()
            if health["slots_busy"] + health["queued"] >= n:
                return
            assert time.monotonic() - start < seconds, health
            time.sleep(0.01)


def request_bytes(path, body, *headers):
    """A POST as it goes over the wire."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(head).encode() + data


def read_all(sock):
    """Until the server closes."""
    data = bytearray()
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return bytes(data)


@pytest.fixture(scope="session")
def server():
    """edgelora serve with the default model and the demo adapters. Whatever a test does to it, it goes on serving."""
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    if not MODEL.exists():
        pytest.skip("the default model is missing (EDGELORA_MODEL)")
    s = Server([BINARY, "serve", "-m", MODEL, "--adapters", ROOT / "adapters", "--port", "0"])
    yield s
    assert s.stop() == 0, s.log[-20:]


@pytest.fixture(scope="module")
def client(server):
    """OpenAI's own."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300) as c:
        yield c


@pytest.fixture(scope="module")
def names(client):
    """The base, then the adapters."""
    return [m.id for m in client.models.list()]


@pytest.fixture
def fake():
    """Starts servers on the engine without a model: fake(slots=1, queue=0, ...). See tests/server_fake."""
    if not FAKE.exists():
        pytest.skip("server_fake is not built")
    started = []

    def start(**settings):
        started.append(Server([FAKE, *(f"{name}={value}" for name, value in settings.items())]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]
