(() => {
"use strict";
// Makes the page's tables sortable, draws its charts and shows single runs. Texts that come from data
// only ever become text nodes and attributes, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

// Tables: a click on a heading sorts, a field filters.
function sortable(table) {
  $("thead th", table).forEach((head, place) => {
    const button = make("button", {type: "button"}, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending" && (head.classList.contains("n") || head.hasAttribute("aria-sort"));
      $("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].dataset.v ?? row.cells[place].textContent;
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
function filterable(figure, table) {
  if (table.tBodies[0].rows.length < 8) return;
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
function live(figure) {
  const table = figure.querySelector("table");
  board(figure, table);
  filterable(figure, table);
  sortable(table);
  $("td[title], tbody th[title], thead th[title]", table).forEach((cell) => { if (cell.tagName === "TD") cell.tabIndex = 0; });
}

// The leaderboard against another baseline: every pair was compared when the page was made.
function board(figure, table) {
  const found = data.boards[figure.dataset.board];
  if (!found) return;
  const place = found.column;
  const select = make("select", {}, ...found.methods.map((name, i) => make("option", {value: i}, name)));
  select.value = found.baseline;
  select.addEventListener("change", () => {
    $("thead th", table)[place].querySelector("button").textContent = `against ${found.methods[select.value]}`;
    for (const row of table.tBodies[0].rows) {
      const cell = found.cells[select.value][found.methods.indexOf(row.dataset.method ?? row.cells[0].textContent.trim())];
      fill(row.cells[place], cell);
    }
  });
  tools(figure).append(make("label", {}, "baseline ", select));
}
function fill(node, cell) {
  const [text, order = null, tip = null, tone = null] = Array.isArray(cell) ? cell : [cell];
  node.textContent = text;
  for (const [name, value] of [["data-v", order], ["title", tip], ["data-tone", tone]]) {
    if (value === null) node.removeAttribute(name); else node.setAttribute(name, value);
  }
  if (tip) node.tabIndex = 0;
  return node;
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

// Charts are drawn when they come into view, in the page's own colours.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function themed(spec) {
  const [ink, quiet, line] = ["ink", "quiet", "line"].map(colour);
  const own = {
    background: null, view: {stroke: line}, text: {color: ink, fill: ink}, rule: {color: quiet}, title: {color: ink, subtitleColor: quiet},
    axis: {labelColor: quiet, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: quiet},
    legend: {labelColor: ink, titleColor: ink}, header: {labelColor: ink, titleColor: ink},
  };
  const config = {...spec.config};
  for (const [key, value] of Object.entries(own)) {
    config[key] = value && typeof value === "object" ? {...config[key], ...value} : value;
  }
  return {...spec, background: undefined, config};
}
const wanted = new Map();
function draw(canvas) {
  const spec = wanted.get(canvas);
  return vegaEmbed(canvas, themed(spec), {mode: "vega-lite", renderer: "svg", actions: false, tooltip: {theme: "custom"}})
    .catch((error) => canvas.replaceChildren(make("p", {class: "note"}, `This chart cannot be drawn: ${error.message}`)));
}
const watcher = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) { watcher.unobserve(one.target); draw(one.target); }
}, {rootMargin: "400px"});
function chart(canvas, spec) { wanted.set(canvas, spec); watcher.observe(canvas); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => wanted.forEach((_, canvas) => canvas.firstChild && draw(canvas)));

// A run's own page, in place of the report: #run=NUMBER.
function grid(part) {
  const head = make("tr", {}, ...part.columns.map(([title, numeric]) => make("th", {scope: "col", class: numeric ? "n" : null}, title)));
  const rows = part.rows.map((row) => make("tr", {}, ...row.map((cell, i) =>
    fill(make(i ? "td" : "th", {class: part.columns[i][1] ? "n" : null, scope: i ? null : "row"}), cell))));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  const figure = make("figure", {class: "table"}, make("figcaption", {}, part.title),
    make("div", {class: "scroll", role: "region", tabindex: 0, "aria-label": part.title}, table));
  if (part.note) figure.append(make("p", {class: "note"}, part.note));
  live(figure);
  return figure;
}
function picture(part) {
  const canvas = make("div", {class: "canvas", role: "img", "aria-label": `${part.title}. ${part.words}`});
  const names = Object.keys(part.data), rows = (columns) =>
    Object.values(columns)[0].map((_, i) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]])));
  chart(canvas, {...data.charts[part.chart], datasets: Object.fromEntries(names.map((name) => [name, rows(part.data[name])]))});
  return make("figure", {class: "chart"}, canvas, make("figcaption", {}, make("b", {}, `${part.title}.`), ` ${part.words}`));
}
function words(part) {
  return make("dl", {class: "words"}, ...part.words.flatMap(([question, answer]) => [make("dt", {}, question), make("dd", {}, answer)]));
}
function show() {
  const number = /^#run=(\d+)$/.exec(location.hash)?.[1], run = data.runs[number];
  const place = document.getElementById("run");
  place.hidden = !run;
  document.getElementById("main").hidden = Boolean(run);
  $("nav.top").forEach((nav) => { nav.hidden = Boolean(run); });
  if (!run) { open(location.hash); return; }
  document.title = run.name;
  const badges = run.badges.map(([text, why]) => make("span", {class: "badge", title: why}, text));
  place.replaceChildren(
    make("p", {}, make("a", {href: `#${run.home}`}, "← All runs")), make("h1", {}, run.name),
    make("p", {class: "badges"}, ...badges), make("p", {class: "lead"}, run.lead),
    ...run.parts.map((part) => part.rows ? grid(part) : part.data ? picture(part) : words(part)));
  scrollTo(0, 0);
}
function open(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  if (target) { const own = target.querySelector(":scope > details"); if (own) own.open = true; target.scrollIntoView(); }
}

$("figure.table").forEach(live);
$("[data-chart]").forEach((canvas) => chart(canvas, data.charts[canvas.dataset.chart]));
addEventListener("hashchange", show);
addEventListener("beforeprint", () => { $("details").forEach((one) => { one.open = true; }); wanted.forEach((_, canvas) => canvas.firstChild || draw(canvas)); });
show();
})();
