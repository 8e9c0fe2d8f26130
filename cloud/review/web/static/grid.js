// The grid: every frame has its place, only those in view are in the document. One scroll container.
import { make, many, once, spoken, text } from "./parts.js";
import { fill, load, newTile } from "./tiles.js";

const HEADER = 46, GAP = 8, CAPTION = 27, AHEAD = 500;
const FAST = 4; // screens a second: so fast nobody looks, and pictures would only be asked for in vain
const SETTLED = 90;
const SMALLEST = -3, LARGEST = 1; // steps of the size of a tile; beyond, thumbnails would be blown up

export class Grid {
  constructor(root, canvas, model, tell) {
    Object.assign(this, { root, canvas, model, tell });
    this.sections = [];
    this.shown = new Uint32Array(0);
    this.tops = new Float64Array(0);
    this.cursor = -1;
    this.anchor = -1;
    this.selected = new Set();
    this.mask = new Uint8Array(0);
    this.least = 0;
    this.me = "";
    this.shape = 16 / 10;
    this.shaped = false;
    this.size = 0;
    this.tiles = new Map();
    this.heads = new Map();
    this.spare = [];
    this.pool = [];
    this.draw = once(() => this.drawNow());
    this.settle = 0;
    this.last = [0, 0];
    root.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(root);
    canvas.addEventListener("shape", (event) => this.learnShape(event.detail));
  }

  // Sections ({label, note, start, end} into *shown*) in order.
  show(shown, sections) {
    const former = this.item();
    this.shown = shown;
    this.sections = sections;
    this.places = null;
    const kept = new Set(this.selected.size ? shown : []);
    this.selected = new Set([...this.selected].filter((item) => kept.has(item)));
    this.cursor = former < 0 ? -1 : shown.indexOf(former);
    this.anchor = this.cursor;
    for (const head of this.heads.values()) head.remove();
    this.heads.clear();
    this.layout();
  }

  item() {
    return this.cursor < 0 ? -1 : this.shown[this.cursor];
  }

  // All pictures of a camera have one shape; that of the first one seen is that of the tiles.
  learnShape(shape) {
    if (this.shaped || !Number.isFinite(shape)) return;
    this.shaped = true;
    this.shape = Math.min(16 / 9, Math.max(0.8, shape));
    this.layout();
  }

  layout() {
    const width = this.root.clientWidth - 2 * GAP;
    if (width <= 0) return;
    const wanted = (width < 520 ? 165 : 215) * 1.3 ** this.size;
    this.columns = Math.max(1, Math.floor((width + GAP) / (wanted + GAP)));
    this.across = Math.floor((width + GAP) / this.columns) - GAP;
    this.shot = Math.round(this.across / this.shape);
    this.down = this.shot + CAPTION + GAP;
    this.canvas.style.setProperty("--across", `${this.across}px`);
    this.canvas.classList.toggle("narrow", this.across < 120);
    this.canvas.style.setProperty("--shot", `${this.shot}px`);
    const first = this.topItem();
    this.tops = new Float64Array(this.sections.length + 1);
    this.sections.forEach((section, place) => {
      const rows = Math.ceil((section.end - section.start) / this.columns);
      this.tops[place + 1] = this.tops[place] + HEADER + rows * this.down;
    });
    this.canvas.style.height = `${this.tops[this.sections.length] + GAP}px`;
    if (first !== null && this.root.scrollTop > 0) this.root.scrollTop = this.topOf(Math.min(first, this.shown.length - 1));
    this.draw();
  }

  // Tiles *size* steps larger than usual; the frame under the cursor stays in view.
  resize(size) {
    this.size = Math.min(LARGEST, Math.max(SMALLEST, size || 0));
    const seen = this.tiles.has(this.item());
    this.layout();
    if (seen) this.reveal();
  }

  topItem() {
    if (!this.laid || this.root.scrollTop < HEADER) return null;
    return this.laid.first;
  }

  sectionAt(y) {
    let low = 0, high = this.sections.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  sectionOf(position) {
    let low = 0, high = this.sections.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.sections[middle].start <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  topOf(position) {
    if (position < 0) return 0;
    const section = this.sectionOf(position);
    const row = Math.floor((position - this.sections[section].start) / this.columns);
    return this.tops[section] + HEADER + row * this.down;
  }

  scrolled() {
    const now = performance.now(), [before, where] = this.last, top = this.root.scrollTop;
    const screens = Math.abs(top - where) / this.root.clientHeight;
    this.last = [now, top];
    this.fast = screens > 1 || (now > before && (screens * 1000) / (now - before) > FAST);
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      this.fast = false;
      this.draw();
    }, SETTLED);
    this.draw();
  }

  drawNow() {
    const top = this.root.scrollTop, low = top - AHEAD / 2, high = top + this.root.clientHeight + AHEAD;
    const seen = new Map(), heads = new Set();
    let first = null;
    for (let place = this.sectionAt(Math.max(0, low)); place < this.sections.length && this.tops[place] < high; place += 1) {
      const section = this.sections[place], base = this.tops[place] + HEADER;
      if (this.tops[place] + HEADER > low) heads.add(place);
      const from = Math.max(0, Math.floor((low - base) / this.down)), to = Math.ceil((high - base) / this.down);
      const end = Math.min(section.end, section.start + Math.max(0, to) * this.columns);
      for (let position = section.start + from * this.columns; position < end; position += 1) {
        const y = base + Math.floor((position - section.start) / this.columns) * this.down;
        if (first === null && y + this.down > top) first = position;
        seen.set(this.shown[position], [position, y, GAP + ((position - section.start) % this.columns) * (this.across + GAP)]);
      }
    }
    this.laid = { first };
    this.drawHeads(heads);
    this.drawTiles(seen);
    const current = this.item();
    if (current >= 0 && this.tiles.has(current)) this.root.setAttribute("aria-activedescendant", `tile-${current}`);
    else this.root.removeAttribute("aria-activedescendant");
  }

