"""What others' clients send besides OpenAI's fields: taken as they mean it, ignored with a word, or refused by name."""

import json
import subprocess

import pytest
from conftest import BINARY, MODEL, Server

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
IM = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"


def tokenize(text, special=False):
    command = [BINARY, "tokenize", "-m", MODEL, *(["--special"] if special else []), "-"]
    return json.loads(subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout)


def answer(response):
    assert response.status_code == 200, response.text
    return response.json()


def text(server, prompt, **fields):
    return answer(server.completion(**{"prompt": prompt, "max_tokens": 8, "temperature": 0, **fields}))


def chat(server, messages, **fields):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return answer(server.post(CHAT, {"messages": messages, "max_tokens": 8, "temperature": 0, **fields}))


def content(reply):
    return reply["choices"][0]["message"]["content"]


def refused(response, param):
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param and param.split("[")[0].split(".")[0] in error["message"]
    return error


# ---------------------------------------------------------------- unknown fields


def test_unknown_fields_are_told_once_a_name_and_ignored(fake):
    s = fake()
    ask = {"prompt": "abc", "temprature": 1, "echo": None, "stream_options": {"include_usage": True, "color": 3}, "k\n\x1b[2Jx": 1}
    plain = s.completion(prompt="abc").json()["choices"]
    for _ in range(3):
        assert answer(s.completion(**ask))["choices"] == plain
    chat_ask = {"messages": [{"role": "user", "content": [{"type": "text", "text": "abc", "weight": 2}]}], "prompt": "x", "temprature": None}
    assert content(answer(s.post(CHAT, chat_ask))) == content(answer(s.chat("abc")))
    assert s.stop() == 0
    log = "\n".join(s.log)
    for name in ("temprature", "stream_options", "stream_options.color", "messages[].content[].weight", "prompt"):
        assert log.count(f"'{name}' is ignored") == 1, name
    assert "/v1/completions: unknown field 'temprature'" in log and "belongs to /v1/completions" in log
    assert "\x1b" not in log and log.count("[2Jx' is ignored") == 1


def test_names_that_are_made_up_do_not_fill_the_log(fake):
    s = fake()
    for part in range(4):
        assert s.completion(prompt="a", **{f"made-up-{part}-{i}": i for i in range(100)}, **{"é" * 200: part}).status_code == 200
    assert s.stop() == 0
    told = [line for line in s.log if "is ignored" in line]
    assert len(told) == 128 and all(len(line) < 300 for line in told)
    assert len([line for line in s.log if "further ones are ignored silently" in line]) == 1


def test_strict_refuses_unknown_fields(fake):
    s = fake(strict=1)
    refused(s.completion(prompt="a", temprature=1), "temprature")
    refused(s.completion(prompt="a", messages=[]), "messages")
    refused(s.post(CHAT, {"messages": HELLO, "echo": True}), "echo")
    refused(s.completion(prompt="a", stream=True, stream_options={"usage": True}), "stream_options.usage")
    refused(s.completion(prompt="a", stream_options={"include_usage": True}), "stream_options")
    parts = [{"type": "text", "text": "a", "weight": 2}]
    refused(s.post(CHAT, {"messages": [{"role": "user", "content": parts}]}), "messages[].content[].weight")
    assert s.completion(prompt="a", temprature=None).status_code == 200


# ---------------------------------------------------------------- what clients send


@pytest.mark.parametrize("path", ["/v1/chat/completions/input_tokens", "/v1/messages/count_tokens", "/v1/responses/input_tokens"])
def test_a_count_is_no_stream_whatever_is_counted(fake, path):
    body = {"stream": True, **({"input": "abc"} if "responses" in path else {"messages": HELLO})}
    assert answer(fake().post(path, body))["input_tokens"] > 0


