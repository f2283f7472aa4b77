#!/usr/bin/env python3
"""Many short requests over many adapters, in memory for a few of them: every answer is that of its adapter, and memory stays flat.

Makes --adapters PEFT folders with random weights (each answers the same prompt differently), asks each once for its answer, one at a
time, and then sends --requests by a power law through --clients connections to a server whose pool holds --resident of them.
Ends with 0 when every answer was right and the server's resident memory did not grow after the first tenth.
"""

import argparse
import array
import bisect
import http.client
import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make_adapters(template, folder, n):
    """n copies of a PEFT folder's form with weights of their own."""
    raw = (template / "adapter_model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    at = 0
    for tensor in header.values():
        size = 4 * tensor["shape"][0] * tensor["shape"][1]
        tensor["dtype"], tensor["data_offsets"] = "F32", [at, at + size]
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    for i in range(n):
        draw = random.Random(i)
        path = folder / f"a{i:05}"
        path.mkdir()
        shutil.copy(template / "adapter_config.json", path)
        weights = array.array("f", (draw.uniform(-0.2, 0.2) for _ in range(at // 4)))
        (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights.tobytes())


class Server:
    def __init__(self, args, adapters, memory, *more):
        command = [args.edgelora, "serve", "-m", args.model, "--adapters", adapters, "--memory", memory, "-c", "64", "--port", "0", *more]
        environment = dict(os.environ, XDG_CACHE_HOME=str(adapters.parent / "cache"))
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        self.port = None
        for line in self.process.stderr:
            self.log.append(line)
            if line.startswith("listening on"):
                self.port = int(line.rsplit(":", 1)[1])
                break
        if not self.port:
            sys.exit("the server did not start:\n" + "".join(self.log))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def resident(self):
        """KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self):
        self.process.terminate()
        if self.process.wait(60):
            sys.exit("the server ended with an error:\n" + "".join(self.log[-20:]))


def ask(connection, name, tokens):
    body = json.dumps({"model": name, "prompt": "Hello", "max_tokens": tokens, "temperature": 0, "logprobs": 1, "ignore_eos": True})
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        return f"error {response.status}: {answer}"
    choice = answer["choices"][0]
    return json.dumps([choice["text"], choice["logprobs"]["token_logprobs"]])


def power_law(n, alpha, draw):
    cumulative = list(itertools.accumulate((i + 1) ** -alpha for i in range(n)))
    return lambda: bisect.bisect(cumulative, draw.random() * cumulative[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--edgelora", default=str(ROOT / "build" / "edgelora"))
    parser.add_argument("--model", default=str(ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"))
    parser.add_argument("--template", type=Path, default=ROOT / "tests" / "golden" / "lora" / "tiny-peft", help="a PEFT folder that fits the model")
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--resident", type=int, default=20, help="adapters that the pool holds")
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.5, help="of the power law; small: many misses")
    parser.add_argument("--slack-kib", type=int, default=1024, help="growth of the resident memory that is let pass")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="edgelora-soak-") as scratch:
        folder = Path(scratch) / "adapters"
        folder.mkdir()
        make_adapters(args.template, folder, args.adapters)
        names = [f"a{i:05}" for i in range(args.adapters)]

        server = Server(args, folder, "1G", "-v")
        connection = server.connect()
        expected = [ask(connection, name, args.tokens) for name in names]
        connection.close()
        server.stop()
        wrong = [e for e in expected if e.startswith("error")]
        if wrong:
            sys.exit(wrong[0])
        print(f"{args.adapters} adapters, {len(set(expected))} different answers")
        if len(set(expected)) < args.adapters:
            sys.exit("they cannot be told apart")
        loaded = [line for line in server.log if "loaded in" in line]
        blocks = int(re.search(r"in (\d+) blocks", loaded[0])[1])
        block_kib = float(re.search(r"blocks of (\d+) KiB", "".join(server.log))[1])
        memory = int((blocks * args.resident + 16) * block_kib)  # 16 blocks: pages of all slots

        server = Server(args, folder, f"{memory}K")
        done = itertools.count()
        failures, samples = [], []
        began = time.monotonic()

        def client(ith):
            draw = random.Random(f"client {ith}")
            pick, connection = power_law(args.adapters, args.alpha, draw), server.connect()
            while not failures and (k := next(done)) < args.requests:
                i = pick()
                answer = ask(connection, names[i], args.tokens)
                if answer != expected[i]:
                    failures.append(f"{names[i]} answered {answer}, not {expected[i]}")
                if k % max(1, args.requests // 20) == 0:
                    samples.append((k, server.resident()))

        clients = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
        took = time.monotonic() - began
        end = server.resident()
        server.stop()

    for k, kib in sorted(samples):
        print(f"  after {k:7} requests: {kib} KiB resident")
    if failures:
        sys.exit(failures[0])
    start = next(kib for k, kib in sorted(samples) if k >= args.requests // 10)
    print(f"{args.requests} requests in {took:.0f} s, all answers right; pool {memory} KiB; resident memory {end - start:+} KiB since the first tenth")
    if end - start > args.slack_kib:
        sys.exit(f"resident memory grew by {end - start} KiB")


if __name__ == "__main__":
    main()
