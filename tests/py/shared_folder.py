"""Servers of a folder of adapters that is shared: what the tests of slow and of half-copied ones have in common."""

import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
RESCAN = "/v1/rescan_lora_adapters"


@pytest.fixture
def start(tmp_path):
    started = []

    def run(folder, *options, **environment):
        command = ["env", f"XDG_CACHE_HOME={tmp_path / 'cache'}", *(f"{k}={v}" for k, v in environment.items())]
        started.append(Server([*command, BINARY, "serve", "-m", TINY, "--adapters", folder, "--port", "0", *options]))
        return started[-1]

    yield run
    for s in started:
        s.stop()


def ask(s, name):
    return s.completion(model=name, prompt="abc", max_tokens=8, temperature=0)
