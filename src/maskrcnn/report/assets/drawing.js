// What is in an image at the chosen score, class and kind of mistake, and how it is drawn.

const TRUTH = "truth";
const PREDICTION = "prediction";

/** Everything of an image that counts at the chosen score, before class and outcomes are looked at. */
function contentsOf(picture) {
  const of = picture.kinds[state.kind];
  const detections = of.of.map((d, n) => {
    const poor = of.outcomes[n] === CODE.correct && of.ious[n] < POOR_IOU;
    return {
      d,
      category: picture.classes[d],
      score: picture.scores[d],
      outcome: poor ? CODE.poor : of.outcomes[n],
      object: of.objects[n],
      iou: of.ious[n],
      partner: of.partners[n],
    };
  }).filter((item) => stepOf(item.score) >= state.score);
  const met = new Set(detections.map((item) => item.partner));
  const objects = of.found_by.map((finder, o) => ({
    o,
    category: picture.objects[o],
    crowd: Boolean(picture.crowd[o]),
    counts: finder !== null,
    missed: finder !== null && !picture.crowd[o] && (finder < 0 || stepOf(picture.scores[finder]) < state.score),
    met: met.has(o),
  })).filter((item) => item.counts);
  return { detections, objects };
}

/** The part of an image's contents that is asked for; `asked` says whether there was anything to ask for. */
function visibleOf(picture) {
  const { detections, objects } = contentsOf(picture);
  const { category, outcomes, cell } = state;
  const classOf = (o) => (o < 0 ? BACKGROUND : picture.objects[o]);
  const shown = detections.filter((item) => {
    if (category >= 0 && item.category !== category && classOf(item.object) !== category) return false;
    if (outcomes.size && !outcomes.has(OUTCOMES[item.outcome].id)) return false;
    if (!cell) return true;
    if (item.partner >= 0 && picture.crowd[item.partner]) return false;
    return item.category === cell[1] && classOf(item.partner) === cell[0];
  });
  const about = new Set(shown.flatMap((item) => [item.object, item.partner]));
  const expected = objects.filter((item) => {
    if (category >= 0 && item.category !== category) return false;
    if (cell) return cell[1] === BACKGROUND ? item.category === cell[0] && !item.met && !item.crowd : about.has(item.o);
    if (outcomes.size) return about.has(item.o) || (item.missed && outcomes.has("missed"));
    return true;
  });
  return { detections: shown, objects: expected };
}

/** How bad an image is: missed objects and false detections count 1, correct ones 1 less their IoU. */
function weightOf(picture) {
  const { detections, objects } = contentsOf(picture);
  const correct = detections.filter((item) => item.outcome === CODE.correct || item.outcome === CODE.poor);
  const wrong = detections.filter((item) => item.outcome >= CODE.localisation && item.outcome <= CODE.background);
  const missed = objects.filter((item) => item.missed).length;
  return {
    correct: correct.length,
    wrong: wrong.length,
    missed,
    lowest: Math.min(1, ...correct.map((item) => item.iou)),
    weight: missed + wrong.length + correct.reduce((sum, item) => sum + 1 - item.iou, 0),
  };
}

const kept = new Map(); // shapes and bitmaps of the images last drawn
const MOST_KEPT = 48;

function shapesOf(n) {
  if (!kept.has(n)) {
    kept.set(n, { ...JSON.parse(document.getElementById(`shapes-${n}`).textContent), bitmaps: new Map() });
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(n);
}

const previews = new Map();

/** A promise of the preview's image; null if the page has none. */
function previewOf(n) {
  if (!previews.has(n)) {
    const text = document.getElementById(`preview-${n}`);
    previews.set(n, text ? loaded(`data:image/webp;base64,${text.textContent}`) : Promise.resolve(null));
  }
  return previews.get(n);
}

function loaded(source) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = source;
  });
}

/** Where an image lies in a frame of width x height that it fits into: {scale, x, y}. */
function fitted([imageWidth, imageHeight], width, height) {
  const scale = Math.min(width / imageWidth, height / imageHeight);
  return { scale, x: (width - imageWidth * scale) / 2, y: (height - imageHeight * scale) / 2 };
}

