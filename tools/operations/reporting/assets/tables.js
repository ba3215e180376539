// Tables of a few rows and of many, and the histogram of a tensor.

// The first column has names; `numeric` lists the columns that are aligned right.
function table(heads, rows, numeric) {
  const kind = (column) => (numeric.includes(column) ? "number" : column === 0 ? "name" : null);
  const head = (name, column) => el("th", { class: kind(column), scope: "col" }, name);
  const cell = (value, column) => el("td", { class: kind(column) }, value instanceof Node ? value : text(value));
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...heads.map(head))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell)))),
  );
}

// A table that is sorted by its heads and filtered by what is typed, drawn so many rows at a time; the row that was
// opened from elsewhere comes first. Rows are numbers below `count`. A column is { name, value, sort, numeric }:
// `value` of a row is shown, and sorted by unless there is `sort`. `detail` of a row is shown below it when it is open.
function longTable(host, { columns, count, label, detail, matches, start }) {
  const input = search(host.id + "-search");
  const status = el("span", { class: "dim", role: "status" });
  const body = el("tbody", {});
  const more = el("button", { type: "button", onclick: showMore });
  const opened = new Set();
  let limit = PAGE_ROWS;
  let sorted = { at: columns.findIndex((column) => column.name === start), down: true };
  let first = null;

  const heads = columns.map((column, at) => {
    const button = el("button", { type: "button", onclick: () => sortBy(at) }, column.name);
    return el("th", { class: column.numeric ? "number" : null, scope: "col" }, button);
  });
  const head = el("thead", {}, el("tr", {}, ...heads));
  host.append(el("div", { class: "row" }, labelled(label, input), status), scrolling(el("table", {}, head, body)), more);

  function sortBy(at) {
    sorted = { at, down: sorted.at === at ? !sorted.down : Boolean(columns[at].numeric) };
    first = null;
    fill();
  }
  function showMore() {
    limit += 1000;
    fill();
  }
  function toggle(row) {
    if (opened.has(row)) opened.delete(row);
    else opened.add(row);
    fill();
    focus(row);
  }
  const focus = (row) => host.querySelector(`[data-row="${row}"] button`).focus();

  function elementsOf(row) {
    const cells = columns.map((column, at) => {
      const shown = String(column.value(row));
      if (at > 0) return el("td", { class: column.numeric ? "number" : null }, shown);
      const name = link(() => toggle(row), ...broken(shown));
      name.setAttribute("aria-expanded", opened.has(row));
      return el("td", { class: "name" }, name);
    });
    const made = [el("tr", { "data-row": row }, ...cells)];
    if (opened.has(row)) made.push(el("tr", {}, el("td", { colspan: columns.length }, detail(row))));
    return made;
  }
  function found() {
    const wanted = input.value.trim().toLowerCase();
    const rows = [];
    for (let row = 0; row < count; row += 1) if (!wanted || matches(row, wanted)) rows.push(row);
    const key = columns[sorted.at].sort || columns[sorted.at].value;
    const keys = new Map(rows.map((row) => [row, key(row)]));
    return rows.sort((one, other) => {
      if (one === first || other === first) return one === first ? -1 : 1;
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === b) return one - other;
      if (a === null || b === null) return a === null ? 1 : -1; // rows without a value come last
      return a < b === sorted.down ? 1 : -1;
    });
  }
  function fill() {
    const rows = found();
    const order = sorted.down ? "descending" : "ascending";
    heads.forEach((each, at) => each.setAttribute("aria-sort", at === sorted.at ? order : "none"));
    status.textContent = `${number(rows.length)} of ${plural(count, "row")}`;
    body.replaceChildren(...rows.slice(0, limit).flatMap(elementsOf));
    more.hidden = rows.length <= limit;
    more.textContent = `Show more (${number(rows.length - limit)} left)`;
  }
  // Opens a row and goes there.
  function open(row) {
    input.value = "";
    first = row;
    opened.add(row);
    fill();
    host.querySelector(`[data-row="${row}"]`).scrollIntoView({ block: "center" });
    focus(row);
  }

  input.addEventListener("input", () => {
    limit = PAGE_ROWS;
    first = null;
    fill();
  });
  fill();
  return open;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function histogram(low, high, counts) {
  const [width, height, most] = [480, 90, Math.max(...counts, 1)];
  const step = width / counts.length;
  const bars = counts.map((count, at) => {
    const tall = count ? Math.max(1, (height * count) / most) : 0;
    const place = { x: at * step, y: height - tall, width: step - 1, height: tall };
    return svg("rect", { ...place, fill: "var(--accent)" }, svg("title", {}, number(count)));
  });
  const mark = (x, anchor, value) =>
    svg("text", { x, y: height + 13, "text-anchor": anchor, "font-size": 11, fill: "var(--dim)" }, short(value));
  const label = `Histogram from ${short(low)} to ${short(high)}`;
  const view = { viewBox: `0 0 ${width} ${height + 16}`, width, role: "img", "aria-label": label };
  return svg("svg", view, ...bars, mark(0, "start", low), mark(width, "end", high));
}
