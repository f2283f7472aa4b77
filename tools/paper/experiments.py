"""What `make paper` measures: the EdgeLoRA paper's experiments (arXiv 2507.01438, section 6) as a list of points.

A point is one load on one server setup. Closed loops tell throughput; open loops, whose rates are shares of a throughput that was
measured before, tell latencies.
"""

from dataclasses import dataclass, replace

PAPER_LENGTHS = ("--input", "8:128", "--output", "8:256")
OURS, THEIRS = "edgelora", "llama-server"
# The point whose throughput the rates are shares of.
SATURATED = ("adapters", "50")


@dataclass(frozen=True)
class Point:
    experiment: str
    key: str  # what the experiment varies
    adapters: int  # that are registered and asked for
    load: tuple  # options of `edgelora-bench load` but for the rate
    servers: tuple = (OURS, THEIRS)
    options: tuple = ()  # of `edgelora serve`
    share: tuple = None  # (server, x): an open loop with x times that server's throughput
    demo: bool = False  # the demo adapters, and their router
    runs: int = 1  # of the short evaluation; where a goal is decided, more

    def name(self, server, run):
        return f"{self.experiment}-{self.key}-{server}-{run}".replace("/", "_")


TITLES = {
    "goal": "Each client asks for an adapter of its own: 60 tokens in, 32 out",
    "adapters": "Throughput over the number of adapters",
    "alpha": "Throughput over the power law's exponent (200 adapters; 0: all alike)",
    "rate": "Latency and SLO over the request rate (50 adapters)",
    "cv": "First token over the burstiness of arrivals, at 80% of our throughput (50 adapters)",
    "selection": "Selection: the server chooses among the five demo adapters",
    "switches": "Our ideas switched off, one at a time (200 adapters)",
}


def closed(clients, alpha=1):
    return ("--clients", str(clients), "--alpha", str(alpha), *PAPER_LENGTHS)


def opened(cv):
    return ("--cv", str(cv), "--alpha", "1", *PAPER_LENGTHS)


def own(clients):
    return ("--clients", str(clients), "--own-adapter", "--input", "60", "--output", "32")


def everything(clients):
    """All of the experiments. The demo adapters are for the default model alone."""
    yield Point("goal", str(clients), clients, own(clients), runs=2)
    for n in (20, 50, 200, 2000):
        yield Point("adapters", str(n), n, closed(clients), runs=2)
    for alpha, servers in ((0, (OURS,)), (2, (OURS, THEIRS))):
        yield Point("alpha", str(alpha), 200, closed(clients, alpha), servers=servers)
    for share in (0.5, 1, 2):
        yield Point("rate", f"{share:g}-theirs", 50, opened(1.5), share=(THEIRS, share))
    for share, runs in ((0.5, 1), (0.8, 3)):
        yield Point("rate", f"{share:g}-ours", 50, opened(1.5), servers=(OURS,), share=(OURS, share), runs=runs)
    for cv in (0.5, 1, 2):
        yield Point("cv", str(cv), 50, opened(cv), servers=(OURS,), share=(OURS, 0.8))
    for key in ("named", "auto"):
        yield Point("selection", key, 5, closed(clients) + (("--auto",) if key == "auto" else ()), servers=(OURS,), demo=True)
    for key, options in (("one adapter a step", ("--step-adapters", "1")), ("no cache", ("--cache-policy", "none")),
                         ("LRU", ("--cache-policy", "lru")), ("F16 adapters", ("--adapter-type", "f16"))):
        yield Point("switches", key, 200, closed(clients), servers=(OURS,), options=options)


def shorter(clients):
    """What a model of a billion parameters leaves time for: the same points, one run of most, and llama-server where it decides a goal."""
    for point in everything(clients):
        with_peer = point.experiment in ("goal", "rate") or (point.experiment, point.key) == SATURATED
        yield replace(point, servers=point.servers if with_peer else (OURS,), runs=2 if point.experiment == "goal" else 1)
