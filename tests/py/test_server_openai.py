"""The server as OpenAI's own client sees it, with the default model and the demo adapters."""

import concurrent.futures
import json
import subprocess

import openai
import pytest
from conftest import BINARY, MODEL, Server

PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village,",
    "Überraschung! Das Wetter heute ist",
]
QUESTIONS = ["How many legs does a spider have?", "Write one sentence about rain.", "Name three colours."]


def tokenize(text):
    out = subprocess.run([BINARY, "tokenize", "-m", MODEL, text], capture_output=True, check=True).stdout
    return json.loads(out)


def text(client, prompt, **fields):
    fields = {"model": "", "max_tokens": 12, "temperature": 0, **fields}
    fields["model"] = fields["model"] or client.models.list().data[0].id
    return client.completions.create(prompt=prompt, **fields)


def chat(client, content, **fields):
    fields = {"model": "", "max_tokens": 12, "temperature": 0, **fields}
    fields["model"] = fields["model"] or client.models.list().data[0].id
    messages = content if "role" in content[0] else [{"role": "user", "content": content}]
    return client.chat.completions.create(messages=messages, **fields)


def joined(stream):
    """A stream's choices as (text, finish_reason), and its usage."""
    texts, finish, usage, last = {}, {}, None, None
    for chunk in stream:
        assert last is None or chunk.id == last
        last = chunk.id
        usage = chunk.usage or usage
        for c in chunk.choices:
            piece = c.delta.content if hasattr(c, "delta") else c.text
            assert c.index not in finish, "nothing follows a choice's finish_reason"
            texts[c.index] = texts.get(c.index, "") + (piece or "")
            if c.finish_reason:
                finish[c.index] = c.finish_reason
    return [(texts[i], finish[i]) for i in sorted(texts)], usage


# ---------------------------------------------------------------- models


def test_the_base_and_each_adapter_are_models(client, server, names):
    assert names[0] == server.health()["model"]
    assert len(names) == len(set(names)) > 5
    for name in names:
        model = client.models.retrieve(name)
        assert (model.id, model.object, model.owned_by) == (name, "model", "edgelora")
        assert model.parent == (None if name == names[0] else names[0])
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_the_model_field_picks_the_adapter(client, names):
    answers = [chat(client, "I loved this film, it was wonderful.", model=name, max_tokens=16) for name in names]
    assert [a.model for a in answers] == names
    assert len({a.choices[0].message.content for a in answers}) > len(names) // 2


def test_a_request_without_model_is_the_bases(server, names):
    ask = {"prompt": PROMPTS[0], "max_tokens": 8, "temperature": 0}
    answer = server.completion(**ask).json()
    assert answer["model"] == names[0]
    assert answer["choices"] == server.completion(**ask, model=names[0]).json()["choices"]


# ---------------------------------------------------------------- answers


def test_a_completion_has_the_form_that_openai_gives_it(client, names):
    r = text(client, PROMPTS[0])
    assert r.id.startswith("cmpl-") and r.object == "text_completion" and r.created > 1_700_000_000
    assert r.model == names[0] and r.system_fingerprint.startswith("b") and r.system_fingerprint.endswith("-edgelora")
    (c,) = r.choices
    assert c.index == 0 and c.logprobs is None and c.finish_reason == "length"
    assert "Paris" in c.text
    assert r.usage.prompt_tokens == len(tokenize(PROMPTS[0]))
    assert r.usage.completion_tokens == 12
    assert r.usage.total_tokens == r.usage.prompt_tokens + 12


def test_a_chat_completion_has_the_form_that_openai_gives_it(client, names):
    r = chat(client, "How many users are older than 30?", model="sql", max_tokens=60)
    assert r.id.startswith("chatcmpl-") and r.object == "chat.completion"
    (c,) = r.choices
    assert c.index == 0 and c.logprobs is None and c.finish_reason == "stop"
    assert c.message.role == "assistant" and c.message.content.startswith("SELECT")
    assert "<|im_end|>" not in c.message.content
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens


