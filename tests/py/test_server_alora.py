"""Activated adapters (aLoRA) behind the server: what a client is told, and that a document is read once for all of them."""

import json
import shutil
import subprocess

import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
INVOCATION = [40, 41, 42]
DOCUMENT = [43 + i * 29 % 200 for i in range(90)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    for name, fields in {"one": {"alora_invocation_tokens": INVOCATION}, "two": {"alora_invocation_tokens": INVOCATION, "lora_alpha": 3}, "plain": {}}.items():
        shutil.copytree(PEFT, folder / name)
        config = folder / name / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    s = Server([BINARY, "serve", "-m", TINY, "--model-name", "base", "--adapters", folder, "--port", "0"])
    yield s
    assert s.stop() == 0, s.log[-20:]


def ask(server, model, prompt, **more):
    response = server.completion(model=model, prompt=prompt, max_tokens=8, temperature=0, ignore_eos=True, **more)
    assert response.status_code == 200, response.text
    return response


def test_an_answer_of_the_base_in_an_adapter_s_place_says_so(server):
    base = ask(server, "base", DOCUMENT).json()
    answer = ask(server, "one", DOCUMENT).json()
    assert answer["choices"][0]["invoked"] is False
    assert answer["choices"][0]["text"] == base["choices"][0]["text"]
    assert answer["warnings"] == ["The adapter 'one' is activated by tokens that the prompt does not have: the base model has answered."]
    assert "warnings" not in base and "invoked" not in base["choices"][0]
    for model in ("one", "plain"):
        invoked = ask(server, model, DOCUMENT + INVOCATION).json()
        assert "warnings" not in invoked and "invoked" not in invoked["choices"][0]
    both = ask(server, "one", [DOCUMENT, DOCUMENT + INVOCATION]).json()
    assert [c.get("invoked") for c in both["choices"]] == [False, None] and len(both["warnings"]) == 1
    assert "\nedgelora_requests_not_invoked_total 2\n" in server.get("/metrics").text


def test_a_stream_says_so_at_its_end(server):
    lines = ask(server, "two", DOCUMENT, stream=True).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    ends = [e for e in events if e["choices"][0]["finish_reason"]]
    assert len(ends) == 1 and ends[0]["choices"][0]["invoked"] is False and "'two'" in ends[0]["warnings"][0]
    assert not any("warnings" in e for e in events if e is not ends[0])


def test_a_document_is_read_once_for_the_base_and_all_activated_adapters(server):
    prompt = DOCUMENT[::-1] + INVOCATION
    cached = {m: ask(server, m, prompt).json()["usage"]["prompt_tokens_details"]["cached_tokens"] for m in ("one", "base", "two", "plain")}
    assert cached == {"one": 0, "base": 80, "two": 80, "plain": 0}


def test_who_asks_for_adapters_is_told_which_are_activated_and_by_what(server):
    ask(server, "one", DOCUMENT)
    ask(server, "plain", DOCUMENT)
    text = subprocess.run([BINARY, "tokenize", "-m", TINY, "--decode", str(INVOCATION)], capture_output=True, text=True, check=True).stdout.rstrip("\n")
    for path, of in (("/v1/adapters", lambda r: r["data"]), ("/lora-adapters", lambda r: r)):
        listed = {a["name"]: a for a in of(server.get(path).json())}
        assert listed["one"]["activated"] is True and listed["one"]["alora_invocation_tokens"] == INVOCATION
        assert listed["one"]["alora_invocation_string"] == text
        assert listed["plain"]["activated"] is False and "alora_invocation_tokens" not in listed["plain"]
    assert server.get("/v1/adapters/one").json()["activated"] is True


def test_before_it_has_been_read_nobody_knows_whether_it_is_activated(tmp_path):
    shutil.copytree(PEFT, tmp_path / "all" / "unread")
    shutil.copytree(PEFT, tmp_path / "own")
    config = tmp_path / "own" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"alora_invocation_tokens": INVOCATION}))
    s = Server([BINARY, "serve", "-m", TINY, "--adapters", tmp_path / "all", "--adapter", f"own={tmp_path / 'own'}", "--port", "0", "--threads", "1"])
    try:
        listed = {a["name"]: a for a in s.get("/v1/adapters").json()["data"]}
        assert listed["unread"]["activated"] is None and listed["own"]["alora_invocation_tokens"] == INVOCATION
    finally:
        assert s.stop() == 0


def test_with_others_it_is_refused_by_name(server):
    ids = {a["name"]: a["id"] for a in server.get("/lora-adapters").json()}
    wanted = {"prompt": DOCUMENT, "max_tokens": 1, "lora": [{"id": ids["plain"], "scale": 1}, {"id": ids["one"], "scale": 1}]}
    response = server.completion(**wanted)
    assert response.status_code == 400 and "one is an activated one (aLoRA)" in response.json()["error"]["message"], response.text
