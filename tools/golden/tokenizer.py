#!/usr/bin/env python3
"""Makes tests/golden/tokenizer.json and tokenizer.bin: the peer's token ids of the corpus in tokenizer_corpus.py.

For four pre-tokenizers on the default model's vocabulary; special tokens are not parsed and none are added.

tokenizer.json has the ids of some lines, to be read by a person or a unit test: under a pre-tokenizer's
name, or, where it says the same as smollm, not at all. tokenizer.bin has for every pre-tokenizer
("pre" in the JSON, in that order) and every line the first 3 bytes of the SHA-256 of its ids, each id as 4
little-endian bytes: enough to name a line that is wrong. What such a line should be is told by --show.

The ids are also made by Hugging Face's tokenizers, built from the same vocabulary, and what the two
disagree about is counted and shown: the peer's ids stand, since they are what this GGUF has meant so far.
"""

import argparse
import hashlib
import json
import struct
from importlib.metadata import version

import common
import gguf_pre
import tokenizer_corpus

PRE = ("smollm", "gpt-2", "llama-bpe", "qwen2")
SHOWN = 150  # lines in tokenizer.json

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def model_with(pre):
    path = common.WORK / f"pre-{pre}.gguf"
    if pre == "smollm":
        return common.default_model()
    if not path.exists():
        gguf_pre.write_with_pre(common.default_model(), path, pre)
    return path


def peer_ids(pre, corpus):
    return [a["ids"] for a in common.ask(model_with(pre), [{"text": line} for line in corpus], "--tokenize")]


def hugging_face_ids(pre, corpus):
    """The same by an independent implementation."""
    import gguf
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers as p
    reader = gguf.GGUFReader(common.default_model())
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    merges = [tuple(m.split(" ")) for m in reader.get_field("tokenizer.ggml.merges").contents()]
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges, ignore_merges=pre == "llama-bpe"))
    gpt2 = p.ByteLevel(add_prefix_space=False, use_regex=True)
    split = {"llama-bpe": LLAMA3, "qwen2": QWEN2}.get(pre)
    if split:
        t.pre_tokenizer = p.Sequence([p.Split(Regex(split), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        t.pre_tokenizer = p.Sequence([p.Digits(individual_digits=True), gpt2]) if pre == "smollm" else gpt2
    return [e.ids for e in t.encode_batch(corpus, add_special_tokens=False)]


def short_hash(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).digest()[:3]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--show", metavar="LINE", type=int, help="print one corpus line and its ids, and make nothing")
    a = p.parse_args()
    corpus = tokenizer_corpus.lines()
    if tokenizer_corpus.digest(corpus) != tokenizer_corpus.CORPUS_SHA256:
        raise SystemExit("the corpus has changed: set CORPUS_SHA256 in tokenizer_corpus.py")
    if a.show is not None:
        print(json.dumps(corpus[a.show]))
        for pre in PRE:
            print(f"{pre:10} {peer_ids(pre, [corpus[a.show]])[0]}")
        return

    found, disagree = {}, {}
    for pre in PRE:
        found[pre] = peer_ids(pre, corpus)
        other = hugging_face_ids(pre, corpus)
        wrong = [i for i in range(len(corpus)) if found[pre][i] != other[i]]
        disagree[pre] = len(wrong)
        print(f"{pre}: {sum(map(len, found[pre]))} ids; tokenizers {version('tokenizers')} disagrees on {len(wrong)} lines")
        for i in wrong[:5]:
            print(f"  {i}: {json.dumps(corpus[i])}\n    {found[pre][i]}\n    {other[i]}")

    (common.GOLDEN / "tokenizer.bin").write_bytes(b"".join(short_hash(ids) for pre in PRE for ids in found[pre]))
    shown = []
    for i in range(0, len(corpus), len(corpus) // SHOWN):
        entry = {"line": i, "text": corpus[i], "smollm": found["smollm"][i]}
        entry.update({pre: found[pre][i] for pre in PRE[1:] if found[pre][i] != found["smollm"][i]})
        shown.append(entry)
    common.write("tokenizer.json", {
        "program": common.peer_version(), "script": "tools/golden/tokenizer.py", "flags": "no special tokens parsed or added",
    }, {"model_sha256": common.MODEL_SHA256, "corpus_sha256": tokenizer_corpus.CORPUS_SHA256, "pre": list(PRE),
        "hash_bytes": 3, "disagreements_of_tokenizers": disagree, "lines": shown})


if __name__ == "__main__":
    main()
