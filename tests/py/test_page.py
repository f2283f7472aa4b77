"""The page at /, clicked through in a real browser. Whatever happens on it: nothing in the console, and no other host is asked.

Most is done on the engine without a model, whose answers repeat the question; its router looks for adapters' names in it.
"""

import json
import urllib.parse

import pytest

from browser import DESKTOP, PHONE, PROGRAM, Browser
from conftest import BINARY, MODEL, ROOT, Server

BOTH = pytest.mark.parametrize("size,scheme", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def browser():
    if not PROGRAM:
        pytest.skip("there is no chromium")
    b = Browser()
    yield b
    b.close()


@pytest.fixture
def visit(browser):
    """Opens the page of a server. In the end no page may have logged anything but what the test `expects`, nor asked another host."""
    pages = []

    def open_page(server, size=DESKTOP, scheme="light", expects=()):
        page = browser.open(server.url + "/", size, scheme)
        pages.append((page, server, expects))
        return page

    yield open_page
    for page, server, expects in pages:
        assert [e for e in page.errors if not any(x in e for x in expects)] == []
        assert {urllib.parse.urlsplit(u).netloc for u in page.requests if not u.startswith("data:")} == {urllib.parse.urlsplit(server.url).netloc}
        page.close()


@pytest.fixture(scope="module")
def real():
    if not BINARY.exists() or not MODEL.exists():
        pytest.skip("edgelora is not built, or the default model is missing")
    s = Server([BINARY, "serve", "-m", MODEL, "--model-name", "SmolLM2", "--router", ROOT / "routers" / "demo.gguf", "--adapters", ROOT / "adapters", "--port", "0"])
    yield s
    assert s.stop() == 0


def ready(page):
    page.wait("document.querySelector('#welcome h3') && document.querySelectorAll('.row .tag').length")


def ask(page, text):
    page.click("#prompt")
    page.type(text)
    page.key("Enter")


def answered(page, n=1):
    """The n-th turn, when it has ended."""
    page.wait(f"document.querySelectorAll('.turn[aria-busy=\"false\"]').length === {n}")
    return page.js("(() => { const t = [...document.querySelectorAll('.turn')].at(-1), x = (s) => t.querySelector(s)?.innerText ?? null;"
                   " return {who: x('.who'), answer: x('.answer'), scores: x('.scores'), meta: x('.meta'), error: x('.error')}; })()")


def view(page, name):
    """On a phone a tab has to be pressed; where all is in sight there is nothing to do."""
    if page.js("getComputedStyle(document.querySelector('nav')).display !== 'none'"):
        page.click("nav button", name)


# ---------------------------------------------------------------- with a model


@BOTH
def test_a_person_tries_an_example_and_sees_who_answered_and_why(real, visit, size, scheme):
    page = visit(real, size, scheme)
    ready(page)
    page.wait("document.querySelectorAll('#welcome .example').length === 5")
    page.click("#welcome .example", "flights(")
    turn = answered(page)
    assert turn["who"].split() == ["sql", "for", "auto"] and turn["answer"] == "SELECT DISTINCT origin FROM flights;"
    assert turn["scores"].split()[0] == "sql" and float(turn["scores"].split()[1]) > 0.5
    assert "tokens" in turn["meta"] and "first after" in turn["meta"]
    view(page, "Adapters")
    page.wait("[...document.querySelectorAll('.row')].some((r) => r.innerText.includes('sql') && r.querySelector('.resident'))")
    page.click(".row", "sql")
    page.wait("document.querySelector('#detail dl')?.innerText.includes('Loaded in')")
    detail = page.text("#detail")
    assert "Writes one SQL statement for a question about a table." in detail and "Rank\n8" in detail and "in memory" in detail
    assert page.js("document.querySelectorAll('#detail .example').length") == 4
    page.click("#detail .example", "cabins(")
    assert answered(page, 2)["who"] == "sql"
    assert page.js("document.querySelectorAll('.thread').length") == 1, "an example is a conversation of its own"


def test_the_machine_is_shown_as_the_metrics_have_it(real, visit):
    page = visit(real)
    ready(page)
    ask(page, "Average rent of the cabins?")
    answered(page)
    real.wait_idle(10)
    page.wait("!/^keys and values\\n0 KiB/.test(document.querySelector('#memory-key').innerText) && document.querySelector('#slots-sum').innerText.startsWith('0 of')")
    stats = real.get("/v1/stats").json()
    assert page.text("#slots-sum") == f"0 of {stats['slots']} busy"
    assert page.js("document.querySelectorAll('#slots i').length") == stats["slots"]
    page.wait(f"document.querySelector('#cache').innerText.includes('In memory\\n{stats['adapters']['resident']}\\n')")
    widths = page.js("[...document.querySelectorAll('#memory i')].map((i) => i.getBoundingClientRect().width)")
    whole = page.js("document.querySelector('#memory').getBoundingClientRect().width")
    assert abs(sum(widths) - whole) < 2 and widths[3] > 0.9 * whole and widths[2] > 0, "the bar's parts are the blocks' shares"
    page.wait("document.querySelector('#spark-line').getAttribute('d').length > 10")


# ---------------------------------------------------------------- many adapters


def test_ten_thousand_adapters_are_scrolled_and_searched(fake, visit):
    page = visit(fake(more=10000, router=1))
    ready(page)
    assert page.text("#adapters-count") == "10,004"
    assert page.js("document.querySelectorAll('.row').length") < 60
    page.click("#list .row", "upper")
    page.wait("!document.querySelector('#detail').hidden")  # the list is lower from here on
    page.js("document.querySelector('#sort').value = 'added'; document.querySelector('#sort').onchange()")
    page.wait("document.querySelector('#row-3 .name')?.textContent === 'more/0'")
    page.js("document.querySelector('#list').scrollTop = 1e9")
    page.wait("document.querySelector('#row-10003 .name')?.textContent === 'broken'")
    assert page.js("document.querySelectorAll('.row').length") < 60, "rows out of sight are gone"
    # A list that is drawn anew with each frame of a scroll has a few milliseconds for that.
    took = page.js("(() => { const box = document.querySelector('#list'), t = performance.now(); for (let i = 0; i < 50; i++) { box.scrollTop = i * 7919; drawn(); } return (performance.now() - t) / 50; "
                   "function drawn() { box.dispatchEvent(new Event('scroll')); } })()")
    assert took < 16, took
    page.click("#search")
    page.type("4321 more")
    page.wait("document.querySelector('#adapters-count').innerText === '1'")
    page.click(".row", "more/4321")
    page.click("#prompt")
    page.type("hello")
    page.key("Enter")
    assert answered(page)["who"] == "more/4321"
    page.click("#search")
    page.js("document.querySelector('#search').select()")
    page.type("nobody is called this")
    page.wait("document.querySelector('#none').offsetParent !== null")


def test_one_that_cannot_be_offered_says_why(fake, visit):
    page = visit(fake())
    ready(page)
    page.click(".row", "broken")
    page.wait("document.querySelector('#detail .failure') !== null")
    assert "has no weights" in page.text("#detail") and "refused" in page.text("#detail")
    assert page.text("#to") == "fake", "it cannot be asked"


# ---------------------------------------------------------------- conversation


@BOTH
def test_a_conversation_goes_on_survives_a_reload_and_is_thrown_away(fake, visit, size, scheme):
    page = visit(fake(), size, scheme)
    page.wait("document.querySelector('#to').innerText === 'fake'")
    ask(page, "first")
    assert answered(page)["answer"] == "user: first\n", "the engine without a model repeats all that it gets"
    ask(page, "second")
    assert answered(page, 2)["answer"].strip() == "user: first\nassistant: user: first\n\nuser: second"
    page.go(page.js("location.href"))
    assert answered(page, 2)["answer"].strip().endswith("user: second")
    page.click("#settings summary")
    page.click("#system")
    page.type("be kind")
    page.click("#alone")
    page.click("#max_tokens")
    page.type("20")
    page.click("#settings summary")
    ask(page, "third")
    turn = answered(page, 3)
    assert turn["answer"].strip() == "system: be kind\nuser"[:20].strip() and "cut at the most tokens" in turn["meta"]
    page.click("#new")
    assert page.js("document.querySelectorAll('.turn').length === 0 && sessionStorage['edgelora.turns'] === '[]'")


def test_scores_of_the_router_are_shown(fake, visit):
    page = visit(fake(router=1))
    ready(page)
    assert page.text("#to") == "auto"
    ask(page, "please upper this")
    turn = answered(page)
    assert turn["who"].split() == ["upper", "for", "auto"] and turn["answer"].strip() == "USER: PLEASE UPPER THIS"
    assert turn["scores"].split()[:4] == ["upper", "0.900", "fake", "0.500"]


def test_stop_ends_the_answer_here_and_on_the_server(fake, visit):
    server = fake(step_us=5000)
    page = visit(server)
    ready(page)
    page.click(".row", "slow")
    ask(page, "a long story, told slowly")
    page.wait("document.querySelector('.answer').innerText.length > 2")
    server.wait_busy()
    page.wait("document.querySelector('#slots i.on') !== null && document.querySelector('#running').innerText.includes('slow')")
    page.click("#stop")
    assert "stopped" in answered(page)["meta"]
    server.wait_idle(10)
    assert page.js("document.querySelector('#stop').hidden && !document.querySelector('#send').hidden")


def test_an_answer_is_copied_and_a_question_asked_again_of_another(fake, visit):
    page = visit(fake())
    ready(page)
    page.browser.call("Browser.grantPermissions", browserContextId=page.context, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    ask(page, "who are you?")
    assert answered(page)["who"] == "fake"
    page.click(".meta button", "Copy")
    page.wait("document.querySelector('.meta button').innerText === 'Copied'")
    assert page.js("navigator.clipboard.readText()") == "user: who are you?\n"
    page.click(".row", "upper")
    page.click(".meta button", "Ask again")
    turn = answered(page, 2)
    assert (turn["who"], turn["answer"]) == ("upper", "USER: WHO ARE YOU?\n"), "in a conversation of its own"


def test_a_queue_is_shown(fake, visit):
    server = fake(slots=1, step_us=5000)
    page = visit(server)
    ready(page)
    page.click(".row", "slow")
    ask(page, "a long story, told slowly")
    server.wait_busy()
    page.js("fetch('/v1/chat/completions', {method: 'POST', body: JSON.stringify({model: 'upper', messages: [{role: 'user', content: 'me too'}]})}).then(() => 1), 1")
    server.wait_busy(2)
    page.wait("document.querySelector('#queue').innerText.includes('upper') && document.querySelector('#queue-sum').innerText === '1 request'")
    assert page.text("#state") == "1 run, 1 wait" and page.text("#slots-sum") == "1 of 1 busy"
    page.click("#stop")
    server.wait_idle(20)


def test_a_failure_in_an_answer_is_told_and_the_page_goes_on(fake, visit):
    page = visit(fake())
    ready(page)
    page.click(".row", "fail")
    ask(page, "one two three")
    turn = answered(page)
    assert turn["answer"] == "use" and "the fake engine fails here" in turn["error"]
    page.click("#fixed button", "fake")
    ask(page, "again")
    assert answered(page, 2)["error"] is None


def test_a_server_that_goes_away_is_told(fake, visit):
    server = fake()
    page = visit(server, expects=["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"])
    ready(page)
    server.stop()
    page.wait("document.querySelector('#state').innerText === 'the server is not reached'")
    ask(page, "anybody there?")
    assert answered(page)["error"] == "The connection to the server was lost."


# ---------------------------------------------------------------- keys


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text("sk-operator-0123456\nsk-tenant-0123456789 upper,more/1*\n")
    path.chmod(0o600)
    return path


@BOTH
def test_a_key_is_asked_for_kept_in_the_tab_and_can_be_forgotten(fake, visit, keys, size, scheme):
    page = visit(fake(keys=keys), size, scheme, expects=["401 (Unauthorized)"])
    page.wait("document.querySelector('#key').open")
    assert page.js("document.activeElement.id") == "key-value" and "asks for a key" in page.text("#key-why")
    assert page.errors == [], "nothing is asked before there is a key"
    page.type("sk-wrong")
    page.key("Enter")
    page.wait("document.querySelector('#key-why').innerText.includes('does not know this key')")
    page.type("sk-operator-0123456")
    page.key("Enter")
    ready(page)
    ask(page, "hello")
    assert answered(page)["answer"] == "user: hello\n"
    page.go(page.js("location.href"))
    page.wait("document.querySelector('#to').innerText === 'fake'")
    assert not page.js("document.querySelector('#key').open")
    assert page.js("JSON.stringify(localStorage)") == "{}" and page.js("document.cookie") == ""
    assert not any("sk-" in url for url in page.requests)
    page.click("#key-open")
    page.click("#key-forget")
    page.wait("document.querySelector('#key').open && document.querySelector('#key-why').innerText.includes('asks for a key')")


def test_a_limited_key_sees_what_is_its_own(fake, visit, keys):
    page = visit(fake(keys=keys, more=20))
    page.wait("document.querySelector('#key').open")
    page.type("sk-tenant-0123456789")
    page.key("Enter")
    ready(page)
    names = page.js("[...document.querySelectorAll('.row .name')].map((n) => n.innerText)")
    assert sorted(names) == sorted(["upper", "more/1", *(f"more/1{i}" for i in range(10))])
    assert page.js("document.querySelector('#figures').hidden && !document.querySelector('#limited').hidden")
    assert page.js("document.querySelectorAll('#fixed button').length") == 0, "the base is not its own"
    assert not any(urllib.parse.urlsplit(u).path in ("/slots", "/queue", "/metrics") for u in page.requests), "what would be refused is not asked"
    page.click(".row", "upper")
    ask(page, "louder")
    assert answered(page)["answer"] == "USER: LOUDER\n"


# ---------------------------------------------------------------- hostile texts

HOSTILE = ["<img src=x onerror=window.pwned=1>", "\"><script>window.pwned=1</script>", "javascript:window.pwned=1", "' onclick='window.pwned=1", "\u202egnp.exe", "a/../../health?x=1#y",
           "{{7*7}}${7*7}", "%2e%2e%2fmetrics", "__proto__", "x" * 255, "&lt;b&gt;", "عربي <b>", "0"]


@BOTH
def test_names_and_texts_are_text(fake, visit, tmp_path, size, scheme):
    server = fake(allow=tmp_path, router=1)
    for name in HOSTILE:
        answer = server.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(tmp_path)})
        assert answer.status_code == 200, (name, answer.text)
    page = visit(server, size, scheme)
    page.wait("document.querySelector('#to').innerText === 'auto'")
    view(page, "Adapters")
    for name in HOSTILE:
        shown = json.dumps(name)
        page.wait(f"(() => {{ document.querySelector('#search').value = {json.dumps(name[:100])}; document.querySelector('#search').oninput();"
                  f" return true; }})()")
        page.wait(f"(() => {{ const row = [...document.querySelectorAll('.row')].find((r) => r.querySelector('.name').textContent === {shown}); row?.click(); return row !== undefined; }})()")
        page.wait(f"document.querySelector('#detail h3 .name')?.textContent === {shown} && document.querySelector('#detail dl').innerText.includes('Requests')")
    view(page, "Chat")
    ask(page, "<img src=x onerror=window.pwned=1><script>window.pwned=1</script> \u202e")
    turn = answered(page)
    assert "<img src=x onerror=window.pwned=1>" in turn["answer"]
    assert page.js("window.pwned === undefined && document.querySelectorAll('img, iframe, script:not([type=module]), b').length === 0")
    assert page.js("document.documentElement.scrollWidth <= innerWidth"), "a long name breaks no layout"
    refused = page.js("(() => { try { document.querySelector('#welcome').innerHTML = '<b>x</b>'; return 'done'; } catch (e) { return e.name; } })()")
    assert refused == "TypeError", "the policy does not let markup be made of text"
    page.errors.clear()  # which the console tells


