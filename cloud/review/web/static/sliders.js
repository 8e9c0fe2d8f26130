// A slider for each score: what a threshold there would save, at once, before anybody drops anything.
import { $, dollars, make, many, number, once, score, spoken, text } from "./parts.js";

const BARS = 48, HEIGHT = 44;

export class Sliders {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.limits = new Map();
    this.rows = new Map();
    this.shown = new Uint32Array(0);
    this.found = { mask: new Uint8Array(0), total: 0, labels: 0, counts: new Map() };
    this.count = once(() => this.countNow());
  }

  // The items the thresholds are about.
  about(shown) {
    this.shown = shown;
    for (const name of this.model.scores.keys()) if (!this.rows.has(name)) this.add(name);
    $("thresholds").hidden = this.rows.size === 0;
    this.countNow();
    this.drawBars();
  }

  add(name) {
    const id = `slider-${name}`, label = make("label", { textContent: spoken(name) });
    const range = make("input", { type: "range", id, className: "limit" });
    const exact = make("input", { type: "number", step: "any", className: "exact", placeholder: "off" });
    exact.setAttribute("aria-label", `threshold of ${spoken(name)}`);
    label.setAttribute("for", id);
    const bars = make("canvas", { height: HEIGHT });
    bars.setAttribute("aria-hidden", "true");
    const words = make("output", { className: "soft" });
    const row = make("div", { className: "slider" }, make("div", { className: "row" }, label, exact), bars, range, words);
    row.dataset.score = name;
    const parts = { row, range, exact, bars, words, low: 0, high: 1, step: 0.01 };
    range.addEventListener("input", () => {
      const value = Number(range.value);
      this.set(name, value > parts.high + parts.step / 2 ? null : Number(value.toFixed(4)), exact);
    });
    exact.addEventListener("input", () => this.set(name, exact.value === "" ? null : Number(exact.value), range));
    this.rows.set(name, parts);
    $("sliders").append(row);
  }

  set(name, limit) {
    const { range, exact, high, step } = this.rows.get(name);
    if (limit === null) this.limits.delete(name);
    else this.limits.set(name, limit);
    if (document.activeElement !== exact) exact.value = limit === null ? "" : limit;
    if (document.activeElement !== range) range.value = limit === null ? high + step : limit;
    range.setAttribute("aria-valuetext", limit === null ? "off" : `from ${limit}`);
    this.count();
    this.drawSoon ??= once(() => this.drawBars());
    this.drawSoon();
  }

  clear() {
    for (const name of [...this.limits.keys()]) this.set(name, null);
  }

  countNow() {
    const { model } = this;
    this.found = model.beyond(this.shown, this.limits);
    for (const [name, { words }] of this.rows) {
      const saved = this.found.counts.get(name);
      if (saved === undefined) text(words, "off");
      else if (model.isBought) text(words, `drops ${many(saved, "picture")}`);
      else text(words, `saves ${many(saved, "label")}, ${dollars(saved * model.price)}`);
    }
    const { total, labels } = this.found;
    $("together").hidden = !this.limits.size;
    const left = labels - total;
    if (model.isBought) text($("together-words"), `Together ${many(total, "picture")}. ${number(left)} left.`);
    else text($("together-words"), `Together ${many(total, "label")}, ${dollars(total * model.price)} saved. ${number(left)} left for ${dollars(left * model.price)}.`);
    text($("drop-beyond"), `Drop ${number(total)}`);
    $("drop-beyond").disabled = total === 0;
    this.changed();
  }

  // Where the scores of what is shown and would be labelled lie; the bars show square roots, so that few are seen too.
  drawBars() {
    for (const [name, parts] of this.rows) {
      const scores = this.model.scores.get(name);
      let low = Infinity, high = -Infinity, whole = true;
      for (const item of this.shown) {
        const value = scores[item];
        if (Number.isNaN(value)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
        whole &&= Number.isInteger(value);
      }
      parts.row.hidden = low === Infinity;
      if (low === Infinity) continue;
      if (high <= 1 && !(whole && name === "faces")) [low, high, whole] = [0, 1, false];
      this.bound(name, parts, low, high, whole ? 1 : (high - low) / 200);
      this.drawRow(parts, scores, low, high > low ? high : low + 1, this.limits.get(name));
    }
  }

  bound(name, parts, low, high, step) {
    if (parts.low === low && parts.high === high && parts.range.max) return;
    Object.assign(parts, { low, high, step });
    const limit = this.limits.get(name);
    Object.assign(parts.range, { min: low, max: high + step, step: step === 1 ? 1 : step });
    parts.range.value = limit ?? high + step;
    parts.range.setAttribute("aria-valuetext", limit === undefined ? "off" : `from ${limit}`);
    parts.exact.min = low;
    parts.exact.title = `${score(low)} to ${score(high)}; what has this or more is dropped`;
  }

  drawRow({ bars }, scores, low, high, limit) {
    const heights = new Float64Array(BARS), width = bars.clientWidth, dense = devicePixelRatio;
    if (!width) return;
    for (const item of this.shown) {
      if (!this.model.wanted(item) || Number.isNaN(scores[item])) continue;
      heights[Math.min(BARS - 1, Math.floor(((scores[item] - low) / (high - low)) * BARS))] += 1;
    }
    const most = Math.sqrt(Math.max(1, ...heights)), style = getComputedStyle(bars);
    bars.width = width * dense;
    bars.height = HEIGHT * dense;
    const brush = bars.getContext("2d");
    brush.scale(dense, dense);
    heights.forEach((count, bar) => {
      if (!count) return;
      const tall = Math.max(2, (Math.sqrt(count) / most) * HEIGHT);
      const cut = limit !== undefined && low + ((bar + 0.5) / BARS) * (high - low) >= limit;
      brush.fillStyle = style.getPropertyValue(cut ? "--bad" : "--fill");
      brush.fillRect((bar * width) / BARS, HEIGHT - tall, width / BARS - 1, tall);
    });
  }
}
