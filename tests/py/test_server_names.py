"""What callers may call things: paths, the base's names, adapters' numbers."""

import re
import shlex
import shutil

import httpx
import pytest
from conftest import BINARY, MODEL, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
TEXT = "/v1/completions"


@pytest.fixture
def serve(tmp_path):
    """Starts the program: serve(model, "--option", ...); in a cache of its own."""
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    started = []

    def start(*args):
        started.append(Server(["env", f"XDG_CACHE_HOME={tmp_path / 'cache'}", BINARY, "serve", *map(str, args), "--port", "0"]))
        return started[-1]

    yield start
    assert [s.stop() for s in started] == [0] * len(started), started[-1].log[-20:]


def models(s, **kwargs):
    return {m["id"]: m for m in s.get("/v1/models", **kwargs).json()["data"]}


def status_of(response, status, code):
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code
    return response.json()["error"]["message"]


# ------------------------------------------------------------------- paths


def test_paths_are_found_with_and_without_the_version_and_with_slashes_at_the_end(fake):
    s = fake()
    ask = {"prompt": "abc", "max_tokens": 3}
    for path in ("/v1/completions", "/v1/completions/", "/v1/completions//"):
        assert s.post(path, ask).json()["choices"][0]["text"] == "abc", path
    chat = {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 3}
    for path in ("/v1/chat/completions", "/chat/completions", "/chat/completions/"):
        assert s.post(path, chat).json()["object"] == "chat.completion", path
    for path in ("/v1/models", "/models", "/models/", "/v1/models/"):
        assert s.get(path).json()["data"][0]["id"] == "fake", path
    for path in ("/v1/models/upper", "/models/upper"):
        assert s.get(path).json()["id"] == "upper", path
    for path in ("/v1/adapters/upper", "/adapters/upper"):
        assert s.get(path).json()["name"] == "upper", path
    for path in ("/health", "/v1/health", "/health/", "/v1/metrics", "/v1/lora-adapters"):
        assert s.get(path).status_code == 200 and httpx.head(s.url + path).status_code == 200, path
    for path in ("/v1", "/v1/", "/v1models", "/models/no", "/" + "x" * 3000):
        assert s.get(path).status_code == 404, path


def test_headers_beyond_the_limit_are_refused_in_json(fake):
    s = fake()
    assert s.get("/health", headers={"X": "a" * 23000}).status_code == 200
    assert "24 KiB" in status_of(s.get("/health", headers={"X": "a" * 25000}), 431, "headers_too_large")


# ------------------------------------------------------------------- names


def test_the_base_is_called_as_its_file(serve, tmp_path):
    shutil.copy(TINY, tmp_path / "My model 7.Q8_0.gguf")
    s = serve("-m", tmp_path / "My model 7.Q8_0.gguf")
    assert list(models(s)) == ["My model 7.Q8_0"]
    assert s.completion(prompt="a", max_tokens=1, model="My model 7.Q8_0").json()["model"] == "My model 7.Q8_0"


def test_a_file_that_is_called_by_a_number_is_called_by_its_own_name(serve, tmp_path):
    """Stores of models call files by their hash."""
    shutil.copy(TINY, tmp_path / "sha256-0123456789abcdef")
    (name,) = models(serve("-m", tmp_path / "sha256-0123456789abcdef"))
    assert name == "tiny q8_0"


