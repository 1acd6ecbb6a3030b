// Elements, numbers and colours.

/** Creates an element; strings among the children become text, never markup. `on...` attributes are listeners. */
function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** A section of the page with its entry in the navigation. */
function section(id, title, ...children) {
  const heading = element("h2", { id: `${id}-title` }, title);
  const node = element("section", { id, "aria-labelledby": `${id}-title` }, heading, ...children);
  document.getElementById("main").append(node);
  document.getElementById("sections").append(element("a", { href: `#${id}` }, title));
  return node;
}

/** A table; rows are lists of cells (text, or elements), the first of which heads its row. */
function table(caption, head, rows) {
  const cells = (row) => row.map((cell, column) => {
    const own = cell instanceof Element && cell.matches("td, th");
    return own ? cell : element(column ? "td" : "th", column ? {} : { scope: "row" }, cell);
  });
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {},
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, head.map((cell) => (cell instanceof Element && cell.matches("th") ? cell : element("th", { scope: "col" }, cell))))),
      element("tbody", {}, rows.map((row) => element("tr", {}, cells(row))))));
}

/** A labelled choice of a few: radio buttons that look like one switch. */
function choice(name, label, options, value, onchange) {
  return element("fieldset", { class: "choice" },
    element("legend", {}, label),
    options.map(([key, text]) => element("label", {},
      element("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }),
      element("span", {}, text))));
}

function selection(id, label, options, value, onchange) {
  const select = element("select", { id, onchange: (event) => onchange(event.target.value) },
    options.map(([key, text]) => element("option", { value: key, selected: String(key) === String(value) }, text)));
  return element("span", { class: "field" }, element("label", { for: id }, label), select);
}

/** A figure such as an AP, as "0.629"; a dash where nothing could tell. */
function figure(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function percent(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(0)} %`;
}

function number(value) {
  return value.toLocaleString("en");
}

function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** The value of a colour or length of the style sheet. */
function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Tells screen readers what has changed. */
function announce(text) {
  document.getElementById("announcer").textContent = text;
}
