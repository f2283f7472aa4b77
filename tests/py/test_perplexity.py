"""Perplexity of the default model against llama.cpp's on the same text (tests/golden/perplexity.json)."""

import json
import os
import re
import subprocess

import pytest

from conftest import BENCH, MODEL, ROOT

GOLDEN = ROOT / "tests" / "golden"


def recorded(name):
    results = json.loads((GOLDEN / "perplexity.json").read_text())["results"]
    return next(r for r in results if r["name"] == name)


def perplexity(model, *options):
    command = [BENCH, "perplexity", "-m", model, "-f", GOLDEN / "text.txt", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return float(re.search(r"perplexity ([0-9.]+) ", done.stdout.splitlines()[-1]).group(1))


@pytest.mark.skipif(not MODEL.exists(), reason="the default model is not there")
@pytest.mark.parametrize("weights, record, within", [("keep", "default", 0.005), ("f16", "F32", 0.001)])
def test_perplexity_of_the_default_model_is_llama_cpps(weights, record, within):
    want = recorded(record)["ppl"]
    assert abs(perplexity(MODEL, "--weights", weights) / want - 1) <= within


# The other types of the record are made with llama-quantize (tools/golden/perplexity.py), which `make test` does not need.
@pytest.mark.parametrize("record", ["Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "F16", "BF16"])
def test_perplexity_of_every_type_is_llama_cpps(record):
    folder = os.environ.get("EDGELORA_GOLDEN_MODELS")
    if not folder:
        pytest.skip("EDGELORA_GOLDEN_MODELS names no folder with smollm2-TYPE.gguf files")
    want = recorded(record)["ppl"]
    got = perplexity(os.path.join(folder, f"smollm2-{record.lower()}.gguf"))
    assert abs(got / want - 1) <= (0.01 if "_K" in record else 0.005)
