#!/usr/bin/env python3
"""Many short requests over many adapters, in memory for a few of them: every answer is that of its adapter, and memory stays flat.

Makes --adapters PEFT folders with random weights (each answers the same prompts differently), asks each for its answers, one at a
time and without the prefix cache, and then sends --requests by a power law through --clients connections to a server with it whose
pool holds --resident of them. Two of the three prompts have their first two pages in common, so that pages are shared, kept and
given up all the time. With --replace two adapters exchange their files again and again meanwhile, and the folder is looked through: an answer
is that of the files before or after, and of those after once the server has said that it has looked. Ends with 0 when every answer was right and the server's resident memory did not grow after the first tenth.

The server runs without the allocator's lists of small freed pieces (GLIBC_TUNABLES): these keep neighbours from being joined, so
the heap's size creeps towards its largest by some hundred KiB however little is in use, and would hide a leak of a byte a request.
--allocator-lists leaves them on, to see how much that is.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from serving import Edgelora, Failed, blocks_of_adapters, peft_adapters, power_law

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
HEAD = "All you need to know. " * 2
PROMPTS = ("Hello", HEAD + "Who?", HEAD + "When?")
PARTS = 20
KV_BLOCKS = 16  # of the pool, beside the adapters: more than pages of all slots


def body_of(name, prompt, tokens):
    return json.dumps({"model": name, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "logprobs": 1, "ignore_eos": True})


def answer_of(response):
    choice = response["choices"][0]
    return json.dumps([choice["text"], choice["logprobs"]["token_logprobs"]])


def ask(connection, name, prompt, tokens):
    connection.request("POST", "/v1/completions", body_of(name, prompt, tokens), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise Failed(f"{name}: error {response.status}: {answer}")
    return answer_of(answer)


def start(args, folder, memory, *options):
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder.parent / "cache"))
    if not args.allocator_lists:
        environment["GLIBC_TUNABLES"] = PLAIN
    threads = ["--threads", args.threads] if args.threads else []
    # A machine that is stopped for minutes, as virtual ones are, ends no connection.
    server = Watched(args.edgelora, args.model, folder, "--memory", memory, "-c", "64", "--idle-timeout", "3600", "--receive-timeout", "3600", *threads, *options, env=environment)
    server.wait()
    return server


def right_answers(args, folder, names):
    """{(adapter, prompt): answer}, and the KiB of a pool for --resident adapters."""
    server = start(args, folder, "1G", "--no-prefix-cache")
    connection = server.connect()
    answers = {(i, p): ask(connection, name, prompt, args.tokens) for i, name in enumerate(names) for p, prompt in enumerate(PROMPTS)}
    connection.close()
    metrics = server.metrics()
    server.stop()
    for p in range(len(PROMPTS)):
        if len({answers[i, p] for i in range(len(names))}) < len(names):
            raise Failed("the adapters cannot be told apart")
    blocks = blocks_of_adapters(metrics) / metrics["edgelora_adapters_resident"]
    return answers, int((blocks * args.resident + KV_BLOCKS) * metrics["edgelora_pool_block_bytes"]) // 1024


class Files:
    """Whose weights each adapter's folder has: `now[i]` and `before[i]` are those that may answer for adapter i. Clients in other
    processes read both."""

    def __init__(self, folder, names):
        self.paths = [folder / name / "adapter_model.safetensors" for name in names]
        self.now, self.before = (multiprocessing.RawArray("i", range(len(names))) for _ in range(2))
        self.replaced = 0

    def of(self, i):
        return {self.before[i], self.now[i]}

    def exchange(self, server, a, b):
        """Each file is there whole at any moment: renamed, not written over."""
        bytes_of = [self.paths[i].read_bytes() for i in (a, b)]
        for i, new, data in zip((a, b), (self.now[b], self.now[a]), reversed(bytes_of)):
            self.now[i] = new
            fresh = self.paths[i].with_suffix(".new")
            fresh.write_bytes(data)
            fresh.rename(self.paths[i])
        connection = server.connect()
        connection.request("POST", "/v1/rescan_lora_adapters")
        response = connection.getresponse()
        said = response.read()
        connection.close()
        if response.status != 200:
            raise Failed(f"a rescan: error {response.status}: {said}")
        for i in (a, b):
            self.before[i] = self.now[i]
        self.replaced += 2


class Connection:
    """As http.client's, with less work: a request is a string of bytes that was made before."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request):
        self.socket.sendall(request)
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self.more()
        head = got[:end].lower()
        length = int(re.search(rb"\r\ncontent-length: (\d+)", head)[1])
        while len(got) < end + 4 + length:
            got += self.more()
        if not head.startswith(b"http/1.1 200 "):
            raise Failed(f"an error: {got}")
        return answer_of(json.loads(got[end + 4 :]))

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise Failed("the server closed a connection")
        return piece


