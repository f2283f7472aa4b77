"""llama-server's own API: /completion, /infill, /embedding, /tokenize, /detokenize, /apply-template, /props. What its clients send and read."""

import json

import httpx
import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
GREEDY = {"temperature": 0, "n_predict": 6}


@pytest.fixture(scope="module")
def llama():
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    s = Server([BINARY, "serve", "-m", TINY, "--model-name", "tiny", "--ctx-size", "128", "--slots", "2", "--adapter", f"one={PEFT}", "--port", "0"])
    yield s
    assert s.stop() == 0, s.log[-20:]


def ask(s, path="/completion", **body):
    response = s.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


def refused(s, status, kind, param=None, path="/completion", **body):
    response = s.post(path, body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["type"], error["param"]) == (status, kind, param), error
    return error["message"]


def events(s, **body):
    text = s.post("/completion", {**body, "stream": True}).text
    assert "[DONE]" not in text
    return [json.loads(line[6:]) for line in text.split("\n\n") if line]


def openai(s, prompt, **body):
    return s.completion(prompt=prompt, temperature=0, max_tokens=6, **body).json()


def test_a_completion_is_what_openais_is_with_what_llama_server_tells(llama):
    answer = ask(llama, prompt="Once upon", return_tokens=True, **GREEDY)
    theirs = openai(llama, "Once upon")
    assert answer["content"] == theirs["choices"][0]["text"]
    assert len(answer["tokens"]) == answer["tokens_predicted"] == 6
    assert ask(llama, "/detokenize", tokens=answer["tokens"])["content"] == answer["content"]
    assert answer["tokens_evaluated"] == theirs["usage"]["prompt_tokens"] and answer["prompt"] == "Once upon"
    assert answer["stop"] is True and answer["stop_type"] == "limit" and answer["stopping_word"] == "" and answer["truncated"] is False
    assert answer["has_new_line"] == ("\n" in answer["content"]) and answer["model"] == "tiny" and answer["index"] == 0
    settings = answer["generation_settings"]
    assert settings["temperature"] == 0 and settings["n_predict"] == 6 and settings["logit_bias"] == [] and settings["top_k"] == 40
    timings = answer["timings"]
    assert timings["predicted_n"] == 6 and timings["prompt_n"] + timings["cache_n"] == answer["tokens_evaluated"]
    assert timings["predicted_ms"] > 0 and timings["predicted_per_second"] > 0
    assert ask(llama, prompt="Once upon", **GREEDY)["tokens"] == []


def test_a_stream_says_the_same_a_token_at_a_time(llama):
    whole = ask(llama, prompt="Once upon", return_tokens=True, n_probs=2, **GREEDY)
    *parts, last = events(llama, prompt="Once upon", n_probs=2, **GREEDY)
    assert "".join(p["content"] for p in parts) == whole["content"]
    assert [t for p in parts for t in p["tokens"]] == whole["tokens"]
    assert [t for p in parts for t in p.get("completion_probabilities", [])] == whole["completion_probabilities"]
    assert all(p["stop"] is False for p in parts) and last["stop"] is True and last["content"] == "" and last["stop_type"] == "limit"
    assert last["generation_settings"]["stream"] is True and last["timings"]["predicted_n"] == 6
    assert [t["id"] for t in whole["completion_probabilities"]] == whole["tokens"]
    for t in whole["completion_probabilities"]:
        assert len(t["top_logprobs"]) == 2 and t["logprob"] == t["top_logprobs"][0]["logprob"] and t["token"] in (bytes(t["bytes"]).decode(errors="replace"), "".join(["bytes:", *(f"\\x{b:02x}" for b in t["bytes"])]))


def test_prompts_are_texts_tokens_both_in_one_or_several(llama):
    ids = ask(llama, "/tokenize", content="Once upon")["tokens"]
    one = ask(llama, prompt="Once upon", **GREEDY)["content"]
    assert ask(llama, prompt=ids, **GREEDY)["content"] == one
    assert ask(llama, prompt={"prompt_string": "Once upon"}, **GREEDY)["content"] == one
    assert ask(llama, prompt=[*ids[:1], ask(llama, "/detokenize", tokens=ids[1:])["content"]], **GREEDY)["content"] == one
    several = ask(llama, prompt=[ids, "Once upon", {"prompt_string": "Once upon"}], **GREEDY)
    assert [a["content"] for a in several] == [one] * 3 and [a["index"] for a in several] == [0, 1, 2]
    refused(llama, 400, "invalid_request_error", "prompt", prompt="")
    refused(llama, 400, "invalid_request_error", "prompt", prompt=[])
    refused(llama, 400, "invalid_request_error", "prompt", prompt=[1, [2]])
    refused(llama, 400, "invalid_request_error", "prompt", prompt=[10**9])
    refused(llama, 400, "invalid_request_error", "prompt", prompt={"prompt_string": "a", "multimodal_data": ["x"]})
    refused(llama, 400, "invalid_request_error", "prompt")


