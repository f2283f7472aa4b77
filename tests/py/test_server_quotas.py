"""Keys that change while the server runs, and what each may use: docs/api.md, "Keys"."""

import json
import os
import re
import signal
import time

import httpx
import pytest

TEXT, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"


def bearer(key):
    return {"headers": {"Authorization": f"Bearer {key}"}}


def wait_log(s, text, n=1, seconds=30):
    """The last line that has `text`, once n lines have it."""
    end = time.monotonic() + seconds
    while len(found := [line for line in s.log if text in line]) < n:
        assert time.monotonic() < end, (text, s.log[-10:])
        time.sleep(0.005)
    return found[-1]


class Keyed:
    """A fake server and the file of its keys."""

    def __init__(self, fake, path, text, **settings):
        self.path = path
        self.reloads = 0
        self.write(text)
        self.s = fake(keys=path, **settings)
        self.s.key = re.search(r"^\S+", text)[0]

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o600)
        os.replace(new, self.path)

    def reload(self, text):
        """What is told of it."""
        self.write(text)
        self.reloads += 1
        self.s.process.send_signal(signal.SIGHUP)
        return wait_log(self.s, "keys: ", n=self.reloads)

    def post(self, key, path=TEXT, **body):
        return self.s.post(path, body, **bearer(key))


@pytest.fixture
def keyed(fake, tmp_path):
    return lambda text, **settings: Keyed(fake, tmp_path / "keys", text, **settings)


# ---------------------------------------------------------------- keys that change


def test_keys_are_replaced_while_the_server_runs(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    assert "read anew" in k.reload("third-key-0123456789 upper\nfirst-key-0123456789\n")
    status = {key: k.post(key + "-key-0123456789", prompt="a").status_code for key in ("first", "other", "third")}
    assert status == {"first": 200, "other": 401, "third": 404}
    assert k.post("third-key-0123456789", prompt="a", model="upper").json()["choices"][0]["text"] == "A"


def test_a_file_of_keys_that_is_wrong_leaves_them_as_they_were(keyed):
    k = keyed("first-key-0123456789\n")
    assert "line 2: a pattern is empty" in k.reload("new-key-01234567890\nsecond-key-012345678 a,,b\n")
    assert k.post("first-key-0123456789", prompt="a").status_code == 200
    assert k.post("new-key-01234567890", prompt="a").status_code == 401


def test_a_key_is_the_same_after_a_reload_by_its_secret_and_not_by_its_line(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    stored = k.post("first-key-0123456789", RESPONSES, model="fake", input="Hello").json()["id"]
    k.reload("# moved down, and another in its place\nother-key-0123456789\nfirst-key-0123456789\nfresh-key-0123456789\n")
    found = {key: k.s.get(f"{RESPONSES}/{stored}", **bearer(key + "-key-0123456789")).status_code for key in ("first", "other", "fresh")}
    assert found == {"first": 200, "other": 404, "fresh": 404}


def test_a_key_that_was_taken_away_and_given_anew_is_another(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    stored = k.post("first-key-0123456789", RESPONSES, model="fake", input="Hello").json()["id"]
    k.reload("other-key-0123456789\n")
    k.reload("other-key-0123456789\nfirst-key-0123456789\n")
    assert k.s.get(f"{RESPONSES}/{stored}", **bearer("first-key-0123456789")).status_code == 404


def test_what_runs_goes_on_when_its_key_is_taken_away(keyed):
    k = keyed("first-key-0123456789\nother-key-0123456789\n")
    k.s.key = "other-key-0123456789"
    with httpx.stream("POST", k.s.url + TEXT, json={"prompt": "x" * 20, "max_tokens": 20, "model": "slow", "stream": True}, **bearer("first-key-0123456789")) as r:
        lines = r.iter_lines()
        next(lines)
        k.reload("other-key-0123456789\n")
        text = "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines if line.startswith("data: {"))
    assert len(text) >= 18
    assert k.post("first-key-0123456789", prompt="a").status_code == 401
