"""Answers that are what a schema, a regular expression, a grammar or a list says, by every name that clients have for it;
with the default model, which would hardly write JSON by itself."""

import json
import re
from typing import Literal

import pytest
from conftest import BINARY, MODEL, Server
from pydantic import BaseModel, Field

TEXT, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"
QUESTION = "Describe a cat named Tom, who is 3 years old, as JSON."


class Pet(BaseModel):
    name: str = Field(max_length=12)
    kind: Literal["cat", "dog"]
    age: int = Field(ge=0, le=30)
    tags: list[Literal["small", "loud", "brown"]] = Field(max_length=2)


SCHEMA = Pet.model_json_schema()
CHOICES = ["blue", "green", "very green"]
REGEX = r"(\d{3})-[a-f]{2}"
GBNF = 'root ::= ("yes" | "no") ", " [0-9] [0-9]? "!"'


def is_pet(text):
    Pet.model_validate_json(text)


def is_choice(text):
    assert text in CHOICES


def is_match(text):
    assert re.fullmatch(REGEX, text)


def is_word(text):
    assert re.fullmatch(r"(yes|no), [0-9]{1,2}!", text)


def is_object(text):
    assert isinstance(json.loads(text), dict)


SMALL = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def is_small(text):
    assert list(json.loads(text)) == ["a"]


TAG = {"begin": "<pet>", "schema": SCHEMA, "end": "</pet>"}


def is_tagged(text):
    assert text.startswith("<pet>") and text.endswith("</pet>")
    is_pet(text[5:-6])


FIELDS = [
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": True}}}, is_pet),
    ({"response_format": {"type": "json_schema", "schema": SCHEMA}}, is_pet),
    ({"response_format": {"type": "json_object", "schema": SMALL}}, is_small),
    ({"guided_json": SCHEMA}, is_pet),
    ({"guided_json": json.dumps(SCHEMA)}, is_pet),
    ({"guided_regex": REGEX}, is_match),
    ({"guided_choice": CHOICES}, is_choice),
    ({"guided_grammar": GBNF}, is_word),
    ({"structured_outputs": {"json": SCHEMA}}, is_pet),
    ({"structured_outputs": {"regex": REGEX}}, is_match),
    ({"structured_outputs": {"choice": CHOICES, "json": None}}, is_choice),
    ({"structured_outputs": {"grammar": GBNF}}, is_word),
    ({"structured_outputs": {"structural_tag": {"format": {"type": "tag", "begin": "<pet>", "end": "</pet>",
                                                           "content": {"type": "json_schema", "json_schema": SCHEMA}}}}}, is_tagged),
    ({"structured_outputs": {"structural_tag": json.dumps({"structures": [TAG], "triggers": []})}}, is_tagged),
    ({"grammar": GBNF}, is_word),
    ({"json_schema": SCHEMA}, is_pet),
]


@pytest.mark.parametrize("chat, fields, check", [(i % 3 > 0, *case) for i, case in enumerate(FIELDS)])
def test_the_answer_is_what_the_field_says(server, chat, fields, check):
    body = {"temperature": 1, "seed": 7, "max_tokens": 100, **fields}
    answer = server.chat(QUESTION, **body) if chat else server.completion(prompt="The cat", **body)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    check(choice["message"]["content"] if chat else choice["text"])


def test_json_object_is_an_object(server):
    r = server.chat("List two facts as JSON.", response_format={"type": "json_object"}, temperature=0, max_tokens=40).json()
    choice = r["choices"][0]
    if choice["finish_reason"] == "stop":
        is_object(choice["message"]["content"])
    else:  # it went on for ever, but as an object
        assert choice["message"]["content"].startswith("{")


def test_the_openai_client_parses_what_pydantic_describes(client, names):
    for model in names[:2]:
        answer = client.chat.completions.parse(
            model=model, messages=[{"role": "user", "content": QUESTION}], response_format=Pet, temperature=0, max_tokens=100)
        assert isinstance(answer.choices[0].message.parsed, Pet)