def test_what_does_not_fit_is_cut_off_and_said_so(llama):
    for n_predict in (-1, 100_000):
        answer = ask(llama, prompt="Once upon", n_predict=n_predict, ignore_eos=True)
        assert answer["truncated"] is True and answer["stop_type"] == "limit"
        assert answer["tokens_evaluated"] + answer["tokens_predicted"] == 128
        assert answer["generation_settings"]["n_predict"] == n_predict
        assert [b["bias"] for b in answer["generation_settings"]["logit_bias"]] == [None] * len(answer["generation_settings"]["logit_bias"]) != []
    assert "exceeds the available context size of 128 tokens" in refused(llama, 400, "exceed_context_size_error", "prompt", prompt="word " * 200)
    assert ask(llama, prompt="Once upon", n_predict=0)["content"] == ""


def test_a_stop_string_is_told(llama):
    text = ask(llama, prompt="Once upon", **GREEDY)["content"]
    answer = ask(llama, prompt="Once upon", stop=[text[2:4]], **GREEDY)
    assert answer["content"] == text[: text.index(text[2:4])] and answer["stop_type"] == "word" and answer["stopping_word"] == text[2:4]


def test_biases_are_pairs_or_an_object_of_tokens_or_texts(llama):
    first = ask(llama, prompt="Once upon", return_tokens=True, **GREEDY)["tokens"][0]
    text = ask(llama, "/detokenize", tokens=[first])["content"]
    answers = [ask(llama, prompt="Once upon", return_tokens=True, logit_bias=bias, **GREEDY)["tokens"]
               for bias in ([[first, False]], [[first, -100]], {str(first): -100}, {str(first): False})]
    assert answers[0][0] != first and answers == answers[:1] * 4
    tokens = ask(llama, "/tokenize", content=text)["tokens"]
    told = ask(llama, prompt="a", logit_bias=[[text, -1]], n_predict=0)["generation_settings"]["logit_bias"]
    assert told == [{"token": t, "bias": -1} for t in dict.fromkeys(tokens)]
    for bad in ([[first]], [[-1, 1]], [[10**9, 1]], [[first, 101]], [[first, "x"]], "x", {str(first): True}):
        refused(llama, 400, "invalid_request_error", "logit_bias", prompt="a", logit_bias=bad)


def test_of_an_answer_the_fields_that_are_asked_for_are_given(llama):
    answer = ask(llama, prompt="Once upon", response_fields=["content", "generation_settings/n_predict", "no/such"], **GREEDY)
    assert answer == {"content": ask(llama, prompt="Once upon", **GREEDY)["content"], "generation_settings/n_predict": 6}
    assert ask(llama, prompt=["a", "b"], response_fields=["index"], **GREEDY) == [{"index": 0}, {"index": 1}]


def test_samplers_that_are_not_here_pass_when_they_are_off(llama):
    off = {"typical_p": 1.0, "tfs_z": 1, "mirostat": 0, "mirostat_tau": 5, "dynatemp_range": 0, "xtc_probability": 0, "dry_multiplier": 0, "min_keep": 0,
           "id_slot": 1, "cache_prompt": False, "n_keep": 5, "t_max_predict_ms": 0, "top_n_sigma": -1}
    assert ask(llama, prompt="Once upon", **off, **GREEDY)["content"] == ask(llama, prompt="Once upon", **GREEDY)["content"]
    for name, value in (("mirostat", 2), ("typical_p", 0.9), ("post_sampling_probs", True)):
        refused(llama, 400, "invalid_request_error", name, prompt="a", **{name: value})


def test_adapters_apply_by_model_and_by_number(llama):
    plain, one = (ask(llama, prompt="Once upon", model=m, n_probs=3, **GREEDY)["completion_probabilities"] for m in ("tiny", "one"))
    assert plain != one == ask(llama, prompt="Once upon", lora=[{"id": 0, "scale": 1}], n_probs=3, **GREEDY)["completion_probabilities"]


