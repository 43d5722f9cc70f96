(() => {
"use strict";
// Makes the page's tables sortable, draws its charts and shows single runs.
const charts = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

// What a text is sorted by: the number that it begins with, or itself.
const sorted = (text) => /^[+−-]?[\d,]*\.?\d+/.exec(text)?.[0].replaceAll(",", "").replace("−", "-") ?? text;

// Tables: a click on a heading sorts, a field filters.
function sortable(table) {
  $("thead th", table).forEach((head, place) => {
    const button = make("button", {type: "button"}, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending" && (head.classList.contains("n") || head.hasAttribute("aria-sort"));
      $("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].dataset.v ?? sorted(row.cells[place].textContent.trim());
      const missing = (value) => value === "" || value === "–";
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (missing(x) || missing(y)) return missing(x) - missing(y); // rows without a number stay last
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", {numeric: true}) : x - y;
        return down ? -order : order;
      }));
    });
  });
}
function filterable(table, figure) {
  if (table.tBodies[0].rows.length < 10) return;
  const name = figure.querySelector("figcaption").textContent;
  const field = make("input", {type: "search", placeholder: "filter rows", "aria-label": `Filter rows of ${name}`});
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  tools(figure).append(field);
}
function tools(figure) {
  return figure.querySelector(".tools") ?? figure.querySelector(".scroll").insertAdjacentElement("beforebegin", make("div", {class: "tools"}));
}

// The leaderboard against another baseline: a column for each, all but one hidden.
function board(table, figure) {
  const heads = $("th[data-choice]", table);
  if (heads.length < 2) return;
  const select = make("select", {}, ...heads.map((head) => make("option", {}, head.textContent.replace("against ", ""))));
  select.selectedIndex = heads.findIndex((head) => !head.hidden);
  select.addEventListener("change", () => heads.forEach((head, place) => {
    for (const row of table.rows) row.cells[head.cellIndex].hidden = place !== select.selectedIndex;
  }));
  tools(figure).append(make("label", {}, "baseline ", select));
}

// Hints, for mouse, finger and keyboard alike.
const tip = document.getElementById("tip");
let pointed = null;
function hint(event) {
  const node = event.target.closest?.("[title], [data-tip]") ?? null;
  if (node?.hasAttribute("title")) { node.dataset.tip = node.title; node.removeAttribute("title"); }
  if (node) node.setAttribute("aria-describedby", "tip");
  pointed?.removeAttribute("aria-describedby");
  pointed = node;
  tip.hidden = !node;
  if (!node) return;
  tip.textContent = node.dataset.tip;
  const box = node.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = box.bottom + tip.offsetHeight + 10 < innerHeight ? `${box.bottom + 6}px` : `${box.top - tip.offsetHeight - 6}px`;
}
for (const kind of ["pointerover", "focusin", "click"]) addEventListener(kind, hint);
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
addEventListener("scroll", () => { tip.hidden = true; }, {capture: true, passive: true});

// Charts are drawn when they come into view; their ink is the page's own.
function draw(canvas) { // Vega names the drawing by its description
  const {chart, rows} = canvas.dataset, spec = {...charts[chart], description: canvas.getAttribute("aria-label")};
  if (rows) spec.data = {values: rows, format: {type: "csv"}};
  return vegaEmbed(canvas, spec, {mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1})
    .catch((error) => canvas.replaceChildren(make("p", {class: "note"}, `This chart cannot be drawn: ${error.message}`)));
}
const watcher = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) { watcher.unobserve(one.target); draw(one.target); }
}, {rootMargin: "400px"});
function liven(root) {
  for (const figure of $("figure.table", root)) {
    const table = figure.querySelector("table");
    for (const part of [board, filterable, sortable]) part(table, figure);
    for (const cell of $("td[title]", table)) cell.tabIndex = 0;
  }
  $("[data-chart]", root).forEach((canvas) => watcher.observe(canvas));
}

// A run's own view, in place of the report: #run=NUMBER. The page has it as text, escaped as all texts are.
function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1))), run = target?.type === "text/html";
  const place = document.getElementById("run");
  place.hidden = !run;
  for (const other of $("#main, nav.top")) other.hidden = run;
  if (run) {
    place.innerHTML = target.textContent;
    document.title = place.querySelector("h1").textContent;
    liven(place);
    scrollTo(0, 0);
  } else if (target) {
    target.closest("details")?.setAttribute("open", "");
    target.scrollIntoView();
  }
}

liven(document);
addEventListener("hashchange", show);
addEventListener("beforeprint", () => { $("details").forEach((one) => { one.open = true; }); $("[data-chart]").forEach((canvas) => canvas.firstChild || draw(canvas)); });
show();
})();
