// The review page: reads the items as they come, and brings filters, thresholds, grid, viewer and keys together.
import { $, complain, dollars, many, number, once, say, spoken, text } from "./parts.js";
import { DROP, KEEP, Model, NONE } from "./model.js";
import { Saver, follow } from "./saving.js";
import { Filters } from "./filters.js";
import { Sliders } from "./sliders.js";
import { Grid } from "./grid.js";
import { Viewer } from "./viewer.js";

const NAME = "reviewer", SIZE = "tile-size";
const model = new Model();
const grid = new Grid($("grid"), $("canvas"), model, () => viewer.refresh());
const viewer = new Viewer(model, grid);
const saver = new Saver(model, () => changed(), () => askForToken(""));
const sliders = new Sliders(model, () => {
  grid.mask = sliders.found.mask;
  if (filters.state.only) rechoose();
  grid.draw();
});
const rechoose = once(() => choose());
const filters = new Filters(model, () => choose());
let head = null, complete = false, following = null;

// -- what is shown --

function choose() {
  const { shown, sections } = filters.chosen(sliders.found.mask);
  grid.least = viewer.least = filters.state.least;
  grid.show(shown, sections);
  if (!filters.state.only) sliders.about(shown);
  $("nothing").hidden = shown.length > 0 || !complete;
  text($("nothing"), model.count ? "Nothing passes these filters." : "There is nothing to review here.");
  $("findings").open ||= complete && model.count === 0;
  text($("count"), shown.length === model.count ? many(model.count, "frame") : `${number(shown.length)} of ${many(model.count, "frame")}`);
  totals();
}

const totals = once(() => {
  const { labels, decided, usd } = model.totals();
  text($("labels"), number(labels));
  text($("money"), dollars(usd));
  text($("decided"), number(decided));
});

function changed() {
  totals();
  sliders.count();
  sliders.drawSoon?.();
  grid.draw();
  viewer.refresh();
}

function showFindings({ total, counts, lines }) {
  const box = $("findings");
  box.hidden = !total;
  const kinds = Object.entries(counts).map(([code, count]) => `${number(count)} \u00d7 ${spoken(code)}`);
  text(box.querySelector("summary"), `${many(total, "fault")} found: ${kinds.join(", ")}`);
  box.querySelector("ul").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
}

// -- deciding --

const ACTS = {
  keep: () => decide(KEEP),
  drop: () => decide(DROP),
  clear: () => decide(NONE),
  undo: () => {
    const items = saver.undo();
    if (items.length) {
      const position = grid.shown.indexOf(items[0]);
      if (position >= 0) grid.go(position, false);
    } else say("nothing to undo");
  },
};

function decide(word) {
  const items = [...grid.selected];
  if (!items.length) return say("select a frame first");
  saver.decide(items, word);
  if (word !== NONE) grid.advance(items);
  return viewer.refresh();
}

for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => ACTS[button.dataset.act]());
$("drop-beyond").addEventListener("click", () => {
  const { mask } = sliders.found;
  const count = saver.decide([...sliders.shown].filter((item) => mask[item]), DROP);
  sliders.clear();
  if (filters.state.only) toggleOnly();
  say(`dropped ${many(count, "frame")}; U takes it back`);
});

function toggleOnly() {
  filters.state.only = !filters.state.only;
  $("only-beyond").setAttribute("aria-pressed", String(filters.state.only));
  choose();
}
$("only-beyond").addEventListener("click", toggleOnly);

// -- keys, clicks, touch --

const KEYS = {
  ArrowRight: (more) => grid.go(grid.cursor + 1, more),
  ArrowLeft: (more) => grid.go(grid.cursor - 1, more),
  ArrowDown: (more) => grid.go(viewer.open ? grid.cursor + 1 : grid.row(1), more),
  ArrowUp: (more) => grid.go(viewer.open ? grid.cursor - 1 : grid.row(-1), more),
  n: (more) => grid.go(grid.cursor + 1, more),
  p: (more) => grid.go(grid.cursor - 1, more),
  "]": () => grid.go(grid.section(1), false),
  "[": () => grid.go(grid.section(-1), false),
  Home: (more) => grid.go(0, more),
  End: (more) => grid.go(grid.shown.length - 1, more),
  a: () => !viewer.open && grid.selectSection(),
  k: ACTS.keep,
  d: ACTS.drop,
  Delete: ACTS.drop,
  c: ACTS.clear,
  u: ACTS.undo,
  Enter: () => (viewer.open ? viewer.dialog.close() : viewer.show()),
  " ": () => (viewer.open ? viewer.turn(1) : viewer.show()),
  "+": () => larger(1),
  "=": () => larger(1),
  "-": () => larger(-1),
  "0": () => viewer.open && viewer.scale(1, 0, 0),
  "/": () => {
    openPanel(true);
    $("search").focus();
  },
  "?": () => $("help").showModal(),
};

