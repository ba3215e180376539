// Bytes by scope: a treemap, and a list of the same content for keyboards and screen readers.

// Scopes are a tree of the names of tensors, made once. Each tensor has a kind; a scope has the bytes of each kind
// inside it. Of a name with more parts than people have scopes, the rest is one part.

const MOST_PARTS = 60;
function partsOf(name) {
  const parts = name.split("/");
  if (parts.length <= MOST_PARTS) return parts;
  return [...parts.slice(0, MOST_PARTS), parts.slice(MOST_PARTS).join("/")];
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
    const size = sizes[index];
    const kind = [[kinds[index], size || 1]]; // a kind counts also where its tensors are empty
    let scope = root;
    count(root, size, 1, kind);
    for (const part of partsOf(name)) {
      if (!scope.children.has(part)) scope.children.set(part, scopeOf(part));
      scope = scope.children.get(part);
      count(scope, size, 1, kind);
    }
    scope.tensor = { index, size, kind };
  });
  return root;
}
const onlyChild = (scope) => scope.children.values().next().value;
// A scope as a step on the way down; a chain of scopes with one child each is one step.
function stepInto(scope) {
  let name = scope.name;
  while (scope.children.size === 1 && scope.tensor === null) {
    scope = onlyChild(scope);
    name += "/" + scope.name;
  }
  return { name: brief(name) || "(empty name)", scope };
}
const byNumber = new Intl.Collator(undefined, { numeric: true }).compare;
// What is inside a scope, the largest first, those of one size by name; the tensor of the scope's own name too, if there is one.
function ordered(scope) {
  const found = [...scope.children.values()];
  if (found.length && scope.tensor) {
    const own = { ...scopeOf("(itself)"), tensor: scope.tensor };
    count(own, scope.tensor.size, 1, scope.tensor.kind);
    found.push(own);
  }
  return found.sort((one, other) => other.size - one.size || byNumber(one.name, other.name));
}
// At most so many of them: the smallest become one item, which can be opened as well.
function cut(scopes, most) {
  if (scopes.length <= most) return scopes;
  const smallest = scopes.slice(most - 1);
  const rest = { ...scopeOf(`${number(smallest.length)} more`), children: new Map(smallest.entries()) };
  for (const each of smallest) count(rest, each.size, each.count, each.kinds);
  return [...scopes.slice(0, most - 1), rest];
}

// What many names begin with, up to a number: the items of a map have no room for it, and it tells nothing.
const MANY_NAMES = 12;
function sharedStart(names) {
  if (names.length < MANY_NAMES) return "";
  let start = names[0];
  for (const name of names) while (!name.startsWith(start)) start = start.slice(0, -1);
  start = start.replace(/[0-9]+$/, "");
  return start.length > 3 ? start : "";
}

const MAP_CHILDREN = 300; // items of the map that are drawn for the scope that is open,
const MAP_GRANDCHILDREN = 900; // and inside them; what is further inside is drawn when it is opened
const LISTED_CHILDREN = 12;

// `colorOf` gives a scope its colour, or null for one of the palette; `detail` describes it; `leaf` opens a tensor.
function treemap(host, root, { colorOf, detail, leaf }) {
  const crumbs = el("div", { class: "crumbs", role: "navigation", "aria-label": "Scopes above" });
  const label = "Treemap of bytes by scope; the list below has the same content";
  const canvas = el("div", { class: "chart", id: "treemap", role: "img", "aria-label": label, tabindex: "0" });
  const list = scrolling(null);
  host.append(crumbs, canvas, list);
  let trail = [{ name: "all", scope: root }]; // the steps from the root to the scope that is open
  let ways = []; // for each item of the map, by number, the steps to it from there; the library copies what it is given
  const here = () => trail.at(-1).scope;

  function items(scope, most, above = [], inside = null) {
    const shown = cut(ordered(scope), most);
    const start = sharedStart(shown.slice(0, most - 1).map((each) => each.name)); // the last one may be the rest
    return { start, made: shown.map((each, at) => item(each, at, start, above, inside)) };
  }
  function item(scope, at, start, above, inside) {
    const step = stepInto(scope);
    const steps = [...above, step];
    const fill = colorOf(step.scope) || inside || paint(at);
    const short = start && scope.name.startsWith(start) && scope.name.slice(start.length);
    const made = { name: short || step.name, value: step.scope.size, way: ways.push(steps) - 1 };
    made.itemStyle = { color: fill };
    made.label = { color: ink(fill) };
    const room = Math.floor((MAP_GRANDCHILDREN * step.scope.size) / (here().size || 1));
    // A hundredth of the map is the least that has room for a line of text above what is inside.
    if (above.length === 0 && room > MAP_GRANDCHILDREN / 100 && step.scope.children.size) {
      const below = items(step.scope, room, steps, fill);
      made.children = below.made;
      if (below.start) made.name += `/${below.start}…`;
    }
    return made;
  }
  function described({ data }) {
    if (data.way === undefined) return "";
    const { name, scope } = ways[data.way].at(-1);
    return `${name}\n${bytes(scope.size)}, ${detail(scope)}`;
  }
  function option() {
    ways = [];
    const data = items(here(), MAP_CHILDREN).made;
    const series = {
      type: "treemap",
      animation: false, // here, as a treemap takes no notice of the one above it: a click on what moves would miss
      roam: false,
      nodeClick: false,
      sort: false, // they are in order, also those of one size
      breadcrumb: { show: false },
      ...{ left: 4, right: 4, top: 4, bottom: 4 },
      label: { fontSize: 12, overflow: "truncate" },
      upperLabel: { show: true, height: 20, color: color("text"), fontSize: 12, overflow: "truncate" },
      levels: [
        { upperLabel: { show: false }, itemStyle: { gapWidth: 3, borderColor: color("panel"), borderWidth: 0 } },
        { itemStyle: { borderColor: color("line"), borderWidth: 1, gapWidth: 1 } },
        { itemStyle: { borderWidth: 0, gapWidth: 1 } },
      ],
      data,
    };
    return { tooltip: tooltip(described), series: [series] };
  }
  function open(steps) {
    trail = steps;
    drawing.draw();
    fill();
  }
  function enter(steps) {
    const { scope } = steps.at(-1);
    if (scope.children.size) {
      open([...trail, ...steps]);
      return;
    }
    if (steps.length > 1) open([...trail, ...steps.slice(0, -1)]);
    leaf(scope.tensor.index);
  }
  function fill() {
    const way = trail
      .slice(0, -1)
      .flatMap((step, depth) => [link(() => open(trail.slice(0, depth + 1)), step.name), "/"]);
    crumbs.replaceChildren(...way, el("b", {}, trail.at(-1).name));
    const rows = cut(ordered(here()), LISTED_CHILDREN).map((scope) => {
      const step = stepInto(scope);
      const name = link(() => enter([step]), ...broken(step.name));
      return [name, bytes(scope.size), share(scope.size, here().size), number(scope.count)];
    });
    list.replaceChildren(table(["scope", "bytes", "of this scope", "tensors"], rows, [1, 2, 3]));
  }

  const drawing = chart(canvas, option);
  drawing.drawn.on("click", ({ data }) => {
    if (data && data.way !== undefined) enter(ways[data.way]);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && trail.length > 1) open(trail.slice(0, -1));
  });
  fill();
}
