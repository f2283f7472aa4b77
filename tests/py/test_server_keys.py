"""API keys: who is let in, and what a key that is limited to some adapters does not see."""

import os
import subprocess

import httpx
import openai
import pytest
from conftest import BINARY, FAKE, SECOND, read_all, request_bytes
from test_server_adapters import LORA, TINY, error_of, metrics

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
    return fake(router=1, more=3, keys=path, allow=tmp_path, cors="http://page.example")


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
    assert answer.status_code == 204 and answer.headers["access-control-allow-headers"] == "authorization"
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
        (b"one\none sql\n", "line 2: the key is there twice"),
        (b"one a,,b\n", "line 1: a pattern is empty"),
        (b"one ,\n", "line 1: a pattern is empty"),
        (b"one a,\n", "line 1: a pattern is empty"),
        (b"one " + b"x" * 256 + b"\n", "line 1: a pattern is longer than 255"),
        (b"one a\x07b\n", "line 1: a pattern has a control"),
        (b"one " + b",".join([b"a"] * 257), "line 1: there are more than 256 patterns"),
        (b"".join(b"k%d\n" % i for i in range(4097)), "line 4097: there are more than 4096 keys"),
        (b"one\0two\n", "NUL"),
        (b"#" * (17 << 20), "larger than 16777216 bytes"),
    ],
    ids=lambda v: repr(v[:20]),
)
def test_a_bad_file_says_where_and_tells_no_key(tmp_path, text, says):
    path = tmp_path / "keys"
    path.write_bytes(text)
    said = start(path)
    assert says in said and str(path) in said
    assert "one" not in said.replace("no key", "").replace("None", "") or says == "no key"


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
    from conftest import Server

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
