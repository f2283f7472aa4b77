"""`edgelora tokenize` gives the peer's ids for every line of the corpus, for every pre-tokenizer that we know.

EDGELORA_BIN names the program (default: build/edgelora), EDGELORA_MODEL the default model's file.
"""

import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))

import gguf_pre  # noqa: E402
import tokenizer_corpus  # noqa: E402

GOLDEN = json.loads((ROOT / "tests" / "golden" / "tokenizer.json").read_text(encoding="utf-8"))
BINARY = pathlib.Path(os.environ.get("EDGELORA_BIN", ROOT / "build" / "edgelora"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
MODEL = pathlib.Path(os.environ.get("EDGELORA_MODEL", CACHE / "edgelora" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))

pytestmark = [
    pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)"),
    pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)"),
]


@pytest.fixture(scope="module")
def corpus():
    lines = tokenizer_corpus.lines()
    assert tokenizer_corpus.digest(lines) == GOLDEN["corpus_sha256"], "the golden ids belong to another corpus"
    return lines


def model_with(pre, folder):
    if pre == "smollm":
        return MODEL
    path = folder / f"{pre}.gguf"
    gguf_pre.write_with_pre(MODEL, path, pre)
    return path


def tokenize(model, lines, folder):
    """The program's ids of the lines."""
    file = folder / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run = subprocess.run([BINARY, "tokenize", "-m", model, "--file", file], stdout=subprocess.PIPE, text=True, timeout=300,
                         check=True)
    ids = [json.loads(line) for line in run.stdout.split("\n") if line]
    assert len(ids) == len(lines)
    return ids


def golden_hashes(pre):
    width, count = GOLDEN["hash_bytes"], tokenizer_corpus.LINES
    data = (ROOT / "tests" / "golden" / "tokenizer.bin").read_bytes()
    assert len(data) == width * count * len(GOLDEN["pre"])
    begin = GOLDEN["pre"].index(pre) * width * count
    return [data[begin + i * width : begin + (i + 1) * width] for i in range(count)]


def short_hash(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).digest()[: GOLDEN["hash_bytes"]]


@pytest.mark.parametrize("pre", GOLDEN["pre"])
def test_ids_are_the_peers(pre, corpus, tmp_path):
    ids = tokenize(model_with(pre, tmp_path), corpus, tmp_path)

    # First the lines whose ids are known in full: their differences can be read.
    for shown in GOLDEN["lines"]:
        assert ids[shown["line"]] == shown.get(pre, shown["smollm"]), f"line {shown['line']}: {shown['text']!r}"

    wrong = [i for i, golden in enumerate(golden_hashes(pre)) if short_hash(ids[i]) != golden]
    told = "\n".join(f"  {i}: {corpus[i]!r} gave {ids[i]}" for i in wrong[:10])
    assert not wrong, (f"{len(wrong)} of {len(corpus)} lines differ for {pre}; "
                       f"tools/golden/tokenizer.py --show LINE tells the peer's ids:\n{told}")
