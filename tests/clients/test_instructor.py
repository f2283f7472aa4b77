"""instructor, in its modes: python.useinstructor.com."""

import json

import instructor
import openai
import pytest
from conftest import both
from instructor.core import InstructorRetryException
from pydantic import BaseModel, Field


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS_STRICT])
def test_a_model_comes_back(v1, model, mode):
    client = instructor.from_openai(openai.OpenAI(base_url=v1, api_key="none"), mode=mode)
    city = client.chat.completions.create(
        model=model,
        response_model=City,
        messages=[{"role": "user", "content": "Oslo has 700000 inhabitants. Answer as JSON with name and population."}],
        temperature=0,
        max_tokens=200,
        max_retries=0,
    )
    assert isinstance(city, City)


@both
def test_a_model_is_streamed(v1, model):
    client = instructor.from_openai(openai.OpenAI(base_url=v1, api_key="none"), mode=instructor.Mode.TOOLS)
    last = None
    for last in client.chat.completions.create_partial(
        model=model, response_model=City, messages=[{"role": "user", "content": "Oslo has 700000 inhabitants."}], temperature=0, max_tokens=200
    ):
        pass
    assert isinstance(last.population, int)


def test_a_json_object_comes_where_the_schema_is_only_told(v1, model):
    """Mode.JSON tells the model of the schema and asks for an object: which one is up to the model, and this one is small."""
    client = instructor.from_openai(openai.OpenAI(base_url=v1, api_key="none"), mode=instructor.Mode.JSON)
    ask = dict(model=model, response_model=City, messages=[{"role": "user", "content": "Oslo has 700000 inhabitants."}], temperature=0, max_tokens=300)
    try:
        assert isinstance(client.chat.completions.create(**ask, max_retries=0), City)
    except InstructorRetryException as e:
        assert isinstance(json.loads(e.last_completion.choices[0].message.content), dict)
