"""pydantic-ai, as ai.pydantic.dev shows it for a server that speaks OpenAI's API."""

import asyncio

import pytest
from conftest import QUESTION, both
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, UsageLimits, capture_run_messages
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

SETTINGS = {"temperature": 0, "max_tokens": 100}


class City(BaseModel):
    name: str
    population: int


@pytest.fixture
def chat(v1, model):
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=v1, api_key="none"))


@both
def test_run(chat, told, model):
    assert Agent(chat).run_sync(QUESTION, model_settings={"temperature": 0, "max_tokens": 16}).output == told(model)


def test_stream(chat, told, model):
    async def stream():
        async with Agent(chat).run_stream(QUESTION, model_settings={"temperature": 0, "max_tokens": 16}) as result:
            return "".join([piece async for piece in result.stream_text(delta=True)])

    assert asyncio.run(stream()) == told(model)


def test_output_by_a_tool(chat):
    assert isinstance(Agent(chat, output_type=City).run_sync("Oslo has 700000 inhabitants.", model_settings=SETTINGS).output, City)


def test_output_by_a_schema(chat):
    result = Agent(chat, output_type=NativeOutput(City)).run_sync("Oslo has 700000 inhabitants.", model_settings=SETTINGS)
    assert isinstance(result.output, City)


def test_tools_are_called(chat):
    """The model must call a tool each time, as its answer is one too; a small one may never come to an end by itself."""
    agent = Agent(chat, output_type=City)
    asked = []

    @agent.tool_plain
    def population(city: str) -> int:
        """How many people live in a city."""
        asked.append(city)
        return 700_000

    with capture_run_messages() as messages:
        try:
            agent.run_sync(QUESTION, model_settings=SETTINGS, usage_limits=UsageLimits(request_limit=3))
        except (UnexpectedModelBehavior, UsageLimitExceeded):
            pass
    calls = [p for m in messages for p in m.parts if isinstance(p, ToolCallPart)]
    assert calls and {c.tool_name for c in calls} <= {"population", "final_result"}


def test_responses(v1, model, told):
    responses = OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=v1, api_key="none"))
    assert Agent(responses).run_sync(QUESTION, model_settings={"temperature": 0, "max_tokens": 16}).output == told(model)
