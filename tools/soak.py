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
import os
import random
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
KV_BLOCKS = 16  # of the pool, beside the adapters: more than pages of all slots


def ask(connection, name, prompt, tokens):
    body = json.dumps({"model": name, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "logprobs": 1, "ignore_eos": True})
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise Failed(f"{name}: error {response.status}: {answer}")
    choice = answer["choices"][0]
    return json.dumps([choice["text"], choice["logprobs"]["token_logprobs"]])


def start(args, folder, memory, *options):
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder.parent / "cache"))
    if not args.allocator_lists:
        environment["GLIBC_TUNABLES"] = PLAIN
    server = Edgelora(args.edgelora, args.model, folder, "--memory", memory, "-c", "64", *options, env=environment)
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
    """Whose weights each adapter's folder has: `of[i]` are those that may answer for adapter i."""

    def __init__(self, folder, names):
        self.paths = [folder / name / "adapter_model.safetensors" for name in names]
        self.of, self.replaced = [(i,) for i in range(len(names))], 0

    def exchange(self, server, a, b):
        """Each file is there whole at any moment: renamed, not written over."""
        before = [(i, self.of[i][0]) for i in (a, b)]
        bytes_of = [self.paths[i].read_bytes() for i in (a, b)]
        for (i, old), new, data in zip(before, (before[1][1], before[0][1]), reversed(bytes_of)):
            self.of[i] = (old, new)
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
            self.of[i] = self.of[i][1:]
        self.replaced += 2


def soak(args, server, names, right, files):
    """Sends the requests: [(requests sent, KiB resident)], in order, the last one at the end."""
    done, samples, failures, over = itertools.count(), [], [], threading.Event()

    def replacer():
        draw = random.Random("replacer")
        try:
            while not over.wait(args.replace) and not failures:
                files.exchange(server, *draw.sample(range(args.adapters), 2))
        except Exception as e:  # as below
            failures.append(e)

    def client(ith):
        draw, pick, connection = random.Random(f"client {ith}"), power_law(args.adapters, args.alpha), server.connect()
        try:
            while not failures and (k := next(done)) < args.requests:
                i, p = pick(draw.random()), draw.randrange(len(PROMPTS))
                before = files.of[i]
                answer = ask(connection, names[i], PROMPTS[p], args.tokens)
                may = [right[whose, p] for whose in {*before, *files.of[i]}]
                if answer not in may:
                    raise Failed(f"{names[i]} answered {answer}, none of {may}")
                if k % max(1, args.requests // 20) == 0:
                    samples.append((k, server.resident()))
        except Exception as e:  # whatever it is, the run is no good
            failures.append(e)

    clients = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
    replaces = threading.Thread(target=replacer)
    if args.replace:
        replaces.start()
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    over.set()
    if args.replace:
        replaces.join()
    if failures:
        raise failures[0]
    return [*sorted(samples), (args.requests, server.resident())]


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
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.5, help="of the power law; small: many misses")
    parser.add_argument("--slack-kib", type=int, default=64, help="growth of the resident memory that is let pass: tables of a fixed size "
                        "that are touched the first time (default 64)")
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

    for k, kib in samples:
        print(f"  after {k:7} requests: {kib} KiB resident")
    cached, hits, misses, loads, gone = (metrics[f"edgelora_{name}"] for name in (
        "cached_tokens_total", "adapter_hits_total", "adapter_misses_total", 'adapter_loads_total{result="done"}', "adapter_evictions_total"))
    growth = samples[-1][1] - next(kib for k, kib in samples if k >= args.requests // 10)
    print(f"{args.requests} requests in {took:.0f} s, all answers right; pool {memory} KiB; {100 * hits / (hits + misses):.0f}% hits, {loads:.0f} loads, "
          f"{gone:.0f} evictions, {files.replaced} files replaced, {cached:.0f} prompt tokens from the prefix cache; resident memory {growth:+} KiB since the first tenth")
    if growth > args.slack_kib:
        sys.exit(f"soak: resident memory grew by {growth} KiB")
    if args.requests >= 1000 and not (cached and gone):
        sys.exit("soak: nothing was evicted or taken from the prefix cache: this run proves little")


if __name__ == "__main__":
    main()
