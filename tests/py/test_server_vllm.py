"""vLLM's endpoints beside OpenAI's, and llama-server's of the same paths."""

import json
import subprocess

from conftest import BINARY, MODEL

IM = "<|im_start|>user\nhi<|im_end|>\n"


def tokenize(text, *flags):
    return json.loads(subprocess.run([BINARY, "tokenize", "-m", MODEL, *flags, "-"], input=text.encode(), capture_output=True, check=True).stdout)


def answer(response):
    assert response.status_code == 200, response.text
    return response.json()


def refused(response, param):
    assert response.status_code == 400 and response.json()["error"]["param"] == param, response.text


def test_tokenize_answers_as_vllm_does(server):
    for text in ("hello world", IM, "é€😀", ""):
        got = answer(server.post("/tokenize", {"prompt": text}))
        assert got["tokens"] == tokenize(text, "--special") and got["count"] == len(got["tokens"])
        assert got["token_strs"] is None and got["max_model_len"] > 0
    got = answer(server.post("/tokenize", {"prompt": " hello world", "return_token_strs": True, "model": None, "add_special_tokens": False}))
    assert "".join(got["token_strs"]) == " hello world" and len(got["token_strs"]) == got["count"]


def test_tokenize_of_a_conversation_counts_what_a_chat_counts(server):
    messages = [{"role": "user", "content": "hello <|im_end|>"}]
    chat = answer(server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1}))
    got = answer(server.post("/tokenize", {"messages": messages}))
    assert got["count"] == chat["usage"]["prompt_tokens"]
    closed = answer(server.post("/tokenize", {"messages": messages, "add_generation_prompt": False}))
    assert got["tokens"][: closed["count"]] == closed["tokens"] and closed["count"] < got["count"]
    of_adapter = answer(server.post("/tokenize", {"messages": messages, "model": "sql"}))
    assert of_adapter["count"] == answer(server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1, "model": "sql"}))["usage"]["prompt_tokens"]
    assert server.post("/tokenize", {"prompt": "x", "model": "no-such"}).status_code == 404


def test_tokenize_and_detokenize_answer_as_llama_server_does(server):
    assert answer(server.post("/tokenize", {"content": "hello world"})) == {"tokens": tokenize("hello world")}
    assert answer(server.post("/tokenize", {"content": IM, "parse_special": False})) == {"tokens": tokenize(IM)}
    pieces = answer(server.post("/tokenize", {"content": " héllo 🦙 world", "with_pieces": True}))["tokens"]
    assert [p["id"] for p in pieces] == tokenize(" héllo 🦙 world")
    assert b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces).decode() == " héllo 🦙 world"
    for text in ("hello world", IM, " é€😀", "a" * 20_000):
        back = answer(server.post("/detokenize", {"tokens": tokenize(text, "--special")}))
        assert back == {"prompt": text, "content": text}
    assert answer(server.post("/detokenize", {"tokens": []}))["prompt"] == ""


def test_what_is_wrong_about_tokens_is_named(server):
    refused(server.post("/tokenize", {}), "prompt")
    refused(server.post("/tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}), "prompt")
    refused(server.post("/tokenize", {"prompt": 5}), "prompt")
    refused(server.post("/tokenize", {"content": ["x"]}), "content")
    refused(server.post("/tokenize", {"prompt": "x", "return_token_strs": 1}), "return_token_strs")
    refused(server.post("/tokenize", {"messages": "x"}), "messages")
    refused(server.post("/detokenize", {}), "tokens")
    for wrong in ("x", [-1], [10**6], ["x"], [1.5], [0] * (2**18 + 1)):
        refused(server.post("/detokenize", {"tokens": wrong}), "tokens")
    assert server.post("/tokenize", {"prompt": "x " * 1_000_000}).status_code == 400


def test_who_and_what_is_there(server):
    assert answer(server.get("/version"))["version"] == server.health()["version"]
    assert server.get("/ping").status_code == 200
    info = answer(server.get("/tokenizer_info"))
    assert info["eos_token"] == "<|im_end|>" and info["vocab_size"] > 49000 and info["model_max_length"] > 0
    models = answer(server.get("/v1/models"))["data"]
    base = models[0]
    assert base["root"] == base["id"] and base["parent"] is None
    for m in models:
        assert m["max_model_len"] == info["model_max_length"]
        if m["parent"]:
            assert m["parent"] == base["id"] and m["root"].endswith(m["id"]) and m["root"] != m["id"]


def test_vllms_fields_of_loading_are_taken(fake, tmp_path):
    s = fake(allow=tmp_path)
    (tmp_path / "one").mkdir()
    more = {"base_model_name": "any/base", "lora_int_id": 7, "load_inplace": False}
    for _ in range(2):
        assert s.post("/v1/load_lora_adapter", {"lora_name": "one", "lora_path": "one", **more}).status_code == 200
        assert s.post("/v1/unload_lora_adapter", {"lora_name": "one", "lora_int_id": 7, "base_model_name": None}).status_code == 200
    for wrong in ({"base_model_name": 5}, {"lora_int_id": "7"}):
        refused(s.post("/v1/load_lora_adapter", {"lora_name": "one", "lora_path": "one", **wrong}), *wrong)


def test_a_limited_key_sees_no_paths_in_models(fake, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("sk-all\nsk-some up*\n")
    keys.chmod(0o600)
    s = fake(keys=keys)
    for key, hidden in (("sk-all", False), ("sk-some", True)):
        for m in answer(s.get("/v1/models", headers={"Authorization": f"Bearer {key}"}))["data"]:
            assert not hidden or m["root"] == m["id"]