def test_a_null_is_a_field_that_is_not_given(fake):
    s = fake()
    everything = {
        f: None
        for f in """model n stop seed temperature logprobs logit_bias stream user max_tokens top_p frequency_penalty presence_penalty
        stream_options best_of suffix echo min_tokens stop_token_ids skip_special_tokens prompt_logprobs truncate_prompt_tokens
        allowed_token_ids repetition_penalty add_special_tokens response_format lora edgelora no_such_field""".split()
    }
    assert answer(s.completion(prompt="ab", **everything))["choices"] == answer(s.completion(prompt="ab"))["choices"]
    more = {f: None for f in "max_completion_tokens tools tool_choice functions function_call chat_template_kwargs top_logprobs".split()}
    part = {"type": "text", "text": "ab", "cache_control": None, "id": None}
    message = {"role": "user", "name": None, "refusal": None, "tool_calls": None, "audio": None, "content": [part]}
    chats = {k: v for k, v in {**everything, **more}.items()}
    nulls = answer(s.post(CHAT, {"messages": [message], **chats}))
    assert content(nulls) == content(answer(s.chat("ab")))
    stream = {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": None}}
    assert s.completion(prompt="ab", **stream).status_code == 200


def test_the_newer_of_two_token_limits_counts_and_minus_one_is_none(fake):
    s = fake()
    for limits, n in (
        ({"max_tokens": 2, "max_completion_tokens": 3}, 3),
        ({"max_completion_tokens": 3, "max_tokens": 2}, 3),
        ({"max_tokens": 2, "max_completion_tokens": None}, 2),
    ):
        assert chat(s, "abcdefgh", **limits)["usage"]["completion_tokens"] == n
    whole = chat(s, "abcdefgh", max_tokens=None)["usage"]["completion_tokens"]
    assert chat(s, "abcdefgh", max_tokens=-1)["usage"]["completion_tokens"] == whole
    assert text(s, "a" * 40, max_tokens=-1)["usage"]["completion_tokens"] == 40 > text(s, "a" * 40, max_tokens=None)["usage"]["completion_tokens"]
    refused(s.completion(prompt="a", max_tokens=-2), "max_tokens")


def test_integers_beyond_64_bits_are_text_where_they_do_not_matter(fake):
    s = fake()
    huge = 2**64 + 17
    message = {"role": "user", "content": "ab", "id": huge, "call": {"n": [-huge, 1, 2**63 - 1]}}
    reply = answer(s.post(CHAT, {"messages": [message], "metadata": {"id": huge}, "user": str(huge), "other": -huge}))
    assert content(reply) == content(answer(s.chat("ab")))
    for within in (f'"{huge}": {huge}, \\"', f"\\{huge}", f"{huge}"):  # what is text stays as it is
        reply = answer(s.completion(prompt=within, max_tokens=len(within), id=huge))
        assert reply["usage"]["prompt_tokens"] == len(within) and reply["choices"][0]["text"] == within
    for field, value in (("n", huge), ("max_tokens", huge), ("seed", huge), ("seed", 2**63), ("min_tokens", -huge), ("top_k", huge)):
        refused(s.completion(prompt="a", **{field: value}), field)
    assert s.completion(prompt="a", seed=-(2**63)).status_code == 200
    assert s.post(TEXT, b'{"prompt":"a","x":1e999}').status_code == 400  # no number that text could stand for


def test_an_answer_can_be_replayed_with_all_that_it_came_with(fake):
    s = fake()
    bare = [*HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "ab"}]
    extras = {"refusal": None, "reasoning_content": None, "reasoning": None, "id": "x", "annotations": [], "tool_calls": []}
    extras |= {"audio": None, "function_call": None, "name": "assistant", "cache_control": {"type": "ephemeral"}}
    full = [bare[0], {**bare[1], **extras}, bare[2]]
    assert content(answer(s.post(CHAT, {"messages": full}))) == content(answer(s.post(CHAT, {"messages": bare})))
    parts = [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]
    cached = [{"type": "input_text", "text": "ab", "cache_control": {"type": "ephemeral"}}]
    full = [bare[0], {"role": "assistant", "content": parts}, {"role": "user", "content": cached}]
    assert answer(s.post(CHAT, {"messages": full}))["usage"] == answer(s.post(CHAT, {"messages": bare}))["usage"]
    no = [{"type": "refusal", "refusal": "hi"}]
    full[1]["content"] = no
    assert answer(s.post(CHAT, {"messages": full}))["usage"] == answer(s.post(CHAT, {"messages": bare}))["usage"]


def test_fields_that_say_nothing_are_taken(fake):
    s = fake()
    assert chat(s, "ab", top_logprobs=0)["choices"][0]["logprobs"] is None
    for field in ("priority", "request_id", "length_penalty", "cache_prompt", "spaces_between_special_tokens", "early_stopping"):
        assert s.completion(prompt="a", **{field: 0}).status_code == 200
    assert s.completion(prompt="a", temperature=5.5, seed=1).status_code == 200
    for field in ("use_beam_search", "return_token_ids", "return_tokens_as_token_ids"):
        assert s.completion(prompt="a", **{field: False}).status_code == 200
        refused(s.completion(prompt="a", **{field: True}), field)
    for words in ("x", [1], [""], ["  "], ["ab " * 9000]):
        refused(s.completion(prompt="a", bad_words=words), "bad_words")


