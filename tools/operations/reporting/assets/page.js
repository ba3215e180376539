"use strict";
// Every name on this page comes from a checkpoint and is hostile: it becomes text (textContent, canvas), never markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const MAIN = document.getElementById("main");
const PAGE_ROWS = 200;
const MAP_CHILDREN = 400;
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
const number = (count) => Number(count).toLocaleString("en-US");
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
const share = (part, whole) => (whole ? (100 * part / whole).toFixed(1) + " %" : "");
const short = (value) => (value === null || value === undefined ? "" : typeof value === "number" && !Number.isInteger(value)
  ? value.toPrecision(5).replace(/\.?0+(e|$)/, "$1") : String(value));
const brief = (name) => (name.length > 160 ? name.slice(0, 100) + "…" + name.slice(-50) : name);
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
  new ResizeObserver(() => drawn.resize()).observe(element);
  return { drawn, draw };
}
const tooltip = () => ({ renderMode: "richText", backgroundColor: color("panel"), borderColor: color("line"),
  textStyle: { color: color("text"), fontSize: 12 }, confine: true });
const PALETTE = ["#3b78c4", "#c9743a", "#3f9a6b", "#b0527c", "#7a68b8", "#a08b2f", "#3797a4", "#b85450", "#6c8a3c", "#8c6d5a"];

// Scopes: a tree of the names of tensors, made once; a chain of scopes with one child each is one step. Of a name with
// more parts than people have scopes, the rest is one part.

const MOST_PARTS = 60;
function partsOf(name) {
  const parts = name.split("/");
  return parts.length <= MOST_PARTS ? parts : [...parts.slice(0, MOST_PARTS), parts.slice(MOST_PARTS).join("/")];
}

