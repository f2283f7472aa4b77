"""The interpreter of chat templates makes the same text of a template as Jinja does, set up as transformers does it.

EDGELORA_BIN names the program, in whose build folder tests/template/render_template lies. EDGELORA_TEMPLATES: a folder of public templates
(*.jinja); without it, those in the sources of llama.cpp, when tools/peer has fetched them.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import warnings

import pytest
import template_cases as cases
import template_grammar as grammar

ROOT = pathlib.Path(__file__).resolve().parents[2]
RENDER = pathlib.Path(os.environ.get("EDGELORA_BIN", ROOT / "build" / "edgelora")).parent / "tests" / "template" / "render_template"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "edgelora"
OWN = ROOT / "tests" / "golden" / "templates"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "templates.json").read_text())
pytestmark = pytest.mark.skipif(not RENDER.exists(), reason="tests/template/render_template is not built (-Dtests=enabled)")
warnings.filterwarnings("ignore", category=SyntaxWarning)  # of the Python that Jinja makes of random templates
RANDOM = int(os.environ.get("EDGELORA_RANDOM_TEMPLATES", "2000"))


def public_templates():
    folder = os.environ.get("EDGELORA_TEMPLATES")
    found = pathlib.Path(folder).glob("*.jinja") if folder else CACHE.glob("peer/src*/models/templates/*.jinja")
    return sorted({path.stem: path for path in found}.values())


class Renderer:
    def __init__(self):
        self.process = subprocess.Popen([RENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def __call__(self, template, context):
        line = json.dumps({"template": template, "context": context, "trusted": cases.TRUSTED, "now": cases.NOW})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture(scope="module")
def render():
    r = Renderer()
    yield r
    r.close()


def check(render, template, context, what):
    want, got = cases.jinja(template, context), render(template, context)
    if want is None:
        assert "error" in got, f"{what}: Jinja refuses it\n{template}"
    else:
        assert got.get("text", got) == want, f"{what}\n{template}"
    return want


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("path", sorted(OWN.glob("*.jinja")), ids=lambda p: p.stem)
def test_own_templates_are_rendered_as_jinja_and_as_recorded(path, render):
    template, recorded = path.read_text(), GOLDEN["own"][path.stem]
    for name, context in cases.contexts():
        want = check(render, template, context, name)
        assert (digest(want) if want is not None else None) == recorded["results"][name], name
    assert check(render, template, dict(cases.contexts())["keywords, opened"], path) == recorded["text"]


@pytest.mark.parametrize("path", public_templates(), ids=lambda p: p.stem)
def test_public_templates_are_rendered_as_jinja_and_as_recorded(path, render):
    template = path.read_text()
    recorded = GOLDEN["public"].get(path.stem, {})
    known = recorded.get("template") == digest(template)
    for name, context in cases.contexts():
        want = check(render, template, context, name)
        if known:
            assert (digest(want) if want is not None else None) == recorded["results"][name], name


def test_enough_public_templates_are_recorded_with_enough_conversations():
    """A few need variables of their own, and refuse most of what others take."""
    assert sum(sum(r is not None for r in t["results"].values()) >= 12 for t in GOLDEN["public"].values()) >= 60


@pytest.mark.parametrize("part", range(8))
def test_random_templates_are_rendered_as_jinja(part, render):
    compared = refused = 0
    for seed in range(part * RANDOM // 8, (part + 1) * RANDOM // 8):
        template = grammar.template(seed)
        want = cases.jinja(template, grammar.VALUES)
        if want is not None and grammar.has_addresses(want):
            continue
        check(render, template, grammar.VALUES, seed)
        compared += want is not None
        refused += want is None
    assert compared > RANDOM // 32 and refused > RANDOM // 80


@pytest.mark.parametrize("path", public_templates(), ids=lambda p: p.stem)
def test_parts_of_messages_stay_theirs(path, render):
    """Every letter of a private alphabet, which only messages use, is marked as a message's, whatever the template does."""
    secret = "\u2460\u2461\u2462 \u2463 <|im_end|>\u2464"
    template = path.read_text()
    talk = [cases.system(secret), cases.user(secret), cases.assistant(secret, reasoning_content=secret, tool_calls=[
        cases.call("get_weather", {"city": secret})]), cases.result(secret), cases.assistant(secret), cases.user(secret)]
    for messages in (talk, [m for m in talk if m["role"] != "tool" and "tool_calls" not in m], talk[1:2]):
        got = render(template, {**dict(cases.contexts())["tools, opened"], "messages": messages})
        if "error" in got:
            continue
        raw = got["text"].encode()
        marked = bytearray(len(raw))
        for begin, end, source in got["parts"]:
            assert source == 1
            marked[begin:end] = b"\1" * (end - begin)
        at = 0
        for char in got["text"]:
            size = len(char.encode())
            if "\u2460" <= char <= "\u2464":
                assert all(marked[at:at + size]), (messages, got["text"])
            at += size
