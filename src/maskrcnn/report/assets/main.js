// Puts the page together.

const DARK = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return (document.documentElement.dataset.theme || (DARK.matches ? "dark" : "light")) === "dark";
}

function addTheme() {
  const button = document.getElementById("theme");
  const refresh = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} colours`);
    applyTheme();
    redrawCards();
    drawViewer();
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    refresh();
  });
  DARK.addEventListener("change", refresh);
  refresh();
}

function addFilters() {
  const form = document.getElementById("filters");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  const output = element("output", { for: "score" });
  const slider = element("input", {
    type: "range", id: "score", min: 5, max: 100, step: 1, value: state.score,
    oninput: (event) => choose({ score: Number(event.target.value) }),
  });
  const classes = [[-1, "all"], ...DATA.classes.map((name, category) => [category, name])];
  form.append(...[
    KINDS.length > 1
      ? choice("kind", "By", KINDS.map((kind) => [kind, KIND_NAMES[kind]]), state.kind, (kind) => choose({ kind })) : null,
    element("span", { class: "field slider" }, element("label", { for: "score" }, "Score from"), slider, output),
    selection("class", "Class", classes, state.category, (value) => choose({ category: Number(value), cell: null })),
    element("button", {
      type: "button", class: "quiet",
      onclick: () => choose({ score: Math.round(100 * DATA.start), category: -1, outcomes: new Set(), cell: null }),
    }, "Reset"),
  ].filter(Boolean));
  follow(["score", "category"], () => {
    slider.value = state.score;
    slider.setAttribute("aria-valuetext", (state.score / 100).toFixed(2));
    output.textContent = (state.score / 100).toFixed(2);
    form.querySelector("#class").value = state.category;
  });
}

function addAbout() {
  const parts = DATA.page === "report"
    ? [plural(DATA.images_in_all, "image"), plural(DATA.objects, "object"), plural(DATA.classes.length, "class", "classes"),
      DATA.sources.annotations]
    : [plural(DATA.runs.length, "run")];
  document.getElementById("about").textContent = [...parts, DATA.created.slice(0, 16).replace("T", " ")].join(" · ");
}

addAbout();
if (KINDS.length) {
  addFilters();
  addOverview();
  addClasses();
  addCurves();
  addSlices();
  addCalibration();
  addErrors();
  addConfusion();
}
addRuns();
addSettings();
addViewer();
if (KINDS.length) addGallery();
addTheme();
