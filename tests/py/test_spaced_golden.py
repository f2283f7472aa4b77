"""`edgelora tokenize` gives the peer's ids on vocabularies that are written as text: SentencePiece's kinds and Gemma 4's.

EDGELORA_BIN names the program (default: build/edgelora). The vocabularies are in tests/golden/spaced.json.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))

import spaced  # noqa: E402
import tokenizer_corpus  # noqa: E402

GOLDEN = json.loads((ROOT / "tests" / "golden" / "spaced.json").read_text(encoding="utf-8"))
BINARY = pathlib.Path(os.environ.get("EDGELORA_BIN", ROOT / "build" / "edgelora"))

BOS = "<s>"

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")


@pytest.fixture(scope="module")
def lines():
    texts = spaced.lines()
    assert tokenizer_corpus.digest(texts) == GOLDEN["corpus_sha256"], "the golden ids belong to other lines"
    return texts


@pytest.mark.parametrize("kind", spaced.KINDS)
def test_ids_are_the_peers(kind, lines, tmp_path):
    model, file = tmp_path / "vocabulary.gguf", tmp_path / "lines.jsonl"
    spaced.write_gguf(model, GOLDEN["vocabulary"], kind)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for way, flags in spaced.WAYS.items():
        run = subprocess.run([BINARY, "tokenize", "-m", model, "--file", file, *flags], stdout=subprocess.PIPE, text=True, timeout=300,
                             check=True)
        ids = [json.loads(line) for line in run.stdout.split("\n") if line]
        assert len(ids) == len(lines)
        # The peer puts a BOS before a text that begins with one, too, and warns of it.
        for i, line in enumerate(lines):
            if way == "special" and line.startswith(BOS):
                assert ids[i][0] == 1 and ids[i][1:2] != [1] or line.startswith(2 * BOS)
                ids[i].insert(0, 1)
        for shown in GOLDEN["lines"]:  # their differences can be read
            if (shown["kind"], shown["way"]) == (kind, way):
                assert ids[shown["line"]] == shown["ids"], f"{way}, line {shown['line']}: {shown['text']!r}"
        got, want = spaced.block_hashes(ids), GOLDEN["blocks"][f"{kind} {way}"]
        wrong = [i // 8 * GOLDEN["block"] for i in range(0, len(want), 8) if got[i : i + 8] != want[i : i + 8]]
        assert got == want, f"{kind} {way}: differences in the blocks of {GOLDEN['block']} lines from {wrong[:10]} on"
