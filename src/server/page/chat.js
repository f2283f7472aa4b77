// The conversation: turns, each a question and its answer. Turns of one thread are sent together.

const SAMPLING = ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed"];
const SCORES = 5; // candidates that are shown
const TURNS = "edgelora.turns", KEPT = 100; // turns that survive a reload

let turns = []; // {thread, asked, question, answer, thought, by, choice, usage, timing, finish, error}
let thread = 0;
let running = null; // an AbortController

const transcript = byId("transcript");
const nearEnd = () => transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight < 60;
const toEnd = () => { transcript.scrollTop = transcript.scrollHeight; };

function keepTurns() {
  keep.set(TURNS, JSON.stringify(turns.slice(-KEPT)));
}

function restoreTurns() {
  try {
    const kept = JSON.parse(keep.get(TURNS) ?? "[]");
    turns = Array.isArray(kept) ? kept : [];
  } catch {
    turns = [];
  }
  thread = turns.length ? turns[turns.length - 1].thread : 0;
  turns.forEach(addTurn);
  toEnd();
}

// ---------------------------------------------------------------- drawing

function addTurn(turn) {
  const before = turns[turns.indexOf(turn) - 1];
  if (before && before.thread !== turn.thread) byId("turns").append(make("li.thread", {}, "a new conversation"));
  turn.view = {
    item: make("li.turn"),
    answer: make("div.said.answer", {dir: "auto"}),
    thought: make("div.said.thought", {dir: "auto", hidden: true}),
    who: make("div.who"),
    more: make("div"),
  };
  const v = turn.view;
  v.item.append(make("div.said.asked", {dir: "auto"}, turn.question), v.who, v.thought, v.answer, v.more);
  if (turn.answer) v.answer.append(turn.answer);
  if (turn.thought) v.thought.append(turn.thought);
  v.thought.hidden = !turn.thought;
  Object.defineProperty(turn, "view", {enumerable: false}); // it is not kept
  drawTurn(turn);
  byId("turns").append(v.item);
  byId("welcome").hidden = true;
}

function drawTurn(turn) {
  const v = turn.view, by = turn.by ?? turn.asked, busy = turn.finish === undefined && !turn.error;
  v.item.setAttribute("aria-busy", String(busy));
  fill(v.who, swatch(by), nameTag(by), turn.by !== undefined && turn.by !== turn.asked ? `for ${turn.asked}` : null);
  fill(v.more, turn.choice ? scores(turn.choice) : null, turn.error ? make("p.error", {role: "alert"}, turn.error) : null, busy ? null : meta(turn));
}

function scores(choice) {
  const rows = choice.candidates.flatMap((c) => {
    const bar = paint(make("i"), c.name);
    bar.style.setProperty("--part", Math.min(1, Math.max(0, c.score)));
    const won = c.name === choice.adapter ? ".won" : "";
    return [make(`bdi.name${won}`, {title: c.name}, c.name), make("span.bar", {"aria-hidden": "true"}, bar), make(`span${won}`, {}, c.score.toFixed(3)),
      make("span", {}, c.resident ? "in memory" : "")];
  });
  return make("div.scores", {role: "group", "aria-label": `The router's scores, chosen in ${millis(choice.choice_ms)}`}, ...rows);
}

function meta(turn) {
  const t = turn.timing ?? {}, usage = turn.usage, cached = usage?.prompt_tokens_details?.cached_tokens;
  const said = [
    usage ? count(usage.completion_tokens, "token") : null,
    usage && t.writing > 0 && usage.completion_tokens > 1 ? `${whole.format(((usage.completion_tokens - 1) * 1000) / t.writing)} a second` : null,
    t.first !== undefined ? `first after ${millis(t.first)}` : null,
    usage ? `prompt ${whole.format(usage.prompt_tokens)}${cached ? `, ${whole.format(cached)} cached` : ""}` : null,
    turn.choice ? `chosen in ${millis(turn.choice.choice_ms)}` : null,
    turn.finish === "length" ? "cut at the most tokens" : turn.finish === "stopped" ? "stopped" : null,
  ];
  return make("div.meta", {}, ...said.filter(Boolean).map((text) => make("span", {}, text)),
    turn.answer ? make("button.quiet", {type: "button", onclick: (event) => copy(event.target, turn.answer)}, "Copy") : null,
    make("button.quiet", {type: "button", onclick: () => tryIt(state.chosen, turn.question)}, "Ask again"));
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    say(button, "Copied");
  } catch {
    say(button, "The browser does not allow it");
  }
  setTimeout(() => say(button, "Copy"), 1500);
}

