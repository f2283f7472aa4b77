"""Files as `edgelora-bench load --json` writes them, made up: small, the same at every run, and as wrong as a test wants."""

import random

COLUMNS = ["at", "sent", "first", "last", "done", "adapter", "input", "output", "prompt_tokens", "completion_tokens",
           "cached_tokens", "texts", "end", "status"]


def spread(values):
    if not values:
        return None
    s = sorted(values)

    def at(q):
        return s[max(0, -(-len(s) * q // 100) - 1)]

    return {"n": len(s), "mean": sum(s) / len(s), "p50": at(50), "p90": at(90), "p99": at(99), "max": s[-1]}


def load_run(api="openai", adapters=50, rate=4.0, alpha=1.0, cv=1.5, seed=1, duration=60, service=0.3, first=0.05,
             memory=300 << 20, failed=0, hit_rate=0.9, joules=None, names=None, **members):
    """A server of one queue: each request takes about `service` seconds, its first token `first`."""
    rng = random.Random(f"{api} {adapters} {rate} {alpha} {cv} {seed} {service}")
    at, free, requests = 0.0, 0.0, []
    while True:
        at += rng.gammavariate(1 / cv**2, cv**2 / rate)
        if at >= duration:
            break
        begin = max(at, free - 6 * service)
        free = max(free, at) + service * rng.uniform(0.5, 1.5) / 4
        ttft, latency = begin - at + first * rng.uniform(0.7, 2), begin - at + first + service * rng.uniform(0.5, 3)
        end = "http" if len(requests) < failed else "done"
        requests.append([round(x, 6) for x in (at, at, at + ttft, at + latency, at + max(latency, ttft))]
                        + [int(rng.paretovariate(0.7 * alpha)) % adapters, 60, 32, 60, 32, 0, 32, end, 500 if end == "http" else 200])
    done = [r for r in requests if r[12] == "done"]
    seconds = max(r[4] for r in requests)
    run = {
        "schema": "edgelora-load/1", "version": "0.1.0", "began": 1764045000, "interrupted": False,
        "machine": {"cpu": "AMD EPYC (a made-up one)"},
        "server": {"url": "http://127.0.0.1:8080", "api": api, "model": "SmolLM2" if api == "openai" else None},
        "workload": {"loop": "open", "auto": False, "own_adapter": False, "clients": 0, "adapters": adapters, "seed": seed,
                     "prompt_seed": seed, "prompts": "token ids", "alpha": alpha, "input": [8, 128], "output": [8, 256],
                     "rate": rate, "cv": cv, "duration": duration},
        "summary": {
            "seconds": seconds, "sent": len(requests), "done": len(done), "failed": failed, "cut": 0,
            "requests_per_second": len(done) / seconds, "tokens_in_per_second": 60 * len(done) / seconds,
            "tokens_out_per_second": 32 * len(done) / seconds, "tokens_in": 60.0 * len(done), "tokens_out": 32.0 * len(done),
            "other_lengths": 0, "uncounted": 0, "latency_seconds": spread([r[4] - r[0] for r in done]),
            "first_text_seconds": spread([r[2] - r[0] for r in done]), "gap_seconds": spread([service / 32] * 9),
            "per_token_seconds": spread([service / 32] * 9), "late_seconds": spread([0.0004] * 9),
            "slo": {"first_text_seconds": 6.0, "met": sum(r[2] - r[0] <= 6 for r in done), "of": len(requests)},
        },
        "errors": {"http": {"n": failed, "first": "status 500: out of memory"}} if failed else {},
        "cache": None if hit_rate is None else {"hits": 100 * hit_rate, "misses": 100 - 100 * hit_rate, "evictions": 3.0, "hit_rate": hit_rate},
        "memory": {"pid": 7, "columns": ["at", "resident_bytes", "cpu_seconds"],
                   "samples": [[float(t), int(memory * (1 - 0.6 * 0.9 ** (t / 2)) * rng.uniform(1, 1.01)), 1.7 * t] for t in range(int(seconds) + 1)]},
        "energy": joules and {"source": "rapl", "joules": joules * len(done), "joules_per_request": joules},
        "generator": {"cores": 0.021, "connections": 40},
        "gap_percentiles": [service / 32] * 101,
        "adapters": names or [f"adapter-{i}" for i in range(adapters)],
        "request_columns": COLUMNS, "requests": requests,
    }
    return {**run, **members}
