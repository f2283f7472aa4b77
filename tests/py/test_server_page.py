"""What the page at / is made of, without a browser: its headers, the figures of /v1/stats, and the pages and searches of /v1/adapters."""

import base64
import hashlib
import re

import httpx
import pytest

from test_server_bad_input import error_of

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text("sk-operator-0123456\nsk-tenant-0123456789 upper,more/1*\n")
    path.chmod(0o600)
    return path


def bearer(key):
    return {"headers": {"Authorization": "Bearer " + key}}


def test_a_browser_gets_the_page_and_others_a_line(fake, keys):
    for s in (fake(), fake(keys=keys)):
        page = s.get("/", headers=HTML)
        assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8" and page.text.startswith("<!doctype html>")
        assert page.headers["vary"] == "Accept" and page.headers["cache-control"] == "no-cache"
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            line = s.get("/", headers=headers)
            assert (line.status_code, line.text, line.headers["content-type"]) == (200, "edgelora is running\n", "text/plain; charset=utf-8")
        assert httpx.head(s.url + "/").status_code == 200
    error_of(s.post("/", {}), 405)


def test_who_has_the_page_is_told_so(fake):
    s = fake()
    tag = s.get("/", headers=HTML).headers["etag"]
    for given in (tag, "W/" + tag, f'"other", {tag}'):
        again = s.get("/", headers={**HTML, "If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert s.get("/", headers={**HTML, "If-None-Match": '"other"'}).status_code == 200


def test_the_page_may_run_its_own_script_and_ask_its_own_server_alone(fake):
    page = fake().get("/", headers=HTML)
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"

    def source(text):
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    scripts, styles = (re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page.text, re.S) for tag in ("script", "style"))
    assert [source(s) for s in scripts] == [policy["script-src"]] and [source(s) for s in styles] == [policy["style-src"]]
    assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", page.text), "no other host"
    assert not re.search(r"\son\w+=|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", page.text)


# ---------------------------------------------------------------- /v1/stats


def test_figures_are_those_of_the_metrics(fake):
    s = fake(router=1, more=7)
    s.chat("upper, please", model="auto")
    s.chat("hello")
    s.wait_idle(10)
    stats = s.get("/v1/stats").json()
    metrics = dict(re.findall(r"^(edgelora_\S+) (\S+)$", s.get("/metrics").text, re.M))
    expected = {
        "edgelora_slots": stats["slots"],
        "edgelora_requests_submitted_total": stats["requests"]["submitted"],
        'edgelora_requests_total{result="done"}': stats["requests"]["done"],
        "edgelora_generated_tokens_total": stats["tokens"]["generated"],
        "edgelora_prompt_tokens_total": stats["tokens"]["prompt"],
        "edgelora_adapters_in_router": stats["adapters"]["in_router"],
        "edgelora_choices_total": stats["choices"]["all"],
        'edgelora_pool_blocks{use="free"}': stats["memory"]["free"],
        "edgelora_pool_block_bytes": stats["memory"]["block_bytes"],
    }
    assert {name: float(metrics[name]) for name in expected} == expected
    assert stats["requests"]["done"] == 2 and stats["tokens"]["generated"] > 0 and stats["choices"]["all"] == 1
    assert stats["model"]["name"] == stats["model"]["default"] == "fake" and stats["model"]["auto"] is True and stats["limited"] is False
    assert s.get("/v1/stats").json()["clock_ms"] >= stats["clock_ms"]


def test_a_limited_key_gets_no_figures_of_others(fake, keys):
    s = fake(keys=keys, router=1, more=20)
    assert s.get("/v1/stats").status_code == 401
    stats = s.get("/v1/stats", **bearer("sk-tenant-0123456789")).json()
    own = stats.pop("keys")
    assert len(own) == 1 and own[0]["requests"] == own[0]["running"] == 0 and own[0]["name"] is None
    assert stats == {"object": "stats", "version": "0", "limited": True, "adapters": {"offered": 12},
                     "model": {"name": None, "default": None, "auto": True, "ctx_size": 100000}}
    assert s.get("/v1/stats", **bearer("sk-operator-0123456")).json()["limited"] is False


# ---------------------------------------------------------------- /v1/adapters


def names(s, query="", **kwargs):
    answer = s.get("/v1/adapters" + query, **kwargs).json()
    return [a["name"] for a in answer["data"]], answer["total"], answer["has_more"]


def test_a_list_comes_in_pages(fake):
    s = fake(more=10)
    every = ["upper", "slow", "fail", *(f"more/{i}" for i in range(10)), "broken"]
    assert names(s) == (every, 14, False)
    assert names(s, "?limit=3") == (every[:3], 14, True)
    assert names(s, "?limit=3&offset=12") == (every[12:], 14, False)
    assert names(s, "?offset=14") == ([], 14, False) == names(s, "?offset=99999999")
    assert names(s, "?sort=name&limit=4") == (["broken", "fail", "more/0", "more/1"], 14, True)


def test_a_list_is_searched(fake):
    s = fake(more=30)
    assert names(s, "?search=MORE%202") == (["more/2", "more/12", *(f"more/{i}" for i in range(20, 30))], 12, False)
    assert names(s, "?search=29%20%20more%20")[0] == ["more/29"]
    assert names(s, "?search=%25s") == ([], 0, False)
    assert names(s, "?search=") == names(s)
    assert names(s, "?state=refused") == (["broken"], 1, False)
    s.chat("hello", model="more/7")
    assert names(s, "?state=resident&search=more") == (["more/7"], 1, False)


def test_those_used_last_and_most_come_first(server):
    for name in ("sql", "shell", "sql"):
        assert server.chat("hello", model=name, max_tokens=1).status_code == 200
    asked = [a["requests"] for a in server.get("/v1/adapters?sort=requests").json()["data"]]
    assert asked == sorted(asked, reverse=True) and asked[0] > 0
    used = [a["last_used"] or 0 for a in server.get("/v1/adapters?sort=last_used").json()["data"]]
    assert used == sorted(used, reverse=True) and used[0] > 0


@pytest.mark.parametrize("query,param", [("limit=0", "limit"), ("limit=-1", "limit"), ("limit=1e3", "limit"), ("limit=99999999999999999999", "limit"), ("offset=-1", "offset"), ("offset=x", "offset"),
                                         ("sort=size", "sort"), ("state=gone", "state"), ("search=" + "x" * 255, "search")])
def test_what_a_list_cannot_be_asked_is_told(fake, query, param):
    error_of(fake().get("/v1/adapters?" + query), 400, param)


def test_a_limited_key_pages_through_its_own(fake, keys):
    s = fake(keys=keys, more=20)
    tenant = bearer("sk-tenant-0123456789")
    assert names(s, "?limit=2&offset=11", **tenant) == (["more/19"], 12, False)
    assert names(s, "?search=slow", **tenant) == ([], 0, False)


def test_an_adapter_shows_its_examples_to_whom_they_may_be_told(fake, keys):
    s = fake(keys=keys)
    shown = s.get("/v1/adapters/upper", **bearer("sk-operator-0123456")).json()
    assert shown["examples"] == ["say it louder", "and <b>louder</b>"]
    assert "examples" not in s.get("/v1/adapters/upper", **bearer("sk-tenant-0123456789")).json()


def test_an_adapter_shows_how_long_it_took_to_load_and_how_it_is_tried(server):
    assert server.chat("hello", model="redact", max_tokens=1).status_code == 200
    shown = server.get("/v1/adapters/redact").json()
    assert 0 < shown["load_ms"] < 60000 and shown["loads"] == 1
    assert len(shown["examples"]) == 8 and shown["examples"][0].startswith("The package for")
    assert shown["description"] == shown["preset"]["description"] and "names, cities" in shown["description"]
    assert server.get("/v1/adapters?search=masked").json()["data"][0]["name"] == "redact"
