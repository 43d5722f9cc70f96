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
function filterable(figure, table) {
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
  return vegaEmbed(canvas, themed(spec), {mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1})
    .catch((error) => canvas.replaceChildren(make("p", {class: "note"}, `This chart cannot be drawn: ${error.message}`)));
}
const watcher = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) { watcher.unobserve(one.target); draw(one.target); }
}, {rootMargin: "400px"});
function chart(canvas, spec) { // Vega names the drawing by its description
  wanted.set(canvas, {...spec, description: canvas.getAttribute("aria-label")});
  watcher.observe(canvas);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => wanted.forEach((_, canvas) => canvas.firstChild && draw(canvas)));

// A run's own view, in place of the report: #run=NUMBER.
function grid(title, columns, rows) {
  const used = columns.map((_, i) => rows.some((row) => (Array.isArray(row[i]) ? row[i][0] : row[i]) !== "–"));
  const kept = columns.map((column, i) => [column, i]).filter(([, i]) => used[i]);
  const head = make("tr", {}, ...kept.map(([[name, numeric]]) => make("th", {scope: "col", class: numeric ? "n" : null}, name)));
  const body = rows.map((row) => make("tr", {}, ...kept.map(([[, numeric], i], place) =>
    fill(make(place ? "td" : "th", {class: numeric ? "n" : null, scope: place ? null : "row"}), row[i]))));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  const figure = make("figure", {class: "table"}, make("figcaption", {}, title),
    make("div", {class: "scroll", role: "region", tabindex: 0, "aria-label": title}, table));
  live(figure);
  return figure;
}
function picture(part) {
  const canvas = make("div", {class: "canvas", role: "img", "aria-label": part.title});
  chart(canvas, part.points ? lines(part) : heat(part));
  return make("figure", {class: "chart"}, canvas, make("figcaption", {}, make("b", {}, `${part.title}.`)));
}
function lines({panels, names, colours, points}) {
  const panel = (title, number) => ({
    width: 300, height: 190,
    data: {values: points.filter(([own]) => own === number).map(([, series, x, y]) => ({series: names[series], x, y}))},
    mark: {type: "line", point: {filled: true, size: 40}, strokeWidth: 1.6},
    encoding: {
      x: {field: "x", type: "quantitative", title: "epoch", axis: {tickMinStep: 1, format: "d"}, scale: {zero: false, nice: false}},
      y: {field: "y", type: "quantitative", title, scale: {zero: false}},
      color: {field: "series", type: "nominal", title: null, sort: null, scale: {domain: names, range: colours}},
      tooltip: [{field: "series"}, {field: "x", title: "epoch"}, {field: "y", title}],
    },
  });
  return {columns: 2, concat: panels.map(panel)};
}
function heat({cells}) {
  const end = Math.max(0.05, ...cells.map((cell) => Math.abs(cell[2]))), sort = null;
  const values = cells.map(([part, pair, cosine, conflicting]) => ({part, pair, cosine, conflicting, dark: Math.abs(cosine) > 0.6 * end}));
  return {
    data: {values}, width: {step: 90}, height: {step: 22},
    encoding: {
      x: {field: "pair", type: "nominal", title: null, sort, axis: {labelAngle: 0}}, y: {field: "part", type: "nominal", title: null, sort},
      tooltip: [{field: "part"}, {field: "pair"}, {field: "cosine", title: "mean cosine", format: ".3f"}, {field: "conflicting", title: "steps in conflict", format: ".1%"}],
    },
    layer: [
      {mark: "rect", encoding: {color: {field: "cosine", type: "quantitative", legend: null, scale: {scheme: "redblue", domain: [-end, end]}}}},
      {mark: {type: "text", fontSize: 10}, encoding: {text: {field: "cosine", format: ".3f"}, color: {condition: {test: "datum.dark", value: "white"}, value: "#222"}}},
    ],
  };
}
function show() {
  const number = /^#run=(\d+)$/.exec(location.hash)?.[1], run = data.runs[number];
  const place = document.getElementById("run");
  place.hidden = !run;
  document.getElementById("main").hidden = Boolean(run);
  $("nav.top").forEach((nav) => { nav.hidden = Boolean(run); });
  if (!run) { open(location.hash); return; }
  document.title = run.name;
  const badges = run.badges.flatMap(([text, why]) => [make("span", {class: "badge"}, text), ` ${why}. `]);
  place.replaceChildren(
    make("p", {}, make("a", {href: `#${run.home}`}, "← All runs")), make("h1", {}, run.name),
    make("p", {class: "badges"}, ...badges), make("p", {class: "lead"}, run.lead),
    ...run.words.map((said) => make("p", {}, said)),
    ...Object.entries(run.tables).map(([kind, rows]) => grid(...data.kinds[kind], rows)), ...run.charts.map(picture),
    grid("Provenance", [["", 0], ["", 0]], run.facts));
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
