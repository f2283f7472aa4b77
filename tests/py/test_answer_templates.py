"""What a template writes of an assistant's message (text, reasoning, tool calls) is read back as that message, however it is cut into pieces.

EDGELORA_BIN names the program, in whose build folder tests/answer/read_answer lies. EDGELORA_TEMPLATES: a folder of public templates
(*.jinja); without it, those in the sources of llama.cpp, when tools/peer has fetched them. EDGELORA_MODEL: a file with a tokenizer.
"""

import json
import os
import pathlib
import re
import subprocess

import pytest

from test_constraint import Matcher

ROOT = pathlib.Path(__file__).resolve().parents[2]
READ = pathlib.Path(os.environ.get("EDGELORA_BIN", ROOT / "build" / "edgelora")).parent / "tests" / "answer" / "read_answer"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
MODEL = pathlib.Path(os.environ.get("EDGELORA_MODEL", CACHE / "edgelora" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
PEER = CACHE / "edgelora" / "peer" / "src" / "models" / "templates"
PUBLIC = sorted(pathlib.Path(os.environ.get("EDGELORA_TEMPLATES", PEER)).glob("*.jinja"))
pytestmark = [pytest.mark.skipif(not READ.exists(), reason="tests/answer/read_answer is not built (-Dtests=enabled)"),
              pytest.mark.skipif(not MODEL.exists(), reason="no model (EDGELORA_MODEL)")]

# Those whose calls are in no form that is known; they are read as plain JSON.
UNKNOWN = {"MiniMax-M3", "muse-glimmer"}
ENDS = re.compile(r"(<\|(im_end|eot_id|eom_id|end_of_text|call|calls|return|END_OF_TURN_TOKEN|end|role_end|end_of_msg)\|>|</s>|<seed:eos>|\[e~\[|"
                  r"<｜end▁of▁sentence｜>|<end_of_sentence>|<end_of_turn>|<SPECIAL_12>|</assistant>|<sep>|<\|eot\|>|<｜hy_eos:opensource｜>|<\|message_sep\|>|<\|tool_response>|<turn\|>)\s*$")
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Gets the weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "description": "How many"},
                                         "units": {"type": "array", "items": {"type": "string"}, "description": "Which"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "run-it", "description": "Runs", "parameters": {
        "type": "object", "properties": {"code": {"type": "string", "description": "What"}, "options": {"type": "object", "description": "Some", "additionalProperties": {"type": "string"}},
                                         "quiet": {"type": "boolean", "description": "Whether"}}}}},
]
# What these write is ambiguous: quotes in a string that are not escaped; marks of the message around all of it.
NO_CODE, NO_TEXT = {"LFM2.5-8B-A1B"}, {"Kimi-K3", "CohereForAI-c4ai-command-r-plus-tool_use"}
WEATHER = ("get_weather", {"city": "Zürich \"HB\" 東京", "days": 3, "units": ["C", "mm"]})
RUN = ("run-it", {"code": "if a < b:\n    print('x\\n', {\"k\": [1, 2]})\n", "options": {"deep": {"list": [1.5, None, True]}}, "quiet": False})
NUMBER_TEXT = ("get_weather", {"city": "42", "days": 1})