# ---------------------------------------------------------------- for everybody


def test_all_is_done_with_the_keyboard_alone(fake, visit):
    page = visit(fake(router=1, more=30))
    ready(page)
    page.key("/")
    assert page.js("document.activeElement.id") == "search"
    page.type("more")
    page.wait("document.querySelector('#adapters-count').innerText === '30'")
    page.key("ArrowDown")
    assert page.js("document.activeElement.id") == "list"
    page.key("End")
    page.wait("document.querySelector('.row.active .name')?.innerText === 'more/29'")
    assert page.js("document.getElementById(document.querySelector('#list').getAttribute('aria-activedescendant')).innerText").startswith("more/29")
    page.key("ArrowUp")
    page.key("Enter")
    page.wait("document.querySelector('#to').innerText === 'more/28'")
    assert page.js("document.querySelector('.row[aria-selected=true] .name').innerText") == "more/28"
    # On to the message by Tab; each stop shows that it has the focus, and all that can be pressed is a stop.
    stops = []
    while (at := page.js("document.activeElement.id || document.activeElement.className")) != "prompt":
        stops.append(at)
        assert page.js("(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1; })()"), at
        assert len(stops) < 40, stops
        page.key("Tab")
    assert stops[0] == "list" and "to" in stops and "transcript" in stops, stops
    page.type("hello")
    page.key("Enter", shift=True)
    page.type("there")
    page.key("Enter")
    assert answered(page)["answer"] == "user: hello\nthere\n"
    page.key("Tab")
    assert page.js("document.activeElement.id") == "send"
    page.key("/")
    assert page.js("document.activeElement.id") == "search"