function scopesOf(names, sizes, marks) {
  const root = { name: "", size: 0, count: 0, marked: 0, children: new Map(), tensor: null };
  names.forEach((name, index) => {
    let scope = root;
    const add = (each) => { each.size += sizes[index]; each.count += 1; each.marked += marks && marks[index] ? sizes[index] : 0; };
    add(root);
    for (const part of partsOf(name)) {
      let below = scope.children.get(part);
      if (!below) scope.children.set(part, below = { name: part, size: 0, count: 0, marked: 0, children: new Map(), tensor: null });
      add(below);
      scope = below;
    }
    scope.tensor = index;
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
const ordered = (scope) => [...scope.children.values()].sort((one, other) => other.size - one.size);

function treemap(host, root, { colorOf, detail, leaf }) {
  const crumbs = el("div", { class: "crumbs", role: "navigation", "aria-label": "Scopes above" });
  const canvas = el("div", { class: "chart", id: "treemap", role: "img", "aria-label": "Treemap of bytes by scope; the list below has the same content" });
  const list = el("div", { class: "scroll" });
  host.append(crumbs, canvas, list);
  let trail = [{ name: "all", scope: root }];

  function item(child, at, inside = null) {
    const { name, scope } = collapsed(child);
    const fill = colorOf ? colorOf(scope) : inside || PALETTE[at % PALETTE.length];
    const made = { name, value: scope.size, scope, itemStyle: { color: fill } };
    if (!inside && scope.children.size) made.children = cut(ordered(scope), 60).map((each, below) => item(each, below, fill));
    return made;
  }
  // Beyond so many, scopes are smaller than a pixel: the rest becomes one item.
  function cut(children, most) {
    if (children.length <= most) return children;
    const rest = children.slice(most);
    const sum = (of) => rest.reduce((total, each) => total + each[of], 0);
    return [...children.slice(0, most), { name: `${number(rest.length)} more`, size: sum("size"), count: sum("count"), marked: sum("marked"),
      children: new Map(), tensor: null }];
  }
  function option() {
    const here = trail[trail.length - 1].scope;
    return {
      // The series says for itself that nothing moves: a treemap takes no notice of `animation` above it, and a click in motion misses.
      tooltip: { ...tooltip(), formatter: (what) => what.data.scope ? `${what.name}\n${bytes(what.data.scope.size)}, ${detail(what.data.scope)}` : "" },
      series: [{ type: "treemap", animation: false, roam: false, nodeClick: false, breadcrumb: { show: false }, left: 4, right: 4, top: 4, bottom: 4,
        label: { fontSize: 12, overflow: "truncate" }, upperLabel: { show: true, height: 20, color: color("text"), fontSize: 12, overflow: "truncate" },
        levels: [{ upperLabel: { show: false }, itemStyle: { gapWidth: 3, borderColor: color("panel"), borderWidth: 0 } },
          { itemStyle: { borderColor: color("line"), borderWidth: 1, gapWidth: 1 } }, { itemStyle: { borderWidth: 0, gapWidth: 1 } }],
        data: cut(ordered(here), MAP_CHILDREN).map((each, at) => item(each, at)) }],
    };
  }
  function go(to) {
    trail = to;
    redraw();
  }
  function enter(child) {
    const step = collapsed(child);
    if (step.scope.children.size) go([...trail, step]);
    else if (step.scope.tensor !== null && leaf) leaf(step.scope.tensor);
  }
  function redraw() {
    drawing.draw();
    crumbs.replaceChildren(...trail.flatMap((step, depth) => [depth ? text("/") : null,
      depth === trail.length - 1 ? el("b", {}, step.name) : el("button", { class: "link", type: "button", onclick: () => go(trail.slice(0, depth + 1)) }, step.name)]
      .filter(Boolean)));
    const here = trail[trail.length - 1].scope;
    const shown = ordered(here).slice(0, 12);
    list.replaceChildren(table(["scope", "bytes", "of this scope", "tensors"], shown.map((child) => [
      el("button", { class: "link", type: "button", onclick: () => enter(child) }, collapsed(child).name || "(empty name)"),
      bytes(child.size), share(child.size, here.size), number(child.count)]), [1, 2, 3]));
    if (here.children.size > shown.length) list.append(el("p", { class: "dim" }, `and ${plural(here.children.size - shown.length, "more scope")}`));
  }
  const drawing = chart(canvas, option);
  drawing.drawn.on("click", (what) => { if (what.data && what.data.scope) enterFrom(what); });
  function enterFrom(what) {
    // A click on a grandchild enters its parent first, and the grandchild from there.
    const path = (what.treePathInfo || []).slice(1).map((each) => each.name);
    let scope = trail[trail.length - 1].scope;
    for (const name of path) {
      const child = [...scope.children.values()].find((each) => collapsed(each).name === name);
      if (!child) return;
      enter(child);
      scope = collapsed(child).scope;
    }
  }
  canvas.addEventListener("keydown", (event) => { if (event.key === "Escape" && trail.length > 1) go(trail.slice(0, -1)); });
  canvas.tabIndex = 0;
  redraw();
  return { where: () => trail.map((step) => step.name) };
}

// Tables

function table(heads, rows, numeric = [], caption = null) {
  const cell = (tag, value, column) => el(tag, { class: numeric.includes(column) ? "number" : column === 0 ? "name" : null, scope: tag === "th" ? "col" : null },
    value instanceof Node ? value : text(value));
  return el("table", {}, caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, ...heads.map((head, column) => cell("th", head, column)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value, column) => cell("td", value, column))))));
}

