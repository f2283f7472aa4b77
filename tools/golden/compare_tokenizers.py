#!/usr/bin/env python3
"""Compares our token ids with the peer's, on vocabularies that `make test` does not have.

usage: tools/golden/compare_tokenizers.py [GGUF...]

Without arguments: the models of tools/fetch-model that are in the cache, and the vocabularies that come with the
peer's source. For each: the 10,000 lines of tokenizer_corpus.py and 1,000 with the texts of the vocabulary's
own special tokens in them, in three ways: as plain text, with special tokens parsed, and with these and what the model puts
around a text. Each text must come back from its tokens, too. Prints a table; exit status 1 when anything differs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import common
import gguf_pre
import tokenizer_corpus

BINARY = pathlib.Path(os.environ.get("EDGELORA_BIN", common.ROOT / "build" / "edgelora"))
SPECIAL_LINES = 1000
CONTROL, USER, UNKNOWN = 3, 4, 2
# The peer makes these special tokens even where the file has them as ordinary ones; we go by the file, as Hugging Face's tokenizers do.
PEERS_OWN = ("</s>", "<|end|>", "<EOT>", "<PAD>", "[PAD]", "<PRE>", "<SUF>", "<MID>", "<REPO>", "[EOT]", "[EOS]", "<eos>")
WAYS = {"plain": (), "special": ("--special",), "special and added": ("--special", "--bos")}


def special_lines(path):
    """Lines with the texts of special tokens, alone, in other text, side by side, cut short."""
    keys = gguf_pre.read_keys(path)
    tokens, types = keys["tokenizer.ggml.tokens"], keys.get("tokenizer.ggml.token_type", [])
    texts = [t for t, kind in zip(tokens, types) if kind in (CONTROL, USER, UNKNOWN) and t]
    r = tokenizer_corpus.Random(7)
    texts += ["<s>", "</s>", "\u2581", "\u2581\u2581", "<0x41>", "<0x0A>"]
    lines = []
    for i in range(SPECIAL_LINES):
        line = ""
        for _ in range(r.between(1, 4)):
            text = r.pick(texts)
            line += r.pick(["", "", " ", "\n", "  ", "x", "a b", "\t\n", "\u2581", "é", "user\n"]) + (text if r.below(8) else text[:-1])
        lines.append(line + r.pick(["", "", " ", "\n", "y"]))
    return lines


def ours(path, lines, flags):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
        file.flush()
        run = subprocess.run([BINARY, "tokenize", "-m", path, "--file", file.name, *flags], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    if run.returncode:
        raise SystemExit(f"{path}: {run.stderr}")
    ids = [json.loads(line) for line in run.stdout.split("\n") if line]
    assert len(ids) == len(lines)
    return ids


def compare(path, show):
    lines = tokenizer_corpus.lines() + special_lines(path)
    keys = gguf_pre.read_keys(path)
    odd = [t for t, kind in zip(keys["tokenizer.ggml.tokens"], keys.get("tokenizer.ggml.token_type", []))
           if kind not in (CONTROL, USER, UNKNOWN) and t in PEERS_OWN]
    n_all, lines = len(lines), [line for line in lines if not any(t in line for t in odd)]
    if odd:
        print(f"  {path.name}: {n_all - len(lines)} lines with {' or '.join(odd)} left out: only the peer takes these for special tokens")
    wrong = 0
    cells = []
    for way, flags in WAYS.items():
        mine = ours(path, lines, flags)
        theirs = [a["ids"] for a in common.ask(
            path, [{"text": line, "special": "--special" in flags, "add": "--bos" in flags} for line in lines], "--tokenize")]
        differ = [i for i in range(len(lines)) if mine[i] != theirs[i]]
        wrong += len(differ)
        cells.append(f"{len(differ)} of {len(lines)}")
        for i in differ[:show]:
            print(f"  {way}: {json.dumps(lines[i])}\n    ours   {mine[i]}\n    peer's {theirs[i]}")
    print(f"| {path.name} | {' | '.join(cells)} |", flush=True)
    return wrong


def default_files():
    files = sorted((common.CACHE / "models").glob("*.gguf"))
    return [f for f in files if not f.name.startswith("random-")] + sorted((common.PEER / "src" / "models").glob("ggml-vocab-*.gguf"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="*", type=pathlib.Path)
    p.add_argument("--show", type=int, default=3, help="differences to print of each file and way (default: 3)")
    a = p.parse_args()
    print(f"| vocabulary | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    wrong = 0
    for path in a.files or default_files():
        model = gguf_pre.read_keys(path).get("tokenizer.ggml.model")
        if model in ("gpt2", "llama", "gemma4"):
            wrong += compare(path, a.show)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
