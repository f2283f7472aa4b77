"""Tools and reasoning in chats, with OpenAI's own client, on the engine without a model (tests/server_fake): what the user's message has after
"say: " is what the model writes.
"""

import json

import openai
import pytest

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Gets the weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>'
CALL_2 = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@pytest.fixture(scope="module")
def client(module_fake):
    return openai.OpenAI(base_url=module_fake.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def module_fake():
    from conftest import FAKE, Server
    if not FAKE.exists():
        pytest.skip("server_fake is not built")
    s = Server([FAKE, "step_us=50"])
    yield s
    assert s.stop() == 0


def ask(client, text, **more):
    return client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "say: " + text}], **{"tools": TOOLS, **more})


def calls_of(message):
    return [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]


def stream(client, text, **more):
    """What a client accumulates: text, reasoning, calls by index, the finish reason."""
    said, thought, calls, finish = "", "", {}, None
    for chunk in ask(client, text, stream=True, **more):
        delta = chunk.choices[0].delta
        said += delta.content or ""
        thought += getattr(delta, "reasoning_content", None) or ""
        for c in delta.tool_calls or []:
            if c.id:
                assert c.index == len(calls) and c.type == "function" and c.function.name
                calls[c.index] = [c.id, c.function.name, ""]
            calls[c.index][2] += c.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    return said, thought, list(calls.values()), finish


def test_a_call_is_told_as_openai_does(client):
    answer = ask(client, CALL).choices[0]
    assert calls_of(answer.message) == [("get_weather", {"city": "Zürich", "days": 3})]
    assert answer.finish_reason == "tool_calls"
    assert answer.message.content is None
    assert answer.message.tool_calls[0].type == "function"
    assert len(answer.message.tool_calls[0].id) == 9


def test_parallel_calls_and_text_come_beside_each_other(client):
    answer = ask(client, f"Let me see.\n{CALL}\n{CALL_2}").choices[0]
    assert answer.message.content == "Let me see."
    assert calls_of(answer.message) == [("get_weather", {"city": "Zürich", "days": 3}), ("add", {"a": 1})]
    assert len({c.id for c in answer.message.tool_calls}) == 2


def test_of_several_calls_one_is_told_where_one_is_asked_for(client):
    answer = ask(client, CALL + CALL_2, parallel_tool_calls=False).choices[0]
    assert calls_of(answer.message) == [("get_weather", {"city": "Zürich", "days": 3})]
    assert [c[1] for c in stream(client, CALL + CALL_2, parallel_tool_calls=False)[2]] == ["get_weather"]


def test_streamed_calls_are_what_they_are_in_one_piece(client):
    said, thought, calls, finish = stream(client, f"Let me see.\n{CALL}\n{CALL_2}")
    assert (said, thought, finish) == ("Let me see.", "", "tool_calls")
    assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [("get_weather", {"city": "Zürich", "days": 3}), ("add", {"a": 1})]


def test_streamed_arguments_come_in_pieces(client):
    pieces = [c.function.arguments for chunk in ask(client, CALL, stream=True) for c in chunk.choices[0].delta.tool_calls or []]
    assert len(pieces) > 5 and json.loads("".join(pieces)) == {"city": "Zürich", "days": 3}


def test_the_clients_own_stream_helper_accumulates_calls(client):
    with client.chat.completions.stream(model="fake", messages=[{"role": "user", "content": "say: " + CALL}], tools=TOOLS) as s:
        for _ in s:
            pass
        answer = s.get_final_completion().choices[0]
    assert calls_of(answer.message) == [("get_weather", {"city": "Zürich", "days": 3})]


def test_what_is_no_call_is_content(client):
    for text in ('<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', "<tool_call>{broken}</tool_call>", "no call <b>"):
        answer = ask(client, text).choices[0]
        assert answer.message.content == text and not answer.message.tool_calls and answer.finish_reason == "stop"
        assert stream(client, text)[0] == text


def test_without_tools_or_with_none_calls_are_content(client):
    assert ask(client, CALL, tool_choice="none").choices[0].message.content == CALL
    assert ask(client, CALL, tools=openai.omit).choices[0].message.content == CALL


def test_a_call_that_the_limit_cuts_short_is_content_of_a_whole_answer(client):
    answer = ask(client, CALL, max_tokens=60).choices[0]
    assert answer.finish_reason == "length" and not answer.message.tool_calls
    assert CALL.startswith(answer.message.content)


