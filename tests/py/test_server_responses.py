"""POST /v1/responses as OpenAI's own client sees it, with the default model."""

import json

import openai
import pytest
from test_server_keys import bearer, keyed  # noqa: F401
from test_server_tools import CALL, CALL_2, module_fake  # noqa: F401

QUESTION = "What is the capital of France?"
FEW = {"max_output_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def chat(client, model, messages):
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=8, temperature=0)
    return answer.choices[0].message.content


def test_a_response_is_the_chats_answer(client, model):
    r = client.responses.create(model=model, input=QUESTION, instructions="Answer in French.", **FEW)
    messages = [{"role": "system", "content": "Answer in French."}, {"role": "user", "content": QUESTION}]
    assert r.output_text == chat(client, model, messages)
    assert r.object == "response" and r.id.startswith("resp_") and r.model == model
    assert r.status in ("completed", "incomplete") and r.error is None
    assert (r.status == "incomplete") == (r.incomplete_details is not None)
    assert r.instructions == "Answer in French." and r.max_output_tokens == 8 and r.temperature == 0
    assert r.usage.input_tokens > 10 and 0 < r.usage.output_tokens <= 8
    assert r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens
    (item,) = r.output
    assert item.type == "message" and item.role == "assistant" and item.id.startswith("msg_")
    assert [part.type for part in item.content] == ["output_text"]


def test_items_are_messages(client, model):
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": "Hello!"},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
    ]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi."}]},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]
    r = client.responses.create(model=model, input=items, **FEW)
    assert r.output_text == chat(client, model, messages)