def test_texts_become_tokens_and_texts_again(llama):
    text = "Hello wörld, 媽 and 🤗 <|im_end|>"
    ids = ask(llama, "/tokenize", content=text)["tokens"]
    assert ask(llama, "/detokenize", tokens=ids)["content"] == text
    assert len(ask(llama, "/tokenize", content=text, parse_special=False)["tokens"]) > len(ids)
    pieces = ask(llama, "/tokenize", content=text, with_pieces=True)["tokens"]
    assert [p["id"] for p in pieces] == ids
    assert b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces).decode() == text
    chat = [{"role": "user", "content": "Hi"}]
    assert ask(llama, "/detokenize", tokens=ask(llama, "/tokenize", messages=chat)["tokens"])["content"] == ask(llama, "/apply-template", messages=chat)["prompt"]
    refused(llama, 400, "invalid_request_error", "messages", "/apply-template")


def test_a_conversation_longer_than_the_context_is_still_a_text(llama):
    text = ask(llama, "/apply-template", messages=[{"role": "user", "content": "word " * 500}])["prompt"]
    assert text.count("word ") + text.count("word<") >= 500
    refused(llama, 400, "exceed_context_size_error", "messages", "/apply-template", messages=[{"role": "user", "content": "0 " * 300_000}])


def test_infill_is_refused_with_the_reason_where_a_model_has_no_tokens_for_it(llama):
    ask_for = {"path": "/infill", "input_prefix": "a", "input_suffix": "b"}
    assert "has no prefix token" in refused(llama, 501, "not_supported_error", **ask_for)
    for extra in ({}, {"filename": "a"}, {"filename": 1, "text": "b"}, {"filename": "a\0b", "text": "b"}):
        refused(llama, 400, "invalid_request_error", "input_extra", **ask_for, input_extra=[extra])
    refused(llama, 400, "invalid_request_error", "input_suffix", path="/infill", input_prefix="a")


def test_props_tell_what_clients_look_for(llama):
    props = llama.get("/props").json()
    assert props["total_slots"] == 2 and props["model_alias"] == "tiny" and props["model_path"] == "tiny.gguf"
    assert props["default_generation_settings"]["n_ctx"] == 128
    assert abs(props["default_generation_settings"]["params"]["temperature"] - 0.8) < 1e-6
    assert props["modalities"] == {"vision": False, "audio": False} and props["eos_token"]
    assert httpx.head(llama.url + "/props").status_code == 200


def test_without_the_version_completions_are_llama_servers(llama):
    assert "content" in ask(llama, "/completions", prompt="Once upon", n_predict=1)
    assert "choices" in ask(llama, "/v1/completions", prompt="Once upon", max_tokens=1)


def test_vectors_come_in_llama_servers_form(llama):
    text = "Once upon a time"
    ids = ask(llama, "/tokenize", content=text, add_special=True)["tokens"]
    theirs = llama.post("/v1/embeddings", {"input": text}).json()["data"][0]["embedding"]
    for path in ("/embedding", "/embeddings"):
        for body in ({"content": text}, {"input": text}, {"content": [text]}, {"input": ids}, {"content": [ids]}, {"content": {"prompt_string": text}}, {"input": text, "content": "other"}):
            assert ask(llama, path, **body) == [{"index": 0, "embedding": [theirs]}], body
    several = ask(llama, "/embedding", content=[text, "Another", ids])
    assert [v["index"] for v in several] == [0, 1, 2]
    assert several[0]["embedding"] == several[2]["embedding"] == [theirs] != several[1]["embedding"]
    raw = ask(llama, "/embedding", content=text, embd_normalize=-1)[0]["embedding"][0]
    length = sum(x * x for x in raw) ** 0.5
    assert abs(length - 1) > 0.01 and all(abs(x / length - y) < 1e-5 for x, y in zip(raw, theirs, strict=True))
    assert ask(llama, "/embedding", content=text, model="one")[0]["embedding"] != [theirs]


def test_what_no_vectors_are_made_of_is_refused(llama):
    def bad(param, **body):
        return refused(llama, 400, "invalid_request_error", param, "/embedding", **body)
    bad("input")
    bad("content", content="")
    bad("content", content=[])
    bad("input", input=[[10**9]])
    bad("input", input={"prompt_string": "a", "multimodal_data": ["x"]})
    bad("embd_normalize", content="a", embd_normalize=1)
    bad("encoding_format", content="a", encoding_format="base64")
    assert "'content'" in refused(llama, 400, "exceed_context_size_error", "content", "/embedding", content="word " * 200)


