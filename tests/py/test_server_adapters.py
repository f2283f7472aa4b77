"""Adapters while the server runs: loaded, unloaded and found again through HTTP, from allowed folders alone; pages of
models; slots, queue and metrics."""

import concurrent.futures
import json
import os
import re
import shutil
import struct
import time

import httpx
import pytest
from conftest import BINARY, ROOT, SECOND, Server, request_bytes
from prometheus_client.parser import text_string_to_metric_families

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
LORA = ROOT / "tests" / "golden" / "lora"
TEXT = "/v1/completions"
LOAD, UNLOAD, RESCAN = "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/rescan_lora_adapters"
ENDLESS = {"prompt": "abc", "max_tokens": 1_000_000, "ignore_eos": True}


def error_of(response, status, param=None, code=None):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) - {"n_ctx", "n_prompt_tokens"} == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    if code:
        assert error["code"] == code, error
    return error["message"]


def names(server):
    return [m["id"] for m in server.get("/v1/models").json()["data"]][1:]


def metrics(server):
    """{(name, labels): value}, by an independent reader of the format."""
    response = server.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation and family.type != "unknown", family
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


@pytest.fixture
def folder(tmp_path):
    """What the operator allows, and beside it what he does not."""
    shutil.copytree(LORA / "tiny-peft", tmp_path / "allowed" / "one")
    shutil.copy(LORA / "tiny.gguf", tmp_path / "allowed" / "two.gguf")
    shutil.copytree(LORA / "tiny-peft", tmp_path / "secret" / "one")
    return tmp_path


