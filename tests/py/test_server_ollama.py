"""The server as Ollama's own client sees it."""

import json
import math

import httpx
import ollama
import pytest

WEATHER = [{"role": "user", "content": "Say one word about rain."}]
SHORT = {"num_predict": 12, "temperature": 0}


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server.url, timeout=300)


@pytest.fixture(scope="module")
def names(client):
    return [m.model for m in client.list().models]


def answer(server, messages, **fields):
    body = {"messages": messages, "max_tokens": 12, "temperature": 0, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.1, **fields}
    return server.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]


def test_the_base_and_each_adapter_are_models(client, server, names):
    ours = [m["id"] for m in server.get("/v1/models").json()["data"]]
    assert names == [f"{n}:latest" for n in ours if n != "auto"]
    for m in client.list().models[:3]:
        assert m.details.format == "gguf" and m.details.parameter_size.endswith("M") and len(m.digest) == 64
        shown = client.show(m.model)
        assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == m.details.family
        assert shown.modelinfo[f"{m.details.family}.context_length"] > 0
    assert client.list().models[1].details.parent_model == names[0]


def test_a_chat_is_the_same_in_one_piece_as_a_stream_and_as_openai_has_it(client, server, names):
    for name in (names[0], names[1], names[1].removesuffix(":latest")):
        whole = client.chat(model=name, messages=WEATHER, options=SHORT)
        parts = list(client.chat(model=name, messages=WEATHER, options=SHORT, stream=True))
        text = answer(server, WEATHER, model=name.removesuffix(":latest"))
        assert whole.message.content == "".join(p.message.content for p in parts) == text
        assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 1
        for end in (whole, parts[-1]):
            assert end.done and end.done_reason in ("stop", "length") and end.message.role == "assistant"
            assert 0 < end.eval_count <= 12 and end.prompt_eval_count > 0
            assert end.total_duration >= end.load_duration + end.prompt_eval_duration > 0
        assert whole.model == name.removesuffix(":latest")


def test_a_stream_is_lines_of_json_and_the_default(server):
    with httpx.stream("POST", server.url + "/api/chat", json={"messages": WEATHER, "options": SHORT}, timeout=60) as reply:
        assert reply.status_code == 200 and reply.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in reply.iter_lines()]
    assert lines[-1]["done"] and not any(line["done"] for line in lines[:-1])


def test_generate_is_a_chat_of_one_message_and_raw_is_not(client, server, names):
    prompt = WEATHER[0]["content"]
    assert client.generate(model=names[0], prompt=prompt, options=SHORT).response == answer(server, WEATHER)
    system = "You speak French."
    assert client.generate(model=names[0], prompt=prompt, system=system, options=SHORT).response == answer(
        server, [{"role": "system", "content": system}, *WEATHER])
    raw = client.generate(model=names[0], prompt="The capital of France is", raw=True, options=SHORT)
    plain = server.completion(prompt="The capital of France is", max_tokens=12, temperature=0, repetition_penalty=1.1).json()
    assert raw.response == plain["choices"][0]["text"]
    streamed = client.generate(model=names[0], prompt=prompt, options=SHORT, stream=True)
    assert "".join(p.response for p in streamed) == answer(server, WEATHER)


def test_what_is_not_known_is_named_in_the_log(client, server, names):
    client.chat(model=names[0], messages=WEATHER, options={"tempreture": 1, "num_ctx": 10**9, "num_predict": 1})
    client.generate(model=names[0], prompt="Hi", context=[1, 2], options={"num_predict": 1})
    for name in ("options.tempreture", "options.num_ctx", "context"):
        assert any(f"'{name}'" in line for line in server.log)


def test_options_are_what_they_are_called_elsewhere(client, server, names):
    def chat(**options):
        return client.chat(model=names[0], messages=WEATHER, options={"num_predict": 16, **options})

    assert chat(seed=7).message.content == chat(seed=7).message.content
    assert len({chat(seed=s, temperature=2.0).message.content for s in range(4)}) > 1
    assert chat(temperature=0, num_predict=3).eval_count <= 3
    text = chat(temperature=0).message.content
    stop = text[4:8]
    stopped = chat(temperature=0, stop=[stop])
    assert stopped.message.content == text[: text.index(stop)] and stopped.done_reason == "stop"
    assert chat(temperature=0, top_k=1, top_p=0.5, min_p=0.1, presence_penalty=0.0, num_ctx=2048, num_gpu=1, num_thread=2, mirostat=0,
                typical_p=1.0, use_mmap=True, num_keep=4, seed=-1).message.content
    for option in ({"mirostat": 2}, {"tfs_z": 0.5}, {"num_ctx": -1}):
        with pytest.raises(ollama.ResponseError) as caught:
            chat(**option)
        assert caught.value.status_code == 400 and next(iter(option)) in caught.value.error
    with pytest.raises(ollama.ResponseError) as caught:
        chat(min_p=2.0)
    assert "min_p" in caught.value.error