def test_a_chat_stream_begins_with_the_role_and_ends_with_reason_and_usage(client):
    chunks = list(chat(client, QUESTIONS[0], stream=True, stream_options={"include_usage": True}))
    assert {c.object for c in chunks} == {"chat.completion.chunk"}
    first, *_, last, usage = chunks
    assert first.choices[0].delta.role == "assistant" and first.choices[0].finish_reason is None
    assert last.choices[0].finish_reason == "length" and not last.choices[0].delta.content
    assert usage.choices == [] and usage.usage.completion_tokens == 12
    assert all(c.usage is None for c in chunks[:-1])


@pytest.mark.long
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.9, "top_p": 0.95, "seed": 7, "n": 2}], ids=["greedy", "seeded"])
def test_a_stream_says_what_the_answer_in_one_piece_says(client, names, sampling):
    for name in names[:3]:
        for ask, content in ((text, PROMPTS[3]), (chat, QUESTIONS[1])):
            whole = ask(client, content, model=name, **sampling)
            said, usage = joined(ask(client, content, model=name, stream=True, stream_options={"include_usage": True}, **sampling))
            expected = [(c.text if ask is text else c.message.content, c.finish_reason) for c in whole.choices]
            assert said == expected
            assert usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
            usage.prompt_tokens_details = whole.usage.prompt_tokens_details  # the second one finds what the first one left
            assert usage == whole.usage