const larger = (step) => (viewer.open ? viewer.zoomBy(1.4 ** step) : resize(grid.size + step));
function resize(size) {
  grid.resize(size);
  localStorage.setItem(SIZE, grid.size);
  Object.assign($("size"), { value: grid.size, ariaValueText: `${grid.columns} in a row` });
}
$("size").addEventListener("input", () => resize(Number($("size").value)));
$("size").addEventListener("pointerup", () => $("grid").focus({ preventScroll: true })); // so that keys decide again

addEventListener("keydown", (event) => {
  const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
  if ((event.ctrlKey || event.metaKey || event.altKey) && !undo) return;
  const { target } = event;
  if (head === null || $("help").open || $("name").open || target.closest("input, select, textarea")) {
    if (event.key === "Escape" && target.closest("input")) $("grid").focus();
    return;
  }
  if (target.closest("button, summary") && (event.key === "Enter" || event.key === " ")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = undo ? ACTS.undo : KEYS[key];
  if (!act) return;
  event.preventDefault();
  act(event.shiftKey && key.length > 0);
  viewer.refresh();
});

$("canvas").addEventListener("click", (event) => {
  const position = grid.positionAt(event.target);
  if (position < 0) return;
  if (event.ctrlKey || event.metaKey) grid.toggle(position);
  else grid.go(position, event.shiftKey);
  if (event.pointerType === "touch") viewer.show();
});
$("canvas").addEventListener("dblclick", (event) => grid.positionAt(event.target) >= 0 && viewer.show());
$("grid").addEventListener("focus", () => grid.cursor < 0 && grid.shown.length && grid.go(0, false));
viewer.dialog.addEventListener("close", () => $("grid").focus());
$("help-button").addEventListener("click", () => $("help").showModal());
$("problem").querySelector("button").addEventListener("click", () => { $("problem").hidden = true; });

function openPanel(open) {
  $("panel").classList.toggle("open", open);
  $("panel-button").setAttribute("aria-expanded", String(open));
  sliders.drawBars();
}
$("panel-button").addEventListener("click", () => openPanel(!$("panel").classList.contains("open")));

// -- who --

function call(name) {
  saver.by = grid.me = name;
  text($("by"), name);
  grid.draw();
}
$("by").addEventListener("click", () => {
  $("name-text").value = saver.by;
  $("name").showModal();
});
$("name").addEventListener("close", () => {
  const name = $("name-text").value.trim();
  if ($("name").returnValue !== "ok" || !name) return;
  sessionStorage.setItem(NAME, name);
  call(name);
});

// -- reading --

function begin(first) {
  head = first;
  model.price = first.price;
  if (model.isBought) speakOfBought();
  model.run = first.run;
  document.title = `${first.title} \u2013 review`;
  text($("title"), first.title);
  call(sessionStorage.getItem(NAME) || first.by);
  $("sign-in").hidden = true;
  $("main").hidden = false;
  resize(Number(localStorage.getItem(SIZE)));
  following ??= follow(model, saver, { changed, findings: showFindings, locked: () => askForToken("") }) ?? true;
}

// What the page says of frames to be labelled has no meaning for labels that came back: other words, or none.
function speakOfBought() {
  for (const element of document.querySelectorAll("[data-bought]")) text(element, element.dataset.bought);
  for (const element of document.querySelectorAll("#cost, #views [data-value=faces], #views [data-value=background]")) element.hidden = true;
  text(document.querySelector("#views [data-value=label]"), "Kept");
}

function take(line) {
  const document = JSON.parse(line);
  if (head === null) begin(document);
  else if (document.end) {
    complete = true;
    text($("read"), many(model.groups.length, "video"));
    if (document.failure) complain(document.failure);
    choose();
  } else {
    const first = model.count === 0;
    model.append(document);
    text($("read"), `reading, ${many(model.groups.length, "video")} so far`);
    if (first) fresh();
    else refresh();
  }
}

function fresh() {
  filters.refresh();
  choose();
  if (performance.getEntriesByName("usable").length) return;
  requestAnimationFrame(() => performance.mark("usable"));
  $("grid").focus({ preventScroll: true });
}
const refresh = once(fresh);

async function read() {
  let answer;
  try {
    answer = await fetch("/api/items");
  } catch {
    setTimeout(read, 2000);
    return;
  }
  if (answer.status === 401) {
    askForToken("");
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach(take);
  }
  if (!complete) complain("The connection was lost before all was read. Load the page anew.");
}

// -- the token --

function askForToken(problem) {
  $("main").hidden = true;
  $("sign-in").hidden = false;
  $("saved").className = "pill idle";
  text($("saved"), "locked");
  text($("sign-in-problem"), problem);
  $("token").focus();
}

async function signIn(token) {
  const answer = await fetch("/api/session", { method: "POST", body: JSON.stringify({ token }) }).catch(() => null);
  if (!answer) return askForToken("no connection");
  if (!answer.ok) return askForToken((await answer.json()).error);
  $("token").value = "";
  if (head === null) return read();
  $("sign-in").hidden = true;
  $("main").hidden = false;
  return saver.send();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("token").value.trim());
});

const link = new URLSearchParams(location.hash.slice(1)).get("token");
if (link) {
  history.replaceState(null, "", "/");
  signIn(link);
} else read();