def test_vectors_are_those_of_openais_endpoint(client, server, names):
    texts = ["The cat sat on the mat.", "Rain."]
    got = client.embed(model=names[1], input=texts)
    ours = server.post("/v1/embeddings", {"model": names[1].removesuffix(":latest"), "input": texts}).json()
    assert [list(v) for v in got.embeddings] == [d["embedding"] for d in ours["data"]]
    assert got.prompt_eval_count == ours["usage"]["prompt_tokens"] and got.total_duration > 0
    assert client.embed(model=names[1], input=texts[0], keep_alive="5m").embeddings[0] == got.embeddings[0]
    assert len(client.embed(model=names[1], input=texts[0], dimensions=8).embeddings[0]) == 8
    raw = client.embeddings(model=names[1], prompt=texts[0]).embedding
    length = math.sqrt(sum(x * x for x in raw))
    assert abs(length - 1) > 0.01
    assert all(abs(x / length - y) < 1e-5 for x, y in zip(raw, got.embeddings[0]))


def test_a_model_is_loaded_by_asking_for_nothing(client, names):
    assert client.chat(model=names[0], messages=[]).done_reason == "load"
    assert client.generate(model=names[0]).done_reason == "load"
    assert [p.done for p in client.generate(model=names[0], stream=True)] == [True]


def test_what_is_in_memory_is_listed(client, names):
    client.generate(model=names[1], prompt="Hi", options={"num_predict": 1})
    running = [m.model for m in client.ps().models]
    assert names[0] in running and names[1] in running and set(running) <= set(names)


def test_models_are_neither_pulled_nor_made_nor_deleted(client, server):
    for call in (lambda: client.delete("llama3"), lambda: client.pull("llama3"), lambda: client.create("mine", from_="llama3"), lambda: client.copy("a", "b"),
                 lambda: list(client.pull("llama3", stream=True))):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 403 and "load_lora_adapter" in caught.value.error


def test_errors_are_what_the_client_reads(client, server, names):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model="no-such-model", messages=WEATHER)
    assert caught.value.status_code == 404 and "no-such-model" in caught.value.error
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("no-such-model")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model=names[0], messages=[{"role": "user", "content": "What is it?", "images": ["aGk="]}])
    assert caught.value.status_code == 400 and "images" in caught.value.error
    for path, body in (("/api/generate", {"prompt": 1}), ("/api/generate", {"prompt": "a", "template": "{{ .Prompt }}"}), ("/api/embed", {}),
                       ("/api/chat", {"messages": {}}), ("/api/chat", {"messages": WEATHER, "format": "yaml"}),
                       ("/api/chat", {"messages": WEATHER, "options": []}), ("/api/chat", {"messages": WEATHER, "think": 1})):
        reply = server.post(path, body)
        assert reply.status_code == 400 and set(reply.json()) == {"error"}, reply.text


def test_a_stream_that_fails_ends_with_the_error(fake):
    s = fake()
    with httpx.stream("POST", s.url + "/api/generate", json={"model": "fail:latest", "prompt": "abcdefgh", "raw": True}) as reply:
        lines = [json.loads(line) for line in reply.iter_lines()]
    assert "fails here" in lines[-1]["error"] and lines[0]["response"] == "a"


def test_the_version_is_one_that_clients_look_for(server):
    major, minor, patch = server.get("/api/version").json()["version"].split(".")
    assert (int(major), int(minor)) >= (0, 6)


# ---------------------------------------------------------------- tools, reasoning, schemas

TOOL = {"type": "function", "function": {"name": "weather", "description": "Today's.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


@pytest.fixture
def speaker(fake):
    """What the user's message has after "say: " is what the model writes."""
    return ollama.Client(host=fake().url, timeout=60)


def said(text):
    return [{"role": "user", "content": "say: " + text}]


def test_tools_are_called_and_their_results_read(speaker):
    messages = said(CALL)
    whole = speaker.chat(model="fake", messages=messages, tools=[TOOL])
    parts = list(speaker.chat(model="fake", messages=messages, tools=[TOOL], stream=True))
    assert [p.done for p in parts] == [False, True]
    for message in (whole.message, parts[0].message):
        (call,) = message.tool_calls
        assert (call.function.name, call.function.arguments) == ("weather", {"city": "Oslo"}) and not message.content
    messages = [*said("It is 20 degrees."), whole.message, {"role": "tool", "tool_name": "weather", "content": "20"}]
    after = speaker.chat(model="fake", messages=messages, tools=[TOOL])
    assert after.message.content == "It is 20 degrees." and not after.message.tool_calls


def test_reasoning_is_apart_from_the_answer(speaker):
    messages = said("<think>Hm, rain.</think>Drops.")
    whole = speaker.chat(model="fake", messages=messages, think=True)
    parts = list(speaker.chat(model="fake", messages=messages, think=True, stream=True))
    assert (whole.message.thinking, whole.message.content) == ("Hm, rain.", "Drops.")
    assert "".join(p.message.thinking or "" for p in parts) == "Hm, rain."
    assert "".join(p.message.content for p in parts) == "Drops."


def test_a_format_holds_the_answer_to_it(client, names):
    schema = {"type": "object", "properties": {"legs": {"type": "integer"}, "name": {"enum": ["cat", "bird"]}}, "required": ["legs", "name"],
              "additionalProperties": False}
    options = {"num_predict": 60, "temperature": 0}
    got = json.loads(client.chat(model=names[0], messages=WEATHER, format=schema, options=options).message.content)
    assert isinstance(got["legs"], int) and got["name"] in ("cat", "bird") and len(got) == 2
    got = json.loads(client.generate(model=names[1], prompt="A bird.", format=schema, options=options).response)
    assert isinstance(got["legs"], int) and got["name"] in ("cat", "bird")
    text = client.chat(model=names[0], messages=WEATHER, format="json", options=options).message.content
    assert text.lstrip().startswith("{")
