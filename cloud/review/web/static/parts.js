// Small things that all of the page uses. Everything shown is set as text, never as markup: names come from outside.
export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export const spoken = (word) => word.replaceAll("_", " ");
export const number = (value) => value.toLocaleString("en-US");
export const many = (count, thing) => `${number(count)} ${thing}${count === 1 ? "" : "s"}`;
export const dollars = (usd) => `$${usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
export const score = (value) => String(Math.round(value * 10000) / 10000);

export function clock(seconds) {
  const milliseconds = Math.round(seconds * 1000);
  const minutes = Math.floor(milliseconds / 60000);
  return `${minutes}:${((milliseconds % 60000) / 1000).toFixed(1).padStart(4, "0")}`;
}

// At most once before the next picture is drawn, however often it is asked for.
export function once(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

let silence = 0;

export function say(words) {
  text($("said"), words);
  clearTimeout(silence);
  silence = setTimeout(() => text($("said"), ""), 6000);
}

export function complain(words) {
  text($("problem").querySelector("p"), words);
  $("problem").hidden = false;
}

const SVG = "http://www.w3.org/2000/svg";

function hue(label) {
  let sum = 7;
  for (const letter of label) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

// Draw *boxes* ([label, left, top, width, height, confidence]) over a picture of that size, in pixels. A name that would
// be written over another stands at the lower edge: the later box, which is drawn over the earlier one, chooses first.
export function drawBoxes(svg, boxes, width, height, least, names) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const size = Math.max(width, height) / 48, taken = [], named = [];
  for (const [label, left, top, across, down, confidence] of boxes) {
    if (confidence !== null && confidence < least) continue;
    const color = `hsl(${hue(label)} 95% 60%)`;
    const box = document.createElementNS(SVG, "rect");
    const facts = { x: left, y: top, width: Math.max(0, across), height: Math.max(0, down), fill: "none", stroke: color,
      "stroke-width": names ? 2 : 3, "vector-effect": "non-scaling-stroke" };
    for (const [name, value] of Object.entries(facts)) box.setAttribute(name, value);
    svg.append(box);
    if (names) named.unshift([confidence === null ? label : `${label} ${confidence.toFixed(2)}`, left, top, down, color]);
  }
  for (const [name, left, top, down, color] of named) {
    const words = document.createElementNS(SVG, "text");
    const meets = (y) => taken.some(([x, other, length]) => Math.abs(other - y) < size && x < left + size * name.length * 0.6 && left < x + length);
    const above = top > size * 1.4 ? top - size * 0.4 : top + size * 1.1, below = Math.min(top + down - size * 0.4, height - size * 0.4);
    const place = { x: left, y: meets(above) ? below : above, "font-size": size, fill: color };
    taken.push([left, place.y, size * name.length * 0.6]);
    for (const [key, value] of Object.entries(place)) words.setAttribute(key, value);
    words.textContent = name;
    svg.append(words);
  }
}
