"""Keys that change while the server runs, and what each may use: docs/operations/keys.md."""

import json
import os
import re
import signal
import time

import httpx
import openai
import pytest
from conftest import BINARY, MODEL, Server

TEXT, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"


def bearer(key):
    return {"headers": {"Authorization": f"Bearer {key}"}}


def wait_log(s, text, n=1, seconds=30):
    """The last line that has `text`, once n lines have it."""
    end = time.monotonic() + seconds
    while len(found := [line for line in s.log if text in line]) < n:
        assert time.monotonic() < end, (text, s.log[-10:])
        time.sleep(0.005)
    return found[-1]


class Keyed:
    """A fake server and the file of its keys."""

    def __init__(self, fake, path, text, **settings):
        self.path = path
        self.reloads = 0
        self.write(text)
        self.s = fake(keys=path, **settings)
        self.s.key = re.search(r"^\S+", text)[0]

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o600)
        os.replace(new, self.path)

    def reload(self, text):
        """What is told of it."""
        self.write(text)
        self.reloads += 1
        self.s.process.send_signal(signal.SIGHUP)
        return wait_log(self.s, "keys: ", n=self.reloads)

    def post(self, key, path=TEXT, **body):
        return self.s.post(path, body, **bearer(key))


@pytest.fixture
def keyed(fake, tmp_path):
    return lambda text, **settings: Keyed(fake, tmp_path / "keys", text, **settings)


# ---------------------------------------------------------------- keys that change


