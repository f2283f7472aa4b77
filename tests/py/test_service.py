"""What a service manager hears of the server: sd_notify's protocol, and a sign of life that a hung engine does not give."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import time

import pytest

from conftest import BINARY, ROOT, START_SECONDS, Server

if not BINARY.exists():
    pytest.skip("edgelora is not built (EDGELORA_BIN)", allow_module_level=True)

TINY = ROOT / "tests/golden/tiny/q8_0.gguf"
WATCHDOG_USEC = 150_000  # a sign each third of it


class Manager:
    """Hears datagrams at a path, or at a name in the abstract namespace."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.address = address

    def next(self, seconds=START_SECONDS):
        self.socket.settimeout(seconds)
        data = self.socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in data.split("\n"))

    def until(self, name):
        """All that is heard up to one with this name in it."""
        heard = [self.next()]
        while name not in heard[-1]:
            heard.append(self.next())
        return heard

    def count(self, name, seconds):
        """How many with this name come within that time."""
        n, end = 0, time.monotonic() + seconds
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while True:
                n += name in self.next(max(0, end - time.monotonic()))
        return n


@pytest.fixture
def serve(monkeypatch, tmp_path):
    started = []

    def start(address=None, **environment):
        manager = Manager(address or str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        started.append(Server([BINARY, "serve", "-m", TINY, "--port", "0", "--memory", "8M"]))
        return started[-1], manager

    yield start
    for server in started:
        assert server.stop() == 0, server.log[-20:]


def test_the_manager_hears_of_loading_then_of_readiness_then_of_the_end(serve):
    server, manager = serve()
    *before, ready = manager.until("READY")
    assert before and all("loading" in b["STATUS"] and int(b["EXTEND_TIMEOUT_USEC"]) >= 10_000_000 for b in before)
    assert ready["READY"] == "1" and server.url in ready["STATUS"]
    assert server.get("/health").status_code == 200
    assert server.stop() == 0
    assert manager.next()["STOPPING"] == "1"


def test_readiness_is_told_at_an_abstract_address_too(serve):
    _, manager = serve(f"@edgelora-test-{os.getpid()}")
    assert manager.until("READY")


def test_a_manager_that_does_not_hear_is_named_and_the_server_serves(monkeypatch, tmp_path):
    for address, why in [(tmp_path / "nobody", "No such file"), ("x" * 200, "not supported"), (f"/{'x' * 200}", "too long")]:
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        server = Server([BINARY, "serve", "-m", TINY, "--port", "0", "--memory", "8M"])
        assert server.get("/health").status_code == 200
        assert server.stop() == 0
        assert any("NOTIFY_SOCKET" in line and why in line for line in server.log), server.log


def test_nobody_is_pinged_who_does_not_watch_this_process(serve):
    _, manager = serve(WATCHDOG_USEC=str(WATCHDOG_USEC), WATCHDOG_PID="1")
    manager.until("READY")
    assert manager.count("WATCHDOG", 4 * WATCHDOG_USEC / 3e6) == 0


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


@contextlib.contextmanager
def stopped(thread):
    """One thread of another process does nothing meanwhile; its other threads go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(PTRACE_SEIZE, thread, None, None):
        pytest.skip(f"no thread can be stopped here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        assert libc.ptrace(PTRACE_DETACH, thread, None, None) == 0


def test_the_watchdog_hears_of_an_idle_engine_and_nothing_of_one_that_hangs(serve):
    server, manager = serve(WATCHDOG_USEC=str(WATCHDOG_USEC))
    manager.until("READY")
    for _ in range(3):
        assert manager.next()["WATCHDOG"] == "1"
    threads = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    (engine,) = [int(t.name) for t in threads if (t / "comm").read_text().strip() == "el-engine"]
    with stopped(engine):
        manager.count("WATCHDOG", 0)  # those that were sent before
        # One may come of what it did before it was stopped; of a timer there would be ten.
        assert manager.count("WATCHDOG", 10 * WATCHDOG_USEC / 3e6) <= 1
        assert server.get("/v1/models").status_code == 200  # the others do not hang
    assert manager.next()["WATCHDOG"] == "1"


def test_the_watchdog_hears_of_an_engine_while_the_last_requests_end(serve):
    server, manager = serve(WATCHDOG_USEC=str(WATCHDOG_USEC))
    manager.until("READY")
    with server.connect() as held:  # a request that never ends is waited for
        held.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert b" 100 " in held.recv(4096)  # it has begun
        server.process.send_signal(signal.SIGTERM)
        manager.until("STOPPING")
        assert manager.next()["WATCHDOG"] == "1"
    server.process.wait(30)  # a second signal would end it at once


def test_the_manager_hears_of_a_reload_and_of_its_end(serve):
    server, manager = serve()
    manager.until("READY")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.process.send_signal(signal.SIGHUP)
    begun, done = manager.next(), manager.next()
    assert begun["RELOADING"] == "1" and before <= int(begun["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert done["READY"] == "1" and server.url in done["STATUS"]
    assert server.get("/health").status_code == 200
