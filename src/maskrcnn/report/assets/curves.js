// Precision and recall, parts of the data, calibration, and what the mistakes cost.

const CURVE_NAMES = { AP50: "IoU 0.50", AP75: "IoU 0.75", AP: "mean of IoU 0.50 to 0.95" };
const MOST_LINES = 8;

function recallPoints(values) {
  return values.map((precision, n) => [n / 100, precision]);
}

function addCurves() {
  const node = section("curves", "Precision and recall");
  const pair = element("div", { class: "pair" });
  node.append(pair);
  const chosen = addChart(pair, { title: "By IoU", note: "Of the chosen class, or of all.", content: curvesByIou });
  addChart(pair, {
    title: "By class, IoU 0.50",
    note: DATA.classes.length > MOST_LINES ? `The ${MOST_LINES} classes with the lowest AP.` : "",
    content: curvesByClass,
  });
  follow(["kind", "category"], chosen.redraw);
  follow(["kind"], figures[figures.length - 1].redraw);
}

function curveChart(lines, label) {
  const recalls = Array.from({ length: 11 }, (_, n) => 10 * n);
  return {
    type: "line",
    data: { datasets: lines.map(([name, values], n) => line(name, recallPoints(values), n)) },
    options: { scales: { x: unitAxis("recall"), y: unitAxis("precision") } },
    label,
    head: ["Recall", ...lines.map(([name]) => name)],
    rows: recalls.map((n) => [(n / 100).toFixed(1), ...lines.map(([, values]) => figure(values[n]))]),
  };
}

function curvesByIou() {
  const lines = Object.entries(CURVE_NAMES)
    .map(([key, name]) => [name, summary().curves[key][state.category + 1]])
    .filter(([, values]) => values);
  const of = state.category < 0 ? "all classes" : className(state.category);
  return curveChart(lines, `Precision against recall of ${of} at three IoU thresholds.`);
}

function curvesByClass() {
  const lines = classRows()
    .filter((row) => summary().curves.AP50[row.category + 1])
    .sort((a, b) => a.ap - b.ap)
    .slice(0, MOST_LINES)
    .map((row) => [shortened(row.name), summary().curves.AP50[row.category + 1]]);
  return curveChart(lines, "Precision against recall of each class at IoU 0.50.");
}

const SLICES = {
  size: ["By size of the object", "Square root of its area in pixels; others are left out, as in COCO."],
  crowding: ["By objects in the image", "AP of the images that hold so many."],
  occlusion: ["By occlusion", "Share of an object's box under the box of another. Precision is normalised, so that " +
    "parts of different size compare (Hoiem et al. 2012)."],
};

function addSlices() {
  const node = section("parts", "AP by size, crowding and occlusion");
  const row = element("div", { class: "trio" });
  node.append(row);
  for (const [key, [title, note]] of Object.entries(SLICES)) {
    addChart(row, { title, note, height: 280, content: () => sliceBars(key, title) });
    follow(["kind"], figures[figures.length - 1].redraw);
  }
}

function sliceBars(key, title) {
  const rows = summary().slices[key].filter((part) => part.objects > 0);
  const bars = (label, name, n) => ({
    label, data: rows.map((part) => part[name]), backgroundColor: seriesColor(n), maxBarThickness: 28,
  });
  return {
    type: "bar",
    data: {
      labels: rows.map((part) => [part.label, plural(part.objects, "object")]),
      datasets: [bars("AP", "ap", 0), bars("AP50", "ap50", 1)],
    },
    options: { scales: { x: { grid: { display: false } }, y: unitAxis("AP") } },
    label: `AP ${title.toLowerCase()}.`,
    head: ["Part", "Objects", "AP", "AP50"],
    rows: rows.map((part) => [part.label, number(part.objects), figure(part.ap), figure(part.ap50)]),
  };
}

function addCalibration() {
  const node = section("calibration", "Score calibration");
  const text = element("p", { class: "muted" });
  node.append(text);
  const row = element("div", { class: "pair" });
  node.append(row);
  const charts = [
    addChart(row, { title: "Precision by score", note: "On the diagonal a score is a probability.", content: reliability }),
    addChart(row, { title: "Detections by score", content: scoreHistogram }),
  ];
  follow(["kind", "category"], () => {
    const { error } = summary().calibration[state.category + 1];
    const score = state.category < 0 ? summary().score : summary().classes[state.category].score;
    const of = state.category < 0 ? "all classes" : className(state.category);
    text.textContent = `Of ${of}: expected calibration error ${figure(error)}` +
      (score ? `; F1 is best (${figure(score.f1, 2)}) from the score ${score.score.toFixed(2)} on.` : ".");
    for (const chart of charts) chart.redraw();
  });
}

