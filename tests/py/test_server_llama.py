"""llama-server's own API: /completion, /infill, /embedding, /tokenize, /detokenize, /apply-template, /props. What its clients send and read."""

import json
import subprocess

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


DOCUMENTS = ["A ship sails.", "Once upon a time", "Other words", "Once upon a time"]


def likelihood(s, document, query, **body):
    """Of the query's tokens behind a document, by OpenAI's endpoint: the logarithm's mean."""
    ids = [ask(s, "/tokenize", content=text, add_special=i == 0)["tokens"] for i, text in enumerate((document, "\n\n", query))]
    logprobs = s.completion(prompt=sum(ids, []), max_tokens=0, echo=True, logprobs=0, **body).json()["choices"][0]["logprobs"]["token_logprobs"]
    return sum(logprobs[-len(ids[2]):]) / len(ids[2])


def test_documents_are_ranked_by_the_likelihood_of_the_query_behind_them(llama):
    for path in ("/rerank", "/v1/rerank", "/reranking", "/v1/reranking"):
        answer = ask(llama, path, query="the end", documents=DOCUMENTS)
        ranked = answer["results"]
        assert sorted(r["index"] for r in ranked) == [0, 1, 2, 3] and [r["relevance_score"] for r in ranked] == sorted((r["relevance_score"] for r in ranked), reverse=True)
        assert answer["object"] == "list" and answer["model"] == "tiny" and answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 12
    for model in ("tiny", "one"):
        for r in ask(llama, "/rerank", query="the end", texts=DOCUMENTS, raw_scores=True, model=model):
            assert r["score"] == pytest.approx(likelihood(llama, DOCUMENTS[r["index"]], "the end", model=model), abs=1e-5)
    alike = {r["index"]: r["relevance_score"] for r in ranked}
    assert alike[1] == alike[3] and all(0 < score <= 1 for score in alike.values())
    assert ranked.index({"index": 1, "relevance_score": alike[1]}) + 1 == ranked.index({"index": 3, "relevance_score": alike[3]})


def test_of_a_ranking_the_best_are_given_with_their_texts(llama):
    for body in ({"documents": DOCUMENTS[:3]}, {"documents": [{"text": d} for d in DOCUMENTS[:3]]}):
        best, second = ask(llama, "/rerank", query="the end", top_n=2, return_documents=True, **body)["results"]
        assert best["document"]["text"] == DOCUMENTS[best["index"]] and best["relevance_score"] > second["relevance_score"]
    (first,) = ask(llama, "/rerank", query="the end", texts=DOCUMENTS[:3], top_n=1, return_text=True)
    assert first["index"] == best["index"] and first["text"] == DOCUMENTS[first["index"]] and first["score"] == best["relevance_score"]
    long = ["word " * 500, "b"]
    assert "exceeds" in refused(llama, 400, "exceed_context_size_error", "texts", "/rerank", query="a", texts=long)
    assert len(ask(llama, "/rerank", query="a", texts=long, truncate=True)) == 2


def test_what_cannot_be_ranked_is_named(llama):
    def bad(param, **body):
        refused(llama, 400, "invalid_request_error", param, "/rerank", **body)

    for documents in (123, [1, 2], [], [{"title": "a"}], ["a"] * 1025):
        bad("documents", query="a", documents=documents)
    bad("documents", query="a")
    bad("query", documents=["a"])
    bad("query", query="", documents=["a"])
    bad("query", query=["a"], documents=["a"])
    bad("top_n", query="a", documents=["a"], top_n=0)
    bad("texts", query="a", documents=["a"], texts=["a"])


def test_openais_endpoint_makes_vectors_of_mixed_inputs(llama):
    def vector(value):
        return [d["embedding"] for d in ask(llama, "/v1/embeddings", input=value)["data"]]

    ids = ask(llama, "/tokenize", content="Once upon", add_special=True)["tokens"]
    parts = {"content": [{"type": "text", "text": "Once "}, {"type": "text", "text": "upon"}]}
    once = vector("Once upon")
    assert vector(["Once upon", ids, {"prompt_string": "Once upon"}, parts]) == once * 4 and vector(parts) == once
    assert len(vector([*ids, " and"])) == 1
    for bad in ({"content": "a"}, {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}, {"content": [{"type": "text"}]}, {"content": [3]}):
        error = llama.post("/v1/embeddings", {"input": bad}).json()["error"]
        assert (error["param"], error["type"]) == ("input", "invalid_request_error"), error


