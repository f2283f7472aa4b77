"""What the server promises when clients or the engine behave badly, on an engine without a model (tests/server_fake): its
completion repeats the prompt, a byte a token. `slow` takes 50 steps a token, `fail` fails at the third."""

import concurrent.futures
import json
import random
import signal
import socket
import threading
import time

import httpx
import pytest
from conftest import SECOND, read_all, request_bytes

TEXT = "/v1/completions"
ENDLESS = {"prompt": "abc", "max_tokens": 1_000_000, "ignore_eos": True}
SLOW = {"step_us": 1000}  # `slow`: 20 tokens a second


def events(body):
    """The data of a stream's events."""
    return [part.removeprefix("data: ") for part in body.split("\n\n") if part]


def in_background(fn, *args, **kwargs):
    return concurrent.futures.ThreadPoolExecutor(1).submit(fn, *args, **kwargs)


# ---------------------------------------------------------------- the engine


def test_a_full_queue_is_a_503_that_says_when_to_come_back(fake):
    s = fake(slots=1, queue=1, ctx=10_000_000)
    with s.connect() as busy:
        busy.sendall(request_bytes(TEXT, {**ENDLESS, "n": 2}))
        s.wait_busy(2)
        for stream in (False, True):
            response = s.completion(prompt="a", stream=stream)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "overloaded"
            assert int(response.headers["retry-after"]) >= 1
    s.wait_idle(SECOND)
    assert s.completion(prompt="a").status_code == 200


def test_a_request_of_which_only_a_part_found_room_leaves_nothing_behind(fake):
    s = fake(slots=2, queue=2)
    assert s.completion(**ENDLESS, n=5).status_code == 503
    s.wait_idle(SECOND)
    assert s.health()["requests"]["submitted"] == 4


def test_an_engine_that_is_out_of_memory_is_a_503_or_the_last_event_of_a_stream(fake):
    s = fake()
    response = s.completion(prompt="abcdef", model="fail")
    assert response.status_code == 503 and int(response.headers["retry-after"]) > 0
    assert response.json()["error"]["type"] == "server_error"
    got = events(s.completion(prompt="abcdef", model="fail", stream=True).text)
    assert [json.loads(e)["choices"][0]["text"] for e in got[:-2]] == ["a", "b", "c"]
    assert "fails here" in json.loads(got[-2])["error"]["message"]
    assert got[-1] == "[DONE]"
    assert s.completion(prompt="a").status_code == 200


def test_one_failed_choice_ends_the_others(fake):
    s = fake(slots=1)
    got = events(s.completion(prompt=["abcdef"] * 3, model="fail", stream=True).text)
    assert "error" in json.loads(got[-2])
    s.wait_idle(SECOND)


def test_a_prompt_that_does_not_fit_is_a_400(fake):
    error = fake(ctx=10).completion(prompt="a" * 10).json()["error"]
    assert error["code"] == "context_length_exceeded"


def test_characters_of_several_tokens_arrive_whole(fake):
    s = fake()
    text = "aé€😀z"
    body = s.completion(prompt=text, max_tokens=100, stream=True).text
    assert [json.loads(e)["choices"][0]["text"] for e in events(body)[:-1]] == ["a", "é", "€", "😀", "z", ""]
    cut = s.completion(prompt=text, max_tokens=2).json()["choices"][0]
    assert cut["text"] == "a\ufffd" and cut["finish_reason"] == "length"


# ---------------------------------------------------------------- senders


def trickle(s, data, seconds):
    """Sends a byte every 50 ms; what came back, and after how long it was over."""
    start = time.monotonic()
    with s.connect() as c:
        c.settimeout(0.05)
        got = b""
        for byte in data:
            try:
                c.sendall(bytes([byte]))
            except OSError:
                break
            try:
                piece = c.recv(65536)
            except TimeoutError:
                assert time.monotonic() - start < seconds
                continue
            except ConnectionResetError:
                break
            got += piece
            if not piece:
                break
        return got, time.monotonic() - start


def test_a_sender_that_trickles_is_cut_off(fake):
    s = fake(receive_timeout_ms=500)
    body = request_bytes(TEXT, {"prompt": "a" * 1000})
    got, took = trickle(s, body, 5)
    assert 0.4 < took < 1.5
    got, took = trickle(s, body[body.index(b"\r\n\r\n") :], 5)
    assert took < 1.5
    with s.connect() as c:
        c.sendall(body[:-100])
        got = read_all(c)
    assert got.startswith(b"HTTP/1.1 408")
    assert json.loads(got.split(b"\r\n\r\n")[1])["error"]["code"] == "request_timeout"


