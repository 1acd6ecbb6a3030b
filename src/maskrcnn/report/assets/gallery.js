// The images: filters, order, and cards that are drawn as they come into view.

const FILTERS = ["correct", "poor", ...ERRORS];
const ORDERS = {
  worst: ["worst first", (a, b) => b.weight - a.weight],
  missed: ["most missed", (a, b) => b.missed - a.missed],
  wrong: ["most false", (a, b) => b.wrong - a.wrong],
  lowest: ["poorest fit", (a, b) => a.lowest - b.lowest],
  name: ["file name", (a, b) => DATA.images[a.n].name.localeCompare(DATA.images[b.n].name)],
};
const VIEWS = [[PREDICTION, "Prediction"], [TRUTH, "Ground truth"], ["both", "Side by side"]];

let ordered = []; // numbers of the images that are shown, in their order
const cards = [];

function addGallery() {
  const chips = element("fieldset", { class: "chips" }, element("legend", {}, "Show only"),
    FILTERS.map((id) => element("label", { class: `chip ${id}`, title: OUTCOMES[CODE[id]].text },
      element("input", { type: "checkbox", value: id, onchange: (event) => toggleOutcome(id, event.target.checked) }),
      element("span", {}, OUTCOMES[CODE[id]].name, " ", element("b", { "data-count": id })))));
  const orders = Object.entries(ORDERS).map(([key, [name]]) => [key, name]);
  const tools = element("div", { class: "tools" },
    choice("view", "View", VIEWS, state.view, (view) => choose({ view })),
    selection("sort", "Order", orders, state.sort, (sort) => choose({ sort })),
    element("label", { class: "field" },
      element("input", { type: "checkbox", id: "masks", checked: true, onchange: (event) => choose({ masks: event.target.checked }) }),
      element("span", {}, "Masks")));
  const status = element("p", { id: "shown" });
  const list = element("ul", { class: "cards" });
  const rest = DATA.images.length < DATA.images_in_all
    ? ` The ${number(DATA.images.length)} worst of ${number(DATA.images_in_all)} images are on this page.` : "";
  section("gallery", "Gallery",
    element("p", { class: "muted" }, "The worst image is the one with the largest sum of missed objects, false detections, and 1 − IoU of each ",
      `correct one.${rest} Enter opens an image; there the arrow keys go on.`),
    chips, tools, status, list);

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = cards[entry.target.dataset.n];
      card.near = entry.isIntersecting;
      if (card.near) drawCard(card);
      else card.clear();
    }
  }, { rootMargin: "300px 0px" });
  DATA.images.forEach((picture, n) => {
    cards.push(makeCard(picture, n));
    observer.observe(cards[n].node);
  });

  follow(["kind", "score", "category", "outcomes", "cell", "sort"], () => arrange(list, status, chips));
  follow(["view", "masks"], () => {
    list.classList.toggle("double", state.view === "both");
    redrawCards();
  });
  window.addEventListener("resize", redrawCards);
}

function toggleOutcome(id, wanted) {
  const outcomes = new Set(state.outcomes);
  if (wanted) outcomes.add(id);
  else outcomes.delete(id);
  choose({ outcomes, cell: null });
}

function makeCard(picture, n) {
  const panes = element("span", { class: "panes" });
  const text = element("span", { class: "counts" });
  const button = element("button", { type: "button", onclick: () => openViewer(n) },
    panes, element("span", { class: "name" }, picture.name), text);
  const node = element("li", { "data-n": n }, button);
  return {
    n, node, button, panes, text, near: false, drawn: 0,
    clear() {
      for (const canvas of panes.children) canvas.width = canvas.height = 0; // gives its memory back
    },
  };
}

async function drawCard(card) {
  const sides = state.view === "both" ? [TRUTH, PREDICTION] : [state.view];
  card.drawn += 1;
  const turn = card.drawn;
  const photo = await previewOf(card.n);
  if (turn !== card.drawn || !card.near) return; // something has changed meanwhile
  while (card.panes.children.length > sides.length) card.panes.lastChild.remove();
  while (card.panes.children.length < sides.length) card.panes.append(element("canvas", { "aria-hidden": "true" }));
  sides.forEach((side, pane) => drawPicture(card.panes.children[pane], card.n, photo, { side }));
}

function redrawCards() {
  for (const card of cards) if (card.near) drawCard(card);
}

function arrange(list, status, chips) {
  const limited = state.category >= 0 || state.outcomes.size > 0 || state.cell;
  const counts = Object.fromEntries(FILTERS.map((id) => [id, 0]));
  let items = 0;
  const shown = [];
  DATA.images.forEach((picture, n) => {
    countOutcomes(picture, counts);
    const { detections, objects } = visibleOf(picture);
    const wanted = state.cell && state.cell[1] === BACKGROUND ? objects.length : detections.length;
    const missed = state.outcomes.has("missed") ? objects.filter((item) => item.missed).length : 0;
    const found = state.cell || state.outcomes.size ? wanted + missed : detections.length + objects.length;
    if (limited && !found) return;
    items += found;
    shown.push({ n, ...weightOf(picture) });
  });
  shown.sort(ORDERS[state.sort][1]);
  ordered = shown.map((entry) => entry.n);
  for (const entry of shown) {
    cards[entry.n].text.replaceChildren(...countTexts(entry));
  }
  list.replaceChildren(...ordered.map((n) => cards[n].node));
  for (const id of FILTERS) chips.querySelector(`[data-count="${id}"]`).textContent = number(counts[id]);
  for (const box of chips.querySelectorAll("input")) box.checked = state.outcomes.has(box.value);
  const text = `${plural(shown.length, "image")}${limited ? ` with ${plural(items, "such object or detection", "such objects and detections")}` : ""}`;
  status.replaceChildren(text, state.cell ? cellChip() : "");
  announce(text);
  redrawCards();
}

/** Adds an image's outcomes of the chosen class to `counts`. */
function countOutcomes(picture, counts) {
  const { detections, objects } = contentsOf(picture);
  const asked = (category) => state.category < 0 || category === state.category;
  for (const item of detections) {
    const { id } = OUTCOMES[item.outcome];
    if (id in counts && asked(item.category)) counts[id] += 1;
  }
  counts.missed += objects.filter((item) => item.missed && asked(item.category)).length;
}

function countTexts({ missed, wrong, correct }) {
  const part = (count, name, outcome) => element("span", { class: count ? `count ${outcome}` : "count none" }, `${count} ${name}`);
  return [part(missed, "missed", "missed"), part(wrong, "false", "background"), part(correct, "correct", "correct")];
}

function cellChip() {
  const [row, column] = state.cell;
  const name = column === BACKGROUND ? `${className(row)}, met by nothing` : `${className(row)} → ${className(column)}`;
  return element("button", { type: "button", class: "chosen", onclick: () => choose({ cell: null }) },
    name, element("span", { "aria-hidden": "true" }, " ✕"), element("span", { class: "unseen" }, ", show all again"));
}
