"""What happens to adapters that people have: each is served, or said to be refused, with the reason, wherever it is met: in the log, in the list, by
requests, by `edgelora adapter check`."""

import json
import os
import re
import shutil
import struct
import subprocess

import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
PEFT = ROOT / "tests" / "golden" / "lora" / "tiny-peft"
GGUF = ROOT / "tests" / "golden" / "lora" / "tiny.gguf"


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in header.items() if k != "__metadata__"}


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def configure(folder, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def transposed(shape, data):
    rows, cols = shape
    item = len(data) // (rows * cols)
    return b"".join(data[item * (r * cols + c):item * (r * cols + c + 1)] for c in range(cols) for r in range(rows))


def as_mlx(folder):
    """The same adapter as mlx-lm has it."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = read_safetensors(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    out = {}
    for name, (dtype, shape, data) in tensors.items():
        key = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b")
        out[key] = (dtype, shape[::-1], transposed(shape, data))
    write_safetensors(folder / "adapters.safetensors", out)
    (folder / "adapter_config.json").write_text(json.dumps({
        "fine_tune_type": "lora", "num_layers": -1, "model": "tiny",
        "lora_parameters": {"rank": config["r"], "scale": config["lora_alpha"] / config["r"], "dropout": 0.0}}))


def as_shards(folder):
    tensors = read_safetensors(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    files, names = {}, list(tensors)
    for i in range(3):
        file = f"adapter_model-0000{i + 1}-of-00003.safetensors"
        write_safetensors(folder / file, {n: tensors[n] for n in names[i::3]})
        files |= {n: file for n in names[i::3]}
    (folder / "adapter_model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))


def renamed(folder, rename):
    path = folder / "adapter_model.safetensors"
    write_safetensors(path, {rename(n): t for n, t in read_safetensors(path).items()})


@pytest.fixture
def adapters(tmp_path):
    """One adapter in every form, and some that cannot be served."""
    def copy(name):
        shutil.copytree(PEFT, tmp_path / name)
        return tmp_path / name

    copy("plain")
    as_mlx(copy("mlx"))
    as_shards(copy("shards"))
    renamed(copy("wrapped"), lambda n: "_orig_mod.module." + n.replace(".weight", ".my-name.weight"))
    renamed(copy("doubled"), lambda n: "base_model.model." + n)
    snapshot = tmp_path / "models--acme--sql" / "snapshots" / "0123abcd"
    shutil.copytree(PEFT, snapshot)

    bad = copy("bad/shape")
    configure(bad, r=3)
    (copy("bad/malformed") / "adapter_model.safetensors").write_bytes(b"no safetensors")
    configure(copy("bad/future"), of_tomorrow=1)
    pickled = copy("bad/pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    (copy("bad/no-config") / "adapter_config.json").unlink()
    (copy("bad/no-weights") / "adapter_model.safetensors").unlink()
    return tmp_path


@pytest.fixture
def server(adapters):
    s = Server([BINARY, "serve", "-m", TINY, "--adapters", adapters, "--port", "0", "--ctx-size", "64", "--threads", "1"])
    yield s
    assert s.stop() == 0


def test_every_form_gives_the_same_answer(server):
    answers = {}
    for name in ("plain", "mlx", "shards", "wrapped", "doubled", "acme/sql"):
        response = server.completion(model=name, prompt="Hello", max_tokens=12, ignore_eos=True, temperature=0, logprobs=1)
        assert response.status_code == 200, response.text
        choice = response.json()["choices"][0]
        answers[name] = (choice["text"], choice["logprobs"]["token_logprobs"])
    assert len({str(a) for a in answers.values()}) == 1, answers
    base = server.completion(prompt="Hello", max_tokens=12, ignore_eos=True, temperature=0, logprobs=1).json()["choices"][0]
    assert base["logprobs"]["token_logprobs"] != answers["plain"][1]


BROKEN = {"bad/shape": "expected 3 x", "bad/malformed": "safetensors", "bad/future": "of_tomorrow: this field is not known"}
REFUSED = {"bad/pickled": "is a pickle", "bad/no-config": "without adapter_config.json", "bad/no-weights": "has no weights beside it"}


@pytest.mark.parametrize("stream", [False, True])
def test_an_adapter_that_stays_broken_is_a_4xx_with_the_reason_for_streams_too(server, stream):
    for name, reason in {**BROKEN, **REFUSED}.items():
        for _ in range(2):  # the second time nothing is read
            response = server.completion(model=name, prompt="Hello", max_tokens=2, stream=stream)
            assert response.status_code == 400, (name, response.text)
            assert response.headers["content-type"] == "application/json"
            error = response.json()["error"]
            assert reason in error["message"] and error["type"] == "invalid_request_error", error
    good = server.completion(model="plain", prompt="Hello", max_tokens=2, stream=stream)
    assert good.status_code == 200 and ("[DONE]" in good.text) == stream


def test_a_broken_file_is_not_read_again_until_it_changes(server, adapters):
    """By itself and in a combination. What is read shows: the file is mended without anything that tells one state of it from another."""
    path = adapters / "plain" / "adapter_model.safetensors"
    good, mtime = path.read_bytes(), path.stat().st_mtime_ns

    def put(data, ns):
        with open(path, "r+b") as f:
            f.write(data)
        os.utime(path, ns=(ns, ns))

    ids = {a["name"]: a["id"] for a in server.get("/v1/adapters").json()["data"]}
    asks = ({"model": "plain"}, {"lora": [{"id": ids["plain"], "scale": 0.5}, {"id": ids["mlx"], "scale": 0.5}]})

    def statuses():
        return [server.completion(prompt="Hello", max_tokens=1, **ask).status_code for ask in asks]

    put(b"\xff" * len(good), mtime + 10**9)
    server.post("/v1/rescan_lora_adapters", {})  # it is listed as it is now
    assert statuses() == [400, 400]
    put(good, mtime + 10**9)
    assert statuses() == [400, 400]
    put(good, mtime + 2 * 10**9)
    assert statuses() == [200, 200]


def of_rank(folder, rank):
    """The same matrices, of another rank, and zeros."""
    path = folder / "adapter_model.safetensors"
    tensors = {n: (d, [rank if i == 4 else i for i in s]) for n, (d, s, _) in read_safetensors(path).items()}
    write_safetensors(path, {n: (d, s, bytes(2 * s[0] * s[1])) for n, (d, s) in tensors.items()})
    configure(folder, r=rank)


@pytest.fixture
def small_server(tmp_path):
    """Two blocks of memory; an adapter that is larger, and one that has a place of its own."""
    shutil.copytree(PEFT, tmp_path / "all" / "huge")
    of_rank(tmp_path / "all" / "huge", 1024)
    shutil.copytree(PEFT, tmp_path / "elsewhere")
    s = Server([BINARY, "serve", "-m", TINY, "--adapters", tmp_path / "all", "--adapter", f"own={tmp_path / 'elsewhere'}", "--port", "0", "--ctx-size", "64",
                "--threads", "1", "--memory", "1M"])
    yield s
    assert s.stop() == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_adapter_larger_than_all_memory_is_a_400_with_the_figures(small_server, tmp_path, stream):
    for _ in range(2):  # before it has been read, and after
        response = small_server.completion(model="huge", prompt="Hello", max_tokens=2, stream=stream)
        error = response.json()["error"]
        assert response.status_code == 400 and error["code"] == "adapter_too_large", error
        assert re.search(r"takes [\d.]+ MiB, the memory pool has 1.0 MiB", error["message"])
    loaded = small_server.post("/v1/load_lora_adapter", {"lora_name": "again", "lora_path": str(tmp_path / "all" / "huge")})
    assert loaded.status_code == 400 and loaded.json()["error"]["code"] == "adapter_too_large", loaded.text
    of_rank(tmp_path / "elsewhere", 4)
    shutil.rmtree(tmp_path / "all" / "huge")
    (tmp_path / "elsewhere").rename(tmp_path / "all" / "huge")  # other files of that name
    small_server.post("/v1/rescan_lora_adapters", {})
    assert small_server.completion(model="huge", prompt="Hello", max_tokens=2).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_files_that_cannot_be_read_for_now_are_a_503_that_may_be_tried_again(small_server, tmp_path, stream):
    (tmp_path / "elsewhere").rename(tmp_path / "away")
    for _ in range(2):
        response = small_server.completion(model="own", prompt="Hello", max_tokens=2, stream=stream)
        error = response.json()["error"]
        assert response.status_code == 503 and int(response.headers["retry-after"]) > 0
        assert error["code"] == "adapter_unreadable" and error["type"] == "server_error" and "No such file" in error["message"], error
    (tmp_path / "away").rename(tmp_path / "elsewhere")
    assert small_server.completion(model="own", prompt="Hello", max_tokens=2, stream=stream).status_code == 200


def test_what_becomes_whole_is_served(server, adapters):
    assert server.completion(model="bad/future", prompt="Hello", max_tokens=1).status_code == 400
    configure(adapters / "bad" / "future", of_tomorrow=None)
    shutil.copy(PEFT / "adapter_config.json", adapters / "bad" / "no-config")
    assert server.post("/v1/rescan_lora_adapters", {}).status_code == 200
    for name in ("bad/future", "bad/no-config"):
        response = server.completion(model=name, prompt="Hello", max_tokens=1)
        assert response.status_code == 200, response.text
    states = {a["name"]: a["state"] for a in server.get("/v1/adapters").json()["data"]}
    assert states["bad/no-config"] == "resident"


def test_another_snapshot_of_a_hub_cache_takes_the_place_of_the_one_before(server, adapters):
    def ask():
        response = server.completion(model="acme/sql", prompt="Hello", max_tokens=4, ignore_eos=True, temperature=0, logprobs=1)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["logprobs"]["token_logprobs"]

    model = adapters / "models--acme--sql"
    before = ask()
    shutil.copytree(model / "snapshots" / "0123abcd", model / "snapshots" / "4567ef")
    configure(model / "snapshots" / "4567ef", lora_alpha=1)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("4567ef")
    result = server.post("/v1/rescan_lora_adapters", {}).json()
    assert result["removed"] == 0
    assert server.get("/v1/adapters/acme/sql").json()["path"].endswith("4567ef")
    assert ask() != before


def lay_out_hub_cache(folder):
    """As huggingface_hub itself has laid it out (tools/golden/outside.py), with this adapter in the place of its files."""
    layout = json.loads((ROOT / "tests" / "golden" / "hub.json").read_text())
    for entry in layout["entries"]:
        path = folder / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in entry:
            path.symlink_to(entry["link"])
        elif "file" in entry:
            shutil.copy(PEFT / entry["file"], path)
        else:
            path.write_text(entry["text"])
    return layout["revisions"]


def test_a_cache_that_huggingface_hub_has_made_is_offered_by_the_repository_s_name(tmp_path):
    old, new = lay_out_hub_cache(tmp_path)
    s = Server([BINARY, "serve", "-m", TINY, "--adapters", tmp_path, "--port", "0", "--ctx-size", "64", "--threads", "1"])
    try:
        listed = s.get("/v1/adapters").json()["data"]
        assert [a["name"] for a in listed] == ["acme/sql"] and listed[0]["path"].endswith(new), listed
        assert not [line for line in s.log if "skipped" in line]
        assert s.completion(model="acme/sql", prompt="Hello", max_tokens=1).status_code == 200
        (tmp_path / "models--acme--sql" / "refs" / "main").write_text(old)
        s.post("/v1/rescan_lora_adapters", {})
        assert s.get("/v1/adapters/acme/sql").json()["path"].endswith(old)
    finally:
        assert s.stop() == 0


def test_everything_that_looks_like_an_adapter_is_listed_and_logged(server):
    listed = {a["name"]: a for a in server.get("/v1/adapters").json()["data"]}
    for name in ("plain", "mlx", "shards", "wrapped", "acme/sql", *BROKEN):
        assert listed[name]["state"] == "on_disk" and listed[name]["failure"] is None
    for name, reason in REFUSED.items():
        assert listed[name]["state"] == "refused" and listed[name]["id"] is None
        assert reason in listed[name]["failure"]["message"] and listed[name]["path"] in listed[name]["failure"]["message"]
        assert sum(f"{listed[name]['path']}: skipped: " in line and reason in line for line in server.log) == 1, server.log
        assert server.get("/v1/adapters/" + name).json() == listed[name]
    server.completion(model="bad/shape", prompt="Hello")
    assert BROKEN["bad/shape"] in server.get("/v1/adapters/bad/shape").json()["failure"]["message"]
    server.post("/v1/rescan_lora_adapters", {})
    assert sum("bad/no-config: skipped" in line for line in server.log) == 1  # once is enough
    assert server.get("/v1/adapters/nobody").status_code == 404


def test_a_limited_key_sees_its_own_refusals_and_no_path(fake, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("sk-all\nsk-own broken\nsk-not upper\n")
    s = fake(keys=keys)

    def refusals(key):
        data = s.get("/v1/adapters", headers={"Authorization": "Bearer " + key}).json()["data"]
        return [a for a in data if a["state"] == "refused"]

    assert refusals("sk-own") == [{"object": "adapter", "name": "broken", "id": None, "state": "refused",
                                                "failure": {"message": "has no weights", "at": None}}]
    assert refusals("sk-not") == []
    assert [a["path"] for a in refusals("sk-all")] == ["/srv/fake/broken"]


# ---------------------------------------------------------------- adapter check


def check(*args, status=0):
    done = subprocess.run([BINARY, "adapter", "check", "-m", TINY, "-t", "1", *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def moved(text):
    return float(re.search(r"moved by (\S+) on average", text).group(1))


def kl(text):
    return float(re.search(r"KL +(\S+) nats", text).group(1))


def test_check_tells_what_an_adapter_is_and_what_it_changes(adapters, tmp_path):
    plain = check(adapters / "plain")
    for part in ("LoRA adapter, PEFT folder", "rank          4", "scale         2", "attn_q", "MB as q8", "of 4 texts"):
        assert part in plain, plain
    assert "NOTHING" not in plain and kl(plain) > 0
    assert "mlx-lm folder" in check(adapters / "mlx") and "in several files" in check(adapters / "shards")
    assert moved(check(adapters / "mlx")) == moved(check(GGUF)) == moved(plain)  # the same adapter
    # Small ones move logits by as much as they are scaled, once that is more than rounding does.
    small = adapters / "small"
    shutil.copytree(PEFT, small)
    configure(small, lora_alpha=0.5)
    once = check(small)
    configure(small, lora_alpha=1)
    twice = check(small)
    assert 1.6 < moved(twice) / moved(once) < 2.4 and kl(once) < kl(twice) < kl(plain)


def test_check_shows_a_description_so_that_it_is_safe_on_a_terminal(adapters):
    (adapters / "plain" / "edgelora.json").write_text(json.dumps({"description": "two\nlines \x1b[2Jand é"}))
    line = next(line for line in check(adapters / "plain").splitlines() if line.startswith("  preset"))
    assert line.endswith(r"two\nlines \x1b[2Jand é"), line


def test_check_says_loudly_when_an_adapter_changes_nothing(adapters):
    path = adapters / "plain" / "adapter_model.safetensors"
    tensors = read_safetensors(path)
    write_safetensors(path, {n: (d, s, bytes(len(b)) if "lora_B" in n else b) for n, (d, s, b) in tensors.items()})
    text = check(adapters / "plain")
    assert "IT CHANGES NOTHING: in each of its" in text and moved(text) == 0 and kl(text) == 0
    first = next(n for n in tensors if "lora_B" in n)
    write_safetensors(path, {n: (d, s, bytes(len(b)) if n == first else b) for n, (d, s, b) in tensors.items()})
    text = check(adapters / "plain")
    assert re.search(r"note: 1 of its \d+ matrices add nothing", text) and "NOTHING:" not in text


def test_check_says_why_an_adapter_is_refused(adapters):
    for name, reason in BROKEN.items():
        assert reason in check(adapters / name, status=1)
    assert "convert it to safetensors" in check(adapters / "bad" / "pickled", status=1)
    assert "No such file" in check(adapters / "nobody", status=1)
    assert "an adapter is needed" in check(status=2)


def gguf(path, rank, alpha, ranks=()):
    """A GGUF adapter of pairs of zeros, one for each rank."""
    def text(t):
        return struct.pack("<Q", len(t)) + t.encode()

    ranks = ranks or (rank,)
    out = b"GGUF" + struct.pack("<IQQ", 3, 2 * len(ranks), 4)
    for key, value in (("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", "llama")):
        out += text(key) + struct.pack("<I", 8) + text(value)
    out += text("adapter.lora.alpha") + struct.pack("<If", 6, alpha)
    offset = 0
    for layer, r in enumerate(ranks):
        for name, ne in ((f"blk.{layer}.attn_q.weight.lora_a", (32, r)), (f"blk.{layer}.attn_q.weight.lora_b", (r, 32))):
            out += text(name) + struct.pack("<IQQIQ", 2, *ne, 0, offset)
            offset += 4 * 32 * r
    path.write_bytes(out + bytes(-len(out) % 32) + bytes(offset))
    return path


def test_inspect_says_what_a_gguf_file_may_have_lost(tmp_path):
    """llama.cpp's converter writes alpha, and neither rsLoRA nor patterns."""
    def inspect(path):
        return subprocess.run([BINARY, "inspect", path], capture_output=True, text=True, check=True).stdout

    usual = inspect(gguf(tmp_path / "usual.gguf", 16, 32))
    assert "drop use_rslora" not in usual and "alpha_pattern" not in usual
    small = inspect(gguf(tmp_path / "small.gguf", 64, 16))
    assert "its scale is not 0.25 but 2; serve the PEFT folder" in small and "alpha_pattern" not in small
    assert "ranks differ" in inspect(gguf(tmp_path / "ranks.gguf", 8, 16, (8, 4)))
    assert "drop use_rslora" not in inspect(PEFT)  # which has it as a field