def test_a_stream_is_the_same_answer(client, names):
    fields = {"model": names[0], "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 100}
    with client.chat.completions.stream(response_format=Pet, **fields) as stream:
        streamed = stream.get_final_completion().choices[0].message
    whole = client.chat.completions.parse(response_format=Pet, **fields).choices[0].message
    assert streamed.parsed == whole.parsed and streamed.content == whole.content


def test_responses_parse_too(client, names):
    r = client.responses.parse(model=names[0], input=QUESTION, text_format=Pet, temperature=0, max_output_tokens=100)
    assert isinstance(r.output_parsed, Pet) and r.status == "completed"
    with client.responses.stream(model=names[0], input=QUESTION, text_format=Pet, temperature=0, max_output_tokens=100) as stream:
        assert stream.get_final_response().output_parsed == r.output_parsed


def test_text_and_nothing_leave_the_answer_free(server):
    free = server.chat("Hi", temperature=0, max_tokens=8).json()["choices"]
    for fields in ({"response_format": {"type": "text"}}, {"response_format": None}, {"grammar": ""}, {"guided_json": None},
                   {"structured_outputs": {}}):
        assert server.chat("Hi", temperature=0, max_tokens=8, **fields).json()["choices"] == free


@pytest.mark.parametrize(
    "fields, param, said",
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "text"}}}},
         "response_format.json_schema.schema", '"type"'),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "Missing"),
        ({"response_format": {"type": "xml"}}, "response_format", "json_schema"),
        ({"response_format": {}}, "response_format.type", "Missing"),
        ({"response_format": 3}, "response_format", "an object"),
        ({"guided_json": {"items": {"unevaluatedItems": False}}}, "guided_json", '#/items: "unevaluatedItems" is not supported'),
        ({"guided_json": "{"}, "guided_json", "not valid JSON"),
        ({"guided_json": 3}, "guided_json", "JSON Schema"),
        ({"guided_regex": "("}, "guided_regex", ""),
        ({"guided_choice": []}, "guided_choice", "0 texts"),
        ({"guided_choice": ["a", 3]}, "guided_choice", "strings"),
        ({"guided_choice": [""]}, "guided_choice", "empty"),
        ({"grammar": "root ::= x"}, "grammar", "x"),
        ({"structured_outputs": {"regex": 3}}, "structured_outputs.regex", "a string"),
        ({"structured_outputs": {"structural_tag": "{"}}, "structured_outputs.structural_tag", "JSON"),
        ({"structured_outputs": {"structural_tag": {"format": {"type": "or"}}}}, "structured_outputs.structural_tag", "tag"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.choice", "structured_outputs.regex"),
        ({"guided_json": {}, "response_format": {"type": "json_object"}}, None, "both say"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(server, fields, param, said):
    for path, body in ((CHAT, {"messages": [{"role": "user", "content": "Hi"}]}), (TEXT, {"prompt": "Hi"})):
        answer = server.post(path, {**body, "max_tokens": 1, **fields})
        error = answer.json()["error"]
        assert answer.status_code == 400 and said in error["message"], answer.text
        assert param is None or error["param"] == param


def test_responses_name_their_own_field(server):
    answer = server.post(RESPONSES, {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 3}}}})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "text.format.schema", answer.text


def test_reasoning_that_the_template_opens_is_free_and_the_answer_follows_it(tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                        "{% if add_generation_prompt %}assistant: <think>\n{% endif %}"
                        "{% if false %}{{ '</think>' }}{% endif %}")
    s = Server([BINARY, "serve", "-m", MODEL, "--chat-template", template, "--port", "0"])
    try:
        body = {"response_format": {"type": "json_object", "schema": SMALL}, "temperature": 0, "max_tokens": 24}
        message = s.chat("Count the letters of the word tea.", **body).json()["choices"][0]["message"]
        assert message["reasoning_content"] and not message["reasoning_content"].startswith("{"), message
        turns = [m for i in range(4) for m in ({"role": "user", "content": f"Number {i}"},
                                               {"role": "assistant", "content": "<think>\nok\n</think>\n\nNo JSON"})]
        choice = s.post(CHAT, {**body, "messages": turns + [{"role": "user", "content": "Number 5"}]}).json()["choices"][0]
        assert choice["message"]["reasoning_content"].strip() == "ok" and choice["finish_reason"] == "stop", choice
        is_small(choice["message"]["content"])
        words = ['yes "so"', "no\\n", "per\nhaps"]
        chosen = s.post(CHAT, {"guided_choice": words, "temperature": 0, "max_tokens": 24, "messages": turns + [{"role": "user", "content": "Number 5"}]}).json()["choices"][0]
        assert chosen["message"]["reasoning_content"].strip() == "ok" and chosen["message"]["content"].strip() in words, chosen
    finally:
        assert s.stop() == 0