# ---------------------------------------------------------------- sampling


def test_bad_words_are_not_written_though_their_beginnings_may(server):
    prompt = "The capital of France is Paris. The capital of France is"
    said = text(server, prompt, max_tokens=12)["choices"][0]["text"]
    words = said.split()
    without = text(server, prompt, max_tokens=12, bad_words=[words[2]])["choices"][0]["text"].split()
    assert without[:2] == words[:2] and words[2] not in without
    two = " ".join(words[:2])
    other = text(server, prompt, max_tokens=12, bad_words=[two])["choices"][0]["text"]
    assert not other.startswith(said[: len(two) + 1]) and other.split()[0] == words[0]
    assert text(server, prompt, max_tokens=12, bad_words=["zebra", f"{words[2]} of zebras"])["choices"][0]["text"] == said


def test_a_seed_of_minus_one_is_a_random_one(server):
    texts = {text(server, "Once upon a time", temperature=1.5, seed=-1, max_tokens=20)["choices"][0]["text"] for _ in range(3)}
    assert len(texts) > 1
    assert len({text(server, "Once", temperature=1.5, seed=-2)["choices"][0]["text"] for _ in range(2)}) == 1


def test_repeat_penalty_is_repetition_penalty(server):
    loop = "red blue red blue red blue red blue red"
    both = [text(server, loop, **{name: 5.0})["choices"][0]["text"] for name in ("repeat_penalty", "repetition_penalty")]
    assert both[0] == both[1] != text(server, loop)["choices"][0]["text"]


def test_logit_bias_is_taken_as_llama_server_writes_it(server):
    greedy = text(server, "The capital of France is", max_tokens=1)["choices"][0]["text"]
    (first,), (dog,) = tokenize(greedy), tokenize(" dog")
    for never in ([[first, False]], [[greedy, False]], {str(first): False}, {greedy: -100}):
        assert text(server, "The capital of France is", max_tokens=1, logit_bias=never)["choices"][0]["text"] != greedy
    for forced in ([[dog, 100]], [[" dog", 100.0]], {" dog": 100}, {str(dog): 100, str(first): None}):
        assert text(server, "The", max_tokens=2, logit_bias=forced)["choices"][0]["text"] == " dog dog"
    assert text(server, "The", logit_bias=[])["choices"] == text(server, "The")["choices"]
    for wrong in ([dog], [[dog]], [[dog, True]], [[-1, 1]], [[10**6, 1]], [["x", "1"]], [[dog, 101]], "x"):
        refused(server.completion(prompt="a", logit_bias=wrong), "logit_bias")


def test_only_allowed_tokens_are_drawn(server):
    ids = tokenize(" dog")
    assert text(server, "The", max_tokens=3, allowed_token_ids=ids)["choices"][0]["text"] == " dog dog dog"
    for wrong in ([], [-1], [10**6], "x", ["x"], 5):
        refused(server.completion(prompt="a", allowed_token_ids=wrong), "allowed_token_ids")


# ---------------------------------------------------------------- the end


def test_stop_tokens_end_and_are_named(server):
    whole = text(server, "One two three four five", ignore_eos=True)["choices"][0]["text"]
    ids = tokenize(whole)
    c = text(server, "One two three four five", stop_token_ids=[ids[3], 7])["choices"][0]
    assert (c["finish_reason"], c["stop_reason"]) == ("stop", ids[3])
    assert whole.startswith(c["text"]) and tokenize(c["text"]) == ids[: ids.index(ids[3])]
    c = text(server, "One two three four five", stop_token_ids=[ids[3]], include_stop_str_in_output=True)["choices"][0]
    assert tokenize(c["text"]) == ids[: ids.index(ids[3]) + 1]
    cut = whole[5:9]
    c = text(server, "One two three four five", stop=cut, include_stop_str_in_output=True)["choices"][0]
    assert c["text"] == whole[: whole.index(cut) + 4] and c["stop_reason"] == cut
    assert "stop_reason" not in text(server, "One two three four five")["choices"][0]
    for wrong in ("x", [-1], [10**6], [1.5], [0] * 257):
        refused(server.completion(prompt="a", stop_token_ids=wrong), "stop_token_ids")


