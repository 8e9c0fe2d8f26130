// One frame at full size, with its neighbours. The next ones are fetched before they are asked for.
import { $, clock, drawBoxes, make, score, spoken, text } from "./parts.js";
import { because, verdictWords } from "./tiles.js";

const NEIGHBOURS = 9, MOST_ZOOM = 12;

export class Viewer {
  constructor(model, grid) {
    Object.assign(this, { model, grid, zoom: 1, x: 0, y: 0, item: -1, ahead: [], least: 0 });
    this.dialog = $("viewer");
    this.picture = $("view-picture");
    $("view-close").addEventListener("click", () => this.dialog.close());
    for (const button of this.dialog.querySelectorAll("[data-turn]")) {
      button.addEventListener("click", () => this.turn(Number(button.dataset.turn)));
    }
    this.picture.addEventListener("load", () => {
      $("view-lost").hidden = true;
      this.picture.hidden = false;
      this.boxes();
      this.prepare();
    });
    this.picture.addEventListener("error", () => {
      if (!this.picture.getAttribute("src")) return;
      this.picture.hidden = true;
      $("view-lost").hidden = false;
    });
    this.strip = $("strip");
    this.strip.addEventListener("click", (event) => {
      const { position } = event.target.closest("[data-position]")?.dataset ?? {};
      if (position) this.to(Number(position));
    });
    this.gestures(this.dialog.querySelector(".view-frame"));
  }

  get open() {
    return this.dialog.open;
  }

  show() {
    if (this.grid.item() < 0) return;
    if (!this.open) this.dialog.showModal();
    this.refresh();
  }

  turn(step) {
    this.to(this.grid.cursor + step);
  }

  to(position) {
    this.grid.go(position, false);
    this.refresh();
  }

  refresh() {
    if (!this.open) return;
    const { model } = this, item = this.grid.item();
    if (item < 0) {
      this.dialog.close();
      return;
    }
    if (item !== this.item) {
      this.item = item;
      this.scale(1, 0, 0);
      this.picture.src = model.picture(item);
      this.picture.alt = model.names[item];
      $("view-boxes").replaceChildren();
      this.drawStrip();
    }
    text($("view-name"), model.names[item]);
    const reasons = because(model, item);
    text($("view-words"), [verdictWords(model, item), ...reasons].join(" \u00b7 "));
    $("view-words").className = model.wanted(item) ? (reasons.length ? "warn" : "ok") : "bad";
    this.facts(item);
    for (const shot of this.strip.children) shot.classList.toggle("unwanted", !model.wanted(Number(shot.dataset.item)));
  }

  facts(item) {
    const { model } = this;
    const facts = [["video", model.groups[model.group[item]].name], ["class", spoken(model.tags.list[model.tag[item]])],
      ["camera", model.cameras.list[model.camera[item]]], ["time", Number.isNaN(model.time[item]) ? "" : clock(model.time[item])],
      ["taken", model.ats[item]?.replace("T", " ").replace("Z", " UTC")],
      ["place", `${(this.grid.cursor + 1).toLocaleString("en-US")} of ${this.grid.shown.length.toLocaleString("en-US")}`]];
    $("view-facts").replaceChildren(...facts.filter(([, value]) => value)
      .map(([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
    const rows = [...model.scores].filter(([, scores]) => !Number.isNaN(scores[item])).map(([name, scores]) => {
      const row = make("div", { className: "score" }, make("span", { textContent: spoken(name) }),
        make("meter", { min: 0, max: Math.max(1, scores[item]), value: scores[item] }), make("b", { textContent: score(scores[item]) }));
      row.querySelector("meter").setAttribute("aria-label", spoken(name));
      return row;
    });
    $("view-scores").replaceChildren(...rows);
  }

  boxes() {
    const { model, item } = this, boxes = model.boxes[item];
    if (!boxes?.length) return;
    const width = model.width[item] || this.picture.naturalWidth, height = model.height[item] || this.picture.naturalHeight;
    drawBoxes($("view-boxes"), boxes, width, height, this.least, true);
  }

  drawStrip() {
    const { grid, model } = this, first = Math.max(0, grid.cursor - NEIGHBOURS);
    const last = Math.min(grid.shown.length, grid.cursor + NEIGHBOURS + 1), shots = [];
    const known = new Map([...this.strip.children].map((shot) => [shot.dataset.item, shot]));
    for (let position = first; position < last; position += 1) {
      const item = grid.shown[position];
      const shot = known.get(String(item)) || make("img", { alt: "", decoding: "async", src: model.thumb(item) });
      Object.assign(shot.dataset, { item, position });
      shot.classList.toggle("current", position === grid.cursor);
      shots.push(shot);
    }
    this.strip.replaceChildren(...shots);
    const current = this.strip.querySelector(".current");
    this.strip.scrollLeft = current.offsetLeft - (this.strip.clientWidth - current.clientWidth) / 2;
  }

  prepare() {
    const { grid, model } = this;
    this.ahead = [grid.cursor + 1, grid.cursor - 1, grid.cursor + 2].filter((place) => place >= 0 && place < grid.shown.length)
      .map((place) => Object.assign(new Image(), { src: model.picture(grid.shown[place]) }));
  }

  // -- zoom --

  scale(zoom, x, y) {
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
    const frame = this.dialog.querySelector(".view-frame");
    const spare = { x: (frame.clientWidth * (this.zoom - 1)) / 2, y: (frame.clientHeight * (this.zoom - 1)) / 2 };
    this.x = Math.min(spare.x, Math.max(-spare.x, x));
    this.y = Math.min(spare.y, Math.max(-spare.y, y));
    frame.firstElementChild.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    frame.classList.toggle("zoomed", this.zoom > 1);
  }

  zoomBy(factor, x = 0, y = 0) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor)), ratio = zoom / this.zoom;
    this.scale(zoom, x - (x - this.x) * ratio, y - (y - this.y) * ratio);
  }

  gestures(frame) {
    const offset = (event) => {
      const area = frame.getBoundingClientRect();
      return [event.clientX - area.left - area.width / 2, event.clientY - area.top - area.height / 2];
    };
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...offset(event));
    }, { passive: false });
    frame.addEventListener("dblclick", (event) => (this.zoom > 1 ? this.scale(1, 0, 0) : this.zoomBy(3, ...offset(event))));
    let drag = null;
    frame.addEventListener("pointerdown", (event) => {
      drag = { at: [event.clientX, event.clientY], from: [this.x, this.y] };
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (drag && this.zoom > 1) this.scale(this.zoom, drag.from[0] + event.clientX - drag.at[0], drag.from[1] + event.clientY - drag.at[1]);
    });
    frame.addEventListener("pointerup", (event) => {
      const moved = drag ? event.clientX - drag.at[0] : 0;
      drag = null;
      if (this.zoom === 1 && Math.abs(moved) > 60) this.turn(moved > 0 ? -1 : 1); // a swipe
    });
    frame.addEventListener("pointercancel", () => { drag = null; });
  }
}
