// Curves of training runs: of one, or of several over each other.

const SPEED = {
  images_per_second: "Images a second",
  data_wait: "Share of a step spent waiting for data",
  memory_gib: "Peak memory, GiB",
  grad_norm: "Norm of the gradient",
};
const SCORES = { bbox_ap: "Box AP", segm_ap: "Mask AP", bbox_ap50: "Box AP50", segm_ap50: "Mask AP50" };

function addRuns() {
  if (!DATA.runs.length) return;
  const node = section("training", DATA.runs.length > 1 ? "Runs" : "Training");
  node.append(table("Runs", ["Run", "Epochs", "Steps", "Last loss", "Best box AP", "Best mask AP"], DATA.runs.map((run) => {
    const best = (key) => figure(run.evaluations.length ? Math.max(...run.evaluations.map((item) => item[key])) : null);
    const last = (run.curves.total_loss || []).slice(-1)[0];
    return [run.name, number(run.epochs), number(run.steps), figure(last ? last[1] : null), best("bbox_ap"), best("segm_ap")];
  })));
  const row = element("div", { class: "pair" });
  node.append(row);
  const keys = [...new Set(DATA.runs.flatMap((run) => Object.keys(run.curves)))];
  const losses = keys.filter((key) => key.endsWith("_loss")).sort((a, b) => (b === "total_loss") - (a === "total_loss"));
  if (DATA.runs.length === 1) {
    addRunChart(row, "Losses", losses.map((key) => [lossName(key), DATA.runs[0].curves[key]]), "loss");
  } else {
    for (const key of losses) addRunChart(row, lossName(key), linesOf(key), "loss");
  }
  addEvaluations(row);
  addRunChart(row, "Learning rate", linesOf("lr"), "learning rate");
  for (const [key, title] of Object.entries(SPEED)) addRunChart(row, title, linesOf(key), title.toLowerCase());
}

function lossName(key) {
  const name = key.replace(/_loss$/, "").replace(/_/g, " ");
  return name === "total" ? "Total loss" : `${name} loss`;
}

function linesOf(key) {
  return DATA.runs.filter((run) => run.curves[key]).map((run) => [run.name, run.curves[key]]);
}

function addRunChart(parent, title, lines, label, x = "step") {
  if (!lines.length) return;
  addChart(parent, {
    title,
    content: () => ({
      type: "line",
      data: { datasets: lines.map(([name, points], n) => line(name, points, n, x === "epoch" ? { pointRadius: 3 } : {})) },
      options: {
        scales: { x: axis(x), y: axis(label, { beginAtZero: true }) },
        plugins: { legend: { display: lines.length > 1 } },
      },
      label: `${title} of ${lines.map(([name]) => name).join(", ")} by ${x}.`,
      head: [x, ...lines.map(([name]) => name)],
      rows: rowsOf(lines),
    }),
  });
}

/** At most 20 rows of a table: the points of the first line, and those of the others at the same position. */
function rowsOf(lines) {
  const points = lines[0][1];
  const every = Math.max(1, Math.ceil(points.length / 20));
  return points.filter((_, n) => n % every === every - 1 || n === points.length - 1).map(([x]) => [
    number(x),
    ...lines.map(([, others]) => {
      const found = others.find(([position]) => position >= x);
      return found ? String(found[1]) : "–";
    }),
  ]);
}

function addEvaluations(parent) {
  for (const keys of [["bbox_ap", "segm_ap"], ["bbox_ap50", "segm_ap50"]]) {
    const lines = keys.flatMap((key) => DATA.runs
      .filter((run) => run.evaluations.length)
      .map((run) => [
        DATA.runs.length > 1 ? `${run.name}: ${SCORES[key]}` : SCORES[key],
        run.evaluations.map((item) => [item.epoch, item[key]]),
      ]));
    addRunChart(parent, keys[0] === "bbox_ap" ? "AP by epoch" : "AP50 by epoch", lines, "AP", "epoch");
  }
}

function addSettings() {
  if (!DATA.settings) return;
  const node = section("settings", "Settings that differ");
  if (!DATA.settings.length) {
    node.append(element("p", {}, "None, or the runs have left no run.json."));
    return;
  }
  const shown = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  node.append(table("Settings that differ", ["Key", ...DATA.runs.map((run) => run.name)],
    DATA.settings.map((row) => [row.key, ...row.values.map(shown)])));
}