@pytest.fixture
def tiny(folder):
    """edgelora serve with the tiny model, which may load from the allowed folder."""
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    started = []

    def start(*options):
        env = ["env", f"XDG_CACHE_HOME={folder / 'cache'}"]
        started.append(Server([*env, BINARY, "serve", "-m", TINY, "--port", "0", *map(str, options)]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


# ---------------------------------------------------------------- load and unload


def test_an_adapter_is_loaded_answers_and_is_unloaded(tiny, folder):
    s = tiny("--allow-adapters-from", folder / "allowed")
    ask = {"prompt": "Hello", "max_tokens": 8, "temperature": 0}
    base = s.completion(**ask).json()["choices"][0]["text"]
    assert names(s) == []
    answer = s.post(LOAD, {"lora_name": "mine", "lora_path": str(folder / "allowed" / "one")})
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'mine' added successfully.")
    assert names(s) == ["mine"]
    assert s.completion(**ask, model="mine").json()["choices"][0]["text"] != base
    answer = s.post(UNLOAD, {"lora_name": "mine"})
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'mine' removed successfully.")
    assert names(s) == []
    error_of(s.completion(**ask, model="mine"), 404, "model", "model_not_found")
    error_of(s.post(UNLOAD, {"lora_name": "mine"}), 404, "lora_name", "adapter_not_found")


def test_a_relative_path_is_looked_for_in_the_allowed_folders_alone(tiny, folder):
    (folder / "empty").mkdir()
    s = tiny("--allow-adapters-from", folder / "empty", "--allow-adapters-from", folder / "allowed")
    assert s.post(LOAD, {"lora_name": "a", "lora_path": "one"}).status_code == 200
    assert s.post(LOAD, {"lora_name": "b", "lora_path": "./two.gguf"}).status_code == 200
    assert names(s) == ["a", "b"]
    error_of(s.post(LOAD, {"lora_name": "c", "lora_path": "three"}), 404, "lora_path", "adapter_not_found")


def test_the_folders_of_adapters_are_allowed_too(tiny, folder):
    s = tiny("--adapters", folder / "allowed")
    assert sorted(names(s)) == ["one", "two"]
    assert s.post(LOAD, {"lora_name": "again", "lora_path": "one"}).status_code == 200
    assert s.post(UNLOAD, {"lora_name": "one"}).status_code == 200
    assert sorted(names(s)) == ["again", "two"]


def test_no_path_leads_out_of_the_allowed_folders(tiny, folder):
    allowed, secret = folder / "allowed", folder / "secret"
    (allowed / "link").symlink_to(secret / "one")
    (allowed / "up").symlink_to("..")
    (folder / "allowed-not").mkdir()
    shutil.copytree(LORA / "tiny-peft", folder / "allowed-not" / "one")
    s = tiny("--allow-adapters-from", allowed)
    paths = [secret / "one", allowed / "link", allowed / "up" / "secret" / "one", allowed / ".." / "secret" / "one",
             folder / "allowed-not" / "one", "../secret/one", "link", "up/secret/one", "/", "/etc/passwd", "/proc/self/cwd",
             "/dev/zero"]
    for path in map(str, paths):
        error_of(s.post(LOAD, {"lora_name": "x", "lora_path": path}), 403, "lora_path", "path_not_allowed")
    assert names(s) == []


def test_an_answer_does_not_tell_what_exists_outside(tiny, folder):
    (folder / "allowed" / "up").symlink_to("..")
    s = tiny("--allow-adapters-from", folder / "allowed")
    for there, missing in [("/etc/passwd", "/etc/no-such-file"), (folder / "secret" / "one", folder / "secret" / "two"),
                           ("../secret/one", "../secret/two"), ("up/secret", "up/no"), ("/etc", "/no-such/folder")]:
        answers = [s.post(LOAD, {"lora_name": "x", "lora_path": str(p)}) for p in (there, missing)]
        assert answers[0].status_code == answers[1].status_code == 403
        assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("options", [[], ["--adapters", "allowed", "--lock-adapters"]])
def test_without_an_allowed_folder_nothing_is_loaded_or_unloaded(tiny, folder, options):
    options = [folder / o if o == "allowed" else o for o in options]
    s = tiny("--adapter", f"mine={folder / 'allowed' / 'one'}", *options)
    before = names(s)
    for response in (s.post(LOAD, {"lora_name": "x", "lora_path": str(folder / "allowed" / "one")}),
                     s.post(UNLOAD, {"lora_name": "mine"})):
        assert "--allow-adapters-from" in error_of(response, 403, None, "adapter_loading_disabled")
    assert names(s) == before


def test_what_the_operator_named_elsewhere_is_not_the_clients_to_take_away(tiny, folder):
    s = tiny("--adapter", f"mine={folder / 'secret' / 'one'}", "--allow-adapters-from", folder / "allowed")
    error_of(s.post(UNLOAD, {"lora_name": "mine"}), 403, "lora_name", "adapter_not_allowed")
    assert names(s) == ["mine"]


def test_what_is_wrong_with_an_adapter_is_said_and_leaves_no_trace(tiny, folder):
    allowed = folder / "allowed"
    (allowed / "broken.gguf").write_bytes((allowed / "two.gguf").read_bytes()[:1000])
    (allowed / "nothing").mkdir()
    os.mkfifo(allowed / "pipe.gguf")
    s = tiny("--allow-adapters-from", allowed, "--adapter", f"taken={allowed / 'one'}")
    for path, status in [("broken.gguf", 400), ("nothing", 404), ("pipe.gguf", 404), ("one/adapter_config.json", 400)]:
        assert path.split("/")[-1] in error_of(s.post(LOAD, {"lora_name": "x", "lora_path": path}), status, "lora_path")
    base = s.get("/v1/models").json()["data"][0]["id"]
    for name in ("taken", base):
        error_of(s.post(LOAD, {"lora_name": name, "lora_path": "one"}), 400, "lora_name", "adapter_exists")
    for name in ("a\nb", "x" * 256, "\x7f"):
        error_of(s.post(LOAD, {"lora_name": name, "lora_path": "one"}), 400, "lora_name")
    assert names(s) == ["taken"]


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "lora_name"),
        ({"lora_path": "one"}, "lora_name"),
        ({"lora_name": None, "lora_path": "one"}, "lora_name"),
        ({"lora_name": 7, "lora_path": "one"}, "lora_name"),
        ({"lora_name": "", "lora_path": "one"}, "lora_name"),
        ({"lora_name": "a\0b", "lora_path": "one"}, "lora_name"),
        ({"lora_name": "a"}, "lora_path"),
        ({"lora_name": "a", "lora_path": ["one"]}, "lora_path"),
        ({"lora_name": "a", "lora_path": ""}, "lora_path"),
        ({"lora_name": "a", "lora_path": "one\0/../../etc"}, "lora_path"),
        ({"lora_name": "a", "lora_path": "x" * 5000}, "lora_path"),
        ({"lora_name": "a", "lora_path": "one", "lora_int_id": "1"}, "lora_int_id"),
        ({"lora_name": "a", "lora_path": "one", "load_inplace": "yes"}, "load_inplace"),
        ({"lora_name": "a", "lora_path": "one", "expected_generation": "1"}, "expected_generation"),
        ({"lora_name": "a", "lora_path": "one", "expected_generation": -1}, "expected_generation"),
        ({"lora_name": "a", "lora_path": "one", "expected_generation": 1.5}, "expected_generation"),
    ],
)
def test_a_bad_load_names_its_field(fake, tmp_path, body, param):
    s = fake(allow=tmp_path)
    error_of(s.post(LOAD, body), 400, param)
    assert len(names(s)) == 3