// A table that is sorted by its heads and filtered by what is typed, drawn so many rows at a time.
function longTable(host, { columns, count, label, value, sortKey, detail, matches, start }) {
  const input = el("input", { type: "search", placeholder: label, "aria-label": label, id: host.id + "-search" });
  const status = el("span", { class: "dim", role: "status" });
  const body = el("tbody", {});
  const more = el("button", { type: "button", onclick: () => { limit += 1000; fill(); } });
  const opened = new Set();
  let limit = PAGE_ROWS, sorted = start;
  const heads = columns.map((column, at) => el("th", { class: column.numeric ? "number" : null, scope: "col" },
    el("button", { type: "button", onclick: () => { sorted = { at, down: sorted.at === at ? !sorted.down : !!column.numeric }; fill(); } }, column.name)));
  host.append(el("div", { class: "row" }, input, status), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body)), more);

  function rowsOf(index) {
    const name = el("button", { class: "link", type: "button", "aria-expanded": String(opened.has(index)), onclick: () => {
      if (opened.has(index)) opened.delete(index); else opened.add(index);
      fill();
      host.querySelector(`[data-index="${index}"] button`)?.focus();
    } }, brief(value(index, 0)));
    const made = [el("tr", { "data-index": index }, ...columns.map((column, at) => el("td", { class: column.numeric ? "number" : at === 0 ? "name" : null },
      at === 0 && detail ? name : text(value(index, at)))))];
    if (detail && opened.has(index)) made.push(el("tr", {}, el("td", { colspan: columns.length }, detail(index))));
    return made;
  }
  function fill() {
    const wanted = input.value.trim().toLowerCase();
    const found = [];
    for (let index = 0; index < count; index += 1) if (!wanted || matches(index, wanted)) found.push(index);
    const keys = new Map(found.map((index) => [index, sortKey(index, sorted.at)]));
    found.sort((one, other) => {
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
  input.addEventListener("input", () => { limit = PAGE_ROWS; fill(); });
  fill();
  return { open(index) { input.value = ""; sorted = start; opened.add(index); limit = Math.max(limit, count); fill();
    const row = host.querySelector(`[data-index="${index}"]`); row?.scrollIntoView({ block: "center" }); row?.querySelector("button")?.focus(); } };
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
    .map(([name, value, kind]) => el("div", { class: "fact" }, el("b", { class: kind || null }, String(value)), el("span", {}, name))));
}

function checkpointPage() {
  const { info, tensors } = DATA;
  const total = tensors.nbytes.reduce((sum, each) => sum + each, 0);
  const nan = tensors.stats ? tensors.stats.filter((each) => each && (each.nan || each.inf)).length : 0;
  section("summary", "Summary", facts([
    ["kind", info.kind], ["tensors", number(info.tensors)], ["parameters", number(info.parameters)],
    ["parameters without optimizer state", number(info.parameters_without_optimizer)],
    ["optimizer", info.optimizer || "none found"], ["step", info.step === null ? null : number(info.step)], ["bytes", bytes(total)],
    ["data shards", number(info.shards)], ["dead bytes", bytes(info.dead_bytes), info.dead_bytes ? "warn" : null],
    ["tensors with NaN or Inf", tensors.stats ? number(nan) : null, nan ? "bad" : "good"],
    ["problems", number(DATA.problems.length), DATA.problems.length ? "bad" : "good"],
  ]));
  if (DATA.problems.length) section("problems", "Problems", el("div", { class: "scroll" }, table(["where", "kind", "problem", "likely cause"],
    DATA.problems.map((each) => [brief(each.key || each.path || ""), each.kind, each.message, each.cause || ""]))));

  const byBytes = section("map", "Bytes by scope");
  const weights = tensors.paths.map((path, index) => (tensors.state[index] ? "optimizer state/" : "") + path);
  const whole = scopesOf(weights, tensors.nbytes, tensors.state);
  let rows = null;
  treemap(byBytes, whole, { detail: (scope) => plural(scope.count, "tensor"), leaf: (index) => rows.open(index) });

  const kinds = new Map();
  tensors.dtypes.forEach((dtype, index) => kinds.set(dtype, (kinds.get(dtype) || 0) + tensors.nbytes[index]));
  const state = tensors.nbytes.reduce((sum, each, index) => sum + (tensors.state[index] ? each : 0), 0);
  const bars = (title, pairs) => {
    const host = el("div", { class: "chart short", role: "img", "aria-label": title + ": " + pairs.map(([name, size]) => `${name} ${bytes(size)}`).join(", ") });
    return [host, () => chart(host, () => ({ animation: false, title: { text: title, textStyle: { color: color("text"), fontSize: 13 } }, tooltip: { ...tooltip(), formatter: (what) => `${what.name}\n${bytes(what.value)}, ${share(what.value, total)}` },
      grid: { left: 8, right: 70, top: 34, bottom: 8, containLabel: true }, xAxis: { type: "value", show: false },
      yAxis: { type: "category", inverse: true, data: pairs.map(([name]) => name), axisLabel: { color: color("text"), width: 160, overflow: "truncate" }, axisLine: { show: false }, axisTick: { show: false } },
      series: [{ type: "bar", barMaxWidth: 22, data: pairs.map(([, size]) => size), itemStyle: { color: color("accent") }, label: { show: true, position: "right", color: color("text"), formatter: (what) => bytes(what.value) } }] }))];
  };
  const [dtypeHost, drawTypes] = bars("by data type", [...kinds].sort((one, other) => other[1] - one[1]));
  const [stateHost, drawState] = bars("weights and optimizer state", [["weights", total - state], ["optimizer state", state]]);
  section("types", "Types and optimizer", el("div", { class: "columns" }, dtypeHost, stateHost));
  drawTypes();
  drawState();

  const listed = section("tensors", "Tensors");
  const columns = [{ name: "name" }, { name: "type" }, { name: "shape" }, { name: "bytes", numeric: true },
    ...(tensors.stats ? [{ name: "min", numeric: true }, { name: "max", numeric: true }, { name: "mean", numeric: true }, { name: "NaN, Inf", numeric: true }] : [])];
  const cells = (index, at) => {
    const stats = tensors.stats ? tensors.stats[index] : null;
    return [tensors.keys[index], tensors.dtypes[index], tensors.shapes[index], tensors.nbytes[index], stats && stats.min, stats && stats.max, stats && stats.mean,
      stats && stats.nan + stats.inf][at];
  };
  rows = longTable(listed, { columns, count: tensors.keys.length, label: "Find a tensor by name, type or shape", start: { at: 3, down: true },
    value: (index, at) => at === 2 ? shape(tensors.shapes[index]) : at === 3 ? bytes(tensors.nbytes[index]) : short(cells(index, at)),
    sortKey: (index, at) => { const found = cells(index, at); return at === 2 ? found.reduce((product, each) => product * each, 1) : found === undefined ? null : found; },
    matches: (index, wanted) => tensors.keys[index].toLowerCase().includes(wanted) || tensors.dtypes[index] === wanted || shape(tensors.shapes[index]).includes(wanted),
    detail: (index) => {
      const stats = tensors.stats ? tensors.stats[index] : null;
      return el("div", {}, facts([["path", tensors.paths[index] === tensors.keys[index] ? null : tensors.paths[index]], ["parameters", number(tensors.shapes[index].reduce((product, each) => product * each, 1))],
        ["shard and offset", tensors.places[index]], ["mean", stats && short(stats.mean)], ["standard deviation", stats && short(stats.std)], ["zeros", stats && number(stats.zeros)],
        ["NaN", stats && number(stats.nan), stats && stats.nan ? "bad" : null], ["Inf", stats && number(stats.inf), stats && stats.inf ? "bad" : null], ["role", tensors.state[index] ? "optimizer state" : null]]),
        stats && stats.histogram ? histogram(stats.min, stats.max, stats.histogram) : null);
    } });

  if (DATA.graph) graphSection(DATA.graph);
  shardSection(whole);
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
    let filled = false;
    made.fill = () => {
      if (filled) return;
      filled = true;
      const seen = new Set();
      for (const [, child] of own) if (!seen.has(child)) { seen.add(child); made.append(node(child)); }
      for (const [name, child] of links) made.append(el("div", { class: "leaf" }, name + " → ", el("button", { class: "link", type: "button", onclick: () => show(child) }, title(child))));
      for (const [name, variable, slot] of slots[id]) made.append(el("div", { class: "leaf" }, `slot ${name} of `, el("button", { class: "link", type: "button", onclick: () => show(variable) }, title(variable)),
        ": ", el("button", { class: "link", type: "button", onclick: () => show(slot) }, attributes[slot].join("  ") || "#" + slot)));
    };
    made.addEventListener("toggle", made.fill);
    return made;
  }
  function show(id) {
    const above = [];
    for (let each = id; each !== null && each !== undefined && above.length <= parents.length; each = parents[each]) above.unshift(each);
    for (const each of above.slice(0, -1)) {
      const details = elements.get(each)?.parentElement;
      if (details && details.fill) { details.open = true; details.fill(); }
    }
    const found = elements.get(id);
    if (!found) return;
    for (const old of tree.querySelectorAll(".found")) old.classList.remove("found");
    found.classList.add("found");
    found.scrollIntoView({ block: "center" });
    found.focus();
  }
  const root = node(0);
  tree.append(root);
  if (root.fill) { root.open = true; root.fill(); }
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

function shardSection(whole) {
  if (!DATA.shards.length) return;
  const host = section("shards", "Data shards", el("p", { class: "dim" }, "Where tensors are stored, coloured by scope; bytes that no tensor uses are red."));
  const names = DATA.tensors.paths.map((path, index) => (DATA.tensors.state[index] ? "optimizer state/" : "") + path);
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
      for (const [start, end, index] of shard.extents) {
        pen.fillStyle = fill[index];
        pen.fillRect(width * start / shard.size, 0, Math.max(width * (end - start) / shard.size, .5), height);
      }
    };
    draw();
    charts.push(draw);
    new ResizeObserver(draw).observe(strip);
  }
}