  drawTiles(seen) {
    for (const [item, tile] of this.tiles) {
      if (seen.has(item)) continue;
      this.tiles.delete(item);
      this.spare.push(tile);
    }
    for (const [item, [position, y, x]] of seen) {
      let tile = this.tiles.get(item);
      if (!tile) {
        tile = this.spare.pop() || this.pool.pop() || newTile();
        this.tiles.set(item, tile);
        if (!tile.isConnected) this.canvas.append(tile);
      }
      const state = { selected: this.selected.has(item), cursor: position === this.cursor, beyond: this.mask[item] === 1,
        least: this.least, me: this.me };
      fill(tile, this.model, item, state);
      const place = `translate(${x}px, ${y}px)`;
      if (tile.style.transform !== place) tile.style.transform = place;
      tile.setAttribute("aria-posinset", position + 1);
      tile.setAttribute("aria-setsize", this.shown.length);
      if (!this.fast) load(tile, this.model);
    }
    for (const tile of this.spare.splice(0)) {
      tile.remove();
      tile.picture.removeAttribute("src");
      tile.item = -1;
      if (this.pool.length < 60) this.pool.push(tile);
    }
  }

  drawHeads(wanted) {
    for (const [place, head] of this.heads) {
      if (wanted.has(place)) continue;
      head.remove();
      this.heads.delete(place);
    }
    for (const place of wanted) {
      const section = this.sections[place];
      let head = this.heads.get(place);
      if (!head) {
        head = make("div", { className: "head", role: "presentation" }, make("h3", { textContent: section.label, title: section.label }),
          make("span", { className: "tag", textContent: spoken(section.note) }), make("span", { className: "soft" }));
        this.heads.set(place, head);
        this.canvas.append(head);
      }
      let labels = 0;
      for (let position = section.start; position < section.end; position += 1) labels += this.model.wanted(this.shown[position]);
      text(head.lastChild, `${labels.toLocaleString("en-US")} of ${many(section.end - section.start, "frame")} ${this.model.wantedWords}`);
      head.style.transform = `translate(${GAP}px, ${this.tops[place]}px)`;
    }
  }

  // -- moving and selecting --

  go(position, extend) {
    if (!this.shown.length) return;
    this.cursor = Math.min(this.shown.length - 1, Math.max(0, position));
    if (!extend) this.anchor = this.cursor;
    if (this.anchor < 0) this.anchor = this.cursor;
    const [from, to] = [Math.min(this.anchor, this.cursor), Math.max(this.anchor, this.cursor)];
    this.selected = new Set(this.shown.subarray(from, to + 1));
    this.reveal();
    this.tell();
    this.draw();
  }

  // The frame above or below, also across the end of a video.
  row(step) {
    if (this.cursor < 0) return 0;
    const place = this.sectionOf(this.cursor), section = this.sections[place];
    const column = (this.cursor - section.start) % this.columns, position = this.cursor + step * this.columns;
    if (position >= section.start && position < section.end) return position;
    const last = section.end - 1;
    if (step > 0 && Math.floor((last - section.start) / this.columns) > Math.floor((this.cursor - section.start) / this.columns)) return last;
    const next = this.sections[place + step];
    if (!next) return this.cursor;
    if (step > 0) return Math.min(next.end - 1, next.start + column);
    const start = next.start + Math.floor((next.end - 1 - next.start) / this.columns) * this.columns;
    return Math.min(next.end - 1, start + column);
  }

  section(step) {
    const place = this.cursor < 0 ? 0 : this.sectionOf(this.cursor) + step;
    return this.sections[Math.min(this.sections.length - 1, Math.max(0, place))]?.start ?? 0;
  }

  selectSection() {
    if (this.cursor < 0) return;
    const { start, end } = this.sections[this.sectionOf(this.cursor)];
    this.anchor = start;
    this.cursor = end - 1;
    this.selected = new Set(this.shown.subarray(start, end));
    this.tell();
    this.draw();
  }

  toggle(position) {
    const item = this.shown[position];
    if (!this.selected.delete(item)) this.selected.add(item);
    this.cursor = this.anchor = position;
    this.tell();
    this.draw();
  }

  reveal() {
    const top = this.topOf(this.cursor), { scrollTop, clientHeight } = this.root;
    const section = this.sections[this.sectionOf(this.cursor)];
    const above = this.cursor - section.start < this.columns ? HEADER : GAP;
    if (top - above < scrollTop) this.root.scrollTop = top - above;
    else if (top + this.down > scrollTop + clientHeight) this.root.scrollTop = top + this.down - clientHeight;
  }

  // After a decision: on to the frame behind what was decided.
  advance(items) {
    if (!items.length) return;
    if (!this.places) this.places = new Map(Array.from(this.shown, (item, position) => [item, position]));
    let last = 0;
    for (const item of items) last = Math.max(last, this.places.get(item) ?? 0);
    this.go(last + 1, false);
  }

  positionAt(target) {
    const tile = target.closest?.(".tile");
    if (!tile) return -1;
    const { item } = tile;
    if (!this.places) this.places = new Map(Array.from(this.shown, (one, position) => [one, position]));
    return this.places.get(item) ?? -1;
  }
}
