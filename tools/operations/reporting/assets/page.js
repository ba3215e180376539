"use strict";
// Every name on this page comes from a checkpoint and is hostile: it becomes text (textContent, canvas), never markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const MAIN = document.getElementById("main");
const PAGE_ROWS = 200;
const MAP_CHILDREN = 300; // items of the map that are drawn for the scope that is open,
const MAP_GRANDCHILDREN = 900; // and inside them
const charts = [];

// Elements

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}
const text = (value) => document.createTextNode(String(value));

function section(id, title, ...children) {
  document.getElementById("nav").append(el("a", { href: "#" + id }, title));
  const made = el("section", { id, "aria-labelledby": id + "-title" }, el("h2", { id: id + "-title" }, title), ...children);
  MAIN.append(made);
  return made;
}

function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return (unit === 0 ? String(count) : count.toFixed(count < 10 ? 2 : 1)) + " " + units[unit];
}
const FORMAT = new Intl.NumberFormat("en-US");
const number = (count) => FORMAT.format(count);
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
const share = (part, whole) => (whole ? (100 * part / whole).toFixed(1) + " %" : "");
function short(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return (Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toPrecision(5)).replace(/\.?0+(e|$)/, "$1");
}
const brief = (name) => (name.length > 160 ? name.slice(0, 100) + "…" + name.slice(-50) : name);
// A name as nodes, which may be broken after each "/".
const broken = (name) => brief(name).split(/(?<=\/)/).flatMap((part) => [el("wbr"), text(part)]).slice(1);
const shape = (sizes) => "[" + sizes.join(",") + "]";

// Themes

function theme() {
  const set = document.documentElement.dataset.theme;
  return set || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
function color(name) { return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(); }
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const draw of charts) draw();
}
document.documentElement.dataset.theme = theme();
document.getElementById("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));

// The library draws on a canvas; its tooltips are drawn there too, as its HTML ones would be markup.
function chart(element, option) {
  const drawn = echarts.init(element, null, { renderer: "canvas" });
  // Drawn at once, not with the next frame: a click in between would hit what was there before.
  const draw = () => { drawn.setOption(option(), { notMerge: true }); drawn.getZr().flush(); };
  draw();
  charts.push(draw);
  onResize(element, () => drawn.resize());
  return { drawn, draw };
}
// Calls back when the width changes, and not at once, as the observer itself does: what is new has just been drawn.
function onResize(element, callback) {
  let width = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    callback();
  }).observe(element);
}
const tooltip = () => ({ renderMode: "richText", backgroundColor: color("panel"), borderColor: color("line"),
  textStyle: { color: color("text"), fontSize: 12 }, confine: true });
const PALETTE = ["#3b78c4", "#c9743a", "#3f9a6b", "#b0527c", "#7a68b8", "#a08b2f", "#3797a4", "#b85450", "#6c8a3c", "#8c6d5a"];

// Scopes: a tree of the names of tensors, made once; a chain of scopes with one child each is one step. Of a name with
// more parts than people have scopes, the rest is one part. Each tensor has a kind, and scopes have the bytes of each.

const MOST_PARTS = 60;
function partsOf(name) {
  const parts = name.split("/");
  return parts.length <= MOST_PARTS ? parts : [...parts.slice(0, MOST_PARTS), parts.slice(MOST_PARTS).join("/")];
}

const scopeOf = (name) => ({ name, size: 0, count: 0, kinds: new Map(), children: new Map(), tensor: null });
function count(scope, size, tensors, kinds) {
  scope.size += size;
  scope.count += tensors;
  for (const [kind, part] of kinds) scope.kinds.set(kind, (scope.kinds.get(kind) || 0) + part);
}
function scopesOf(names, sizes, kinds) {
  const root = scopeOf("");
  names.forEach((name, index) => {
    const size = sizes[index], kind = [[kinds[index], size || 1]];
    let scope = root;
    count(root, size, 1, kind);
    for (const part of partsOf(name)) {
      let below = scope.children.get(part);
      if (!below) scope.children.set(part, below = scopeOf(part));
      count(below, size, 1, kind);
      scope = below;
    }
    scope.tensor = { index, size, kind };
  });
  return root;
}
function collapsed(scope) {
  let name = scope.name;
  while (scope.children.size === 1 && scope.tensor === null) {
    scope = scope.children.values().next().value;
    name += "/" + scope.name;
  }
  return { name: brief(name), scope };
}
// What is inside a scope, the largest first; the tensor of the scope's own name too, if there is one.
function ordered(scope) {
  const found = [...scope.children.values()];
  if (found.length && scope.tensor) {
    const own = { ...scopeOf("(itself)"), tensor: scope.tensor };
    count(own, scope.tensor.size, 1, scope.tensor.kind);
    found.push(own);
  }
  return found.sort((one, other) => other.size - one.size);
}

