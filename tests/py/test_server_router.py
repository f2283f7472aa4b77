"""Requests that leave the choice of an adapter to the router, on the engine without a model (tests/server_fake): its router
looks for adapters' names among the words, and "upper" answers in capitals, so both the choice and who answers are seen."""

import concurrent.futures
import json
import time

import httpx
import openai
import pytest
from conftest import SECOND, request_bytes
from test_server_adapters import error_of, metrics

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
ROUTE = "/v1/route"
HEADER = "x-edgelora-adapter"
ENDLESS = {"max_tokens": 1_000_000, "ignore_eos": True}


@pytest.fixture
def routed(fake):
    return fake(router=1, more=3)


@pytest.fixture
def client(routed):
    with openai.OpenAI(base_url=routed.url + "/v1", api_key="none", max_retries=0, timeout=60) as c:
        yield c


def user(text):
    return [{"role": "user", "content": text}]


def events(response):
    """A stream's objects; it has come to its end."""
    lines = [line[6:] for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


# ---------------------------------------------------------------- who answers


def test_the_chosen_adapter_answers_and_is_named(routed):
    for word, adapter, text in (("upper", "upper", "GO UPPER"), ("nobody", "fake", "go nobody"), ("more/1", "more/1", "go more/1")):
        answer = routed.completion(prompt=f"go {word}", model="auto", max_tokens=100)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == answer.headers[HEADER] == adapter
        assert answer.json()["choices"][0]["text"] == text
        assert "edgelora" not in answer.json() and "adapter" not in answer.json()["choices"][0]


def test_named_adapters_are_honoured_without_a_choice(routed):
    answer = routed.completion(prompt="go upper", model="more/1", max_tokens=100)
    assert answer.json()["choices"][0]["text"] == "go upper"
    assert answer.json()["model"] == answer.headers[HEADER] == "more/1"
    assert routed.completion(prompt="a").headers[HEADER] == "fake"
    assert routed.completion(prompt="a", lora=[{"id": 1, "scale": 1}]).headers[HEADER] == "combined"
    assert metrics(routed)[("edgelora_choices_total",)] == 0


def test_openais_client_sees_who_answers(client):
    whole = client.chat.completions.with_raw_response.create(model="auto", messages=user("go upper"), max_tokens=100)
    assert whole.headers[HEADER] == whole.parse().model == "upper"
    assert "GO UPPER" in whole.parse().choices[0].message.content
    assert {m.id for m in client.models.list()} >= {"fake", "auto", "upper"}

    stream = client.chat.completions.create(model="auto", messages=user("go upper"), stream=True,
                                            stream_options={"include_usage": True}, extra_body={"edgelora": {"scores": 2}})
    chunks = list(stream)
    assert {c.model for c in chunks} == {"upper"}
    assert "GO UPPER" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[0].edgelora["adapter"] == "upper" and len(chunks[0].edgelora["candidates"]) == 2
    assert not any(hasattr(c, "edgelora") for c in chunks[1:])

    text = client.completions.create(model="auto", prompt="go nobody", stream=True)
    assert {c.model for c in text} == {"fake"}


def test_a_stream_says_who_answers_before_its_first_token(fake):
    s = fake(router=1, step_us=100_000)
    with httpx.stream("POST", s.url + TEXT, json={"prompt": "x " * 200 + "upper", "model": "auto", "stream": True, **ENDLESS}) as r:
        assert r.headers[HEADER] == "upper"
        first = next(r.iter_lines())
        assert json.loads(first[6:])["model"] == "upper"
    s.wait_idle(SECOND)


def test_the_last_message_of_the_user_is_what_counts(routed):
    talk = [{"role": "system", "content": "be upper now"}, *user("go upper"), {"role": "assistant", "content": "upper it is"}, *user("now more/2")]
    assert routed.post(CHAT, {"model": "auto", "messages": talk}).json()["model"] == "more/2"
    # With none of the user's, all of the conversation does.
    assert routed.post(CHAT, {"model": "auto", "messages": talk[:1]}).json()["model"] == "upper"


def test_choices_of_one_prompt_have_one_adapter(routed):
    before = metrics(routed)[("edgelora_choices_total",)]
    answer = routed.completion(prompt="upper or more/1", model="auto", n=5, max_tokens=100).json()
    assert answer["model"] == "upper" and [c["text"] for c in answer["choices"]] == ["UPPER OR MORE/1"] * 5
    assert metrics(routed)[("edgelora_choices_total",)] == before + 1
    streamed = events(routed.completion(prompt="upper or more/1", model="auto", n=5, max_tokens=100, stream=True))
    texts = ["".join(e["choices"][0]["text"] for e in streamed if e["choices"][0]["index"] == i) for i in range(5)]
    assert texts == ["UPPER OR MORE/1"] * 5 and {e["model"] for e in streamed} == {"upper"}


def test_prompts_of_one_request_have_adapters_of_their_own(routed):
    prompts = ["go upper", "go nobody", "go more/1"]
    wanted = ["upper", "upper", "fake", "fake", "more/1", "more/1"]
    response = routed.completion(prompt=prompts, n=2, model="auto", max_tokens=100)
    answer = response.json()
    assert [c["adapter"] for c in answer["choices"]] == wanted and [c["index"] for c in answer["choices"]] == list(range(6))
    assert [c["text"] for c in answer["choices"][::2]] == ["GO UPPER", "go nobody", "go more/1"]
    assert response.headers[HEADER] == answer["model"] == "upper"
    response = routed.completion(prompt=prompts, n=2, model="auto", max_tokens=100, stream=True)
    assert response.headers[HEADER] == "upper"
    assert {(e["choices"][0]["index"], e["choices"][0]["adapter"]) for e in events(response)} == set(enumerate(wanted))


def test_one_in_memory_is_preferred_to_one_slightly_better(routed):
    ask = {"prompt": "more/0 more/1 more/2", "model": "auto", "max_tokens": 1}
    assert routed.completion(**ask).json()["model"] == "more/0"  # none was: the best
    assert routed.completion(prompt="a", model="more/1", max_tokens=1).status_code == 200
    assert routed.completion(prompt="more/2 more/1 more/0", model="auto", max_tokens=1).json()["model"] == "more/1"
    found = metrics(routed)
    assert (found[("edgelora_choices_total",)], found[("edgelora_choices_resident_total",)]) == (2, 1)


def test_many_at_once_each_get_their_own(fake):
    s = fake(router=1, more=50, slots=8, step_us=0, choice_steps=2)
    def one(i):
        name = f"more/{i % 50}" if i % 3 else "upper"
        answer = s.completion(prompt=f"ask {name} {i}", model="auto", max_tokens=100, n=1 + i % 5, stream=i % 2 == 0)
        objects = [answer.json()] if i % 2 else events(answer)
        assert {o["model"] for o in objects} == {name}, (name, objects)
        texts = [""] * (1 + i % 5)
        for o in objects:
            for c in o["choices"]:
                texts[c["index"]] += c["text"]
        assert texts == [(f"ask {name} {i}").upper() if name == "upper" else f"ask {name} {i}"] * (1 + i % 5)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(200)))
    s.wait_idle(SECOND)
    assert metrics(s)[("edgelora_choices_total",)] == 200


