"""Faults on purpose in a server as it is: what tests/faults/faults.c counts and lets fail, and requests of every dialect with the answers
that are right."""

import contextlib
import ctypes
import http.client
import json
import mmap
import time

from conftest import BINARY, ROOT

LIBRARY = BINARY.parent / "tests" / "faults" / "libfaults.so"
TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
LORA = ROOT / "tests" / "golden" / "lora" / "tiny-peft"

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}, "b": {"enum": [1, None]}}, "required": ["a"],
          "additionalProperties": False}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
FEW = {"temperature": 0, "seed": 1}

# name: (path, body). Each is sent as it is; with `one` it names the adapter.
REQUESTS = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 6, "logprobs": True, "top_logprobs": 2, "stop": ["@@"],
                                      "logit_bias": {"5": -1}, **FEW}),
    "chat-stream": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 6, "stream": True, "stream_options": {"include_usage": True}, **FEW}),
    "chat-tools": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 24, "tools": TOOLS, "tool_choice": "required", **FEW}),
    "chat-schema": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 24, "response_format": {
        "type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}, **FEW}),
    "completions": ("/v1/completions", {"prompt": ["abc", "de"], "n": 2, "max_tokens": 5, "echo": True, "logprobs": 1, "model": "one", **FEW}),
    "responses": ("/v1/responses", {"input": "Hello", "instructions": "Be brief.", "max_output_tokens": 5, "store": False, "temperature": 0}),
    "responses-stream": ("/v1/responses", {"input": "Hello", "max_output_tokens": 5, "stream": True, "store": False, "temperature": 0,
                                           "tools": [{"type": "function", **FUNCTION}]}),
    "messages": ("/v1/messages", {"messages": MESSAGES[1:], "system": "Be brief.", "max_tokens": 5, "model": "one", "temperature": 0}),
    "messages-tools": ("/v1/messages", {"messages": MESSAGES[1:], "max_tokens": 24, "model": "one", "temperature": 0, "stream": True, "tools": [
        {"name": "look", "input_schema": SCHEMA}], "tool_choice": {"type": "any"}}),
    "completion": ("/completion", {"prompt": "abc", "n_predict": 5, "n_probs": 2, "grammar": 'root ::= [a-z ]+', **FEW}),
    "infill": ("/infill", {"input_prefix": "abc", "input_suffix": "xyz", "n_predict": 5, **FEW}),
    "ollama-chat": ("/api/chat", {"model": "one", "messages": MESSAGES, "stream": False, "format": SCHEMA, "options": {"num_predict": 20, **FEW}}),
    "ollama-generate": ("/api/generate", {"model": "one", "prompt": "abc", "options": {"num_predict": 5, **FEW}}),
    "embeddings": ("/v1/embeddings", {"input": ["abc", "de"], "encoding_format": "base64"}),
    "rerank": ("/rerank", {"query": "abc", "documents": ["de", "fgh"]}),
    "tokenize": ("/tokenize", {"content": "Hello there", "with_pieces": True}),
}
OF_THEIR_TIME = {"id", "created", "created_at", "completed_at", "item_id", "response_id", "timings", "total_duration", "load_duration",
                 "prompt_eval_duration", "eval_duration", "cached_tokens", "tokens_cached", "tokens_evaluated", "cache_read_input_tokens",
                 "prompt_tokens_details", "input_tokens_details", "call_id", "tool_use_id", "generation_settings", "id_slot", "prompt_ms", "seed"}