// ---------------------------------------------------------------- asking

function body(turn) {
  const messages = [];
  const system = byId("system").value.trim();
  if (system) messages.push({role: "system", content: system});
  for (const t of turns)
    if (t === turn) messages.push({role: "user", content: t.question});
    else if (t.thread === turn.thread && !t.error && t.answer && !byId("alone").checked) messages.push({role: "user", content: t.question}, {role: "assistant", content: t.answer});
  const request = {model: turn.asked, messages, stream: true, stream_options: {include_usage: true}};
  for (const field of SAMPLING)
    if (byId(field).value.trim() !== "") request[field] = Number(byId(field).value);
  if (turn.asked === "auto" && state.auto) request.edgelora = {scores: SCORES};
  return request;
}

// One event into the turn; text into the document as it comes, the rest when something of it changed.
function take(turn, event, since) {
  if (event.error) throw new ApiError(200, event.error.message, event.error.code);
  if (event.usage) turn.usage = event.usage;
  const choice = event.choices?.[0], delta = choice?.delta ?? {}, v = turn.view;
  if (event.model && turn.by === undefined) {
    turn.by = event.model;
    turn.choice = event.edgelora?.candidates ? event.edgelora : undefined;
    drawTurn(turn);
  }
  if (delta.content || delta.reasoning_content) {
    turn.timing.first ??= performance.now() - since;
    turn.timing.writing = performance.now() - since - turn.timing.first;
  }
  if (delta.content) {
    turn.answer += delta.content;
    v.answer.append(delta.content);
  }
  if (delta.reasoning_content) {
    turn.thought += delta.reasoning_content;
    v.thought.append(delta.reasoning_content);
    v.thought.hidden = false;
  }
  if (choice?.finish_reason) turn.finish = choice.finish_reason;
  if (event.warnings) turn.error = event.warnings.join("\n");
}

async function askNow(name, question) {
  if (running || name === null) return;
  const turn = {thread, asked: name, question, answer: "", thought: "", timing: {}};
  turns.push(turn);
  addTurn(turn);
  toEnd();
  running = new AbortController();
  byId("send").hidden = true;
  byId("stop").hidden = false;
  const since = performance.now();
  try {
    for await (const event of events("/v1/chat/completions", body(turn), running.signal)) {
      const follow = nearEnd();
      take(turn, event, since);
      if (follow) toEnd();
    }
    turn.finish ??= "stop";
  } catch (error) {
    if (error.name === "AbortError") turn.finish = "stopped";
    else turn.error = error instanceof ApiError ? error.message : "The connection to the server was lost.";
  }
  for (const node of [turn.view.answer, turn.view.thought]) node.normalize();
  const follow = nearEnd();
  drawTurn(turn);
  if (follow) toEnd();
  running = null;
  const stopHadFocus = document.activeElement === byId("stop");
  byId("send").hidden = false;
  byId("stop").hidden = true;
  if (stopHadFocus) byId("prompt").focus();
  keepTurns();
  refreshDetail();
  loadInSight(0);
}

function newThread() {
  if (turns.length && turns[turns.length - 1].thread === thread) thread++;
}

// An example, or a question once more: a conversation of its own.
function tryIt(name, question) {
  if (running || name === null) return;
  if (name !== state.chosen) choose(name);
  showView("chat");
  newThread();
  askNow(name, question);
}

function grow() {
  const box = byId("prompt");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

byId("prompt").oninput = grow;
byId("prompt").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
};
byId("composer").onsubmit = (event) => {
  event.preventDefault();
  const question = byId("prompt").value;
  if (running || !question.trim()) return;
  if (state.chosen === null) return showView("adapters");
  byId("prompt").value = "";
  grow();
  askNow(state.chosen, question);
};
byId("stop").onclick = () => running?.abort();
byId("new").onclick = () => {
  running?.abort();
  turns = [];
  thread = 0;
  fill(byId("turns"));
  keepTurns();
  byId("welcome").hidden = false;
  byId("prompt").focus();
};
byId("to").onclick = () => {
  showView("adapters");
  byId("search").focus();
};
