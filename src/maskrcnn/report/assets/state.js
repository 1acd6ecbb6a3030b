// The data, what the reader has chosen, and who wants to know when that changes.

const DATA = JSON.parse(document.getElementById("data").textContent);
const KINDS = Object.keys(DATA.kinds);
const KIND_NAMES = { bbox: "Boxes", segm: "Masks" };
const BACKGROUND = -1;
const POOR_IOU = 0.75;

// The first eight are in the order of their codes in the data.
const OUTCOMES = [
  { id: "correct", letter: "✓", name: "Correct", text: "the object's class, IoU 0.5 or more" },
  { id: "localisation", letter: "L", name: "Localisation", text: "right class, but IoU from 0.1 to 0.5" },
  { id: "classification", letter: "C", name: "Class", text: "on an object of another class, IoU 0.5 or more" },
  { id: "both", letter: "LC", name: "Both", text: "near an object of another class, IoU from 0.1 to 0.5" },
  { id: "duplicate", letter: "D", name: "Duplicate", text: "on an object that a better score has found already" },
  { id: "background", letter: "B", name: "Background", text: "IoU with every object is 0.1 or less" },
  { id: "ignored", letter: "–", name: "In a crowd", text: "inside a crowd region, which does not count" },
  { id: "missed", letter: "M", name: "Missed", text: "an object that nothing found, nor nearly" },
  { id: "poor", letter: "P", name: "Poor fit", text: `correct, but with IoU below ${POOR_IOU}` },
];
const CODE = Object.fromEntries(OUTCOMES.map((outcome, code) => [outcome.id, code]));
const ERRORS = ["localisation", "classification", "both", "duplicate", "background", "missed"];

const state = {
  kind: KINDS[KINDS.length - 1],
  score: Math.round(100 * (DATA.start || 0.5)), // a step of the slider; detections of that step or a later one count
  category: -1, // all classes
  outcomes: new Set(), // those the gallery is limited to; none means no limit
  cell: null, // [object's class, detection's class] of the confusion matrix that the gallery is limited to
  sort: "worst",
  view: "prediction",
  masks: true,
};
const listeners = [];

/** Calls `listener` now and whenever one of `keys` has been changed. */
function follow(keys, listener) {
  listeners.push([keys, listener]);
  listener();
}

function choose(changes) {
  const changed = Object.keys(changes).filter((key) => state[key] !== changes[key]);
  Object.assign(state, changes);
  for (const [keys, listener] of listeners) {
    if (keys.some((key) => changed.includes(key))) listener();
  }
}

function summary() {
  return DATA.kinds[state.kind];
}

function className(category) {
  return category === BACKGROUND ? "background" : DATA.classes[category];
}

/** The slider's step up to which a detection is shown; the same arithmetic as on the other side. */
function stepOf(score) {
  return Math.floor(score * 100 + 1e-6);
}

/** How many of a histogram {step: count} are at `step` or later. */
function countFrom(histogram, step) {
  let count = 0;
  for (const [key, value] of Object.entries(histogram)) if (Number(key) >= step) count += value;
  return count;
}

/** How many of a histogram are before `step`. */
function countBefore(histogram, step) {
  let count = 0;
  for (const [key, value] of Object.entries(histogram)) if (Number(key) < step) count += value;
  return count;
}

/** The number of detections with an outcome, or of missed objects, of one class or of all, at the chosen score. */
function outcomeCount(id, category = state.category) {
  const histograms = summary().outcomes[id];
  const count = id === "missed" ? countBefore : countFrom;
  const chosen = category < 0 ? histograms : [histograms[category]];
  return chosen.reduce((sum, histogram) => sum + count(histogram, state.score), 0);
}

/** Precision, recall and F1 at the chosen score. */
function rates(category = state.category) {
  const correct = outcomeCount("correct", category);
  const wrong = ERRORS.filter((id) => id !== "missed").reduce((sum, id) => sum + outcomeCount(id, category), 0);
  const rows = summary().classes;
  const objects = category < 0 ? rows.reduce((sum, row) => sum + row.objects, 0) : rows[category].objects;
  const share = (part, whole) => (whole ? part / whole : null);
  return {
    precision: share(correct, correct + wrong),
    recall: share(correct, objects),
    f1: share(2 * correct, correct + wrong + objects),
  };
}