def test_bodies_that_are_no_json_object_and_other_methods_are_refused(fake, tmp_path):
    s = fake(allow=tmp_path)
    for path in (LOAD, UNLOAD):
        for body in (b"", b"[]", b"{", b'"x"', b"\xff"):
            error_of(s.post(path, body), 400, None, "invalid_json")
    for path in (LOAD, UNLOAD, RESCAN):
        response = s.get(path)
        error_of(response, 405)
        assert response.headers["allow"] == "POST, OPTIONS"
    for path in ("/slots", "/queue", "/metrics"):
        error_of(s.post(path, {}), 405)


def test_loads_of_one_name_at_once_add_it_once(tiny, folder):
    s = tiny("--allow-adapters-from", folder / "allowed")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: s.post(LOAD, {"lora_name": "x", "lora_path": "one"}).status_code, range(8)))
    assert sorted(answers) == [200] + [400] * 7
    assert names(s) == ["x"]


def test_an_adapter_that_is_unloaded_while_it_answers_answers_to_the_end(tiny, folder):
    s = tiny("--allow-adapters-from", folder / "allowed", "--ctx-size", "4096")
    assert s.post(LOAD, {"lora_name": "x", "lora_path": "one"}).status_code == 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(s.completion, prompt="Hello", model="x", max_tokens=2000, ignore_eos=True)
        s.wait_busy()
        assert s.post(UNLOAD, {"lora_name": "x"}).status_code == 200
        assert answer.result().json()["usage"]["completion_tokens"] == 2000
    assert names(s) == []


# ---------------------------------------------------------------- lifecycle


def adapter(server, name, **kwargs):
    response = server.get(f"/v1/adapters/{name}", **kwargs)
    assert response.status_code == 200, response.text
    return response.json()


def louder(path):
    """The adapter's product is twice as large: other files that are as good."""
    config = json.loads((path / "adapter_config.json").read_text())
    config["lora_alpha"] *= 2
    (path / "adapter_config.json").write_text(json.dumps(config))


