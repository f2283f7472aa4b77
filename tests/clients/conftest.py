"""One server for all clients: edgelora with the default model and its demo adapters."""

import importlib.util
import os
import pathlib
import sys

import pytest

_spec = importlib.util.spec_from_file_location("servers", pathlib.Path(__file__).parents[1] / "py" / "conftest.py")
servers = importlib.util.module_from_spec(_spec)
sys.modules["servers"] = servers
_spec.loader.exec_module(servers)

# No client is to ask the world for anything: prices, tracing, telemetry.
os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "false",
}

BASE, ADAPTER = "SmolLM2-135M-Instruct", "sql"
QUESTION = "How many people live in Oslo?"


@pytest.fixture(scope="session")
def server():
    if not servers.BINARY.exists() or not servers.MODEL.exists():
        pytest.skip("edgelora or its default model is missing (EDGELORA_BIN, EDGELORA_MODEL)")
    s = servers.Server(
        [servers.BINARY, "serve", "-m", servers.MODEL, "--model-name", BASE, "--adapters", servers.ROOT / "adapters", "--port", "0"]
    )
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="session")
def v1(server):
    return server.url + "/v1"


@pytest.fixture
def model(request):
    """Every client names adapters as it names models; tests that are `both` name the base, too."""
    return getattr(request, "param", ADAPTER)


both = pytest.mark.parametrize("model", [BASE, ADAPTER], indirect=True)


@pytest.fixture(scope="session")
def told(server):
    """What /v1/chat/completions says to a question without sampling: what a client gives must be this."""

    def tell(model, text=QUESTION, max_tokens=16):
        r = server.chat(text, model=model, temperature=0, max_tokens=max_tokens)
        return r.json()["choices"][0]["message"]["content"]

    return tell
