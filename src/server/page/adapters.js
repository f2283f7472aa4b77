// The list of adapters: any number of them, of which the rows in sight exist, and the pages around these are known.

const ROW = 44; // height, as in style.css
const PAGE = 50; // rows of one request
const EXAMPLES = 4; // of an adapter that are shown

const list = {
  pages: new Map(), // index -> {rows, at: when it came}
  total: 0,
  active: 0, // where the keyboard is
  turn: 0, // counts searches: what comes for an earlier one is dropped
  nodes: new Map(), // index -> row in the document
  wanted: new Set(), // pages under way
};

const rowAt = (index) => list.pages.get(Math.floor(index / PAGE))?.rows[index % PAGE];

const STATES = {on_disk: "on disk", loading: "loading", resident: "in memory", failed: "failed", refused: "refused"};

function query(offset, limit) {
  const q = new URLSearchParams({offset, limit, sort: byId("sort").value});
  const words = byId("search").value.trim();
  if (words) q.set("search", words);
  if (byId("filter").value) q.set("state", byId("filter").value);
  return `/v1/adapters?${q}`;
}

async function loadPage(page) {
  if (list.wanted.has(page)) return;
  list.wanted.add(page);
  const turn = list.turn;
  try {
    const answer = await get(query(page * PAGE, PAGE));
    if (turn !== list.turn) return;
    list.total = answer.total;
    list.pages.set(page, {rows: answer.data, at: Date.now()});
    drawList();
  } catch {
    /* the state line says when the server is away */
  } finally {
    if (turn === list.turn) list.wanted.delete(page);
  }
}

function inSight() {
  const box = byId("list");
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 3);
  return [first, Math.min(list.total, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 3)];
}

function makeRow(index) {
  const node = make("div.row", {role: "option", id: `row-${index}`},
    make("span.swatch", {"aria-hidden": "true"}), make("bdi.name"), make("span.tag"), make("span.what"));
  node.style.transform = `translateY(${index * ROW}px)`;
  node.onclick = () => {
    list.active = index;
    chooseRow(index);
  };
  return node;
}

function drawRow(node, index) {
  const a = rowAt(index);
  const [mark, name, tag, what] = node.children;
  say(name, a?.name ?? "…");
  name.title = a?.name ?? "";
  paint(mark, a?.name ?? null);
  say(tag, a ? STATES[a.state] ?? a.state : "");
  tag.className = `tag ${a?.state ?? ""}`;
  say(what, a ? summary(a) : "");
  node.classList.toggle("refused", a?.state === "refused");
  node.classList.toggle("active", index === list.active);
  node.setAttribute("aria-posinset", index + 1);
  node.setAttribute("aria-setsize", list.total);
  node.setAttribute("aria-selected", a !== undefined && a.state !== "refused" && a.name === state.chosen);
}

function summary(a) {
  if (a.state === "refused") return a.failure.message;
  const figures = [a.rank ? `rank ${a.rank}` : null, a.requests ? count(a.requests, "request") : null, a.pinned ? "pinned" : null];
  return [a.description, ...figures].filter(Boolean).join(" · ") || "not used yet";
}

function drawList() {
  byId("rows").style.height = `${list.total * ROW}px`;
  byId("none").hidden = list.total > 0 || !list.pages.size;
  say(byId("adapters-count"), list.pages.size ? whole.format(list.total) : "");
  const [from, to] = inSight();
  for (const [index, node] of list.nodes)
    if (index < from || index >= to) {
      node.remove();
      list.nodes.delete(index);
    }
  for (let i = from; i < to; i++) {
    if (!list.nodes.has(i)) {
      list.nodes.set(i, makeRow(i));
      byId("rows").append(list.nodes.get(i));
    }
    drawRow(list.nodes.get(i), i);
  }
  if (list.nodes.has(list.active)) byId("list").setAttribute("aria-activedescendant", `row-${list.active}`);
  else byId("list").removeAttribute("aria-activedescendant");
}

// Asks for the pages in sight that are missing, or older than `ms`.
function loadInSight(ms = Infinity) {
  const [from, to] = inSight();
  for (let page = Math.floor(from / PAGE); page * PAGE < Math.max(to, 1); page++) {
    const known = list.pages.get(page);
    if (!known || Date.now() - known.at > ms) loadPage(page);
  }
}

function searchAgain() {
  list.turn++;
  list.pages.clear();
  list.wanted.clear();
  list.active = 0;
  byId("list").scrollTop = 0;
  loadPage(0);
}

let settling = 0; // a timer
byId("list").addEventListener("scroll", () => {
  drawList();
  clearTimeout(settling);
  settling = setTimeout(loadInSight, 60);
}, {passive: true});
// Its height changes with the window's, and as the chosen adapter's details come and go below it.
new ResizeObserver(() => {
  drawList();
  if (list.pages.size) loadInSight();
}).observe(byId("list"));

let typing = 0;
byId("search").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(searchAgain, 120);
};
byId("sort").onchange = byId("filter").onchange = searchAgain;