/**
 * Draws image `n` with what is asked for.
 *
 * `place` is {scale, x, y} in CSS pixels; `side` is TRUTH or PREDICTION; `labels` writes classes and scores;
 * `marked` is {d} or {o}, drawn alone.
 */
function drawPicture(canvas, n, photo, { side, place, labels = false, marked = null }) {
  const picture = DATA.images[n];
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const at = place || fitted(picture.size, width, height);
  const frame = [at.x, at.y, picture.size[0] * at.scale, picture.size[1] * at.scale];
  context.imageSmoothingEnabled = at.scale * ratio < 3;
  if (photo) {
    context.drawImage(photo, ...frame);
  } else {
    context.fillStyle = style("--blank");
    context.fillRect(...frame);
  }
  const { detections, objects } = visibleOf(picture);
  const shapes = shapesOf(n);
  const taken = []; // by labels
  const draw = (item, box, mask, outcome, text, dashed) => {
    drawShape(context, at, ratio, picture, shapes, { box, mask, outcome, text: labels ? text : "", dashed, taken });
  };
  if (side === TRUTH) {
    for (const item of objects) {
      if (marked && marked.o !== item.o) continue;
      const outcome = item.crowd ? "ignored" : item.missed ? "missed" : "object";
      draw(item, shapes.object_boxes[item.o], shapes.object_masks[item.o], outcome, className(item.category), item.crowd);
    }
    return;
  }
  if (!state.outcomes.size || state.outcomes.has("missed")) {
    for (const item of objects.filter((one) => one.missed)) {
      if (marked && marked.o !== item.o) continue;
      draw(item, shapes.object_boxes[item.o], null, "missed", "", true);
    }
  }
  for (const item of [...detections].reverse()) {
    if (marked && marked.d !== item.d) continue;
    const text = `${className(item.category)} ${item.score.toFixed(2)}`;
    draw(item, shapes.boxes[item.d], shapes.masks[item.d], OUTCOMES[item.outcome].id, text, false);
  }
}

function drawShape(context, at, ratio, picture, shapes, { box, mask, outcome, text, dashed, taken }) {
  const color = style(`--${outcome}`);
  if (mask && state.masks) {
    const step = Math.max(1, Math.floor(0.75 / (at.scale * ratio)));
    const key = `${outcome} ${step} ${mask}`;
    if (!shapes.bitmaps.has(key)) shapes.bitmaps.set(key, maskBitmap(mask, picture.size[1], step, rgb(color)));
    const bitmap = shapes.bitmaps.get(key);
    if (bitmap) {
      const [x, y] = [at.x + bitmap.x * at.scale, at.y + bitmap.y * at.scale];
      context.drawImage(bitmap.canvas, x, y, bitmap.width * at.scale, bitmap.height * at.scale);
    }
  }
  const [x, y, width, height] = [at.x + box[0] * at.scale, at.y + box[1] * at.scale, box[2] * at.scale, box[3] * at.scale];
  context.setLineDash(dashed ? [5, 4] : []);
  context.lineWidth = 3.5;
  context.strokeStyle = "rgba(0, 0, 0, 0.45)"; // keeps the line apart from any photograph
  context.strokeRect(x, y, width, height);
  context.lineWidth = 1.75;
  context.strokeStyle = color;
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
  if (text) drawLabel(context, x, y, text, color, taken);
}

/** Writes a label above its box, or a line lower where another one stands. */
function drawLabel(context, x, y, text, color, taken) {
  context.font = `600 12px ${style("--font")}`;
  const width = context.measureText(text).width + 8;
  const spot = { x: Math.max(0, x - 1), y: Math.max(0, y - 17), width, height: 16 };
  const hits = (other) => spot.x < other.x + other.width && other.x < spot.x + spot.width &&
    spot.y < other.y + other.height && other.y < spot.y + spot.height;
  for (let tries = 0; tries < 4 && taken.some(hits); tries += 1) spot.y += 17;
  taken.push(spot);
  context.fillStyle = color;
  context.fillRect(spot.x, spot.y, spot.width, spot.height);
  context.fillStyle = contrasting(color);
  context.fillText(text, spot.x + 4, spot.y + 12);
}

/** [red, green, blue] of "#rrggbb". */
function rgb(color) {
  return [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
}

/** Black or white, whichever reads better on a colour. */
function contrasting(color) {
  const [red, green, blue] = rgb(color);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}
