"""Vectors of texts as OpenAI's own client gets them."""

import base64
import concurrent.futures
import json
import math
import struct

import pytest
from conftest import MODEL, ROOT

GOLDEN = json.loads((ROOT / "tests" / "golden" / "embeddings.json").read_text())["default"]
TEXTS = ["The cat sat on the mat.", "A kitten was sitting on a rug.", "Interest rates rose by half a per cent."]


def vectors(client, texts, model, **fields):
    return [d.embedding for d in client.embeddings.create(input=texts, model=model, **fields).data]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_a_text_and_a_list_of_texts_and_tokens_give_the_same_vectors(client, server, names):
    together = client.embeddings.create(input=TEXTS, model=names[0])
    assert [d.index for d in together.data] == [0, 1, 2] and together.model == names[0] and together.object == "list"
    alone = client.embeddings.create(input=TEXTS[1], model=names[0])
    assert alone.data[0].embedding == together.data[1].embedding
    assert 0 < alone.usage.prompt_tokens == alone.usage.total_tokens < together.usage.prompt_tokens
    for v in (d.embedding for d in together.data):
        assert abs(sum(x * x for x in v) - 1) < 1e-5
    ids = GOLDEN["prompts"]
    by_text = vectors(client, GOLDEN["texts"], names[0])
    assert vectors(client, ids, names[0]) == by_text
    assert vectors(client, ids[0], names[0]) == by_text[:1]


def test_vectors_are_llama_servers(client, names):
    if MODEL.name != GOLDEN["model"]:
        pytest.skip("the golden vectors are another model's")
    for pooling, cases in GOLDEN["vectors"].items():
        ours = vectors(client, GOLDEN["prompts"], names[0], extra_body={"pooling": pooling})
        for v, case in zip(ours, cases):
            assert cosine(v, case["exact"]) > min(0.999, cosine(case["out"], case["exact"]) - 0.001)


def test_float_and_base64_say_the_same(client, server, names):
    body = {"input": TEXTS, "model": names[0]}
    plain = server.post("/v1/embeddings", {**body, "encoding_format": "float"}).json()["data"]
    packed = server.post("/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"]
    for a, b in zip(plain, packed):
        data = base64.b64decode(b["embedding"], validate=True)
        unpacked = struct.unpack(f"<{len(data) // 4}f", data)
        assert [struct.unpack("<f", struct.pack("<f", x))[0] for x in a["embedding"]] == list(unpacked)


def test_dimensions_cut_a_vector_and_it_is_of_length_one_again(client, server, names):
    whole = vectors(client, TEXTS, names[0])
    for n in (1, 2, 5, 100):
        for v, w in zip(vectors(client, TEXTS, names[0], dimensions=n), whole):
            length = math.sqrt(sum(x * x for x in w[:n]))
            assert len(v) == n and all(abs(x - y / length) < 1e-5 for x, y in zip(v, w))
    for n in (0, -1, len(whole[0]) + 1):
        reply = server.post("/v1/embeddings", {"input": "a", "dimensions": n})
        assert reply.status_code == 400 and reply.json()["error"]["param"] == "dimensions"


def test_an_adapter_is_a_model_and_has_vectors_of_its_own(client, names):
    base = vectors(client, TEXTS, names[0])
    for name in names[1:4]:
        assert vectors(client, TEXTS, name) == vectors(client, TEXTS, name)
        assert all(v != b and cosine(v, b) > 0.3 for v, b in zip(vectors(client, TEXTS, name), base))


def test_vectors_are_the_same_bits_beside_texts_and_each_other(client, server, names):
    alone = vectors(client, TEXTS, names[0])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(server.completion, prompt=t, model=n, max_tokens=20) for t in TEXTS for n in names[:3]]
        many = [pool.submit(vectors, client, TEXTS, names[0]) for _ in range(4)]
        assert all(m.result() == alone for m in many)
        assert all(t.result().status_code == 200 for t in texts)


@pytest.mark.parametrize("body, param", [
    ({}, "input"),
    ({"input": []}, "input"),
    ({"input": ""}, "input"),
    ({"input": ["a", ""]}, "input"),
    ({"input": [[]]}, "input"),
    ({"input": [10**9]}, "input"),
    ({"input": {"a": 1}}, "input"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ({"input": "a", "pooling": "rank"}, "pooling"),
    ({"input": "a", "dimensions": "2"}, "dimensions"),
    ({"input": "word " * 100_000}, "input"),
    ({"input": ["a"] * 2000}, "input"),
])
def test_what_cannot_be_made_a_vector_of_is_named(server, body, param):
    reply = server.post("/v1/embeddings", body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


def test_as_many_texts_as_one_request_may_have_are_answered(fake):
    s = fake(slots=4, queue=1024)
    reply = s.post("/v1/embeddings", {"input": [[i] for i in range(1024)], "model": "fake"}).json()
    for i, d in enumerate(reply["data"]):
        assert d["index"] == i and d["embedding"] == [float(k == i % 8) for k in range(8)]
    assert reply["usage"]["prompt_tokens"] == 1024


def test_auto_has_no_vectors(fake):
    s = fake(router=1)
    reply = s.post("/v1/embeddings", {"input": "a", "model": "auto"})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "model"
