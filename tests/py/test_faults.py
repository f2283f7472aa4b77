"""Every allocation of a request fails once, and every call to the system: the server answers rightly or with an error, leaks nothing, and goes on. A start
ends in a server that is whole, or in an error. tests/faults/faults.c makes them fail.

Some of them, at equal distances; with EDGELORA_ALL_FAULTS all of them, which takes minutes (`make faults`)."""

import errno
import os
import shutil
import subprocess

import pytest
from conftest import Server
from faults import LIBRARY, LORA, NEVER, REQUESTS, Faults, Watch, ask, command, right_or_error, settled

ALL = bool(os.environ.get("EDGELORA_ALL_FAULTS"))
MOST = 1000  # allocations of a request; none has as many
HARMLESS = (0, errno.EINTR)  # a part of what was asked for, an interruption: the answer is the right one
ERRORS = (*HARMLESS, errno.EMFILE, errno.ENOSPC, errno.EIO, errno.ENOMEM)

pytestmark = [
    pytest.mark.skipif(not LIBRARY.exists(), reason="libfaults is not built"),
    pytest.mark.skipif(bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ)), reason="the sanitizer is the allocator"),
]


def some(n, most):
    """Which of n: all, or `most` that are spread over them."""
    return range(n) if ALL else sorted({i * n // most for i in range(most)})


def one_adapter(folder):
    shutil.copytree(LORA, folder / "adapters" / "one")
    return folder / "adapters"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """(server, faults, watch)"""
    folder = tmp_path_factory.mktemp("faulty")
    told = Faults.in_file(folder / "faults")
    adapters = one_adapter(folder)
    shutil.copytree(LORA, adapters / "tenant" / "two")
    s = Server(command(folder, "--adapters", adapters))
    yield s, told, Watch(s)
    assert s.stop() == 0, s.log[-20:]


def right_answer(port, name):
    """Once all that is made the first time is there."""
    for _ in range(3):
        answer = ask(port, *REQUESTS[name])
    return answer


@pytest.mark.parametrize("name", REQUESTS)
def test_each_allocation_of_a_request_may_fail(faulty, name):
    s, told, watch = faulty
    path, body = REQUESTS[name]
    right = right_answer(s.port, name)
    told.arm(NEVER, memory=True)
    assert ask(s.port, path, body) == right
    told.disarm()
    n, live = told.seen, settled(told, watch, 0, seconds=0.03)
    assert 30 < n < MOST
    failed = 0
    for k in some(n, 8):
        told.arm(k, memory=True)
        status, values = ask(s.port, path, body)
        failed += told.disarm()
        what = f"allocation {k}, {told.what} of {told.where}: {status} {values}"
        assert right_or_error(status, values, right[1]), what
        assert settled(told, watch, live) <= live, f"leaks: {what}"
    assert failed
    assert ask(s.port, path, body) == right


@pytest.mark.parametrize("name", ["chat-tools", "completions", "embeddings"])
def test_all_allocations_of_a_request_may_fail_from_one_on(faulty, name):
    s, told, watch = faulty
    path, body = REQUESTS[name]
    right = right_answer(s.port, name)
    told.arm(NEVER, memory=True)
    ask(s.port, path, body)
    told.disarm()
    live = settled(told, watch, 0, seconds=0.03)
    for k in some(told.seen, 4):
        told.arm(k, memory=True, all_after=True)
        status, values = ask(s.port, path, body)
        told.disarm()
        what = f"allocations from {k} on, {told.what} of {told.where}: {status} {values}"
        assert right_or_error(status, values, right[1]), what
        assert settled(told, watch, live) <= live, f"leaks: {what}"
    assert ask(s.port, path, body) == right


def test_each_call_of_a_request_may_fail(faulty):
    s, told, watch = faulty
    for name in REQUESTS if ALL else ("completions",):
        path, body = REQUESTS[name]
        right = right_answer(s.port, name)
        for error in ERRORS:
            k, failed = 0, True
            while failed:
                told.arm(k, error=error)
                status, values = ask(s.port, path, body)
                failed = told.disarm()
                what = f"{name}: call {k}, {told.what} of {told.where}, error {error}: {status} {values}"
                assert right_or_error(status, values, right[1]), what
                assert error not in HARMLESS or (status, values) == right, what
                watch.idle()
                k += 1
        assert ask(s.port, path, body) == right


DEEP = {"type": "function", "function": {"name": "f", "parameters": {"x": None}}}
for _ in range(200):
    DEEP["function"]["parameters"] = {"x": DEEP["function"]["parameters"], "y": [1, "two"]}
REFUSED = {
    "tools-deep": ("/v1/chat/completions", {"messages": [], "tools": [DEEP]}),
    "tools-deep-messages": ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [
        {"name": "f", "input_schema": DEEP}]}),
    "messages-deep": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x", "more": DEEP}]}),
    "variables-deep": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": DEEP}),
    "choice-of-no-tool": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [
        {"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
    "schema": ("/v1/completions", {"prompt": "x", "guided_json": {"type": "object", "properties": {"a": {"$ref": "#/no"}}}}),
    "grammar": ("/completion", {"prompt": "x", "grammar": "root ::= a b [a-"}),
    "model": ("/v1/completions", {"prompt": ["x"] * 20, "model": "none", "stop": ["a", "b"], "logit_bias": {"1": 1}}),
    "prompt": ("/v1/completions", {"prompt": ["x", 7]}),
    "rank": ("/rerank", {"query": "x", "documents": ["y", 7]}),
    "previous": ("/v1/responses", {"input": [{"role": "user", "content": "x"}], "previous_response_id": "resp_0"}),
}


def test_a_refused_request_leaves_nothing(faulty):
    s, told, watch = faulty
    for name, (path, body) in REFUSED.items():
        for _ in range(2):
            assert ask(s.port, path, body)[0] in (400, 404), name
        live = settled(told, watch, 0, seconds=0.03)
        for _ in range(3):
            ask(s.port, path, body)
        assert settled(told, watch, live) <= live, name


@pytest.mark.parametrize("error", [*ERRORS, "memory"] if ALL else [errno.EMFILE, errno.EIO])
def test_a_look_through_the_folders_that_fails_takes_no_adapter_away(faulty, error):
    s, told, watch = faulty
    how = {"memory": True} if error == "memory" else {"error": error}

    def offered():
        return {model["id"] for model in s.get("/v1/models").json()["data"]}

    names, k, failed = offered(), 0, True
    assert {"one", "tenant/two"} <= names
    while failed:
        told.arm(k, **how)
        ask(s.port, "/v1/rescan_lora_adapters", {})
        failed = told.disarm()
        what = f"call {k}, {told.what} of {told.where}, error {error}"
        watch.idle()
        assert offered() == names, what
        k += 1
    assert k > 1 or error == 0


# ---------------------------------------------------------------- the start


def start(folder, told, keys):
    """A whole life with what is armed: None where it does not start, which ends in an error; else the answer of its adapter."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    process = subprocess.Popen(command(folder, "--adapters", folder / "adapters", "--api-keys", keys), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = []
    for line in process.stdout:
        log.append(line)
        if "listening on" in line:
            break
    else:
        assert process.wait(60) == 1 and len(log) and log[-1].startswith("edgelora: "), log
        return None
    port = int(line.rsplit(":", 1)[1])
    answer = ask(port, "/v1/completions", {"model": "one", "prompt": "abc", "max_tokens": 3, "temperature": 0}, key="k" * 20)
    process.terminate()
    log += process.stdout
    assert process.wait(60) == 0, log
    return answer


@pytest.mark.parametrize("error", [*ERRORS, "memory"])
def test_each_call_of_a_start_may_fail(error, tmp_path):
    told = Faults.in_file(tmp_path / "faults")
    one_adapter(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("k" * 20 + "\n")
    keys.chmod(0o600)
    how = {"memory": True} if error == "memory" else {"error": error}
    told.arm(NEVER, **how)
    status, right = start(tmp_path, told, keys)
    told.disarm()
    assert status == 200
    for k in some(told.seen, 4):
        told.arm(k, **how)
        answer = start(tmp_path, told, keys)
        told.disarm()
        what = f"call {k}, {told.what} of {told.where}, error {error}: {answer}"
        assert answer or error not in HARMLESS, what
        assert not answer or right_or_error(*answer, right), what
        assert error not in HARMLESS or answer == (200, right), what
