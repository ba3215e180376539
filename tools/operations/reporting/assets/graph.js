// The object graph as a tree with search. Nodes are numbers; each list of the data has one item for each node.

const LISTED_OBJECTS = 50;

function graphSection({ names, paths, parents, children, hints, attributes, slots }) {
  const input = search("graph-search");
  const field = labelled("Find an object by path, class or full name", input);
  const results = el("div", { class: "scroll", role: "status", id: "graph-results" });
  const tree = el("div", { class: "tree" });
  const told = `${plural(parents.length, "object")}; each is shown below its shortest path, other edges to it are links`;
  section("graph", "Object graph", dim(told), el("div", { class: "row" }, field), results, tree);
  const drawn = new Map(); // the element of each node that has one

  function title(id) {
    const parts = [brief(names[id]) || "(root)", "#" + id, hints[id], ...attributes[id]];
    return parts.filter(Boolean).join("  ");
  }
  const linkTo = (id, label) => link(() => show(id), label);
  const leafOf = (...content) => el("div", { class: "leaf" }, ...content);

  // What is below a node, as functions that make an element, or null for a node that was drawn already.
  function below(id) {
    const isOwn = ([, child]) => parents[child] === id && child !== id;
    const own = new Set(children[id].filter(isOwn).map(([, child]) => child));
    const others = children[id].filter((edge) => !isOwn(edge));
    return [
      ...[...own].map((child) => () => (drawn.has(child) ? null : node(child))),
      ...others.map(
        ([name, child]) =>
          () =>
            leafOf(name + " → ", linkTo(child, title(child))),
      ),
      ...slots[id].map(([name, variable, slot]) => () => {
        const stored = attributes[slot].join("  ") || "#" + slot;
        return leafOf(`slot ${name} of `, linkTo(variable, title(variable)), ": ", linkTo(slot, stored));
      }),
    ];
  }
  function node(id) {
    const rest = below(id);
    if (!rest.length) {
      const leaf = el("div", { class: "leaf", tabindex: "-1" }, title(id));
      drawn.set(id, leaf);
      return leaf;
    }
    const summary = el("summary", {}, title(id));
    const more = el("button", { class: "leaf", type: "button", onclick: fill });
    const made = el("details", {}, summary, more);
    let filled = false;
    function fill() {
      filled = true;
      const next = rest.splice(0, PAGE_ROWS).map((make) => make());
      more.before(...next.filter(Boolean));
      more.hidden = !rest.length;
      more.textContent = `Show more (${number(rest.length)} left)`;
    }
    // Opens the node, and makes sure that the child is there, if one is given.
    made.reveal = (child) => {
      if (!filled) fill();
      made.open = true;
      if (child !== undefined && !drawn.has(child)) more.before(node(child));
    };
    made.addEventListener("toggle", () => made.open && made.reveal());
    drawn.set(id, summary);
    return made;
  }
  function show(id) {
    const way = [id];
    while (parents[way[0]] !== null) way.unshift(parents[way[0]]);
    way.slice(0, -1).forEach((each, at) => drawn.get(each)?.parentElement.reveal(way[at + 1]));
    const found = drawn.get(id);
    if (!found) return; // a node that can't be reached from the root
    for (const old of tree.querySelectorAll(".found")) old.classList.remove("found");
    found.classList.add("found");
    found.scrollIntoView({ block: "center" });
    found.focus();
  }
  function find() {
    const wanted = input.value.trim().toLowerCase();
    const found = [];
    for (let id = 0; wanted && id < parents.length; id += 1) {
      const said = [paths[id], hints[id] || "", ...attributes[id]].join("\n");
      if (said.toLowerCase().includes(wanted)) found.push(id);
    }
    const many = found.length > LISTED_OBJECTS ? `, the first ${LISTED_OBJECTS}:` : ":";
    const links = found.slice(0, LISTED_OBJECTS).map((id) => el("div", {}, linkTo(id, brief(paths[id]) || "(root)")));
    results.replaceChildren(...(wanted ? [dim(plural(found.length, "object") + many), ...links] : []));
  }

  const root = node(0);
  tree.append(root);
  root.reveal?.(); // a root without anything below it has nothing to open
  input.addEventListener("input", find);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") results.querySelector("button")?.click();
  });
}
