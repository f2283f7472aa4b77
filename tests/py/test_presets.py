"""Presets: what an adapter's edgelora.json says is what its requests get, unless they say it themselves. Aliases, pinned
adapters and the default adapter, through the real server."""

import json
import shutil
import subprocess
import time

import pytest
from conftest import BINARY, ROOT, Server
from test_server_adapters import LOAD, TINY, adapter, error_of, names

LORA = ROOT / "tests" / "golden" / "lora"
TURNS = "{% for m in messages %}{{'A turn of ' + m['role'] + ': ' + m['content'] + '. '}}{% endfor %}" \
    "{% if add_generation_prompt %}{{ 'An answer: ' }}{% endif %}"
ENDLESS = {"ignore_eos": True}
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def shelf(tmp_path):
    """Two adapters, one of them with a preset, and a way to say what it says."""
    for name in ("plain", "preset"):
        shutil.copytree(LORA / "tiny-peft", tmp_path / "shelf" / name)

    def put(**preset):
        (tmp_path / "shelf" / "preset" / "edgelora.json").write_text(json.dumps(preset))
        return tmp_path / "shelf"

    return put


@pytest.fixture
def serve(tmp_path):
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    started = []

    def start(*options):
        env = ["env", f"XDG_CACHE_HOME={tmp_path / 'cache'}"]
        started.append(Server([*env, BINARY, "serve", "-m", TINY, "--port", "0", *map(str, options)]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


def answer(response):
    assert response.status_code == 200, response.text
    return response.json()


def text_of(response):
    return answer(response)["choices"][0]["text"]


def test_what_a_preset_says_is_what_its_requests_get_unless_they_say_it(serve, shelf):
    s = serve("--adapters", shelf(temperature=1.5, seed=11, max_tokens=24, top_k=50))
    preset = text_of(s.completion(prompt="Hello", model="preset", **ENDLESS))
    said = {"temperature": 1.5, "seed": 11, "max_tokens": 24, "top_k": 50}
    assert preset == text_of(s.completion(prompt="Hello", model="plain", **said, **ENDLESS))
    assert answer(s.completion(prompt="Hello", model="preset", **ENDLESS))["usage"]["completion_tokens"] == 24
    # Field by field: what the request says counts, of the rest the preset.
    for own in ({"temperature": 0}, {"seed": 12}, {"max_tokens": 3}, {"top_k": 1}, {"temperature": 0, "max_tokens": 30}):
        got = answer(s.completion(prompt="Hello", model="preset", **own, **ENDLESS))
        assert got == {**answer(s.completion(prompt="Hello", model="plain", **{**said, **own}, **ENDLESS)), "id": got["id"],
                       "created": got["created"], "timings": got["timings"], "model": "preset"}, own
    # Null says nothing.
    assert text_of(s.completion(prompt="Hello", model="preset", temperature=None, **ENDLESS)) == preset
    # Several answers have seeds of their own.
    choices = [c["text"] for c in answer(s.completion(prompt="Hello", model="preset", n=2, **ENDLESS))["choices"]]
    assert choices == [preset, text_of(s.completion(prompt="Hello", model="plain", **{**said, "seed": 12}, **ENDLESS))]
    # `lora` says in full what is applied: no preset is meant. OpenAI's default of 16 tokens is back.
    id = adapter(s, "preset")["id"]
    assert answer(s.completion(prompt="Hello", lora=[{"id": id, "scale": 1}], **ENDLESS))["usage"]["completion_tokens"] == 16


def test_stop_strings_are_the_presets_or_the_requests(serve, shelf):
    s = serve("--adapters", shelf())
    plain = text_of(s.completion(prompt="Hello", model="plain", max_tokens=30, temperature=0, **ENDLESS))
    at = len(plain) // 2
    stop = plain[at:at + 2]
    assert stop.strip()
    shelf(stop=[stop])
    answer(s.post("/v1/rescan_lora_adapters", b""))
    ask = {"prompt": "Hello", "model": "preset", "max_tokens": 30, "temperature": 0, **ENDLESS}
    stopped = answer(s.completion(**ask))["choices"][0]
    assert stopped["finish_reason"] == "stop" and stopped["text"] == plain[:plain.index(stop)]
    assert text_of(s.completion(**ask, stop=[])) == plain
    assert text_of(s.completion(**ask, stop=["never said"])) == plain


def test_a_presets_system_prompt_and_template_are_what_a_chat_is_rendered_with(serve, shelf):
    s = serve("--adapters", shelf(system="Answer in rhymes.", chat_template=TURNS, temperature=0, max_tokens=8))
    ask = {"model": "preset", "logprobs": True, **ENDLESS}
    with_own = answer(s.post("/v1/chat/completions", {"messages": [{"role": "system", "content": "Answer in rhymes."}, *HELLO], **ask}))
    without = answer(s.post("/v1/chat/completions", {"messages": HELLO, **ask}))
    assert without["choices"] == with_own["choices"] and without["usage"]["prompt_tokens"] == with_own["usage"]["prompt_tokens"]
    written = "A turn of system: Answer in rhymes.. A turn of user: Hello. An answer: "
    assert with_own["usage"]["prompt_tokens"] == answer(s.completion(prompt=written, model="preset"))["usage"]["prompt_tokens"]
    other = answer(s.post("/v1/chat/completions", {"messages": [{"role": "system", "content": "No."}, *HELLO], **ask}))
    developer = answer(s.post("/v1/chat/completions", {"messages": [{"role": "developer", "content": "No."}, *HELLO], **ask}))
    assert other["usage"]["prompt_tokens"] < without["usage"]["prompt_tokens"]
    assert developer["usage"]["prompt_tokens"] == other["usage"]["prompt_tokens"]  # a system message by its newer name
    # A completion is text as it stands.
    assert answer(s.completion(prompt="Hello", model="preset"))["usage"]["prompt_tokens"] == \
        answer(s.completion(prompt="Hello", model="plain"))["usage"]["prompt_tokens"]


def test_a_changed_preset_is_noticed_and_a_wrong_one_is_named(serve, shelf):
    folder = shelf(max_tokens=3)
    s = serve("--adapters", folder)
    used = lambda: answer(s.completion(prompt="Hello", model="preset", **ENDLESS))["usage"]["completion_tokens"]
    assert used() == 3
    generation = adapter(s, "preset")["generation"]
    shelf(max_tokens=5)
    answer(s.post("/v1/rescan_lora_adapters", b""))
    assert used() == 5 and adapter(s, "preset")["generation"] > generation
    shelf(max_tokens=-5)
    answer(s.post("/v1/rescan_lora_adapters", b""))
    message = error_of(s.completion(prompt="Hello", model="preset"), 400, None, "invalid_adapter")
    assert "edgelora.json: max_tokens: -5 is not in 1 to" in message
    shown = adapter(s, "preset")
    assert shown["state"] == "failed" and "max_tokens" in shown["failure"]["message"] and shown["preset"] is None
    assert any("max_tokens: -5" in line for line in s.log)
    (folder / "preset" / "edgelora.json").unlink()
    answer(s.post("/v1/rescan_lora_adapters", b""))
    assert used() == 16
    shelf(top_p=7)
    assert "top_p: 7 is not in 0 to 1" in error_of(s.post(LOAD, {"lora_name": "x", "lora_path": "preset"}), 400, "lora_path",
                                                  "invalid_adapter")


def test_a_gguf_adapters_preset_stands_beside_it(serve, tmp_path):
    shutil.copy(LORA / "tiny.gguf", tmp_path / "one.gguf")
    (tmp_path / "one.json").write_text('{"max_tokens": 2, "description": "short"}')
    s = serve("--adapters", tmp_path)
    assert answer(s.completion(prompt="Hello", model="one", **ENDLESS))["usage"]["completion_tokens"] == 2
    assert [m.get("description") for m in answer(s.get("/v1/models"))["data"]] == [None, "short"]


def test_a_preset_is_shown_to_whom_it_concerns(serve, shelf, tmp_path):
    folder = shelf(description="writes SQL", system="secret", temperature=0.5, seed=-3, stop=[";"], aliases=["db"], lora_scale=0.75,
                   schema={"type": "object"})
    (tmp_path / "keys").write_text("operator-1234567890\ntenant-1234567890 preset\n")
    (tmp_path / "keys").chmod(0o600)
    s = serve("--adapters", folder, "--api-keys", tmp_path / "keys")
    operator, tenant = ({"Authorization": f"Bearer {k}-1234567890"} for k in ("operator", "tenant"))
    shown = adapter(s, "preset", headers=operator)
    common = {"description": "writes SQL", "temperature": 0.5, "seed": -3, "stop": [";"], "lora_scale": 0.75,
              "schema": {"type": "object"}, "schema_enforced": True}
    assert shown["preset"] == {**common, "system": "secret"} and shown["aliases"] == ["db"]
    assert adapter(s, "preset", headers=tenant)["preset"] == common
    assert adapter(s, "plain", headers=operator)["preset"] is None
    listed = {m["id"]: m for m in answer(s.get("/v1/models", headers=tenant))["data"]}
    assert listed.keys() == {"preset"} and listed["preset"]["description"] == "writes SQL" and listed["preset"]["aliases"] == ["db"]


def test_a_presets_schema_holds_answers_unless_the_request_says_otherwise(serve, shelf):
    s = serve("--adapters", shelf(schema={"enum": ["yes", "no"]}))
    said = answer(s.completion(prompt="Hello", model="preset", max_tokens=20))["choices"][0]
    assert json.loads(said["text"]) in ("yes", "no") and said["finish_reason"] == "stop"
    free = answer(s.completion(prompt="Hello", model="preset", max_tokens=20, response_format={"type": "text"}, **ENDLESS))
    assert free["choices"][0]["finish_reason"] == "length"
    own = answer(s.completion(prompt="Hello", model="preset", max_tokens=20, guided_regex="z{3}"))
    assert own["choices"][0]["text"] == "zzz"


def test_an_alias_is_allowed_by_what_it_means(serve, shelf, tmp_path):
    folder = shelf(aliases=["db", "plainer", "acme/x"])
    (folder / "plain" / "edgelora.json").write_text('{"aliases": ["db", "preset"]}')
    (tmp_path / "keys").write_text("operator-1234567890\nby-alias-1234567890 db\nby-name-1234567890 preset\n")
    (tmp_path / "keys").chmod(0o600)
    s = serve("--adapters", folder, "--api-keys", tmp_path / "keys")
    operator, by_alias, by_name = ({"Authorization": f"Bearer {k}-1234567890"} for k in ("operator", "by-alias", "by-name"))
    ask = lambda name, headers: s.post("/v1/completions", {"prompt": "Hello", "max_tokens": 2, "model": name}, headers=headers)
    taken = "plain" if adapter(s, "plain", headers=operator)["id"] < adapter(s, "preset", headers=operator)["id"] else "preset"
    assert answer(ask("db", operator))["model"] == taken  # the first that was registered keeps it
    assert ask("db", operator).headers["x-edgelora-adapter"] == taken
    assert answer(ask("preset", operator))["model"] == "preset"  # a name comes before an alias
    assert any("alias db: adapter " in line for line in s.log) and any("alias preset: adapter preset has that name" in line for line in s.log)
    assert answer(ask("plainer", by_name))["model"] == "preset"
    for name in ("db", "plainer", "preset"):
        error_of(ask(name, by_alias), 404, "model", "model_not_found")
        error_of(s.get(f"/v1/models/{name}", headers=by_alias), 404, "model")
        error_of(s.get(f"/v1/adapters/{name}", headers=by_alias), 404, "model")
    assert answer(s.get("/v1/models/plainer", headers=by_name))["id"] == "preset"
    # Nor is what is wrong with it told to whom it is not there for.
    (folder / taken / "edgelora.json").write_text('{"aliases": ["db"], "secret": 1}')
    answer(s.post("/v1/rescan_lora_adapters", b"", headers=operator))
    assert "secret" in error_of(ask(taken, operator), 400)
    error_of(ask("db", by_alias), 404, "model", "model_not_found")
    shelf(aliases=["db", "plainer", "acme/x"])
    (folder / "plain" / "edgelora.json").write_text('{"aliases": ["db", "preset"]}')
    answer(s.post("/v1/rescan_lora_adapters", b"", headers=operator))
    # What is loaded has a name of its own: an alias is neither unloaded nor replaced.
    error_of(s.post("/v1/unload_lora_adapter", {"lora_name": "plainer"}, headers=operator), 404, "lora_name")


def test_who_is_not_named_is_the_default_adapter(serve, shelf, tmp_path):
    folder = shelf(max_tokens=3)
    (tmp_path / "keys").write_text("operator-1234567890\ntenant-1234567890 plain,base\n")
    (tmp_path / "keys").chmod(0o600)
    s = serve("--adapters", folder, "--default-adapter", "preset", "--model-name", "base", "--api-keys", tmp_path / "keys")
    operator, tenant = ({"Authorization": f"Bearer {k}-1234567890"} for k in ("operator", "tenant"))
    ask = lambda headers, **body: answer(s.post("/v1/completions", {"prompt": "Hello", **ENDLESS, **body}, headers=headers))
    assert ask(operator)["model"] == ask(operator, model="")["model"] == ask(operator, model=None)["model"] == "preset"
    assert ask(operator)["usage"]["completion_tokens"] == 3
    assert ask(operator, model="base")["model"] == "base"
    assert ask(operator, lora=[])["model"] == "base"  # which adapters are applied is said
    assert ask(tenant)["model"] == "base"  # whose key may not name it
    for wrong in ("nobody", "auto"):
        result = subprocess.run([BINARY, "serve", "-m", TINY, "--port", "0", "--adapters", folder, "--default-adapter", wrong],
                                capture_output=True, text=True, timeout=120)
        assert result.returncode == 1 and f"--default-adapter: adapter {wrong}: there is none" in result.stderr


def test_a_pinned_adapter_stays_and_pins_are_bounded(serve, shelf, tmp_path):
    folder = shelf()
    s = serve("--adapters", folder, "--pin", "plain", "--allow-adapters-from", folder)
    for _ in range(200):
        if adapter(s, "plain")["state"] == "resident":
            break
        time.sleep(0.05)
    shown = adapter(s, "plain")
    assert (shown["state"], shown["pinned"], shown["requests"]) == ("resident", True, 0)
    assert answer(s.completion(prompt="Hello", model="plain"))["model"] == "plain"
    assert adapter(s, "plain")["hits"] == 1  # the first request found it in memory
    assert s.post(LOAD, {"lora_name": "x", "lora_path": "preset", "pinned": True}).status_code == 200
    assert adapter(s, "x")["pinned"] and not adapter(s, "preset")["pinned"]
    error_of(s.post(LOAD, {"lora_name": "y", "lora_path": "preset", "pinned": 1}), 400, "pinned")
    assert sorted(names(s)) == ["plain", "preset", "x"]


def test_the_base_has_a_preset_of_its_own(serve, shelf, tmp_path):
    (tmp_path / "base.json").write_text(json.dumps({"max_tokens": 2, "chat_template": TURNS, "system": "Be brief."}))
    s = serve("--adapters", shelf(max_tokens=4), "--preset", tmp_path / "base.json")
    used = lambda **body: answer(s.completion(prompt="Hello", **body, **ENDLESS))["usage"]["completion_tokens"]
    assert used() == 2 and used(max_tokens=7) == 7
    assert used(model="preset") == 4 and used(model="plain") == 16  # an adapter's is its own or none
    long, short = (answer(s.post("/v1/chat/completions", {"messages": m, **ENDLESS}))["usage"]["prompt_tokens"]
                   for m in (HELLO, [{"role": "system", "content": ""}, *HELLO]))
    assert long > short


def test_every_demo_adapter_says_what_it_is_for():
    folders = [config.parent for root in ("adapters", "adapters-activated", "adapters-for") for config in (ROOT / root).rglob("adapter_config.json")]
    assert len(folders) >= 8
    for folder in folders:
        preset = json.loads((folder / "edgelora.json").read_text())
        assert preset.keys() == {"description"} and 20 < len(preset["description"]) <= 1024, folder  # they were trained without a system message


def test_demo_adapters_are_listed_with_what_they_are_for(server):
    listed = {m["id"]: m.get("description") for m in server.get("/v1/models").json()["data"]}
    for name in ("headline", "redact", "sentiment", "shell", "sql"):
        assert listed[name] == json.loads((ROOT / "adapters" / name / "edgelora.json").read_text())["description"]