def test_an_adapter_is_replaced_in_place_while_it_answers(tiny, folder):
    shutil.copytree(folder / "allowed" / "one", folder / "allowed" / "loud")
    louder(folder / "allowed" / "loud")
    s = tiny("--allow-adapters-from", folder / "allowed", "--ctx-size", "4096")
    for name, path in (("x", "one"), ("loud", "loud")):
        assert s.post(LOAD, {"lora_name": name, "lora_path": path}).status_code == 200
    ask = {"prompt": "Hello, this is a text that fills more than one page of keys and values", "ignore_eos": True, "temperature": 0}
    before, loud = (scores(s, model=m) for m in ("x", "loud"))
    assert before != loud
    old = adapter(s, "x")
    assert s.completion(**ask, model="x", max_tokens=8).json()["usage"]["prompt_tokens"] > 16  # what it leaves in the prefix cache
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(s.completion, **ask, model="x", max_tokens=2000)
        s.wait_busy()
        response = s.post(LOAD, {"lora_name": "x", "lora_path": "loud", "load_inplace": True})
        assert (response.status_code, response.text) == (200, "Success: LoRA adapter 'x' replaced successfully.")
        now = s.completion(**ask, model="x", max_tokens=8).json()
        assert now["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert now["choices"][0]["text"] == s.completion(**ask, model="loud", max_tokens=8).json()["choices"][0]["text"]
        assert answer.result().json()["usage"]["completion_tokens"] == 2000
    assert scores(s, model="x") == loud
    new = adapter(s, "x")
    assert new["id"] == old["id"] and new["generation"] > old["generation"]
    assert s.post(LOAD, {"lora_name": "fresh", "lora_path": "one", "load_inplace": True}).text.endswith("added successfully.")


def test_a_replacement_that_cannot_be_used_leaves_the_adapter_as_it_is(tiny, folder):
    (folder / "allowed" / "broken.gguf").write_bytes((folder / "allowed" / "two.gguf").read_bytes()[:1000])
    s = tiny("--allow-adapters-from", folder / "allowed", "--adapter", f"operators={folder / 'secret' / 'one'}")
    assert s.post(LOAD, {"lora_name": "x", "lora_path": "one"}).status_code == 200
    before, generation = scores(s, model="x"), adapter(s, "x")["generation"]
    error_of(s.post(LOAD, {"lora_name": "x", "lora_path": "broken.gguf", "load_inplace": True}), 400, "lora_path")
    error_of(s.post(LOAD, {"lora_name": "operators", "lora_path": "one", "load_inplace": True}), 403, "lora_name",
             "adapter_not_allowed")
    assert scores(s, model="x") == before and adapter(s, "x")["generation"] == generation


def test_a_generation_that_is_not_expected_is_a_409(tiny, folder):
    s = tiny("--allow-adapters-from", folder / "allowed")
    body = {"lora_name": "x", "lora_path": "one"}
    error_of(s.post(LOAD, {**body, "expected_generation": 5}), 409, "expected_generation", "generation_conflict")
    assert s.post(LOAD, {**body, "expected_generation": 0}).status_code == 200
    first = adapter(s, "x")["generation"]
    for wrong in (0, first + 1):
        error_of(s.post(LOAD, {**body, "load_inplace": True, "expected_generation": wrong}), 409, "expected_generation")
        error_of(s.post(UNLOAD, {"lora_name": "x", "expected_generation": wrong}), 409, "expected_generation")
    assert adapter(s, "x")["generation"] == first
    assert s.post(LOAD, {**body, "load_inplace": True, "expected_generation": first}).status_code == 200
    second = adapter(s, "x")["generation"]
    error_of(s.post(UNLOAD, {"lora_name": "x", "expected_generation": first}), 409, "expected_generation")
    assert s.post(UNLOAD, {"lora_name": "x", "expected_generation": second}).status_code == 200
    assert names(s) == []


def test_what_is_known_of_an_adapter_is_shown(tiny, folder):
    shutil.copytree(folder / "allowed" / "one", folder / "allowed" / "acme" / "one")
    s = tiny("--adapters", folder / "allowed")
    cold = adapter(s, "acme/one")
    assert (cold["state"], cold["requests"], cold["last_used"], cold["failure"]) == ("on_disk", 0, None, None)
    ask = {"prompt": "Hello", "max_tokens": 4, "ignore_eos": True, "model": "acme/one"}
    usages = [s.completion(**ask).json()["usage"] for _ in range(2)]
    warm = adapter(s, "acme/one")
    assert warm["state"] == "resident" and warm["rank"] > 0 and warm["bytes"] > 0
    assert (warm["requests"], warm["hits"], warm["loads"], warm["loads_failed"]) == (2, 1, 1, 0)
    assert warm["generated_tokens"] == 8 and warm["prompt_tokens"] == sum(u["prompt_tokens"] for u in usages)
    assert abs(warm["last_used"] - time.time()) < 60
    assert warm["path"] == str(folder / "allowed" / "acme" / "one")
    (folder / "allowed" / "acme" / "one" / "adapter_config.json").write_text("[]")
    while s.completion(**ask).status_code == 200:  # it is noticed soon, by the watch or by a request
        time.sleep(0.02)
    failed = adapter(s, "acme/one")
    assert failed["state"] == "failed" and "adapter_config.json" in failed["failure"]["message"]
    assert failed["generation"] > warm["generation"] and failed["loads_failed"] == 1
    for name in ("none", "acme", "two/x", s.get("/v1/models").json()["data"][0]["id"]):
        error_of(s.get(f"/v1/adapters/{name}"), 404, "model", "model_not_found")


def test_a_limited_key_sees_its_own_adapters_without_paths(tiny, folder):
    shutil.copytree(folder / "allowed" / "one", folder / "allowed" / "acme" / "one")
    (folder / "keys").write_text("operator-1234567890\ntenant-1234567890 acme/*\n")
    (folder / "keys").chmod(0o600)
    s = tiny("--adapters", folder / "allowed", "--api-keys", folder / "keys")
    operator, tenant = ({"Authorization": f"Bearer {k}-1234567890"} for k in ("operator", "tenant"))
    assert "path" in adapter(s, "acme/one", headers=operator) and "path" not in adapter(s, "acme/one", headers=tenant)
    (folder / "allowed" / "acme" / "one" / "adapter_config.json").write_text("[]")
    while s.post("/v1/completions", {"prompt": "a", "model": "acme/one", "max_tokens": 1}, headers=tenant).status_code == 200:
        time.sleep(0.02)
    for headers, told in ((operator, True), (tenant, False)):
        failure = adapter(s, "acme/one", headers=headers)["failure"]["message"]
        assert failure and (str(folder) in failure) == told
    error_of(s.get("/v1/adapters/one", headers=tenant), 404, "model", "model_not_found")
    error_of(s.get("/v1/adapters/acme/one"), 401, None, "invalid_api_key")


def test_a_rescan_finds_what_has_come_and_gone(tiny, folder):
    s = tiny("--adapters", folder / "allowed", "--verbose")
    os.rename(folder / "allowed" / "two.gguf", folder / "allowed" / "new.gguf")
    total = s.post(RESCAN, b"").json()
    assert set(total) == {"added", "changed", "removed", "failed"}
    assert sorted(names(s)) == ["new", "one"]  # by this scan or by the watch, whichever was first


def test_a_client_that_shuts_its_side_is_answered_all_the_same(fake, tmp_path):
    s = fake(allow=tmp_path)
    (tmp_path / "one").mkdir()
    with s.connect() as c:
        c.sendall(request_bytes(LOAD, {"lora_name": "x", "lora_path": "one"}, "Connection: close"))
        c.shutdown(1)
        answer = b""
        while chunk := c.recv(65536):
            answer += chunk
    assert b"added successfully" in answer


# ---------------------------------------------------------------- scales, several at once

SCORE = {"prompt": "Hello world, this is a test", "max_tokens": 1, "echo": True, "logprobs": 0, "temperature": 0}


def ids(server):
    return {a["name"]: a["id"] for a in server.get("/lora-adapters").json()}


def scores(server, **body):
    """The log-probabilities of a prompt's tokens: what an adapter does, in numbers."""
    response = server.completion(**SCORE, **body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["logprobs"]["token_logprobs"][1:-1]


def distance(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def scaled(tiny, folder):
    """The same adapter under two names, from two kinds of file."""
    s = tiny("--adapters", folder / "allowed")
    return s, ids(s)


def test_a_scale_is_a_factor_of_what_the_adapter_adds(scaled):
    s, id = scaled
    base, one = scores(s), scores(s, model="one")
    far = distance(base, one)
    assert far > 0.05
    assert scores(s, lora=[]) == scores(s, lora=[{"id": id["one"], "scale": 0}]) == base
    assert scores(s, lora=[{"id": id["one"], "scale": 1}]) == one  # exactly: it is the adapter itself
    near = [distance(base, scores(s, lora=[{"id": id["one"], "scale": scale}])) for scale in (0.01, 0.3, 1)]
    assert near[0] < 0.1 * far and near == sorted(near)
    assert distance(scores(s, lora=[{"id": id["one"], "scale": -1}]), one) > far


def test_several_adapters_add_up(scaled):
    s, id = scaled
    base, one, twice = scores(s), scores(s, model="one"), scores(s, lora=[{"id": id["one"], "scale": 2}])
    tolerance = 0.05 * distance(base, one)
    for first, second, expected in [(0.5, 0.5, one), (1, 1, twice), (3, -2, one), (1, -1, base)]:
        lora = [{"id": id["one"], "scale": first}, {"id": id["two"], "scale": second}]
        got = scores(s, lora=lora)
        assert distance(got, expected) < tolerance, (first, second)
        assert scores(s, lora=lora[::-1]) == got


def test_each_of_many_requests_has_its_own_scales(scaled):
    s, id = scaled
    wanted = [[], *[[{"id": id["one"], "scale": a}, {"id": id["two"], "scale": b}] for a in (0, 0.5, 1) for b in (0.25, 1)]]
    alone = [scores(s, lora=lora) for lora in wanted]
    assert len(set(map(tuple, alone))) > 5
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: scores(s, lora=wanted[i % len(wanted)]), range(8 * len(wanted))))
    assert all(together[i] == alone[i % len(wanted)] for i in range(len(together)))


def test_scales_for_all_apply_to_requests_that_name_no_adapter(scaled):
    s, id = scaled
    base, one = scores(s), scores(s, model="one")
    assert [(a["name"], a["scale"]) for a in s.get("/lora-adapters").json()] == [("one", 0), ("two", 0)]
    assert s.post("/lora-adapters", [{"id": id["one"], "scale": 1}]).json() == {"success": True}
    assert [a["scale"] for a in s.get("/lora-adapters").json()] == [1, 0]
    name = s.get("/v1/models").json()["data"][0]["id"]
    assert scores(s) == scores(s, model=name) == one
    assert scores(s, lora=[]) == base
    assert scores(s, model="two") != base
    assert s.post(UNLOAD, {"lora_name": "one"}).status_code == 200
    assert scores(s) == base  # what is gone is not missed
    assert s.post("/lora-adapters", []).json() == {"success": True}
    assert metrics(s)[("edgelora_adapter_requests_total", ("adapter", "combined"))] == 2


def test_ids_are_not_used_again(scaled, folder):
    s, id = scaled
    assert s.post(UNLOAD, {"lora_name": "two"}).status_code == 200
    assert s.post(LOAD, {"lora_name": "two", "lora_path": "two.gguf"}).status_code == 200
    now = ids(s)
    assert now["one"] == id["one"] and now["two"] > max(id.values())
    error_of(s.completion(prompt="a", lora=[{"id": id["two"], "scale": 1}]), 400, "lora")


def widen(peft, times):
    """Makes an adapter's rank so many times as much: rows of A and columns of B again and again."""
    data = (peft / "adapter_model.safetensors").read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    header, out, at = json.loads(data[8 : 8 + n]), bytearray(), 0
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        values = data[8 + n + begin : 8 + n + end]
        row = len(values) // t["shape"][0]
        is_a = "lora_A" in name
        values = values * times if is_a else b"".join(values[i : i + row] * times for i in range(0, len(values), row))
        t["shape"][0 if is_a else 1] *= times
        t["data_offsets"] = [at, at + len(values)]
        out, at = out + values, at + len(values)
    head = json.dumps(header).encode()
    (peft / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + out)
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps({**config, "r": config["r"] * times}))


