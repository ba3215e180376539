"use strict";
// Constants, elements, text, themes and charts: what the other scripts of the page use.
// Every name on this page comes from a checkpoint and is hostile: it becomes text (textContent, canvas), never markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const PAGE_ROWS = 200; // rows of a list that are drawn at first

// Elements

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}
const text = (value) => document.createTextNode(String(value));
const dim = (...children) => el("p", { class: "dim" }, ...children);
const scrolling = (child) => el("div", { class: "scroll" }, child);
const link = (onclick, ...children) => el("button", { class: "link", type: "button", onclick }, ...children);
const search = (id) => el("input", { type: "search", id });
const labelled = (label, input) => el("label", { class: "search" }, label, input);

function section(id, title, ...children) {
  document.getElementById("nav").append(el("a", { href: "#" + id }, title));
  const head = el("h2", { id: id + "-title" }, title);
  const made = el("section", { id, "aria-labelledby": id + "-title" }, head, ...children);
  document.getElementById("main").append(made);
  return made;
}

// Named values side by side, each as [name, value, class]; those without a value are left out.
function facts(listed) {
  const given = listed.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const made = given.map(([name, value, kind]) =>
    el(
      "div",
      { class: kind === "long" ? "fact long" : "fact" },
      el("b", { class: kind }, ...broken(String(value))),
      el("span", {}, name),
    ),
  );
  return el("div", { class: "facts" }, ...made);
}

// Numbers and names as text

const FORMAT = new Intl.NumberFormat("en-US");
const number = (count) => (count === null || count === undefined ? "" : FORMAT.format(count));
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
// A count as a fact.
const counted = (count, word, kind) => [count === 1 ? word : word + "s", number(count), kind];
function share(part, whole) {
  if (!whole) return "";
  const percent = ((100 * part) / whole).toFixed(1);
  return (part && percent === "0.0" ? "< 0.1" : percent) + " %";
}
const shape = (sizes) => "[" + sizes.join(",") + "]";
const sum = (sizes) => sizes.reduce((total, each) => total + each, 0);

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(count < 10 ? 2 : 1)} ${units[unit]}`;
}
// A value of a tensor. What JSON and JavaScript can't have as a number is text: "nan", "inf" and long integers.
function short(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return (Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toPrecision(5)).replace(/\.?0+(e|$)/, "$1");
}
// By what such a value is sorted; what is not a number is above all numbers.
function rank(value) {
  if (value === null || value === undefined) return null;
  return { "-inf": -Infinity, inf: Infinity, nan: Infinity }[value] ?? Number(value);
}
const brief = (name) => (name.length > 160 ? name.slice(0, 100) + "…" + name.slice(-50) : name);
// A name as nodes, with places for a line break after each "/".
function broken(name) {
  const parts = brief(name).split(/(?<=\/)/);
  return parts.flatMap((part) => [el("wbr", {}), text(part)]).slice(1);
}

// Themes

const PALETTE = "3b78c4 c9743a 3f9a6b b0527c 7a68b8 a08b2f 3797a4 b85450 6c8a3c 8c6d5a"
  .split(" ")
  .map((hex) => "#" + hex);
const paint = (at) => PALETTE[at % PALETTE.length];
const color = (name) =>
  getComputedStyle(document.documentElement)
    .getPropertyValue("--" + name)
    .trim();
// Black or white, whichever can be read on a colour.
function ink(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 150 ? "#1c1e21" : "#ffffff";
}

const drawings = []; // functions that draw what doesn't follow the style sheet
const theme = () => document.documentElement.dataset.theme;
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const draw of drawings) draw();
}
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.getElementById("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));

// Charts

// The library draws on a canvas; its tooltips are drawn there too, as its HTML ones would be markup.
function chart(element, option) {
  const drawn = echarts.init(element, null, { renderer: "canvas" });
  // Drawn at once, not with the next frame: a click in between would hit what was there before.
  const draw = () => {
    drawn.setOption(option(), { notMerge: true });
    drawn.getZr().flush();
  };
  draw();
  drawings.push(draw);
  onResize(element, () => drawn.resize());
  return { drawn, draw };
}
const tooltip = (formatter) => ({
  renderMode: "richText",
  formatter,
  backgroundColor: color("panel"),
  borderColor: color("line"),
  textStyle: { color: color("text"), fontSize: 12 },
  confine: true,
});
// Calls back when the width changes, and not at once, as the observer itself does: what is new has just been drawn.
function onResize(element, callback) {
  let width = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    callback();
  }).observe(element);
}
