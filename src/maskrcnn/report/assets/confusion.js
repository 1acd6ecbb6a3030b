// The confusion matrix: a grid of buttons, one tab stop, arrow keys inside.

const MOST_CLASSES = 40;

function addConfusion() {
  const node = section("confusion", "Confusion matrix");
  const text = element("p", { class: "muted" });
  const holder = element("div");
  node.append(text, holder);

  follow(["kind", "score"], () => {
    const counts = confusionCounts();
    const shown = confusedClasses(counts);
    text.textContent = "Objects by row, detections by column, met at IoU 0.50 whatever the class, best score first. " +
      "Choose a cell to see its objects in the gallery." +
      (shown.length < DATA.classes.length ? ` The ${shown.length} classes with the most confusion are shown.` : "");
    holder.replaceChildren(matrix(counts, shown));
  });
  follow(["cell"], () => {
    for (const button of holder.querySelectorAll("button")) {
      const own = state.cell && button.dataset.row === String(state.cell[0]) && button.dataset.column === String(state.cell[1]);
      button.setAttribute("aria-pressed", String(Boolean(own)));
    }
  });
}

/** {row: {column: count}} at the chosen score; row or column -1 is the background. */
function confusionCounts() {
  const counts = new Map();
  const add = (row, column, count) => {
    if (!counts.has(row)) counts.set(row, new Map());
    if (count) counts.get(row).set(column, (counts.get(row).get(column) || 0) + count);
  };
  for (const [row, column, histogram] of summary().confusion) add(row, column, countFrom(histogram, state.score));
  summary().classes.forEach(({ objects }, category) => {
    const met = [...(counts.get(category) || new Map()).values()].reduce((sum, count) => sum + count, 0);
    add(category, BACKGROUND, objects - met);
  });
  return counts;
}

function confusedClasses(counts) {
  const all = DATA.classes.map((_, category) => category);
  if (all.length <= MOST_CLASSES) return all;
  const wrong = new Map(all.map((category) => [category, 0]));
  for (const [row, columns] of counts) {
    for (const [column, count] of columns) {
      if (row === column || row === BACKGROUND || column === BACKGROUND) continue;
      wrong.set(row, wrong.get(row) + count);
      wrong.set(column, wrong.get(column) + count);
    }
  }
  return [...all].sort((a, b) => wrong.get(b) - wrong.get(a)).slice(0, MOST_CLASSES).sort((a, b) => a - b);
}

function matrix(counts, shown) {
  const labels = [...shown, BACKGROUND];
  const head = element("tr", {},
    element("td", {}),
    labels.map((column) => element("th", { scope: "col" },
      element("span", {}, column === BACKGROUND ? "missed" : shortened(className(column))))));
  const rows = labels.map((row) => {
    const columns = counts.get(row) || new Map();
    const total = [...columns.values()].reduce((sum, count) => sum + count, 0);
    return element("tr", {},
      element("th", { scope: "row" }, row === BACKGROUND ? "background" : shortened(className(row))),
      labels.map((column) => cell(row, column, columns.get(column) || 0, total)));
  });
  const grid = element("table", { class: "matrix" },
    element("caption", { class: "unseen" }, "Confusion matrix"), element("thead", {}, head), element("tbody", {}, rows));
  const first = grid.querySelector("button");
  if (first) first.tabIndex = 0;
  grid.addEventListener("keydown", moveInMatrix);
  return element("div", { class: "scroll" }, grid);
}

function cell(row, column, count, total) {
  if (!count) return element("td", {}, element("span", { class: "muted" }, "·"));
  const right = row === column;
  const share = Math.sqrt(count / total); // a root shows small shares
  const button = element("button", {
    type: "button", tabindex: "-1", "data-row": row, "data-column": column,
    class: right ? "right" : "wrong", style: `--share: ${share.toFixed(3)}`,
    "aria-pressed": String(Boolean(state.cell && state.cell[0] === row && state.cell[1] === column)),
    "aria-label": cellText(row, column, count),
    title: cellText(row, column, count),
    onclick: () => showCell([row, column]),
  }, number(count));
  return element("td", {}, button);
}

function cellText(row, column, count) {
  if (column === BACKGROUND) return `${plural(count, "object")} of ${className(row)} met by no detection`;
  if (row === BACKGROUND) return `${plural(count, "detection")} as ${className(column)} without an object`;
  return `${plural(count, "object")} of ${className(row)} detected as ${className(column)}`;
}

function showCell(chosen) {
  const same = state.cell && state.cell[0] === chosen[0] && state.cell[1] === chosen[1];
  choose({ cell: same ? null : chosen, outcomes: new Set(), category: -1 });
  if (!same) document.getElementById("gallery").scrollIntoView();
}

/** Arrow keys go to the next cell that holds something. */
function moveInMatrix(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step || event.target.tagName !== "BUTTON") return;
  event.preventDefault();
  const rows = [...event.currentTarget.tBodies[0].rows];
  let column = event.target.closest("td").cellIndex;
  let row = rows.indexOf(event.target.closest("tr"));
  for (;;) {
    row += step[0];
    column += step[1];
    const node = rows[row]?.cells[column];
    if (!node || column < 1) return;
    const button = node.querySelector("button");
    if (button) {
      event.target.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
      return;
    }
  }
}
