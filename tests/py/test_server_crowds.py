"""What many requests of one caller, or large ones, cost another's short ones: on an engine without a model (tests/server_fake), so
that all there is to wait for is the server. tools/crowd measures the same, and more, on a model."""

import concurrent.futures
import gzip
import json
import pathlib
import socket
import statistics
import threading
import time

import pytest
from conftest import SECOND, read_all, request_bytes

TEXT = "/v1/completions"
MIB = 1 << 20
MAX_BODY = 4 * MIB
# As long as a body may be, and all of it has to be parsed.
GIANT = {"prompt": "a", "max_tokens": 0, "user": "All work and no play. " * ((MAX_BODY - 100) // 22)}
SHORT = {"prompt": "a", "max_tokens": 0}


def bearer(key):
    return f"Authorization: Bearer {key}"


@pytest.fixture
def keyed(fake, tmp_path):
    """A server with two keys: keyed(slots=1, ...)."""
    path = tmp_path / "keys"
    path.write_text("sk-one\nsk-two\n")
    path.chmod(0o600)

    def start(**settings):
        s = fake(keys=path, **settings)
        s.key = "sk-two"
        return s

    return start


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def timed(s, data):
    """Sends on a connection of its own; when it began, when the whole answer was there, and its status."""
    began = time.monotonic()
    with s.connect() as c:
        c.sendall(data)
        answer = read_all(c)
    return began, time.monotonic(), status_of(answer)


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_short_request_does_not_wait_for_giants(fake, coding):
    """Eight clients send bodies of 4 MiB, one after the other. A short request among them waits for none: it takes a small part of
    what theirs take, nearly always. With one line for all it takes as long as theirs. As gzip the bodies are short ones until they
    are decoded."""
    s = fake(max_body=MAX_BODY)
    giant = request_bytes(TEXT, GIANT, "Connection: close")
    if coding:
        packed = gzip.compress(json.dumps(GIANT).encode())
        assert len(packed) < 16 << 10
        giant = request_bytes(TEXT, packed, "Connection: close", f"Content-Encoding: {coding}")
    short = request_bytes(TEXT, SHORT, "Connection: close")
    ended = threading.Event()
    giants, shorts = [], []

    def send():
        while not ended.is_set():
            began, end, status = timed(s, giant)
            assert status == 200
            giants.append(end - began)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send) for _ in range(8)]
        try:
            while not giants:  # all others wait by then
                time.sleep(0.005)
            while len(giants) < 17:
                began, end, status = timed(s, short)
                assert status == 200
                shorts.append(end - began)
                time.sleep(0.005)
                assert not any(one.done() for one in senders)
        finally:
            ended.set()
        for one in senders:
            one.result()
    assert statistics.median(shorts) < statistics.median(giants) / 4, (shorts, giants)
    # Of a hundred one may meet a machine that is busy with others.
    assert sorted(shorts)[len(shorts) * 99 // 100 - 1] < statistics.median(giants), (shorts, giants)


def test_a_callers_giants_leave_a_reader_to_others(keyed):
    s = keyed(max_body=MAX_BODY)
    giants = [request_bytes(TEXT, GIANT, "Connection: close", bearer(key)) for key in ("sk-one", "sk-two")]
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        many = [pool.submit(timed, s, giants[0]) for _ in range(8)]
        while s.health()["requests"]["submitted"] < 1:
            time.sleep(0.002)
        other = pool.submit(timed, s, giants[1]).result()
        ends = [one.result() for one in many]
    assert {other[2], *(status for _, _, status in ends)} == {200}
    assert sum(other[0] < end < other[1] for _, end, _ in ends) <= 4, (other, ends)


def test_a_callers_bodies_leave_room_for_others(keyed):
    """Of 16 times the limit of one body a key alone has half, however many connections it opens."""
    s = keyed(max_body=MAX_BODY)
    body = request_bytes(TEXT, GIANT, bearer("sk-one"))
    held = [s.connect() for _ in range(11)]
    for c in held:
        c.sendall(body[:-1])
    time.sleep(0.3)
    assert timed(s, request_bytes(TEXT, GIANT, "Connection: close", bearer("sk-two")))[2] == 200
    began = time.monotonic()
    for c in held:
        c.sendall(body[-1:])
    answers = [c.recv(65536) for c in held]
    assert time.monotonic() - began > 0.9  # who comes again at once does so once a second
    refused = [answer for answer in answers if status_of(answer) == 429]
    assert len(refused) == 3 and sum(status_of(answer) == 200 for answer in answers) == 8
    assert b"\r\nRetry-After: 1\r\n" in refused[0]
    assert b"this API key" in refused[0] and b"of %d bytes" % (16 * MAX_BODY) in refused[0]
    for c in held:
        c.close()
    assert timed(s, request_bytes(TEXT, GIANT, "Connection: close", bearer("sk-one")))[2] == 200


def test_a_refusal_that_is_held_back_does_not_hold_up_the_end(keyed):
    s = keyed(max_body=100_000, drain_ms=0)
    body = request_bytes(TEXT, {"prompt": "a" * 90_000}, bearer("sk-one"))
    held = [s.connect() for _ in range(12)]
    for c in held:
        c.sendall(body[:-1])
    time.sleep(0.1)
    for c in held[9:]:
        c.sendall(body[-1:])
    time.sleep(0.1)
    began = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - began < 10 * SECOND
    for c in held:
        c.close()


# ---------------------------------------------------------------- connections

MODELS = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def connect_from(s, address):
    """With a small window, so that what is not read is not sent either."""
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    c.settimeout(60)
    c.bind((address, 0))
    c.connect(("127.0.0.1", s.port))
    return c


@pytest.mark.parametrize("sent", [b"", request_bytes(TEXT, SHORT)[:-1], HEALTH, MODELS], ids=["silent", "half", "idle", "takes nothing"])
def test_slow_clients_keep_nobody_out(fake, sent):
    """100 connections, where 64 may be open, whose clients do nothing for longer than the test: others are answered all the same, and a
    generation that runs, or an idle connection of another address, is not shut for them."""
    s = fake(max_connections=64, more=10_000, step_us=1000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, connect_from(s, "127.0.0.2") as other:
        other.sendall(HEALTH)
        assert other.recv(65536).startswith(b"HTTP/1.1 200")
        tokens = 130 if sent == MODELS else 50  # 20 of them a second: what is to be taken has a grace of 5 s
        running = pool.submit(s.completion, prompt="a" * 1000, model="slow", max_tokens=tokens)
        s.wait_busy()
        crowd = []
        for _ in range(100):
            crowd.append(connect_from(s, "127.0.0.1"))
            crowd[-1].sendall(sent)
        began = time.monotonic()
        for _ in range(20):
            assert timed(s, request_bytes(TEXT, SHORT, "Connection: close"))[2] == 200
        assert time.monotonic() - began < 15
        other.sendall(HEALTH)
        assert other.recv(65536).startswith(b"HTTP/1.1 200")
        assert running.result(60).json()["choices"][0]["text"] == "a" * tokens
        for c in crowd:
            c.close()
    assert any("connections:" in line for line in s.log)


def test_sixteen_clients_are_answered_beside_hundreds_of_slow_ones_and_nobody_is_shut(fake):
    """Half of 400 clients trickle their requests, half read nothing of their streams. While there is room for all, each of 16 others'
    requests is answered, and the slow ones are when they go on."""
    s = fake(slots=16, step_us=50, max_connections=1000, receive_timeout_ms=600_000, idle_timeout_ms=600_000)
    request = request_bytes(TEXT, {"prompt": "b" * 300, "max_tokens": 3}, "Connection: close")
    stream = request_bytes(TEXT, {"prompt": "ab" * 300, "max_tokens": 600, "stream": True}, "Connection: close")
    slow = [connect_from(s, "127.0.0.1") for _ in range(400)]
    for i, c in enumerate(slow):
        c.sendall(stream if i % 2 else request[: i + 1])

    def work(_):
        with s.connect() as c:
            for _ in range(20):
                c.sendall(request_bytes(TEXT, {"prompt": "w", "max_tokens": 1}))
                got = b""
                while not got.endswith(b"}") or b"\r\n\r\n" not in got:
                    piece = c.recv(65536)
                    assert piece, got
                    got += piece
                assert status_of(got) == 200
            return 20

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for i, c in enumerate(slow):  # a byte more of each meanwhile
            if i == 0:
                answered = [pool.submit(work, j) for j in range(16)]
            if not i % 2:
                c.sendall(request[i + 1 : i + 2])
        assert sum(f.result(120) for f in answered) == 16 * 20
    for i, c in enumerate(slow):
        if not i % 2:
            c.sendall(request[i + 2 :])
        # Through a window this small the rest would come when the system's timers say so: after half a minute, or two.
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        answer = read_all(c)
        assert status_of(answer) == 200 and (not i % 2 or b"[DONE]" in answer), (i, answer[-200:])
        c.close()
    assert not any("connections:" in line for line in s.log)


# ---------------------------------------------------------------- answers


def test_answers_that_nobody_takes_have_a_bound_for_each_caller(keyed):
    """24 clients of one key ask for all the text that a request may leave, and read none of it."""
    s = keyed(slots=250, step_us=10, ctx=10_000_000)
    endless = {"prompt": "abc", "max_tokens": 1_000_000, "ignore_eos": True, "stream": True, "logprobs": 20, "n": 10}
    crowd = [connect_from(s, "127.0.0.1") for _ in range(24)]
    for c in crowd:
        c.sendall(request_bytes(TEXT, endless, bearer("sk-one")))
    start = time.monotonic()
    while s.health()["requests"]["submitted"] < 240:  # some may have failed by then
        assert time.monotonic() - start < 30
        time.sleep(0.01)
    assert timed(s, request_bytes(TEXT, SHORT, "Connection: close", bearer("sk-two")))[2] == 200
    s.wait_idle(60)  # each has failed
    resident = int(pathlib.Path(f"/proc/{s.process.pid}/statm").read_text().split()[1]) * 4096
    assert SECOND > 1 or resident < 240 * MIB, resident / MIB  # sanitizers have memory of their own
    assert timed(s, request_bytes(TEXT, SHORT, "Connection: close", bearer("sk-two")))[2] == 200
    for c in crowd:
        c.close()
