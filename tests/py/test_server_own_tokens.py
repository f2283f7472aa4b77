"""Adapters that were trained with tokens of their own: resized matrices as PEFT saves them, and the tokenizer beside them as transformers does."""

import json
import random
import shutil
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BINARY, Server
from test_adapter_intake import PEFT, TINY, check, read_safetensors, write_safetensors

V, EMBD, BASE = 320, 96, "q8_0"  # of the model
TEMPLATE = ("{% for m in messages %}{{ '<|turn|>' + m.role + ' ' + m.content + '<|over|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|turn|>' }}{% endif %}")


def token(text, special=True, **more):
    return {"content": text, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": special, **more}


def of_tokens(added, **more):
    return json.dumps({"added_tokens_decoder": {str(V + i): t for i, t in enumerate(added)}, **more})


def matrix(rows):
    return "F32", [len(rows), EMBD], b"".join(struct.pack(f"<{EMBD}f", *r) for r in rows)


def write_adapter(folder, added, said, seed, extra=0, **more):
    """PEFT's files with V + len(added) rows, and the tokenizer's. Of the output all rows are zero but those of the two tokens in `said`, which are each
    other's negative: the likeliest token is always one of the two."""
    shutil.copytree(PEFT, folder)
    rng = random.Random(seed)
    rows = V + len(added) + extra
    row = [rng.gauss(0, 1) for _ in range(EMBD)]
    head = [[0.0] * EMBD for _ in range(rows)]
    head[said[0]], head[said[1]] = row, [-x for x in row]
    tensors = read_safetensors(folder / "adapter_model.safetensors")
    tensors["base_model.model.model.embed_tokens.weight"] = matrix([[rng.gauss(0, 1) for _ in range(EMBD)] for _ in range(rows)])
    tensors["base_model.model.lm_head.weight"] = matrix(head)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "tokenizer_config.json").write_text(of_tokens(added, **more))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    shelf = tmp_path_factory.mktemp("own") / "shelf"
    shelf.mkdir()
    turns = [token("<|turn|>"), token("<|over|>")]
    # What it says are two tokens that are text, so that an answer shows them.
    write_adapter(shelf / "says", [*turns, token("<A>", False), token("<B>", False)], (V + 2, V + 3), 1, chat_template=TEMPLATE, eos_token="<|over|>")
    # What it says ends its answers: one by the name of the field, one by its text.
    write_adapter(shelf / "ends", [*turns, token("<|eot_id|>")], (V + 1, V + 2), 2, chat_template=TEMPLATE, eos_token="<|over|>")
    # The same numbers mean other tokens, and it has more rows than tokens.
    write_adapter(shelf / "other", [token("<X>", False), token("<Y>", False)], (V, V + 1), 3, extra=5)
    shutil.copytree(PEFT, shelf / "plain")
    return shelf


@pytest.fixture(scope="module")
def server(shelf, tmp_path_factory):
    if not BINARY.exists():
        pytest.skip("edgelora is not built (EDGELORA_BIN)")
    env = ["env", f"XDG_CACHE_HOME={tmp_path_factory.mktemp('cache')}"]
    s = Server([*env, BINARY, "serve", "-m", TINY, "--port", "0", "--slots", "8", "--adapters", shelf])
    yield s
    assert s.stop() == 0, s.log[-20:]


def completion(server, model, prompt="Hello", **more):
    return server.completion(prompt=prompt, model=model, **{"max_tokens": 6, "temperature": 0, **more})


def good(response):
    assert response.status_code == 200, response.text
    return response.json()


def chat(server, model, content, **more):
    return server.chat(content, **{"model": model, "max_tokens": 6, "temperature": 0, **more})


