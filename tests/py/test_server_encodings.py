"""Bodies that clients send compressed: what they say is answered, and what they cost is bounded."""

import base64
import gzip
import json
import pathlib
import threading
import zlib

import pytest
from conftest import SECOND, FAKE, Server, read_all, request_bytes

TEXT = "/v1/completions"
MIB = 1 << 20
SAYS = "hello hello hello"
BODY = json.dumps({"prompt": SAYS, "max_tokens": 100}).encode()
# {"prompt":"zstd says hello hello hello hello","max_tokens":100}, by zstd 1.5.4's own program
ZSTD = base64.b64decode("KLUv/SQ/pQEA1AJ7InByb21wdCI6InpzdGQgc2F5cyBoZWxsbyIsIm1heF90b2tlbnMiOjEwMH0BAMYrY5dduKM=")


def zstd_frame(text, repeats=0):
    """A frame of RFC 8878 with a window of 128 KiB: the text as a raw block, then blocks of 128 KiB of blanks, 4 bytes each."""
    blocks = [(len(text) << 3 | (0 if repeats else 1)).to_bytes(3, "little") + text]
    for i in range(repeats):
        blocks.append(((128 << 10) << 3 | 1 << 1 | (i == repeats - 1)).to_bytes(3, "little") + b" ")
    return b"\x28\xb5\x2f\xfd\x00\x38" + b"".join(blocks)


def zipped(data, level=9):
    """The time in it is not today's: tests are named after it."""
    return gzip.compress(data, level, mtime=0)


def bare_deflate(data):
    c = zlib.compressobj(wbits=-15)
    return c.compress(data) + c.flush()


def blanks(n):
    """The body, and n blanks after it, which JSON allows."""
    return BODY + b" " * n


def post(s, coding, data, path=TEXT):
    return s.post(path, data, headers={"Content-Encoding": coding})


def told(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    return error["message"]


@pytest.fixture(scope="module")
def one():
    s = Server([FAKE])
    yield s
    assert s.completion(prompt="a", max_tokens=1).status_code == 200
    assert s.stop() == 0


@pytest.mark.parametrize(
    "coding,data",
    [
        ("gzip", zipped(BODY)),
        ("x-gzip", zipped(BODY)),
        ("GZip", zipped(BODY)),
        ("gzip", zipped(BODY[:9]) + zipped(b"") + zipped(BODY[9:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", bare_deflate(BODY)),
        ("zstd", zstd_frame(BODY)),
        ("zstd", zstd_frame(BODY[:9]) + b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zstd_frame(BODY[9:])),
        ("zstd", zstd_frame(BODY, 20)),
        ("gzip", zipped(blanks(3 * MIB))),
        ("Identity", BODY),
        ("", BODY),
    ],
    ids=lambda v: v if isinstance(v, str) else str(len(v)),
)
def test_a_compressed_body_is_answered_as_what_it_says(one, coding, data):
    response = post(one, coding, data)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["text"] == SAYS


def test_what_zstds_own_program_writes_is_read(one):
    assert post(one, "zstd", ZSTD).json()["choices"][0]["text"] == "zstd says hello hello hello hello"


def test_an_operators_bodies_may_be_compressed_too(fake, tmp_path):
    (tmp_path / "one").mkdir()
    s = fake(allow=tmp_path)
    load = {"lora_name": "one", "lora_path": str(tmp_path / "one")}
    assert post(s, "gzip", zipped(json.dumps(load).encode()), "/v1/load_lora_adapter").status_code == 200
    assert "one" in [m["id"] for m in s.get("/v1/models").json()["data"]]
    bomb = zipped(b" " * (9 * MIB))
    told(post(s, "gzip", bomb, "/v1/load_lora_adapter"), 413, "request_too_large")


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "gzip, zstd", "gzip;q=1", "x" * 200])
def test_an_encoding_that_is_not_known_is_a_415_that_names_it(one, coding):
    response = post(one, coding, BODY)
    assert coding[:100] in told(response, 415, "unsupported_encoding")
    assert response.headers["accept-encoding"] == "gzip, deflate, zstd"


def test_two_headers_of_encodings_are_a_415(one):
    with one.connect() as c:
        c.sendall(request_bytes(TEXT, zipped(BODY), "Content-Encoding: gzip", "Content-Encoding: gzip", "Connection: close"))
        assert read_all(c).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize(
    "coding,data",
    [
        *((c, d[:n]) for c, d in (("gzip", zipped(BODY)), ("deflate", zlib.compress(BODY)), ("deflate", bare_deflate(BODY)), ("zstd", ZSTD))
          for n in (1, 2, 5, len(d) // 2, len(d) - 1)),
        ("gzip", zipped(BODY) + b"garbage"),
        ("gzip", zipped(BODY) + b"\0" * 8),
        ("gzip", zipped(BODY) + b"\x1f\x8b garbage"),
        ("gzip", zipped(BODY)[:-5] + b"\0\0\0\0\0"),
        ("deflate", zlib.compress(BODY) + b"x"),
        ("deflate", bare_deflate(BODY) + b"x"),
        ("zstd", ZSTD + b"garbage"),
        ("zstd", ZSTD[:-1] + b"\0"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\xa8" + zstd_frame(BODY)[6:]),  # asks for a window of 2 GiB
        ("gzip", BODY),
        ("deflate", BODY),
        ("zstd", BODY),
        ("zstd", zipped(BODY)),
    ],
    ids=lambda v: v if isinstance(v, str) else repr(v[-12:]),
)
def test_a_body_that_is_not_what_its_encoding_says_is_a_400(one, coding, data):
    assert coding in told(post(one, coding, data), 400, "invalid_encoding")


def resident_bytes(s, what="VmRSS"):
    status = pathlib.Path(f"/proc/{s.process.pid}/status").read_text()
    return int(status.split(what + ":")[1].split()[0]) << 10


BOMB = 100 * MIB  # in at most a few hundred KiB
BOMBS = {
    "gzip": lambda: zipped(blanks(BOMB), 1),
    "deflate": lambda: zlib.compress(blanks(BOMB), 1),
    "zstd": lambda: zstd_frame(BODY, BOMB >> 17),
}


@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_is_a_413_and_costs_no_more_than_a_body_may(fake, coding):
    """Twelve at once."""
    bomb = BOMBS[coding]()
    s = fake(max_body=4 * MIB)
    assert s.completion(prompt="a", max_tokens=1).status_code == 200
    before, answers = resident_bytes(s), []
    senders = [threading.Thread(target=lambda: answers.append(post(s, coding, bomb))) for _ in range(12)]
    [one.start() for one in senders]
    [one.join() for one in senders]
    for answer in answers:
        assert "4194304 bytes once it is decoded" in told(answer, 413, "request_too_large")
    # Twelve bodies as they came, and what two readers decode, with zstd's window. A sanitizer keeps what is freed.
    most = 12 * len(bomb) + 2 * (4 + 8) * MIB + 16 * MIB
    assert SECOND > 1 or resident_bytes(s, "VmHWM") - before < most
