"""API keys: who is let in, what a key that is limited to some adapters does not see, and what no key learns of another.

docs/operations/security.md names the promises that these tests check."""

import json
import re
import shutil
import subprocess
import time

import httpx
import openai
import pytest
from conftest import BINARY, FAKE, SECOND, Server, read_all
from test_server_adapters import LORA, TINY, error_of

TEXT, CHAT, ROUTE = "/v1/completions", "/v1/chat/completions", "/v1/route"
KEYS = """# operator
sk-all
sk-more   more/*, upper
\tsk-base fake

sk-none gone
sk-both more/1*,fake,more/*
"""


@pytest.fixture
def keyed(fake, tmp_path):
    path = tmp_path / "keys"
    path.write_text(KEYS)
    path.chmod(0o600)
    s = fake(router=1, more=3, keys=path, allow=tmp_path, cors="http://page.example")
    s.key = "sk-all"
    return s


def bearer(key):
    return {"headers": {"Authorization": f"Bearer {key}"}}


def post(s, key, path, body):
    return s.post(path, body, **bearer(key))


def ids(s, key, **params):
    return [m["id"] for m in s.get("/v1/models", params=params, **bearer(key)).json()["data"]]


# ---------------------------------------------------------------- who is let in


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer wrong", "Bearer sk-al", "Bearer sk-all2", "Basic sk-all", "sk-all", "Bearer sk-all sk-all",
     "Bearer SK-ALL", "Bearer " + "x" * 255, "Bearer " + "x" * 10_000, "Bearer #", "Bearer more/*"],
)
def test_without_a_key_of_ours_it_is_a_401(keyed, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answers = [keyed.get(path, headers=headers) for path in ("/v1/models", "/v1/models/upper", "/slots", "/queue", "/metrics", "/lora-adapters", "/nowhere")]
    answers += [keyed.post(path, {"prompt": "a"}, headers=headers)
                for path in (TEXT, CHAT, ROUTE, "/lora-adapters", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/rescan_lora_adapters")]
    for answer in answers:
        message = error_of(answer, 401, None, "invalid_api_key")
        assert "sk-" not in message and answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_openais_client_sends_its_key(keyed):
    with openai.OpenAI(base_url=keyed.url + "/v1", api_key="sk-all", max_retries=0) as client:
        assert client.completions.create(model="upper", prompt="a").choices[0].text == "A"
    with openai.OpenAI(base_url=keyed.url + "/v1", api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            client.models.list()


def test_whoever_watches_the_server_needs_none(keyed):
    assert keyed.health()["status"] == "ok"


def test_the_scheme_may_be_written_in_any_case(keyed):
    assert keyed.get("/v1/models", headers={"Authorization": "bearer   sk-all"}).status_code == 200


def test_a_browser_may_ask_what_it_may_ask(keyed):
    answer = httpx.options(keyed.url + TEXT, headers={"Origin": "http://page.example", "Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-headers"] == "authorization"
    answer = keyed.post(TEXT, {"prompt": "a"}, headers={"Origin": "http://page.example", **bearer("sk-all")["headers"]})
    assert "x-edgelora-adapter" in answer.headers["access-control-expose-headers"]


def test_a_body_of_a_stranger_is_not_kept(keyed):
    """More than all bodies together may have: it is dropped as it comes."""
    for _ in range(3):
        error_of(keyed.post(TEXT, b"x" * (50 << 20)), 401)
    with keyed.connect() as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert read_all(s).startswith(b"HTTP/1.1 401")
    assert post(keyed, "sk-all", TEXT, {"prompt": "a"}).status_code == 200


def test_keys_are_never_in_the_log(keyed):
    post(keyed, "sk-all", TEXT, {"prompt": "a"})
    post(keyed, "sk-wrong", TEXT, {"prompt": "a"})
    keyed.wait_idle(SECOND)
    assert any("401" in line for line in keyed.log)
    assert not any("sk-" in line for line in keyed.log), keyed.log


# ---------------------------------------------------------------- what a key may have


def test_a_limited_key_sees_its_models_alone(keyed):
    assert ids(keyed, "sk-all") == ["fake", "auto", "upper", "slow", "fail", "more/0", "more/1", "more/2"]
    assert ids(keyed, "sk-more") == ["auto", "upper", "more/0", "more/1", "more/2"]
    assert ids(keyed, "sk-base") == ["fake", "auto"]
    assert ids(keyed, "sk-none") == ["auto"]
    assert ids(keyed, "sk-more", limit=2, after="upper") == ["more/0", "more/1"]
    error_of(keyed.get("/v1/models", params={"after": "slow"}, **bearer("sk-more")), 400, "after")
    for name, status in (("upper", 200), ("more/2", 200), ("auto", 200), ("slow", 404), ("fake", 404), ("more", 404)):
        assert keyed.get(f"/v1/models/{name}", **bearer("sk-more")).status_code == status, name


def test_what_a_key_may_not_name_is_not_there(keyed):
    gone = error_of(post(keyed, "sk-more", TEXT, {"prompt": "a", "model": "gone"}), 404, "model", "model_not_found")
    for key, model in (("sk-more", "slow"), ("sk-more", "fake"), ("sk-base", "upper"), ("sk-none", "fake")):
        for path, body in ((TEXT, {"prompt": "a"}), (CHAT, {"messages": [{"role": "user", "content": "a"}]})):
            assert error_of(post(keyed, key, path, {**body, "model": model}), 404, "model", "model_not_found") == gone.replace("gone", model)
    # Who names none gets the base, if that is the key's.
    error_of(post(keyed, "sk-more", TEXT, {"prompt": "a"}), 404, "model", "model_not_found")
    assert post(keyed, "sk-base", TEXT, {"prompt": "a"}).status_code == 200
    assert post(keyed, "sk-more", TEXT, {"prompt": "a", "model": "upper"}).json()["choices"][0]["text"] == "A"


def test_adapters_by_number_are_the_keys_too(keyed):
    by_name = {a["name"]: a["id"] for a in keyed.get("/lora-adapters", **bearer("sk-all")).json()}

    def ask(key, *names):
        return post(keyed, key, TEXT, {"prompt": "a", "model": "fake", "lora": [{"id": by_name[n], "scale": 1} for n in names]})

    assert ask("sk-all", "upper").status_code == ask("sk-both", "more/1", "more/2").status_code == 200
    missing = error_of(post(keyed, "sk-both", TEXT, {"prompt": "a", "lora": [{"id": 999, "scale": 1}]}), 400, "lora")
    assert error_of(ask("sk-both", "more/1", "upper"), 400, "lora") == missing.replace("999", str(by_name["upper"]))


@pytest.mark.parametrize(
    "key, prompt, candidates, chosen",
    [
        ("sk-all", "upper slow", None, "upper"),
        ("sk-more", "slow more/1", None, "more/1"),
        ("sk-more", "slow upper", ["slow", "upper"], "upper"),
        ("sk-more", "slow upper more/1", ["more/*"], "more/1"),
        ("sk-more", "upper more/1", ["more/1*"], "more/1"),
        ("sk-more", "upper", ["*"], "upper"),
        ("sk-more", "more/2 upper", ["up*", "upper", "u*"], "upper"),
        ("sk-base", "upper", None, "fake"),
        ("sk-both", "upper more/2 more/1", ["more/2", "more/1"], "more/2"),
    ],
)
def test_auto_chooses_among_what_the_key_allows(keyed, key, prompt, candidates, chosen):
    body = {"prompt": prompt, **({"edgelora": {"candidates": candidates}} if candidates else {})}
    answer = post(keyed, key, ROUTE, {**body, "top_n": 100}).json()
    allowed = set(ids(keyed, key)) - {"auto"}
    assert answer["adapter"] == chosen and {c["name"] for c in answer["candidates"]} <= allowed
    assert post(keyed, key, TEXT, {**body, "model": "auto", "max_tokens": 1}).json()["model"] == chosen


def test_auto_with_nothing_to_choose_from_is_a_404(keyed):
    for key, candidates in (("sk-more", ["slow"]), ("sk-more", ["m"]), ("sk-base", ["more/*"]), ("sk-none", ["*"]), ("sk-none", ["gone"])):
        body = {"prompt": "a", "edgelora": {"candidates": candidates}}
        error_of(post(keyed, key, ROUTE, body), 404, "edgelora.candidates", "model_not_found")
        error_of(post(keyed, key, TEXT, {**body, "model": "auto", "n": 2}), 404, "edgelora.candidates", "model_not_found")


def test_what_is_everybodys_needs_a_key_without_limits(keyed):
    for path in ("/slots", "/queue", "/metrics", "/lora-adapters"):
        assert keyed.get(path, **bearer("sk-all")).status_code == 200
        error_of(keyed.get(path, **bearer("sk-more")), 403, None, "insufficient_permissions")
    for path, body in (("/v1/load_lora_adapter", {"lora_name": "more/x", "lora_path": "x"}), ("/v1/unload_lora_adapter", {"lora_name": "upper"}),
                       ("/v1/rescan_lora_adapters", {}), ("/lora-adapters", [])):
        error_of(post(keyed, "sk-more", path, body), 403, None, "insufficient_permissions")
        assert post(keyed, "sk-all", path, body).status_code != 403 or path == "/v1/unload_lora_adapter"
    assert "upper" in ids(keyed, "sk-more")


def test_an_adapter_called_auto_is_nothing_to_who_may_not_have_it(keyed, tmp_path):
    (tmp_path / "x").mkdir()
    assert post(keyed, "sk-all", "/v1/load_lora_adapter", {"lora_name": "auto", "lora_path": "x"}).status_code == 200
    ask = {"prompt": "go upper", "model": "auto", "max_tokens": 1}
    assert post(keyed, "sk-all", TEXT, ask).json()["model"] == "auto"
    assert post(keyed, "sk-more", TEXT, ask).json()["model"] == "upper"
    assert ids(keyed, "sk-all").count("auto") == ids(keyed, "sk-more").count("auto") == 1


# ---------------------------------------------------------------- what one key learns of another


@pytest.fixture
def shared(tmp_path):
    """Starts the program with the tiny model and adapters of a folder, some of them broken; two tenants, and who runs it."""
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    adapters, started = tmp_path / "adapters", []
    shutil.copytree(LORA / "tiny-peft", adapters / "common" / "one")
    for name in ("config", "weights", "half", "huge"):
        shutil.copytree(LORA / "tiny-peft", adapters / "acme" / name)
    edit(adapters / "acme" / "config" / "adapter_config.json", r=0)
    edit(adapters / "acme" / "huge" / "adapter_config.json", r=4096)
    (adapters / "acme" / "weights" / "adapter_model.safetensors").write_bytes(b"no tensors at all")
    whole = (adapters / "acme" / "half" / "adapter_model.safetensors").read_bytes()
    (adapters / "acme" / "half" / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    (adapters / "acme" / "file.gguf").write_bytes(b"GGUF" + b"\xff" * 60)
    keys = tmp_path / "keys"
    keys.write_text("operator-operator\nacme-acme-acme-acme acme/*,common/*,base\nrival-rival-rival common/*,base\n")
    keys.chmod(0o600)

    def start(*options):
        command = [BINARY, "serve", "-m", TINY, "--model-name", "base", "--adapters", adapters, "--api-keys", keys, "--port", "0", *options]
        started.append(Server(["env", f"XDG_CACHE_HOME={tmp_path / 'cache'}", *map(str, command)]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


OPERATOR, ACME, RIVAL = "operator-operator", "acme-acme-acme-acme", "rival-rival-rival"


@pytest.mark.parametrize(
    "name, says",
    [("acme/config", "r is 0, supported are 1 to 1024"), ("acme/huge", "r is 4096, supported are 1 to 1024"), ("acme/weights", "header"),
     ("acme/half", "truncated: tensor"), ("acme/file", "GGUF version")],
)
def test_a_broken_adapter_is_told_by_the_name_the_field_and_the_limit_and_by_its_path_to_the_operator_alone(shared, tmp_path, name, says):
    s = shared()
    for _ in range(2):  # the second time from what is remembered of the first
        for stream in (False, True):
            body = {"prompt": "a", "model": name, "max_tokens": 1, "stream": stream}
            told, whole = post(s, ACME, TEXT, body).text, post(s, OPERATOR, TEXT, body).text
            assert f"'{name}': " in told and says in told, told
            assert str(tmp_path) not in told and "/srv" not in told and "adapter_model" not in told and "acme/" in told
            assert str(tmp_path) in whole and says in whole, whole
    assert any(str(tmp_path) in line and says in line for line in s.log), s.log
    # Who may not name it is told what he is told of one that is not there.
    forbidden, gone = (error_of(post(s, RIVAL, TEXT, {"prompt": "a", "model": n}), 404, "model", "model_not_found") for n in (name, "gone"))
    assert forbidden == gone.replace("gone", name)


def spoil(folder, how):
    """A fault of each kind that an adapter's folder can have; how: its name."""
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if how == "no-config":
        config.unlink()
    elif how == "no-weights":
        weights.unlink()
    elif how == "weights-are-a-folder":
        weights.unlink()
        weights.mkdir()
    elif how == "weights-lead-nowhere":
        weights.unlink()
        weights.symlink_to(folder / "nothing")
    elif how == "weights-are-pickled":
        weights.rename(folder / "adapter_model.bin")
    elif how == "weights-are-empty":
        weights.write_bytes(b"")
    elif how == "weights-have-no-end":
        weights.write_bytes(weights.read_bytes()[:-5])
    elif how == "weights-are-others":
        weights.write_bytes(weights.read_bytes().replace(b"q_proj", b"x_proj"))
    elif how == "config-is-no-json":
        config.write_text("{")
    elif how == "config-is-a-list":
        config.write_text("[]")
    elif how == "preset-is-no-json":
        (folder / "edgelora.json").write_text("{")
    elif how == "preset-is-a-folder":
        (folder / "edgelora.json").mkdir()
    elif how == "preset-has-an-unknown-field":
        (folder / "edgelora.json").write_text('{"no": 1}')
    elif how == "preset-has-a-broken-template":
        (folder / "edgelora.json").write_text('{"chat_template": "{% if %}"}')
    elif how == "preset-has-a-template-that-fails":
        (folder / "edgelora.json").write_text('{"chat_template": "{{ raise_exception(1 / 0) }}"}')
    elif how == "gone":
        shutil.rmtree(folder)
    else:
        edit(config, **json.loads(how))


SPOILT = (
    "no-config no-weights weights-are-a-folder weights-lead-nowhere weights-are-pickled weights-are-empty weights-have-no-end weights-are-others config-is-no-json config-is-a-list "
    "preset-is-no-json preset-is-a-folder preset-has-an-unknown-field preset-has-a-broken-template preset-has-a-template-that-fails"
).split() + [json.dumps(c) for c in ({"r": "x"}, {"r": 10**30}, {"peft_type": "MICA"}, {"peft_type": 5}, {"target_modules": "("}, {"rank_pattern": {"q": 0}}, {"lora_alpha": []},
                                     {"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"use_dora": 7}, {"alora_invocation_tokens": [10**9]})]
LATE = ("no-weights", "no-config", "weights-are-empty", "preset-is-no-json", "gone")


def test_whatever_is_wrong_with_an_adapter_its_path_is_told_to_no_limited_key(shared, tmp_path):
    """At the start, and while the server runs; asked for in every way."""
    names = {f"acme/early{i}": how for i, how in enumerate(SPOILT)}
    late = {f"acme/late{i}": how for i, how in enumerate(LATE)}
    for name in (*names, *late):
        shutil.copytree(LORA / "tiny-peft", tmp_path / "adapters" / name)
    for name, how in names.items():
        spoil(tmp_path / "adapters" / name, how)
    s = shared()
    for name, how in late.items():
        spoil(tmp_path / "adapters" / name, how)
    failed = 0
    ids_of = {a["name"]: a["id"] for a in s.get("/lora-adapters", **bearer(OPERATOR)).json()}
    listed = s.get("/v1/adapters", **bearer(ACME)).text + s.get("/v1/models", **bearer(ACME)).text
    assert "acme/early3" in listed and str(tmp_path) not in listed
    for name, how in {**names, **late}.items():
        bodies = [(TEXT, {"prompt": "a"}), (TEXT, {"prompt": "a", "stream": True}), (CHAT, {"messages": [{"role": "user", "content": "a"}]}), ("/completion", {"prompt": "a"}),
                  ("/tokenize", {"messages": [{"role": "user", "content": "a"}]})]
        told = [post(s, ACME, path, {"model": name, "max_tokens": 1, **body}) for path, body in bodies]
        told += [s.get(f"/v1/{kind}/{name}", **bearer(ACME)) for kind in ("adapters", "models")]
        if name in ids_of:
            told.append(post(s, ACME, TEXT, {"prompt": "a", "max_tokens": 1, "lora": [{"id": ids_of[name], "scale": 0.5}]}))
        for answer in told:
            assert str(tmp_path) not in answer.text and "/adapters/" not in answer.text.replace("/v1/adapters/", ""), (how, answer.text)
            failed += answer.status_code >= 400
    assert failed > 2 * len(names)


def test_a_failure_in_the_middle_of_an_answer_names_no_path_to_a_limited_key(fake, tmp_path):
    (tmp_path / "keys").write_text("sk-all\nsk-fail fail,fake\n")
    s = fake(keys=tmp_path / "keys")
    ids_of = {a["name"]: a["id"] for a in s.get("/lora-adapters", **bearer("sk-all")).json()}
    asks = [("fail", {"model": "fail"}), ("combined", {"lora": [{"id": ids_of["fail"], "scale": 1}]})]
    for called, ask in asks:
        for stream in (False, True):
            body = {"prompt": "abcdefgh", "max_tokens": 8, "stream": stream, **ask}
            told, whole = post(s, "sk-fail", TEXT, body).text, post(s, "sk-all", TEXT, body).text
            assert f"'{called}': the fake engine fails here" in told and "/srv/fake" not in told
            assert "/srv/fake/fail.gguf: the fake engine fails here" in whole


def test_scales_that_the_operator_set_for_all_name_no_adapter_to_a_limited_key(shared):
    """Adapters of others, together above the limit: the key that asks for the base is not told whose they are."""
    s = shared()
    by_name = {a["name"]: a["id"] for a in s.get("/lora-adapters", **bearer(OPERATOR)).json()}
    for names, says in ((("acme/config",), "r is 0"), (("acme/config", "acme/half"), None)):
        scales = [{"id": by_name[n], "scale": 0.5} for n in names]
        assert s.post("/lora-adapters", scales, **bearer(OPERATOR)).status_code == 200
        told = post(s, RIVAL, TEXT, {"prompt": "a", "max_tokens": 1}).text
        assert "acme" not in told and "error" in told and (not says or f"'combined': {says}" in told), told


def cached(s, key, stream=False, **body):
    body = {"prompt": "abcdefgh" * 12, "max_tokens": 1, **body}
    if not stream:
        answer = post(s, key, TEXT, body).json()
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    text = post(s, key, TEXT, {**body, "stream": True, "stream_options": {"include_usage": True}}).text
    return json.loads(text.strip().split("\n\n")[-2][6:])["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_what_one_key_has_asked_no_other_finds_in_the_prefix_cache(shared):
    s = shared()
    for model in ("base", "common/one"):
        for key in (OPERATOR, ACME, RIVAL):
            assert cached(s, key, model=model) == 0, (model, key)
        for key in (OPERATOR, ACME, RIVAL):
            assert cached(s, key, model=model) >= 16 and cached(s, key, stream=True, model=model) >= 16
    # `n` choices of one request are one key's.
    assert post(s, RIVAL, TEXT, {"prompt": "hgfedcba" * 12, "max_tokens": 1, "n": 4, "model": "base"}).status_code == 200


def test_the_operator_may_let_keys_share_prefixes(shared):
    s = shared("--share-prefixes")
    assert [cached(s, key, model="common/one") >= 16 for key in (ACME, RIVAL, OPERATOR)] == [False, True, True]


def test_whether_a_forbidden_name_exists_shows_in_nothing(keyed):
    """Status, text and headers are those of a name that is not there; and so is the time, as far as a client can tell."""

    client = httpx.Client(base_url=keyed.url, **bearer("sk-more"))

    def ask(model):
        begin = time.perf_counter()
        answer = client.post(TEXT, json={"prompt": "a", "model": model})
        return time.perf_counter() - begin, answer

    none = ask("none")[1]
    took = {"slow": [], "snow": []}  # the first one is there
    for _ in range(60):
        for name, times in took.items():
            seconds, answer = ask(name)
            times.append(seconds)
            assert answer.status_code == 404 and answer.text.replace(name, "none") == none.text and set(answer.headers) == set(none.headers)
    assert min(took["slow"]) < 2 * min(took["snow"]) and min(took["snow"]) < 2 * min(took["slow"]), took
    for path in ("/v1/models/slow", "/v1/models/snow"):
        assert error_of(keyed.get(path, **bearer("sk-more")), 404, "model", "model_not_found").replace("slow", "snow") == error_of(
            keyed.get("/v1/models/snow", **bearer("sk-more")), 404, "model")
    after = [keyed.get("/v1/models", params={"after": n}, **bearer("sk-more")) for n in took]
    assert error_of(after[0], 400, "after").replace("slow", "snow") == error_of(after[1], 400, "after")


def test_a_folders_name_begins_no_line_of_the_log(shared, tmp_path):
    """A tenant who may write folders writes what the operator reads of them."""
    forged = "edgelora: adapter upper: removed by \x1b[31mroot\u009b1m"
    shutil.copytree(LORA / "tiny-peft", tmp_path / "adapters" / f"acme\n{forged}")
    s = shared()
    assert any("skipped" in line and "?edgelora: adapter upper: removed by ?[31mroot??1m" in line for line in s.log), s.log
    assert not any(line.startswith("edgelora: adapter upper") or "\x1b" in line or "\u009b" in line for line in s.log)


def test_ids_cannot_be_guessed_and_are_of_no_use_to_others(keyed):
    answers = [post(keyed, "sk-more", TEXT, {"prompt": "a", "model": "upper", "max_tokens": 1}) for _ in range(20)]
    ids_seen = [a.headers["x-request-id"] for a in answers]
    assert len(set(ids_seen)) == 20 and all(re.fullmatch("[0-9a-f]{24}", i) for i in ids_seen)
    assert [a.json()["id"] for a in answers] == [f"cmpl-{i}" for i in ids_seen]
    # 96 bits that do not count up: no two share a tail or a beginning of a third of them.
    assert len({i[:8] for i in ids_seen}) == len({i[-8:] for i in ids_seen}) == 20
    for path in (f"{TEXT}/{ids_seen[0]}", f"{TEXT}/cmpl-{ids_seen[0]}", f"{TEXT}/cmpl-{ids_seen[0]}/cancel"):
        assert keyed.get(path, **bearer("sk-base")).status_code == post(keyed, "sk-base", path, {}).status_code == 404


def test_health_tells_strangers_and_limited_keys_that_it_serves_and_no_figures(keyed):
    for headers in ({}, bearer("sk-more")["headers"], bearer("sk-wrong")["headers"]):
        assert keyed.get("/health", headers=headers).json() == {"status": "ok"}
        assert keyed.get("/ready", headers=headers).json() == {"ready": True}
    assert {"model", "slots_busy", "queued", "requests", "generated_tokens"} <= set(keyed.get("/health", **bearer("sk-all")).json())


def test_refused_callers_are_counted(keyed):
    for headers in ({}, bearer("sk-wrong")["headers"], {}):
        keyed.get("/v1/models", headers=headers)
    keyed.get("/health")
    text = keyed.get("/metrics", **bearer("sk-all")).text
    assert "\nedgelora_unauthorized_total 3\n" in text


def test_keys_that_can_be_guessed_are_warned_of(fake, tmp_path):
    path = tmp_path / "keys"
    for text, warned in (("x" * 16, False), ("# short\n" + "x" * 15 + "\n" + "y" * 16 + "\n", True)):
        path.write_text(text)
        path.chmod(0o600)
        said = [line for line in fake(keys=path).log if "can be guessed" in line]
        assert bool(said) == warned and (not warned or "1 keys" in said[0])


# ---------------------------------------------------------------- the file


def start(path):
    """What a server says that is to refuse these keys."""
    r = subprocess.run([FAKE, f"keys={path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert r.returncode == 1, r.stdout
    return r.stdout


@pytest.mark.skipif(not FAKE.exists(), reason="server_fake is not built")
@pytest.mark.parametrize(
    "text, says",
    [
        (b"", "no key"),
        (b"# nothing\n\n   \n", "no key"),
        (b"good\nx" + b"y" * 255 + b"\n", "line 2: the key is longer than 255"),
        (b"k\xc3\xa9y\n", "line 1: the key has characters"),
        (b"\x01\n", "line 1: the key has characters"),
        (b"sk-one\nsk-one sql\n", "line 2: the key is there twice"),
        (b"sk-one a,,b\n", "line 1: a pattern is empty"),
        (b"sk-one ,\n", "line 1: a pattern is empty"),
        (b"sk-one a,\n", "line 1: a pattern is empty"),
        (b"sk-one " + b"x" * 256 + b"\n", "line 1: a pattern is longer than 255"),
        (b"sk-one a\x07b\n", "line 1: a pattern has a control"),
        (b"sk-one " + b",".join([b"a"] * 257), "line 1: there are more than 256 patterns"),
        (b"".join(b"k%d\n" % i for i in range(4097)), "line 4097: there are more than 4096 keys"),
        (b"sk-one\0two\n", "NUL"),
        (b"#" * (17 << 20), "larger than 16777216 bytes"),
    ],
    ids=lambda v: repr(v[:20]),
)
def test_a_bad_file_says_where_and_tells_no_key(tmp_path, text, says):
    path = tmp_path / "keys"
    path.write_bytes(text)
    said = start(path)
    assert says in said and str(path) in said
    assert "sk-one" not in said


@pytest.mark.skipif(not FAKE.exists(), reason="server_fake is not built")
def test_a_file_that_cannot_be_read_or_never_ends_is_said(tmp_path):
    assert "No such file" in start(tmp_path / "none")
    assert "Is a directory" in start(tmp_path)
    assert "NUL" in start("/dev/zero") or "larger than" in start("/dev/zero")


def test_4096_keys_of_which_the_last_fits(fake, tmp_path):
    path = tmp_path / "keys"
    path.write_text("".join(f"key-{i}-{'x' * 200}  more/{i}\r\n" for i in range(4096)))
    path.chmod(0o600)
    s = fake(more=4096, keys=path)
    assert ids(s, f"key-4095-{'x' * 200}") == ["more/4095"]
    assert s.get("/v1/models", **bearer("key-4095-")).status_code == 401


def test_a_file_that_others_can_read_is_warned_of(fake, tmp_path):
    path = tmp_path / "keys"
    path.write_text("sk-all\n")
    for mode, warned in ((0o600, False), (0o644, True), (0o640, True)):
        path.chmod(mode)
        s = fake(keys=path)
        assert any("can be read by others" in line and str(path) in line for line in s.log) == warned


# ---------------------------------------------------------------- the program


def test_serve_takes_the_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("sk-all\nsk-one one\n")
    s = Server([BINARY, "serve", "-m", TINY, "--adapter", f"one={LORA / 'tiny.gguf'}", "--port", "0", "--api-keys", path, "--examples"])
    try:
        assert any("can be read by others" in line for line in s.log) == bool(path.stat().st_mode & 0o044)
        assert s.get("/v1/models").status_code == 401
        assert ids(s, "sk-one") == ["one"] and post(s, "sk-one", TEXT, {"prompt": "a", "model": "one", "max_tokens": 1}).status_code == 200
        assert any('-H "Authorization: Bearer $KEY"' in line for line in s.log)
    finally:
        assert s.stop() == 0
    r = subprocess.run([BINARY, "serve", "-m", TINY, "--port", "0", "--api-keys", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and "api keys" in r.stderr and "No such file" in r.stderr
