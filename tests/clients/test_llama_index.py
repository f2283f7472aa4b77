"""llama-index, by its classes for servers that speak OpenAI's API."""

import pytest
from conftest import QUESTION, both
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    population: int


@pytest.fixture
def llm(v1, model):
    return OpenAILike(
        model=model, api_base=v1, api_key="none", is_chat_model=True, is_function_calling_model=True, temperature=0, max_tokens=16, context_window=2048
    )


@both
def test_chat_and_complete(llm, told, model):
    assert llm.chat([ChatMessage(role="user", content=QUESTION)]).message.content == told(model)
    assert llm.complete(QUESTION).text == told(model)


def test_stream(llm, told, model):
    assert "".join(piece.delta or "" for piece in llm.stream_chat([ChatMessage(role="user", content=QUESTION)])) == told(model)


def test_tools(llm):
    def population(city: str) -> int:
        """How many people live in a city."""
        return 700_000

    llm.max_tokens = 100
    answer = llm.chat_with_tools([FunctionTool.from_defaults(population)], user_msg="Oslo?", tool_required=True)
    calls = llm.get_tool_calls_from_response(answer)
    assert calls[0].tool_name == "population" and isinstance(calls[0].tool_kwargs["city"], str)


def test_structured(llm):
    llm.max_tokens = 200
    assert isinstance(llm.as_structured_llm(City).complete("Oslo has 700000 inhabitants.").raw, City)


def test_embeddings(v1, model):
    vectors = OpenAILikeEmbedding(model_name=model, api_base=v1, api_key="none")
    one, two = vectors.get_text_embedding_batch(["Oslo is a city.", "Oslo is a town."])
    assert len(one) == len(two) and sum(a * b for a, b in zip(one, two)) > 0.5
