"""Whatever arrives, the server answers with an error that names what is wrong, and goes on serving others."""

import json
import re
import socket
import threading
import time

import pytest
from conftest import SECOND, read_all, request_bytes

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def still_serves(server):
    yield
    assert server.completion(prompt="One, two,", max_tokens=1).status_code == 200


def error_of(response, status, param=None, code=None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    beyond = {"n_ctx", "n_prompt_tokens"} & set(error)  # of a prompt that exceeds the context
    assert set(error) - beyond == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "exceed_context_size_error" if beyond else "invalid_request_error")
    assert error["param"] == param, error
    if code:
        assert error["code"] == code, error
    return error["message"]


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b'"text"',
        b"null",
        b'{"prompt":"a","prompt":"b"}',
        b'{"prompt":"\xff\xfe"}',
        b'{"prompt":"\xc0\x80"}',
        b'{"prompt":"\xed\xa0\x80"}',
        b'{"prompt":"\\ud800"}',
        b'{"prompt":"a"} trailing',
        b'{"prompt":"a","max_tokens":99999999999999999999}',
        b'{"prompt":"a","temperature":1e999}',
        b'{"prompt":"a","temperature":NaN}',
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"prompt":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
    ids=lambda b: repr(b[:24]),
)
def test_a_body_that_is_no_json_object_of_ours_is_refused(server, body):
    for path in (TEXT, CHAT):
        response = server.post(path, body)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["message"]


def test_a_body_over_the_limit_is_a_413(server):
    big = b'{"prompt":"' + b"a" * (9 << 20) + b'"}'
    assert "8388608" in error_of(server.post(TEXT, big), 413, code="request_too_large")


def test_a_body_over_the_limit_is_refused_before_it_is_sent_when_the_client_asks(server):
    with server.connect() as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
        assert read_all(s).startswith(b"HTTP/1.1 413")


def test_a_huge_prompt_is_refused_and_stalls_nobody(server):
    done = []

    def post():
        done.append(server.completion(prompt="word " * 1_600_000, max_tokens=1))

    thread = threading.Thread(target=post)
    thread.start()
    slowest = 0
    while thread.is_alive():
        start = time.monotonic()
        server.health()
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.02)
    thread.join()
    message = error_of(done[0], 400, "prompt", "context_length_exceeded")
    assert re.search(r"a text of \d+ bytes is at least \d+ tokens; the limit is 8192, the context", message)
    assert slowest < 0.5


def test_many_bias_entries_and_long_token_arrays_are_answered(server):
    assert server.completion(prompt="a", max_tokens=1, logit_bias={str(i): -1 for i in range(1000)}).status_code == 200
    error_of(server.completion(prompt="a", logit_bias={str(i): -1 for i in range(40_000)}), 400, "logit_bias")
    assert "1000000 tokens" in error_of(server.completion(prompt=[1] * 1_000_000), 400, "prompt", "context_length_exceeded")


# ---------------------------------------------------------------- fields

