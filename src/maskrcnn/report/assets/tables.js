// Figures by kind, and the classes.

const SINGULAR = { Boxes: "Box", Masks: "Mask", Boundaries: "Boundary" };

function addOverview() {
  const columns = KINDS.map((kind) => [KIND_NAMES[kind], DATA.kinds[kind].figures]);
  if (DATA.boundary) columns.push(["Boundaries", DATA.boundary]);
  const meaning = (row) => {
    const parts = [`IoU ${row.iou}`];
    if (row.area !== "all") parts.push(`${row.area} objects`);
    if (row.frequency !== "all") parts.push({ r: "rare", c: "common", f: "frequent" }[row.frequency] + " classes");
    return `${parts.join(", ")}, up to ${plural(row.detections, "detection")}`;
  };
  const rows = columns[0][1].map((row, n) => [
    row.name, ...columns.map(([, figures]) => figure(figures[n].value)),
    element("td", { class: "muted wide" }, meaning(row)),
  ]);
  const tiles = element("div", { class: "tiles" },
    columns.flatMap(([name, figures]) => figures.slice(0, 2).map((row) => tile(`${SINGULAR[name]} ${row.name}`, figure(row.value)))));
  const rate = element("div", { class: "tiles" });
  section("overview", "Overview", tiles, rate, table("Figures", ["Metric", ...columns.map(([name]) => name), element("th", { scope: "col", class: "wide" }, "Meaning")], rows));
  follow(["kind", "score", "category"], () => {
    const { precision, recall, f1 } = rates();
    const of = state.category < 0 ? "" : ` of ${className(state.category)}`;
    rate.replaceChildren(
      tile(`Precision${of} at this score`, percent(precision)),
      tile(`Recall${of}`, percent(recall)),
      tile(`F1${of}`, figure(f1, 2)));
  });
}

function tile(name, value) {
  return element("div", { class: "tile" }, element("span", { class: "value" }, value), element("span", {}, name));
}

const CLASS_COLUMNS = [
  ["Class", (row) => row.name],
  ["Objects", (row) => row.objects, (row) => number(row.objects)],
  ["AP", (row) => row.ap, (row) => figure(row.ap)],
  ["AP50", (row) => row.ap50, (row) => figure(row.ap50)],
  ["Mean IoU", (row) => row.iou, (row) => figure(row.iou, 2)],
  ["Suggested score", (row) => row.score && row.score.score, (row) => (row.score ? row.score.score.toFixed(2) : "–")],
  ["Precision there", (row) => row.score && row.score.precision, (row) => percent(row.score && row.score.precision)],
  ["Recall there", (row) => row.score && row.score.recall, (row) => percent(row.score && row.score.recall)],
];

function classRows() {
  return summary().classes.map((row, category) => ({ ...row, category, name: className(category) }));
}

function addClasses() {
  const holder = element("div");
  const node = section("classes", "Classes");
  const bars = addChart(node, { title: "AP by class", content: classBars });
  node.append(
    element("p", { class: "muted" },
      "The suggested score is the one from which on F1, the harmonic mean of precision and recall, is best. ",
      "Choose a class to limit the curves and the gallery to it."),
    holder);
  let sorted = { column: 2, falling: true };

  function fill() {
    const value = CLASS_COLUMNS[sorted.column][1];
    const rows = classRows().sort((a, b) => compare(value(a), value(b)) * (sorted.falling ? -1 : 1));
    const head = CLASS_COLUMNS.map(([name], column) => element("button", {
      type: "button", class: "sort", "data-column": column,
      onclick: () => {
        sorted = { column, falling: sorted.column === column ? !sorted.falling : column > 0 };
        fill();
        holder.querySelector(`[data-column="${column}"]`).focus();
      },
    }, name, sorted.column === column ? (sorted.falling ? " ▾" : " ▴") : ""));
    const body = rows.map((row) => CLASS_COLUMNS.map(([, raw, shown], column) => {
      if (column) return element("td", { class: "figure" }, (shown || raw)(row));
      const chosen = state.category === row.category;
      return element("th", { scope: "row" }, element("button", {
        type: "button", class: "link", "aria-pressed": String(chosen),
        onclick: () => choose({ category: chosen ? -1 : row.category }),
      }, row.name));
    }));
    const content = table("All classes", head, body);
    content.querySelectorAll("thead th").forEach((cell, column) => {
      if (column === sorted.column) cell.setAttribute("aria-sort", sorted.falling ? "descending" : "ascending");
    });
    holder.replaceChildren(content);
  }

  follow(["kind"], bars.redraw);
  follow(["kind", "category"], fill);
}

/** Ascending; what is not known comes last when falling. */
function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b);
  return (a ?? -1) - (b ?? -1);
}

function classBars() {
  const rows = classRows().filter((row) => row.ap !== null).sort((a, b) => b.ap - a.ap);
  const bars = (label, key, n) => ({
    label, data: rows.map((row) => row[key]), backgroundColor: seriesColor(n), maxBarThickness: 14,
  });
  return {
    type: "bar",
    height: 80 + 34 * rows.length,
    data: { labels: rows.map((row) => shortened(row.name)), datasets: [bars("AP", "ap", 0), bars("AP50", "ap50", 1)] },
    options: {
      indexAxis: "y",
      interaction: { mode: "index", intersect: false, axis: "y" },
      scales: { x: unitAxis("AP"), y: { ticks: { autoSkip: false }, grid: { display: false } } },
      onClick: (event, items) => items.length && choose({ category: rows[items[0].index].category }),
    },
    label: `AP by class, from ${rows.length ? `${rows[0].name} ${figure(rows[0].ap)}` : "none"} down.`,
    head: ["Class", "AP", "AP50"],
    rows: rows.map((row) => [row.name, figure(row.ap), figure(row.ap50)]),
  };
}

function shortened(text, most = 24) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