function scoreRanges() {
  return Array.from({ length: 10 }, (_, n) => `${(n / 10).toFixed(1)}–${((n + 1) / 10).toFixed(1)}`);
}

function reliability() {
  const { counts, scores, precisions } = summary().calibration[state.category + 1];
  const points = scores.map((score, n) => [score, precisions[n]]).filter(([score]) => score !== null);
  return {
    type: "line",
    data: {
      datasets: [
        line("these scores", points, 0, { pointRadius: 4, pointStyle: "circle" }),
        line("perfect", [[0, 0], [1, 1]], 2, { borderColor: style("--muted"), borderWidth: 1 }),
      ],
    },
    options: { scales: { x: unitAxis("mean score"), y: unitAxis("precision") } },
    label: "Share of correct detections against their mean score.",
    head: ["Score", "Detections", "Mean score", "Correct"],
    rows: scoreRanges().map((range, n) => [range, number(counts[n]), figure(scores[n], 2), figure(precisions[n], 2)]),
  };
}

function scoreHistogram() {
  const { counts } = summary().calibration[state.category + 1];
  return {
    type: "bar",
    data: { labels: scoreRanges(), datasets: [{ label: "detections", data: counts, backgroundColor: seriesColor(0) }] },
    options: {
      scales: {
        x: { grid: { display: false }, title: { display: true, text: "score" }, ticks: { maxRotation: 90, minRotation: 0 } },
        y: axis("detections"),
      },
      plugins: { legend: { display: false } },
    },
    label: "Number of detections by score.",
    head: ["Score", "Detections"],
    rows: scoreRanges().map((range, n) => [range, number(counts[n])]),
  };
}

function addErrors() {
  const node = section("errors", "Error types");
  node.append(element("p", { class: "muted" },
    "Of false detections and missed objects at IoU 0.50, after TIDE (Bolya et al. 2020). What fixing them would gain does not ",
    "depend on the chosen score."));
  const row = element("div", { class: "pair" });
  node.append(row);
  const gains = addChart(row, { title: "AP50 gained if they were fixed", content: gainBars });
  const counts = addChart(row, { title: "Number at the chosen score", content: errorBars });
  node.append(element("dl", { class: "legend" }, ERRORS.map((id) => {
    const outcome = OUTCOMES[CODE[id]];
    return [
      element("dt", {}, element("span", { class: `mark ${id}`, "aria-hidden": "true" }, outcome.letter), outcome.name),
      element("dd", {}, outcome.text),
    ];
  })));
  follow(["kind"], gains.redraw);
  follow(["kind", "score", "category"], counts.redraw);
}

function gainBars() {
  const { gains } = summary();
  const rows = [...ERRORS.map((id) => [OUTCOMES[CODE[id]].name, id]), ["All false positives", "false"], ["All false negatives", "missing"]];
  return horizontalBars(rows.map(([name, id]) => [name, gains[id], style(`--${id}`) || style("--muted")]), "gain in AP50",
    `AP50 is ${figure(gains.ap)}; what it would gain by error type.`, (value) => figure(value));
}

function errorBars() {
  const rows = ERRORS.map((id) => [OUTCOMES[CODE[id]].name, outcomeCount(id), style(`--${id}`)]);
  return horizontalBars(rows, "number", `Number of errors of each type at score ${figure(state.score / 100, 2)}.`, number);
}

function horizontalBars(rows, title, label, shown) {
  return {
    type: "bar",
    data: {
      labels: rows.map(([name]) => name),
      datasets: [{ label: title, data: rows.map(([, value]) => value), backgroundColor: rows.map(([, , color]) => color) }],
    },
    options: {
      indexAxis: "y",
      interaction: { mode: "index", intersect: false, axis: "y" },
      scales: { x: axis(title, { beginAtZero: true }), y: { grid: { display: false } } },
      plugins: { legend: { display: false } },
    },
    label,
    head: ["Error", title],
    rows: rows.map(([name, value]) => [name, shown(value)]),
  };
}