def test_aliases_of_the_base_are_names_of_it(serve, tmp_path):
    shutil.copytree(PEFT, tmp_path / "adapters" / "gpt-4o")
    keys = tmp_path / "keys"
    keys.write_text("sk-all-all-all-all\nsk-one-one-one-one base,gpt-4o\nsk-two-two-two-two gpt-4o\n")
    keys.chmod(0o600)
    s = serve("-m", TINY, "--model-name", "base", "--alias", "gpt-3.5", "--alias", "gpt-4o", "--adapters", tmp_path / "adapters", "--api-keys", keys)

    def ask(key, model, **body):
        return s.post(TEXT, {"prompt": "a", "max_tokens": 1, "model": model, **body}, headers={"Authorization": f"Bearer {key}"})

    assert models(s, headers={"Authorization": "Bearer sk-all-all-all-all"})["base"]["aliases"] == ["gpt-3.5", "gpt-4o"]
    assert ask("sk-all-all-all-all", "gpt-3.5").json()["model"] == "base"
    assert ask("sk-one-one-one-one", "gpt-3.5", lora=[]).json()["model"] == "base"
    assert s.get("/v1/models/gpt-3.5", headers={"Authorization": "Bearer sk-one-one-one-one"}).json()["id"] == "base"
    # An adapter's name comes first; an alias is allowed by what it means.
    assert ask("sk-two-two-two-two", "gpt-4o").json()["model"] == "gpt-4o"
    told = status_of(ask("sk-two-two-two-two", "gpt-3.5"), 404, "model_not_found")
    assert told == status_of(ask("sk-two-two-two-two", "nothing"), 404, "model_not_found").replace("nothing", "gpt-3.5")


def test_the_example_of_keys_in_the_documentation_works_as_printed(tmp_path):
    """docs/operations/keys.md: the file of keys, the command, and what the key may name."""
    text = (ROOT / "docs" / "operations" / "keys.md").read_text()
    example = re.search(r"```sh\n(.*?)```", text, re.S).group(1).splitlines()
    assert example[0] == "cat keys"
    (tmp_path / "keys").write_text("".join(line[2:] + "\n" for line in example if line.startswith("# ")))
    (tmp_path / "keys").chmod(0o600)
    command = shlex.split(next(line for line in example if line.startswith("edgelora serve")))
    assert command[-2:] == ["--api-keys", "keys"]
    cache = tmp_path / "cache" / "edgelora" / "models"
    cache.mkdir(parents=True)
    (cache / "SmolLM2-135M-Instruct.Q4_1.gguf").symlink_to(MODEL)
    (tmp_path / "adapters").symlink_to(ROOT / "adapters")
    s = Server(["env", "-C", tmp_path, f"XDG_CACHE_HOME={tmp_path / 'cache'}", BINARY, *command[1:], "--port", "0"])
    key = re.search(r"Authorization: Bearer (\S+?)'", "\n".join(example)).group(1)
    bearer = {"Authorization": f"Bearer {key}"}
    try:
        assert list(models(s, headers=bearer)) == ["SmolLM2-135M-Instruct"]
        assert s.post(TEXT, {"prompt": "a", "max_tokens": 1, "model": "SmolLM2-135M-Instruct"}, headers=bearer).status_code == 200
        assert "sql" in models(s, headers={"Authorization": "Bearer sk-operator"})
    finally:
        assert s.stop() == 0


# ------------------------------------------------------------------- numbers


def test_adapters_are_numbered_from_0_as_llama_server_has_them(serve):
    s = serve("-m", TINY, "--adapter", f"one={PEFT}", "--adapter", f"two={PEFT}")
    assert [(a["id"], a["name"]) for a in s.get("/lora-adapters").json()] == [(0, "one"), (1, "two")]
    by_number = s.completion(prompt="a", max_tokens=4, temperature=0, logprobs=1, lora=[{"id": 0, "scale": 1}]).json()["choices"]
    assert by_number == s.completion(prompt="a", max_tokens=4, temperature=0, logprobs=1, model="one").json()["choices"]
    assert "id 2" in s.completion(prompt="a", lora=[{"id": 2, "scale": 1}]).json()["error"]["message"]


def test_scales_for_all_can_be_set_wherever_there_are_adapters_unless_they_are_locked(serve):
    s = serve("-m", TINY, "--adapter", f"one={PEFT}")
    assert s.post("/lora-adapters", [{"id": 0, "scale": 0.5}]).json() == {"success": True}
    assert s.get("/lora-adapters").json()[0]["scale"] == 0.5
    locked = serve("-m", TINY, "--adapter", f"one={PEFT}", "--lock-adapters")
    status_of(locked.post("/lora-adapters", [{"id": 0, "scale": 0.5}]), 403, "adapters_locked")
    assert locked.get("/lora-adapters").json()[0]["scale"] == 0
