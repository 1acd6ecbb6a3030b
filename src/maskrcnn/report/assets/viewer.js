// One image at a time: side by side or in turn, zoomed, with the list of what is in it.

const view = { n: 0, photo: null, zoom: 1, x: 0, y: 0, marked: null, side: "both", turn: 0 };
const MOST_ZOOM = 40;
const parts = {};

function addViewer() {
  const dialog = document.getElementById("viewer");
  const button = (text, label, onclick, attributes) =>
    element("button", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, text);
  parts.dialog = dialog;
  parts.name = element("h2", { id: "viewer-name" });
  parts.place = element("span", { class: "muted" });
  parts.source = element("span", { class: "muted", role: "status" });
  parts.stage = element("div", { class: "stage" });
  parts.list = element("div", { class: "list" });
  parts.sides = element("div", { class: "switch" });
  dialog.append(
    element("div", { class: "bar" },
      parts.name, parts.place,
      element("span", { class: "buttons" },
        button("←", "Previous image (left arrow)", () => step(-1)),
        button("→", "Next image (right arrow)", () => step(1)),
        button("✕", "Close (Escape)", () => dialog.close()))),
    element("div", { class: "bar" },
      choice("side", "View", VIEWS, view.side, (side) => turnTo(side)),
      element("span", { class: "buttons" },
        button("−", "Zoom out (minus)", () => zoomBy(1 / 1.5)),
        button("+", "Zoom in (plus)", () => zoomBy(1.5)),
        button("Fit", "Whole image (zero)", resetZoom)),
      parts.source),
    element("div", { class: "body" }, parts.stage, parts.list));
  dialog.addEventListener("keydown", viewerKey);
  dialog.addEventListener("close", () => {
    parts.stage.replaceChildren();
    const card = cards[view.n];
    if (card.node.isConnected) card.button.focus();
  });
  new ResizeObserver(drawViewer).observe(parts.stage);
  parts.stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, event);
  }, { passive: false });
  dragWithPointer(parts.stage);
  follow(["score", "kind", "masks", "category", "outcomes", "cell"], () => dialog.open && showContents());
}

function openViewer(n) {
  parts.dialog.showModal();
  turnTo(parts.dialog.clientWidth < 700 && view.side === "both" ? PREDICTION : view.side);
  show(n);
}

/** Shows image `n`: its preview at once, the file itself when it is near and has the size it should have. */
async function show(n) {
  const picture = DATA.images[n];
  Object.assign(view, { n, photo: null, marked: null });
  view.turn += 1;
  const { turn } = view;
  parts.name.textContent = picture.name;
  parts.place.textContent = `${ordered.indexOf(n) + 1} of ${ordered.length}, ${picture.size[0]} × ${picture.size[1]}`;
  parts.source.textContent = "";
  resetZoom();
  showContents();
  const preview = await previewOf(n);
  if (turn !== view.turn) return;
  view.photo = preview;
  drawViewer();
  parts.source.textContent = preview ? "preview" : "no photograph at hand";
  const file = picture.link ? await loaded(picture.link) : null;
  if (turn !== view.turn || !file) return;
  if (file.naturalWidth !== picture.size[0] || file.naturalHeight !== picture.size[1]) return;
  view.photo = file;
  parts.source.textContent = "full resolution";
  drawViewer();
}

function step(by) {
  const place = ordered.indexOf(view.n);
  const next = ordered[(place + by + ordered.length) % ordered.length];
  if (next !== undefined) show(next);
}

function turnTo(side) {
  view.side = side;
  for (const input of parts.dialog.querySelectorAll('input[name="side"]')) input.checked = input.value === side;
  const sides = side === "both" ? [TRUTH, PREDICTION] : [side];
  const names = Object.fromEntries(VIEWS);
  parts.stage.replaceChildren(...sides.map((one) => element("figure", { "data-side": one },
    element("figcaption", {}, names[one]), element("canvas", { role: "img", "aria-label": names[one] }))));
  drawViewer();
}

function drawViewer() {
  if (!parts.dialog.open) return;
  for (const pane of parts.stage.children) {
    const canvas = pane.querySelector("canvas");
    const whole = fitted(DATA.images[view.n].size, canvas.clientWidth, canvas.clientHeight);
    const scale = whole.scale * view.zoom;
    const place = { scale, x: whole.x * view.zoom + view.x, y: whole.y * view.zoom + view.y };
    drawPicture(canvas, view.n, view.photo, { side: pane.dataset.side, place, labels: true, marked: view.marked });
  }
}

function resetZoom() {
  Object.assign(view, { zoom: 1, x: 0, y: 0 });
  drawViewer();
}

/** Zooms about the pointer, or about the middle. */
function zoomBy(factor, event) {
  const canvas = event?.target instanceof HTMLCanvasElement ? event.target : parts.stage.querySelector("canvas");
  const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  const x = event ? event.offsetX : canvas.clientWidth / 2;
  const y = event ? event.offsetY : canvas.clientHeight / 2;
  view.x = x - ((x - view.x) * zoom) / view.zoom;
  view.y = y - ((y - view.y) * zoom) / view.zoom;
  view.zoom = zoom;
  if (zoom === 1) Object.assign(view, { x: 0, y: 0 });
  drawViewer();
}

/** One pointer drags, two pinch. */
function dragWithPointer(stage) {
  const held = new Map();
  const spread = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  stage.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const distance = held.size === 2 ? spread() : 0;
    const now = { x: event.clientX, y: event.clientY };
    held.set(event.pointerId, now);
    if (held.size === 2) {
      zoomBy(spread() / Math.max(distance, 1));
    } else {
      view.x += now.x - before.x;
      view.y += now.y - before.y;
      drawViewer();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => held.delete(event.pointerId));
}

function viewerKey(event) {
  if (event.target.matches("input[type=radio]") && event.key.startsWith("Arrow")) return;
  const actions = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    t: () => turnTo(view.side === TRUTH ? PREDICTION : TRUTH),
    s: () => turnTo("both"),
    m: () => document.getElementById("masks").click(),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    0: resetZoom,
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
}

/** The list of detections and missed objects; pointing at one shows it alone. */
function showContents() {
  const { detections, objects } = visibleOf(DATA.images[view.n]);
  const rows = detections.map((item) => entry({ d: item.d }, OUTCOMES[item.outcome],
    `${className(item.category)} ${item.score.toFixed(2)}`, item.object < 0 ? "" : against(item)));
  const missed = objects.filter((item) => item.missed);
  rows.push(...missed.map((item) => entry({ o: item.o }, OUTCOMES[CODE.missed], className(item.category), "")));
  parts.list.replaceChildren(
    element("h3", {}, `${plural(detections.length, "detection")}, ${missed.length} missed`),
    element("ul", {}, rows),
    element("p", { class: "muted keys" }, "Keys: ← → images, T truth or prediction, S side by side, M masks, + − 0 zoom."));
  drawViewer();
}

function against(item) {
  const own = DATA.images[view.n].objects[item.object];
  return `IoU ${item.iou.toFixed(2)}${own === item.category ? "" : ` with ${className(own)}`}`;
}

function entry(marked, outcome, name, detail) {
  const mark = (value) => () => {
    view.marked = value;
    drawViewer();
  };
  return element("li", {}, element("button", {
    type: "button", title: outcome.text,
    onpointerenter: mark(marked), onpointerleave: mark(null), onfocus: mark(marked), onblur: mark(null),
  },
  element("span", { class: `mark ${outcome.id}` }, outcome.letter, element("span", { class: "unseen" }, ` ${outcome.name}`)),
  element("span", {}, name), element("span", { class: "muted" }, detail)));
}