def test_requests_count_for_the_adapter_that_answered(routed):
    for _ in range(3):
        routed.completion(prompt="go upper", model="auto", n=2, max_tokens=1)
    routed.post(ROUTE, {"prompt": "go upper"})
    found = metrics(routed)
    assert found[("edgelora_adapter_requests_total", ("adapter", "upper"))] == 6
    assert ("edgelora_adapter_requests_total", ("adapter", "auto")) not in found
    assert found[("edgelora_adapter_requests_total", ("adapter", "other"))] == 0


def test_an_adapter_that_is_called_auto_comes_first(fake, tmp_path):
    s = fake(router=1, allow=tmp_path)
    (tmp_path / "x").mkdir()
    assert s.post("/v1/load_lora_adapter", {"lora_name": "auto", "lora_path": "x"}).status_code == 200
    answer = s.completion(prompt="go upper", model="auto", max_tokens=100)
    assert answer.json()["choices"][0]["text"] == "go upper" and answer.headers[HEADER] == "auto"
    assert [m["id"] for m in s.get("/v1/models").json()["data"]].count("auto") == 1
    assert s.get("/v1/models/auto").json()["parent"] == "fake"
    assert s.post(ROUTE, {"prompt": "go upper"}).json()["adapter"] == "upper"


def test_names_that_no_header_can_hold_are_percent_encoded(fake, tmp_path):
    s = fake(router=1, allow=tmp_path)
    (tmp_path / "x").mkdir()
    name = "é%20"
    s.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": "x"})
    answer = s.completion(prompt=f"go {name}", model="auto", max_tokens=1)
    assert answer.json()["model"] == name and answer.headers[HEADER] == "%C3%A9%2520"


