"""A headless Chromium, spoken to over its pipe in the DevTools protocol: no driver, no port, no package."""

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

PROGRAM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
# The sandbox needs name spaces of users, which containers and root lack; /dev/shm is small in containers. Nothing is asked of anybody but the server.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad", "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe"]
DESKTOP, PHONE = (1360, 850), (390, 780)
SECONDS = 20


class Browser:
    def __init__(self, *flags):
        self.folder = tempfile.mkdtemp(prefix="edgelora-browser-")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def place():  # Chromium reads from 3 and writes to 4
            spare = [os.dup(to_read), os.dup(to_write)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self.process = subprocess.Popen([PROGRAM, *FLAGS, *flags, f"--user-data-dir={self.folder}", "about:blank"], preexec_fn=place, close_fds=False,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._answers, self._pages, self._id, self._lock = {}, {}, 0, threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        rest = b""
        while data := os.read(self._read, 1 << 20):
            *messages, rest = (rest + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                elif message.get("sessionId") in self._pages:
                    self._pages[message["sessionId"]].on(message["method"], message["params"])

    def call(self, method, session=None, **params):
        answer = queue.Queue()
        with self._lock:
            self._id += 1
            self._answers[self._id] = answer
            message = {"id": self._id, "method": method, "params": params, **({"sessionId": session} if session else {})}
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(self._write, data):]
        reply = answer.get(timeout=SECONDS)
        assert "error" not in reply, (method, reply["error"])
        return reply["result"]

    def open(self, url, size=DESKTOP, scheme="light", context=None):
        """A tab of its own, with its own storage."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, context)
        page.set(size, scheme)
        page.go(url)
        return page

    def close(self):
        try:
            self.call("Browser.close")
        finally:
            self.process.wait(SECONDS)
            shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """A tab: what it logged and what it asked the network for, and what a person does."""

    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context
        self.errors, self.requests = [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def on(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description") or params["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str([a.get("value") for a in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def set(self, size, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=size[0] < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression):
        """The value of an expression, of a promise's too."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"].get("exception", {}).get("description", result)
        return result["result"].get("value")

    def wait(self, expression, seconds=SECONDS):
        """Until it is true; its value."""
        end = time.monotonic() + seconds
        while True:
            value = self.js(expression)
            if value:
                return value
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def click(self, selector, containing=None):
        """A mouse's click in the middle of what a person sees: it has to be in sight, and nothing may lie over it."""
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")  # what is to be hit has been painted
        find = f"[...document.querySelectorAll({json.dumps(selector)})].find((n) => n.offsetParent !== null && n.innerText.includes({json.dumps(containing or '')}))"
        where = self.wait(f"(() => {{ const n = {find}; if (!n) return null; n.scrollIntoView({{block: 'nearest'}}); const r = n.getBoundingClientRect();"
                          " const x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);"
                          " return n === top || n.contains(top) ? [x, y] : null; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowDown": (40, ""), "ArrowUp": (38, ""), "End": (35, ""), "Home": (36, ""), " ": (32, " "), "/": (191, "/")}

    def key(self, key, shift=False):
        code, text = self.KEYS[key]
        common = {"key": key, "code": {" ": "Space", "/": "Slash"}.get(key, key), "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self):
        """PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
