// What is shown: a view, facets, a search, times. The state is plain; `chosen` turns it into items in order.
import { $, make, number, spoken, text } from "./parts.js";
import { DROP, KEEP, NONE } from "./model.js";

const VIEWS = [["all", "All"], ["label", "To label"], ["faces", "Faces"], ["background", "Background only"]];
const VERDICTS = ["kept", "rejected", "flagged"];
const DECIDED = [["any", "all"], ["open", "undecided"], ["done", "decided"], ["keep", "kept by hand"], ["drop", "dropped by hand"]];

const fresh = () => ({ view: "all", group: "video", search: "", verdicts: new Set(), tags: new Set(), reasons: new Set(),
  cameras: new Set(), decided: "any", from: "", to: "", least: 0, only: false });

export class Filters {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.state = fresh();
    this.facets = new Map();
    this.seen = "";
    this.choice($("views"), "view", VIEWS);
    this.choice($("grouping"), "group", [["video", "By video"], ["class", "By class"]]);
    $("search").addEventListener("input", () => this.set("search", $("search").value.trim().toLowerCase()));
    $("reset").addEventListener("click", () => this.reset());
  }

  set(name, value) {
    this.state[name] = value;
    this.mark();
    this.changed();
  }

  reset() {
    const { group } = this.state;
    this.state = Object.assign(fresh(), { group });
    $("search").value = "";
    for (const input of $("facets").querySelectorAll("input, select")) input.value = input.dataset.none;
    this.mark();
    this.changed();
  }

  choice(root, name, options) {
    for (const [value, label] of options) {
      const button = make("button", { type: "button", textContent: label });
      button.dataset.value = value;
      button.addEventListener("click", () => this.set(name, value));
      root.append(button);
    }
    root.dataset.name = name;
    this.mark();
  }

  mark() {
    for (const root of [$("views"), $("grouping")]) {
      for (const button of root.children) button.setAttribute("aria-pressed", String(button.dataset.value === this.state[root.dataset.name]));
    }
    for (const [name, chips] of this.facets) {
      for (const [value, chip] of chips) chip.setAttribute("aria-pressed", String(this.state[name].has(value)));
    }
  }

  // Show the values there are, and how many items have each.
  refresh() {
    const { model } = this;
    const counts = { verdicts: new Map(), tags: new Map(), reasons: new Map(), cameras: new Map() };
    const add = (map, value) => map.set(value, (map.get(value) || 0) + 1);
    for (let item = 0; item < model.count; item += 1) {
      add(counts.verdicts, VERDICTS[model.verdict[item]]);
      add(counts.tags, model.tag[item]);
      add(counts.cameras, model.camera[item]);
      for (const reason of model.reasonsOf(item)) add(counts.reasons, reason);
    }
    const named = (map, names) => new Map([...map].map(([value, count]) => [names.list[value], count]));
    this.facet("verdicts", "Verdict", counts.verdicts, 1);
    this.select();
    this.facet("reasons", "Reason", counts.reasons, 1);
    this.facet("tags", "Class", named(counts.tags, model.tags), 1);
    this.facet("cameras", "Camera", named(counts.cameras, model.cameras), 2);
    if (model.hasTimes) this.times();
    if (model.hasBoxes) this.confidence();
  }

  facet(name, title, counts, least) {
    if (counts.size < least) return;
    if (!this.facets.has(name)) {
      this.facets.set(name, new Map());
      const list = make("div", { className: "chips", id: `facet-${name}`, role: "group" });
      list.setAttribute("aria-label", title);
      $("facets").append(make("div", { className: "facet" }, make("h3", { textContent: title }), list));
    }
    const chips = this.facets.get(name), list = $(`facet-${name}`);
    for (const [value, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
      let chip = chips.get(value);
      if (!chip) {
        chip = make("button", { type: "button", className: "chip" }, make("span", { textContent: spoken(value) || "none" }), make("i"));
        chip.dataset.value = value;
        chip.setAttribute("aria-pressed", "false");
        chip.addEventListener("click", () => {
          const set = this.state[name];
          if (!set.delete(value)) set.add(value);
          this.mark();
          this.changed();
        });
        chips.set(value, chip);
        list.append(chip);
      }
      text(chip.lastChild, number(count));
    }
  }

  field(id, title, input, name) {
    input.id = id;
    input.dataset.none = input.value;
    input.addEventListener("input", () => this.set(name, input.type === "range" ? Number(input.value) : input.value));
    const label = make("label", { textContent: title });
    label.setAttribute("for", id);
    $("facets").append(make("div", { className: "facet line" }, label, input));
  }

  select() {
    if ($("decided-filter")) return;
    const options = DECIDED.map(([value, label]) => make("option", { value, textContent: label }));
    this.field("decided-filter", "Decision", make("select", {}, ...options), "decided");
  }

  times() {
    if ($("from")) return;
    this.field("from", "From (UTC)", make("input", { type: "datetime-local" }), "from");
    this.field("to", "To (UTC)", make("input", { type: "datetime-local" }), "to");
  }

  confidence() {
    if ($("confidence")) return;
    this.field("confidence", "Confidence", make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0 }), "least");
    const output = make("output", { textContent: "any" });
    $("confidence").after(output);
    $("confidence").addEventListener("input", () => text(output, this.state.least ? `from ${this.state.least.toFixed(2)}` : "any"));
  }

  passes(item, tags, cameras) {
    const { model, state } = this;
    if (state.view === "label" && !model.wanted(item)) return false;
    if (state.view === "faces" && !this.speaks(item, "faces", 1)) return false;
    if (state.view === "background" && !this.speaks(item, "background", Infinity)) return false;
    if (state.verdicts.size && !state.verdicts.has(VERDICTS[model.verdict[item]])) return false;
    if (tags && !tags.has(model.tag[item])) return false;
    if (cameras && !cameras.has(model.camera[item])) return false;
    if (state.reasons.size && !model.reasonsOf(item).some((reason) => state.reasons.has(reason))) return false;
    const decision = model.decision[item];
    if (state.decided === "open" && decision !== NONE) return false;
    if (state.decided === "done" && decision === NONE) return false;
    if (state.decided === "keep" && decision !== KEEP) return false;
    if (state.decided === "drop" && decision !== DROP) return false;
    if (state.search && !model.names[item].toLowerCase().includes(state.search)
      && !model.groups[model.group[item]].name.toLowerCase().includes(state.search)) return false;
    if (state.from && !(model.ats[item]?.slice(0, 16) >= state.from)) return false;
    if (state.to && !(model.ats[item]?.slice(0, 16) <= state.to)) return false;
    return !state.least || Boolean(model.boxes[item]?.some((box) => box[5] === null || box[5] >= state.least));
  }

  // Whether a judge speaks against the item, or its score reaches *least*.
  speaks(item, judge, least) {
    return this.model.reasonsOf(item).includes(judge) || this.model.scores.get(judge)?.[item] >= least;
  }

  // The items that pass, in the order in which they are shown, and the sections they fall into.
  chosen(mask) {
    const { model, state } = this;
    const numbers = (set, names) => set.size ? new Set([...set].map((value) => names.numbers.get(value))) : null;
    const tags = numbers(state.tags, model.tags), cameras = numbers(state.cameras, model.cameras);
    let shown = new Uint32Array(model.count), size = 0;
    for (let item = 0; item < model.count; item += 1) {
      if ((!state.only || mask[item]) && this.passes(item, tags, cameras)) shown[size++] = item;
    }
    shown = shown.subarray(0, size);
    const byClass = state.group === "class";
    if (byClass) {
      const place = new Map([...model.tags.list.keys()].sort((a, b) => (model.tags.list[a] < model.tags.list[b] ? -1 : 1)).map((tag, at) => [tag, at]));
      shown.sort((a, b) => place.get(model.tag[a]) - place.get(model.tag[b]) || a - b);
    }
    const key = byClass ? model.tag : model.group, sections = [];
    for (let start = 0, end = 0; start < size; start = end) {
      while (end < size && key[shown[end]] === key[shown[start]]) end += 1;
      const tag = model.tags.list[model.tag[shown[start]]];
      if (byClass) sections.push({ label: spoken(tag) || "no class", note: "", start, end });
      else sections.push({ label: model.groups[model.group[shown[start]]].name, note: tag, start, end });
    }
    return { shown, sections };
  }
}