def test_ranking_is_refused_with_the_reason(llama):
    for path in ("/rerank", "/v1/rerank", "/reranking", "/v1/reranking"):
        assert "not ranked here" in refused(llama, 501, "not_supported_error", path=path, query="a", documents=["b", "c"])


SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}


def test_a_completion_keeps_to_a_grammar_or_a_schema(llama):
    def content(**body):
        return ask(llama, prompt="Once upon", n_predict=60, temperature=1, **body)["content"]
    assert content(grammar='root ::= "yes" | "no"') in ("yes", "no")
    for body in ({"json_schema": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}}, {"response_format": {"type": "json_object", "schema": SCHEMA}}):
        assert json.loads(content(**body)) in ({"a": 1}, {"a": 2}), body
    parts = events(llama, prompt="Once upon", n_predict=60, grammar='root ::= "yes" | "no"')
    assert "".join(p["content"] for p in parts) in ("yes", "no") and "grammar" not in parts[-1]["generation_settings"]
    for path in ("/completion", "/infill"):
        refused(llama, 400, "invalid_request_error", "grammar", path, prompt="a", input_prefix="a", input_suffix="b", grammar='root ::= "a')
    refused(llama, 400, "invalid_request_error", "json_schema", prompt="a", json_schema={"type": "nothing"})
    assert llama.post("/completion", {"prompt": "a", "grammar": 'root ::= "a"', "json_schema": SCHEMA}).status_code == 400


def test_slots_and_models_have_llama_servers_members(llama):
    slots = llama.get("/slots").json()
    assert len(slots) == 2 and all(s["speculative"] is True and s["n_ctx"] == 128 and s["is_processing"] is False for s in slots)
    models = llama.get("/v1/models").json()["data"]
    meta = models[0]["meta"]
    assert meta["n_ctx"] == 128 and meta["n_embd"] > 0 and meta["n_vocab"] > 0 and meta["n_params"] > 0 and meta["size"] > 0 and meta["n_ctx_train"] > 0
    assert "meta" not in models[1], "an adapter is no model of its own"


def test_a_prompts_tokens_are_counted_without_an_answer(llama):
    body = {"messages": [{"role": "user", "content": "Hello, you"}]}
    n = llama.chat("Hello, you", max_tokens=1).json()["usage"]["prompt_tokens"]
    for path in ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"):
        assert ask(llama, path, **body) == {"object": "response.input_tokens", "input_tokens": n}
    assert ask(llama, "/v1/responses/input_tokens", input="Hello, you") == {"object": "response.input_tokens", "input_tokens": n}
    assert llama.post("/v1/chat/completions/input_tokens", {}).status_code == 400


def test_what_is_not_here_says_so(llama):
    for path in ("/slots/0?action=save", "/v1/streams/lookup", "/v1/audio/transcriptions", "/tools", "/cors-proxy", "/v1/chat/completions/control"):
        assert llama.post(path, {}).status_code == 404, path
    for path in ("/props", "/models", "/models/load", "/models/unload"):
        assert llama.post(path, {}).status_code == 405, path
    assert llama.get("/v1/stream").status_code == 404


def test_guesses_ahead_change_no_answer_and_are_told():
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    servers = [Server([BINARY, "serve", "-m", TINY, "--ctx-size", "256", "--speculate", n, "--port", "0"]) for n in ("8", "off")]
    try:
        body = {"prompt": "one two three, one two three, one two three, one two", "n_predict": 96, "ignore_eos": True}
        for sampling in ({"temperature": 0}, {"temperature": 1, "seed": 7, "repeat_penalty": 1.1}):
            mine, theirs = (ask(s, **body, **sampling) for s in servers)
            assert mine["content"] == theirs["content"] and mine["tokens_predicted"] == theirs["tokens_predicted"] == 96
            assert "draft_n" not in theirs["timings"]
            if sampling["temperature"] == 0:
                assert mine["timings"]["draft_n"] >= mine["timings"]["draft_n_accepted"] > 0
            none = ask(servers[0], **body, **sampling, **{"speculative.n_max": 0})
            assert none["content"] == theirs["content"] and "draft_n" not in none["timings"]
        metrics = dict(line.split() for line in servers[0].get("/metrics").text.splitlines() if line.startswith("edgelora_draft"))
        assert float(metrics["edgelora_draft_tokens_total"]) >= float(metrics["edgelora_draft_tokens_accepted_total"]) > 0
    finally:
        assert [s.stop() for s in servers] == [0, 0]
