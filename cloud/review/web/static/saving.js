// Decisions on their way to the store: shown at once, marked until they are stored, tried again for as long as it takes.
import { $, many, say, text, complain } from "./parts.js";
import { DROP, KEEP, NONE, WORDS } from "./model.js";

const BATCH = 4000;
const LONGEST_WAIT = 8000;

export class Saver {
  constructor(model, changed, locked) {
    this.model = model;
    this.changed = changed;
    this.locked = locked;
    this.waiting = new Map();
    this.steps = [];
    this.sending = false;
    this.lost = false;
    this.wait = 500;
    this.timer = 0;
    this.by = "";
    addEventListener("beforeunload", (event) => {
      if (this.waiting.size) event.preventDefault();
    });
  }

  // Decide on *items*; one step to undo.
  decide(items, word) {
    const step = [];
    for (const item of items) {
      if (this.model.decision[item] === word) continue;
      step.push([item, this.model.decision[item]]);
      this.put(item, word);
    }
    if (!step.length) return 0;
    this.steps.push(step);
    this.go();
    return step.length;
  }

  undo() {
    const step = this.steps.pop();
    if (!step) return [];
    for (const [item, word] of step) this.put(item, word);
    this.go();
    say(`undone: ${many(step.length, "decision")}`);
    return step.map(([item]) => item);
  }

  put(item, word) {
    this.model.decision[item] = word;
    this.model.pending[item] = 1;
    this.waiting.set(item, word);
  }

  go() {
    this.changed();
    this.tell();
    if (!this.sending) this.send();
  }

  async send() {
    clearTimeout(this.timer);
    this.sending = true;
    while (this.waiting.size) {
      const batch = this.batch();
      try {
        const failed = await this.post(batch);
        this.lost = false;
        this.wait = 500;
        this.settle(batch, failed);
      } catch (error) {
        if (error.status === 401) this.locked();
        this.lost = true;
        this.why = error.message;
        this.timer = setTimeout(() => this.send(), this.wait);
        this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
        break;
      }
    }
    this.sending = false;
    this.changed();
    this.tell();
  }

  batch() {
    const batch = new Map();
    for (const [item, word] of this.waiting) {
      if (batch.size >= BATCH) break;
      batch.set(item, word);
    }
    return batch;
  }

  async post(batch) {
    const changes = Object.fromEntries([...batch].map(([item, word]) => [this.model.ids[item], WORDS[word]]));
    let answer;
    try {
      answer = await fetch("/api/decisions", { method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ by: this.by, changes }) });
    } catch {
      throw new Error("no connection");
    }
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said.failed;
    if (answer.status === 400 || answer.status === 413) return Object.fromEntries(Object.keys(changes).map((id) => [id, said.error]));
    throw Object.assign(new Error(said.error || `the server answered ${answer.status}`), { status: answer.status });
  }

  settle(batch, failed) {
    const { model } = this;
    for (const [item, word] of batch) {
      if (this.waiting.get(item) !== word) continue; // decided anew meanwhile
      this.waiting.delete(item);
      model.pending[item] = 0;
      if (model.ids[item] in failed) model.decision[item] = model.saved[item];
      else {
        model.saved[item] = word;
        model.by[item] = model.people.number(word === NONE ? "" : this.by);
      }
    }
    const lost = Object.entries(failed);
    if (lost.length) complain(`${many(lost.length, "decision")} could not be stored and ${lost.length === 1 ? "was" : "were"} taken back. ${lost[0][1]}`);
  }

  tell() {
    const pill = $("saved"), left = this.waiting.size;
    pill.className = `pill ${this.lost ? "bad" : left ? "idle" : "ok"}`;
    if (this.lost) text(pill, left ? `${this.why}: ${many(left, "decision")} waiting` : this.why);
    else text(pill, left ? `saving ${left.toLocaleString("en-US")}` : "all saved");
  }

  connection(there, why = "no connection") {
    this.why = why;
    if (this.lost === !there) return;
    this.lost = !there;
    this.tell();
    if (there && this.waiting.size && !this.sending) this.send();
  }
}

// Server-sent events: everything that stands when the line opens, then what changes.
export function follow(model, saver, { changed, findings, locked }) {
  const source = new EventSource("/api/events");
  const take = (document) => {
    const told = new Map();
    for (const [by, words] of Object.entries(document)) {
      for (const [word, ids] of Object.entries(words)) {
        const number = { keep: KEEP, drop: DROP, none: NONE }[word];
        for (const id of ids) {
          const item = model.index.get(id);
          if (by && by !== saver.by && (item === undefined || model.saved[item] !== number)) {
            told.set(by, (told.get(by) || 0) + 1);
          }
          model.hear(id, number, by);
        }
      }
    }
    return told;
  };
  source.addEventListener("standing", (event) => {
    saver.connection(true);
    saver.tell();
    for (let item = 0; item < model.count; item += 1) {
      model.saved[item] = NONE;
      if (!model.pending[item]) model.decision[item] = NONE;
    }
    model.early.clear();
    take(JSON.parse(event.data));
    changed();
  });
  source.addEventListener("decided", (event) => {
    for (const [by, count] of take(JSON.parse(event.data))) say(`${by} decided on ${many(count, "frame")}`);
    changed();
  });
  source.addEventListener("findings", (event) => findings(JSON.parse(event.data)));
  source.addEventListener("trouble", (event) => {
    const why = JSON.parse(event.data);
    if (why) saver.connection(false, why);
    else saver.connection(true);
  });
  source.addEventListener("error", () => {
    saver.connection(false);
    if (source.readyState === EventSource.CLOSED) {
      fetch("/api/decisions", { method: "POST", body: "{}" }).then((answer) => answer.status === 401 && locked(), () => {});
      setTimeout(() => follow(model, saver, { changed, findings, locked }), 3000);
    }
  });
}