def work(args, ith, port, names, right, files, pipe):
    """A process of clients: sends as many requests as it is told to, in turn, and says "" or what was wrong."""
    bodies = {(i, p): body_of(name, prompt, args.tokens).encode() for i, name in enumerate(names) for p, prompt in enumerate(PROMPTS)}
    requests = {key: b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                for key, body in bodies.items()}
    clients = [(random.Random(f"client {ith} {k}"), Connection(port)) for k in range(-(-args.clients // args.processes))]
    pick, failures = power_law(args.adapters, args.alpha), []

    def send(draw, connection, left):
        try:
            while next(left) > 0 and not failures:
                i, p = pick(draw.random()), draw.randrange(len(PROMPTS))
                before = files.of(i)
                answer = connection.ask(requests[i, p])
                may = [right[whose, p] for whose in before | files.of(i)]
                if answer not in may:
                    raise Failed(f"{names[i]} answered {answer}, none of {may}")
        except Exception as e:  # whatever it is, the run is no good
            failures.append(str(e) or repr(e))

    while n := pipe.recv():
        left = itertools.count(n, -1)
        threads = [threading.Thread(target=send, args=(*client, left)) for client in clients]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        pipe.send(failures[0] if failures else "")


def soak(args, server, names, right, files):
    """Sends the requests in PARTS parts: [(requests sent, files replaced, KiB resident, bytes of the heap in use, and held)], after each, when
    nothing is going on."""
    samples, failures, over, going_on = [], [], threading.Event(), threading.Lock()

    def replacer():
        draw = random.Random("replacer")
        try:
            while not over.wait(args.replace) and not failures:
                with going_on:
                    files.exchange(server, *draw.sample(range(args.adapters), 2))
        except Exception as e:  # as above
            failures.append(str(e) or repr(e))

    processes = []
    for ith in range(args.processes):
        ours, theirs = multiprocessing.Pipe()
        processes.append((ours, multiprocessing.Process(target=work, args=(args, ith, server.port, names, right, files, theirs), daemon=True)))
        processes[-1][1].start()
    replaces = threading.Thread(target=replacer)
    if args.replace:
        replaces.start()
    try:
        for part in range(PARTS):
            ends = [args.requests * (part * args.processes + k) // (PARTS * args.processes) for k in range(args.processes + 1)]
            told = [(pipe, n) for (pipe, _), n in zip(processes, (b - a for a, b in zip(ends, ends[1:]))) if n]
            for pipe, n in told:
                pipe.send(n)
            failures += [wrong for pipe, _ in told if (wrong := pipe.recv())]
            if failures:
                raise Failed(failures[0])
            with going_on:
                time.sleep(0.2)
                samples.append((ends[-1], files.replaced, server.resident(), *server.heap()))
                if args.verbose:
                    print("  " + described(samples[-1]), flush=True)
    finally:
        over.set()
        if args.replace:
            replaces.join()
        for _, process in processes:
            process.kill()
    return samples


def described(sample):
    requests, replaced, resident, used, held = sample
    heap = f"; heap: {used} bytes in use, {held // 1024} KiB" if held else ""
    return f"after {requests:7} requests, {replaced:5} replacements: {resident} KiB resident{heap}"


class Watched(Edgelora):
    """That can be asked what its heap holds, if it is built with its tests, and without a sanitizer."""

    def __init__(self, program, *args, env, **more):
        library = Path(program).parent / "tests" / "heap" / "libheap.so"
        self.socket, theirs = socket.socketpair()
        self.knows = library.exists() and not re.search(rb"lib[at]san\.so", Path(program).read_bytes())
        if self.knows:
            env = dict(env, LD_PRELOAD=str(library), EDGELORA_HEAP=str(theirs.fileno()))
            more["pass_fds"] = [theirs.fileno()]
        super().__init__(program, *args, env=env, **more)
        theirs.close()

    def heap(self):
        """Bytes in use, and bytes held for them; 0, 0: it does not say."""
        if not self.knows:
            return 0, 0
        self.socket.sendall(b"?")
        return tuple(map(int, self.socket.recv(64).split()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgelora", default=ROOT / "build" / "edgelora")
    parser.add_argument("--model", default=ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf")
    parser.add_argument("--template", type=Path, default=ROOT / "tests" / "golden" / "lora" / "tiny-peft", help="a PEFT folder that fits the model")
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--resident", type=int, default=20, help="adapters that the pool holds")
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--replace", type=float, default=0.0, metavar="SECONDS", help="two adapters exchange their files that often (default: never)")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2, help="that the clients share (default 2)")
    parser.add_argument("--threads", type=int, help="of the server (default: its own)")
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.5, help="of the power law; small: many misses")
    parser.add_argument("--slack-kib", type=int, default=64, help="growth of the heap in use that is let pass, or of the resident memory where the heap "
                        "is not known: tables of a fixed size that are touched the first time (default 64)")
    parser.add_argument("--slack-resident-kib", type=int, default=1024, help="growth of the resident memory where the heap is known: what the "
                        "allocator holds creeps towards its largest (default 1024)")
    parser.add_argument("--verbose", action="store_true", help="tell each measurement when it is made")
    parser.add_argument("--allocator-lists", action="store_true", help="the allocator as it is by default")
    args = parser.parse_args()

    server = None
    with tempfile.TemporaryDirectory(prefix="edgelora-soak-") as scratch:
        folder = Path(scratch) / "adapters"
        folder.mkdir()
        try:
            names = peft_adapters(args.template, folder, args.adapters)
            right, memory = right_answers(args, folder, names)
            print(f"{args.adapters} adapters, {len(set(right.values()))} different answers", flush=True)
            server = start(args, folder, f"{memory}K")
            began = time.monotonic()
            files = Files(folder, names)
            samples = soak(args, server, names, right, files)
            took = time.monotonic() - began
            metrics = server.metrics()
            server.stop()
        except Failed as e:
            sys.exit(f"soak: {e}")
        finally:
            if server:
                server.kill()

    if not args.verbose:
        for sample in samples:
            print("  " + described(sample))
    cached, hits, misses, loads, gone = (metrics[f"edgelora_{name}"] for name in (
        "cached_tokens_total", "adapter_hits_total", "adapter_misses_total", 'adapter_loads_total{result="done"}', "adapter_evictions_total"))
    tenth = next(sample for sample in samples if sample[0] >= args.requests // 10)
    growth, in_use = (samples[-1][k] - tenth[k] for k in (2, 3))
    print(f"{args.requests} requests in {took:.0f} s, all answers right; pool {memory} KiB; {100 * hits / (hits + misses):.0f}% hits, {loads:.0f} loads, "
          f"{gone:.0f} evictions, {files.replaced} files replaced, {cached:.0f} prompt tokens from the prefix cache; since the first tenth: resident memory "
          f"{growth:+} KiB" + (f", heap in use {in_use:+} bytes" if tenth[4] else ""))
    if in_use > 1024 * args.slack_kib:
        sys.exit(f"soak: the heap in use grew by {in_use} bytes")
    if growth > (args.slack_resident_kib if tenth[4] else args.slack_kib):
        sys.exit(f"soak: resident memory grew by {growth} KiB")
    if args.requests >= 1000 and not (cached and gone):
        sys.exit("soak: nothing was evicted or taken from the prefix cache: this run proves little")


if __name__ == "__main__":
    main()
