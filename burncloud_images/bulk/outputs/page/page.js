"use strict";

// Ties the parts together. The scripts with the job's own data call `describeJob` and `addCards`.

const LOADERS = 4;
const PATIENCE = 200; // milliseconds between two looks at what was loaded meanwhile

const element = (id) => document.getElementById(id);
const library = new Library();
const grid = new Grid(element("cards"));
const filters = new Filters(element("chips"), () => restart());
const viewer = new Viewer(element("viewer"), { neighbours: () => view.found, closed: leave });
const view = { found: [], page: 0 };
const job = { cards: 0, scripts: 0, loaded: 0 };
let waiting = 0;

// --- data ---

function describeJob(summary) {
  Object.assign(job, summary);
  document.title = `${summary.name} · Gallery`;
  element("name").textContent = summary.name;
  element("about").textContent = [
    STOPPED[summary.stopped],
    summary.ended && sayTime(summary.ended),
    summary.seconds && `took ${sayDuration(summary.seconds)}`,
  ]
    .filter(Boolean)
    .join(" · ");
  element("figures").append(...toFigures(summary));
  showProgress(summary);
  for (let number = 1; number <= Math.min(LOADERS, job.scripts); number += 1) load(number);
  refresh();
}

function toFigures(summary) {
  const { counts } = summary;
  const unpriced = summary.cost === 0 && summary.images > 0;
  const left = counts.pending + counts.leased + counts.sent;
  const figures = [
    ["Images", sayNumber(summary.images), sayBytes(summary.bytes)],
    ["Spent", unpriced ? "–" : sayMoney(summary.cost), spentNote(summary, unpriced)],
    ["Done", sayNumber(counts.done), `of ${sayCount(summary.requests, "request")}`],
    counts.failed && ["Failed", sayNumber(counts.failed), "", "failed"],
    counts.in_doubt && ["In doubt", sayNumber(counts.in_doubt), "may have been billed", "in_doubt"],
    counts.accepted && ["Accepted", sayNumber(counts.accepted), "run it again to fetch them", "accepted"],
    counts.received && ["Paid, not fetched", sayNumber(counts.received), "run it again soon to fetch them", "received"],
    left && ["Waiting", sayNumber(left), "run it again to go on"],
    summary.bad_rows && ["Bad rows", sayNumber(summary.bad_rows), "see bad_rows.jsonl"],
  ];
  return figures.filter(Boolean).map(([name, value, note, state]) => {
    const figure = make("div");
    if (state) figure.dataset.state = state;
    figure.append(make("dt", "", name), make("dd", "", value));
    if (note) figure.append(make("dd", "more", note));
    return figure;
  });
}

function spentNote(summary, unpriced) {
  if (summary.reserved) return `and perhaps ${sayMoney(summary.reserved)} more`;
  return unpriced ? "no prices were given" : "";
}

function showProgress({ counts }) {
  const parts = [
    ["done", counts.done],
    ["in_doubt", counts.in_doubt],
    ["failed", counts.failed],
    ["accepted", counts.accepted],
    ["received", counts.received],
    ["waiting", counts.pending + counts.leased + counts.sent],
  ].filter(([, count]) => count > 0);
  element("progress").append(
    ...parts.map(([state, count]) => {
      const part = make("span");
      part.dataset.state = state;
      part.style.flexGrow = count;
      return part;
    }),
  );
  const said = parts.map(([state, count]) => `${sayNumber(count)} ${(STATES[state] || state).toLowerCase()}`);
  element("progress").setAttribute("aria-label", `Requests: ${said.join(", ")}`);
}

function addCards(number, cards) {
  library.add(number, cards);
}

function load(number) {
  const script = make("script");
  script.src = `gallery/${String(number).padStart(4, "0")}.js`;
  script.addEventListener("load", () => loaded(number));
  script.addEventListener("error", () => {
    element("trouble").textContent = `${script.getAttribute("src")} is not there, so some images are not shown.`;
    element("trouble").hidden = false;
    loaded(number);
  });
  document.head.append(script);
}

