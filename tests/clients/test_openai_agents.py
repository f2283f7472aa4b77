"""openai-agents: its loop of tools, over chats and over responses."""

import asyncio

import pytest
from agents import Agent, MaxTurnsExceeded, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from conftest import QUESTION, both
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    name: str
    population: int


@pytest.fixture(params=[OpenAIChatCompletionsModel, OpenAIResponsesModel])
def llm(request, v1, model):
    return lambda: request.param(model=model, openai_client=AsyncOpenAI(base_url=v1, api_key="none"))


# To an agent a response that its limit has cut off is an error.
ENOUGH = 400


def settings(n, **more):
    return ModelSettings(temperature=0, max_tokens=n, **more)


@both
def test_run(llm, told, model):
    answer = asyncio.run(Runner.run(Agent(name="a", model=llm(), model_settings=settings(ENOUGH)), QUESTION))
    assert answer.final_output == told(model, max_tokens=ENOUGH)


def test_stream(llm, told, model):
    async def run():
        result = Runner.run_streamed(Agent(name="a", model=llm(), model_settings=settings(ENOUGH)), QUESTION)
        text = ""
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        return text, result.final_output

    assert asyncio.run(run()) == (told(model, max_tokens=ENOUGH),) * 2


def test_a_tool_is_called_and_its_result_read(llm):
    asked = []

    @function_tool
    def population(city: str) -> int:
        """How many people live in a city."""
        asked.append(city)
        return 700_000

    # The agent asks for a call once, and then leaves it to the model.
    agent = Agent(name="a", model=llm(), tools=[population], model_settings=settings(100, tool_choice="required"))
    try:
        answer = asyncio.run(Runner.run(agent, QUESTION, max_turns=3))
        assert isinstance(answer.final_output, str)
    except MaxTurnsExceeded:  # a small model may ask again and again
        assert len(asked) == 3
    assert asked and all(isinstance(city, str) for city in asked)


def test_output_type(llm):
    agent = Agent(name="a", model=llm(), output_type=City, model_settings=settings(200))
    assert isinstance(asyncio.run(Runner.run(agent, "Oslo has 700000 inhabitants.")).final_output, City)