// Two checkpoints

function comparisonPage() {
  const { rows, counts, sides } = DATA;
  const CHANGES = ["same", "value", "renamed", "added", "removed", "dtype", "shape"];
  const colors = { same: "#8b949e", value: "#c9743a", renamed: "#7a68b8", added: "#3f9a6b", removed: "#b85450", dtype: "#3797a4", shape: "#a08b2f" };
  section("summary", "Summary", facts([["A", sides[0].prefix], ["B", sides[1].prefix], ["bytes of A", bytes(sides[0].bytes)], ["bytes of B", bytes(sides[1].bytes)]]),
    facts(CHANGES.map((change) => [change, counts[change] ? number(counts[change]) : null, change === "same" ? "good" : null])));
  const sizes = rows.map((row) => (row.b || row.a).nbytes);
  const whole = scopesOf(rows.map((row) => row.key), sizes, rows.map((row) => row.change !== "same"));
  const host = section("map", "Where it changed", el("p", { class: "dim" }, "Bytes by scope. Grey is the same in both; otherwise the colour of the change that has most bytes."));
  const main = new Map();
  const scopes = [whole];
  for (let at = 0; at < scopes.length; at += 1) scopes.push(...scopes[at].children.values());
  const within = new Map();
  for (const scope of scopes.reverse()) { // each after all that are inside it
    const found = new Map(scope.tensor === null ? [] : [[rows[scope.tensor].change, sizes[scope.tensor] || 1]]);
    for (const child of scope.children.values()) for (const [change, size] of within.get(child)) found.set(change, (found.get(change) || 0) + size);
    within.set(scope, found);
    const changed = [...found].filter(([change]) => change !== "same").sort((one, other) => other[1] - one[1]);
    main.set(scope, changed.length ? changed[0][0] : "same");
  }
  let listed = null;
  treemap(host, whole, { colorOf: (scope) => colors[main.get(scope)] || colors.same, detail: (scope) => `${share(scope.marked, scope.size)} changed`, leaf: (index) => listed.open(index) });
  const described = (side) => (side ? `${side.dtype} ${shape(side.shape)}` : "");
  const columns = [{ name: "name" }, { name: "change" }, { name: "A" }, { name: "B" }, { name: "bytes", numeric: true }, { name: "largest difference", numeric: true }];
  const cells = (index, at) => { const row = rows[index]; return [row.to ? `${row.key} → ${row.to}` : row.key, row.change, described(row.a), described(row.b), sizes[index], row.max_abs ?? null][at]; };
  listed = longTable(section("tensors", "Tensors"), { columns, count: rows.length, label: "Find a tensor by name or change", start: { at: 5, down: true },
    value: (index, at) => at === 4 ? bytes(sizes[index]) : short(cells(index, at)), sortKey: cells,
    matches: (index, wanted) => rows[index].change === wanted || rows[index].key.toLowerCase().includes(wanted) });
}

document.title = "tensorbundle report: " + DATA.title;
document.getElementById("title").textContent = DATA.title;
document.getElementById("subtitle").textContent = DATA.subtitle;
document.getElementById("footer").textContent = DATA.footer;
(DATA.page === "comparison" ? comparisonPage : checkpointPage)();
document.documentElement.dataset.ready = "true";