function treemap(host, root, { colorOf, detail, leaf }) {
  const crumbs = el("div", { class: "crumbs", role: "navigation", "aria-label": "Scopes above" });
  const canvas = el("div", { class: "chart", id: "treemap", role: "img", "aria-label": "Treemap of bytes by scope; the list below has the same content" });
  const list = el("div", { class: "scroll" });
  host.append(crumbs, canvas, list);
  let trail = [{ name: "all", scope: root }];
  let drawn = []; // for each item of the map the steps that lead to it from here; the library copies what it is given

  function item(child, at, above = [], inside = null) {
    const step = collapsed(child);
    const steps = [...above, step];
    const color = colorOf(step.scope) || inside || PALETTE[at % PALETTE.length];
    const made = { name: step.name, value: step.scope.size, number: drawn.push(steps) - 1, itemStyle: { color } };
    const room = Math.floor(MAP_GRANDCHILDREN * step.scope.size / (trail[trail.length - 1].scope.size || 1));
    if (!inside && room > 1 && step.scope.children.size) made.children = cut(ordered(step.scope), room).map((each, below) => item(each, below, steps, color));
    return made;
  }
  // What is inside a scope is drawn when it is opened. Of many children the smallest are one item, which opens too.
  function cut(children, most) {
    if (children.length <= most) return children;
    const smallest = children.slice(most - 1);
    const rest = { ...scopeOf(`${number(smallest.length)} more`), children: new Map(smallest.entries()) };
    for (const each of smallest) count(rest, each.size, each.count, each.kinds);
    return [...children.slice(0, most - 1), rest];
  }
  function option() {
    drawn = [];
    const described = ({ name, scope }) => `${name}\n${bytes(scope.size)}, ${detail(scope)}`;
    return {
      // The series says for itself that nothing moves: a treemap takes no notice of `animation` above it, and a click in motion misses.
      tooltip: { ...tooltip(), formatter: ({ data }) => data.number === undefined ? "" : described(drawn[data.number].at(-1)) },
      series: [{ type: "treemap", animation: false, roam: false, nodeClick: false, breadcrumb: { show: false }, left: 4, right: 4, top: 4, bottom: 4,
        label: { fontSize: 12, overflow: "truncate" }, upperLabel: { show: true, height: 20, color: color("text"), fontSize: 12, overflow: "truncate" },
        levels: [{ upperLabel: { show: false }, itemStyle: { gapWidth: 3, borderColor: color("panel"), borderWidth: 0 } },
          { itemStyle: { borderColor: color("line"), borderWidth: 1, gapWidth: 1 } }, { itemStyle: { borderWidth: 0, gapWidth: 1 } }],
        data: cut(ordered(trail.at(-1).scope), MAP_CHILDREN).map((each, at) => item(each, at)) }],
    };
  }
  function go(to) {
    trail = to;
    drawing.draw();
    redraw();
  }
  function enter(steps) {
    const { scope } = steps.at(-1);
    if (scope.children.size) go([...trail, ...steps]);
    else {
      if (steps.length > 1) go([...trail, ...steps.slice(0, -1)]);
      leaf(scope.tensor.index);
    }
  }
  function redraw() {
    crumbs.replaceChildren(...trail.flatMap((step, depth) => [depth ? text("/") : null,
      depth === trail.length - 1 ? el("b", {}, step.name) : el("button", { class: "link", type: "button", onclick: () => go(trail.slice(0, depth + 1)) }, step.name)]
      .filter(Boolean)));
    const here = trail.at(-1).scope;
    const shown = cut(ordered(here), 12);
    list.replaceChildren(table(["scope", "bytes", "of this scope", "tensors"], shown.map((child) => [
      el("button", { class: "link", type: "button", onclick: () => enter([collapsed(child)]) }, ...broken(collapsed(child).name || "(empty name)")),
      bytes(child.size), share(child.size, here.size), number(child.count)]), [1, 2, 3]));
  }
  const drawing = chart(canvas, option);
  drawing.drawn.on("click", ({ data }) => { if (data && data.number !== undefined) enter(drawn[data.number]); });
  canvas.addEventListener("keydown", (event) => { if (event.key === "Escape" && trail.length > 1) go(trail.slice(0, -1)); });
  canvas.tabIndex = 0;
  redraw();
}