byId("search").onkeydown = (event) => {
  if (event.key === "ArrowDown") {
    event.preventDefault();
    byId("list").focus();
  }
};

byId("list").onkeydown = (event) => {
  const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW) - 1);
  const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -list.total, End: list.total};
  if (event.key in steps) {
    event.preventDefault();
    list.active = Math.min(list.total - 1, Math.max(0, list.active + steps[event.key]));
    const box = byId("list"), top = list.active * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
    drawList();
    loadInSight();
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    chooseRow(list.active);
  }
};

function chooseRow(index) {
  const a = rowAt(index);
  if (!a) return;
  if (a.state === "refused") showDetail(a);
  else choose(a.name);
  drawList();
}

// ---------------------------------------------------------------- who is asked

function choose(name) {
  state.chosen = name;
  keep.set("edgelora.chosen", name);
  drawChosen();
  drawList();
  refreshDetail();
}

function drawChosen() {
  const name = state.chosen;
  fill(byId("to"), name === null ? null : swatch(name), nameTag(name ?? "choose"));
  byId("to").setAttribute("aria-label", `Asked is ${name ?? "nobody yet"}: choose another`);
  byId("prompt").placeholder = name === null ? "Choose an adapter first" : name === "auto" && state.auto ? "Ask, and the router chooses" : `Ask ${name}`;
  const fixed = [];
  if (state.auto) fixed.push(["auto", "the router reads the prompt and chooses"]);
  if (state.base !== null) fixed.push([state.base, "the base model, without an adapter"]);
  const had = document.activeElement?.parentNode === byId("fixed") ? [...byId("fixed").children].indexOf(document.activeElement) : -1;
  fill(byId("fixed"), ...fixed.map(([id, what]) =>
    make("button", {type: "button", "aria-pressed": String(id === name), onclick: () => choose(id)}, swatch(id), nameTag(id), make("span.tag"), make("span.what", {}, what))));
  byId("fixed").children[had]?.focus();
}

// ---------------------------------------------------------------- one of them

let shown = ""; // what the detail was drawn of: nothing is drawn anew that is the same

function showDetail(a) {
  const box = byId("detail");
  const text = JSON.stringify(a);
  if (text === shown && !box.hidden) return;
  shown = text;
  const facts = [
    ["State", STATES[a.state] ?? a.state],
    a.rank ? ["Rank", whole.format(a.rank)] : null,
    a.bytes ? ["In memory it takes", bytes(a.bytes)] : null,
    a.load_ms ? ["Loaded in", millis(a.load_ms)] : null,
    a.requests !== undefined ? ["Requests", whole.format(a.requests)] : null,
    a.requests ? ["Found in memory", `${whole.format(a.hits)} (${percent(a.hits, a.requests)})`] : null,
    a.loads ? ["Loads", whole.format(a.loads) + (a.loads_failed ? `, ${whole.format(a.loads_failed)} failed` : "")] : null,
    a.generated_tokens ? ["Tokens written", whole.format(a.generated_tokens)] : null,
    a.last_used ? ["Last used", ago(a.last_used)] : null,
    a.aliases?.length ? ["Also called", a.aliases.join(", ")] : null,
    a.in_router !== undefined && state.auto ? ["The router knows it", a.in_router ? "yes" : "no"] : null,
  ];
  const dl = make("dl");
  pairs(dl, facts);
  const examples = (a.examples ?? []).slice(0, EXAMPLES).map((text) => make("li", {}, exampleButton(a.name, text)));
  const focused = box.contains(document.activeElement) ? [...box.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  fill(box,
    make("h3", {}, swatch(a.name), nameTag(a.name), a.state === "refused" ? null : make("button.try", {type: "button", onclick: askThis}, "Ask it")),
    a.description ? make("p.about", {}, a.description) : null,
    a.failure ? make("p.failure", {}, a.failure.message) : null,
    examples.length ? make("ul", {"aria-label": "Try it"}, ...examples) : null,
    dl);
  box.hidden = false;
  if (focused >= 0) box.querySelectorAll("button")[focused]?.focus();
}

function askThis() {
  showView("chat");
  byId("prompt").focus();
}

const exampleButton = (name, text) => make("button.example", {type: "button", title: `Ask ${name}`, onclick: () => tryIt(name, text)}, text);

async function refreshDetail() {
  const name = state.chosen;
  if (name === null || name === state.base || (name === "auto" && state.auto)) {
    byId("detail").hidden = true;
    return settle(null);
  }
  try {
    const a = await get(`/v1/adapters/${encodeURIComponent(name)}`);
    if (name !== state.chosen) return;
    showDetail(a);
    settle(a.preset);
  } catch (error) {
    if (name === state.chosen && error.status === 404) showDetail({name, state: "gone", failure: {message: error.message}});
  }
}

// The fields of the settings show what the adapter's preset says where they are empty.
function settle(preset) {
  for (const field of SAMPLING) byId(field).placeholder = preset?.[field] ?? "";
}