def test_ranks_above_the_limit_are_a_400_with_the_figure(tiny, folder):
    widen(folder / "allowed" / "one", 40)
    s = tiny(*[f"--adapter=m{i}={folder / 'allowed' / 'one'}" for i in range(7)])
    lora = [{"id": i, "scale": 0.1} for i in ids(s).values()]
    assert s.completion(prompt="a", lora=lora[:6], max_tokens=1).status_code == 200
    for _ in range(2):
        message = error_of(s.completion(prompt="a", lora=lora, max_tokens=1), 400)
        assert "1120" in message and "1024" in message
    assert s.completion(prompt="a", lora=lora[:6], max_tokens=1).status_code == 200


FIRST = {"id": 0, "scale": 1}


@pytest.mark.parametrize(
    "lora, param",
    [
        ({}, "lora"),
        ("one", "lora"),
        (1, "lora"),
        ([1], "lora[0]"),
        ([FIRST, None], "lora[1]"),
        ([{}], "lora[0]"),
        ([{"id": 1}], "lora[0]"),
        ([{"scale": 1}], "lora[0]"),
        ([{"id": "1", "scale": 1}], "lora[0]"),
        ([{"id": -1, "scale": 1}], "lora[0]"),
        ([{"id": 1.0, "scale": 1}], "lora[0]"),
        ([{"id": 1, "scale": "1"}], "lora[0]"),
        ([{"id": 1, "scale": 1000.5}], "lora[0]"),
        ([{"id": 1, "scale": 1e300}], "lora[0]"),
        ([{"id": 1, "scale": 1, "x": 1}], "lora[0]"),
        ([FIRST, FIRST], "lora[1]"),
        ([{"id": i + 1, "scale": 1} for i in range(17)], "lora"),
        ([{"id": 99, "scale": 1}], "lora"),
        ([{"id": 2**63 - 1, "scale": 1}], "lora"),
    ],
)
def test_bad_scales_name_what_is_wrong(fake, tmp_path, lora, param):
    s = fake(allow=tmp_path)
    error_of(s.completion(prompt="a", lora=lora), 400, param)
    error_of(s.chat("a", lora=lora), 400, param)
    if isinstance(lora, list):
        error_of(s.post("/lora-adapters", lora), 400, param)
    assert {a["scale"] for a in s.get("/lora-adapters").json()} == {0}