// Tables

function table(heads, rows, numeric = [], caption = null) {
  const cell = (tag, value, column) => el(tag, { class: numeric.includes(column) ? "number" : column === 0 ? "name" : null, scope: tag === "th" ? "col" : null },
    value instanceof Node ? value : text(value));
  return el("table", {}, caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, ...heads.map((head, column) => cell("th", head, column)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value, column) => cell("td", value, column))))));
}

// A table that is sorted by its heads and filtered by what is typed, drawn so many rows at a time; the row that was
// opened from elsewhere comes first.
function longTable(host, { columns, count, label, value, sortKey, detail, matches, start }) {
  const input = el("input", { type: "search", placeholder: label, "aria-label": label, id: host.id + "-search" });
  const status = el("span", { class: "dim", role: "status" });
  const body = el("tbody", {});
  const more = el("button", { type: "button", onclick: () => { limit += 1000; fill(); } });
  const opened = new Set();
  let limit = PAGE_ROWS, sorted = start, first = null;
  const heads = columns.map((column, at) => el("th", { class: column.numeric ? "number" : null, scope: "col" },
    el("button", { type: "button", onclick: () => { sorted = { at, down: sorted.at === at ? !sorted.down : !!column.numeric }; first = null; fill(); } }, column.name)));
  host.append(el("div", { class: "row" }, input, status), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body)), more);

  function rowsOf(index) {
    const name = el("button", { class: "link", type: "button", "aria-expanded": String(opened.has(index)), onclick: () => {
      if (opened.has(index)) opened.delete(index); else opened.add(index);
      fill();
      focus(index);
    } }, ...broken(value(index, 0)));
    const made = [el("tr", { "data-index": index }, ...columns.map((column, at) => el("td", { class: column.numeric ? "number" : at === 0 ? "name" : null },
      at === 0 ? name : text(value(index, at)))))];
    if (opened.has(index)) made.push(el("tr", {}, el("td", { colspan: columns.length }, detail(index))));
    return made;
  }
  const focus = (index) => host.querySelector(`[data-index="${index}"] button`)?.focus();
  function fill() {
    const wanted = input.value.trim().toLowerCase();
    const found = [];
    for (let index = 0; index < count; index += 1) if (!wanted || matches(index, wanted)) found.push(index);
    const keys = new Map(found.map((index) => [index, sortKey(index, sorted.at)]));
    found.sort((one, other) => {
      if (one === first || other === first) return one === first ? -1 : 1;
      const [a, b] = [keys.get(one), keys.get(other)];
      const order = a === b ? one - other : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1;
      return a === b || a === null || b === null ? order : sorted.down ? -order : order;
    });
    heads.forEach((head, at) => head.setAttribute("aria-sort", at !== sorted.at ? "none" : sorted.down ? "descending" : "ascending"));
    status.textContent = `${number(found.length)} of ${plural(count, "row")}`;
    body.replaceChildren(...found.slice(0, limit).flatMap(rowsOf));
    more.hidden = found.length <= limit;
    more.textContent = `Show more (${number(found.length - limit)} left)`;
  }
  input.addEventListener("input", () => { limit = PAGE_ROWS; first = null; fill(); });
  fill();
  return { open(index) {
    input.value = "";
    first = index;
    opened.add(index);
    fill();
    host.querySelector(`[data-index="${index}"]`).scrollIntoView({ block: "center" });
    focus(index);
  } };
}

