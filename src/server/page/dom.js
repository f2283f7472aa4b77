// Elements, figures and colours. Texts come from files and clients: they are set as text, never as markup.

const byId = (id) => document.getElementById(id);

// make("button.quiet", {type: "button", onclick: f}, child, "text", null, ...)
function make(what, properties = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag);
  node.classList.add(...classes);
  for (const [name, value] of Object.entries(properties))
    if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

const fill = (node, ...children) => node.replaceChildren(...children.filter((c) => c !== null && c !== undefined));

// Sets a text only where it changes, so that live regions are quiet and selections stay.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A hue for a name: FNV-1a, then mixed, so that short names that are alike are far apart.
function hueOf(name) {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return ((h ^ (h >>> 15)) >>> 0) % 360;
}

function paint(node, name) {
  node.classList.toggle("base", name === null || name === state.base);
  node.classList.toggle("auto", name === "auto" && state.auto);
  if (name !== null) node.style.setProperty("--hue", hueOf(name).toFixed(1));
  return node;
}

const swatch = (name) => paint(make("span.swatch", {"aria-hidden": "true"}), name);
const nameTag = (name) => make("bdi.name", {title: name}, name);

const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const one = new Intl.NumberFormat("en", {maximumFractionDigits: 1});
const count = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
const percent = (part, all) => (all > 0 ? `${one.format((100 * part) / all)} %` : "–");
const bytes = (n) => (n >= 2 ** 30 ? `${one.format(n / 2 ** 30)} GiB` : n >= 2 ** 20 ? `${one.format(n / 2 ** 20)} MiB` : `${whole.format(n / 1024)} KiB`);
const millis = (ms) => (ms >= 1000 ? `${one.format(ms / 1000)} s` : ms >= 10 ? `${whole.format(ms)} ms` : `${one.format(ms)} ms`);

function ago(seconds) {
  const s = Math.max(0, Date.now() / 1000 - seconds);
  if (s < 60) return "just now";
  if (s < 3600) return `${whole.format(s / 60)} min ago`;
  return s < 86400 ? `${whole.format(s / 3600)} h ago` : new Date(seconds * 1000).toISOString().slice(0, 10);
}

function pairs(node, list) {
  fill(node, ...list.filter(Boolean).flatMap(([term, value]) => [make("dt", {}, ...[term].flat()), make("dd", {}, value)]));
}

// What the whole page knows.
const state = {
  base: null, // the base's name; null: not known, or not this key's
  auto: false, // there is a router that answers to "auto"
  limited: false,
  chosen: null, // who is asked: a name
};
