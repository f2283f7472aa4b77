// Views, the first look at the server, and the clock that looks again.

function showView(view) {
  // Where all are in sight, or this one, there is nothing to switch.
  if (byId(view).offsetParent !== null) return;
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  if (view === "adapters") {
    drawList();
    loadInSight();
  }
  if (view === "chat") toEnd();
}
for (const button of document.querySelectorAll("nav button")) button.onclick = () => showView(button.dataset.view);

// What is served to whom; again with each look, as the key may be another.
function takeServer(s) {
  const {name, auto, default: first} = s.model;
  if (state.base === name && state.auto === auto && state.limited === s.limited && state.known) return;
  Object.assign(state, {base: name, auto, limited: s.limited, known: true});
  say(byId("base"), name ?? "");
  const kept = keep.get("edgelora.chosen");
  if (state.chosen === null && (kept !== "auto" || auto)) state.chosen = kept;
  if (state.chosen === null) state.chosen = auto ? "auto" : first;
  drawChosen();
  refreshDetail();
}

async function welcome(s) {
  const n = s.adapters.offered;
  const url = `${location.origin}/v1`;
  const head = make("h3", {}, n ? `One model, ${count(n, "adapter")}. Ask any of them.` : "One model. Ask it.");
  const how = make("p", {}, state.auto ? "Name one on the left, or leave it to auto: the router reads what you ask and chooses. " : "Choose one on the left. ",
    "Requests to different adapters run in one batch. Clients of OpenAI's API find it at ", make("code", {}, url), ", with an adapter's name as the model.");
  const examples = make("ul", {"aria-label": "Examples"});
  fill(byId("welcome"), head, how, examples);
  if (s.limited) return;
  const found = await get("/v1/adapters?limit=5");
  const all = await Promise.all(found.data.filter((a) => a.state !== "refused").map((a) => get(`/v1/adapters/${encodeURIComponent(a.name)}`).catch(() => null)));
  fill(examples, ...all.filter((a) => a?.examples?.length).map((a) =>
    make("li", {}, make("span.who", {}, swatch(a.name), nameTag(a.name)), exampleButton(state.auto ? "auto" : a.name, a.examples[0]))));
}

let looking = false, failures = 0;

async function look() {
  if (looking || keyWanted || document.hidden) return;
  looking = true;
  try {
    await lookAtMachine();
    failures = 0;
    byId("state").classList.remove("bad");
    if (byId("adapters").offsetParent !== null) loadInSight(2000);
  } catch (error) {
    failures++;
    byId("state").classList.add("bad");
    say(byId("state"), error.status === 401 ? "a key is needed" : error instanceof ApiError ? error.message : "the server is not reached");
  } finally {
    looking = false;
  }
}

// A server that is away is asked less and less often.
let ticks = 0;
setInterval(() => {
  if (++ticks % Math.min(30, 1 << Math.min(failures, 5)) === 0) look();
}, 1000);
document.addEventListener("visibilitychange", look);

// Whether there is no way without a key: whoever may see all is told figures. So nothing is asked that would be refused.
async function keyMissing() {
  if (keep.get(KEY)) return false;
  try {
    return (await get("/health")).model === undefined;
  } catch {
    return false; // the next look says what is wrong
  }
}

async function begin() {
  Object.assign(state, {known: false, chosen: null});
  if (await keyMissing()) return needKey("This server asks for a key.");
  await look();
  if (keyWanted) return;
  searchAgain();
  try {
    await welcome(await get("/v1/stats"));
  } catch {
    /* the state line says it */
  }
}

addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape" && !byId("key").open) running?.abort();
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || byId("key").open) return;
  event.preventDefault();
  showView("adapters");
  byId("search").focus();
});

restoreTurns();
begin();