def test_a_stream_builds_the_same_answer_event_by_event(client, model):
    whole = client.responses.create(model=model, input=QUESTION, **FEW)
    with client.responses.create(model=model, input=QUESTION, stream=True, **FEW) as stream:
        events = list(stream)
    assert [e.sequence_number for e in events] == list(range(len(events)))
    types = [e.type for e in events]
    assert types[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    assert types[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert types[-1] in ("response.completed", "response.incomplete")
    deltas = [e for e in events if e.type == "response.output_text.delta"]
    assert types[4:-4] == ["response.output_text.delta"] * len(deltas)
    text = "".join(e.delta for e in deltas)
    assert text == whole.output_text == events[-4].text == events[-3].part.text == events[-2].item.content[0].text
    last = events[-1].response
    assert last.output_text == text and last.usage.model_dump() == whole.usage.model_dump() | {
        "input_tokens_details": last.usage.input_tokens_details.model_dump()}
    assert {e.item_id for e in deltas} == {last.output[0].id}
    assert events[0].response.status == "in_progress" and last.id == events[0].response.id


def test_the_clients_own_helper_follows_a_stream(client, model):
    with client.responses.stream(model=model, input=QUESTION, temperature=0, extra_body={"stop": [","]}) as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text != ""


def test_a_conversation_goes_on_from_what_is_kept(client, model):
    first = client.responses.create(model=model, input="My name is Ada.", instructions="Be kind.", **FEW)
    second = client.responses.create(model=model, input=QUESTION, previous_response_id=first.id, **FEW)
    assert second.previous_response_id == first.id
    third = client.responses.create(model=model, input="And of Spain?", previous_response_id=second.id, stream=True, **FEW)
    text = "".join(e.delta for e in third if e.type == "response.output_text.delta")
    # Instructions are not carried over, as OpenAI has it.
    messages = [{"role": "user", "content": "My name is Ada."},
                {"role": "assistant", "content": [{"type": "text", "text": first.output_text}]},
                {"role": "user", "content": QUESTION}]
    assert second.output_text == chat(client, model, messages)
    messages += [{"role": "assistant", "content": [{"type": "text", "text": second.output_text}]},
                 {"role": "user", "content": "And of Spain?"}]
    assert text == chat(client, model, messages)


def test_what_is_kept_is_read_again_and_deleted(client, model):
    r = client.responses.create(model=model, input="Hi", metadata={"a": "b"}, **FEW)
    assert client.responses.retrieve(r.id).model_dump() == r.model_dump() and r.metadata == {"a": "b"}
    later = client.responses.create(model=model, input=[{"role": "user", "content": "More"}], previous_response_id=r.id, **FEW)
    items = list(client.responses.input_items.list(later.id, order="asc"))
    assert [i.role for i in items] == ["user", "assistant", "user"] and items[-1].content == "More"
    assert [i.role for i in client.responses.input_items.list(r.id)] == ["user"]
    client.responses.delete(r.id)
    for lost in (lambda: client.responses.retrieve(r.id), lambda: client.responses.delete(r.id)):
        with pytest.raises(openai.NotFoundError, match=r.id):
            lost()
    with pytest.raises(openai.BadRequestError) as e:
        client.responses.create(model=model, input="Hi", previous_response_id=r.id, **FEW)
    assert e.value.code == "previous_response_not_found" and e.value.param == "previous_response_id"


def test_store_false_is_heeded(client, model):
    r = client.responses.create(model=model, input="Hi", store=False, **FEW)
    assert r.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(r.id)


def test_tools_of_others_and_unknown_items_are_skipped_with_a_line_in_the_log(client, model, server):
    r = client.responses.create(model=model, input=QUESTION, tools=[{"type": "web_search"}], **FEW)
    assert r.output_text == client.responses.create(model=model, input=QUESTION, **FEW).output_text
    assert any("web_search" in line and "skipped" in line for line in server.log)


@pytest.mark.parametrize(
    "fields, param",
    [
        ({}, "input"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": "Hi", "instructions": 3}, "instructions"),
        ({"input": "Hi", "max_output_tokens": "x"}, "max_output_tokens"),
        ({"input": "Hi", "background": True}, "background"),
        ({"input": "Hi", "n": 2}, "n"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(server, fields, param):
    answer = server.post("/v1/responses", fields)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text


def test_one_keys_responses_are_not_anothers(keyed):  # noqa: F811
    body = {"model": "fake", "input": "Hi", "max_output_tokens": 4}
    id = keyed.post("/v1/responses", body, **bearer("sk-all")).json()["id"]
    assert keyed.get(f"/v1/responses/{id}", **bearer("sk-all")).status_code == 200
    assert keyed.get(f"/v1/responses/{id}", **bearer("sk-base")).status_code == 404
    answer = keyed.post("/v1/responses", {**body, "previous_response_id": id}, **bearer("sk-base"))
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "previous_response_not_found"


# ---------------------------------------------------------------- tools and reasoning, on the engine without a model

TOOLS = [
    {"type": "function", "name": "get_weather", "strict": False,
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}},
    {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    {"type": "web_search"},
]


@pytest.fixture(scope="module")
def speaker(module_fake):  # noqa: F811
    return openai.OpenAI(base_url=module_fake.url + "/v1", api_key="none", max_retries=0)


def ask(speaker, text, **more):
    return speaker.responses.create(model="fake", input="say: " + text, tools=TOOLS, **more)


def what(items):
    """Items without their ids."""
    said = {"message": lambda i: i.content[0].text, "reasoning": lambda i: i.content[0].text,
            "function_call": lambda i: (i.name, json.loads(i.arguments))}
    return [(i.type, said[i.type](i)) for i in items]


WHOLE = [("reasoning", "Hm"), ("message", "Let me see."), ("function_call", ("get_weather", {"city": "Zürich", "days": 3})),
         ("function_call", ("add", {"a": 1}))]
SPOKEN = "<think>Hm</think>Let me see." + CALL + CALL_2


def test_reasoning_words_and_calls_are_items(speaker):
    r = ask(speaker, SPOKEN)
    assert what(r.output) == WHOLE and r.output_text == "Let me see."
    assert len({i.id for i in r.output}) == 4 and len({i.call_id for i in r.output[2:]}) == 2
    assert [t.type for t in r.tools] == ["function", "function", "web_search"]


def test_a_stream_of_calls_builds_the_same_items(speaker):
    events = list(ask(speaker, SPOKEN, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert what(events[-1].response.output) == WHOLE
    assert what(e.item for e in events if e.type == "response.output_item.done") == WHOLE
    for index, kind in ((0, "reasoning_text"), (1, "output_text"), (2, "function_call_arguments"), (3, "function_call_arguments")):
        mine = [e for e in events if getattr(e, "output_index", None) == index and kind in e.type]
        done = mine[-1].arguments if "call" in kind else mine[-1].text
        assert "".join(e.delta for e in mine[:-1]) == done and {e.item_id for e in mine} == {events[-1].response.output[index].id}
        assert [e.type for e in mine] == [f"response.{kind}.delta"] * (len(mine) - 1) + [f"response.{kind}.done"]


def test_the_clients_helper_accumulates_calls(speaker):
    with speaker.responses.stream(model="fake", input="say: " + CALL, tools=TOOLS[:2]) as stream:
        assert what(stream.get_final_response().output) == WHOLE[2:3]


def test_a_loop_of_calls_goes_round(speaker):
    first = ask(speaker, "<think>Hm</think>" + CALL)
    result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "20 degrees"}
    said = {"role": "user", "content": "say: It is 20 degrees."}
    final = speaker.responses.create(model="fake", input=[result, said], previous_response_id=first.id, tools=TOOLS[:2])
    assert final.output_text == "It is 20 degrees."
    # The same, when the client keeps the conversation: what the template made of it; the fake engine repeats the prompt.
    history = [{"role": "user", "content": "What?"}, *(i.model_dump() for i in first.output), result, {"role": "user", "content": "What?"}]
    echo = speaker.responses.create(model="fake", input=history, tools=TOOLS[:2], tool_choice="none").output_text
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>' in echo
    assert "tool: 20 degrees" in echo and "tool: add" in echo