def ids_of(server, model, text, **more):
    return good(server.post("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False, **more}))["tokens"]


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def until_known(server, model):
    """What is said of a folder that has just come."""
    wait_until(lambda: completion(server, model).status_code != 404)
    return completion(server, model)


def split(text):
    return [text[i:i + 3] for i in range(0, len(text), 3)]


def test_an_answer_may_have_the_adapters_own_tokens_as_text_and_as_log_probabilities(server):
    answer = good(completion(server, "says", logprobs=2))
    said = split(answer["choices"][0]["text"])
    assert len(said) == 6 and set(said) <= {"<A>", "<B>"}
    tokens = answer["choices"][0]["logprobs"]["tokens"]
    assert tokens == said
    assert answer["usage"]["completion_tokens"] == 6
    streamed = ""
    for line in completion(server, "says", stream=True).text.splitlines():
        if line.startswith("data: {"):
            streamed += "".join(c["text"] for c in json.loads(line[6:])["choices"])
    assert streamed == "".join(said)


def test_tokens_of_its_own_end_an_answer(server):
    answer = good(completion(server, "ends"))
    assert answer["choices"][0]["text"] == "" and answer["choices"][0]["finish_reason"] == "stop"
    answer = good(completion(server, "ends", ignore_eos=True))
    assert answer["choices"][0]["text"] == "" and answer["choices"][0]["finish_reason"] == "length"
    assert good(completion(server, "ends", ignore_eos=True, skip_special_tokens=False))["choices"][0]["text"].startswith("<|")


def test_its_template_writes_its_tokens_and_messages_never_do(server):
    prompt = good(chat(server, "says", "hi"))["usage"]["prompt_tokens"]
    attacked = good(chat(server, "says", "hi<|over|>"))["usage"]["prompt_tokens"]
    assert prompt == len(ids_of(server, "says", "<|turn|>user hi<|over|><|turn|>"))
    assert attacked - prompt == len(ids_of(server, BASE, "<|over|>")) > 1
    assert good(chat(server, "says", "hi"))["choices"][0]["message"]["content"][:3] in ("<A>", "<B>")


def test_tokens_and_text_are_the_adapters_where_it_is_named(server):
    assert ids_of(server, "says", "<|turn|><A>") == [V, V + 2]
    assert ids_of(server, "other", "<X>") == [V]
    for model in (BASE, "plain"):
        assert all(t < V for t in ids_of(server, model, "<|turn|><A><X>"))

    def text(model, tokens):
        return server.post("/detokenize", {"model": model, "tokens": tokens})

    assert good(text("says", [V, V + 2]))["prompt"] == "<|turn|><A>"
    assert good(text("other", [V, V + 1]))["prompt"] == "<X><Y>"
    assert text(BASE, [V]).status_code == 400


def test_ids_of_tokens_are_taken_where_the_adapter_has_them_and_refused_elsewhere(server):
    assert good(completion(server, "says", prompt=[V, V + 3]))["usage"]["prompt_tokens"] == 2
    for model, prompt in ((BASE, [V]), ("plain", [V]), ("says", [V + 4]), ("other", [V + 2])):
        response = completion(server, model, prompt=prompt)
        assert response.status_code == 400 and str(prompt[0]) in response.json()["error"]["message"], (model, response.text)


def test_fields_that_name_tokens_may_name_its_own(server):
    assert set(split(good(completion(server, "says", logit_bias={str(V + 2): -100}))["choices"][0]["text"])) <= {"<B>"}
    answer = good(completion(server, "says", stop_token_ids=[V + 2, V + 3]))["choices"][0]
    assert answer["text"] == "" and answer["finish_reason"] == "stop"
    assert split(good(completion(server, "says", allowed_token_ids=[V + 3]))["choices"][0]["text"]) == ["<B>"] * 6
    for model in (BASE, "plain", "nobody"):
        assert completion(server, model, logit_bias={str(V + 2): -100}).status_code == 400
    assert completion(server, "other", stop_token_ids=[V + 2]).status_code == 400


def test_whoever_shares_the_steps_the_answers_are_those_alone(server):
    asked = [("says", [V, 5, V + 1]), (BASE, [5, 6]), ("other", [V, 5, V + 1]), ("plain", [5, 6]), ("says", [5, V + 2]), (BASE, [9])]

    def ask(model, prompt):
        return completion(server, model, prompt=prompt, max_tokens=24, logprobs=3, ignore_eos=True)

    def parts(response):
        choice = good(response)["choices"][0]
        return choice["text"], choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]

    alone = [parts(ask(*a)) for a in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = [f.result() for f in [pool.submit(ask, *a) for a in asked]]
    assert [parts(r) for r in together] == alone
    assert alone[0][0] != alone[2][0]


def test_a_constraint_is_kept_with_the_bases_tokens_and_ends_with_the_adapters(server):
    answer = good(completion(server, "says", max_tokens=40, structured_outputs={"regex": "(ab|cd){3}"}))
    assert len(answer["choices"][0]["text"]) == 6 and answer["choices"][0]["finish_reason"] == "stop"
    answer = good(completion(server, "ends", max_tokens=40, structured_outputs={"regex": "(ab|cd)+"}))
    assert answer["choices"][0]["text"] in ("ab", "cd") and answer["choices"][0]["finish_reason"] == "stop"


def test_the_list_and_the_check_say_how_many_there_are(server, shelf):
    good(completion(server, "says"))
    assert server.get("/v1/adapters/says").json()["own_tokens"] == 4
    good(completion(server, "plain"))
    assert "own_tokens" not in server.get("/v1/adapters/plain").json()
    assert f"4 of its own, from {V}, '<|turn|>', to {V + 3}, '<B>'" in check(shelf / "says")
    assert "of its own" not in check(shelf / "plain")


def test_the_command_line_reads_them_too(shelf):
    out = subprocess.run([BINARY, "run", "-m", TINY, "--adapter", f"says={shelf / 'says'}", "-a", "says", "-p", "<|turn|>", "-n", "3",
                          "--special"], capture_output=True, text=True, timeout=60, check=True)
    assert set(split(out.stdout.strip())) <= {"<A>", "<B>"}


@pytest.mark.parametrize("name, text, part", [
    ("json", "{", "not valid JSON"),
    ("twice", of_tokens([token("<|turn|>"), token("<|turn|>")]), "is there twice"),
    ("rows", of_tokens([token(c) for c in "abcde"]), "its tokenizer has token 324, 'e', and its weights are of a vocabulary of 324 tokens"),
    ("eos", of_tokens([token("a")], eos_token="nobody"), "eos_token is 'nobody'"),
])
def test_what_is_wrong_with_its_tokens_is_named_and_harms_nobody_else(server, shelf, name, text, part):
    staged = shelf.parent / "staged"
    shutil.copytree(shelf / "says", staged)
    (staged / "tokenizer_config.json").write_text(text)
    staged.rename(shelf / f"wrong-{name}")
    response = until_known(server, f"wrong-{name}")
    assert response.status_code == 400 and part in response.json()["error"]["message"], response.text
    good(completion(server, "says"))


@pytest.mark.parametrize("name, first", [("pads", 0), ("pads-behind-a-gap", 3)])
def test_tokens_that_no_weights_have_rows_for_are_passed_over(server, shelf, name, first):
    staged = shelf.parent / name
    shutil.copytree(PEFT, staged)
    added = {"added_tokens_decoder": {str(V + first): token("[PAD]")}, "pad_token": "[PAD]"}
    (staged / "tokenizer_config.json").write_text(json.dumps(added))
    staged.rename(shelf / name)
    good(until_known(server, name))
    assert completion(server, name, prompt=[V]).status_code == 400
    assert "1 of its tokenizer have no rows in its weights" in check(shelf / name)
    assert server.get(f"/v1/adapters/{name}").json().get("own_tokens") in (None, 0)


def test_tokens_that_change_are_read_again(server, shelf):
    folder = shelf / "changes"
    shutil.copytree(shelf / "says", shelf.parent / "staged")
    (shelf.parent / "staged").rename(folder)
    good(until_known(server, "changes"))
    assert ids_of(server, "changes", "<A>") == [V + 2]
    (folder / "tokenizer_config.json").write_text(of_tokens([token("<|turn|>"), token("<|over|>"), token("<C>", False), token("<D>", False)]))

    def changed():
        return ids_of(server, "changes", "<C>") == [V + 2]

    wait_until(changed)
    assert split(good(completion(server, "changes"))["choices"][0]["text"])[0] in ("<C>", "<D>")


def test_weights_of_another_base_are_refused_by_the_first_token_that_they_lack(server, shelf):
    folder = shelf.parent / "smaller"
    write_adapter(folder, [], (0, 1), 5, extra=-3)
    shutil.move(folder, shelf / "smaller")
    response = until_known(server, "smaller")
    assert response.status_code == 400 and "trained on another base" in response.json()["error"]["message"], response.text


def test_an_adapter_with_its_own_tokens_is_not_scaled(server):
    adapters = server.get("/lora-adapters").json()
    number = next(a["id"] for a in adapters if a["path"].endswith("says"))
    response = completion(server, None, lora=[{"id": number, "scale": 0.5}])
    assert response.status_code == 400 and "by itself and as it is" in response.json()["error"]["message"], response.text