def test_min_tokens_keeps_an_answer_going(server):
    short = chat(server, "Say hi.", max_tokens=60)["usage"]["completion_tokens"]
    assert chat(server, "Say hi.", max_tokens=60, min_tokens=short + 7)["usage"]["completion_tokens"] >= short + 7
    refused(server.completion(prompt="a", min_tokens=-1), "min_tokens")


def test_special_tokens_are_shown_on_request(server):
    ask = {"prompt": IM, "max_tokens": 40, "ignore_eos": True}
    assert "<|im_end|>" not in text(server, **ask)["choices"][0]["text"]
    shown = text(server, **ask, skip_special_tokens=False, logprobs=0)["choices"][0]
    assert "<|im_end|>" in shown["text"]
    assert "".join(shown["logprobs"]["tokens"]) == shown["text"]
    at = shown["logprobs"]["text_offset"]
    assert [shown["text"][a : a + len(t)] for a, t in zip(at, shown["logprobs"]["tokens"])] == shown["logprobs"]["tokens"]


# ---------------------------------------------------------------- prompts


def test_a_rendered_conversation_is_the_conversation(server):
    """A client that renders its own template gets what a chat gets."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hi."}]
    rendered = "<|im_start|>system\nBe brief.<|im_end|>\n" + IM
    as_chat, as_text = chat(server, messages), text(server, rendered)
    assert as_text["usage"]["prompt_tokens"] == as_chat["usage"]["prompt_tokens"] == len(tokenize(rendered, special=True))
    assert as_text["choices"][0]["text"] == content(as_chat)
    plain = text(server, rendered, parse_special=False)
    assert plain["usage"]["prompt_tokens"] == len(tokenize(rendered)) > as_text["usage"]["prompt_tokens"] + 10
    assert text(server, rendered, add_special_tokens=False)["usage"] == {**as_text["usage"], "prompt_tokens_details": text(server, rendered)["usage"]["prompt_tokens_details"]}


def test_truncate_prompt_tokens_keeps_the_end(server):
    ids = tokenize("one two three four five six")
    cut = text(server, ids, truncate_prompt_tokens=3, echo=True)
    assert cut["usage"]["prompt_tokens"] == 3
    assert cut["choices"] == text(server, ids[-3:], echo=True)["choices"]
    assert text(server, "one two three four five six", truncate_prompt_tokens=3, echo=True)["choices"] == cut["choices"]
    assert chat(server, "hello there", truncate_prompt_tokens=4)["usage"]["prompt_tokens"] == 4
    assert text(server, ids, truncate_prompt_tokens=-1)["usage"]["prompt_tokens"] == len(ids)
    refused(server.completion(prompt="a", truncate_prompt_tokens=0), "truncate_prompt_tokens")


def test_a_suffix_is_filled_up_to_where_the_model_can(server, fake):
    refused(server.completion(prompt="def f(", suffix="return x"), "suffix")
    assert server.completion(prompt="a", suffix="", max_tokens=1).status_code == 200
    s = fake()  # whose tokens 300, 301 and 302 are for it
    reply = text(s, "ab", suffix="yz", prompt_logprobs=0, echo=True)
    ids = [int(next(iter(entry))) for entry in reply["choices"][0]["prompt_logprobs"][1:]]
    assert reply["usage"]["prompt_tokens"] == 7
    assert ids == [ord("a"), ord("b"), 301, ord("y"), ord("z"), 302]
    assert reply["choices"][0]["text"].startswith("ab")
    refused(s.completion(prompt=[1, 2], suffix="yz"), "prompt")
    refused(s.completion(prompt="ab", suffix=5), "suffix")


def test_a_conversation_that_ends_with_the_assistant_goes_on(server):
    ask = [{"role": "user", "content": "Count: one two three"}]
    begun = [*ask, {"role": "assistant", "content": "one two"}]
    rendered = "<|im_start|>user\nCount: one two three<|im_end|>\n<|im_start|>assistant\none two"
    system = text(server, "x", max_tokens=0)  # the template's own system message is in both
    assert system["usage"]["prompt_tokens"] > 0
    on = chat(server, begun)
    assert on["usage"]["prompt_tokens"] == chat(server, begun, continue_final_message=True)["usage"]["prompt_tokens"]
    assert content(on) == content(chat(server, begun, continue_final_message=True))
    assert on["usage"]["prompt_tokens"] >= len(tokenize(rendered, special=True))
    parts = [*ask, {"role": "assistant", "content": [{"type": "text", "text": "one two"}]}]
    assert content(chat(server, parts)) == content(on)
    # Who says what is to be done, or has nothing to go on with, gets a new turn.
    opened = chat(server, begun, add_generation_prompt=True)
    assert opened["usage"]["prompt_tokens"] > on["usage"]["prompt_tokens"] + 3
    for empty in ("", None):
        last = {"role": "assistant", "content": empty}
        assert chat(server, [*ask, last])["usage"] and chat(server, [*ask, last], add_generation_prompt=True)["usage"]


# ---------------------------------------------------------------- log-probabilities


def test_prompt_logprobs_are_told_as_vllm_does(server):
    ids = tokenize("The capital of France is Paris")
    told = text(server, ids, prompt_logprobs=2)["choices"][0]["prompt_logprobs"]
    assert told[0] is None and len(told) == len(ids)
    for i, entry in enumerate(told[1:], 1):
        assert str(ids[i]) in entry and len(entry) in (2, 3)
        ranks = sorted(e["rank"] for e in entry.values() if e["rank"])
        assert ranks == [1, 2]
        best = max(entry.values(), key=lambda e: e["logprob"])
        assert best["rank"] == 1 and all(e["logprob"] <= 0 for e in entry.values())
        assert tokenize(entry[str(ids[i])]["decoded_token"]) == [ids[i]]
    alone = text(server, ids, prompt_logprobs=0)["choices"][0]["prompt_logprobs"]
    assert [list(e) for e in alone[1:]] == [[str(i)] for i in ids[1:]]
    of_chat = chat(server, "hello", prompt_logprobs=1)
    assert len(of_chat["prompt_logprobs"]) == of_chat["usage"]["prompt_tokens"]
    refused(server.completion(prompt="a", prompt_logprobs=21), "prompt_logprobs")
    refused(server.completion(prompt="a", prompt_logprobs=1, stream=True), "prompt_logprobs")


def test_an_echo_has_alternatives_for_the_prompts_tokens(server):
    ids = tokenize("The capital of France is Paris")
    lp = text(server, ids, echo=True, logprobs=3, max_tokens=1)["choices"][0]["logprobs"]
    assert len(lp["tokens"]) == len(lp["top_logprobs"]) == len(ids) + 1
    assert lp["token_logprobs"][0] is None and lp["top_logprobs"][0] is None
    for i in range(1, len(ids) + 1):
        top = lp["top_logprobs"][i]
        assert len(top) in (3, 4) and lp["tokens"][i] in top and abs(top[lp["tokens"][i]] - lp["token_logprobs"][i]) < 1e-6
        # What would have come after that beginning.
        chosen = text(server, ids[:i], max_tokens=1, logprobs=3)["choices"][0]["logprobs"]["top_logprobs"]
        if i < len(ids) and chosen:
            assert max(chosen[0], key=chosen[0].get) == max(top, key=top.get)


def test_the_likelihood_of_an_answer_is_read_as_lm_eval_does(server):
    """lm-eval's local-completions: token lists in a batch, echo, one token more, the last entry left out."""
    pairs = [("The capital of France is", " Paris"), ("The capital of France is", " banana"), ("<|im_start|>user\nhi", "<|im_end|>")]
    prompts = [tokenize(a, True) + tokenize(b, True) for a, b in pairs]
    starts = [len(tokenize(a, True)) for a, _ in pairs]
    reply = text(server, prompts, max_tokens=1, logprobs=1, echo=True, seed=1234)
    sums, greedy = [], []
    for c, ids, start in zip(sorted(reply["choices"], key=lambda c: c["index"]), prompts, starts):
        lp = c["logprobs"]
        assert len(lp["token_logprobs"]) == len(ids) + 1, "one more, an EOS too"
        values, tops = lp["token_logprobs"][start:-1], lp["top_logprobs"][start:-1]
        assert len(values) == len(ids) - start
        sums.append(sum(values))
        greedy.append(all(v == max(t.values()) for v, t in zip(values, tops)))
    assert sums[0] > sums[1] + 3 and greedy[0] and not greedy[1]


def test_log_probabilities_of_a_completion_have_the_token_that_ended_it(server):
    c = text(server, IM, max_tokens=60, logprobs=1)["choices"][0]
    assert c["finish_reason"] == "stop" and c["logprobs"]["tokens"][-1] == "<|im_end|>"
    assert "".join(c["logprobs"]["tokens"][:-1]) == c["text"] and c["logprobs"]["text_offset"][-1] == len(c["text"])