# ---------------------------------------------------------------- scores, candidates


def test_scores_are_told_when_they_are_asked_for(routed):
    for scores, n in ((True, 7), (2, 2), (100, 7)):
        told = routed.completion(prompt="more/1 upper", model="auto", max_tokens=1, edgelora={"scores": scores}).json()["edgelora"]
        assert told["adapter"] == "more/1" and told["choice_ms"] == 1.5 and len(told["candidates"]) == n
        assert [c["name"] for c in told["candidates"][:2]] == ["more/1", "upper"]
        assert told["candidates"][0]["score"] == pytest.approx(0.9) and told["candidates"][1]["resident"] is False
    assert "edgelora" not in routed.completion(prompt="a", model="auto", edgelora={"scores": False}).json()
    first, *rest = events(routed.chat("go upper", model="auto", stream=True, edgelora={"scores": 1}))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert first["edgelora"]["candidates"][0]["name"] == "upper" and not any("edgelora" in e for e in rest)


@pytest.mark.parametrize(
    "candidates, chosen",
    [(["more/*"], "more/1"), (["upper"], "upper"), (["more/0", "gone"], "more/0"), (["fake", "slow"], "fake"), (["*"], "more/1"),
     (["more/1*", "more/1"], "more/1"), (["x"] * 1023 + ["upper"], "upper")],
)
def test_candidates_limit_the_choice(routed, candidates, chosen):
    body = {"prompt": "more/1 upper", "edgelora": {"candidates": candidates}}
    assert routed.completion(**body, model="auto", max_tokens=1).json()["model"] == chosen
    assert routed.post(ROUTE, body).json()["adapter"] == chosen


def test_candidates_of_which_none_is_there_are_a_404(routed):
    for candidates in (["gone"], ["gone/*", "Upper"], ["up"]):
        for path, body in ((TEXT, {"prompt": "a", "model": "auto"}), (CHAT, {"messages": user("a"), "model": "auto"}), (ROUTE, {"prompt": "a"})):
            error_of(routed.post(path, {**body, "edgelora": {"candidates": candidates}}), 404, "edgelora.candidates", "model_not_found")


BAD = [
    # (edgelora, param)
    (5, "edgelora"),
    ([], "edgelora"),
    ("auto", "edgelora"),
    ({"score": True}, "edgelora"),
    ({"scores": "yes"}, "edgelora.scores"),
    ({"scores": 0}, "edgelora.scores"),
    ({"scores": -1}, "edgelora.scores"),
    ({"scores": 101}, "edgelora.scores"),
    ({"scores": 2**60}, "edgelora.scores"),
    ({"scores": 1.0}, "edgelora.scores"),
    ({"scores": []}, "edgelora.scores"),
    ({"candidates": "upper"}, "edgelora.candidates"),
    ({"candidates": {}}, "edgelora.candidates"),
    ({"candidates": []}, "edgelora.candidates"),
    ({"candidates": [1]}, "edgelora.candidates"),
    ({"candidates": ["upper", None]}, "edgelora.candidates"),
    ({"candidates": [""]}, "edgelora.candidates"),
    ({"candidates": ["up\0per"]}, "edgelora.candidates"),
    ({"candidates": ["x" * 256]}, "edgelora.candidates"),
    ({"candidates": ["x"] * 1025}, "edgelora.candidates"),
]


@pytest.mark.parametrize("edgelora, param", BAD, ids=lambda v: json.dumps(v)[:40])
def test_a_wrong_addition_is_named(routed, edgelora, param):
    error_of(routed.completion(prompt="a", model="auto", edgelora=edgelora), 400, param)
    error_of(routed.chat("a", model="auto", edgelora=edgelora), 400, param)
    error_of(routed.post(ROUTE, {"prompt": "a", "edgelora": edgelora}), 400, param)


def test_additions_that_say_nothing_are_no_mistake(routed):
    for edgelora in (None, {}, {"scores": None, "candidates": None}, {"scores": False}):
        assert routed.completion(prompt="a", edgelora=edgelora).status_code == 200