def test_a_prompt_beyond_the_context_is_told_in_both_dialects_words(llama):
    for path, body in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 400}]}), ("/completion", {"prompt": "word " * 400})):
        response = llama.post(path, body)
        error = response.json()["error"]
        assert response.status_code == 400 and error["type"] == "exceed_context_size_error" and error["n_ctx"] == 128 < error["n_prompt_tokens"]
    assert llama.post("/v1/completions", {"prompt": "word " * 400}).json()["error"]["code"] == "context_length_exceeded"


def test_with_verbose_an_answer_has_llama_servers_form_beside_it(llama):
    body = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 3, "temperature": 0}
    plain = ask(llama, "/v1/chat/completions", **body)
    assert "__verbose" not in plain and "__verbose" not in ask(llama, "/v1/chat/completions", verbose=False, **body)
    verbose = ask(llama, "/v1/chat/completions", verbose=True, **body)["__verbose"]
    assert verbose["prompt"] == ask(llama, "/apply-template", messages=body["messages"])["prompt"]
    assert verbose["content"] == plain["choices"][0]["message"]["content"] and verbose["tokens_predicted"] == 3
    stream = llama.post("/v1/chat/completions", {**body, "stream": True, "verbose": True}).text
    chunks = [json.loads(line[6:]) for line in stream.split("\n\n") if line.startswith("data: {")]
    assert chunks[-1]["__verbose"]["prompt"] == verbose["prompt"] and not any("__verbose" in c for c in chunks[:-1])
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}


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


def test_the_operator_says_what_templates_get_and_what_is_not_answered(tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages[0].content }}|{{ enable_thinking }}|{{ day is defined }}|{{ day }}")
    base = [BINARY, "serve", "-m", TINY, "--model-name", "tiny", "--ctx-size", "128", "--chat-template", template, "--port", "0"]
    s = Server([*base, "--chat-template-kwargs", '{"enable_thinking": false, "day": "Monday"}', "--no-slots", "--no-metrics", "--verbose-answers"])
    messages = [{"role": "user", "content": "Hi"}]
    assert ask(s, "/apply-template", messages=messages)["prompt"].endswith("Hi|False|True|Monday")
    assert ask(s, "/apply-template", messages=messages, chat_template_kwargs={"day": "Sunday"})["prompt"].endswith("Hi|False|True|Sunday")
    assert [s.get(path).status_code for path in ("/slots", "/metrics")] == [501, 501]
    props = s.get("/props").json()
    assert (props["endpoint_slots"], props["endpoint_metrics"]) == (False, False)
    chat = {"messages": messages, "max_tokens": 1}
    assert "Monday" in ask(s, "/v1/chat/completions", **chat)["__verbose"]["prompt"]
    assert "__verbose" not in ask(s, "/v1/chat/completions", **chat, verbose=False)
    assert s.stop() == 0, s.log[-20:]
    for wrong in ("[]", "{", "3"):
        done = subprocess.run([*base, "--chat-template-kwargs", wrong], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "chat-template-kwargs" in done.stderr, done.stderr


def test_metrics_have_llama_servers_names_too(llama):
    def counters():
        reply = llama.get("/metrics")
        assert int(reply.headers["Process-Start-Time-Unix"]) > 0
        return {line.split()[0].removeprefix("llamacpp:"): float(line.split()[1]) for line in reply.text.splitlines() if line.startswith("llamacpp:")}

    before = counters()
    timings = [ask(llama, prompt="A prompt of its own", **GREEDY)["timings"] for _ in range(2)]
    after = counters()
    grown = {name: after[name] - before[name] for name in after}
    assert grown["prompt_tokens_total"] == sum(t["prompt_n"] for t in timings) and grown["prompt_tokens_cached_total"] == sum(t["cache_n"] for t in timings)
    assert grown["tokens_predicted_total"] == 12 and grown["n_decode_total"] > 1 and after["requests_processing"] == after["requests_deferred"] == 0
    assert after["n_tokens_max"] >= timings[0]["prompt_n"] + 6 and after["prompt_tokens_seconds"] > 0 and after["predicted_tokens_seconds"] > 0
    for t in timings:
        assert t["predicted_per_second"] == pytest.approx(5e3 / t["predicted_ms"])
    assert ask(llama, prompt="A", temperature=0, n_predict=1)["timings"]["predicted_per_second"] == 0
