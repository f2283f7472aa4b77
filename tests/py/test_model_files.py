"""Where a model's file may be: in parts, behind a hub cache's links, alone in a folder. Answers are those of the file
itself, whatever it is reached by."""

import os
import struct
import subprocess

import pytest
from conftest import BINARY, ROOT, Server

TINY = ROOT / "tests" / "golden" / "tiny" / "q8_0.gguf"
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, U16, I32, ALIGNMENT = 8, 9, 2, 5, 32

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="edgelora is not built (EDGELORA_BIN)")


def edgelora(*args):
    return subprocess.run([BINARY, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def done(*args):
    r = edgelora(*args)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout


def string(s):
    return struct.pack("<Q", len(s)) + s


def read(data):
    """The keys' bytes, their number, and of each tensor its entry (without offset) and its bytes."""
    n_tensors, n_kv = struct.unpack_from("<QQ", data, 8)
    at = 24

    def text():
        nonlocal at
        n = struct.unpack_from("<Q", data, at)[0]
        at += 8 + n
        return data[at - n : at]

    for _ in range(n_kv):
        text()
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        n = 1
        if kind == ARRAY:
            kind, n = struct.unpack_from("<IQ", data, at)
            at += 12
        if kind == STRING:
            for _ in range(n):
                text()
        else:
            at += n * SIZES[kind]
    keys, entries, offsets = data[24:at], [], []
    for _ in range(n_tensors):
        begin = at
        text()
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 4
        entries.append(data[begin:at])
        offsets.append(struct.unpack_from("<Q", data, at)[0])
        at += 8
    start = -(-at // ALIGNMENT) * ALIGNMENT
    ends = sorted([*offsets, len(data) - start])
    blobs = [data[start + o : start + ends[ends.index(o) + 1]] for o in offsets]
    return keys, n_kv, list(zip(entries, blobs))


def split(data, folder, stem, n):
    """Writes the model in n parts, as llama-gguf-split does: all keys in the first."""
    keys, n_kv, tensors = read(data)
    paths = []
    for no in range(n):
        mine = tensors[len(tensors) * no // n : len(tensors) * (no + 1) // n]
        own = b"".join(string(key) + struct.pack("<I", kind) + struct.pack("<H" if kind == U16 else "<i", value)
                       for key, kind, value in ((b"split.no", U16, no), (b"split.count", U16, n),
                                                (b"split.tensors.count", I32, len(tensors))))
        head = b"GGUF" + struct.pack("<IQQ", 3, len(mine), 3 + (0 if no else n_kv)) + (b"" if no else keys) + own
        body = b""
        for entry, blob in mine:
            head += entry + struct.pack("<Q", len(body))
            body += blob + bytes(-len(blob) % ALIGNMENT)
        path = folder / f"{stem}-{no + 1:05d}-of-{n:05d}.gguf"
        path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
        paths.append(path)
    return paths


def answer(path):
    return done("run", "-m", path, "-n", "24", "-p", "The quick brown fox", "--threads", "2")


@pytest.fixture
def cache(tmp_path):
    """A hub's cache: a snapshot of links to files whose names are hashes. The snapshot's folder."""
    blobs, snapshot = tmp_path / "models--org--tiny" / "blobs", tmp_path / "models--org--tiny" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, path in enumerate(split(TINY.read_bytes(), blobs, "tiny", 3)):
        path.rename(blobs / f"{i * 7 % 10}ab{i}")
        (snapshot / path.name).symlink_to(f"../../blobs/{i * 7 % 10}ab{i}")
    return snapshot


def test_a_model_in_parts_answers_as_the_whole_one(tmp_path):
    whole = answer(TINY)
    for path in [*split(TINY.read_bytes(), tmp_path, "tiny", 3), tmp_path]:
        assert answer(path) == whole
        assert done("tokenize", "-m", path, "The quick") == done("tokenize", "-m", TINY, "The quick")
    shown, of_whole = done("inspect", tmp_path).decode(), done("inspect", TINY).decode()
    assert "bytes in 3 files\n" in shown
    assert shown[shown.index("\ntotals") :] == of_whole[of_whole.index("\ntotals") :]


def test_a_snapshots_links_and_its_folder_are_the_model(cache):
    whole = answer(TINY)
    for path in [*sorted(cache.iterdir()), cache, f"{cache}/"]:
        assert answer(path) == whole


def test_what_is_missing_or_too_many_is_said(cache):
    gone = sorted(cache.iterdir())[1]
    gone.unlink()
    for path in [*sorted(cache.iterdir()), cache]:
        r = edgelora("run", "-m", path, "-p", "x")
        assert r.returncode != 0 and r.stdout == b""
        assert f"part 2 of 3 of the model: {gone}: No such file or directory" in r.stderr.decode()
    os.symlink(TINY, cache / "other.gguf")
    message = edgelora("run", "-m", cache, "-p", "x").stderr.decode()
    assert f"{cache}: holds 2 models, name one of them: other.gguf, tiny-0000" in message


def test_a_model_without_a_name_has_its_links(cache, tmp_path):
    """The file that a link points to is named by a hash: that is no name."""
    data = TINY.read_bytes()
    assert data.count(b"general.name") == 1
    nameless = split(data.replace(b"general.name", b"general.mane"), tmp_path, "tiny", 2)
    link = tmp_path / "links"
    link.mkdir()
    for i, path in enumerate(nameless):
        path.rename(tmp_path / f"{i}abc")
        (link / path.name.replace("tiny", "my-model")).symlink_to(tmp_path / f"{i}abc")
    server = Server([BINARY, "serve", "-m", str(link), "--port", "0", "--memory", "64M"])
    try:
        assert server.get("/v1/models").json()["data"][0]["id"] == "my-model"
    finally:
        server.stop()
