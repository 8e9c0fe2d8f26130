"use strict";
// Everything shown is set as text, never as markup: names and errors come from outside.
const $ = (id) => document.getElementById(id);
const cards = new Map();
let source = null;
let fields = [];

async function call(method, path, body) {
  const options = { method, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the box does not answer");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(said.error || `the box answered ${answer.status}`), { status: answer.status });
}

async function order(method, path, body) {
  try {
    await call(method, path, body);
    $("said").textContent = "";
  } catch (error) {
    if (error.status === 401) askForToken(error.message);
    else $("said").textContent = error.message;
  }
}

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function clock(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}

function lasting(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function bytes(count) {
  for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (count >= unit) return `${(count / unit).toFixed(1)} ${name}`;
  }
  return `${count} B`;
}

const spoken = (tag) => tag.replaceAll("_", " ");

function makeCard(camera) {
  const card = $("camera").content.firstElementChild.cloneNode(true);
  const path = `/api/v1/cameras/${camera.name}`;
  const part = (selector) => card.querySelector(selector);
  card.id = `camera-${camera.name}`;
  part("h2").textContent = camera.name;
  part("img").alt = `what ${camera.name} sees`;
  part(".classes").setAttribute("aria-label", `class of ${camera.name}`);
  part(".switch").addEventListener("click", () =>
    order("PUT", `${path}/recording`, { recording: part(".switch").dataset.to === "start" }));
  part(".clear").addEventListener("click", () => order("DELETE", `${path}/class`));
  for (const field of fields) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.textContent = field;
    Object.assign(input, { name: field, required: true, pattern: "[a-z0-9]+(-[a-z0-9]+)*", autocomplete: "off",
      autocapitalize: "none", title: "lower-case letters and digits, with - between them" });
    label.append(input);
    part(".fields").append(label);
  }
  part(".free").addEventListener("submit", async (event) => {
    event.preventDefault();
    await order("PUT", `${path}/class`, { class: Object.fromEntries(new FormData(event.target)) });
    if (!$("said").textContent) {
      event.target.reset();
      part("details").open = false;
    }
  });
  part("img").addEventListener("load", () => {
    part("img").hidden = false;
    part(".no-view").hidden = true;
  });
  $("cameras").append(card);
  cards.set(camera.name, card);
  return card;
}

function since(camera) {
  if (!camera.set_at) return camera.class ? "as the settings say" : "";
  const who = camera.set_by.replace(/^page:.*/, "this page").replace(/^shell:/, "");
  const until = camera.until ? `, until ${clock(camera.until)}` : "";
  return `since ${clock(camera.set_at)} by ${who}${until}`;
}

function showCamera(camera, classes) {
  const card = cards.get(camera.name) || makeCard(camera);
  const part = (selector) => card.querySelector(selector);
  const wanted = camera.class ? camera.class.tag : "";
  const soon = camera.recording_class && camera.recording_class !== wanted;
  part(".words").className = `words ${camera.level}`;
  text(part(".words"), soon ? `still ${spoken(camera.recording_class)}, until the next keyframe` : camera.words);
  text(part(".class"), wanted ? spoken(wanted) : "no class");
  text(part(".since"), since(camera));
  part(".badge").classList.toggle("rec", Boolean(camera.recording_class));
  text(part(".badge"), camera.recording_class ? lasting(camera.recording_seconds || 0) : "");
  const button = part(".switch");
  const gated = camera.status.gate === "off";
  button.dataset.to = camera.stopped || gated ? "start" : "stop";
  text(button, camera.stopped || gated ? "Start" : "Stop");
  button.setAttribute("aria-label", `${button.textContent} ${camera.name}`);
  const group = part(".classes");
  if (group.dataset.tags !== JSON.stringify(classes)) {
    group.dataset.tags = JSON.stringify(classes);
    group.replaceChildren(...classes.map((item) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.dataset.tag = item.tag;
      choice.textContent = spoken(item.tag);
      choice.addEventListener("click", () => order("PUT", `/api/v1/cameras/${camera.name}/class`, { class: item.values }));
      return choice;
    }));
  }
  for (const choice of group.children) choice.setAttribute("aria-pressed", String(choice.dataset.tag === wanted));
  const standard = camera.default ? camera.default.tag : "";
  part(".clear").hidden = !camera.set_at || wanted === standard;
  text(part(".clear"), standard ? `Back to ${spoken(standard)}` : "Clear the class");
}

