"""langchain-openai, as docs.langchain.com shows it."""

import pytest
from conftest import QUESTION, both
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel


@pytest.fixture
def chat(v1, model):
    return ChatOpenAI(base_url=v1, api_key="none", model=model, temperature=0, max_tokens=16)


class City(BaseModel):
    """A city."""

    name: str
    population: int


@tool
def population(city: str) -> int:
    """How many people live in a city."""
    return 700_000


@both
def test_invoke(chat, told, model):
    answer = chat.invoke([("human", QUESTION)])
    assert answer.content == told(model)
    assert answer.usage_metadata["output_tokens"] > 0


def test_stream(chat, told, model):
    assert "".join(piece.content for piece in chat.stream(QUESTION)) == told(model)


def test_batch_and_generate_with_several_choices(v1, model):
    several = ChatOpenAI(base_url=v1, api_key="none", model=model, n=3, temperature=1, max_tokens=4)
    result = several.generate([[HumanMessage(QUESTION)], [HumanMessage("Name a fruit.")]])
    assert [len(g) for g in result.generations] == [3, 3]


def test_completion(v1, model):
    text = OpenAI(base_url=v1, api_key="none", model=model, temperature=0, max_tokens=8).invoke("One, two,")
    assert isinstance(text, str) and text


def test_structured_output(v1, model):
    chat = ChatOpenAI(base_url=v1, api_key="none", model=model, temperature=0, max_tokens=200)
    for method in ("json_schema", "function_calling"):
        city = chat.with_structured_output(City, method=method).invoke("Oslo has 700000 inhabitants.")
        assert isinstance(city, City), method


def test_tools_with_a_loop(v1, model):
    chat = ChatOpenAI(base_url=v1, api_key="none", model=model, temperature=0, max_tokens=100)
    messages = [HumanMessage("How many people live in Oslo?")]
    asked = chat.bind_tools([population], tool_choice="any").invoke(messages)
    assert [c["name"] for c in asked.tool_calls] == ["population"]
    messages.append(asked)
    for call in asked.tool_calls:
        messages.append(ToolMessage(str(population.invoke(call["args"])), tool_call_id=call["id"]))
    assert isinstance(chat.bind_tools([population], tool_choice="none").invoke(messages).content, str)


def test_tool_calls_in_a_stream_add_up(v1, model):
    chat = ChatOpenAI(base_url=v1, api_key="none", model=model, temperature=0, max_tokens=100)
    whole = None
    for piece in chat.bind_tools([population], tool_choice="population").stream("Oslo?"):
        whole = piece if whole is None else whole + piece
    assert whole.tool_calls[0]["name"] == "population" and isinstance(whole.tool_calls[0]["args"]["city"], str)


def test_embeddings(v1, model):
    vectors = OpenAIEmbeddings(base_url=v1, api_key="none", model=model, check_embedding_ctx_length=False)
    one, two = vectors.embed_documents(["Oslo is a city.", "Oslo is a town."])
    assert len(one) == len(two) and abs(sum(x * x for x in one) - 1) < 1e-3
    assert vectors.embed_query("Oslo is a city.") == pytest.approx(one, abs=1e-6)
