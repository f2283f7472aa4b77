"""litellm, as docs.litellm.ai shows it for servers that speak OpenAI's API, Anthropic's and Ollama's."""

import json

import litellm
import pytest
from conftest import QUESTION, both

TOOL = {
    "type": "function",
    "function": {
        "name": "population",
        "description": "How many people live in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def ask(v1, model):
    def call(text=QUESTION, **fields):
        fields = {"max_tokens": 16, "temperature": 0, **fields}
        return litellm.completion(
            model="openai/" + model, api_base=v1, api_key="none", messages=[{"role": "user", "content": text}], **fields
        )

    return call


@both
def test_completion(ask, told, model):
    assert ask().choices[0].message.content == told(model)


def test_stream(ask, told, model):
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(stream=True, stream_options={"include_usage": True}) if chunk.choices]
    assert "".join(pieces) == told(model)


def test_schema(ask):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False}
    answer = ask(max_tokens=100, response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}})
    assert set(json.loads(answer.choices[0].message.content)) == {"city"}


def test_tools(ask):
    call = ask(tools=[TOOL], tool_choice="required", max_tokens=100).choices[0].message.tool_calls[0]
    assert call.function.name == "population" and "city" in json.loads(call.function.arguments)


def test_embedding(v1, model):
    answer = litellm.embedding(model="openai/" + model, api_base=v1, api_key="none", input=["Oslo", "Bergen"])
    assert len(answer.data) == 2


def test_the_same_answer_through_anthropic_s_api(server, told, model):
    answer = litellm.completion(
        model="anthropic/" + model, api_base=server.url, api_key="none", messages=[{"role": "user", "content": QUESTION}], max_tokens=16, temperature=0
    )
    assert answer.choices[0].message.content == told(model)


def test_the_same_answer_through_ollama_s_api(server, told, model):
    answer = litellm.completion(
        model="ollama_chat/" + model, api_base=server.url, messages=[{"role": "user", "content": QUESTION}], max_tokens=16, temperature=0
    )
    assert answer.choices[0].message.content == told(model)
