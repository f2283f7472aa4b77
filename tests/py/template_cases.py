"""Conversations for chat templates, and Jinja set up as transformers sets it up for them."""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = 1700000000
TRUSTED = ["bos_token", "eos_token"]


def tool(name, description, properties, required):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": properties, "required": required}}}


WEATHER = tool("get_weather", "Get the weather\nfor a city.", {
    "city": {"type": "string", "description": "City name, é <b>\"q\"</b>"}, "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
    "days": {"type": ["integer", "null"]},
    "opts": {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "number"}}}}}, ["city"])
ADD = tool("add", "Adds.", {"a": {"type": "number"}, "b": {"type": "number"}}, ["a", "b"])
CLOCK = tool("now", "Time", {}, [])


def call(name, arguments, id="call12345"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def result(content, id="call12345", name="get_weather"):
    return {"role": "tool", "content": content, "tool_call_id": id, "name": name}


PARIS = call("get_weather", {"city": "Paris", "days": 3, "opts": {"x": [1, 2.5, True, None]}})
CONVERSATIONS = {
    "one": {"messages": [user("Hello")]},
    "system": {"messages": [system("You are terse."), user("Hello")]},
    "empty system": {"messages": [system(""), user("Hello")]},
    "turns": {"messages": [system("  sys \n"), user("Hello"), assistant("Hi there"), user("Who?"), assistant("   An assistant   "),
                           user(" Fine. \n")]},
    "ends with an answer": {"messages": [user("Hello"), assistant("Hi there")]},
    "empty contents": {"messages": [user(""), assistant(""), user("")]},
    "scripts": {"messages": [system("é 你好"), user("Grüße 👩‍💻 \u00a0\u3000"), assistant("e\u0301\n\n x"),
                             user("ß<|im_end|>{{ x }}\"'\\")]},
    "tools": {"messages": [system("Sys"), user("Weather?")], "tools": [WEATHER, ADD, CLOCK]},
    "tools, no system": {"messages": [user("Weather?")], "tools": [WEATHER]},
    "a call": {"messages": [user("Weather?"), assistant("", tool_calls=[PARIS]), result("{\"t\": 20}"), assistant("It is 20."),
                            user("Thanks")], "tools": [WEATHER, ADD]},
    "a call, no content": {"messages": [user("Weather?"), {"role": "assistant", "tool_calls": [call("get_weather", {"city": "Paris"})]},
                                        result("20")], "tools": [WEATHER]},
    "a call, arguments as text": {"messages": [user("Weather?"), assistant("Let me see", tool_calls=[
        call("get_weather", "{\"city\": \"Paris\"}")]), result("20")], "tools": [WEATHER]},
    "parallel calls": {"messages": [user("Weather?"), assistant("", tool_calls=[
        call("get_weather", {"city": "Paris"}, "call00001"), call("add", {"a": 1, "b": 2}, "call00002")]), result("20", "call00001"),
        result("3", "call00002", "add"), assistant("done"), user("again")], "tools": [WEATHER, ADD]},
    "thinking": {"messages": [user("1+1"), assistant("2", reasoning_content="Let me think\nabout it"), user("and 2+2"),
                              assistant("<think>\nhm\n</think>\n\n4"), user("ok")]},
    "thinking and tools": {"messages": [user("1+1"), assistant("", reasoning_content="use tool", tool_calls=[
        call("add", {"a": 1, "b": 1})]), result("2", name="add")], "tools": [ADD], "enable_thinking": True},
    "no thinking": {"messages": [user("1+1")], "enable_thinking": False},
    "keywords": {"messages": [system("x"), user("1+1")], "enable_thinking": True, "thinking": True, "reasoning_effort": "high",
                 "date_string": "01 Jan 2025", "builtin_tools": ["brave_search", "code_interpreter"], "thinking_budget": 512,
                 "model_identity": "I am X", "documents": [{"title": "T1", "text": "doc one"},
                                                            {"title": "T2", "text": "doc two", "doc_id": 2}]},
    "parts": {"messages": [user([{"type": "text", "text": "Hello"}, {"type": "text", "text": "World"}]),
                           assistant([{"type": "text", "text": "Yes"}]), user([{"type": "text", "text": "more"}])]},
    "developer": {"messages": [{"role": "developer", "content": "dev"}, user("x")]},
    "system in between": {"messages": [user("a"), system("Now in French."), user("b")]},
    "two users": {"messages": [user("a"), user("b"), assistant("c"), assistant("d")]},
    "no content": {"messages": [user("a"), assistant(None), user("b")]},
    "no messages": {"messages": []},
}


def contexts():
    """(name, variables) of each conversation, with and without the answer's opening."""
    for name, talk in CONVERSATIONS.items():
        for opening in (True, False):
            yield f"{name}, {'opened' if opening else 'closed'}", {
                "bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None, "add_generation_prompt": opening, **talk}


class Generation(jinja2.ext.Extension):
    """The statement that marks what the model has written, as transformers' AssistantTracker without its tracker."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    e = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                     extensions=[Generation, jinja2.ext.loopcontrols])
    e.filters["tojson"] = tojson
    e.globals.update(raise_exception=raise_exception, namespace=Namespace, dict=lambda *a, **k: dict(*a, **k),
                     strftime_now=lambda f: datetime.datetime.fromtimestamp(NOW).strftime(f))
    return e


ENVIRONMENT = environment()


def jinja(template, context):
    """What Jinja makes of it; None: it refuses."""
    try:
        return ENVIRONMENT.from_string(template).render(**context)
    except Exception:  # whatever a template's Python raises
        return None
