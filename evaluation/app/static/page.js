"use strict";

const PLACES = {
  appearance: ["Portrait", "Drop a picture with one face, or press to choose", "image/*,video/*"],
  lip: ["Lips", "Drop sound, or a video for its sound", "audio/*,video/*"],
  pose: ["Head pose", "Drop a video or a picture", "video/*,image/*"],
  eye: ["Gaze and blinks", "Drop a video or a picture", "video/*,image/*"],
  expression: ["Expression", "Drop a video or a picture", "video/*,image/*"],
};
const DRIVERS = ["lip", "pose", "eye", "expression"];
const OTHER = "";  // the choice "a folder"
const LOOK_EVERY_MS = 300;
const places = {};
const strengths = {};
let able = { released: false, apart: false };  // what the checkpoint is and can
let making = null;

const byId = (id) => document.getElementById(id);
const show = (id, shown) => { byId(id).hidden = !shown; };

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("pdfgc app does not answer: is it still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error || `pdfgc app answered ${answer.status}`);
  return told;
}

function fail(message) {
  byId("error").textContent = message;
  show("error", message !== "");
}

function addPlace(role, where) {
  const [title, hint, accept] = PLACES[role];
  const card = byId("place-template").content.cloneNode(true).firstElementChild;
  const part = (selector) => card.querySelector(selector);
  const [drop, input] = [part(".drop"), part("input")];
  part("h2").textContent = title;
  part(".hint").textContent = hint;
  input.accept = accept;
  input.id = `file-${role}`;
  input.setAttribute("aria-label", title);
  input.addEventListener("change", () => { if (input.files[0]) put(role, input.files[0]); });
  drop.addEventListener("keydown", (event) => { if (event.key === "Enter") input.click(); });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) put(role, event.dataTransfer.files[0]);
  });
  part(".clear").addEventListener("click", () => put(role, null));
  part(".everywhere").addEventListener("click", () => DRIVERS.forEach((other) => put(other, places[role].file)));
  places[role] = { card, file: null };
  where.append(card);
}

function put(role, file) {
  const { card } = places[role];
  places[role].file = file;
  card.querySelector("input[type=file]").value = "";
  card.querySelector(".file").hidden = file === null;
  card.querySelector(".name").textContent = file === null ? "" : file.name;
  const moves = file !== null && file.type.startsWith("video/");
  card.querySelector(".everywhere").hidden = !(moves && DRIVERS.includes(role));
  const view = card.querySelector(".view");
  const shown = view.firstElementChild;
  if (shown) URL.revokeObjectURL(shown.src);
  view.replaceChildren();
  view.classList.toggle("sound", file !== null && file.type.startsWith("audio/"));
  const kind = file === null ? "" : file.type.split("/")[0];
  const tag = { image: "img", video: "video", audio: "audio" }[kind];
  if (file !== null) view.append(tag ? preview(tag, file) : document.createTextNode(file.name));
}

function preview(tag, file) {
  const element = document.createElement(tag);
  element.src = URL.createObjectURL(file);
  if (tag === "video") { element.muted = true; element.loop = true; element.autoplay = true; }
  if (tag === "audio") element.controls = true;
  if (tag === "img") element.alt = file.name;
  return element;
}

function addStrength({ name, value, told }, largest) {
  const row = byId("strength-template").content.cloneNode(true).firstElementChild;
  const [range, number] = row.querySelectorAll("input");
  row.title = told;
  row.querySelector("span").textContent = ["gaze", "blink"].includes(name) ? name : "strength";
  for (const input of [range, number]) {
    input.value = value === null ? 1 : value;
    input.setAttribute("aria-label", `${name} strength`);
  }
  number.max = largest;
  range.id = `strength-${name}`;
  range.addEventListener("input", () => { number.value = range.value; });
  number.addEventListener("input", () => { range.value = number.value; });
  strengths[name] = { row, number };
  places[name in places ? name : "eye"].card.append(row);
}

function addApart() {
  const label = document.createElement("label");
  label.className = "apart";
  const box = Object.assign(document.createElement("input"), { type: "checkbox", id: "apart" });
  label.append(box, " gaze and blinks apart");
  label.id = "apart-row";
  box.addEventListener("change", showStrengths);
  places.eye.card.append(label);
}

const goApart = () => able.apart && byId("apart").checked;

function showStrengths() {
  show("apart-row", able.apart);
  const apart = goApart();
  // The released code's dimensions are gaze or blinks; a run's code may say more.
  strengths.eye.row.hidden = apart && able.released;
  strengths.eye.row.querySelector("span").textContent = apart ? "the rest" : "strength";
  strengths.gaze.row.hidden = strengths.blink.row.hidden = !apart;
}