def test_escape_stops(fake, visit):
    page = visit(fake())
    ready(page)
    page.click(".row", "slow")
    ask(page, "once upon a time")
    page.wait("document.querySelector('.answer').innerText.length > 1")
    page.key("Escape")
    assert "stopped" in answered(page)["meta"]


# Each text's contrast with what lies under it, by WCAG: what is below 4.5.
CONTRAST = """(() => {
  const rgb = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number), light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (n) => { for (; n; n = n.parentElement) { const c = rgb(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), low = [];
  while (walk.nextNode()) {
    const n = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !n.checkVisibility() || n.closest('svg, option, script, style') || n.classList.contains('hidden')) continue;
    const [a, b] = [light(rgb(getComputedStyle(n).color)), light(under(n))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(`${n.tagName}.${n.className} ${walk.currentNode.data.trim()} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return low;
})()"""
# What can be pressed, has no name, or is too small for a finger (24 pixels, WCAG 2.2).
PRESSED = """[...document.querySelectorAll('button, input:not([type=checkbox]), select, textarea, summary, [role=option]')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().width).filter((n) => {
  const r = n.getBoundingClientRect(), named = n.innerText?.trim() || n.getAttribute('aria-label') || n.labels?.length;
  return !named || (innerWidth < 600 && r.height < 24 && !n.classList.contains('quiet') && n.tagName !== 'SUMMARY');
}).map((n) => n.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, (820, 1100), PHONE, (320, 640)], ids=["desktop", "tablet", "phone", "small"])
def test_it_fits_is_readable_and_named(shared, visit, size, scheme):
    page = visit(shared, size, scheme)
    page.wait("document.querySelector('#to').innerText === 'auto'")
    ask(page, "upper it")
    answered(page)
    for name in ("Chat", "Adapters", "Machine"):
        if page.js(f"[...document.querySelectorAll('nav button')].some((n) => n.innerText === {name!r} && n.offsetParent !== null)"):
            page.click("nav button", name)
        if name == "Machine":
            page.wait("document.querySelector('#model').innerText.includes('Kind')")
        assert page.js("document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight"), "nothing sticks out"
        assert page.js(CONTRAST) == []
        assert page.js(PRESSED) == []
    ids = page.js("[...document.querySelectorAll('[id]')].map((n) => n.id)")
    assert len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def shared():
    from conftest import FAKE

    if not FAKE.exists():
        pytest.skip("server_fake is not built")
    s = Server([FAKE, "router=1", "more=40"])
    yield s
    assert s.stop() == 0
