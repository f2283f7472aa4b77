"""Anthropic's Messages with Anthropic's own client, on the engine without a model (tests/server_fake): what the user's message has after "say: " is
what the model writes.
"""

import anthropic
import httpx
import pytest
from conftest import FAKE, Server

TOOLS = [{"name": "get_weather", "description": "Gets the weather", "cache_control": {"type": "ephemeral"},
          "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
         {"name": "add", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "n": 3}}\n</tool_call>'
CALL_2 = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@pytest.fixture(scope="module")
def server():
    if not FAKE.exists():
        pytest.skip("server_fake is not built")
    s = Server([FAKE, "step_us=50"])
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def ask(client, text, **more):
    return client.messages.create(**{"model": "fake", "max_tokens": 1000, "messages": [{"role": "user", "content": "say: " + text}], **more})


def test_a_message_is_answered(client):
    m = ask(client, "Hello.")
    assert (m.type, m.role, m.model, m.stop_reason, m.stop_sequence) == ("message", "assistant", "fake", "end_turn", None)
    assert [b.model_dump(include={"type", "text"}) for b in m.content] == [{"type": "text", "text": "Hello."}]
    assert m.id.startswith("msg_")
    assert m.usage.output_tokens == 6 and m.usage.input_tokens + m.usage.cache_read_input_tokens == len("user: say: Hello.\n")


def test_adapters_are_models(client):
    assert ask(client, "Hello.", model="upper").content[0].text == "HELLO."
    with pytest.raises(anthropic.NotFoundError) as e:
        ask(client, "Hello.", model="none such")
    assert e.value.body["type"] == "error" and e.value.body["error"]["type"] == "not_found_error"


def test_system_is_a_string_or_blocks_and_blocks_are_texts(client):
    echo = client.messages.create(model="fake", max_tokens=1000, system="Be kind.", messages=[{"role": "user", "content": "Hi"}])
    assert echo.content[0].text == "system: Be kind.\nuser: Hi\n"
    echo = client.messages.create(
        model="fake", max_tokens=1000, system=[{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}], metadata={"user_id": "u"})
    assert echo.content[0].text == "system: A\nB\nuser: x\ny\n"


def test_what_ends_an_answer_is_told(client):
    m = ask(client, "Hello.", max_tokens=3)
    assert m.stop_reason == "max_tokens" and m.content[0].text == "Hel"


def test_calls_are_blocks(client):
    m = ask(client, "Let me see.\n" + CALL + CALL_2, tools=TOOLS)
    assert m.stop_reason == "tool_use"
    assert [b.type for b in m.content] == ["text", "tool_use", "tool_use"]
    assert m.content[0].text == "Let me see."
    assert (m.content[1].name, m.content[1].input) == ("get_weather", {"city": "Zürich", "n": 3})
    assert (m.content[2].name, m.content[2].input) == ("add", {"a": 1})
    assert m.content[1].id != m.content[2].id


def test_one_call_alone_where_parallel_ones_are_off(client):
    m = ask(client, CALL + CALL_2, tools=TOOLS, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert [b.name for b in m.content] == ["get_weather"]
    assert ask(client, CALL, tools=TOOLS, tool_choice={"type": "none"}).content[0].text == CALL


def test_thinking_is_a_block(client):
    m = ask(client, "<think>Hm</think>Yes", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
    assert [b.type for b in m.content] == ["thinking", "text"]
    assert (m.content[0].thinking, m.content[1].text) == ("Hm", "Yes")


@pytest.mark.parametrize("text", ["Hello, wörld.", "<think>Hm</think>Let me see." + CALL + CALL_2, CALL])
def test_a_stream_accumulates_to_the_message(client, text):
    whole = ask(client, text, tools=TOOLS)
    with client.messages.stream(model="fake", max_tokens=1000, tools=TOOLS, messages=[{"role": "user", "content": "say: " + text}]) as s:
        kinds = [e.type for e in s]
        got = s.get_final_message()
    strip = {"id", "signature", "parsed_output"}

    def plain(m):
        return [{k: v for k, v in b.model_dump().items() if k not in strip} for b in m.content]
    assert plain(got) == plain(whole)
    assert (got.stop_reason, got.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"


def test_events_of_a_stream_come_in_order_and_arguments_in_pieces(client):
    events = list(ask(client, "A" + CALL, tools=TOOLS, stream=True))
    kinds = [e.type for e in events]
    deltas = [e for e in events if e.type == "content_block_delta"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-2:] == ["message_delta", "message_stop"]
    assert {e.index for e in deltas} == {0, 1} and len([e for e in deltas if e.index == 1]) > 5


def test_a_loop_of_tools_goes_round(client):
    messages = [{"role": "user", "content": "say: <think>Hm</think>" + CALL}]
    m = client.messages.create(model="fake", max_tokens=1000, tools=TOOLS, messages=messages)
    messages += [{"role": "assistant", "content": m.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": m.content[-1].id, "content": "20 degrees"},
                                              {"type": "text", "text": "say: It is 20."}]}]
    assert client.messages.create(model="fake", max_tokens=1000, tools=TOOLS, messages=messages).content[0].text == "It is 20."
    messages[0]["content"] = messages[-1]["content"][1]["text"] = "What?"
    echo = client.messages.create(model="fake", max_tokens=1000, tools=TOOLS, messages=messages, tool_choice={"type": "none"}).content[-1].text
    assert '"arguments": {"city": "Zürich", "n": 3}' in echo and "tool: 20 degrees\nuser: What?" in echo


def test_tokens_are_counted(client):
    n = client.messages.count_tokens(model="fake", messages=[{"role": "user", "content": "Hi"}], system="S", tools=TOOLS).input_tokens
    assert n == len("tool: get_weather\ntool: add\nsystem: S\nuser: Hi\n")


def test_errors_have_the_form_of_the_dialect(client, server):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with pytest.raises(anthropic.BadRequestError) as e:
        client.messages.create(model="fake", max_tokens=9, messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, image]}])
    assert e.value.body["error"]["type"] == "invalid_request_error"
    assert "messages[0].content[1]" in e.value.body["error"]["message"] and "image" in e.value.body["error"]["message"]
    r = server.post("/v1/messages", {"model": "fake", "messages": [{"role": "user", "content": "x"}]})
    assert r.status_code == 400 and "max_tokens" in r.json()["error"]["message"]
    for body in ({"max_tokens": 1}, {"max_tokens": 1, "messages": "x"}, {"max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]},
                 {"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "x"}]}]}, {"max_tokens": 1, "messages": [1]},
                 {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "x"}},
                 {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "a b", "input_schema": {}}]},
                 {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "system": [1]}):
        r = server.post("/v1/messages", body)
        assert r.status_code == 400 and r.json()["type"] == "error" and r.json()["error"]["type"] == "invalid_request_error", body


def test_a_failure_in_a_stream_is_an_event(client):
    with pytest.raises(anthropic.APIError):
        for _ in ask(client, "Hello", model="fail", stream=True):
            pass


def test_the_key_comes_as_the_client_sends_it(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret-of-sixteen-bytes\n")
    s = Server([FAKE, f"keys={keys}"])
    try:
        good = anthropic.Anthropic(base_url=s.url, api_key="secret-of-sixteen-bytes", max_retries=0)
        assert ask(good, "Hello.").content[0].text == "Hello."
        with pytest.raises(anthropic.AuthenticationError) as e:
            ask(anthropic.Anthropic(base_url=s.url, api_key="wrong", max_retries=0), "x")
        assert e.value.body["error"]["type"] == "authentication_error"
        assert httpx.post(s.url + "/v1/messages", json={}).status_code == 401
    finally:
        assert s.stop() == 0
