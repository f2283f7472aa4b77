#!/usr/bin/env python3
"""The EdgeLoRA paper's evaluation: our server beside llama-server and beside itself with one idea switched off.

Every run has a server of its own, alone on the machine, with the load generator (`edgelora-bench load`) on the same cores. Servers take
turns, and get the same arrivals, adapters and lengths (the seed is the run's number). Before it is measured, a server answers short requests for
adapters by the same law, so that its cache has what it would have after a while. Adapters are links to --files LoRA files (rank 16 on all
linear layers, F16, random weights); edgelora has memory for --resident of them, llama-server loads all that it is started with.

What was measured stays in --out, a file a run; a run whose file is there is not made again, so an interrupted evaluation goes on.
At the end it writes docs/performance/evaluation.md and, in --out, a report of each model (report-MODEL.html). Nothing else should be running meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "peer")]
import bench as peer_bench  # noqa: E402
import evaluation  # noqa: E402
from experiments import OURS, SATURATED, THEIRS, TITLES, everything, shorter  # noqa: E402
from serving import Edgelora, Failed, LlamaServer, gguf_adapters, link, pool_kib  # noqa: E402

CLIENTS = {"default": 16}  # of closed loops
OTHER_CLIENTS = 8
SLOTS = {"default": 32}  # of each server: bursts of an open loop take more than the clients of a closed one
OTHER_SLOTS = 8
CONTEXT = 512
ATTEMPTS = 3  # a server that hangs once is not to end an evaluation of an hour; what was measured so far stays anyway


def say(text):
    print(f"paper: {text}", file=sys.stderr, flush=True)


def clients_of(model):
    return CLIENTS.get(model, OTHER_CLIENTS)


def slots_of(model):
    return SLOTS.get(model, OTHER_SLOTS)


def folder_of(args, model):
    """Where its runs are kept."""
    return args.out / Path(model).stem


class Model:
    """A model, and the folders of adapters for it."""

    def __init__(self, args, name, scratch):
        self.args, self.name, self.slots, self.out = args, name, slots_of(name), folder_of(args, name)
        self.path = peer_bench.model_path(name)
        self.scratch = scratch / Path(name).stem
        self.scratch.mkdir()
        self.names, self.pool = {}, None

    def folder(self, n):
        if not self.names:
            say(f"{self.name}: making {self.args.files} adapters")
            self.files = gguf_adapters(self.args.edgelora, self.path, 16, self.args.files, self.scratch / "files")
        folder = self.scratch / f"adapters-{n}"
        if n not in self.names:
            self.names[n] = link(self.files, folder, n)
        return folder

    def serve(self, folder, *options):
        server = Edgelora(self.args.edgelora, self.path, folder, "-c", str(CONTEXT), "--slots", str(self.slots), "-t", str(self.args.threads),
                          "--queue", "65536", *options, env=dict(os.environ, XDG_CACHE_HOME=str(self.scratch)))
        server.wait()
        return server

    def start(self, point, which):
        """The server of a point, when it answers."""
        if point.demo:
            return self.serve(ROOT / "adapters", "--router", str(ROOT / "routers" / "demo.gguf"), *point.options)
        folder = self.folder(point.adapters)
        if which == OURS:
            if not self.pool:
                self.pool = pool_kib(lambda memory: self.serve(folder, "--memory", memory), self.names[point.adapters][0], self.args.resident,
                                     self.slots, CONTEXT)
            return self.serve(folder, "--memory", f"{self.pool}K", "--prefault", *point.options)
        server = LlamaServer(self.args.peer, self.path, folder, self.names[point.adapters], self.slots, CONTEXT, self.args.threads)
        server.wait_within(self.args.peer_memory, self.args.peer_start)
        return server


# ---- one run


def seconds_of(args, point, which):
    if args.seconds:
        return args.seconds
    if args.full:
        return 300
    if point.share:
        return 30
    return 20 if which == OURS else 45


def minutes_of(args, runs):
    """Of runs of `schedule`, with warm-up and start."""
    return sum(seconds_of(args, point, which) + args.warmup + 3 for _, point, which, _ in runs) / 60


def generate(args, model, server, which, options, seconds, path=None):
    command = [args.edgelora.with_name("edgelora-bench"), "load", "--url", f"http://127.0.0.1:{server.port}", "-m", model.path, "--duration", seconds, *options]
    command += ["--api", "llama-server"] if which == THEIRS else []
    command += ["--json", path, "--server-pid", server.process.pid] if path else []
    load = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if load.returncode and not (path and path.exists()):
        raise Failed(f"{' '.join(map(str, command))}: exit status {load.returncode}\n{load.stderr}\n{server.tail()}")


def facts_of(model, point, which, rate):
    return {"model": model.path.name, "experiment": point.experiment, "key": point.key, "adapters": point.adapters, "server": which,
            "options": list(point.options), "rate": rate, "share": point.share, "slots": model.slots, "clients": clients_of(model.name)}


def give_up(model, point, which, number, rate, why):
    """A server that does not start or answer is told in the tables, and the evaluation goes on."""
    (model.out / f"{point.name(which, number)}.facts").write_text(json.dumps(dict(facts_of(model, point, which, rate), failed=why)))


def run(args, model, point, which, number, rate):
    """One run; its file, and what was not in the load's report beside it."""
    folder, name = model.out, point.name(which, number)
    folder.mkdir(parents=True, exist_ok=True)
    part, facts_file = folder / f"{name}.part", folder / f"{name}.facts"
    facts = facts_of(model, point, which, rate)
    try:
        server = model.start(point, which)
    except Failed as e:
        if which == OURS:
            raise
        say(f"{which} with {point.adapters} adapters: {e}")
        why = next((line for line in reversed(str(e).splitlines()) if line.strip()), "it ended")
        give_up(model, point, which, number, rate, why.removeprefix("not started: "))
        return
    try:
        facts.update(start_seconds=time.monotonic() - server.began, started_mib=server.resident() / 1024)
        options = list(point.load)
        warm = without_lengths(options) + ([] if "--clients" in options else ["--clients", str(clients_of(model.name))])
        generate(args, model, server, which, warm + ["--input", "8", "--output", "2", "--seed", "0", "--timeout", str(args.timeout)], args.warmup)
        options += ["--rate", f"{rate:.4g}"] if rate else []
        options += [] if rate else ["--no-drain"]
        seconds = seconds_of(args, point, which)
        facts["seconds"] = seconds
        part.unlink(missing_ok=True)
        generate(args, model, server, which, options + ["--seed", str(number), "--timeout", str(args.timeout)], seconds, part)
        if which == OURS:
            server.stop()
    finally:
        server.kill()
    facts_file.write_text(json.dumps(facts))
    part.rename(folder / f"{name}.json")


