// What the machine does now: /v1/stats, /slots and /queue, once a second while somebody looks.

const SAMPLES = 120, LISTED = 8;
const rates = []; // tokens a second, the last SAMPLES
let earlier = null; // the stats before

function addRate(s) {
  if (earlier && s.clock_ms > earlier.clock_ms && s.started === earlier.started)
    rates.push(((s.tokens.generated - earlier.tokens.generated) * 1000) / (s.clock_ms - earlier.clock_ms));
  if (rates.length > SAMPLES) rates.shift();
  earlier = s;
}

function drawRate() {
  say(byId("rate"), whole.format(rates.at(-1) ?? 0));
  const most = Math.max(1, ...rates), x = (i) => SAMPLES - rates.length + i + 0.5, y = (r) => (31 - (29 * r) / most).toFixed(1);
  const line = rates.map((r, i) => `${x(i)},${y(r)}`).join(" L");
  byId("spark-line").setAttribute("d", line ? `M${line}` : "");
  byId("spark-area").setAttribute("d", line ? `M${x(0)},32 L${line} L${x(rates.length - 1)},32 Z` : "");
}

const PHASES = {choosing: "router reads", loading: "loading", prompt: "prompt", generation: "writes"};

// How far a slot's request is, 0 to 1.
function progress(slot) {
  if (slot.state !== "generation") return 0.25;
  const [next] = slot.next_token, all = next.n_decoded + next.n_remain;
  return all > 0 ? Math.max(0.15, next.n_decoded / all) : 1;
}

function drawSlots(slots) {
  const box = byId("slots"), busy = slots.filter((s) => s.is_processing);
  while (box.children.length < slots.length) box.append(make("i"));
  while (box.children.length > slots.length) box.lastChild.remove();
  slots.forEach((slot, i) => {
    const cell = box.children[i];
    cell.className = slot.is_processing ? "on" : "";
    if (!slot.is_processing) return;
    paint(cell, slot.adapter);
    cell.style.setProperty("--part", progress(slot));
  });
  say(byId("slots-sum"), `${busy.length} of ${slots.length} busy`);
  fill(byId("running"), ...busy.slice(0, LISTED).map((slot) => {
    const name = slot.adapter ?? state.base ?? "base";
    const at = slot.state === "prompt" ? `${whole.format(slot.n_prompt_tokens_processed)}/${whole.format(slot.n_prompt_tokens)}` : whole.format(slot.next_token[0].n_decoded);
    return make("li", {}, swatch(slot.adapter), nameTag(name), make("span", {}, `${PHASES[slot.state] ?? slot.state} ${at}`));
  }), busy.length > LISTED ? make("li", {}, `and ${busy.length - LISTED} more`) : null);
}

function drawQueue(queue) {
  say(byId("queue-sum"), queue.length ? count(queue.length, "request") : "empty");
  fill(byId("queue"), ...queue.slice(0, LISTED).map((q) =>
    make("li", {}, swatch(q.adapter), nameTag(q.adapter ?? state.base ?? "base"), make("span", {}, `${q.state} ${millis(q.age_ms)}`))),
    queue.length > LISTED ? make("li", {}, `and ${whole.format(queue.length - LISTED)} more`) : null);
}

function drawMemory(m) {
  const uses = [["kv", "keys and values", m.kv], ["used", "adapters in use", m.adapters_used], ["idle", "adapters idle", m.adapters_idle], ["free", "free", m.free]];
  const box = byId("memory");
  if (!box.children.length) fill(box, ...uses.map(([kind]) => make(`i.${kind}`)));
  uses.forEach(([, , n], i) => box.children[i].style.setProperty("--part", m.blocks ? n / m.blocks : 0));
  box.setAttribute("aria-label", uses.map(([, name, n]) => `${name}: ${bytes(n * m.block_bytes)}`).join(", "));
  say(byId("memory-sum"), `${count(m.blocks, "block")} of ${bytes(m.block_bytes)}`);
  pairs(byId("memory-key"), uses.map(([kind, name, n]) => [[make(`span.swatch.${kind}`, {"aria-hidden": "true"}), name], bytes(n * m.block_bytes)]));
}

function drawFigures(s) {
  const a = s.adapters, asked = a.hits + a.misses;
  pairs(byId("cache"), [
    ["Offered", whole.format(a.offered)],
    ["In memory", whole.format(a.resident)],
    ["Found there", percent(a.hits, asked)],
    ["Loads, mean time", a.loads ? `${whole.format(a.loads)}, ${millis((a.load_seconds * 1000) / a.loads)}` : "0"],
    ["Made room", whole.format(a.evictions)],
    ["Prompt tokens reused", percent(s.tokens.cached, s.tokens.cached + s.tokens.prompt)],
  ]);
  pairs(byId("router"), state.auto ? [
    ["Knows", count(a.in_router, "adapter")],
    ["Choices", whole.format(s.choices.all)],
    ["In", s.choices.all ? millis((s.choices.seconds * 1000) / s.choices.all) : "–"],
    ["Took one in memory", percent(s.choices.resident, s.choices.all)],
  ] : [["There is none", ""]]);
  pairs(byId("model"), [
    ["Kind", s.model.architecture],
    s.model.parameters ? ["Parameters", s.model.parameters >= 1e9 ? `${one.format(s.model.parameters / 1e9)} B` : `${whole.format(s.model.parameters / 1e6)} M`] : null,
    ["Weights", bytes(s.model.weight_bytes)],
    ["Context", count(s.model.ctx_size, "token")],
    ["Threads", `${s.model.threads}, ${s.model.isa}`],
    ["Requests done", whole.format(s.requests.done)],
    ["Version", s.version],
  ]);
}

async function lookAtMachine() {
  const s = await get("/v1/stats");
  takeServer(s);
  byId("limited").hidden = !s.limited;
  byId("figures").hidden = s.limited;
  say(byId("state"), s.limited ? "serving" : s.queued ? `${s.slots_busy} run, ${s.queued} wait` : s.slots_busy ? `${s.slots_busy} run` : "idle");
  if (s.limited) return;
  addRate(s);
  const [slots, queue] = await Promise.all([get("/slots"), s.queued ? get("/queue") : []]);
  drawRate();
  drawSlots(slots);
  drawQueue(queue);
  drawMemory(s.memory);
  drawFigures(s);
}