const checkpoint = () => byId("run").value === OTHER ? byId("folder").value.trim() : byId("run").value;

async function lookAtCheckpoint() {
  const isFolder = byId("run").value === OTHER;
  show("folder", isFolder);
  const name = checkpoint();
  const told = await ask(`/checkpoint?name=${encodeURIComponent(name)}`);
  if (name !== checkpoint()) return;  // another was chosen meanwhile
  able = told;
  const may = able.apart ? ": gaze and blinks may be set apart" : "";
  byId("checkpoint-told").textContent = !isFolder ? `a training run under the root${may}`
    : able.released ? `a folder${may}` : name ? "no such folder" : "where the four released files lie";
  showStrengths();
}

function chosenStrengths() {
  const wanted = [...DRIVERS, ...(goApart() ? ["gaze", "blink"] : [])].filter((name) => !strengths[name].row.hidden);
  return Object.fromEntries(wanted.map((name) => {
    const value = strengths[name].number.valueAsNumber;
    if (Number.isNaN(value)) throw new Error(`the strength of ${name} is no number`);
    return [name, value];
  }));
}

async function send() {
  const tokens = new Map();  // a file that drives several controls goes once
  const files = {};
  for (const [role, { file }] of Object.entries(places)) {
    if (file === null) continue;
    if (!tokens.has(file)) {
      progress(`taking ${file.name}`, null, null);
      tokens.set(file, (await ask(`/files?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file })).file);
    }
    files[role] = tokens.get(file);
  }
  return files;
}

function progress(step, done, total) {
  byId("step").textContent = total ? `${step}: ${done} of ${total}` : done ? `${step}: ${done}` : step;
  const bar = byId("bar");
  if (total) { bar.max = total; bar.value = done; } else { bar.removeAttribute("value"); }
}

function busy(is) {
  byId("make").disabled = is;
  show("working", is);
  show("empty", !is && byId("made").hidden && byId("error").hidden);
  show("stop", is && making !== null);
}

function showMade(name, report) {
  byId("video").src = `/videos/${name}/video.mp4`;
  byId("facts").textContent = report.made;
  byId("path").textContent = report.output;
  byId("notes").replaceChildren(...report.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  show("beside", report.grid !== null);
  if (report.grid !== null) byId("grid-video").src = `/videos/${name}/grid.mp4`;
  show("made", true);
}

async function follow(name) {
  for (;;) {
    const told = await ask(`/videos/${name}`);
    if (told.state === "made") return showMade(name, told.report);
    if (told.state === "failed") throw new Error(told.error);
    if (told.state === "stopped") throw new Error("stopped: nothing of it was kept");
    if (told.progress) progress(told.progress.step, told.progress.done, told.progress.total);
    await new Promise((resume) => setTimeout(resume, LOOK_EVERY_MS));
  }
}

async function make(event) {
  event.preventDefault();
  fail("");
  show("made", false);
  busy(true);
  try {
    const seconds = byId("seconds").value;
    const order = { checkpoint: checkpoint(), strengths: chosenStrengths(), grid: byId("grid").checked,
      seconds: seconds === "" ? null : Number(seconds), files: await send() };
    const headers = { "content-type": "application/json" };
    making = (await ask("/videos", { method: "POST", headers, body: JSON.stringify(order) })).name;
    busy(true);
    await follow(making);
  } catch (error) {
    fail(error.message);
  } finally {
    making = null;
    busy(false);
  }
}

async function begin() {
  addPlace("appearance", byId("appearance-place"));
  DRIVERS.forEach((role) => addPlace(role, byId("drivers")));
  const told = await ask("/choices");
  told.strengths.filter(({ name }) => name in places).forEach((entry) => addStrength(entry, told.largest));
  addApart();
  told.strengths.filter(({ name }) => !(name in places)).forEach((entry) => addStrength(entry, told.largest));
  for (const run of told.runs) byId("run").append(new Option(run, run));
  byId("run").append(new Option("a folder of released files …", OTHER));
  byId("run").title = `runs under ${told.root}`;
  byId("outputs").textContent = `videos go to ${told.outputs}`;
  byId("run").addEventListener("change", () => lookAtCheckpoint().catch((error) => fail(error.message)));
  byId("folder").addEventListener("input", () => lookAtCheckpoint().catch((error) => fail(error.message)));
  byId("form").addEventListener("submit", make);
  byId("stop").addEventListener("click", () => ask(`/videos/${making}`, { method: "DELETE" }).catch((error) => fail(error.message)));
  // A file dropped beside a place would make the browser leave the page.
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  await lookAtCheckpoint();
}

begin().catch((error) => fail(error.message));