class Reader:
    def __init__(self):
        self.process = subprocess.Popen([READ, MODEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def reader():
    r = Reader()
    yield r
    r.process.stdin.close()
    assert r.process.wait(timeout=30) == 0


def message(calls=(), as_text=False, **more):
    calls = [{"id": f"call0000{i}", "type": "function",
              "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False) if as_text else arguments}}
             for i, (name, arguments) in enumerate(calls)]
    return {"role": "assistant", "content": "", **({"tool_calls": calls} if calls else {}), **more}


def turn_of(reader, source, answer):
    """The prompt as far as the assistant's turn, and the turn, as the template writes it. None: it refuses."""
    question = {"role": "user", "content": "What is it?"}
    before = reader.ask(template=source, messages=[question], tools=TOOLS, opening=True)
    after = reader.ask(template=source, messages=[question, answer], tools=TOOLS, opening=False)
    if "error" in before or "error" in after:
        return None
    prompt = os.path.commonprefix([before["text"], after["text"]])
    # A mark that both begin is the turn's.
    open_at = max(prompt.rfind("<"), prompt.rfind("["))
    if open_at > max(prompt.rfind(">"), prompt.rfind("]")):
        prompt = prompt[:open_at]
    turn = after["text"][len(prompt):]
    turn = turn.split("<|END_OF_TURN_TOKEN|>")[0].split("\n<|START_OF_TURN_TOKEN|>")[0]  # what Command R is told after it
    while ENDS.search(turn):
        turn = ENDS.sub("", turn)
    return prompt, turn


def opened(prompt, turn, form):
    """The prompt that a model would have had for this turn: one that opens the reasoning only if the turn closes it."""
    if form["reasoning_end"] and form["reasoning_end"] in turn and form["reasoning"] not in prompt + turn:
        return prompt + form["reasoning"]
    ends = form["reasoning"] and prompt.rstrip().endswith(form["reasoning"])
    return "" if ends and form["reasoning_end"] not in turn else prompt


def read(reader, source, prompt, turn, **how):
    parts = reader.ask(template=source, tools=TOOLS, prompt=prompt[-256:], answer=turn, **how)["parts"]
    calls = []
    for kind, text, call in parts:
        if kind == "call":
            calls.append([text, ""])
            assert call == len(calls) - 1
        elif kind == "arguments":
            assert call == len(calls) - 1
            calls[call][1] += text
    said = "".join(text for kind, text, _ in parts if kind == "text")
    thought = "".join(text for kind, text, _ in parts if kind == "reasoning")
    return said, thought, [(name, json.loads(arguments)) for name, arguments in calls], parts


def check(reader, source, answer, calls=(), said="", text=True):
    got = turn_of(reader, source, answer)
    if not got:
        return False
    prompt, turn = opened(*got, reader.ask(template=source)), got[1]
    one = read(reader, source, prompt, turn, whole=True)
    assert one[2] == list(calls), (turn, one)
    assert one[0].strip() == said or not text, (turn, one)
    for piece in (1, 2, 3, 7, 19):
        assert read(reader, source, prompt, turn, piece=piece, whole=True)[:3] == one[:3], (turn, piece)
        assert read(reader, source, prompt, turn, piece=piece, whole=False)[:3] == one[:3], (turn, piece)
    return True


@pytest.mark.skipif(not PUBLIC, reason="no public templates (EDGELORA_TEMPLATES)")
@pytest.mark.parametrize("path", PUBLIC, ids=lambda p: p.stem)
def test_what_public_templates_write_is_read_back(reader, path):
    source = path.read_text()
    form = reader.ask(template=source)
    assert "error" not in form
    assert form["writes_calls"] or path.stem in UNKNOWN or "zq_name" not in json.dumps(reader.ask(
        template=source, messages=[{"role": "user", "content": "x"}, message([("zq_name", {"a": 1})])], tools=TOOLS, opening=False))
    text = form["text_arguments"]
    checked = 0
    if form["writes_calls"]:
        for calls in ([WEATHER], [RUN], [NUMBER_TEXT], [WEATHER, RUN], [RUN, RUN, WEATHER]):
            if (len(calls) == 1 or form["parallel"]) and not (RUN in calls and path.stem in NO_CODE):
                checked += check(reader, source, message(calls, text), calls, text=path.stem not in NO_TEXT)
        assert checked >= 2, form
    if form["reasoning_end"] and path.stem not in NO_TEXT:
        check(reader, source, message(content="It is.", reasoning_content="Let me see"), said="It is.")
        if form["writes_calls"]:
            check(reader, source, message([WEATHER], text, reasoning_content="Let me see"), [WEATHER])


# ---------------------------------------------------------------- what is constrained


def calls_as(text):
    """A template whose calls are written so, of a call `c` and a macro w(value)."""
    return ("""{%- macro w(v) -%}{%- if v is string -%}<|"|>{{ v }}<|"|>{%- elif v is mapping -%}{ {%- for k, x in v | dictsort -%}{{ k }}:{{ w(x) }}{{ ',' if not loop.last }}{%- endfor -%} }
            {%- elif v is sequence -%}[{%- for x in v -%}{{ w(x) }}{{ ',' if not loop.last }}{%- endfor -%}]{%- else -%}{{ v | tojson }}{%- endif -%}{%- endmacro -%}"""
            "{% if tools %}{{ tools }}{% endif %}{%- for m in messages -%}{% if m.tool_calls %}{% for call in m.tool_calls %}{% set c = call.function %}" + text + "{% endfor %}{% else %}{{ m.role }}: {{ m.content }}\n{% endif %}"
            "{%- endfor -%}{% if add_generation_prompt %}assistant: {% endif %}")


FORMS = {  # as Qwen3-Coder, DeepSeek V3.2, Gemma 4 and LFM2 are taught
    "parameters": calls_as("<tool_call>\n<function={{ c.name }}>\n{% for k, v in c.arguments.items() %}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n"
                           "{% endfor %}</function>\n</tool_call>"),
    "marked": calls_as("<call>{{ c.name }}\n{% for k, v in c.arguments.items() %}<arg name=\"{{ k }}\" string=\"{{ 'true' if v is string else 'false' }}\">{{ v if v is string else v | tojson }}</arg>\n"
                       "{% endfor %}</call>"),
    "quoted": calls_as("<|call>{{ c.name }}{{ w(c.arguments) }}<call|>"),
    "python": calls_as("<|tool_call_start|>[{{ c.name }}({% for k, v in c.arguments.items() %}{{ k }}={{ (v | tojson) if v is not boolean else 'True' if v else 'False' }}{{ ', ' if not loop.last }}"
                       "{% endfor %})]<|tool_call_end|>"),
}
ORDER = [{"type": "function", "function": {"name": "order", "description": "Orders", "strict": True, "parameters": {
    "type": "object", "additionalProperties": False, "required": ["item", "n"], "$defs": {"size": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
    "properties": {"item": {"type": "string"}, "n": {"type": "integer", "minimum": 1, "maximum": 9}, "paper": {"type": "string", "enum": ["A4", "it's big"]},
                   "quick": {"type": "boolean"}, "size": {"$ref": "#/$defs/size"}}}}}]
GOOD = [{"item": "a < b > c {e} [f]", "n": 9}, {"item": "", "n": 1, "quick": True}, {"item": "x", "n": 2, "paper": "A4"},
        {"item": "x\ny", "n": 2, "paper": "A4", "quick": False, "size": [1, 2]}, {"item": "x", "n": 3, "size": []}]
BAD = [{"item": "x"}, {"n": 1}, {}, {"item": "x", "n": 10}, {"item": "x", "n": 0}, {"item": "x", "n": "many"}, {"item": "x", "n": 1, "quick": "yes"},
       {"item": "x", "n": 1, "paper": "A5"}, {"item": "x", "n": 1, "other": 1}]


@pytest.fixture(scope="module")
def matcher():
    m = Matcher()
    yield m
    m.process.stdin.close()
    assert m.process.wait() == 0


def may_be_written(reader, matcher, source, arguments):
    """Whether a model that has to call `order` may write what the template writes of this call."""
    turn = turn_of(reader, source, message([("order", arguments)]))[1]
    begin, content, end = reader.ask(template=source, tools=ORDER, required=True)["tags"][0]
    pattern = r"\s*".join(map(re.escape, begin.split())) + r"\s*"
    rest = turn[re.match(pattern, turn).end():]
    allowed = matcher.allowed("grammar", content, [rest[:n] for n in range(len(rest) + 1)])
    return any(ok and rest[n:].split() == end.split() for n, ok in enumerate(allowed))


@pytest.mark.parametrize("form", FORMS)
def test_arguments_that_are_not_json_are_held_to_their_schema(reader, matcher, form):
    assert reader.ask(template=FORMS[form])["writes_calls"]
    for arguments in GOOD:
        assert may_be_written(reader, matcher, FORMS[form], arguments), arguments
    for arguments in BAD:
        assert not may_be_written(reader, matcher, FORMS[form], arguments), arguments