class Faults(ctypes.Structure):
    """struct faults."""

    _fields_ = [("at", ctypes.c_int64), ("memory", ctypes.c_int32), ("error", ctypes.c_int32), ("all", ctypes.c_int32), ("hits", ctypes.c_int32),
                ("seen", ctypes.c_int64), ("live", ctypes.c_int64), ("what", ctypes.c_char * 32),
                ("where", ctypes.c_char * 1000)]

    @classmethod
    def in_file(cls, path):
        path.write_bytes(bytes(ctypes.sizeof(cls)))
        with path.open("r+b") as f:
            told = cls.from_buffer(mmap.mmap(f.fileno(), ctypes.sizeof(cls)))
        told.at = -1
        return told

    def arm(self, at, *, memory=False, error=0, all_after=False):
        """Whatever is counted from here on fails at number `at`; `at` may be too large to be reached."""
        self.at = -1
        self.memory, self.error, self.all, self.hits, self.seen, self.what, self.where = memory, error, all_after, 0, 0, b"", b""
        self.at = at

    def disarm(self):
        """Whether anything failed."""
        self.at = -1
        return self.hits > 0


NEVER = 1 << 60


def command(folder, *options):
    """edgelora serve with the tiny model, faults as FOLDER/faults says them."""
    env = ["env", f"LD_PRELOAD={LIBRARY}", f"EDGELORA_FAULTS={folder / 'faults'}", f"XDG_CACHE_HOME={folder / 'cache'}"]
    return [*env, BINARY, "serve", "-m", TINY, "--port", "0", "-c", "1024", "-t", "1", "--slots", "4", *options]


# ---------------------------------------------------------------- answers


def lasting(value):
    """An answer without what differs from one time to the next."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in OF_THEIR_TIME}
    if isinstance(value, list):
        return [lasting(v) for v in value]
    return value


def parts(body):
    """The JSON values of an answer: one, or those of a stream's events or lines."""
    if not body:
        return []
    if not body.startswith(("data:", "event:")):
        return [json.loads(line) for line in body.splitlines()]
    data = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
    return [json.loads(d) for d in data if d != "[DONE]"]


def ask(port, path, body, timeout=60, key=None):
    """(status, [values]) on a connection of its own; (0, [...]): it was closed before an answer was whole."""
    data = json.dumps(body).encode()
    status, text = 0, b""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        c.request("POST", path, data, headers | ({"Authorization": f"Bearer {key}"} if key else {}))
        response = c.getresponse()
        text = response.read()
        status = response.status
    except http.client.IncompleteRead as e:
        text = e.partial
    except (http.client.HTTPException, ConnectionError):
        pass
    finally:
        c.close()
    if not status:  # of a stream that was cut off, what came whole
        text = text[: text.rfind(b"\n") + 1]
        with contextlib.suppress(ValueError):
            return 0, lasting(parts(text.decode()))
        return 0, []
    try:
        return status, lasting(parts(text.decode()))
    except ValueError as e:
        return status, f"no JSON: {e}: {text}"


def is_error(values):
    return bool(values) and any(isinstance(v, dict) and ("error" in v or v.get("type") in ("error", "response.failed")) for v in values)


def right_or_error(status, values, right):
    """Whether it is the right answer, or an error in its place or at its end, or was cut off, which a client sees."""
    if isinstance(values, str):
        return False
    return status == 0 or (status == 200 and (values == right or is_error(values[-2:]))) or (status >= 400 and is_error(values))


class Watch:
    """Looks at a server's health."""

    def __init__(self, server):
        self.port = server.port

    def health(self):
        # On a new connection each time: while one is open, libmicrohttpd that was refused a file waits for its end.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/health", headers={"Connection": "close"})
            response = connection.getresponse()
            assert response.status == 200
            return json.loads(response.read())

    def idle(self, seconds=60):
        until = time.monotonic() + seconds
        while (h := self.health())["slots_busy"] or h["queued"]:
            assert time.monotonic() < until, h
            time.sleep(0.001)


def settled(told, watch, most, seconds=30):
    """The allocations that live once nothing runs any more: as soon as they are no more than `most`, or after a while."""
    until = time.monotonic() + seconds
    while True:
        watch.idle()
        live = told.live
        if live <= most or time.monotonic() > until:
            return live
        time.sleep(0.002)
