"""TLS: what is served over it, and what is wrong with its files.

docs/operations/service.md names the promises that these tests check. Certificates are made by the openssl command."""

import socket
import ssl
import subprocess
import threading

import httpx
import openai
import pytest
from conftest import BINARY, Server, read_all
from test_server_adapters import TINY


def make(folder, name, days=2):
    """A certificate of its own for 127.0.0.1, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days), "-subj", "/CN=edgelora",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"), "one")


@pytest.fixture(scope="module")
def secure(pair):
    s = Server([BINARY, "serve", "-m", TINY, "--port", "0", "--receive-timeout", "2", "--tls-cert", pair[0], "--tls-key", pair[1]])
    s.context = ssl.create_default_context(cafile=str(pair[0]))
    yield s
    assert s.stop() == 0, s.log[-20:]


def test_openais_client_asks_over_https(secure):
    assert secure.url.startswith("https://127.0.0.1:")
    with httpx.Client(verify=secure.context) as http, openai.OpenAI(base_url=secure.url + "/v1", api_key="none", max_retries=0, http_client=http) as client:
        ask = {"model": client.models.list().data[0].id, "prompt": "abc", "max_tokens": 64, "temperature": 0, "extra_body": {"ignore_eos": True}}
        whole = client.completions.create(**ask).choices[0].text
        parts = [c.choices[0].text for c in client.completions.create(**ask, stream=True)]
        assert "".join(parts) == whole and len(parts) > 32
        large = http.post(secure.url + "/tokenize", json={"prompt": "word " * 200_000}, timeout=60)
        assert large.status_code in (200, 400)


def test_many_ask_at_once_and_get_what_one_gets(secure):
    ask = {"prompt": "abc", "max_tokens": 24, "temperature": 0}
    with httpx.Client(verify=secure.context, timeout=60) as http:
        want = http.post(secure.url + "/v1/completions", json=ask).json()["choices"]
        got = []
        threads = [threading.Thread(target=lambda: got.append(http.post(secure.url + "/v1/completions", json=ask).json()["choices"])) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert got == [want] * 8


def test_plain_bytes_get_no_answer_and_harm_nobody(secure):
    for data in (b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 600, b""):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=60) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # closed already
            assert b"HTTP/1.1" not in read_all(s)
    with httpx.Client(verify=secure.context) as http:
        assert http.get(secure.url + "/health").status_code == 200


def test_who_says_nothing_is_shut_without_plain_text(secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=60) as plain, secure.context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\n")
        try:
            assert s.recv(4096) == b""
        except ssl.SSLEOFError:
            pass  # closed without a word


@pytest.mark.parametrize("what", ["no key", "no cert", "missing", "no PEM", "no PEM key", "other key", "a folder"])
def test_what_is_wrong_with_its_files_is_said(pair, tmp_path, what):
    cert, key = pair
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    args, said = {
        "no key": (["--tls-cert", cert], "tls-cert: tls-key is missing"),
        "no cert": (["--tls-key", key], "tls-key: tls-cert is missing"),
        "missing": (["--tls-cert", tmp_path / "none", "--tls-key", key], f"tls-cert: {tmp_path}/none: No such file or directory"),
        "no PEM": (["--tls-cert", junk, "--tls-key", key], f"tls-cert: {junk}: "),
        "no PEM key": (["--tls-cert", cert, "--tls-key", junk], f"tls-key: {junk}: "),
        "other key": (["--tls-cert", cert, "--tls-key", make(tmp_path, "two")[1]], f"tls-key: {tmp_path}/two.key: is not the key of {cert}: "),
        "a folder": (["--tls-cert", tmp_path, "--tls-key", key], f"tls-cert: {tmp_path}: Is a directory"),
    }[what]
    done = subprocess.run([BINARY, "serve", "-m", TINY, "--port", "0", "--check", *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_key_that_others_can_read_is_a_warning(pair, tmp_path):
    cert, key = make(tmp_path, "open")
    key.chmod(0o644)
    done = subprocess.run([BINARY, "serve", "-m", TINY, "--check", "--tls-cert", cert, "--tls-key", key], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"warning: tls-key: {key} can be read by others than its owner (mode 644)" in done.stderr
