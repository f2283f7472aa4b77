"""Several servers behind a balancer, with the configurations of deploy/: an adapter's requests go to few nodes, and nothing is lost that had
not begun when a node dies, ends, or comes. Times are printed (pytest -s) and never asserted."""

import bisect
import concurrent.futures
import http.client
import itertools
import json
import random
import pathlib
import shutil
import tempfile
import threading
import time

import pytest
from balancers import Haproxy, Nginx
from conftest import BINARY, ROOT, Server
from prometheus_client.parser import text_string_to_metric_families

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
ADAPTERS, REQUESTS, CLIENTS = 300, 500, 4
ROUND_ROBIN = (("    balance hash var(txn.model)\n    # A ring", "    balance roundrobin\n    # A ring"), ("    hash-type consistent sdbm avalanche\n    hash-balance-factor 200\n", ""))

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """A folder that all nodes share: 300 names."""
    folder = tmp_path_factory.mktemp("shared") / "adapters"
    folder.mkdir()
    for i in range(ADAPTERS):
        (folder / f"a{i:03}").symlink_to(PEFT)
    return folder


@pytest.fixture
def short():
    """A folder whose path a socket's address can hold."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="nodes"))
    yield folder
    shutil.rmtree(folder)


class Nodes:
    def __init__(self, adapters):
        self.adapters, self.all = adapters, []

    def start(self, n=1, *options):
        """Each has room for some thirty adapters."""
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            command = [BINARY, "serve", "-m", TINY, "--adapters", self.adapters, "--port", "0", "--threads", "1", "--slots", "4", "--memory", "16M",
                       "--no-prefix-cache", *options]
            new = list(pool.map(lambda _: Server(command), range(n)))
        self.all += new
        return new


@pytest.fixture
def nodes(adapters):
    n = Nodes(adapters)
    yield n
    for s in n.all:
        s.process.kill()
        s.process.wait()


def look(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def asked(server):
    """Requests that it has taken."""
    return json.loads(look(server, "/health"))["requests"]["submitted"]


def hits_and_misses(servers):
    found = [{f.name: f.samples for f in text_string_to_metric_families(look(s, "/metrics"))} for s in servers]
    return [sum(f[f"edgelora_adapter_{what}"][0].value for f in found) for what in ("hits", "misses")]


def power_law(seed, n):
    draw = random.Random(seed)
    mass = list(itertools.accumulate(1 / (i + 1) for i in range(ADAPTERS)))
    return [f"a{bisect.bisect_left(mass, draw.random() * mass[-1]):03}" for _ in range(n)]


def each(balancer, items, ask):
    """Clients on connections of their own take the items in turn."""
    todo = iter(items)
    lock = threading.Lock()

    def client():
        connection = balancer.connect()
        while True:
            with lock:
                item = next(todo, None)
            if item is None:
                connection.close()
                return
            ask(connection, item)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()


def ask_one(connection, name):
    connection.request("POST", "/v1/completions", json.dumps({"model": name, "prompt": "a", "max_tokens": 1}))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text


def share_of_hits(balancer, servers):
    each(balancer, power_law(1, REQUESTS), ask_one)
    hits, misses = hits_and_misses(servers)
    assert hits + misses == REQUESTS
    return hits / REQUESTS


def test_by_model_more_requests_find_their_adapter_than_in_turn(nodes, short):
    """Three nodes with room for 30 of 300 adapters each: 30 places in all in turn, as each holds the same ones, but 90 by model."""
    shares = {}
    for name, start in (("in turn", lambda *a: Haproxy(*a, ROUND_ROBIN)), ("HAProxy by model", Haproxy), ("nginx by model", Nginx)):
        servers = nodes.start(3)
        folder = short / name.replace(" ", "-")
        folder.mkdir()
        balancer = start(folder, [s.port for s in servers])
        shares[name] = share_of_hits(balancer, servers)
        balancer.stop()
        for s in servers:
            s.process.kill()
    print("\nhits:", ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    assert shares["HAProxy by model"] > shares["in turn"] + 0.06 and shares["nginx by model"] > shares["in turn"] + 0.06, shares


# ------------------------------------------------------------------ which node


def who(servers, ask):
    """The node that got the one request which `ask` makes."""
    before = [asked(s) for s in servers]
    status, answer = ask()
    assert status == 200, answer
    got = [asked(s) - b for s, b in zip(servers, before)]
    assert sorted(got) == [0, 0, 1]
    return got.index(1)


@pytest.mark.parametrize("kind", [Haproxy, Nginx])
def test_a_model_has_its_node_wherever_in_the_body_or_header_it_stands(nodes, short, kind):
    servers = nodes.start(3)
    balancer = kind(short, [s.port for s in servers])
    plain = {"prompt": "a", "max_tokens": 1}
    owners = {}
    for name in (f"a{i:03}" for i in range(14)):
        owners[name] = who(servers, lambda: balancer.completion({"model": name, **plain}))
    assert len(set(owners.values())) > 1
    for name in ("a000", "a001"):
        escaped = json.dumps({**plain, "model": name}).replace('"a0', '"\\u00610').encode()
        for body in ({**plain, "model": name}, {**plain, "user": 'x", "model": "a099', "model": name}, {**plain, "user": "x" * 60_000, "model": name}, escaped):
            assert who(servers, lambda: balancer.completion(body)) == owners[name], body
        assert who(servers, lambda: balancer.completion(plain, **{"X-Model": name})) == owners[name]
    # None, not a text, and no JSON: any node's answer.
    assert balancer.completion(plain)[0] == 200
    assert balancer.completion({**plain, "model": None})[0] == 200
    assert balancer.completion({"model": 7, "prompt": "a"})[0] == balancer.completion(b"{")[0] == 400
    # One that is longer than a balancer looks at.
    assert balancer.completion({"user": "x" * 3_000_000, "model": "a000", "prompt": "a", "max_tokens": 1})[0] == 200
    balancer.stop()


# ------------------------------------------------------------------ nodes that go and come


class Load:
    """Clients that ask until they are stopped: every other answer is a stream. A request is lost if it got an error, or nothing; what breaks
    off in an answer that had begun is counted apart."""

    def __init__(self, balancer):
        self.balancer, self.over, self.lock = balancer, threading.Event(), threading.Lock()
        self.done, self.lost, self.broken, self.times = 0, [], 0, []
        self.pool = concurrent.futures.ThreadPoolExecutor(6)
        self.clients = [self.pool.submit(self.client, i) for i in range(6)]

    def client(self, ith):
        for number, name in enumerate(power_law(100 + ith, 100_000)):
            if self.over.is_set():
                return
            started, begun = time.monotonic(), False
            connection = self.balancer.connect()
            try:
                body = {"model": name, "prompt": "ab", "max_tokens": 40, "ignore_eos": True, "stream": number % 2 == 1}
                connection.request("POST", "/v1/completions", json.dumps(body))
                answer = connection.getresponse()
                begun = answer.status == 200
                text = answer.read()
                if answer.status != 200:
                    self.lost.append((answer.status, text))
                elif body["stream"] and not text.endswith(b"data: [DONE]\n\n"):
                    raise http.client.IncompleteRead(text)
            except (OSError, http.client.HTTPException) as e:
                if begun:
                    self.broken += 1
                else:
                    self.lost.append(repr(e))
            finally:
                connection.close()
            with self.lock:
                self.done += 1
                self.times.append(time.monotonic() - started)

    def wait(self, more):
        """Until so many further requests have been answered; what they took."""
        from_here = self.done
        while self.done < from_here + more:
            failed = [c for c in self.clients if c.done()]
            assert not failed, failed[0].exception()
            time.sleep(0.01)
        return self.times[from_here:]

    def stop(self):
        self.over.set()
        for c in self.clients:
            c.result()
        self.pool.shutdown()


def p99(times):
    return f"{1000 * sorted(times)[int(0.99 * (len(times) - 1))]:.0f} ms"


def test_haproxy_loses_nothing_when_a_node_dies_or_ends_or_comes(nodes, short):
    servers = nodes.start(3, "--drain-delay", "3")
    balancer = Haproxy(short, [s.port for s in servers])
    load = Load(balancer)
    try:
        quiet = load.wait(200)
        servers[0].process.kill()  # SIGKILL
        dying = load.wait(200)
        assert not load.lost, load.lost[:3]

        (new,) = nodes.start(1, "--drain-delay", "3")
        balancer.reload([s.port for s in (*servers[1:], new)])
        load.wait(200)
        assert not load.lost, load.lost[:3]
        assert asked(new) > 0

        broken = load.broken
        servers[1].process.terminate()
        while servers[1].process.poll() is None:
            load.wait(1)
        ending = load.wait(100)
        assert servers[1].stop() == 0
        assert not load.lost and load.broken == broken, (load.lost[:3], load.broken)
    finally:
        load.stop()
        balancer.stop()
    print(f"\np99 with three nodes {p99(quiet)}, while one dies {p99(dying)}, while one ends {p99(ending)}; streams that broke off: {load.broken}")


def test_nginx_loses_nothing_when_a_node_dies_or_ends(nodes, short):
    servers = nodes.start(3)
    balancer = Nginx(short, [s.port for s in servers])
    load = Load(balancer)
    try:
        load.wait(100)
        servers[0].process.kill()
        load.wait(200)
        assert not load.lost, load.lost[:3]
        broken = load.broken
        assert servers[1].stop() == 0
        load.wait(100)
        assert not load.lost and load.broken == broken, (load.lost[:3], load.broken)
    finally:
        load.stop()
        balancer.stop()


def test_haproxy_hears_of_an_end_before_anything_is_refused(nodes, short):
    servers = nodes.start(3, "--drain-delay", "3600")
    balancer = Haproxy(short, [s.port for s in servers])
    servers[0].process.terminate()
    while not balancer.state(servers[0].port).startswith("DOWN"):
        time.sleep(0.05)
    assert servers[0].get("/health").json()["status"] == "leaving", "it serves still"
    before = asked(servers[0])
    for name in power_law(5, 20):
        assert balancer.completion({"model": name, "prompt": "a", "max_tokens": 1})[0] == 200
    assert asked(servers[0]) == before
    balancer.stop()


def test_a_popular_adapter_has_several_nodes_when_it_is_too_much_for_one(nodes, short):
    """Bounded load: one request after the other stays where it is; of nine at once a node has twice a third at most."""
    servers = nodes.start(3)
    balancer = Haproxy(short, [s.port for s in servers])
    for _ in range(6):
        assert balancer.completion({"model": "a000", "prompt": "a", "max_tokens": 1})[0] == 200
    assert sorted(asked(s) for s in servers) == [0, 0, 6]
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        body = {"model": "a000", "prompt": "a", "max_tokens": 200, "ignore_eos": True}
        deadline = time.monotonic() + 60
        while sum(asked(s) > 0 for s in servers) < 2:
            assert time.monotonic() < deadline
            assert {status for status, _ in pool.map(lambda _: balancer.completion(body), range(9))} == {200}
    balancer.stop()
