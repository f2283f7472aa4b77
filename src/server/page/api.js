// The server, with the key of this tab.

const KEY = "edgelora.key";

// Storage may be forbidden, or full.
const keep = {
  get(name) {
    try {
      return sessionStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(name);
      else sessionStorage.setItem(name, value);
    } catch {
      /* then it is not kept */
    }
  },
};

class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(path, options = {}) {
  const headers = {...options.headers};
  const key = keep.get(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, {...options, headers, cache: "no-store", credentials: "omit"});
  if (response.ok) return response;
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    /* not ours, a proxy's perhaps */
  }
  if (response.status === 401) needKey(key ? "The server does not know this key." : "This server asks for a key.");
  let message = error.message ?? `The server answered ${response.status}.`;
  if (error.code === "origin_not_allowed") message += ` Its option is: --cors-origin ${location.origin}`;
  throw new ApiError(response.status, message, error.code);
}

const get = async (path, signal) => (await ask(path, {signal})).json();

// The events of a stream, as they come.
async function* events(path, body, signal) {
  const response = await ask(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).replace(/^data: ?/, "");
      if (data === "[DONE]") return;
      if (data.startsWith("{")) yield JSON.parse(data);
    }
  }
}

// ---------------------------------------------------------------- the key

let keyWanted = false; // nothing is asked until there is one

function needKey(why) {
  keyWanted = true;
  say(byId("key-why"), why);
  const dialog = byId("key");
  if (!dialog.open) dialog.showModal();
  byId("key-value").focus();
}

function useKey(value) {
  keep.set(KEY, value);
  keyWanted = false;
  byId("key").close();
  byId("key-value").value = "";
  say(byId("key-why"), "");
  begin();
}

byId("key-open").onclick = () => byId("key").showModal();
byId("key-close").onclick = () => byId("key").close();
byId("key-forget").onclick = () => useKey(null);
byId("key-form").onsubmit = (event) => {
  event.preventDefault();
  const value = byId("key-value").value.trim();
  if (!/^[\x20-\x7e]+$/.test(value)) say(byId("key-why"), "A key is printable ASCII.");
  else useKey(value);
};
