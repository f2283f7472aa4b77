"""The log: a line a request, as text or JSON, with whose trace it belongs to; whatever names are in it, a line is one line.

docs/operations/service.md names the promises that these tests check."""

import json
import re
import shutil

import httpx
import pytest
from conftest import BINARY, Server
from test_server_adapters import LORA, TINY

TEXT = "/v1/completions"
HOSTILE = 'a"\\\u2028 é</script>,"status":200'  # an adapter's name
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"
KEY = "sk-second-0123456789"


@pytest.fixture(scope="module", params=["text", "json"])
def logged(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    shutil.copytree(LORA / "tiny-peft", folder / "one")
    (folder / "keys").write_text(f"sk-first-0123456789\n{KEY}\n")
    (folder / "keys").chmod(0o600)
    s = Server([BINARY, "serve", "-m", TINY, "--port", "0", "--log-format", request.param, "--api-keys", folder / "keys",
                "--adapter", f"{HOSTILE}={folder / 'one'}", "--model-name", "tiny"])
    s.format = request.param
    yield s
    assert s.stop() == 0


def post(s, body, **headers):
    return s.post(TEXT, body, headers={"Authorization": f"Bearer {KEY}", **headers})


def line_of(s, answer):
    """The log's line of a request; it is written once the answer has been sent."""
    request = answer.headers["x-request-id"]
    for _ in range(3):  # a request later it is there
        s.get("/health")
        found = [line for line in s.log if request in line and '"debug"' not in line]
        if found:
            break
    assert len(found) == 1, s.log[-10:]
    return json.loads(found[0]) if s.format == "json" else found[0]


def test_a_request_is_a_line_with_whom_what_and_how_long(logged):
    answer = post(logged, {"model": HOSTILE, "prompt": "abc", "max_tokens": 5, "ignore_eos": True, "n": 2})
    usage = answer.json()["usage"]
    line = line_of(logged, answer)
    if logged.format == "json":
        times = {k: line.pop(k) for k in ("time", "total_ms", "queue_ms", "load_ms", "first_token_ms")}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", times.pop("time"))
        assert 0 <= times["load_ms"] <= times["queue_ms"] <= times["first_token_ms"] <= times["total_ms"]
        assert line.pop("message").startswith(f"POST {TEXT} 200 ")
        assert line == {"level": "info", "request_id": answer.headers["x-request-id"], "method": "POST", "path": TEXT, "status": 200,
                        "bytes": len(answer.content), "cut_off": False, "key": "2", "adapter": HOSTILE, "prompt_tokens": usage["prompt_tokens"],
                        "completion_tokens": 10, "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]}
    else:
        assert re.fullmatch(rf"edgelora: POST {TEXT} 200 {len(answer.content)} bytes [\d.]+ ms [0-9a-f]{{24}}, key 2, " + re.escape(HOSTILE) +
                            rf", {usage['prompt_tokens']}\+10 tokens, \d+ cached, queue [\d.]+ ms(, load [\d.]+ ms)?, first token [\d.]+ ms", line), line


def test_what_is_refused_is_a_line_too(logged):
    denied = logged.post(TEXT, {"prompt": "a"})
    bad = post(logged, {"prompt": "a", "temperature": "warm"})
    for answer, status, key in ((denied, 401, None), (bad, 400, "2")):
        line = line_of(logged, answer)
        if logged.format == "json":
            assert line["status"] == status and line.get("key") == key and "prompt_tokens" not in line
        else:
            assert f"POST {TEXT} {status} " in line and ("key 2" in line) == bool(key) and "tokens" not in line


def test_a_trace_is_carried_through(logged):
    answer = post(logged, {"prompt": "abc", "max_tokens": 1}, traceparent=VALID)
    span = answer.headers["x-request-id"][:16]
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span}-01"
    line = line_of(logged, answer)
    if logged.format == "json":
        assert (line["trace_id"], line["span_id"], line["parent_span_id"]) == (TRACE, span, PARENT)
    else:
        assert line.endswith(f", trace {TRACE}")
    later = logged.get("/health", headers={"traceparent": f"cc-{TRACE}-{PARENT}-00-what-comes"})
    assert later.headers["traceparent"] == f"00-{TRACE}-{later.headers['x-request-id'][:16]}-00"


WRONG = ["", "00", VALID[:-1], VALID + "-00", VALID + "0", VALID.upper(), "ff" + VALID[2:], "00-" + "0" * 32 + VALID[35:],
         VALID[:36] + "0" * 16 + "-01", VALID.replace("-", "_"), "0g" + VALID[2:], f"01-{TRACE}-{PARENT}-01x", '"}' + VALID]


def test_a_trace_that_is_wrong_is_ignored(logged):
    for wrong in WRONG:
        answer = logged.get("/health", headers={"traceparent": wrong})
        assert answer.status_code == 200 and "traceparent" not in answer.headers, wrong


def test_every_line_is_json_whatever_is_in_it(logged):
    if logged.format != "json":
        pytest.skip("text")
    for path in ('/a"b', "/%22%0a%1b[31m", "/\\u0000", "/é"):
        httpx.get(logged.url + path, headers={"Authorization": f"Bearer {KEY}"})
    post(logged, {"prompt": "a", "max_tokens": 1, 'un"known\u2028\\': 1})
    logged.get("/health")
    lines = [json.loads(line) for line in logged.log]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert any(line["message"].startswith("listening on http://127.0.0.1:") for line in lines)
    assert any("unknown field" in line["message"] and line["level"] == "warning" for line in lines)