function loaded(number) {
  job.loaded += 1;
  if (number + LOADERS <= job.scripts) load(number + LOADERS);
  if (job.loaded === 1 || job.loaded === job.scripts) refresh();
  else if (!waiting) waiting = setTimeout(refresh, PATIENCE);
}

// --- looking ---

/** Looks anew among all cards, from the first page on. */
function restart() {
  view.page = 0;
  look();
}

/** Takes in what was loaded. */
function refresh() {
  clearTimeout(waiting);
  waiting = 0;
  filters.learn(library.cards);
  look();
  if (!viewer.card) enter();
}

function look() {
  const query = element("query").value;
  const { found, counts } = library.find({ query, chosen: filters.chosen, order: element("order").value });
  view.found = found;
  filters.show(counts);
  showCount(query);
  showPage();
}

function showCount(query) {
  const all = library.cards.length;
  const isAll = !query.trim() && filters.isEmpty;
  const shown = isAll ? `all ${sayNumber(all)}` : `${sayNumber(view.found.length)} of ${sayNumber(all)}`;
  element("count").textContent = `Showing ${shown}`;
  element("clear").hidden = isAll;
  element("nothing").hidden = view.found.length > 0 || job.loaded < job.scripts;
  element("loading").hidden = job.loaded >= job.scripts;
  element("loading").textContent = `Loading ${sayNumber(job.cards)}…`;
}

function showPage() {
  const pages = Math.max(1, Math.ceil(view.found.length / PAGE));
  view.page = Math.min(view.page, pages - 1);
  grid.show(view.found.slice(view.page * PAGE, (view.page + 1) * PAGE));
  element("pages").hidden = pages === 1;
  element("pages").replaceChildren(...toPageButtons(view.page, pages));
}

function toPageButtons(current, pages) {
  const near = [0, current - 2, current - 1, current, current + 1, current + 2, pages - 1];
  const shown = [...new Set(near)].filter((page) => page >= 0 && page < pages).sort((one, other) => one - other);
  const buttons = shown.flatMap((page, place) => {
    const button = toPageButton(sayNumber(page + 1), page, page === current);
    return place && page > shown[place - 1] + 1 ? [make("span", "gap", "…"), button] : [button];
  });
  return [
    toPageButton("Previous", current - 1, false, current === 0),
    ...buttons,
    toPageButton("Next", current + 1, false, current === pages - 1),
  ];
}

function toPageButton(text, page, isCurrent, disabled = false) {
  const button = make("button", "", text);
  button.type = "button";
  button.disabled = disabled;
  if (isCurrent) button.setAttribute("aria-current", "page");
  button.addEventListener("click", () => {
    view.page = page;
    showPage();
    element("cards").focus({ preventScroll: true });
    element("tools").parentElement.scrollIntoView();
  });
  return button;
}

// --- one card close up ---

/** Opens the card that the address names, if it is loaded. */
function enter() {
  const card = library.byName.get(toName(location.hash));
  if (card) viewer.open(card);
  else if (viewer.card) element("viewer").close();
}

/** Goes back to the page on which the last card is. */
function leave(card) {
  history.replaceState(null, "", location.pathname + location.search);
  const place = view.found.indexOf(card);
  if (place < 0) return;
  view.page = Math.floor(place / PAGE);
  showPage();
  if (document.activeElement !== element("query")) grid.focus(card);
}

// --- what a person does ---

function clearAll() {
  element("query").value = "";
  filters.clear();
  restart();
  element("query").focus();
}

function press(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (viewer.card) element("viewer").close();
    element("query").focus();
    element("query").select();
  } else if (event.key === "Escape" && event.target === element("query")) {
    event.preventDefault();
    element("query").value = "";
    restart();
  }
}

element("query").addEventListener("input", restart);
element("order").addEventListener("change", restart);
element("clear").addEventListener("click", clearAll);
element("tools").addEventListener("submit", (event) => event.preventDefault());
element("scale").addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--tile", `${event.target.value}px`);
});
document.addEventListener("keydown", press);
window.addEventListener("hashchange", enter);