def test_additions_to_a_named_adapter_are_refused(routed):
    for edgelora in ({"scores": True}, {"candidates": ["upper"]}):
        error_of(routed.completion(prompt="a", model="upper", edgelora=edgelora), 400, "edgelora")
        error_of(routed.completion(prompt="a", edgelora=edgelora), 400, "edgelora")
    error_of(routed.completion(prompt="a", model="auto", lora=[{"id": 1, "scale": 1}]), 400, "lora")
    error_of(routed.completion(prompt=["a", "b"], model="auto", edgelora={"scores": True}), 400, "edgelora.scores")


# ---------------------------------------------------------------- /v1/route


def test_route_tells_the_scores_without_generating(routed):
    before = routed.health()["generated_tokens"]
    answer = routed.post(ROUTE, {"messages": user("more/1 upper"), "top_n": 3})
    assert answer.status_code == 200 and answer.headers[HEADER] == "more/1"
    body = answer.json()
    assert set(body) == {"object", "adapter", "model", "candidates", "choice_ms", "usage"}
    assert (body["object"], body["adapter"], body["model"]) == ("route", "more/1", "more/1")
    assert [(c["name"], round(c["score"], 3)) for c in body["candidates"]] == [("more/1", 0.9), ("upper", 0.85), ("fake", 0.5)]
    assert body["usage"] == {"prompt_tokens": len("user: more/1 upper\n")}
    assert len(routed.post(ROUTE, {"prompt": "a"}).json()["candidates"]) == 7
    assert routed.post(ROUTE, {"prompt": [65, 66], "model": "auto"}).json()["model"] == "fake"
    assert routed.health()["generated_tokens"] == before


def test_route_takes_the_body_of_a_completion_as_it_is(routed):
    body = {"model": "auto", "messages": user("go upper"), "stream": True, "n": 9, "temperature": 0.5, "max_tokens": 5, "stop": ["x"],
            "stream_options": {"include_usage": True}, "edgelora": {"scores": 2, "candidates": ["upper"]}}
    answer = routed.post(ROUTE, body)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert [c["name"] for c in answer.json()["candidates"]] == ["upper"]


