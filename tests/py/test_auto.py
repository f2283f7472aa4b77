"""`auto` from end to end: the demo router, the demo adapters and the default model, over HTTP and on the command line."""

import json
import shutil
import subprocess
import time

import openai
import pytest
from conftest import BINARY, MODEL, ROOT, Server

ROUTER = ROOT / "routers" / "demo.gguf"
TRADES = ["headline", "redact", "sentiment", "shell", "sql"]
# Prompts of no trade, one of them close to one.
OTHERS = ["What is the capital of France?", "Write a short poem about the sea.", "How does an index make a SQL query faster? Explain."]

pytestmark = [pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)"),
              pytest.mark.skipif(not MODEL.exists(), reason="the default model is missing (EDGELORA_MODEL)")]


def heldout(trade, n):
    lines = (ROOT / "tools" / "demo" / "heldout" / f"{trade}.jsonl").read_text().splitlines()
    return [json.loads(line)["prompt"] for line in lines[:: len(lines) // n][:n]]


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """The trained router; adapters by other names that it knows nothing of but their examples, beside the demo's own."""
    more = tmp_path_factory.mktemp("adapters")
    (more / "customer").mkdir()
    (more / "customer" / "query").symlink_to(ROOT / "adapters" / "sql")
    s = Server([BINARY, "serve", "-m", MODEL, "--model-name", "base", "--adapters", ROOT / "adapters", "--adapters", more, "--router", ROUTER, "--port", "0"])
    yield s
    assert s.stop() == 0, s.log[-20:]


def route(server, prompt, **options):
    reply = server.post("/v1/route", {"messages": [{"role": "user", "content": prompt}], "edgelora": options} if options
                        else {"messages": [{"role": "user", "content": prompt}]})
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("trade", TRADES)
def test_held_out_prompts_go_to_their_trade(routed, trade):
    own = {trade, "customer/query"} if trade == "sql" else {trade}
    chosen = [route(routed, prompt)["adapter"] for prompt in heldout(trade, 12)]
    assert sum(c in own for c in chosen) >= 11, chosen


def test_prompts_of_no_trade_go_to_the_base(routed):
    assert [route(routed, prompt)["adapter"] for prompt in OTHERS] == ["base"] * len(OTHERS)


def test_an_adapter_takes_part_by_its_examples(routed):
    prompts = heldout("sql", 10)
    chosen = [route(routed, prompt, candidates=["customer/*", "shell", "base"])["adapter"] for prompt in prompts]
    assert chosen.count("customer/query") >= 9, chosen
    assert "customer/query" not in [route(routed, prompt, candidates=["customer/*", "base"])["adapter"] for prompt in OTHERS]


def test_the_answer_is_that_of_the_adapter_that_is_named_in_it(routed):
    client = openai.OpenAI(base_url=f"{routed.url}/v1", api_key="none", max_retries=0)
    for prompt in [heldout("shell", 1)[0], heldout("redact", 1)[0], OTHERS[0]]:
        ask = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 24}
        chosen = client.chat.completions.create(model="auto", **ask)
        named = client.chat.completions.create(model=chosen.model, **ask)
        assert chosen.choices[0].message.content == named.choices[0].message.content
        streamed = list(client.chat.completions.create(model="auto", stream=True, **ask))
        assert {chunk.model for chunk in streamed} == {chosen.model}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == chosen.choices[0].message.content


def test_a_system_message_and_earlier_turns_do_not_change_the_choice(routed):
    for trade in ["shell", "headline"]:
        for prompt in heldout(trade, 3):
            reply = routed.post("/v1/route", {"messages": [
                {"role": "system", "content": "You are the assistant of a bookshop. " * 20}, {"role": "user", "content": "Hello, who are you?"},
                {"role": "assistant", "content": "I am the assistant of a bookshop."}, {"role": "user", "content": prompt}]})
            assert reply.json()["adapter"] == route(routed, prompt)["adapter"] == trade


def test_run_says_which_adapter_answers():
    command = [BINARY, "run", "-m", MODEL, "--adapters", ROOT / "adapters", "--router", ROUTER, "-a", "auto", "-n", "24", "--temp", "0"]
    prompt = heldout("shell", 1)[0]
    auto = subprocess.run([*command, "-p", prompt, "-v"], capture_output=True, text=True, timeout=120)
    assert auto.returncode == 0, auto.stderr
    assert "shell" in auto.stderr
    command[command.index("auto")] = "shell"
    named = subprocess.run([*command, "-p", prompt], capture_output=True, text=True, timeout=120)
    assert auto.stdout == named.stdout


def test_a_router_for_another_model_is_refused(tmp_path):
    tiny = ROOT / "tests" / "golden" / "tiny" / "q4_0.gguf"
    failed = subprocess.run([BINARY, "run", "-m", tiny, "--router", ROUTER, "-a", "auto", "-p", "x"], capture_output=True, text=True, timeout=60)
    assert failed.returncode != 0
    assert "demo.gguf" in failed.stderr and "fingerprint" in failed.stderr


def test_a_folders_name_is_never_taken_for_a_format(tmp_path):
    """Examples that cannot be read are told of with the folder's path, which says anything that its owner likes."""
    folder = tmp_path / "%s%n%s%n%s%n"
    shutil.copytree(ROOT / "adapters" / "sql", folder)
    (folder / "examples.jsonl").write_text(json.dumps({"prompt": "\4"}) + "\n")  # a byte that the vocabulary lacks
    s = Server([BINARY, "serve", "-m", MODEL, "--adapters", tmp_path, "--router", ROUTER, "--port", "0"])
    try:
        begin = time.monotonic()
        while not any("examples are not used" in line for line in s.log) and s.process.poll() is None and time.monotonic() - begin < 60:
            time.sleep(0.02)
        assert any(f"{folder}/examples.jsonl: the model's vocabulary" in line for line in s.log), s.log[-5:]
        assert s.completion(prompt="a", max_tokens=1).status_code == 200
    finally:
        assert s.stop() == 0


def test_a_limited_key_is_told_by_name_which_adapter_of_its_own_was_chosen_and_cannot_be_used(tmp_path):
    for name in ("sql", "acme/query"):
        shutil.copytree(ROOT / "adapters" / "sql", tmp_path / "adapters" / name)
    config = tmp_path / "adapters" / "acme" / "query" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 0}))
    (tmp_path / "keys").write_text("operator-operator\nacme-acme-acme-acme acme/*\n")
    s = Server([BINARY, "serve", "-m", MODEL, "--adapters", tmp_path / "adapters", "--router", ROUTER, "--api-keys", tmp_path / "keys", "--port", "0"])
    try:
        ask = {"model": "auto", "messages": [{"role": "user", "content": heldout("sql", 1)[0]}], "max_tokens": 1}
        begin = time.monotonic()
        while "edgelora_adapters_in_router 2\n" not in s.get("/metrics", headers={"Authorization": "Bearer operator-operator"}).text:
            assert time.monotonic() - begin < 60
            time.sleep(0.02)
        for stream in (False, True):
            told = s.post("/v1/chat/completions", {**ask, "stream": stream}, headers={"Authorization": "Bearer acme-acme-acme-acme"}).text
            assert "'acme/query': r is 0, supported are 1 to 1024" in told and str(tmp_path) not in told, told
    finally:
        assert s.stop() == 0