BAD_FIELDS = [
    # (path, the field as it is sent, the param that the error names)
    (TEXT, {"model": 5}, "model"),
    (TEXT, {"model": "base\0x"}, "model"),
    (TEXT, {"prompt": 5}, "prompt"),
    (TEXT, {"prompt": ""}, "prompt"),
    (TEXT, {"prompt": []}, "prompt"),
    (TEXT, {"prompt": [[]]}, "prompt"),
    (TEXT, {"prompt": ["a", ""]}, "prompt"),
    (TEXT, {"prompt": ["a", 1]}, "prompt"),
    (TEXT, {"prompt": [1, "a"]}, "prompt"),
    (TEXT, {"prompt": [1.5]}, "prompt"),
    (TEXT, {"prompt": [[1], "a"]}, "prompt"),
    (TEXT, {"prompt": {"a": 1}}, "prompt"),
    (TEXT, {"prompt": [-1]}, "prompt"),
    (TEXT, {"prompt": [1 << 40]}, "prompt"),
    (TEXT, {"prompt": ["a"] * 129}, "prompt"),
    (TEXT, {"prompt": ["a"] * 65, "n": 2}, "prompt"),
    (TEXT, {"n": 129}, "n"),
    (CHAT, {"n": 129}, "n"),
    (TEXT, {"n": 0}, "n"),
    (TEXT, {"n": 2**31}, "n"),
    (TEXT, {"n": 1.0}, "n"),
    (TEXT, {"n": True}, "n"),
    (TEXT, {"best_of": 2}, "best_of"),
    (TEXT, {"max_tokens": -2}, "max_tokens"),
    (TEXT, {"max_tokens": "5"}, "max_tokens"),
    (TEXT, {"max_tokens": 2**40}, "max_tokens"),
    (TEXT, {"temperature": -0.1}, "temperature"),
    (TEXT, {"temperature": "1"}, "temperature"),
    (TEXT, {"top_p": 1.1}, "top_p"),
    (TEXT, {"top_k": -2}, "top_k"),
    (TEXT, {"top_k": 1.5}, "top_k"),
    (TEXT, {"min_p": 2}, "min_p"),
    (TEXT, {"repetition_penalty": 0}, "repetition_penalty"),
    (TEXT, {"frequency_penalty": 3}, "frequency_penalty"),
    (TEXT, {"presence_penalty": [1]}, "presence_penalty"),
    (TEXT, {"seed": "x"}, "seed"),
    (TEXT, {"seed": 1.5}, "seed"),
    (TEXT, {"stop": ""}, "stop"),
    (TEXT, {"stop": 5}, "stop"),
    (TEXT, {"stop": ["a", 5]}, "stop"),
    (TEXT, {"stop": ["a"] * 65}, "stop"),
    (TEXT, {"stop": "a" * 1025}, "stop"),
    (TEXT, {"stop": "a\0b"}, "stop"),
    (TEXT, {"logit_bias": {"-1": 1}}, "logit_bias"),
    (TEXT, {"logit_bias": {"": 1}}, "logit_bias"),
    (TEXT, {"logit_bias": {"1 ": 1}}, "logit_bias"),
    (TEXT, {"logit_bias": {"99999999999999999999": 1}}, "logit_bias"),
    (TEXT, {"logit_bias": {"1": 101}}, "logit_bias"),
    (TEXT, {"logit_bias": {"1": "1"}}, "logit_bias"),
    (TEXT, {"logprobs": True}, "logprobs"),
    (TEXT, {"logprobs": 21}, "logprobs"),
    (CHAT, {"logprobs": 1}, "logprobs"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"top_logprobs": 2}, "top_logprobs"),
    (TEXT, {"stream": "yes"}, "stream"),
    (TEXT, {"stream": True, "stream_options": 5}, "stream_options"),
    (TEXT, {"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    (TEXT, {"echo": 1}, "echo"),
    (TEXT, {"ignore_eos": 1}, "ignore_eos"),
    (TEXT, {"suffix": "x"}, "suffix"),
    (CHAT, {"tools": [{"type": "function"}]}, "tools"),
    (CHAT, {"tool_choice": "perhaps"}, "tool_choice"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"functions": [{}]}, "functions"),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
    (CHAT, {"audio": {"voice": "x"}}, "audio"),
    (CHAT, {"web_search_options": {}}, "web_search_options"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": "hi"}, "messages"),
    (CHAT, {"messages": ["hi"]}, "messages[0]"),
    (CHAT, {"messages": [{}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user\0", "content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": 5, "content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": USER + [{"role": "user", "content": 5}]}, "messages[1].content"),
    (CHAT, {"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "assistant", "content": "x", "audio": {"id": "a"}}]}, "messages[0].audio"),
    (CHAT, {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "messages[0].tool_calls[0].function"),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
    (CHAT, {"chat_template_kwargs": []}, "chat_template_kwargs"),
    (CHAT, {"documents": {}}, "documents"),
    (CHAT, {"add_generation_prompt": 1}, "add_generation_prompt"),
    (CHAT, {"continue_final_message": "yes"}, "continue_final_message"),
    (CHAT, {"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
]


@pytest.mark.parametrize("path,fields,param", BAD_FIELDS, ids=lambda v: json.dumps(v)[:60] if isinstance(v, dict) else None)
def test_a_field_that_is_wrong_is_named(server, path, fields, param):
    good = {"prompt": "a", "max_tokens": 1} if path == TEXT else {"messages": USER}
    message = error_of(server.post(path, {**good, **fields}), 400, param)
    assert param.split(".")[0].split("[")[0] in message


def test_missing_prompt_and_messages_are_named(server):
    error_of(server.post(TEXT, {}), 400, "prompt", "missing_required_parameter")
    error_of(server.post(CHAT, {}), 400, "messages", "missing_required_parameter")


def test_auto_without_a_router_is_a_400(server):
    assert "there is no router" in error_of(server.completion(prompt="a", model="auto"), 400, "model")
    assert "there is no router" in error_of(server.chat("a", model="auto", stream=True), 400, "model")
    assert "there is no router" in error_of(server.post("/v1/route", {"prompt": "a"}), 400, "model")


@pytest.mark.parametrize("name", ["no-such-model", "../../etc/passwd", "é" * 1000])
def test_an_unknown_model_is_a_404(server, name):
    error_of(server.completion(prompt="a", model=name), 404, "model", "model_not_found")
    error_of(server.chat("a", model=name), 404, "model", "model_not_found")


def test_nulls_and_harmless_fields_are_accepted(server):
    nulls = {f: None for f in ("model", "n", "stop", "seed", "temperature", "logprobs", "logit_bias", "stream", "user")}
    assert server.completion(prompt="a", max_tokens=1, **nulls).status_code == 200
    harmless = {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True}
    off = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "modalities": ["text"]}
    assert server.chat("a", **{**nulls, **harmless, **off}, max_tokens=1).status_code == 200


# ---------------------------------------------------------------- HTTP


def test_unknown_paths_and_methods(server):
    for path in ("/v1", "/v1/", "/v1/nothing", "/health/x", "/v1/models/no"):
        error_of(server.get(path), 404, "model" if path == "/v1/models/no" else None)
    for path, allow in ((TEXT, "POST"), (CHAT, "POST")):
        response = server.get(path)
        error_of(response, 405)
        assert allow in response.headers["allow"]
    assert "GET" in server.post("/health", {}).headers["allow"]
    error_of(server.post("/v1/models", {}), 405)


def test_head_answers_as_get_without_body(server):
    import httpx

    response = httpx.head(server.url + "/health")
    assert response.status_code == 200 and not response.content and int(response.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET /health HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}garbage",
    ],
    ids=lambda b: repr(b[:40]),
)
def test_broken_http_is_refused_or_closed(server, raw):
    with server.connect() as s:
        try:
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all was sent
        assert b" 200 " not in read_all(s).split(b"\r\n")[0]


HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "raw, status, code",
    [
        (b"GET /health HTTP/9.9\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400, "bad_request"),
        (b"GET /health HTTP/1.1\r\nX: " + b"a" * 33_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3_000 + b"\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (HEAD + b"Content-Length: abc\r\n\r\n", 400, "bad_request"),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 413, "request_too_large"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n", 400, "bad_request"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}", 400, "bad_request"),
        (HEAD + b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "bad_request"),
    ],
    ids=lambda v: repr(v[:60]) if isinstance(v, bytes) else str(v),
)
def test_what_the_http_library_refuses_is_json_too_and_closes(server, raw, status, code):
    with server.connect() as s:
        s.sendall(raw)
        head, _, body = read_all(s).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"\r\nContent-Type: application/json" in head and b"\r\nContent-Length: %d" % len(body) in head, head
    error = json.loads(body)["error"]
    assert error["code"] == code and set(error) == {"message", "type", "param", "code"}


def test_a_chunked_body_is_read(server):
    body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
    with server.connect() as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in body:
            s.sendall(b"1\r\n%c\r\n" % byte)
        s.sendall(b"0\r\n\r\n")
        assert read_all(s).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(server):
    n = 5
    with server.connect() as s:
        for i in range(n):
            close = ["Connection: close"] if i == n - 1 else []
            s.sendall(request_bytes(TEXT, {"prompt": "a", "max_tokens": 0, "echo": True, "n": i + 1}, *close))
        data = read_all(s)
    answers = [json.loads(part.split(b"\r\n\r\n", 1)[1]) for part in data.split(b"HTTP/1.1 200 OK")[1:]]
    assert [len(a["choices"]) for a in answers] == [1, 2, 3, 4, 5]


def test_clients_that_leave_in_the_middle_of_a_request_do_no_harm(server):
    whole = request_bytes(TEXT, {"prompt": "a", "max_tokens": 1})
    for cut in range(0, len(whole), 7):
        with server.connect() as s:
            s.sendall(whole[:cut])


# ---------------------------------------------------------------- hanging up


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_stops_its_generation_within_a_second(server, stream):
    endless = {"prompt": "Count: 1, 2,", "max_tokens": 100_000, "ignore_eos": True, "stream": stream, "n": 3}
    with server.connect() as s:
        s.sendall(request_bytes(TEXT, endless))
        server.wait_busy(3)
        if stream:
            assert b"200 OK" in s.recv(1000)
    server.wait_idle(SECOND)


def test_a_client_that_hangs_up_while_it_waits_for_a_slot_leaves_the_queue(server):
    slots = server.health()["slots"]
    endless = {"prompt": "Count: 1, 2,", "max_tokens": 100_000, "ignore_eos": True, "n": slots}
    with server.connect() as running:
        running.sendall(request_bytes(TEXT, endless))
        server.wait_busy(slots)
        with server.connect() as waiting:
            waiting.sendall(request_bytes(TEXT, {**endless, "n": 2}))
            server.wait_busy(slots + 2)
        start = time.monotonic()
        while server.health()["queued"]:
            assert time.monotonic() - start < SECOND
            time.sleep(0.02)
        assert server.health()["slots_busy"] == slots
    server.wait_idle(SECOND)
