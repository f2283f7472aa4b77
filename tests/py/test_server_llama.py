"""llama-server's own API: /completion, /infill, /tokenize, /detokenize, /apply-template, /props. What its clients send and read."""

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