def test_reasoning_is_told_apart(client):
    answer = ask(client, "<think>\nHm, so.\n</think>\n\nYes.", tools=openai.omit).choices[0].message
    assert answer.content == "Yes."
    assert answer.reasoning_content == answer.reasoning == "Hm, so."
    said, thought, calls, finish = stream(client, "<think>Hm</think>" + CALL)
    assert (said, thought, len(calls), finish) == ("", "Hm", 1, "tool_calls")


def test_reasoning_stays_in_the_content_where_that_is_asked_for(client):
    answer = ask(client, "<think>Hm</think>Yes", extra_body={"reasoning_format": "none"}).choices[0].message
    assert answer.content == "<think>Hm</think>Yes"


def test_logprobs_are_those_of_all_tokens_with_calls_too(client):
    text = "<think>Hm</think>A <b" + CALL
    answer = ask(client, text, logprobs=True).choices[0]
    assert len(answer.logprobs.content) == len(text.encode())
    chunks = [chunk.choices[0] for chunk in ask(client, text, logprobs=True, stream=True)]
    streamed = [t for c in chunks if c.logprobs for t in c.logprobs.content]
    assert len(streamed) == len(text.encode())


def test_choices_have_calls_of_their_own(client):
    answer = ask(client, CALL, n=3)
    assert [calls_of(c.message)[0][0] for c in answer.choices] == ["get_weather"] * 3
    assert len({c.message.tool_calls[0].id for c in answer.choices}) == 3


def test_a_loop_of_calls_goes_round(client):
    messages = [{"role": "user", "content": "say: " + CALL}]
    answer = client.chat.completions.create(model="fake", messages=messages, tools=TOOLS).choices[0].message
    messages.append(answer.model_dump())  # with refusal, annotations and all that
    messages.append({"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "20 degrees"})
    messages.append({"role": "user", "content": "say: It is 20 degrees."})
    final = client.chat.completions.create(model="fake", messages=messages, tools=TOOLS).choices[0]
    assert final.message.content == "It is 20 degrees." and final.finish_reason == "stop"
    # What the template made of it all: the fake engine repeats the prompt.
    messages[0]["content"] = messages[-1]["content"] = "What?"
    echo = client.chat.completions.create(model="fake", messages=messages, tools=TOOLS, tool_choice="none").choices[0].message.content
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>' in echo
    assert "tool: 20 degrees" in echo and "tool: add" in echo


@pytest.mark.parametrize("more, param", [
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
    ({"tools": [{"type": "web_search"}]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a"}}] * 2}, "tools"),
    ({"tool_choice": {"type": "function", "function": {"name": "none of them"}}}, "tool_choice"),
    ({"tool_choice": "perhaps"}, "tool_choice"),
    ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
    ({"tools": openai.omit, "tool_choice": "required"}, "tool_choice"),
])
def test_what_is_wrong_with_tools_is_said(client, more, param):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, "x", **more)
    assert e.value.param == param


# ---------------------------------------------------------------- a model that knows no tools, made to call


def check_weather(call):
    name, arguments = call
    assert name == "get_weather" and set(arguments) <= {"city", "days"} and isinstance(arguments["city"], str)
    assert isinstance(arguments.get("days", 1), int)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=["required", "named"])
def test_a_call_that_has_to_come_comes_by_its_schema(server, choice):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    tools = TOOLS if isinstance(choice, dict) else TOOLS[:1]
    ask = dict(model="", messages=[{"role": "user", "content": "How is the weather in Paris?"}], tools=tools, tool_choice=choice, temperature=0,
               max_tokens=80, parallel_tool_calls=False)
    answer = client.chat.completions.create(**ask).choices[0]
    assert answer.finish_reason == "tool_calls" and answer.message.content is None
    (call,) = calls_of(answer.message)
    check_weather(call)
    with client.chat.completions.stream(**ask) as s:
        for _ in s:
            pass
        assert calls_of(s.get_final_completion().choices[0].message) == [call]


def test_a_schema_that_cannot_be_enforced_is_named(server):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$dynamicRef": "#x"}}}}}
    r = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [tool], "tool_choice": "required"})
    assert r.status_code == 400 and r.json()["error"]["param"] == "tools" and "$dynamicRef" in r.json()["error"]["message"]
