"""What Kubernetes' inference gateway asks of a model server, and whether /metrics has it: the model server protocol of the Gateway API
Inference Extension (kubernetes-sigs/gateway-api-inference-extension, docs/proposals/003-model-server-protocol, as of v1.6.0). Metrics are read
as its endpoint picker reads them (v1.3.0, pkg/epp/datalayer/metrics), by the names that it looks for when it is told no others."""

import concurrent.futures
import threading
import time

import pytest
from conftest import BINARY, ROOT, Server
from prometheus_client.parser import text_string_to_metric_families

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
LORA = ROOT / "tests" / "golden" / "lora"
GAUGES = {"waiting": "vllm:num_requests_waiting", "running": "vllm:num_requests_running", "kv": "vllm:kv_cache_usage_perc"}
LABELS = {"max_lora", "running_lora_adapters", "waiting_lora_adapters"}


def families(server):
    """{name: samples}; the protocol wants gauges."""
    found = {f.name: f for f in text_string_to_metric_families(server.get("/metrics").text)}
    assert all(found[name].type == "gauge" and found[name].documentation for name in found if name.startswith("vllm:"))
    return {name: f.samples for name, f in found.items()}


def split(label):
    """The picker's: at commas, without blanks, nothing empty."""
    return [name.strip() for name in label.split(",") if name.strip()]


def picked(server):
    """What a picker makes of it."""
    found = families(server)
    seen = {key: found[name][-1].value for key, name in GAUGES.items()}
    lora = max(found["vllm:lora_requests_info"], key=lambda s: s.value)
    assert set(lora.labels) == LABELS
    cache = found["vllm:cache_config_info"][-1].labels
    return {**seen, "max": int(lora.labels["max_lora"]), "active": split(lora.labels["running_lora_adapters"]), "at": lora.value,
            "coming": split(lora.labels["waiting_lora_adapters"]), "block": int(cache["block_size"]), "blocks": int(cache["num_gpu_blocks"])}


@pytest.fixture(scope="module")
def tiny():
    s = Server([BINARY, "serve", "-m", TINY, "--adapter", f"one={LORA / 'tiny-peft'}", "--adapter", f"two={LORA / 'tiny.gguf'}",
                "--adapter", f"a, b={LORA / 'tiny.gguf'}", "--port", "0", "--slots", "2", "--lora-info"])
    yield s
    assert s.stop() == 0


def test_the_model_server_protocols_metrics_are_there_and_tell_what_is(tiny):
    before = picked(tiny)
    assert (before["waiting"], before["running"], before["active"], before["coming"]) == (0, 0, [], [])
    assert before["max"] == 2 and before["block"] > 0 and before["blocks"] > 0, "room for as many as can run at once"
    assert abs(before["at"] - time.time()) < 60
    assert tiny.completion(model="one", prompt="a", max_tokens=1).status_code == 200
    assert picked(tiny)["active"] == ["one"]
    assert tiny.completion(model="two", prompt="a", max_tokens=1).status_code == 200
    after = picked(tiny)
    assert after["active"] == ["one", "two"] and after["max"] == 4 and after["at"] >= before["at"]


def test_a_name_that_the_list_would_tear_apart_is_not_in_it(tiny):
    assert tiny.completion(model="a, b", prompt="a", max_tokens=1).status_code == 200
    assert not {"a", "b", "a, b"} & set(picked(tiny)["active"])


def test_requests_that_wait_and_run_are_told(fake):
    s = fake(slots=2, lora_info=1, drain_ms=100)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = [pool.submit(s.completion, model="slow", prompt="a", max_tokens=1_000_000, ignore_eos=True) for _ in range(3)]
        s.wait_busy(3)
        while (seen := picked(s))["running"] < 2:
            time.sleep(0.01)
        assert (seen["running"], seen["waiting"]) == (2, 1)
        s.stop()
        assert {r.result().status_code for r in running} == {503}


def test_keys_and_values_of_what_runs_are_told_as_a_part_of_all(tiny):
    over = threading.Event()

    def ask():
        while not over.is_set():
            assert tiny.completion(prompt="a" * 40, max_tokens=60, ignore_eos=True).status_code == 200

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        try:
            deadline = time.monotonic() + 60
            while not 0 < (kv := picked(tiny)["kv"]) <= 1:
                assert time.monotonic() < deadline and kv == 0
        finally:
            over.set()
        for a in asked:
            a.result()


def test_the_list_of_adapters_is_there_only_if_asked_for(fake):
    """Whoever stores all series would get one for each change."""
    found = families(fake(more=10, resident=10))
    assert "vllm:lora_requests_info" not in found and set(GAUGES.values()) <= set(found)


def test_the_list_is_bounded_with_10_000_adapters_in_memory(fake):
    s = fake(more=10_000, resident=10_000, lora_info=1)
    text = s.get("/metrics").text
    line = next(x for x in text.split("\n") if x.startswith("vllm:lora_requests_info{"))
    seen = picked(s)
    assert len(line) < 20_000 and len(seen["active"]) == 256 == len(set(seen["active"]))
    assert all(name.startswith("more/") for name in seen["active"])