def test_an_adapter_by_name_and_scales_contradict_each_other(fake):
    s = fake()
    error_of(s.completion(prompt="a", model="upper", lora=[FIRST]), 400, "lora")
    assert s.completion(prompt="a", model="fake", lora=[FIRST]).json()["choices"][0]["text"] == "A"
    assert s.completion(prompt="a", lora=[FIRST]).json()["choices"][0]["text"] == "A"


def test_scales_for_all_are_an_array(fake):
    s = fake()
    error_of(s.post("/lora-adapters", {}), 400, None, "invalid_json")
    assert httpx.put(s.url + "/lora-adapters").headers["allow"] == "GET, HEAD, POST, OPTIONS"


# ---------------------------------------------------------------- models


def test_pages_of_models_are_the_whole_list_in_order(fake):
    s = fake(more=10_000)
    start = time.monotonic()
    whole = s.get("/v1/models").json()
    assert time.monotonic() - start < SECOND
    assert len(whole["data"]) == 10_004 and not whole["has_more"]
    pages, after = [], None
    while True:
        page = s.get("/v1/models", params={"limit": 999, **({"after": after} if after else {})}).json()
        assert len(page["data"]) == 999 or not page["has_more"]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        pages += page["data"]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert pages == whole["data"]
    last = s.get("/v1/models", params={"after": after}).json()
    assert (last["data"], last["first_id"], last["last_id"], last["has_more"]) == ([], None, None, False)
    assert s.get("/v1/models/more/9999").json()["id"] == "more/9999"


