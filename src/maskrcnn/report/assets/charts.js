// Charts are Chart.js's; here they get titles, tables for those who cannot see them, and the page's colours.

const figures = [];

/**
 * Adds a chart that is drawn once it comes near the screen.
 *
 * `content()` gives {type, data, options, label, head, rows}: Chart.js's own, a sentence for screen readers, and the
 * same figures as a table. It is asked again at each `redraw`.
 */
function addChart(parent, { title, note, height = 300, content }) {
  const canvas = element("canvas", { role: "img", "aria-label": title });
  const box = element("div", { class: "chart", style: `height: ${height}px` }, canvas);
  const data = element("details", {}, element("summary", {}, "As a table"));
  const node = element("figure", {},
    element("figcaption", {}, element("h3", {}, title), note ? element("p", { class: "muted" }, note) : null),
    box, data);
  parent.append(node);
  const entry = { chart: null, seen: false, redraw };
  figures.push(entry);

  function fillTable(current) {
    data.replaceChildren(data.firstChild, table(title, current.head, current.rows));
  }

  function redraw() {
    if (!entry.seen) return;
    const current = content();
    canvas.setAttribute("aria-label", current.label || title);
    if (current.height) box.style.height = `${current.height}px`;
    if (entry.chart) entry.chart.destroy();
    entry.chart = new Chart(canvas, { type: current.type, data: current.data, options: withDefaults(current.options) });
    if (data.open) fillTable(current);
  }

  data.addEventListener("toggle", () => data.open && fillTable(content()));
  whenNear(box, () => {
    entry.seen = true;
    redraw();
  });
  return entry;
}

/** Calls `action` once when `node` comes within a screen of what is visible. */
function whenNear(node, action) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((item) => item.isIntersecting)) return;
    observer.disconnect();
    action();
  }, { rootMargin: "100% 0px" });
  observer.observe(node);
}

function withDefaults(options = {}) {
  const grid = { color: style("--line") };
  const scales = Object.fromEntries(Object.entries(options.scales || {}).map(([name, scale]) => [
    name,
    { ...scale, grid: { ...grid, ...scale.grid }, border: { display: false }, ticks: { ...scale.ticks } },
  ]));
  return {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", intersect: false, axis: "x" },
    ...options,
    scales,
    plugins: { ...options.plugins, legend: { labels: { usePointStyle: true, boxHeight: 6 }, ...options.plugins?.legend } },
  };
}

/** Colour number n of the series; they differ in lightness too. */
function seriesColor(n) {
  return style(`--series-${(n % 8) + 1}`);
}

const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

/** A line of [x, y] points. */
function line(label, points, n, extra = {}) {
  return {
    label,
    data: points.map(([x, y]) => ({ x, y })),
    borderColor: seriesColor(n),
    backgroundColor: seriesColor(n),
    borderDash: DASHES[Math.floor(n / 2) % DASHES.length],
    borderWidth: 2,
    pointRadius: 0,
    pointHitRadius: 8,
    pointStyle: "line",
    tension: 0,
    ...extra,
  };
}

/** Axis from 0 to 1. */
function unitAxis(title, extra = {}) {
  return { type: "linear", min: 0, max: 1, title: { display: true, text: title }, ...extra };
}

function axis(title, extra = {}) {
  return { type: "linear", title: { display: true, text: title }, ...extra };
}

/** Uses the colours and fonts of the style sheet, again after a change of theme. */
function applyTheme() {
  Chart.defaults.color = style("--muted");
  Chart.defaults.borderColor = style("--line");
  Chart.defaults.font.family = style("--font");
  Chart.defaults.font.size = 12;
  Chart.defaults.plugins.tooltip.backgroundColor = style("--ink");
  Chart.defaults.plugins.tooltip.titleColor = style("--paper");
  Chart.defaults.plugins.tooltip.bodyColor = style("--paper");
  for (const entry of figures) entry.redraw();
}