function showSegments(segments) {
  const list = $("segments");
  $("no-segments").hidden = segments.length > 0;
  const known = new Map([...list.children].map((item) => [item.dataset.stem, item]));
  list.replaceChildren(...segments.map((segment) => {
    const item = known.get(segment.stem) || makeSegment(segment);
    const state = item.querySelector(".state");
    state.className = `state ${{ uploaded: "ok", failed: "bad" }[segment.state] || "idle"}`;
    text(state, segment.problem ? `${segment.state}: ${segment.problem}` : segment.state);
    return item;
  }));
}

function makeSegment(segment) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  const about = document.createElement("div");
  const name = document.createElement("strong");
  const when = document.createElement("p");
  const state = document.createElement("p");
  item.dataset.stem = segment.stem;
  item.title = segment.stem;
  Object.assign(picture, { src: `/thumbnail/${encodeURIComponent(segment.stem)}.jpg`, loading: "lazy", alt: "" });
  name.textContent = spoken(segment.class);
  when.className = "soft";
  const facts = [segment.camera, segment.start && clock(segment.start), segment.seconds && `${segment.seconds} s`,
    segment.bytes && bytes(segment.bytes)];
  when.textContent = facts.filter(Boolean).join(" \u00b7 ");
  state.className = "state";
  about.append(name, when, state);
  item.append(picture, about);
  return item;
}

function show(state) {
  fields = state.fields;
  document.title = `${state.device} \u2013 edge-agent`;
  text($("device"), state.device);
  text($("version"), `edge-agent ${state.version}`);
  text($("health"), state.health.ok ? "all is well" : "needs attention");
  $("health").className = `pill ${state.health.ok ? "ok" : "bad"}`;
  $("trouble").hidden = state.health.ok;
  const words = JSON.stringify(state.health.words);
  if ($("trouble").dataset.words !== words) {
    $("trouble").dataset.words = words;
    $("trouble").replaceChildren(...state.health.words.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }
  for (const camera of state.cameras) showCamera(camera, state.classes);
  text($("upload-words"), state.upload.words);
  $("upload-words").className = state.upload.level;
  text($("upload-pause"), state.upload.paused ? "Resume uploads" : "Pause uploads");
  $("upload-pause").dataset.pause = String(!state.upload.paused);
  const disk = state.disk;
  text($("disk-words"), disk.words);
  $("disk-words").className = disk.level;
  if (disk.total) $("disk-gauge").value = disk.quota ? disk.used / disk.quota : 1 - disk.free / disk.total;
  showSegments(state.segments);
  $("no-errors").hidden = state.errors.length > 0;
  $("errors").replaceChildren(...state.errors.map((line) => {
    const item = document.createElement("li");
    const when = document.createElement("span");
    when.className = "soft";
    when.textContent = `${line.at ? clock(line.at) : ""} `;
    item.append(when, line.words);
    return item;
  }));
  $("sign-in").hidden = true;
  $("main").hidden = false;
}

function lost() {
  text($("health"), "connecting");
  $("health").className = "pill idle";
}

function askForToken(problem) {
  close();
  $("main").hidden = true;
  $("sign-in").hidden = false;
  text($("health"), "locked");
  text($("sign-in-problem"), problem || "");
  $("token").focus();
}

function close() {
  if (source) source.close();
  source = null;
}

function follow() {
  close();
  source = new EventSource("/api/v1/events");
  source.addEventListener("state", (event) => show(JSON.parse(event.data)));
  source.addEventListener("picture", (event) => {
    const { camera, number } = JSON.parse(event.data);
    const card = cards.get(camera);
    if (card) card.querySelector(".view img").src = `/snapshot/${camera}.jpg?number=${number}`;
  });
  source.addEventListener("error", () => {
    lost();
    if (source && source.readyState === EventSource.CLOSED) setTimeout(begin, 3000);
  });
}

async function begin() {
  try {
    show(await (await call("GET", "/api/v1/state")).json());
    follow();
  } catch (error) {
    if (error.status === 401) askForToken("");
    else {
      lost();
      setTimeout(begin, 3000);
    }
  }
}

async function signIn(token) {
  try {
    await call("POST", "/api/v1/session", { token });
    $("token").value = "";
    await begin();
  } catch (error) {
    askForToken(error.message);
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("token").value.trim());
});
$("upload-pause").addEventListener("click", () =>
  order("PUT", "/api/v1/upload", { paused: $("upload-pause").dataset.pause === "true" }));
document.addEventListener("visibilitychange", () => {
  // A page that nobody sees asks for no pictures.
  if (document.hidden) close();
  else if (!$("main").hidden) begin();
});

const link = new URLSearchParams(location.hash.slice(1)).get("token");
if (link) {
  history.replaceState(null, "", "/");
  signIn(link);
} else begin();
