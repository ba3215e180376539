// The report of one checkpoint.

const KINDS = ["weights", "optimizer state", "object graph", "metrics, counters, text"]; // of tensors, by number
const [WEIGHTS, STATE] = [0, 1];
const LISTED = 20;

function checkpointPage() {
  const { tensors } = DATA;
  const { keys, nbytes, kinds } = tensors;
  const paths = tensors.paths.map((path, index) => path ?? keys[index]);
  const stat = (name, index) => (tensors.stats ? tensors.stats[name][index] : null);
  const elements = (index) => tensors.shapes[index].reduce((product, each) => product * each, 1);
  const invalid = (index) => (stat("nan", index) === null ? null : stat("nan", index) + stat("inf", index));
  const broke = keys.map((_, index) => index).filter(invalid);
  const names = paths.map((path, index) => (kinds[index] === STATE ? "optimizer state/" : "") + path);
  const whole = scopesOf(names, nbytes, kinds);
  const about = { paths, stat, elements, invalid, broke, names, whole };
  let openTensor = null; // the table comes last of those that link to it
  const goTo = (index) => openTensor(index);

  summarySection(about);
  if (broke.length) invalidSection(about, goTo);
  if (DATA.problems.length) problemsSection();
  mapSection(about, goTo);
  typesSection();
  openTensor = tensorsSection(about);
  if (DATA.graph) graphSection(DATA.graph);
  if (DATA.shards.length) shardsSection(about);
}

function summarySection({ broke, elements }) {
  const { info, layers, problems, tensors, unread } = DATA;
  const layerName = (layer) => layer.path + (layer.scope ? ` (${layer.scope})` : "");
  const summary = facts([
    ["kind", info.kind],
    ["optimizer", info.optimizer || "none found"],
    ["step", number(info.step)],
    tensors.stats
      ? [
          broke.length === 1 ? "tensor with NaN or Inf" : "tensors with NaN or Inf",
          number(broke.length) + (unread ? ` found, ${number(unread)} can't be read` : ""),
          broke.length || unread ? "bad" : "good",
        ]
      : ["tensors with NaN or Inf", "not read"],
    counted(problems.length, "problem", problems.length ? "bad" : "good"),
    [
      DATA.equally_large > 1 ? `first of ${number(DATA.equally_large)} layers of the largest size` : "largest layer",
      layers.length ? layerName(layers[0]) : null,
      "long",
    ],
    counted(info.parameters, "parameter"),
    ["parameters without optimizer state", info.optimizer ? number(info.parameters_without_optimizer) : null],
    counted(info.tensors, "tensor"),
    ["bytes", bytes(sum(tensors.nbytes))],
    counted(info.shards, "data shard"),
    ["dead bytes", info.dead_bytes === null ? null : bytes(info.dead_bytes), info.dead_bytes ? "warn" : null],
  ]);
  const weights = sum(tensors.kinds.map((kind, index) => (kind === WEIGHTS ? elements(index) : 0)));
  const rows = layers.map((layer) => [
    el("span", {}, ...broken(layerName(layer))),
    number(layer.parameters),
    share(layer.parameters, weights),
    bytes(layer.nbytes),
    number(layer.tensors),
  ]);
  const heads = ["largest layers", "parameters", "of all weights", "bytes", "tensors"];
  const notes = DATA.notes.map((note) => dim(note));
  section("summary", "Summary", summary, ...notes, rows.length ? scrolling(table(heads, rows, [1, 2, 3, 4])) : null);
}

function invalidSection({ broke, paths, stat, elements, invalid }, goTo) {
  const rows = broke
    .slice(0, LISTED)
    .map((index) => [
      link(() => goTo(index), ...broken(paths[index])),
      number(stat("nan", index)),
      number(stat("inf", index)),
      share(invalid(index), elements(index)),
    ]);
  const more = `and ${plural(broke.length - LISTED, "more tensor")}: sort the table of tensors by its last column`;
  const listed = scrolling(table(["tensor", "NaN", "Inf", "of values"], rows, [1, 2, 3]));
  section("nan", "NaN and Inf", listed, broke.length > LISTED ? dim(more) : null);
}

function problemsSection() {
  const rows = DATA.problems.map((each) => {
    const where = el("span", {}, ...broken(each.key || each.path || ""));
    return [where, each.kind, each.message, each.cause || ""];
  });
  section("problems", "Problems", scrolling(table(["where", "kind", "problem", "likely cause"], rows, [])));
}

function mapSection({ whole }, goTo) {
  const told = "Grey is all but weights: optimizer state, metrics, counters. Click to open a scope; Escape closes it.";
  treemap(section("map", "Bytes by scope", dim(told)), whole, {
    detail: (scope) => plural(scope.count, "tensor"),
    leaf: goTo,
    colorOf: (scope) => (scope.kinds.has(WEIGHTS) ? null : color("state")),
  });
}

function typesSection() {
  const { dtypes, kinds, nbytes } = DATA.tensors;
  const ofType = new Map();
  const ofKind = KINDS.map(() => 0);
  nbytes.forEach((size, index) => {
    ofType.set(dtypes[index], (ofType.get(dtypes[index]) || 0) + size);
    ofKind[kinds[index]] += size;
  });
  const hosts = el("div", { class: "columns" });
  section("types", "Types and optimizer", hosts);
  const types = [...ofType].sort((one, other) => other[1] - one[1]);
  barChart(hosts, "by data type", types);
  barChart(
    hosts,
    "by use",
    KINDS.map((name, kind) => [name, ofKind[kind]]).filter(([, size]) => size),
  );
}