@pytest.mark.parametrize(
    "body, param",
    [({}, "messages"), ({"prompt": "a", "messages": user("a")}, "prompt"), ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": ""}, "prompt"),
     ({"prompt": 5}, "prompt"), ({"messages": []}, "messages"), ({"messages": "a"}, "messages"), ({"prompt": "a", "model": "upper"}, "model"),
     ({"prompt": "a", "model": 5}, "model"), ({"prompt": "a", "top_n": 0}, "top_n"), ({"prompt": "a", "top_n": 101}, "top_n"),
     ({"prompt": "a", "top_n": 1.5}, "top_n"), ({"prompt": "a", "top_n": "3"}, "top_n"),
     ({"prompt": [1 << 40]}, "prompt"), ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content")],
    ids=lambda v: json.dumps(v)[:50],
)
def test_a_bad_route_names_its_field(routed, body, param):
    error_of(routed.post(ROUTE, body), 400, param)


def test_a_field_of_route_is_none_of_others(fake):
    assert "/v1/route" in error_of(fake(strict=1).completion(prompt="a", top_n=3), 400, "top_n")


def test_route_has_no_other_method(routed):
    response = routed.get(ROUTE)
    assert response.status_code == 405 and "POST" in response.headers["allow"]
    for body in (b"", b"[]", b"{", b"null"):
        error_of(routed.post(ROUTE, body), 400, None, "invalid_json")


# ---------------------------------------------------------------- what goes wrong


def test_without_a_router_auto_is_a_400_that_says_so(fake):
    s = fake()
    for response in (s.completion(prompt="a", model="auto"), s.chat("a", model="auto", stream=True), s.post(ROUTE, {"prompt": "a"})):
        assert "there is no router" in error_of(response, 400, "model")
    assert "auto" not in [m["id"] for m in s.get("/v1/models").json()["data"]]
    error_of(s.get("/v1/models/auto"), 404, "model")


def test_a_prompt_of_megabytes_is_refused_or_routed(fake):
    s = fake(router=1, ctx=2_000_000)
    big = "word " * 250_000
    assert s.post(ROUTE, {"prompt": big + "upper"}).json()["adapter"] == "upper"
    for path, param, value in ((TEXT, "prompt", big * 2), (CHAT, "messages", user(big * 2)), (ROUTE, "prompt", big * 2)):
        error_of(s.post(path, {param: value, "model": "auto"}), 400, param, "context_length_exceeded")


@pytest.mark.parametrize("n", [1, 3])
def test_a_choice_that_fails_fails_the_answer(routed, n):
    ask = {"prompt": "unroutable", "model": "auto", "n": n}
    error_of(routed.completion(**ask), 503)
    error_of(routed.post(ROUTE, {"prompt": "unroutable"}), 503)
    # One of several is enough.
    error_of(routed.completion(prompt=["go upper", "unroutable"], model="auto", n=n), 503)
    error_of(routed.completion(**ask, stream=True), 503)  # nothing has been sent by then
    routed.wait_idle(SECOND)


def test_an_adapter_that_fails_after_it_was_chosen_fails_the_answer(routed):
    error_of(routed.completion(prompt="fail me, please", model="auto", n=3, max_tokens=100), 503)
    assert routed.completion(prompt="go upper", model="auto").status_code == 200


def test_further_choices_that_find_the_queue_full_are_a_503(fake):
    s = fake(router=1, slots=1, queue=1, choice_steps=50)
    answer = s.completion(prompt="go upper", model="auto", n=4, max_tokens=2)
    error_of(answer, 503, None, "overloaded")
    s.wait_idle(SECOND)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_the_router_reads_stops_it(fake, stream):
    s = fake(router=1, choice_steps=1_000_000, slots=2)
    with s.connect() as c:
        c.sendall(request_bytes(TEXT, {"prompt": "go upper", "model": "auto", "stream": stream, "n": 3, **ENDLESS}))
        s.wait_busy(1)
        slot = s.get("/slots").json()[0]
        assert slot["state"] == "choosing" and slot["adapter"] is None
    s.wait_idle(SECOND)


def test_a_server_that_ends_cancels_choices_too(fake):
    s = fake(router=1, choice_steps=1_000_000, drain_ms=100)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(s.post, path, {"prompt": "go upper", "n": 2, "stream": path == TEXT, **model})
                 for path, model in ((TEXT, {"model": "auto"}), (ROUTE, {}))]
        s.wait_busy(2)
        start = time.monotonic()
        assert s.stop() == 0 and time.monotonic() - start < 10
        for a in asked:
            error_of(a.result(), 503, None, "shutting_down")


def test_a_server_that_ends_in_the_middle_of_choosing_leaves_nothing(fake):
    """Choices that are handed back to the reader while the server stops."""
    for _ in range(5):
        # Steps take a while, or a machine that is slow to end it would see an answer grow beyond what is kept of one.
        s = fake(router=1, slots=16, step_us=1000, drain_ms=0)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(s.completion, prompt=["go upper", "b", "c"], n=8, model="auto", **ENDLESS) for _ in range(8)]
            time.sleep(0.02)
            assert s.stop() == 0
            for a in asked:
                assert a.exception() or a.result().status_code == 503, a.result().text


# ---------------------------------------------------------------- what is told


def test_models_list_auto_after_the_base(routed):
    listed = routed.get("/v1/models").json()
    assert [m["id"] for m in listed["data"]][:3] == ["fake", "auto", "upper"]
    auto = listed["data"][1]
    assert set(auto) == set(listed["data"][0]) - {"meta"} and auto["parent"] is None
    assert routed.get("/v1/models/auto").json() == auto
    page = routed.get("/v1/models", params={"limit": 1, "after": "auto"}).json()
    assert [m["id"] for m in page["data"]] == ["upper"] and page["has_more"]


def test_metrics_tell_what_the_router_did(routed):
    routed.completion(prompt="go upper", model="auto", max_tokens=1)
    routed.completion(prompt="go nobody", model="auto", max_tokens=1)
    found = metrics(routed)
    assert found[("edgelora_choices_total",)] == 2 and found[("edgelora_choices_base_total",)] == 1
    assert found[("edgelora_choice_tokens_total",)] == len("go uppergo nobody")
    assert found[("edgelora_choice_seconds_total",)] == pytest.approx(0.003)
    assert found[("edgelora_adapters_in_router",)] == 6