def test_a_sender_that_trickles_on_a_kept_connection_is_cut_off(fake):
    s = fake(receive_timeout_ms=500, idle_timeout_ms=1000)
    for first in (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"GET /hea"):
        start = time.monotonic()
        with s.connect() as c:
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in c.recv(65536)
            c.sendall(first)
            c.settimeout(0.05)
            got = None
            while got is None:
                assert time.monotonic() - start < 3
                try:
                    c.sendall(b"a")
                    got = c.recv(65536)
                except TimeoutError:
                    pass
                except OSError:
                    got = b""
        assert time.monotonic() - start < 2.5


def test_time_limits_spare_a_generation_and_its_client(fake):
    s = fake(receive_timeout_ms=300, idle_timeout_ms=300, **SLOW)
    for stream in (False, True):
        response = s.completion(prompt="a" * 1000, max_tokens=40, model="slow", stream=stream)
        assert response.status_code == 200
        assert response.elapsed.total_seconds() > 1.9 or stream
        assert response.text.count("a") >= 40


def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(fake):
    s = fake()
    for part in (b"POST /v1/comp", b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{") * 10:
        with s.connect() as c:
            c.sendall(part)
    time.sleep(0.5)
    start = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - start < 1
    assert "drained: all" in s.log


def test_an_idle_connection_is_closed(fake):
    s = fake(idle_timeout_ms=500)
    with s.connect() as c:
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        c.recv(65536)
        start = time.monotonic()
        assert c.recv(65536) == b""
        assert 0.3 < time.monotonic() - start < 2.5


def test_bodies_of_all_clients_together_have_a_limit(fake):
    s = fake(max_body=100_000)
    body = request_bytes(TEXT, {"prompt": "a" * 90_000, "max_tokens": 0})
    clients = [s.connect() for _ in range(30)]
    for c in clients:
        c.sendall(body[:-1])
    time.sleep(0.3)
    for c in clients:
        c.sendall(body[-1:])
    codes = {c.recv(65536).split(b" ")[1] for c in clients}
    assert codes == {b"200", b"429"}
    for c in clients:
        c.close()
    assert s.completion(prompt="a" * 90_000, max_tokens=0).status_code == 200


def test_connections_beyond_the_limit_wait(fake):
    s = fake(max_connections=2)
    held = [s.connect(), s.connect()]
    for c in held:
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        c.recv(65536)
    waiting = in_background(s.get, "/health")
    time.sleep(0.2)
    assert not waiting.done()
    held[0].close()
    assert waiting.result(5).status_code == 200
    held[1].close()


# ---------------------------------------------------------------- readers and hang-ups


def test_a_client_that_reads_nothing_stalls_nobody_and_is_dropped(fake):
    s = fake(slots=8, step_us=10, idle_timeout_ms=1000, ctx=10_000_000)
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect(("127.0.0.1", s.port))
    c.sendall(request_bytes(TEXT, {**ENDLESS, "stream": True}))
    s.wait_busy()
    for _ in range(20):
        assert s.completion(prompt="hello").json()["choices"][0]["text"] == "hello"
    s.wait_idle(60)
    c.close()


def test_an_answer_that_grows_beyond_all_bounds_fails_alone(fake):
    s = fake(slots=128, step_us=10, ctx=10_000_000)
    other = in_background(s.completion, prompt="hello " * 300, model="slow", max_tokens=20)
    response = s.completion(**ENDLESS, n=100)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "answer_too_large"
    with s.connect() as c:
        c.sendall(request_bytes(TEXT, {**ENDLESS, "n": 100, "stream": True}, "Connection: close"))
        s.wait_busy(100)
        s.wait_idle(60)
        assert b"answer_too_large" in read_all(c)[-1000:]
    assert other.result(60).status_code == 200


def test_a_slow_reader_gets_all_of_it(fake):
    s = fake(step_us=10)
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect(("127.0.0.1", s.port))
    c.sendall(request_bytes(TEXT, {"prompt": "x", "ignore_eos": True, "max_tokens": 3000, "stream": True}, "Connection: close"))
    got = b""
    while piece := c.recv(20_000):
        got += piece
        time.sleep(0.001)
    assert got.count(b'"text":"x"') == 3000 and b"[DONE]" in got
    c.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_hang_up_is_noticed_while_nothing_is_sent(fake, stream):
    s = fake(slots=1, step_us=20_000)  # `slow`: a token a second
    for gone in (lambda c: c.close(), lambda c: c.shutdown(socket.SHUT_WR)):
        c = s.connect()
        c.sendall(request_bytes(TEXT, {**ENDLESS, "model": "slow", "stream": stream}))
        s.wait_busy()
        gone(c)
        s.wait_idle(SECOND)
        c.close()


def test_a_hang_up_by_reset_is_noticed(fake):
    s = fake(slots=1, step_us=20_000)
    c = s.connect()
    c.sendall(request_bytes(TEXT, {**ENDLESS, "model": "slow"}))
    s.wait_busy()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    c.close()
    s.wait_idle(SECOND)


def test_many_clients_that_come_and_go_at_any_moment(fake):
    s = fake(slots=4, queue=16)
    until = time.monotonic() + 4
    good = []

    def client(seed):
        rnd = random.Random(seed)
        while time.monotonic() < until:
            text = "".join(rnd.choice("abcé€") for _ in range(rnd.randint(1, 60)))
            ask = {"prompt": text, "max_tokens": 1000, "stream": rnd.random() < 0.5, "n": rnd.randint(1, 3)}
            if rnd.random() < 0.6:
                with s.connect() as c:
                    raw = request_bytes(TEXT, ask)
                    c.sendall(raw[: rnd.choice([len(raw), len(raw), rnd.randint(1, len(raw))])])
                    time.sleep(rnd.random() * 0.03)
                continue
            response = s.completion(**ask)
            if response.status_code == 503:
                continue
            assert response.status_code == 200
            if not ask["stream"]:
                assert [c["text"] for c in response.json()["choices"]] == [text] * ask["n"]
            good.append(text)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for f in [pool.submit(client, i) for i in range(16)]:
            f.result()
    assert len(good) > 20
    s.wait_idle(2)


# ---------------------------------------------------------------- the end


def test_sigterm_finishes_what_runs_and_refuses_new_work(fake):
    s = fake(drain_ms=20_000, **SLOW)
    running = in_background(s.completion, prompt="a" * 30, max_tokens=30, model="slow")
    stream = in_background(s.completion, prompt="a" * 30, max_tokens=30, model="slow", stream=True)
    with s.connect() as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        kept.recv(65536)
        s.wait_busy(2)
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        kept.sendall(request_bytes(TEXT, {"prompt": "a"}))
        answer = kept.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503") and b"Connection: close" in answer
        with pytest.raises(httpx.ConnectError):
            s.health()
    assert running.result(20).json()["choices"][0]["text"] == "a" * 30
    assert events(stream.result(20).text)[-1] == "[DONE]"
    assert s.stop() == 0
    assert "drained: all" in s.log


def test_ready_says_no_while_all_is_served_still(fake):
    s = fake(delay_ms=120_000)
    assert s.get("/ready").json() == {"ready": True}
    s.process.send_signal(signal.SIGTERM)
    while (ready := s.get("/ready")).status_code == 200:
        time.sleep(0.01)
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    health = s.get("/health")
    assert health.status_code == 200 and health.json()["status"] == "leaving"
    answer = s.completion(prompt="ab", max_tokens=2)
    assert answer.status_code == 200 and answer.headers["connection"] == "close", "a kept connection is not to be found shut"
    assert s.stop() == 0 and "drained: all" in s.log


def test_a_drain_has_an_end(fake):
    s = fake(drain_ms=300, **SLOW)
    whole = in_background(s.completion, **ENDLESS, model="slow")
    with httpx.stream("POST", s.url + TEXT, json={**ENDLESS, "model": "slow", "stream": True}, timeout=60) as stream:  # it has begun
        s.wait_busy(2)
        start = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - start < 2
        assert whole.result(1).status_code == 503
        assert json.loads(events(stream.read().decode())[-2])["error"]["code"] == "shutting_down"


def test_a_stream_that_a_drain_ends_before_it_has_begun_is_a_503(fake):
    s = fake(slots=1, drain_ms=300, **SLOW)
    running = in_background(s.completion, **ENDLESS, model="slow")
    s.wait_busy()
    waiting = in_background(s.completion, **ENDLESS, stream=True)
    s.wait_busy(2)
    assert s.stop() == 0
    assert running.result(1).status_code == waiting.result(1).status_code == 503
    assert waiting.result().json()["error"]["code"] == "shutting_down"


def test_sigterm_in_a_storm_of_requests_ends_cleanly(fake):
    s = fake(drain_ms=100, slots=2)
    over = threading.Event()

    def client():
        while not over.is_set():
            try:
                s.completion(prompt="abc" * 20, max_tokens=100, stream=True)
            except httpx.HTTPError:
                time.sleep(0.001)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    start = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - start < 5
    over.set()
    for t in threads:
        t.join()


# ---------------------------------------------------------------- the log


def test_a_request_is_one_line_of_the_log_whatever_its_path(fake):
    s = fake()
    response = s.get("/a%0Ab%1B[31m")
    assert response.status_code == 404
    s.stop()
    lines = [line for line in s.log if response.headers["x-request-id"] in line]
    assert len(lines) == 1 and "GET /a?b?[31m 404" in lines[0]
