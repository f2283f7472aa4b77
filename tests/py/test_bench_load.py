"""edgelora-bench load: what it asks for is what was wanted, what it tells is what happened, and no server brings it down."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import BENCH, ROOT

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"  # its tokens below 256 are text for the fake server, too
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="edgelora-bench is not built (EDGELORA_BIN)")


def start(url, *args):
    return subprocess.Popen([BENCH, "load", "--url", url, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def load(url, *args, status=0, timeout=60):
    """Runs it; standard output, and what it said."""
    process = start(url, *args)
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == status, (process.returncode, out.decode(), err.decode())
    return out.decode(), err.decode()


def report(url, *args, **kwargs):
    out, _ = load(url, *args, "--json", "-", **kwargs)
    r = json.loads(out)
    assert r["schema"] == "edgelora-load/1"
    r["rows"] = [dict(zip(r["request_columns"], row)) for row in r["requests"]]
    return r


class Misbehaving:
    """A server of one answer: `answer(request bytes, socket)` for /v1/completions with a stream."""

    def __init__(self, answer):
        self.answer = answer
        self.bodies = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            data = b""
            try:
                while True:
                    while b"\r\n\r\n" not in data:
                        chunk = sock.recv(65536)
                        if not chunk:
                            return
                        data += chunk
                    head, data = data.split(b"\r\n\r\n", 1)
                    n = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0)
                    while len(data) < n:
                        data += sock.recv(65536)
                    body, data = data[:n], data[n:]
                    if not self._reply(head, body, sock):
                        return
            except OSError:
                pass

    def _reply(self, head, body, sock):
        if head.startswith(b"GET /v1/models"):
            text = {"data": [{"id": "base", "parent": None}, {"id": "a", "parent": "base"}, {"id": "b", "parent": "base"}]}
        elif head.startswith(b"GET /lora-adapters"):
            text = [{"id": 0, "path": "x", "scale": 1.0}, {"id": 1, "path": "y", "scale": 1.0}]
        elif head.startswith(b"POST"):
            request = json.loads(body)
            if request.get("stream"):
                self.bodies.append(request)
                return self.answer(request, sock)
            text = {"choices": [{"text": "x", "finish_reason": "length"}], "usage": {"prompt_tokens": len(request["prompt"]), "completion_tokens": 1}}
        else:
            sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        data = json.dumps(text).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        return True

    def close(self):
        self.listener.close()


@pytest.fixture
def misbehaving():
    servers = []

    def make(answer):
        servers.append(Misbehaving(answer))
        return servers[-1]

    yield make
    for s in servers:
        s.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text="x", finish=None, **more):
    return chunk(b"data: " + json.dumps({"choices": [{"text": text, "finish_reason": finish}], **more}).encode() + b"\n\n")


def good(request, sock, delay=0.0, gap=0.0):
    """A right answer: the first text after `delay`, `gap` between texts."""
    sock.sendall(HEAD)
    for i in range(request["max_tokens"]):
        time.sleep(gap if i else delay)
        sock.sendall(event())
    usage = {"prompt_tokens": len(request["prompt"]), "completion_tokens": request["max_tokens"]}
    sock.sendall(event("", "length") + chunk(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
                 + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return True


# ---- against a server that does what it should


def test_an_open_loop_asks_at_the_times_of_its_trace(fake, tmp_path):
    s, trace = fake(slots=16), tmp_path / "trace.jsonl"
    args = ["-m", TINY, "--adapters", "upper,x", "--rate", 40, "--duration", 2, "--input", "4:9", "--output", "2:6", "--seed", 3]
    # "x" is no adapter of the server: those requests fail, and are told as what they are.
    r = report(s.url, *args, "--trace", trace)
    planned = [json.loads(line) for line in trace.read_text().splitlines()[1:]]
    assert len(planned) == len(r["rows"]) == r["summary"]["sent"] > 40
    for want, got in zip(planned, r["rows"]):
        assert got["at"] == pytest.approx(want["at"], abs=1e-6) and r["adapters"][got["adapter"]] == want["adapter"]
        assert (got["input"], got["output"]) == (want["input"], want["output"])
        assert got["sent"] >= got["at"] - 1e-6
        if want["adapter"] == "x":
            assert (got["end"], got["status"]) == ("http", 404)
        else:
            assert got["end"] == "done" and got["prompt_tokens"] == want["input"] and got["completion_tokens"] == want["output"]
            assert got["sent"] <= got["first"] <= got["done"]
    assert r["summary"]["done"] + r["errors"]["http"]["n"] == len(planned)
    assert r["summary"]["other_lengths"] == 0
    again = report(s.url, *args)
    assert [row[:1] + row[5:8] for row in again["requests"]] == [row[:1] + row[5:8] for row in r["requests"]]
    assert again["workload"]["prompt_seed"] != r["workload"]["prompt_seed"]
    s.wait_idle(30)


def test_a_trace_is_replayed_faster_and_onto_other_adapters(fake, tmp_path):
    s, trace = fake(slots=16, more=2), tmp_path / "trace.csv"
    trace.write_text("arrival,adapter,input_tokens,output_tokens\n100,p,5,2\n102,q,6,3\n101,p,7,4\n")
    process = start(s.url, "--adapter-prefix", "more/", "--replay", trace, "--speed", 10, "--json", "-")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"2 recorded adapters stand for the server's 2" in err
    r = json.loads(out)
    assert [[r["adapters"][row[5]], *row[6:8]] for row in r["requests"]] == [["more/0", 5, 2], ["more/0", 7, 4], ["more/1", 6, 3]]
    assert [row[0] for row in r["requests"]] == pytest.approx([0, 0.1, 0.2])


def test_a_closed_loop_has_as_many_requests_at_a_time_as_clients(misbehaving):
    lock, now, most, first = threading.Lock(), [0], [0], threading.Barrier(5)

    def answer(request, sock):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            together = len(s.bodies) <= 5
        if together:  # the first answers wait for each other
            first.wait(60)
        with lock:
            now[0] -= 1
        return good(request, sock)

    s = misbehaving(answer)
    r = report(s.url, "--clients", 5, "--requests", 40, "--own-adapter", "--n-adapters", 2, "--input", 3, "--output", 2)
    assert most[0] == 5
    assert r["summary"]["done"] == len(s.bodies) == 40
    assert {row["adapter"] for row in r["rows"]} == {0, 1}
    assert r["generator"]["connections"] == 5


def test_prompts_and_lengths_are_exact_and_adapters_named_as_the_server_wants(misbehaving):
    s = misbehaving(good)
    report(s.url, "--clients", 1, "--requests", 3, "--n-adapters", 1, "--input", 17, "--output", 3)
    report(s.url, "--clients", 1, "--requests", 3, "--n-adapters", 0, "--input", 17, "--output", 3)
    report(s.url, "--clients", 1, "--requests", 3, "--auto", "--input", 17, "--output", 3)
    report(s.url, "--clients", 1, "--requests", 3, "--api", "llama-server", "--adapters", "1", "--input", 17, "--output", 3)
    for body in s.bodies:
        assert len(body["prompt"]) == 17 and all(1000 <= token < 9000 for token in body["prompt"])
        assert body["max_tokens"] == 3 and body["ignore_eos"] is True and body["temperature"] == 1 and "top_p" not in body
    assert [b.get("model") for b in s.bodies] == ["a"] * 3 + ["base"] * 3 + ["auto"] * 3 + [None] * 3
    assert [b.get("lora") for b in s.bodies[9:]] == [[{"id": 1, "scale": 1.0}]] * 3
    prompts = {tuple(b["prompt"]) for b in s.bodies}
    assert len(prompts) == len(s.bodies)
    report(s.url, "--clients", 1, "--requests", 1, "--n-adapters", 0, "--input", 17, "--output", 3, "--temperature", 0.5, "--top-p", 0.25)
    assert s.bodies[-1]["temperature"] == 0.5 and s.bodies[-1]["top_p"] == 0.25


def test_times_are_those_of_the_server(misbehaving):
    s = misbehaving(lambda request, sock: good(request, sock, delay=0.2, gap=0.05))
    r = report(s.url, "--clients", 2, "--requests", 4, "--n-adapters", 0, "--input", 3, "--output", 5, "--slo-ttft", 0.1)
    figures = r["summary"]
    assert 0.2 <= figures["first_text_seconds"]["p50"] < 1
    assert 0.04 <= figures["gap_seconds"]["p50"] < 0.5 and figures["gap_seconds"]["n"] == 4 * 4
    assert 0.4 <= figures["latency_seconds"]["p50"] < 3
    assert figures["slo"]["met"] == 0 and figures["slo"]["of"] == 4
    assert len(r["gap_percentiles"]) == 101 and r["gap_percentiles"][-1] >= r["gap_percentiles"][50] >= 0.04


def test_waiting_counts_from_when_a_request_was_due(misbehaving):
    """One at a time takes 0.1 s each, and they come at 50 a second: the last waits for all before it."""
    turn = threading.Lock()

    def answer(request, sock):
        with turn:
            time.sleep(0.1)
            return good(request, sock)

    s = misbehaving(answer)
    r = report(s.url, "--rate", 50, "--cv", 0, "--requests", 20, "--n-adapters", 0, "--input", 3, "--output", 1)
    assert r["summary"]["done"] == 20
    assert r["summary"]["latency_seconds"]["max"] > 20 * 0.1 - 20 / 50 - 0.1
    assert r["summary"]["late_seconds"]["p50"] < 0.3


def test_what_the_server_says_of_its_cache_and_its_process_is_told(server):
    names = [m["id"] for m in server.get("/v1/models").json()["data"] if m["parent"]]
    r = report(server.url, "--clients", 2, "--requests", 6, "--input", "3:9", "--output", 2, "--server-pid", server.process.pid)
    assert r["adapters"] == names and r["summary"]["done"] == 6 and r["summary"]["other_lengths"] == 0
    assert r["cache"]["hits"] + r["cache"]["misses"] == 6
    assert r["memory"]["samples"][0][1] > 10_000_000


# ---- against servers that do not


def closes_at_once(request, sock):
    return False


def closes_in_a_stream(request, sock):
    sock.sendall(HEAD + event())
    return False


def speaks_garbage(request, sock):
    sock.sendall(os.urandom(5000).replace(b"H", b"h") + b"\r\n\r\n")
    return False


def is_no_stream(request, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    return True


def streams_garbage(request, sock):
    sock.sendall(HEAD + chunk(b"data: {\"choices\": \n\n") + b"0\r\n\r\n")
    return True


def has_two_lengths(request, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
    return True


def is_full(request, sock):
    sock.sendall(b"HTTP/1.1 503 Full\r\nContent-Length: 33\r\n\r\n{\"error\": {\"message\": \"no \\u001b\"}}")
    return True


def fails_in_a_stream(request, sock):
    sock.sendall(HEAD + event() + chunk(b'data: {"error": {"message": "broken"}}\n\n') + b"0\r\n\r\n")
    return True


def never_ends_a_line(request, sock):
    while True:
        sock.sendall(b"H" * 65536)


def never_answers(request, sock):
    time.sleep(3)
    return False


def drips(request, sock):
    for byte in HEAD * 1000:
        sock.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("answer, end", [
    (closes_at_once, "reset"), (closes_in_a_stream, "reset"), (speaks_garbage, "malformed"), (is_no_stream, "malformed"),
    (streams_garbage, "malformed"), (has_two_lengths, "malformed"), (is_full, "http"), (fails_in_a_stream, "failed"),
    (never_ends_a_line, "malformed"), (never_answers, "timeout"), (drips, "timeout"),
])
def test_what_goes_wrong_is_told_by_its_kind(misbehaving, answer, end):
    s = misbehaving(answer)
    out, err = load(s.url, "--rate", 50, "--requests", 8, "--n-adapters", 2, "--timeout", 1, "--json", "-", status=1)
    r = json.loads(out)
    assert {kind: e["n"] for kind, e in r["errors"].items()} == {end: 8}
    assert all(row[12] == end for row in r["requests"])
    assert r["summary"]["slo"] == {"first_text_seconds": 6, "met": 0, "of": 8}
    assert "no request was answered" in err and "\x1b" not in out + err


def test_a_server_that_is_gone_is_told_before_the_run():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    _, err = load(f"http://127.0.0.1:{port}", status=1)
    assert "refused" in err


def test_a_server_that_goes_in_the_middle_of_a_closed_loop_is_not_asked_without_rest(misbehaving):
    s = misbehaving(good)
    process = start(s.url, "--clients", 4, "--duration", 3, "--n-adapters", 0, "--input", 3, "--output", 1, "--json", "-")
    time.sleep(1)
    s.answer = closes_at_once
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    r = json.loads(out)
    assert 4 <= r["errors"]["reset"]["n"] <= 4 * 30


def test_a_kept_connection_that_the_server_closed_is_no_error(misbehaving):
    def answer(request, sock):
        good(request, sock)
        return False  # closed after an answer that did not say so

    r = report(misbehaving(answer).url, "--clients", 3, "--requests", 30, "--n-adapters", 0, "--input", 3, "--output", 1)
    assert r["summary"]["done"] == 30 and r["errors"] == {}


def test_a_server_that_takes_no_token_ids_gets_words(misbehaving):
    s = misbehaving(good)
    plain = s._reply

    def reply(head, body, sock):
        if head.startswith(b"POST"):
            request = json.loads(body)
            if not isinstance(request["prompt"], str):
                sock.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
                return True
            request["prompt"] = ["<s>", *request["prompt"].split()]  # one token more than words
            body = json.dumps(request).encode()
        return plain(head, body, sock)

    s._reply = reply
    r = report(s.url, "--clients", 1, "--requests", 5, "--n-adapters", 0, "--input", "2:60", "--output", 1)
    assert r["workload"]["prompts"] == "words"
    assert [row["prompt_tokens"] for row in r["rows"]] == [row["input"] for row in r["rows"]]


def test_ctrl_c_ends_the_run_and_it_is_told_what_was_measured(fake, tmp_path):
    s, path = fake(slots=4), tmp_path / "run.json"
    process = start(s.url, "-m", TINY, "--adapters", "upper,slow", "--rate", 20, "--duration", 600, "--output", 50, "--json", path)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert b"ended early" in out
    r = json.loads(path.read_text())
    assert r["interrupted"] is True and r["summary"]["done"] > 0
    assert r["summary"]["sent"] == r["summary"]["done"] + r["summary"]["failed"] + r["summary"]["cut"]
    s.wait_idle(30)


def test_without_drain_it_ends_with_the_arrivals(fake):
    s = fake(slots=4)
    for more in (["--clients", 4], ["--rate", 20]):
        r = report(s.url, "-m", TINY, "--adapters", "slow", "--duration", 1, "--output", 1000, "--no-drain", *more, status=1)  # nothing was answered
        assert r["interrupted"] is False and r["summary"]["failed"] == 0
        assert r["summary"]["cut"] >= 4 and r["summary"]["sent"] == r["summary"]["cut"] + r["summary"]["done"]
        assert 1 <= r["summary"]["seconds"] < 20
        s.wait_idle(30)


def test_ctrl_c_ends_it_also_before_the_run(misbehaving):
    s = misbehaving(good)
    s._reply = lambda head, body, sock: time.sleep(5)
    process = start(s.url)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - began < 3


def test_progress_is_told_every_second(fake):
    s = fake()
    out, err = load(s.url, "--rate", 10, "--duration", 1.5, "--progress", "--n-adapters", 0)
    assert err.count(" s  sent ") >= 3 and "throughput" in out and "energy" in out


# ---- the command line


@pytest.mark.parametrize("args, message, status", [
    (["--url", "https://x"], "--url: 'https://x' does not begin with http://", 2),
    (["--url", "http://127.0.0.1:99999"], "is not a port from 1 to 65535", 2),
    (["--url", "http://a b"], "a character that has no place there", 2),
    (["--api", "grpc"], "--api: 'grpc'", 2),
    (["--input", "9:8"], "--input: '9:8'", 2),
    (["--output", "0"], "--output: '0'", 2),
    (["--output", "1:x"], "--output: '1:x'", 2),
    (["--auto", "--adapters", "a"], "--auto", 2),
    (["--own-adapter"], "--own-adapter needs --clients", 2),
    (["--trace", "t", "--clients", "2"], "--trace", 2),
    (["--rate", "0"], "--rate", 2),
    (["--seed", "18446744073709551615"], "--seed: more than", 2),
    (["--replay", "/no/such.jsonl"], "/no/such.jsonl", 1),
])
def test_what_cannot_be_is_refused(args, message, status):
    _, err = load("http://127.0.0.1:1", *args, status=status)
    assert message in err


def test_adapters_that_are_not_there_are_told(fake):
    _, err = load(fake().url, "--n-adapters", 1000, status=1)
    assert "1000 are wanted" in err


def test_a_full_disk_is_a_failure(fake):
    _, err = load(fake().url, "--rate", 10, "--requests", 2, "--n-adapters", 0, "--json", "/dev/full", status=1)
    assert "/dev/full" in err
