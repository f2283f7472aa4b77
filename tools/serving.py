"""What the tools that run servers share: adapters with random weights, a server and its figures, a power law."""

import bisect
import collections
import http.client
import itertools
import json
import math
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

# Of a floating point type: bytes, bits of sign and mantissa, and where the exponent begins and what it is for 1.0.
FLOATS = {"F32": (4, 0x807FFFFF, 23, 127), "F16": (2, 0x83FF, 10, 15), "BF16": (2, 0x807F, 7, 127)}


class Failed(Exception):
    """A server that did not start, ended with an error, or refused a request."""


# ---- adapters


def random_weights(draw, kind, n, exponent):
    """n numbers of either sign in [2^exponent, 2^(exponent + 1)), as bytes. Computed on one long integer, as a loop over
    gigabytes would take minutes."""
    size, kept, shift, one = FLOATS[kind]
    both = [int.from_bytes(word.to_bytes(size, "little") * n, "little") for word in (kept, (one + exponent) << shift)]
    return (int.from_bytes(draw.randbytes(size * n), "little") & both[0] | both[1]).to_bytes(size * n, "little")


def peft_adapters(template, folder, n):
    """n copies of a PEFT folder's form with weights of their own, large ones, so that each answers differently; their names."""
    raw = (template / "adapter_model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    at = 0
    for tensor in header.values():
        size = 4 * math.prod(tensor["shape"])
        tensor["dtype"], tensor["data_offsets"] = "F32", [at, at + size]
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    names = [f"a{i:05}" for i in range(n)]
    for i, name in enumerate(names):
        path = folder / name
        path.mkdir()
        shutil.copy(template / "adapter_config.json", path)
        weights = random_weights(random.Random(i), "F32", at // 4, -3)
        (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights)
    return names


def gguf_adapter(path, matrices, rank, draw):
    """A LoRA file, in F16, for matrices of a model of the llama architecture: {name: (columns, rows)}."""

    def string(value):
        return struct.pack("<Q", len(value)) + value.encode()

    keys = [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
    pairs = b"".join(string(key) + struct.pack("<I", 8) + string(value) for key, value in keys)
    pairs += string("adapter.lora.alpha") + struct.pack("<If", 6, rank)
    shapes = [shape for name, (columns, rows) in matrices.items()
              for shape in ((f"{name}.lora_a", columns, rank), (f"{name}.lora_b", rank, rows))]
    infos, at = b"", 0
    for name, columns, rows in shapes:
        infos += string(name) + struct.pack("<IQQIQ", 2, columns, rows, 1, at)
        at += (2 * columns * rows + 31) // 32 * 32
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(keys) + 1) + pairs + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + random_weights(draw, "F16", at // 2, -7))


LINEAR = re.compile(r"  (blk\.\d+\.(?:attn_(?:q|k|v|output)|ffn_(?:gate|up|down))\.weight)\s+\S+\s+\d+ bytes\s+\[(\d+), (\d+)\]")


def linear_matrices(edgelora, model):
    """{name: (columns, rows)} of a model's layers."""
    told = subprocess.run([edgelora, "inspect", model], capture_output=True, text=True)
    found = {m[1]: (int(m[2]), int(m[3])) for m in map(LINEAR.match, told.stdout.splitlines()) if m}
    if told.returncode or not found:
        raise Failed(f"{model}: 'edgelora inspect' lists no matrices of layers\n{told.stderr}")
    return found


def gguf_adapters(edgelora, model, rank, n, folder):
    """n LoRA files with contents of their own for a model, in a folder that is made: their paths."""
    folder.mkdir()
    matrices = linear_matrices(edgelora, model)
    files = [folder / f"f{i:04}.gguf" for i in range(n)]
    for i, path in enumerate(files):
        gguf_adapter(path, matrices, rank, random.Random(i))
    return files


def link(files, folder, n):
    """n names for the files, in turn, in a folder that is made."""
    folder.mkdir()
    names = [f"a{i:05}" for i in range(n)]
    for i, name in enumerate(names):
        (folder / f"{name}.gguf").symlink_to(files[i % len(files)])
    return names


# ---- servers


class Server:
    """A server in a process of its own. Subclasses' ready() says whether it answers."""

    def __init__(self, command, **more):
        self.command = [str(c) for c in command]
        self.log, self.port = collections.deque(maxlen=1000), None
        self.began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", **more)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.said(line)

    def said(self, line):
        self.log.append(line)

    def wait(self, check=lambda: None):
        """Until it answers: how long that took. `check` may raise; if it does not start, it is killed."""
        try:
            while not self.ready():
                if self.process.poll() is not None:
                    self.reader.join()
                    raise Failed(f"{self.command[0]} did not start:\n" + self.tail())
                check()
                time.sleep(0.005)
        except BaseException:
            self.kill()
            raise
        return time.monotonic() - self.began

    def tail(self):
        return "".join(list(self.log)[-20:])

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def get(self, path):
        connection = self.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def resident(self):
        """KiB, counted page by page: VmRSS of /proc/PID/status is off by up to some hundred KiB."""
        return int(re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(), re.MULTILINE)[1])

    def stop(self):
        self.process.terminate()
        if self.process.wait(60):
            self.reader.join()
            raise Failed("the server ended with an error:\n" + self.tail())

    def kill(self):
        """However it is; nothing if it has ended."""
        self.process.kill()
        self.process.wait()


class Edgelora(Server):
    def __init__(self, program, model, adapters, *options, **more):
        super().__init__([program, "serve", "-m", model, "--adapters", adapters, "--port", "0", *options], **more)

    def said(self, line):
        super().said(line)
        if found := re.match(r"listening on \S+:(\d+)", line):
            self.port = int(found[1])

    def ready(self):
        return self.port is not None

    def metrics(self):
        return parse_metrics(self.get("/metrics")[1])


class LlamaServer(Server):
    """llama-server with all adapters of a folder (NAME.gguf) loaded and none applied."""

    def __init__(self, program, model, folder, names, slots, context, threads):
        self.port_wanted = free_port()
        command = [program, "-m", Path(model).resolve(), "--port", self.port_wanted, "-t", threads, "-np", slots, "-c", slots * context,
                   "--lora-init-without-apply", "--no-webui"]
        # The system limits an argument's length to 128 KiB, the program's own limit is that of file names with commas.
        for i in range(0, len(names), 1000):
            command += ["--lora", ",".join(f"{name}.gguf" for name in names[i : i + 1000])]
        super().__init__(command, cwd=folder)

    def ready(self):
        self.port = self.port_wanted
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def wait_within(self, gib, seconds):
        """As wait, but it may not take more than that."""

        def check():
            has, took = self.resident() / (1 << 20), time.monotonic() - self.began
            if has > gib or took > seconds:
                raise Failed(f"not started: given up after {took:.1f} s, at {has:.1f} GiB")

        return self.wait(check)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pool_kib(start, name, resident, slots, context):
    """KiB of a pool for `resident` adapters of the size of the one of this name, and for the pages of all slots.
    start(memory): an Edgelora that answers."""
    server = start("2G")
    try:
        connection = server.connect()
        connection.request("POST", "/v1/completions", json.dumps({"model": name, "prompt": "a", "max_tokens": 1}),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise Failed(f"{name}: error {response.status}: {body[:500]}")
        metrics = server.metrics()
        server.stop()
    finally:
        server.kill()
    tokens = 16 * metrics["edgelora_kv_pages"] / sum(n for key, n in metrics.items() if key.startswith("edgelora_pool_blocks{"))
    blocks = resident * blocks_of_adapters(metrics) + slots * -(-context // tokens)
    return int(blocks * metrics["edgelora_pool_block_bytes"]) // 1024


def parse_metrics(text):
    """{name with its labels: value}"""
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def blocks_of_adapters(metrics):
    return sum(metrics[f'edgelora_pool_blocks{{use="adapters_{use}"}}'] for use in ("used", "idle"))


# ---- loads and figures


def power_law(n, alpha):
    """A function of a random number in [0, 1): of 0 to n - 1, i as often as 1 / (i + 1)^alpha says."""
    cumulative = list(itertools.accumulate((i + 1) ** -alpha for i in range(n)))
    return lambda u: bisect.bisect_right(cumulative, u * cumulative[-1], hi=n - 1)


def percentile(values, share):
    """The smallest value that at least that share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
