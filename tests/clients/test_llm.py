"""llm, the command: llm.datasette.io, "Other models"."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ADAPTER, BASE, QUESTION, both

LLM = pathlib.Path(sys.executable).with_name("llm")


@pytest.fixture(scope="module")
def user(tmp_path_factory, v1):
    home = tmp_path_factory.mktemp("llm")
    (home / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: {name}\n  model_name: {name}\n  api_base: {v1}\n  api_key_name: none\n  supports_schema: true\n  supports_tools: true\n"
            for name in (BASE, ADAPTER)
        )
    )
    return home


def llm(home, *arguments):
    ran = subprocess.run(
        [LLM, "-m", *arguments, "-o", "temperature", "0"], env={**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": "none"}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@both
def test_prompt(user, told, model):
    assert llm(user, model, QUESTION, "-o", "max_tokens", "16").rstrip("\n") == told(model).rstrip("\n")


def test_prompt_without_a_stream(user, told, model):
    assert llm(user, model, QUESTION, "-o", "max_tokens", "16", "--no-stream").rstrip("\n") == told(model).rstrip("\n")


def test_schema(user, model):
    answer = json.loads(llm(user, model, "Oslo has 700000 inhabitants.", "--schema", "name, population int", "-o", "max_tokens", "200"))
    assert isinstance(answer["population"], int)
