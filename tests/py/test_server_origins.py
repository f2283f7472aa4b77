"""Which pages of a browser may call: those of this machine and those that the operator allows, and no others."""

import httpx
import pytest

TEXT = "/v1/completions"


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "https://localhost", "http://localhost:3000", "http://127.0.0.1", "https://127.0.0.1:8443", "http://0.0.0.0:1", "http://[::1]", "http://[::1]:5173",
     "http://tauri.localhost", "app://obsidian.md", "tauri://localhost", "file://", "vscode-webview://1ab2", "vscode-file://vscode-app"],
)
def test_pages_of_this_machine_may_call(fake, origin):
    s = fake()
    ask = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
    preflight = httpx.options(s.url + TEXT, headers=ask)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "content-type,authorization"
    assert "access-control-allow-private-network" not in preflight.headers
    for response in (s.post(TEXT, {"prompt": "a"}, headers={"Origin": origin}), s.get("/v1/models", headers={"Origin": origin})):
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == origin and response.headers["vary"] == "Origin"


def test_pages_of_other_origins_may_not_call(fake):
    s = fake()
    for origin, host in [
        ("http://evil.example", None),
        ("null", None),
        ("", None),
        ("http://", None),
        ("ftp://localhost", None),
        ("http://localhost.evil.example", None),
        ("http://evil.example/http://localhost", None),
        ("http://evil.example:80@localhost", None),
        ("http://localhost:80@evil.example", None),
        ("http://localhost:x", None),
        ("http://[::1].evil.example", None),
        ("http://[::1", None),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("http://127.0.0.2", None),
        ("xapp://localhost", None),
        ("chrome-extension://abc", None),
        (f"http://evil.example:{s.port}", f"evil.example:{s.port}"),
        (f"http://[::2]:{s.port}", None),
    ]:
        headers = {k: v for k, v in (("Origin", origin), ("Host", host)) if v is not None}
        for response in (s.post(TEXT, {"prompt": "a"}, headers=headers), httpx.options(s.url + TEXT, headers=headers)):
            assert response.status_code == 403, (origin, host)
            assert "access-control-allow-origin" not in response.headers


def test_programs_and_the_servers_own_pages_may_call(fake):
    s = fake()
    own = f"http://127.0.0.1:{s.port}"
    for headers in ({}, {"Origin": own}, {"Origin": "http://192.0.2.7:99", "Host": "192.0.2.7:99"}):
        assert s.post(TEXT, {"prompt": "a"}, headers=headers).status_code == 200


def test_pages_of_allowed_origins_may_call(fake):
    s = fake(cors="https://chat.example", cors2="http://page.example:81")
    for origin in ("https://chat.example", "http://page.example:81"):
        preflight = httpx.options(s.url + TEXT, headers={"Origin": origin, "Access-Control-Request-Private-Network": "true"})
        assert preflight.status_code == 200 and preflight.headers["access-control-allow-private-network"] == "true"
        response = s.post(TEXT, {"prompt": "a"}, headers={"Origin": origin})
        assert response.headers["access-control-allow-origin"] == origin
    for origin in ("https://evil.example", "http://chat.example", "https://chat.example.evil.example", "http://page.example"):
        assert s.post(TEXT, {"prompt": "a"}, headers={"Origin": origin}).status_code == 403
    anyone = fake(cors="*")
    assert anyone.post(TEXT, {"prompt": "a"}, headers={"Origin": "https://any.example"}).headers["access-control-allow-origin"] == "https://any.example"


def test_a_name_that_is_rebound_to_this_address_reads_nothing(fake, tmp_path):
    """A page of evil.example:PORT, which is 127.0.0.1 by now, reads without an origin: it is its own host."""
    s = fake(cors="https://chat.example")
    for host, status in [
        ("evil.example", 403), (f"evil.example:{s.port}", 403), ("127.0.0.1.evil.example", 403), ("evil.example.", 403), ("local", 200), ("x.local.evil.example", 403),
        ("127.0.0.1", 200), (f"localhost:{s.port}", 200), ("[::1]:80", 200), ("192.0.2.7", 200), ("edgelora", 200), ("box.local:8080", 200), ("host.docker.internal", 200),
        ("app.localhost", 200), ("chat.example", 200),
    ]:
        for path in ("/v1/models", "/lora-adapters", "/health"):
            response = s.get(path, headers={"Host": host})
            assert response.status_code == status, (host, path)
            assert status == 200 or response.json()["error"]["code"] == "host_not_allowed"
    # Where strangers reach it anyway, or need a key, names are the operator's matter.
    (tmp_path / "keys").write_text("sk-one-one-one-one\n")
    (tmp_path / "keys").chmod(0o600)
    assert fake(host="0.0.0.0").get("/v1/models", headers={"Host": "box.example"}).status_code == 200
    keyed = fake(keys=tmp_path / "keys")
    assert keyed.get("/v1/models", headers={"Host": "box.example", "Authorization": "Bearer sk-one-one-one-one"}).status_code == 200
    assert keyed.get("/v1/models", headers={"Host": "box.example"}).status_code == 401