@pytest.mark.parametrize(
    "query, param",
    [("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=1e3", "limit"), ("limit=+1", "limit"),
     ("limit=99999999999999999999", "limit"), ("limit=%00", "limit"), ("after=no-such", "after"), ("after=%ff%fe", "after")],
)
def test_a_bad_page_names_its_parameter(fake, query, param):
    error_of(fake().get("/v1/models?" + query), 400, param)


# ---------------------------------------------------------------- slots and queue


def test_slots_and_queue_show_who_runs_and_who_waits(fake):
    s = fake(slots=2, queue=8, ctx=10_000_000)
    idle = s.get("/slots").json()
    assert [(i["id"], i["id_task"], i["is_processing"], i["state"]) for i in idle] == [(0, -1, False, "idle"), (1, -1, False, "idle")]
    assert s.get("/slots?fail_on_no_slot=1").status_code == 200
    with s.connect() as busy:
        busy.sendall(request_bytes(TEXT, {**ENDLESS, "n": 5, "model": "upper"}))
        s.wait_busy(5)
        slots, queue = s.get("/slots").json(), s.get("/queue").json()
        assert [i["adapter"] for i in slots] == ["upper"] * 2 and all(i["is_processing"] for i in slots)
        assert all(i["next_token"][0]["n_decoded"] + i["next_token"][0]["n_remain"] == 1_000_000 for i in slots)
        assert [(i["state"], i["adapter"]) for i in queue] == [("queued", "upper")] * 3
        full = s.get("/slots?fail_on_no_slot=1")
        error_of(full, 503, None, "no_slot_available")
        assert full.headers["retry-after"]
    s.wait_idle(SECOND)
    assert s.get("/queue").json() == []


@pytest.mark.long
def test_slots_of_the_engine_are_each_ones_own(tiny, folder):
    s = tiny("--slots", 3, "--adapters", folder / "allowed", "--ctx-size", 4096)
    s.completion(prompt="Hello", model="one", max_tokens=1)  # in memory from here on
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        long = {"prompt": "Hello", "max_tokens": 1500, "ignore_eos": True}
        answers = [pool.submit(s.completion, **long, **({"model": "one"} if i % 2 else {})) for i in range(16)]
        seen, both = set(), 0
        while not all(a.done() for a in answers):
            slots = s.get("/slots").json()
            assert [i["id"] for i in slots] == [0, 1, 2]
            tasks = [i["id_task"] for i in slots if i["is_processing"]]
            assert len(tasks) == len(set(tasks))
            seen |= {(i["id_task"], i["id"], i["adapter"]) for i in slots if i["is_processing"]}
            both += bool(s.get("/queue").json()) and len(tasks) == 3
    assert {a.result().status_code for a in answers} == {200}
    assert len({task for task, _, _ in seen}) == len(seen)  # nobody changed slots
    assert {adapter for _, _, adapter in seen} == {None, "one"} and both


# ---------------------------------------------------------------- metrics


