// All items, in columns of typed arrays: fifty thousand are filtered and counted within a few milliseconds.
export const KEPT = 0, REJECTED = 1, FLAGGED = 2;
export const NONE = 0, KEEP = 1, DROP = 2;
export const WORDS = [null, "keep", "drop"];
const VERDICTS = { k: KEPT, r: REJECTED, f: FLAGGED };

// Values there are, and the number of each.
class Names {
  constructor() {
    this.list = [];
    this.numbers = new Map();
  }

  number(value, key = value) {
    let found = this.numbers.get(key);
    if (found === undefined) {
      found = this.list.length;
      this.numbers.set(key, found);
      this.list.push(value);
    }
    return found;
  }
}

const at = (column, place) => (Array.isArray(column) ? column[place] : column);

export class Model {
  constructor() {
    this.count = 0;
    this.price = 0;
    this.run = "";
    this.ids = [];
    this.names = [];
    this.ats = [];
    this.boxes = [];
    this.index = new Map();
    this.groups = [];
    this.tags = new Names();
    this.reasonSets = new Names();
    this.cameras = new Names();
    this.people = new Names();
    this.people.number("");
    this.scores = new Map();
    this.early = new Map();
    this.hasTimes = this.hasBoxes = false;
    this.size = 4096;
    for (const [name, kind] of Object.entries(Model.columns)) this[name] = new kind(this.size);
  }

  static columns = { verdict: Uint8Array, decision: Uint8Array, saved: Uint8Array, pending: Uint8Array, by: Uint16Array,
    group: Uint32Array, tag: Uint32Array, reasons: Uint32Array, camera: Uint32Array, time: Float64Array,
    width: Uint32Array, height: Uint32Array };

  grow(needed) {
    if (needed <= this.size) return;
    while (this.size < needed) this.size *= 2;
    const grown = (old) => {
      const array = new old.constructor(this.size);
      array.set(old);
      return array;
    };
    for (const name of Object.keys(Model.columns)) this[name] = grown(this[name]);
    for (const [name, old] of this.scores) this.scores.set(name, grown(old).fill(NaN, old.length));
  }

  // Take in what the server packed, see columns.py.
  append(chunk) {
    const first = this.count;
    this.grow(first + chunk.id.length);
    const numbered = ([values, of], names, key) => {
      const numbers = values.map((value) => names.number(value, key ? key(value) : value));
      return (place) => numbers[at(of, place)];
    };
    const tag = numbered(chunk.tag, this.tags);
    const reasons = numbered(chunk.reasons, this.reasonSets, JSON.stringify);
    const camera = numbered(chunk.camera, this.cameras);
    let place = 0;
    for (const [name, size] of chunk.groups) {
      const group = this.groups.push({ name, start: first + place, end: first + place + size }) - 1;
      for (const end = place + size; place < end; place += 1) {
        const item = first + place;
        const id = chunk.id[place][0] === "+" ? name + chunk.id[place].slice(1) : chunk.id[place].slice(1);
        this.ids.push(id);
        this.names.push(at(chunk.name, place) ?? id);
        this.index.set(id, item);
        this.group[item] = group;
        this.verdict[item] = VERDICTS[chunk.verdict[place]];
        this.tag[item] = tag(place);
        this.reasons[item] = reasons(place);
        this.camera[item] = camera(place);
        this.time[item] = at(chunk.time, place) ?? NaN;
        this.width[item] = at(chunk.width, place) ?? 0;
        this.height[item] = at(chunk.height, place) ?? 0;
        this.ats.push(at(chunk.at, place));
        this.boxes.push(chunk.boxes ? chunk.boxes[place] : null);
      }
    }
    this.hasTimes ||= chunk.at !== null;
    this.hasBoxes ||= Boolean(chunk.boxes);
    this.takeScores(chunk, first);
    this.count += chunk.id.length;
    for (const [id, [word, by]] of this.early) if (this.index.has(id) && this.hear(id, word, by)) this.early.delete(id);
  }

  takeScores(chunk, first) {
    for (const [name, column] of Object.entries(chunk.scores)) {
      if (!this.scores.has(name)) this.scores.set(name, new Float64Array(this.size).fill(NaN));
      const scores = this.scores.get(name);
      for (let place = 0; place < chunk.id.length; place += 1) scores[first + place] = at(column, place) ?? NaN;
    }
  }

  // Someone's decision, as the server has stored it. What this page still wants to store stays as it is.
  hear(id, word, by) {
    const item = this.index.get(id);
    if (item === undefined) {
      this.early.set(id, [word, by]);
      return false;
    }
    this.saved[item] = word;
    this.by[item] = this.people.number(by);
    if (!this.pending[item]) this.decision[item] = word;
    return true;
  }

  // Whether it will be labelled: a person's word wins over the machine's.
  wanted(item) {
    return this.decision[item] ? this.decision[item] === KEEP : this.verdict[item] !== REJECTED;
  }

  reasonsOf(item) {
    return this.reasonSets.list[this.reasons[item]];
  }

  // Of labels that came back nothing is to be bought any more: then no label has a price.
  get isBought() {
    return this.price === null;
  }

  get wantedWords() {
    return this.isBought ? "kept" : "to label";
  }

  totals() {
    let labels = 0, decided = 0;
    for (let item = 0; item < this.count; item += 1) {
      if (this.wanted(item)) labels += 1;
      if (this.decision[item]) decided += 1;
    }
    return { labels, decided, usd: labels * this.price };
  }

  // How many of *shown* each limit (score by name, in order) would save, a frame counted for the first that hits it.
  // `mask` has 1 for each. A frame that a person kept, or that is not to be labelled anyway, is no saving.
  beyond(shown, limits) {
    const mask = new Uint8Array(this.count);
    const active = [...this.scores].filter(([name]) => limits.has(name)).map(([name, scores]) => [scores, limits.get(name)]);
    const counts = new Array(active.length).fill(0);
    let total = 0, labels = 0;
    for (const item of shown) {
      if (!this.wanted(item)) continue;
      labels += 1;
      if (this.decision[item] === KEEP) continue;
      for (let judge = 0; judge < active.length; judge += 1) {
        if (active[judge][0][item] >= active[judge][1]) {
          counts[judge] += 1;
          mask[item] = 1;
          total += 1;
          break;
        }
      }
    }
    const names = [...this.scores.keys()].filter((name) => limits.has(name));
    return { mask, total, labels, counts: new Map(names.map((name, judge) => [name, counts[judge]])) };
  }

  thumb(item) {
    return `/thumb/${encodeURIComponent(this.ids[item])}?${this.run}`;
  }

  picture(item) {
    return `/picture/${encodeURIComponent(this.ids[item])}?${this.run}`;
  }
}
