#!/usr/bin/env python3
"""Makes tests/golden/spaced.json: the peer's token ids on small vocabularies that are written as text.

The vocabularies are made here too, by byte-pair encoding of lines of tokenizer_corpus.py, and are in the file: its tests write
them as GGUF files with write_gguf() and need no peer. One vocabulary, in four kinds: SentencePiece's with a space
put before texts and without, Phi 3's (whose special tokens take white space along), and Gemma 4's (merges). Ways: as
plain text, and with special tokens parsed and BOS put in front. For each kind and way there is a hash of every block of
BLOCK lines, and the ids of some lines to be read.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import struct
import sys

import tokenizer_corpus

BLOCK = 10
EXTRA_LINES = 500
SHOWN = 60
MERGES = 1200
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
SPACE = "\u2581"
SPECIAL = [["<unk>", UNKNOWN], ["<s>", CONTROL], ["</s>", CONTROL], ["<|user|>", CONTROL], ["<|end|>", CONTROL], ["[mask]", CONTROL],
           ["<tool>", USER], ["\n\n", USER], ["  ", USER], ["    ", USER], ["\t\t", USER], ["<|endoftext|>", CONTROL]]
KINDS = {"spm": {"model": "llama"}, "spm-no-space": {"model": "llama", "add_space_prefix": False},
         "phi3": {"model": "llama", "name": "Phi-3"}, "gemma4": {"model": "gemma4"}}
WAYS = {"plain": (), "special": ("--special", "--bos")}


def lines():
    """The corpus, and lines with the texts of special tokens in them."""
    r = tokenizer_corpus.Random(3)
    texts = [t for t, _ in SPECIAL] + [SPACE, SPACE * 2, "<0x41>", "<0x0A>"]
    extra = []
    for _ in range(EXTRA_LINES):
        line = ""
        for _ in range(r.between(1, 5)):
            text = r.pick(texts)
            line += r.pick(["", "", " ", "\n", "  ", "x", "a b", "of the", SPACE, "é"]) + (text if r.below(8) else text[:-1])
        extra.append(line + r.pick(["", "", " ", "\n", "y"]))
    return tokenizer_corpus.lines() + extra


def train():
    """Characters, and merges in order; what is counted equal is taken in the order of the texts."""
    words = collections.Counter()
    for line in tokenizer_corpus.lines()[::3]:
        for word in line.replace("\n", " ").replace("\t", " ").split(" "):
            if "<" not in word:  # no steps to the texts of control tokens: the peer makes these from plain text then, we never do
                words[SPACE + word] += 1
    chars = collections.Counter(c for word, n in words.items() for c in word * n)
    keep = {c for c, n in chars.items() if n >= 12} | {"\n", "\t", "<"}
    parts = {word: list(word) for word in words if set(word) <= keep}
    merges = []
    for _ in range(MERGES):
        pairs = collections.Counter()
        for word, p in parts.items():
            for pair in zip(p, p[1:]):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for p in parts.values():
            i = 0
            while i + 1 < len(p):
                if (p[i], p[i + 1]) == best:
                    p[i : i + 2] = [p[i] + p[i + 1]]
                i += 1
    # Tokens that reach over a space, as Gemma has one.
    merges += [(SPACE + "of", SPACE + "the"), ("=", SPACE + "a"), ("a", SPACE + "a")]
    return sorted(keep), [list(m) for m in merges]


def make_vocabulary():
    chars, merges = train()
    joined = list(dict.fromkeys(a + b for a, b in merges))
    assert not {c for a, b in merges for c in a + b} - set(chars)
    return {"chars": "".join(chars), "merges": merges, "n": len(SPECIAL) + 256 + len(chars) + len(joined)}


def tokens_of(vocabulary, strips=False):
    """[text, type, score], by id. Some scores are equal, as in Gemma's added tokens."""
    # White space that takes white space along would leave the order of the search to decide; Phi 3 has no such tokens.
    special = [[f"<w{i}>" if strips and t.isspace() else t, kind] for i, (t, kind) in enumerate(SPECIAL)]
    tokens = [[t, kind, -1000.0] for t, kind in special] + [[f"<0x{b:02X}>", BYTE, 0.0] for b in range(256)]
    joined = dict.fromkeys(a + b for a, b in vocabulary["merges"])
    tokens += [[text, NORMAL, -float(rank // 2)] for rank, text in enumerate(joined)]
    return tokens + [[c, NORMAL, -float(len(joined) + i)] for i, c in enumerate(vocabulary["chars"])]


def write_gguf(path, vocabulary, kind):
    """A file that holds the vocabulary and nothing else."""
    def text(s):
        data = s.encode()
        return struct.pack("<Q", len(data)) + data

    def array(item_type, items, pack):
        return struct.pack("<IQ", item_type, len(items)) + b"".join(map(pack, items))

    k = KINDS[kind]
    tokens = tokens_of(vocabulary, "name" in k)
    keys = [("general.architecture", 8, text("llama")), ("general.name", 8, text(k.get("name", "vocabulary"))),
            ("tokenizer.ggml.model", 8, text(k["model"])),
            ("tokenizer.ggml.tokens", 9, array(8, [t[0] for t in tokens], text)),
            ("tokenizer.ggml.token_type", 9, array(5, [t[1] for t in tokens], lambda v: struct.pack("<i", v))),
            ("tokenizer.ggml.scores", 9, array(6, [t[2] for t in tokens], lambda v: struct.pack("<f", v))),
            ("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 1)), ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 2)),
            ("tokenizer.ggml.unknown_token_id", 4, struct.pack("<I", 0)), ("tokenizer.ggml.add_bos_token", 7, b"\1")]
    if "add_space_prefix" in k:
        keys.append(("tokenizer.ggml.add_space_prefix", 7, bytes([k["add_space_prefix"]])))
    if k["model"] == "gemma4":
        keys.append(("tokenizer.ggml.merges", 9, array(8, [" ".join(m) for m in vocabulary["merges"]], text)))
    for name, value in (("context_length", 64), ("embedding_length", 64), ("block_count", 1), ("feed_forward_length", 64),
                        ("attention.head_count", 1), ("vocab_size", len(tokens))):
        keys.append((f"llama.{name}", 4, struct.pack("<I", value)))
    keys.append(("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)))
    body = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys)
    pathlib.Path(path).write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys)) + body)


def block_hashes(ids):
    """Four bytes for each block of lines, in hexadecimal."""
    out = ""
    for i in range(0, len(ids), BLOCK):
        block = b"".join(struct.pack(f"<I{len(line)}I", len(line), *line) for line in ids[i : i + BLOCK])
        out += hashlib.sha256(block).hexdigest()[:8]
    return out


def main():
    import common  # what asks the peer is not there where tests run

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    texts = lines()
    vocabulary = make_vocabulary()
    blocks, shown = {}, []
    for kind in KINDS:
        path = common.WORK / f"spaced-{kind}.gguf"
        common.WORK.mkdir(parents=True, exist_ok=True)
        write_gguf(path, vocabulary, kind)
        for way, flags in WAYS.items():
            jobs = [{"text": t, "special": "--special" in flags, "add": "--bos" in flags} for t in texts]
            ids = [a["ids"] for a in common.ask(path, jobs, "--tokenize")]
            blocks[f"{kind} {way}"] = block_hashes(ids)
            for i in range(0, len(texts), len(texts) // SHOWN):
                shown.append({"kind": kind, "way": way, "line": i, "text": texts[i], "ids": ids[i]})
            print(f"{kind} {way}: {sum(map(len, ids))} ids")
    common.write("spaced.json", {"program": common.peer_version(), "script": "tools/golden/spaced.py"},
                 {"corpus_sha256": tokenizer_corpus.digest(texts), "vocabulary": vocabulary, "block": BLOCK, "blocks": blocks, "lines": shown})


if __name__ == "__main__":
    sys.exit(main())