def test_metrics_count_what_happened(tiny, folder):
    s = tiny("--adapters", folder / "allowed", "--slots", 4)
    before = metrics(s)
    for _ in range(3):
        assert s.completion(prompt="Hello", model="one", max_tokens=5, ignore_eos=True).status_code == 200
    assert s.completion(prompt="Hello", max_tokens=2, ignore_eos=True).status_code == 200
    after = metrics(s)

    def grew(name, **labels):
        key = (name, *sorted(labels.items()))
        return after[key] - before.get(key, 0)

    base = s.get("/v1/models").json()["data"][0]["id"]
    assert grew("edgelora_requests_submitted_total") == grew("edgelora_requests_total", result="done") == 4
    assert grew("edgelora_generated_tokens_total") == 17
    assert (grew("edgelora_adapter_misses_total"), grew("edgelora_adapter_hits_total")) == (1, 2)
    assert grew("edgelora_adapter_loads_total", result="done") == grew("edgelora_adapter_load_seconds_count") == 1
    assert grew("edgelora_adapter_load_seconds_bucket", le="+Inf") == 1
    assert grew("edgelora_first_token_seconds_count") == grew("edgelora_request_seconds_count") == 4
    for adapter, n, tokens in (("one", 3, 15), (base, 1, 2), ("other", 0, 0)):
        assert grew("edgelora_adapter_requests_total", adapter=adapter) == n
        assert grew("edgelora_adapter_generated_tokens_total", adapter=adapter) == tokens
        assert grew("edgelora_adapter_request_seconds_count", adapter=adapter) == n
    assert (after[("edgelora_adapters",)], after[("edgelora_adapters_resident",)]) == (2, 1)
    blocks = {key[1][1]: value for key, value in after.items() if key[0] == "edgelora_pool_blocks"}
    assert set(blocks) == {"kv", "adapters_used", "adapters_idle", "free"}
    assert blocks["adapters_idle"] > 0 and blocks["free"] > 0
    assert after[("process_resident_memory_bytes",)] > 1 << 20


def test_metrics_tell_what_the_prefix_cache_saved(tiny):
    s = tiny()
    cached = []
    for _ in range(2):
        answer = s.completion(prompt="abcdefgh" * 6, max_tokens=1)
        assert answer.status_code == 200
        cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
    found = metrics(s)
    assert cached[0] == 0 and cached[1] >= 16 and found[("edgelora_cached_tokens_total",)] == cached[1]
    assert found[("edgelora_kv_pages_cached",)] >= cached[1] // 16 and found[("edgelora_kv_pages_used",)] == 0


@pytest.mark.long
def test_series_by_adapter_are_bounded_and_their_sum_is_right(fake):
    s = fake(more=200, step_us=0, slots=16)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in pool.map(lambda i: s.completion(prompt="a", model=f"more/{i % 200}", max_tokens=1).status_code, range(400)):
            assert done == 200
        before = metrics(s)
        for done in pool.map(lambda i: s.completion(prompt="a", model="more/199", max_tokens=1).status_code, range(30)):
            assert done == 200
    after = metrics(s)
    for found, total in ((before, 400), (after, 430)):
        series = {key[1][1]: value for key, value in found.items() if key[0] == "edgelora_adapter_requests_total"}
        assert len(series) == 33 and sum(series.values()) == total
    # Much used of late, so it has its own series, which began at zero.
    key = ("edgelora_adapter_requests_total", ("adapter", "more/199"))
    assert key not in before and 0 < after[key] < 32
    other = ("edgelora_adapter_requests_total", ("adapter", "other"))
    assert after[other] >= before[other]


def test_a_models_name_cannot_break_a_line_of_metrics(tiny, folder):
    s = tiny("--model-name", 'a"b\\c{}é', "--adapters", folder / "allowed")
    assert ("edgelora_info", ("isa", "x"),)[0] in {key[0] for key in metrics(s)}
    assert s.completion(prompt="Hello", max_tokens=1).status_code == 200
    assert metrics(s)[("edgelora_adapter_requests_total", ("adapter", 'a"b\\c{}é'))] == 1


# ---------------------------------------------------------------- the log


def test_the_verbose_log_tells_a_requests_story(tiny, folder):
    s = tiny("--adapters", folder / "allowed", "--verbose")
    answer = s.completion(prompt="Hello", model="one", max_tokens=3, ignore_eos=True)
    request_id = answer.headers["x-request-id"]
    deadline = time.monotonic() + SECOND
    while not any(request_id in line and "POST" in line for line in s.log) and time.monotonic() < deadline:
        time.sleep(0.01)
    story = "\n".join(s.log)
    number = re.search(rf"{request_id}: submitted as request (\d+) to one", story).group(1)
    assert re.search(r"adapter one: loaded in [\d.]+ ms", story)
    assert re.search(rf"request {number}: one in slot 0 after [\d.]+ ms, \d+ prompt tokens, 3 more at most", story)
    assert re.search(rf"request {number}: length after 3 tokens; waited [\d.]+ ms", story)
    assert re.search(rf"POST /v1/completions 200 .* {request_id}", story)