// Bars of bytes, with [name, size] for each.
function barChart(hosts, title, pairs) {
  const total = sum(pairs.map(([, size]) => size));
  const label = `${title}: ${pairs.map(([name, size]) => `${name} ${bytes(size)}`).join(", ")}`;
  const host = el("div", { class: "chart short", role: "img", "aria-label": label });
  hosts.append(host);
  chart(host, () => ({
    title: { text: title, textStyle: { color: color("text"), fontSize: 13 } },
    tooltip: tooltip(({ name, value }) => `${name}\n${bytes(value)}, ${share(value, total)}`),
    grid: { left: 8, right: 90, top: 34, bottom: 8, containLabel: true },
    xAxis: { type: "value", show: false },
    yAxis: {
      type: "category",
      inverse: true,
      data: pairs.map(([name]) => name),
      axisLabel: { color: color("text"), width: 160, overflow: "truncate" },
      axisLine: { show: false },
      axisTick: { show: false },
    },
    series: {
      type: "bar",
      animation: false,
      barMaxWidth: 22,
      data: pairs.map(([, size]) => size),
      itemStyle: { color: color("accent") },
      label: { show: true, position: "right", color: color("text"), formatter: ({ value }) => bytes(value) },
    },
  }));
}

// Returns a function that opens a tensor's row.
function tensorsSection({ paths, stat, elements, invalid }) {
  const { keys, full_names, dtypes, shapes, nbytes, kinds, places, stats } = DATA.tensors;
  const value = (name) => ({
    name,
    numeric: true,
    value: (index) => short(stat(name, index)),
    sort: (index) => rank(stat(name, index)),
  });
  const columns = [
    { name: "name", value: (index) => paths[index] },
    { name: "type", value: (index) => dtypes[index] },
    { name: "shape", value: (index) => shape(shapes[index]), sort: elements },
    { name: "bytes", numeric: true, value: (index) => bytes(nbytes[index]), sort: (index) => nbytes[index] },
  ];
  if (stats) {
    const last = { name: "NaN, Inf", numeric: true, value: (index) => number(invalid(index)), sort: invalid };
    columns.push(value("min"), value("max"), value("mean"), last);
  }
  const place = (where) =>
    typeof where === "number" ? plural(where, "slice") : `shard ${where[0]}, offset ${where[1]}`;
  function detail(index) {
    const [nan, inf, counts] = [stat("nan", index), stat("inf", index), stat("histogram", index)];
    const listed = facts([
      ["key", keys[index], "long"],
      ["full name", full_names[index], "long"],
      ["parameters", number(elements(index))],
      ["where it is stored", place(places[index])],
      ["use", KINDS[kinds[index]]],
      ["mean", short(stat("mean", index))],
      ["standard deviation", short(stat("std", index))],
      ["zeros", number(stat("zeros", index))],
      ["NaN", number(nan), nan ? "bad" : null],
      ["Inf", number(inf), inf ? "bad" : null],
    ]);
    return el("div", {}, listed, counts ? histogram(stat("min", index), stat("max", index), counts) : null);
  }
  return longTable(section("tensors", "Tensors"), {
    columns,
    count: keys.length,
    label: "Find a tensor by name, type or shape",
    start: "bytes",
    detail,
    matches: (index, wanted) =>
      [keys[index], full_names[index] || ""].some((each) => each.toLowerCase().includes(wanted)) ||
      dtypes[index] === wanted ||
      shape(shapes[index]).includes(wanted),
  });
}

// A strip for each data shard: each tensor in the colour of its scope.
function shardsSection({ whole, names }) {
  const told = "Where tensors are stored: weights in the colours of scopes, others grey; bytes that no tensor uses are red.";
  const host = section("shards", "Data shards", dim(told));
  let base = whole; // the first scope that has several inside it, and how many parts of a name lead to it
  let depth = 0;
  while (base.children.size === 1) {
    base = onlyChild(base);
    depth += 1;
  }
  const hues = new Map(ordered(base).map((scope, at) => [scope.name, paint(at)]));
  const { kinds } = DATA.tensors;
  const fills = names.map((name, index) =>
    kinds[index] === WEIGHTS ? hues.get(partsOf(name)[depth]) || paint(0) : null,
  );
  for (const shard of DATA.shards) {
    const told = `${bytes(shard.size)}, ${bytes(shard.dead)} dead`;
    const strip = el("canvas", { class: "strip", role: "img", "aria-label": `${shard.name}: ${told}` });
    host.append(el("p", {}, el("code", {}, shard.name), " " + told), strip);
    const draw = () => drawStrip(strip, shard, fills);
    draw();
    drawings.push(draw);
    onResize(strip, draw);
  }
}
function drawStrip(strip, { size, extents }, fills) {
  strip.width = Math.max(300, strip.clientWidth);
  strip.height = 34;
  const pen = strip.getContext("2d");
  pen.fillStyle = color("bad");
  pen.fillRect(0, 0, strip.width, strip.height);
  const rest = color("state");
  let drawn = 0; // of tensors that are smaller than half a pixel, each half pixel shows one
  for (const [start, end, index] of extents) {
    const [left, right] = [(strip.width * start) / size, (strip.width * end) / size];
    if (right < drawn) continue;
    pen.fillStyle = fills[index] || rest;
    pen.fillRect(left, 0, Math.max(right - left, 0.5), strip.height);
    drawn = left + 0.5;
  }
}