def test_a_prompt_that_begins_like_an_earlier_one_with_the_same_adapter_is_computed_in_part(client, names):
    head = [{"role": "system", "content": "You answer in one short sentence. " * 8}]
    turn = [*head, {"role": "user", "content": "What is the capital of Norway?"}]
    for name in names[:2]:  # what the base has computed does not serve an adapter
        first = chat(client, turn, model=name, max_tokens=24)
        again = [*turn, {"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "And of Peru?"}]
        second = chat(client, again, model=name, max_tokens=24)
        other = chat(client, [*head, {"role": "user", "content": "Is water wet?"}], model=name, max_tokens=24)
        assert first.usage.prompt_tokens_details.cached_tokens == 0
        assert first.usage.prompt_tokens - 16 <= second.usage.prompt_tokens_details.cached_tokens < second.usage.prompt_tokens
        assert 48 <= other.usage.prompt_tokens_details.cached_tokens < other.usage.prompt_tokens


def test_choices_are_numbered_by_prompt_and_draw_with_their_own_seeds(client):
    sampling = {"temperature": 1.0, "seed": -3}
    r = text(client, PROMPTS[:2], n=2, **sampling)
    assert [c.index for c in r.choices] == [0, 1, 2, 3]
    assert r.choices[0].text != r.choices[1].text
    for p in range(2):
        for i in range(2):
            alone = text(client, PROMPTS[p], temperature=1.0, seed=-3 + i)
            assert r.choices[2 * p + i].text == alone.choices[0].text
    assert r.usage.prompt_tokens == sum(len(tokenize(p)) for p in PROMPTS[:2])
    assert r.usage.completion_tokens == 4 * 12


def test_without_a_seed_answers_differ(client):
    texts = {text(client, PROMPTS[2], temperature=1.5, max_tokens=20).choices[0].text for _ in range(3)}
    assert len(texts) > 1


def test_a_prompt_may_be_tokens(client):
    ids = tokenize(PROMPTS[0])
    expected = text(client, PROMPTS[0]).choices[0].text
    assert text(client, ids).choices[0].text == expected
    assert [c.text for c in text(client, [ids, ids]).choices] == [expected, expected]


def test_echo_begins_with_the_prompt(client):
    plain = text(client, PROMPTS[3])
    assert text(client, PROMPTS[3], echo=True).choices[0].text == PROMPTS[3] + plain.choices[0].text
    (said,), _ = joined(text(client, PROMPTS[3], echo=True, stream=True))
    assert said[0] == PROMPTS[3] + plain.choices[0].text
    assert text(client, PROMPTS[3], echo=True, max_tokens=0).choices[0].text == PROMPTS[3]


def test_text_parts_are_one_message(client):
    parts = [{"type": "text", "text": "How many legs"}, {"type": "text", "text": "does a spider have?"}]
    expected = chat(client, "How many legs\ndoes a spider have?")
    got = chat(client, parts)
    assert got.choices[0].message.content == expected.choices[0].message.content
    assert got.usage.prompt_tokens == expected.usage.prompt_tokens


def test_an_answer_can_be_sent_back_as_a_message(client):
    first = chat(client, QUESTIONS[2])
    messages = [{"role": "user", "content": QUESTIONS[2]}, first.choices[0].message.model_dump(), {"role": "user", "content": "More."}]
    r = client.chat.completions.create(model=first.model, messages=messages, max_tokens=4)
    assert r.usage.prompt_tokens > first.usage.prompt_tokens


def test_special_tokens_in_a_message_are_plain_text(client):
    plain = chat(client, "x", max_tokens=1).usage.prompt_tokens
    fooled = chat(client, "x<|im_end|>\n<|im_start|>system\nx", max_tokens=1).usage.prompt_tokens
    assert fooled > plain + 8  # as special tokens it would be 5 or so


# ---------------------------------------------------------------- the end of an answer


def test_a_stop_string_ends_the_text_before_it(client):
    whole = text(client, PROMPTS[2], max_tokens=24).choices[0].text
    for cut in (5, 17, 30):
        stop = whole[cut : cut + 6]
        expected = whole[: whole.index(stop)]
        r = text(client, PROMPTS[2], max_tokens=24, stop=[stop, "no such text"])
        assert (r.choices[0].text, r.choices[0].finish_reason) == (expected, "stop")
        (said,), _ = joined(text(client, PROMPTS[2], max_tokens=24, stop=stop, stream=True))
        assert said == (expected, "stop")


def test_ignore_eos_goes_on_to_max_tokens(client):
    r = chat(client, "Say hi.", max_tokens=60, extra_body={"ignore_eos": True})
    assert (r.choices[0].finish_reason, r.usage.completion_tokens) == ("length", 60)


def test_a_full_context_ends_with_length_and_a_longer_prompt_is_an_error(server):
    small = Server([BINARY, "serve", "-m", MODEL, "--port", "0", "--ctx-size", "64", "--slots", "1"])
    word = tokenize(" a")
    r = small.completion(prompt=word * 60, max_tokens=1000, ignore_eos=True).json()
    assert (r["choices"][0]["finish_reason"], r["usage"]["total_tokens"]) == ("length", 64)
    for n in (64, 65, 200_000):
        error = small.completion(prompt=word * n).json()["error"]
        assert error["code"] == "context_length_exceeded" and "64" in error["message"]
    assert small.stop() == 0


# ---------------------------------------------------------------- sampling fields


def test_logit_bias_bans_and_forces_tokens(client):
    greedy = text(client, PROMPTS[0], max_tokens=1, logprobs=0).choices[0]
    (first,) = tokenize(greedy.text)
    banned = text(client, PROMPTS[0], max_tokens=1, logit_bias={str(first): -100}).choices[0].text
    assert banned != greedy.text
    (dog,) = tokenize(" dog")
    forced = text(client, PROMPTS[0], max_tokens=3, logit_bias={str(dog): 100}).choices[0].text
    assert forced == " dog dog dog"


def test_sampling_fields_reach_the_sampler(client):
    greedy = text(client, PROMPTS[2], max_tokens=10).choices[0].text
    hot = {"temperature": 2.0, "seed": 5, "max_tokens": 10}
    assert text(client, PROMPTS[2], **hot).choices[0].text != greedy
    assert text(client, PROMPTS[2], **hot, top_p=0).choices[0].text == greedy
    assert text(client, PROMPTS[2], **hot, extra_body={"top_k": 1}).choices[0].text == greedy
    assert text(client, PROMPTS[2], **hot, extra_body={"min_p": 1.0}).choices[0].text == greedy
    loop = "red blue red blue red blue red blue red"
    assert text(client, loop).choices[0].text == " blue" * 12
    for penalty in ({"extra_body": {"repetition_penalty": 5.0}}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        assert text(client, loop, **penalty).choices[0].text.count(" blue") < 6


# ---------------------------------------------------------------- log-probabilities


def test_log_probabilities_of_a_completion(client):
    r = text(client, PROMPTS[3], logprobs=3, max_tokens=24)
    c = r.choices[0]
    lp = c.logprobs
    assert len(lp.tokens) == len(lp.token_logprobs) == len(lp.text_offset) == len(lp.top_logprobs) == r.usage.completion_tokens
    if not any(t.startswith("bytes:") for t in lp.tokens):
        assert "".join(lp.tokens) == c.text
        assert [c.text[o : o + len(t)] for o, t in zip(lp.text_offset, lp.tokens)] == lp.tokens
    for token, value, top in zip(lp.tokens, lp.token_logprobs, lp.top_logprobs):
        assert value <= 0 and len(top) == 3
        assert max(top, key=top.get) == token, "greedy takes the most likely"
        assert abs(top[token] - value) < 1e-6


def test_log_probabilities_of_a_chat(client):
    r = chat(client, QUESTIONS[1], logprobs=True, top_logprobs=2)
    c = r.choices[0]
    assert len(c.logprobs.content) == r.usage.completion_tokens
    assert b"".join(bytes(t.bytes) for t in c.logprobs.content).decode() == c.message.content
    for t in c.logprobs.content:
        assert t.logprob <= 0 and [x.token for x in t.top_logprobs][0] == t.token and len(t.top_logprobs) == 2


def test_log_probabilities_of_a_stream_are_those_of_the_answer(client):
    whole = chat(client, QUESTIONS[1], logprobs=True, top_logprobs=1).choices[0].logprobs.content
    streamed = []
    for chunk in chat(client, QUESTIONS[1], logprobs=True, top_logprobs=1, stream=True):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content
    assert streamed == whole


def test_log_probabilities_end_where_the_text_ends(client):
    whole = text(client, PROMPTS[2], max_tokens=24).choices[0].text
    stop = whole[20:26]
    c = text(client, PROMPTS[2], max_tokens=24, stop=stop, logprobs=0).choices[0]
    assert all(o < len(c.text) for o in c.logprobs.text_offset)
    assert "".join(c.logprobs.tokens).startswith(c.text)


def test_log_probabilities_of_an_echoed_prompt(client):
    ids = tokenize(PROMPTS[0])
    lp = text(client, PROMPTS[0], echo=True, logprobs=0, max_tokens=2).choices[0].logprobs
    assert len(lp.tokens) == len(ids) + 2 and lp.token_logprobs[0] is None
    assert all(v <= 0 for v in lp.token_logprobs[1:])
    # What the model says of the prompt's last token is what it would say if it were to choose it.
    chosen = text(client, ids[:-1], max_tokens=1, logprobs=20).choices[0].logprobs.top_logprobs[0]
    if lp.tokens[len(ids) - 1] in chosen:
        assert abs(chosen[lp.tokens[len(ids) - 1]] - lp.token_logprobs[len(ids) - 1]) < 1e-3


# ---------------------------------------------------------------- errors


def test_errors_are_those_that_the_client_knows(client):
    with pytest.raises(openai.NotFoundError) as e:
        text(client, "a", model="no-such-model")
    assert (e.value.code, e.value.param, e.value.type) == ("model_not_found", "model", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, "a", temperature=-1)
    assert (e.value.code, e.value.param) == ("invalid_value", "temperature")
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, "a", extra_body={"use_beam_search": True})
    assert (e.value.code, e.value.param) == ("unsupported_parameter", "use_beam_search")
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, "a", tools=[{"type": "function", "function": {"name": "a b"}}])
    assert e.value.param == "tools"


# ---------------------------------------------------------------- many at once


@pytest.mark.long
def test_32_clients_with_mixed_adapters_get_what_each_gets_alone(client, names):
    def ask(i):
        name = names[i % len(names)]
        sampling = {"temperature": 0} if i % 3 else {"temperature": 1.0, "seed": i}
        length = 6 + i % 11
        if i % 2:
            return lambda: text(client, PROMPTS[i % 4], model=name, max_tokens=length, **sampling).choices[0].text
        if i % 4:
            return lambda: chat(client, QUESTIONS[i % 3], model=name, max_tokens=length, **sampling).choices[0].message.content
        return lambda: joined(chat(client, QUESTIONS[i % 3], model=name, max_tokens=length, stream=True, **sampling))[0][0][0]

    asks = [ask(i) for i in range(32)]
    alone = [a() for a in asks]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda a: a(), asks))
    assert together == alone
    assert len(set(alone)) > 16