def without_lengths(options):
    """For the warm-up: nor has it --cv, as it is a closed loop."""
    left = list(options)
    for name in ("--input", "--output", "--cv"):
        if name in left:
            at = left.index(name)
            del left[at : at + 2]
    return left


def rate_of(args, model, point):
    """Requests a second of an open loop; None: a closed one. 0: it cannot be told, as nothing was measured to take a share of."""
    if not point.share:
        return None
    server, share = point.share
    values = [r.throughput for r in evaluation.read(model.out) if (r.experiment, r.key) == SATURATED and r.server == server and r.load]
    return share * evaluation.median(values) if values else 0


# ---- all of them


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default="default,1b-q4_0", metavar="LIST", help="unless --full, llama-server and repetitions are for 'default', and of others for what decides a goal (default %(default)s)")
    p.add_argument("--only", default="", metavar="LIST", help="these experiments, such as goal,adapters")
    p.add_argument("--runs", type=peer_bench.positive, metavar="N", help="of each point (default 1, and 2 or 3 where a goal is decided; FULL: 3)")
    p.add_argument("--full", action="store_true", help="the paper's 300 s a run; FULL=1 in the environment does the same")
    p.add_argument("--seconds", type=peer_bench.positive, metavar="N", help="of every run, whatever it is")
    p.add_argument("--warmup", type=peer_bench.positive, default=3, metavar="N", help="seconds (default 3)")
    p.add_argument("--timeout", type=peer_bench.positive, default=60, metavar="N", help="seconds that an answer may take (default 60)")
    p.add_argument("--files", type=peer_bench.positive, default=100, metavar="N", help="that the adapters are links to (default 100)")
    p.add_argument("--resident", type=peer_bench.positive, default=50, metavar="N", help="adapters that edgelora has memory for (default 50)")
    p.add_argument("--threads", type=peer_bench.positive, metavar="N", help="of each server (default: one per physical core)")
    p.add_argument("--edgelora", default=ROOT / "build" / "edgelora", type=Path, metavar="FILE", help="our program (default build/edgelora)")
    p.add_argument("--peer", metavar="FILE", help="another llama-server than that of tools/peer/build.sh; 'none': leave it out")
    p.add_argument("--peer-memory", type=float, default=16, metavar="GIB", help="it is given up above that (default 16)")
    p.add_argument("--peer-start", type=float, default=60, metavar="SECONDS", help="or when its start takes longer (default 60)")
    p.add_argument("--out", type=Path, default=ROOT / "build" / "paper", metavar="DIR", help="(default build/paper)")
    p.add_argument("--evaluation", type=Path, default=ROOT / "docs" / "performance" / "evaluation.md", metavar="FILE", help="(default docs/performance/evaluation.md)")
    p.add_argument("--scratch", type=Path, metavar="DIR", help="where adapters are made for the time being (default: the system's)")
    p.add_argument("--list", action="store_true", help="say what would be run, and how long it takes at least")
    args = p.parse_args()
    args.full = args.full or os.environ.get("FULL") == "1"
    args.runs = args.runs or (3 if args.full else None)
    args.models = args.models.split(",")
    peer_bench.check_models(args.models)
    args.edgelora = args.edgelora.resolve()
    if not args.edgelora.exists():
        p.error(f"{args.edgelora}: no such program; run make first")
    if args.peer == "none":
        args.peer = None
    elif not args.peer:
        args.peer = peer_bench.built(THEIRS)
        if not args.peer:
            say("llama-server is left out, as it is not built (tools/peer/build.sh)")
    only = set(filter(None, args.only.split(",")))
    args.points = {}
    for name in args.models:
        points = (everything if name == "default" or args.full else shorter)(clients_of(name))
        args.points[name] = [point for point in points if (not only or point.experiment in only) and (name == "default" or not point.demo)]
    if only - set(TITLES):
        p.error(f"--only: {', '.join(sorted(only - set(TITLES)))}: no such experiment; there are {', '.join(TITLES)}")
    return args


