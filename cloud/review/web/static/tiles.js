// One frame in the grid. Tiles are few and used again: only those that are seen are in the document.
import { clock, drawBoxes, make, score, spoken, text } from "./parts.js";
import { DROP, FLAGGED, KEEP, REJECTED } from "./model.js";

export function newTile() {
  const picture = make("img", { alt: "", decoding: "async", draggable: false });
  const boxes = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  boxes.setAttribute("preserveAspectRatio", "xMidYMid meet");
  const tile = make("div", { role: "option", className: "tile" },
    make("div", { className: "shot" }, picture, boxes, make("span", { className: "reason" }), make("span", { className: "mark" })),
    make("div", { className: "caption" }, make("span", { className: "which" }), make("span", { className: "when" })));
  Object.assign(tile, { picture, boxes, mark: tile.querySelector(".mark"), reason: tile.querySelector(".reason"),
    which: tile.querySelector(".which"), when: tile.querySelector(".when"), item: -1 });
  picture.addEventListener("load", () => {
    tile.classList.remove("loading", "lost");
    tile.dispatchEvent(new CustomEvent("shape", { bubbles: true, detail: picture.naturalWidth / picture.naturalHeight }));
  });
  picture.addEventListener("error", () => {
    if (!picture.getAttribute("src")) return;
    tile.classList.remove("loading");
    tile.classList.add("lost");
  });
  return tile;
}

// What stands under the picture: the ordinal where the name ends in one, else the name.
function which(model, item) {
  const name = model.names[item], group = model.groups[model.group[item]].name;
  return name.startsWith(`${group}_`) ? name.slice(group.length + 1) : name;
}

export function because(model, item) {
  return model.reasonsOf(item).map((reason) => {
    const value = model.scores.get(reason)?.[item];
    return value === undefined || Number.isNaN(value) ? spoken(reason) : `${spoken(reason)} ${score(value)}`;
  });
}

export function verdictWords(model, item) {
  const machine = ["kept", "rejected", "flagged"][model.verdict[item]];
  const decision = model.decision[item];
  if (!decision) return machine;
  const who = model.pending[item] ? "not stored yet" : `by ${model.people.list[model.by[item]] || "nobody"}`;
  return `${decision === KEEP ? "keep" : "drop"}, ${who} (was ${machine})`;
}

// Show *item* in *tile*. *state* says whether it is selected, under the cursor, beyond a threshold.
export function fill(tile, model, item, state) {
  if (tile.item !== item) {
    tile.item = item;
    tile.id = `tile-${item}`;
    tile.classList.add("loading");
    tile.classList.remove("lost");
    tile.picture.removeAttribute("src");
    text(tile.which, which(model, item));
    text(tile.when, Number.isNaN(model.time[item]) ? "" : clock(model.time[item]));
    tile.title = model.names[item];
  }
  const decision = model.decision[item], verdict = model.verdict[item];
  const classes = tile.classList;
  classes.toggle("unwanted", !model.wanted(item));
  classes.toggle("doubt", !decision && verdict === FLAGGED);
  classes.toggle("person", Boolean(decision));
  classes.toggle("pending", Boolean(model.pending[item]));
  classes.toggle("beyond", state.beyond);
  classes.toggle("selected", state.selected);
  classes.toggle("cursor", state.cursor);
  const other = decision && !model.pending[item] && model.people.list[model.by[item]] !== state.me;
  const name = other ? ` ${model.people.list[model.by[item]]}` : "";
  text(tile.mark, decision === KEEP ? `\u2713${name}` : decision === DROP ? `\u2715${name}` : "");
  const reasons = because(model, item);
  text(tile.reason, reasons.join(", "));
  classes.toggle("rejected", verdict === REJECTED);
  tile.setAttribute("aria-selected", String(state.selected));
  const label = [model.names[item], verdictWords(model, item), ...reasons].join(", ");
  if (tile.getAttribute("aria-label") !== label) tile.setAttribute("aria-label", label);
  const boxes = model.boxes[item];
  if (boxes?.length && model.width[item]) drawBoxes(tile.boxes, boxes, model.width[item], model.height[item], state.least, false);
  else if (tile.boxes.firstChild) tile.boxes.replaceChildren();
}

export function load(tile, model) {
  if (!tile.picture.getAttribute("src")) tile.picture.src = model.thumb(tile.item);
}