def test_keys_are_replaced_while_the_server_runs(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    assert "read anew" in k.reload("third-key-0123456789 upper\nfirst-key-0123456789\n")
    status = {key: k.post(key + "-key-0123456789", prompt="a").status_code for key in ("first", "other", "third")}
    assert status == {"first": 200, "other": 401, "third": 404}
    assert k.post("third-key-0123456789", prompt="a", model="upper").json()["choices"][0]["text"] == "A"


def test_a_file_of_keys_that_is_wrong_leaves_them_as_they_were(keyed):
    k = keyed("first-key-0123456789\n")
    assert "line 2: a pattern is empty" in k.reload("new-key-01234567890\nsecond-key-012345678 a,,b\n")
    assert k.post("first-key-0123456789", prompt="a").status_code == 200
    assert k.post("new-key-01234567890", prompt="a").status_code == 401


def test_a_key_is_the_same_after_a_reload_by_its_secret_and_not_by_its_line(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    stored = k.post("first-key-0123456789", RESPONSES, model="fake", input="Hello").json()["id"]
    k.reload("# moved down, and another in its place\nother-key-0123456789\nfirst-key-0123456789\nfresh-key-0123456789\n")
    found = {key: k.s.get(f"{RESPONSES}/{stored}", **bearer(key + "-key-0123456789")).status_code for key in ("first", "other", "fresh")}
    assert found == {"first": 200, "other": 404, "fresh": 404}


def test_a_key_that_was_taken_away_and_given_anew_is_another(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    stored = k.post("first-key-0123456789", RESPONSES, model="fake", input="Hello").json()["id"]
    k.reload("other-key-0123456789\n")
    k.reload("other-key-0123456789\nfirst-key-0123456789\n")
    assert k.s.get(f"{RESPONSES}/{stored}", **bearer("first-key-0123456789")).status_code == 404


def test_what_runs_goes_on_when_its_key_is_taken_away(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    k.s.key = "other-key-0123456789"
    with httpx.stream("POST", k.s.url + TEXT, json={"prompt": "x" * 20, "max_tokens": 20, "model": "slow", "stream": True}, **bearer("first-key-0123456789")) as r:
        lines = r.iter_lines()
        next(lines)
        k.reload("other-key-0123456789\n")
        text = "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines if line.startswith("data: {"))
    assert len(text) >= 18
    assert k.post("first-key-0123456789", prompt="a").status_code == 401


# ---------------------------------------------------------------- what a line says

BAD = {
    "rpm=0": "rpm: is not a number between 1 and 1000000000",
    "rpm=-1": "rpm: is not a number",
    "tpm=1e6": "tpm: is not a number",
    "concurrent=1000000001": "concurrent: is not a number",
    "rpm=99999999999999999999": "rpm: is not a number",
    "rpm=1 rpm=2": "rpm: is there twice",
    "rmp=1": "field 'rmp' is not one of name, rpm, tpm, concurrent and priority",
    "name=": "name: is not 1 to 64",
    "name=a/b": "name: is not 1 to 64",
    'name="a"': "name: is not 1 to 64",
    "name=" + "n" * 65: "name: is not 1 to 64",
    "name=other": "name: 'other' is what keys without a name are counted as",
    "name=a name=b": "name: is there twice",
    "name=taken": "name: another key has it",
    "priority=65": "priority: is not low, normal, high or a number between 1 and 64",
    "priority=urgent": "priority: is not low",
    "a,,b rpm=1": "a pattern is empty",
}


def test_a_field_that_is_wrong_is_told_by_line_field_and_limit_and_never_by_its_key(keyed):
    k = keyed("first-key-0123456789 name=taken\n")
    for line, says in BAD.items():
        told = k.reload(f"first-key-0123456789 name=taken\n# a comment\nsecond-key-012345678 {line}\n")
        assert f"line 3: {says}" in told and "second-key" not in told, (line, told)
    assert k.post("first-key-0123456789", prompt="a").status_code == 200


def test_fields_stand_behind_patterns_and_every_line_of_before_means_what_it_did(keyed):
    k = keyed("all-key-0123456789012\nsome-key-012345678901 upper,more/* name=some  rpm=5\tpriority=high\nnone-key-012345678901 rpm=3 priority=7 name=n\n", more=2)
    assert k.post("some-key-012345678901", prompt="a", model="upper").status_code == 200
    assert k.post("some-key-012345678901", prompt="a", model="fake").status_code == 404
    assert k.post("none-key-012345678901", prompt="a", model="fake").status_code == 200
    listed = {row["name"]: row for row in k.s.get("/v1/stats", **bearer("all-key-0123456789012")).json()["keys"]}
    assert (listed["some"]["rpm"], listed["some"]["weight"], listed["some"]["tpm"]) == (5, 16, None)
    assert (listed["n"]["rpm"], listed["n"]["weight"]) == (3, 7)
    own = k.s.get("/v1/stats", **bearer("some-key-012345678901")).json()["keys"]
    assert [row["name"] for row in own] == ["some"]


# ---------------------------------------------------------------- limits

OPERATOR = "all-key-0123456789012 name=all\n"
LIMITED = "lim-key-0123456789012"


def limited(keyed, fields, **settings):
    return keyed(f"{OPERATOR}{LIMITED} name=lim {fields}\n", **settings)


def test_requests_a_minute_are_let_in_up_to_the_limit_then_a_429_says_when(keyed):
    k = limited(keyed, "rpm=2")
    first = k.post(LIMITED, prompt="a")
    assert first.headers["x-ratelimit-limit-requests"] == "2" and first.headers["x-ratelimit-remaining-requests"] == "1"
    assert re.fullmatch(r"\d+(\.\d)?s|\d+ms", first.headers["x-ratelimit-reset-requests"])
    assert "x-ratelimit-limit-tokens" not in first.headers
    assert k.post(LIMITED, prompt="a").status_code == 200
    over = k.post(LIMITED, prompt="a")
    error = over.json()["error"]
    assert over.status_code == 429 and (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    assert "lim: 2 requests per minute" in error["message"] and LIMITED not in over.text
    assert 1 <= int(over.headers["retry-after"]) <= 30 and over.headers["x-ratelimit-remaining-requests"] == "0"
    assert k.post(OPERATOR.split()[0], prompt="a").status_code == 200


def test_openais_client_knows_what_a_limit_is(keyed):
    k = limited(keyed, "rpm=1")
    with openai.OpenAI(base_url=k.s.url + "/v1", api_key=LIMITED, max_retries=0) as client:
        client.completions.create(model="fake", prompt="a")
        with pytest.raises(openai.RateLimitError) as e:
            client.completions.create(model="fake", prompt="a")
    assert e.value.code == "rate_limit_exceeded" and e.value.type == "requests"


def test_each_dialect_has_its_own_429(keyed):
    k = limited(keyed, "rpm=1")
    k.post(LIMITED, prompt="a")
    chat = {"model": "fake", "messages": [{"role": "user", "content": "a"}], "max_tokens": 4}
    anthropic = k.s.post("/v1/messages", chat, headers={"x-api-key": LIMITED})
    assert anthropic.status_code == 429 and anthropic.json()["type"] == "error"
    assert anthropic.json()["error"]["type"] == "rate_limit_error"
    ollama = k.post(LIMITED, "/api/chat", **chat)
    assert ollama.status_code == 429 and isinstance(ollama.json()["error"], str)
    llama = k.post(LIMITED, "/completion", prompt="a")
    assert llama.json()["error"]["code"] == 429 and llama.json()["error"]["type"] == "rate_limit_error"
    assert k.post(LIMITED, RESPONSES, model="fake", input="a").json()["error"]["code"] == "rate_limit_exceeded"
    for path, body in {"/v1/embeddings": {"input": "a"}, "/rerank": {"query": "a", "documents": ["b"]}, "/tokenize": {"content": "a"}}.items():
        answer = k.post(LIMITED, path, **body)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1, path


def test_tokens_a_minute_are_those_of_prompts_and_answers(keyed):
    k = limited(keyed, "tpm=100")
    first = k.post(LIMITED, prompt="p" * 80, max_tokens=10)
    assert first.status_code == 200 and first.headers["x-ratelimit-limit-tokens"] == "100"
    assert 10 <= int(first.headers["x-ratelimit-remaining-tokens"]) < 90
    over = k.post(LIMITED, prompt="p" * 90)
    assert over.status_code == 429 and over.json()["error"]["type"] == "tokens"
    assert 1 <= int(over.headers["retry-after"]) <= 48  # 80 tokens are lacking, 1.67 come back in a second
    assert k.post(LIMITED, prompt="p" * 5, max_tokens=2).status_code == 200
    assert k.s.get("/v1/stats", **bearer(LIMITED)).status_code == 200  # what asks for no tokens goes on
    assert k.post(LIMITED, "/tokenize", content="x" * 500).status_code == 200


def test_an_answer_may_go_beyond_the_limit_and_the_next_request_waits_for_it(keyed):
    k = limited(keyed, "tpm=20")
    assert k.post(LIMITED, prompt="p" * 200, max_tokens=10).status_code == 200  # more than there ever is: when all is there
    over = k.post(LIMITED, prompt="p")
    assert over.status_code == 429 and int(over.headers["retry-after"]) > 60 and over.headers["x-ratelimit-remaining-tokens"] == "0"


def test_requests_at_once_are_bounded_and_a_place_is_free_when_the_client_has_its_answer(keyed):
    k = limited(keyed, "concurrent=1", slots=4)
    k.s.key = OPERATOR.split()[0]
    for stream in (False, True):
        for _ in range(5):  # one after the other there is always room
            assert k.post(LIMITED, prompt="ab", stream=stream).status_code == 200
    with httpx.stream("POST", k.s.url + TEXT, json={"prompt": "x" * 30000, "max_tokens": 30000, "model": "slow", "stream": True}, **bearer(LIMITED)) as r:
        lines = r.iter_lines()  # held: what collects it closes the connection
        next(lines)
        over = k.post(LIMITED, prompt="a")
        assert over.status_code == 429 and "1 requests at once" in over.json()["error"]["message"]
    k.s.wait_idle(30)
    while (answer := k.post(LIMITED, prompt="a")).status_code == 429:  # its end is noticed in a while
        time.sleep(0.02)
    assert answer.status_code == 200


def test_a_reload_changes_limits_and_keeps_what_was_used(keyed):
    k = limited(keyed, "rpm=1")
    assert [k.post(LIMITED, prompt="a").status_code for _ in range(2)] == [200, 429]
    k.reload(f"{LIMITED} rpm=1 name=lim\n{OPERATOR}")
    assert k.post(LIMITED, prompt="a").status_code == 429
    k.reload(f"{OPERATOR}{LIMITED} name=lim\n")
    assert k.post(LIMITED, prompt="a").status_code == 200


# ---------------------------------------------------------------- turns


def test_one_keys_long_queue_holds_up_no_other_key(tmp_path):
    """By the log of a server with one slot: between the moment at which another key's request waits and its start at most one request
    of the key with the queue starts."""
    if not (BINARY.exists() and MODEL.exists()):
        pytest.skip("edgelora or the default model is missing")
    path = tmp_path / "keys"
    path.write_text("long-key-012345678901 name=long\nshort-key-01234567890 name=short\n")
    path.chmod(0o600)
    s = Server([BINARY, "serve", "-m", MODEL, "--slots", "1", "--ctx-size", "512", "--port", "0", "--api-keys", path, "--verbose"])
    try:
        s.key = "long-key-012345678901"
        body = {"prompt": "Once upon a time", "max_tokens": 200, "ignore_eos": True, "n": 128, "stream": True}
        with httpx.stream("POST", s.url + TEXT, json=body, timeout=300, **bearer(s.key)) as r:
            lines = r.iter_lines()
            next(lines)  # one has begun, so all wait
            answer = s.post(TEXT, {"prompt": "Hello", "max_tokens": 2}, **bearer("short-key-01234567890"))
            assert answer.status_code == 200
            mine = wait_log(s, answer.headers["x-request-id"] + ": submitted as request").split("request ")[1].split()[0]
            wait_log(s, f"request {mine}: base in slot")
            log = list(s.log)
    finally:
        assert s.stop() == 0, s.log[-20:]
    came = next(i for i, line in enumerate(log) if f"submitted as request {mine} " in line)
    began = next(i for i, line in enumerate(log) if f"request {mine}: base in slot" in line)
    assert sum(" in slot " in line for line in log[came:began]) <= 1, log[came:began]
    assert sum(" in slot " in line for line in log) < 100  # most wait yet


# ---------------------------------------------------------------- usage


def samples(s, key):
    lines = s.get("/metrics", **bearer(key)).text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("edgelora_key_")}


def test_usage_is_told_by_the_keys_name_and_no_key_is(keyed):
    k = keyed(f"{OPERATOR}{LIMITED} name=lim rpm=2\nanon-key-012345678901\nanon-key-012345678902\n")
    for key in (LIMITED, LIMITED, LIMITED, "anon-key-012345678901", "anon-key-012345678902"):
        k.post(key, prompt="p" * 7, max_tokens=3, n=2)
    found = samples(k.s, OPERATOR.split()[0])
    assert found['edgelora_key_requests_total{key="lim"}'] == 2
    assert found['edgelora_key_refused_total{key="lim",limit="requests"}'] == 1
    assert found['edgelora_key_prompt_tokens_total{key="lim"}'] == 14
    assert found['edgelora_key_generated_tokens_total{key="lim"}'] == 12
    assert found['edgelora_key_requests_running{key="lim"}'] == 0
    assert found['edgelora_key_requests_total{key="other"}'] == 2
    assert not any("key-0123" in name for name in found)
    row = k.s.get("/v1/stats", **bearer(LIMITED)).json()["keys"][1]
    assert row["name"] == "lim" and row["refused"] == {"requests": 1, "tokens": 0, "concurrent": 0} and row["prompt_tokens"] == 14


def test_strangers_are_told_401_so_often_and_a_right_key_is_let_in_all_the_same(keyed):
    k = keyed(OPERATOR)
    with httpx.Client(timeout=60, **bearer("wrong-key")) as client:
        told = [client.get(k.s.url + "/v1/models").status_code for _ in range(30)]
        while told[-1] == 401:  # as many as have come back meanwhile
            told.append(client.get(k.s.url + "/v1/models").status_code)
    assert set(told[:30]) == {401} and told[-1] == 429
    late = k.s.get("/v1/models", **bearer("another"))
    assert late.status_code in (401, 429) and (late.status_code == 401 or int(late.headers["retry-after"]) >= 1)
    assert k.post(OPERATOR.split()[0], prompt="a").status_code == 200
    assert k.s.get("/health").status_code == 200
