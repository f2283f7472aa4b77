"""Chat templates through the server: what a request says reaches the template, and what the template says is the prompt.

Tokens are counted: the tiny model's template here writes what it is given, and the same text as a completion has as many tokens.
"""

import pathlib

import pytest
from conftest import BINARY, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
CHAT = "/v1/chat/completions"
TEMPLATE = """{%- if messages[0].role == 'tool' %}{{ raise_exception('a tool cannot begin, ' ~ messages[0].content) }}{% endif %}
{%- if fails is defined %}{{ fails.a.b }}{% endif %}
{%- for m in messages %}{{ m.role }}={% if m.content is defined %}{{ m.content }}{% endif %}
{%- for c in m.tool_calls or [] %}<{{ c.function.name }} {{ c.function.arguments | tojson }}>{% endfor %}
{%- if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.mood }};{% endfor %}
{%- if tools %}{{ tools | tojson }}{% endif %}{% if documents %}{{ documents[0].title }}{% endif %}
{%- if style is defined %}{{ style }}{% endif %}{% if add_generation_prompt %}assistant={% endif %}"""


@pytest.fixture(scope="module")
def templated(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "t.jinja"
    path.write_text(TEMPLATE)
    s = Server([BINARY, "serve", "-m", TINY, "--port", "0", "--chat-template", path])
    yield s
    s.stop()


@pytest.fixture
def prompt_is(templated):
    def check(text, **body):
        """The prompt of this chat is this text: greedy answers and tokens are those of its completion."""
        chat = templated.post(CHAT, {"max_tokens": 6, "temperature": 0, **body})
        assert chat.status_code == 200, chat.text
        plain = templated.completion(prompt=text, max_tokens=6, temperature=0)
        assert chat.json()["usage"]["prompt_tokens"] == plain.json()["usage"]["prompt_tokens"]
        assert chat.json()["choices"][0]["message"]["content"] == plain.json()["choices"][0]["text"]
    return check


USER = {"role": "user", "content": "Hi"}


def test_the_template_of_the_command_line_is_used(prompt_is):
    prompt_is("user=Hi;assistant=", messages=[USER])


def test_the_opening_may_be_left_out(prompt_is):
    prompt_is("user=Hi;", messages=[USER], add_generation_prompt=False)


def test_the_last_message_may_be_gone_on_with(prompt_is):
    prompt_is("user=Hi;assistant=Well, ", messages=[USER, {"role": "assistant", "content": "Well, "}], continue_final_message=True)


def test_variables_reach_the_template(prompt_is):
    prompt_is("user=Hi;shortassistant=", messages=[USER], chat_template_kwargs={"style": "short"})
    prompt_is("user=Hi;assistant=", messages=[USER], chat_template_kwargs={"messages": [], "add_generation_prompt": False})


def test_tools_and_documents_reach_the_template(prompt_is):
    prompt_is('user=Hi;[{"type": "f"}]assistant=', messages=[USER], tools=[{"type": "f"}], tool_choice="none")
    prompt_is("user=Hi;T1assistant=", messages=[USER], documents=[{"title": "T1"}])


def test_fields_of_messages_reach_the_template(prompt_is):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1, 2.5]}"}}
    prompt_is('user=Hi;assistant=<f {"a": [1, 2.5]}>;tool=7;assistant=', messages=[
        USER, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "7", "tool_call_id": "1"}])
    prompt_is("user=Hi;assistant=x(hm)glad;assistant=", add_generation_prompt=True, messages=[
        USER, {"role": "assistant", "content": "x", "reasoning": "hm", "mood": "glad", "refusal": None}])


def test_arguments_that_are_no_json_stay_a_text(prompt_is):
    call = {"function": {"name": "f", "arguments": "{no json"}}
    prompt_is('assistant=<f "{no json">;assistant=', messages=[{"role": "assistant", "tool_calls": [call]}])


def test_what_the_template_refuses_is_a_400_with_its_message(templated):
    r = templated.post(CHAT, {"messages": [{"role": "tool", "content": "sorry"}]})
    assert r.status_code == 400
    error = r.json()["error"]
    assert "a tool cannot begin, sorry" in error["message"] and error["param"] == "messages" and error["code"] == "invalid_value"


def test_where_the_template_fails_is_a_400_with_the_line(templated):
    r = templated.post(CHAT, {"messages": [USER], "chat_template_kwargs": {"fails": {}}})
    assert r.status_code == 400 and "line 2: there is no 'a' in the value" in r.json()["error"]["message"]


def test_values_nested_too_deep_are_a_400(templated):
    deep = 1
    for _ in range(200):
        deep = [deep]
    r = templated.post(CHAT, {"messages": [USER], "chat_template_kwargs": {"style": deep}})
    assert r.status_code == 400 and r.json()["error"]["param"] == "chat_template_kwargs"


def test_tools_that_may_be_called_are_functions(templated):
    r = templated.post(CHAT, {"messages": [USER], "tools": [{"type": "f"}]})
    assert r.status_code == 400 and r.json()["error"]["param"] == "tools"