function histogram(low, high, counts) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const width = 480, height = 90, most = Math.max(...counts, 1);
  svg.setAttribute("viewBox", `0 0 ${width} ${height + 16}`);
  svg.setAttribute("width", width);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histogram from ${short(low)} to ${short(high)}`);
  counts.forEach((count, at) => {
    const bar = document.createElementNS(space, "rect");
    const tall = count ? Math.max(1, height * count / most) : 0;
    for (const [name, value] of Object.entries({ x: at * width / counts.length, y: height - tall, width: width / counts.length - 1, height: tall, fill: "var(--accent)" })) bar.setAttribute(name, value);
    const title = document.createElementNS(space, "title");
    title.textContent = number(count);
    bar.append(title);
    svg.append(bar);
  });
  for (const [at, anchor, value] of [[0, "start", low], [width, "end", high]]) {
    const mark = document.createElementNS(space, "text");
    for (const [name, set] of Object.entries({ x: at, y: height + 13, "text-anchor": anchor, "font-size": 11, fill: "var(--dim)" })) mark.setAttribute(name, set);
    mark.textContent = short(value);
    svg.append(mark);
  }
  return svg;
}

// One checkpoint

function facts(listed) {
  return el("div", { class: "facts" }, ...listed.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value, kind]) => el("div", { class: kind === "long" ? "fact long" : "fact" }, el("b", { class: kind || null }, ...broken(String(value))), el("span", {}, name))));
}

const KINDS = ["weights", "optimizer state", "object graph"];
const LISTED = 20;

function checkpointPage() {
  const { info, tensors, layers, problems } = DATA;
  const { keys, kinds, nbytes, shapes, stats } = tensors;
  const paths = tensors.paths.map((path, index) => path ?? keys[index]);
  const elements = (index) => shapes[index].reduce((product, each) => product * each, 1);
  const stat = (name, index) => (stats ? stats[name][index] : null);
  const sizes = [0, 0, 0];
  kinds.forEach((kind, index) => { sizes[kind] += nbytes[index]; });
  const total = sizes.reduce((sum, each) => sum + each, 0);
  const broke = keys.map((_, index) => index).filter((index) => stat("nan", index) || stat("inf", index));
  const layerName = (layer) => layer.path + (layer.scope ? ` (${layer.scope})` : "");
  let rows = null;
  const link = (index) => el("button", { class: "link", type: "button", onclick: () => rows.open(index) }, ...broken(paths[index]));

  const summary = section("summary", "Summary", facts([
    ["kind", info.kind], ["optimizer", info.optimizer || "none found"], ["step", info.step === null ? null : number(info.step)],
    ["tensors with NaN or Inf", stats ? number(broke.length) : "not read", stats ? broke.length ? "bad" : "good" : null],
    ["problems", number(problems.length), problems.length ? "bad" : "good"],
    ["largest layer", layers.length ? layerName(layers[0]) : null, "long"],
    ["parameters", number(info.parameters)], ["of them without optimizer state", number(info.parameters_without_optimizer)],
    ["tensors", number(info.tensors)], ["bytes", bytes(total)], ["data shards", number(info.shards)],
    ["dead bytes", bytes(info.dead_bytes), info.dead_bytes ? "warn" : null],
  ]));
  if (layers.length) summary.append(el("div", { class: "scroll" }, table(["largest layers", "parameters", "of all weights", "bytes", "tensors"],
    layers.map((layer) => [el("span", {}, ...broken(layerName(layer))), number(layer.parameters), share(layer.parameters, info.parameters_without_optimizer), bytes(layer.nbytes), number(layer.tensors)]), [1, 2, 3, 4])));
  if (broke.length) {
    const listed = section("nan", "NaN and Inf", el("div", { class: "scroll" }, table(["tensor", "NaN", "Inf", "of values"],
      broke.slice(0, LISTED).map((index) => [link(index), number(stat("nan", index)), number(stat("inf", index)), share(stat("nan", index) + stat("inf", index), elements(index))]), [1, 2, 3])));
    if (broke.length > LISTED) listed.append(el("p", { class: "dim" }, `and ${plural(broke.length - LISTED, "more tensor")}: sort the table of tensors by its last column`));
  }
  if (problems.length) section("problems", "Problems", el("div", { class: "scroll" }, table(["where", "kind", "problem", "likely cause"],
    problems.map((each) => [el("span", {}, ...broken(each.key || each.path || "")), each.kind, each.message, each.cause || ""]))));

  const byBytes = section("map", "Bytes by scope", el("p", { class: "dim" }, "Grey is optimizer state and the object graph. Click to open a scope; Escape closes it."));
  const names = paths.map((path, index) => (kinds[index] === 1 ? "optimizer state/" : "") + path);
  const whole = scopesOf(names, nbytes, kinds);
  treemap(byBytes, whole, { detail: (scope) => plural(scope.count, "tensor"), leaf: (index) => rows.open(index),
    colorOf: (scope) => (scope.kinds.has(0) ? null : color("state")) });

  const types = new Map();
  tensors.dtypes.forEach((dtype, index) => types.set(dtype, (types.get(dtype) || 0) + nbytes[index]));
  const bars = (title, pairs) => {
    const host = el("div", { class: "chart short", role: "img", "aria-label": title + ": " + pairs.map(([name, size]) => `${name} ${bytes(size)}`).join(", ") });
    return [host, () => chart(host, () => ({ animation: false, title: { text: title, textStyle: { color: color("text"), fontSize: 13 } }, tooltip: { ...tooltip(), formatter: (what) => `${what.name}\n${bytes(what.value)}, ${share(what.value, total)}` },
      grid: { left: 8, right: 90, top: 34, bottom: 8, containLabel: true }, xAxis: { type: "value", show: false },
      yAxis: { type: "category", inverse: true, data: pairs.map(([name]) => name), axisLabel: { color: color("text"), width: 160, overflow: "truncate" }, axisLine: { show: false }, axisTick: { show: false } },
      series: [{ type: "bar", barMaxWidth: 22, data: pairs.map(([, size]) => size), itemStyle: { color: color("accent") }, label: { show: true, position: "right", color: color("text"), formatter: (what) => bytes(what.value) } }] }))];
  };
  const [typeHost, drawTypes] = bars("by data type", [...types].sort((one, other) => other[1] - one[1]));
  const [kindHost, drawKinds] = bars("by use", KINDS.map((name, kind) => [name, sizes[kind]]));
  section("types", "Types and optimizer", el("div", { class: "columns" }, typeHost, kindHost));
  drawTypes();
  drawKinds();

  const columns = [{ name: "name" }, { name: "type" }, { name: "shape" }, { name: "bytes", numeric: true },
    ...(stats ? [{ name: "min", numeric: true }, { name: "max", numeric: true }, { name: "mean", numeric: true }, { name: "NaN, Inf", numeric: true }] : [])];
  const invalid = (index) => (stat("nan", index) === null ? null : stat("nan", index) + stat("inf", index));
  const values = [(index) => paths[index], (index) => tensors.dtypes[index], elements, (index) => nbytes[index],
    (index) => stat("min", index), (index) => stat("max", index), (index) => stat("mean", index), invalid];
  const shown = { 2: (index) => shape(shapes[index]), 3: (index) => bytes(nbytes[index]) };
  const place = (where) => (typeof where === "number" ? plural(where, "slice") : `shard ${where[0]}, offset ${where[1]}`);
  rows = longTable(section("tensors", "Tensors"), { columns, count: keys.length, label: "Find a tensor by name, type or shape", start: { at: 3, down: true },
    value: (index, at) => (shown[at] || ((each) => short(values[at](each))))(index),
    sortKey: (index, at) => { const found = values[at](index); return at > 2 && found !== null ? Number(found) : found; },
    matches: (index, wanted) => [keys[index], tensors.full_names[index] || ""].some((each) => each.toLowerCase().includes(wanted)) || tensors.dtypes[index] === wanted || shape(shapes[index]).includes(wanted),
    detail: (index) => {
      const [nan, inf] = [stat("nan", index), stat("inf", index)];
      const counts = stats && stats.histogram[index];
      return el("div", {}, facts([["key", keys[index], "long"], ["full name", tensors.full_names[index], "long"], ["parameters", number(elements(index))],
        ["where it is stored", place(tensors.places[index])], ["use", KINDS[kinds[index]]], ["mean", short(stat("mean", index))], ["standard deviation", short(stat("std", index))],
        ["zeros", stat("zeros", index) === null ? null : number(stat("zeros", index))], ["NaN", nan === null ? null : number(nan), nan ? "bad" : null], ["Inf", inf === null ? null : number(inf), inf ? "bad" : null]]),
        counts ? histogram(stat("min", index), stat("max", index), counts) : null);
    } });

  if (DATA.graph) graphSection(DATA.graph);
  shardSection(whole, names);
}

function graphSection(graph) {
  const host = section("graph", "Object graph");
  const { names, parents, children, hints, attributes, slots } = graph;
  const input = el("input", { type: "search", id: "graph-search", placeholder: "Find an object by path, class or full name", "aria-label": "Find an object by path, class or full name" });
  const results = el("div", { class: "scroll", role: "status", id: "graph-results" });
  const tree = el("div", { class: "tree" });
  host.append(el("p", { class: "dim" }, `${plural(parents.length, "object")}; each is shown below its shortest path, other edges to it are links`),
    el("div", { class: "row" }, input), results, tree);
  const elements = new Map();

  function title(id) {
    const parts = [brief(names[id]) || "(root)", "#" + id, hints[id] || "", ...attributes[id]];
    return parts.filter(Boolean).join("  ");
  }
  function node(id) {
    const own = children[id].filter(([, child]) => parents[child] === id && child !== id);
    const links = children[id].filter(([, child]) => !(parents[child] === id && child !== id));
    if (!own.length && !links.length && !slots[id].length) {
      const leaf = el("div", { class: "leaf", tabindex: "-1" }, title(id));
      elements.set(id, leaf);
      return leaf;
    }
    const summary = el("summary", {}, title(id));
    const made = el("details", {}, summary);
    elements.set(id, summary);
    const link = (to, label) => el("button", { class: "link", type: "button", onclick: () => show(to) }, label);
    const rest = [...new Set(own.map(([, child]) => child))].map((child) => () => elements.has(child) ? null : node(child));
    for (const [name, child] of links) rest.push(() => el("div", { class: "leaf" }, name + " → ", link(child, title(child))));
    for (const [name, variable, slot] of slots[id]) rest.push(() => el("div", { class: "leaf" }, `slot ${name} of `, link(variable, title(variable)), ": ", link(slot, attributes[slot].join("  ") || "#" + slot)));
    const more = el("button", { class: "leaf", type: "button", onclick: () => fill() });
    made.append(more);
    function fill() {
      more.before(...rest.splice(0, PAGE_ROWS).map((make) => make()).filter(Boolean));
      more.hidden = !rest.length;
      more.textContent = `Show more (${number(rest.length)} left)`;
    }
    // Opens the node, and makes sure that one child is there.
    made.reveal = (child) => {
      if (!made.filled) { made.filled = true; fill(); }
      made.open = true;
      if (child !== undefined && !elements.has(child)) more.before(node(child));
    };
    made.addEventListener("toggle", () => made.open && made.reveal());
    return made;
  }
  function show(id) {
    const above = [];
    for (let each = id; each !== null && each !== undefined && above.length <= parents.length; each = parents[each]) above.unshift(each);
    above.slice(0, -1).forEach((each, at) => elements.get(each)?.parentElement.reveal?.(above[at + 1]));
    const found = elements.get(id);
    if (!found) return;
    for (const old of tree.querySelectorAll(".found")) old.classList.remove("found");
    found.classList.add("found");
    found.scrollIntoView({ block: "center" });
    found.focus();
  }
  const root = node(0);
  tree.append(root);
  root.reveal?.();
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    if (!wanted) { results.replaceChildren(); return; }
    const found = [];
    for (let id = 0; id < parents.length; id += 1) {
      if ((graph.paths[id] + "\n" + (hints[id] || "") + "\n" + attributes[id].join("\n")).toLowerCase().includes(wanted)) found.push(id);
    }
    results.replaceChildren(el("p", { class: "dim" }, plural(found.length, "object") + (found.length > 50 ? ", the first 50:" : ":")),
      ...found.slice(0, 50).map((id) => el("div", {}, el("button", { class: "link", type: "button", onclick: () => show(id) }, brief(graph.paths[id]) || "(root)"))));
  });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") results.querySelector("button")?.click(); });
}

function shardSection(whole, names) {
  if (!DATA.shards.length) return;
  const host = section("shards", "Data shards", el("p", { class: "dim" }, "Where tensors are stored, coloured by scope; bytes that no tensor uses are red."));
  let base = whole, skip = 0; // the first scope that has several inside it
  while (base.children.size === 1) { base = base.children.values().next().value; skip += 1; }
  const hues = new Map(ordered(base).map((scope, at) => [scope.name, PALETTE[at % PALETTE.length]]));
  const fill = names.map((name) => hues.get(partsOf(name)[skip]) || PALETTE[0]);
  for (const shard of DATA.shards) {
    const strip = el("canvas", { class: "strip", role: "img", "aria-label": `${shard.name}: ${bytes(shard.size)}, ${bytes(shard.dead)} dead` });
    host.append(el("p", {}, el("code", {}, shard.name), ` ${bytes(shard.size)}, ${bytes(shard.dead)} dead`), strip);
    const draw = () => {
      const width = strip.width = Math.max(300, strip.clientWidth), height = strip.height = 34;
      const pen = strip.getContext("2d");
      pen.fillStyle = color("bad");
      pen.fillRect(0, 0, width, height);
      let drawn = 0; // of tensors that are smaller than half a pixel, each other half pixel shows one
      for (const [start, end, index] of shard.extents) {
        const [left, right] = [width * start / shard.size, width * end / shard.size];
        if (right < drawn) continue;
        pen.fillStyle = fill[index];
        pen.fillRect(left, 0, Math.max(right - left, .5), height);
        drawn = left + .5;
      }
    };
    draw();
    charts.push(draw);
    onResize(strip, draw);
  }
}

// Two checkpoints

function comparisonPage() {
  const { rows, counts, sides } = DATA;
  const COLORS = { same: "#8b949e", value: "#c9743a", renamed: "#7a68b8", added: "#3f9a6b", removed: "#b85450", dtype: "#3797a4", shape: "#a08b2f" };
  const swatch = (change) => el("i", { class: "swatch", style: `background: ${COLORS[change]}` });
  section("summary", "Summary", facts([["A", sides[0].prefix, "long"], ["B", sides[1].prefix, "long"], ["bytes of A", bytes(sides[0].bytes)], ["bytes of B", bytes(sides[1].bytes)]]),
    facts(Object.keys(COLORS).map((change) => [change, counts[change] ? number(counts[change]) : null])));
  const sizes = rows.map((row) => (row.b || row.a).nbytes);
  const whole = scopesOf(rows.map((row) => row.key), sizes, rows.map((row) => row.change));
  const changes = Object.keys(COLORS).filter((change) => counts[change]);
  const host = section("map", "Where it changed", el("p", { class: "dim" }, "Bytes by scope, in the colour of the change that has most bytes:"),
    el("p", { class: "row", id: "legend" }, ...changes.map((change) => el("span", {}, swatch(change), change))));
  const changed = (scope) => [...scope.kinds].filter(([change]) => change !== "same").sort((one, other) => other[1] - one[1]);
  let listed = null;
  treemap(host, whole, { colorOf: (scope) => COLORS[changed(scope)[0]?.[0] || "same"],
    detail: (scope) => `${share(changed(scope).reduce((sum, [, size]) => sum + size, 0), scope.size)} changed`, leaf: (index) => listed.open(index) });
  const described = (side) => (side ? `${side.dtype} ${shape(side.shape)}` : "");
  const columns = [{ name: "name" }, { name: "change" }, { name: "A" }, { name: "B" }, { name: "bytes", numeric: true }, { name: "largest difference", numeric: true }];
  const cells = (index, at) => { const row = rows[index]; return [row.to ? `${row.key} → ${row.to}` : row.key, row.change, described(row.a), described(row.b), sizes[index], row.max_abs ?? null][at]; };
  listed = longTable(section("tensors", "Tensors"), { columns, count: rows.length, label: "Find a tensor by name or change", start: { at: 5, down: true },
    value: (index, at) => at === 4 ? bytes(sizes[index]) : short(cells(index, at)),
    sortKey: (index, at) => { const found = cells(index, at); return at === 5 && found !== null ? Number(found) : found; },
    matches: (index, wanted) => rows[index].change === wanted || cells(index, 0).toLowerCase().includes(wanted),
    detail: (index) => { const row = rows[index]; return facts([["key", row.key, "long"], ["key in B", row.to, "long"], ["change", row.change], ["A", described(row.a)], ["B", described(row.b)],
      ["checksum in A", row.a?.crc32c], ["checksum in B", row.b?.crc32c], ["values that differ", row.different === undefined || row.different === null ? null : number(row.different)],
      ["largest difference", short(row.max_abs)], ["largest relative difference", short(row.max_rel)]]); } });
}

document.title = "tensorbundle report: " + DATA.title;
document.getElementById("title").textContent = DATA.title;
document.getElementById("subtitle").textContent = DATA.subtitle;
document.getElementById("footer").textContent = DATA.footer;
(DATA.page === "comparison" ? comparisonPage : checkpointPage)();
document.documentElement.dataset.ready = "true";