def schedule(args):
    """(model, point, server, number) in the order in which they run."""
    for name, points in args.points.items():
        for point in points:
            for number in range(1, (args.runs or point.runs) + 1):
                servers = [s for s in point.servers if s == OURS or args.peer]
                yield from ((name, point, which, number) for which in (servers if number % 2 else servers[::-1]))


def done(args, name, point, which, number):
    """It was run, or its server did not start another time."""
    folder = folder_of(args, name)
    first = folder / f"{point.name(which, 1)}.facts"
    return (folder / f"{point.name(which, number)}.json").exists() or (first.exists() and "failed" in json.loads(first.read_text()))


def main():
    args = options()
    plan = list(schedule(args))
    left = minutes_of(args, [r for r in plan if not done(args, *r)])
    if args.list:
        for name, point, which, number in plan:
            print(f"{name:10} {point.experiment:10} {point.key:20} {which:13} run {number}  {seconds_of(args, point, which)} s"
                  f"{'  (is there)' if done(args, name, point, which, number) else ''}")
        print(f"{left:.0f} minutes at least")
        return
    args.threads = args.threads or peer_bench.physical_cores(args.edgelora)
    with tempfile.TemporaryDirectory(prefix="edgelora-paper-", dir=args.scratch) as scratch:
        models = {}
        for i, (name, point, which, number) in enumerate(plan):
            if done(args, name, point, which, number):
                continue
            model = models.get(name) or models.setdefault(name, Model(args, name, Path(scratch)))
            rate = rate_of(args, model, point)
            if rate == 0:
                say(f"{point.experiment} {point.key}: left out, as the throughput of {point.share[0]} was not measured")
                continue
            say(f"{i + 1} of {len(plan)}, {left:.0f} minutes left: {name}, {point.experiment} {point.key}, {which}, run {number}"
                + (f", {rate:.2f} requests/s" if rate else ""))
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    run(args, model, point, which, number, rate)
                    break
                except Failed as e:
                    if attempt == ATTEMPTS and which == OURS:
                        sys.exit(f"paper: {e}")
                    say(f"{'given up' if attempt == ATTEMPTS else 'once more'}, as it failed: {e}")
                    if attempt == ATTEMPTS:
                        why = next((line for line in reversed(str(e).splitlines()) if "edgelora: " in line), "").split("edgelora: ")[-1]
                        give_up(model, point, which, number, rate, f"{ATTEMPTS} runs failed" + (f": {why}" if why else ""))
            left -= minutes_of(args, [plan[i]])
    runs = {name: evaluation.read(folder_of(args, name)) for name in args.points}
    evaluation.write(args, runs, [peer_bench.our_version(args.edgelora), *([peer_bench.peer_version(args.peer)] if args.peer else [])], peer_bench.cpu())


if __name__ == "__main__":
    main()
