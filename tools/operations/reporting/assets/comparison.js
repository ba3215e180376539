// The report of two checkpoints.

const CHANGES = {
  same: "#77808b",
  value: "#c9743a",
  renamed: "#7a68b8",
  added: "#3f9a6b",
  removed: "#b85450",
  dtype: "#3797a4",
  shape: "#a08b2f",
};
const COUNTED = { same: "the same", value: "other values", dtype: "another type", shape: "another shape" };

function comparisonPage() {
  const { rows, counts, sides, names } = DATA;
  const files = facts([
    ["A", names[0], "long"],
    ["B", names[1], "long"],
    ["bytes of A", bytes(sides[0].bytes)],
    ["bytes of B", bytes(sides[1].bytes)],
  ]);
  const found = Object.keys(CHANGES).filter((change) => counts[change]);
  const changes = facts(found.map((change) => [COUNTED[change] || change, number(counts[change])]));
  section("summary", "Summary", files, changes);

  const sizes = rows.map((row) => (row.b || row.a).nbytes);
  let openTensor = null; // the table comes after the map that links to it
  changesSection(found, sizes, (index) => openTensor(index));
  openTensor = differencesSection(sizes);
}

function changesSection(found, sizes, leaf) {
  const { rows } = DATA;
  const legend = found.map((change) =>
    el("span", {}, el("i", { class: "swatch", style: `background: ${CHANGES[change]}` }), change),
  );
  const told = dim("Bytes by scope, in the colour of the change that has most bytes:");
  const host = section("map", "Where it changed", told, el("p", { class: "row", id: "legend" }, ...legend));
  const changed = (scope) => [...scope.kinds].filter(([change]) => change !== "same");
  const most = (pairs) => pairs.sort((one, other) => other[1] - one[1])[0] || ["same"];
  const whole = scopesOf(
    rows.map((row) => row.key),
    sizes,
    rows.map((row) => row.change),
  );
  treemap(host, whole, {
    colorOf: (scope) => CHANGES[most(changed(scope))[0]],
    detail: (scope) => `${share(sum(changed(scope).map(([, size]) => size)), scope.size)} changed`,
    leaf,
  });
}

// Returns a function that opens a tensor's row.
function differencesSection(sizes) {
  const { rows } = DATA;
  const side = (found) => (found ? `${found.dtype} ${shape(found.shape)}` : "");
  const name = ({ key, to }) => (to ? `${key} → ${to}` : key);
  const columns = [
    { name: "name", value: (index) => name(rows[index]) },
    { name: "change", value: (index) => rows[index].change },
    { name: "A", value: (index) => side(rows[index].a) },
    { name: "B", value: (index) => side(rows[index].b) },
    { name: "bytes", numeric: true, value: (index) => bytes(sizes[index]), sort: (index) => sizes[index] },
    {
      name: "largest difference",
      numeric: true,
      value: (index) => short(rows[index].max_abs),
      sort: (index) => rank(rows[index].max_abs),
    },
  ];
  function detail(index) {
    const row = rows[index];
    return facts([
      ["key", row.key, "long"],
      ["key in B", row.to, "long"],
      ["change", row.change],
      ["A", side(row.a)],
      ["B", side(row.b)],
      ["checksum in A", row.a?.crc32c],
      ["checksum in B", row.b?.crc32c],
      ["values that differ", number(row.different)],
      ["largest difference", short(row.max_abs)],
      ["largest relative difference", short(row.max_rel)],
    ]);
  }
  return longTable(section("tensors", "Tensors"), {
    columns,
    count: rows.length,
    label: "Find a tensor by name or change",
    start: "largest difference",
    detail,
    matches: (index, wanted) => rows[index].change === wanted || name(rows[index]).toLowerCase().includes(wanted),
  });
}
