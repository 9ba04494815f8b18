"use strict";

const INPUTS = {
  appearance: ["Portrait", "Drop an image with one face, or click to browse", "image/*,video/*"],
  lip: ["Lips", "Drop audio, or a video with audio", "audio/*,video/*"],
  pose: ["Head pose", "Drop a video or an image", "video/*,image/*"],
  eye: ["Gaze and blinks", "Drop a video or an image", "video/*,image/*"],
  expression: ["Expression", "Drop a video or an image", "video/*,image/*"],
};
const DRIVERS = ["lip", "pose", "eye", "expression"];
const CUSTOM_FOLDER = "";  // option value of "Released checkpoint folder…"
const POLL_INTERVAL_MS = 300;
// Survives a reload, so that the page can still cancel its video.
const PAGE_ID = sessionStorage.getItem("page-id") || crypto.randomUUID();
sessionStorage.setItem("page-id", PAGE_ID);
const inputs = {};
const strengths = {};
let selected = { released: false, separate_gaze: false };  // the selected checkpoint
let jobName = null;  // of the running job
let largestUpload = Infinity;  // bytes
let uploadIds = new Map();  // file -> promise of its upload id; a job uses its uploads up

const byId = (id) => document.getElementById(id);
const setVisible = (id, visible) => { byId(id).hidden = !visible; };

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, "page-id": PAGE_ID } });
  } catch {
    throw new Error("No response from pdfgc app. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `pdfgc app responded with status ${response.status}`);
  return body;
}

function showError(message) {
  byId("error").textContent = message;
  setVisible("error", message !== "");
}

function addInput(role, parent) {
  const [title, hint, accept] = INPUTS[role];
  const card = byId("input-template").content.cloneNode(true).firstElementChild;
  const part = (selector) => card.querySelector(selector);
  const [drop, input] = [part(".drop"), part("input")];
  part("h2").textContent = title;
  part(".hint").textContent = hint;
  input.accept = accept;
  input.id = `file-${role}`;
  input.setAttribute("aria-label", title);
  input.addEventListener("change", () => { if (input.files[0]) setFile(role, input.files[0]); });
  drop.addEventListener("keydown", (event) => { if (event.key === "Enter") input.click(); });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) setFile(role, event.dataTransfer.files[0]);
  });
  part(".clear").addEventListener("click", () => setFile(role, null));
  part(".use-for-all").addEventListener("click", () => DRIVERS.forEach((other) => setFile(other, inputs[role].file)));
  inputs[role] = { card, file: null };
  parent.append(card);
}

function setFile(role, file) {
  const { card } = inputs[role];
  inputs[role].file = file;
  card.querySelector("input[type=file]").value = "";
  card.querySelector(".file").hidden = file === null;
  card.querySelector(".name").textContent = file === null ? "" : file.name;
  const isVideo = file !== null && file.type.startsWith("video/");
  card.querySelector(".use-for-all").hidden = !(isVideo && DRIVERS.includes(role));
  const view = card.querySelector(".view");
  const previous = view.firstElementChild;
  if (previous) URL.revokeObjectURL(previous.src);
  view.replaceChildren();
  view.classList.toggle("sound", file !== null && file.type.startsWith("audio/"));
  const kind = file === null ? "" : file.type.split("/")[0];
  const tag = { image: "img", video: "video", audio: "audio" }[kind];
  if (file !== null) view.append(tag ? preview(tag, file, view, role) : document.createTextNode(`no preview of ${file.name} in this browser`));
  showCrop(role, file);
}

// The crop that the networks will see, or why there is none: also for formats that the browser does not play.
async function showCrop(role, file) {
  const figure = inputs[role].card.querySelector(".crop");
  const [image, caption] = [figure.querySelector("img"), figure.querySelector("figcaption")];
  if (image.src) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
  figure.classList.remove("bad");
  figure.hidden = file === null || role === "lip";
  if (figure.hidden) return;
  image.hidden = true;
  caption.textContent = "finding the face…";
  let [source, text, bad] = ["", "crop in use", false];
  try {
    source = URL.createObjectURL(await cropOf(file));
  } catch (error) {
    [text, bad] = [error.message, true];
  }
  if (inputs[role].file !== file) return;  // replaced meanwhile
  if (source) image.src = source;
  image.hidden = !source;
  caption.textContent = text;
  figure.classList.toggle("bad", bad);
}

const crops = new Map();  // file -> promise of its crop: one file may drive several controls

function cropOf(file) {
  if (!crops.has(file)) crops.set(file, requestCrop(file));
  return crops.get(file);
}

async function requestCrop(file) {
  const response = await fetch(`/files/${await upload(file)}/crop`, { headers: { "page-id": PAGE_ID } });
  if (response.ok) return response.blob();
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `pdfgc app responded with status ${response.status}`);
}

function preview(tag, file, view, role) {
  const element = document.createElement(tag);
  element.src = URL.createObjectURL(file);
  element.addEventListener("error", () => {
    if (view.firstElementChild === element) {
      const rest = role === "lip" ? "its sound is used all the same" : "the crop in use is below";
      view.replaceChildren(`this browser does not show ${file.name}; ${rest}`);
    }
  });
  if (tag === "video") { element.muted = true; element.loop = true; element.autoplay = true; }
  if (tag === "audio") element.controls = true;
  if (tag === "img") element.alt = file.name;
  return element;
}

function addStrength({ name, value, description }, largest) {
  const row = byId("strength-template").content.cloneNode(true).firstElementChild;
  const [range, number] = row.querySelectorAll("input");
  row.title = description;
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
  inputs[name in inputs ? name : "eye"].card.append(row);
}

function addSeparateGaze() {
  const label = document.createElement("label");
  label.className = "separate-gaze";
  const checkbox = Object.assign(document.createElement("input"), { type: "checkbox", id: "separate-gaze" });
  label.append(checkbox, " Separate strengths for gaze and blinks");
  label.id = "separate-gaze-row";
  checkbox.addEventListener("change", showStrengths);
  inputs.eye.card.append(label);
}

const gazeIsSeparate = () => selected.separate_gaze && byId("separate-gaze").checked;

function showStrengths() {
  setVisible("separate-gaze-row", selected.separate_gaze);
  const separate = gazeIsSeparate();
  // The released eye code holds gaze and blinks only; the code of a training run may hold more.
  strengths.eye.row.hidden = separate && selected.released;
  strengths.eye.row.querySelector("span").textContent = separate ? "other" : "strength";
  strengths.gaze.row.hidden = strengths.blink.row.hidden = !separate;
}

const checkpoint = () => byId("run").value === CUSTOM_FOLDER ? byId("folder").value.trim() : byId("run").value;

async function updateCheckpoint() {
  const isFolder = byId("run").value === CUSTOM_FOLDER;
  setVisible("folder", isFolder);
  const name = checkpoint();
  const body = await request(`/checkpoint?name=${encodeURIComponent(name)}`);
  if (name !== checkpoint()) return;  // the selection has changed since the request
  selected = body;
  const gaze = selected.separate_gaze ? "; gaze and blinks can be controlled separately" : "";
  byId("checkpoint-info").textContent = !isFolder ? `${name === "starter" ? "Starter model" : "Training run"}${gaze}`
    : selected.released ? `Folder${gaze}` : name ? "Folder not found" : "Folder with the four released files";
  const side = selected.side_px;
  byId("before").textContent = side ? `${side} × ${side} px by ${name === "starter" ? "the starter model" : `run ${name}`}` : "";
  showStrengths();
}

function selectedStrengths() {
  const names = [...DRIVERS, ...(gazeIsSeparate() ? ["gaze", "blink"] : [])].filter((name) => !strengths[name].row.hidden);
  return Object.fromEntries(names.map((name) => {
    const value = strengths[name].number.valueAsNumber;
    if (Number.isNaN(value)) throw new Error(`${name} strength must be a number`);
    return [name, value];
  }));
}

// Each file is uploaded once, when it is chosen or at the latest for the video.
function upload(file) {
  if (!uploadIds.has(file)) {
    const sent = (async () => {
      if (file.size > largestUpload) throw new Error(`${file.name} is larger than ${largestUpload / 2 ** 20} MiB`);
      return (await request(`/files?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file })).file;
    })();
    uploadIds.set(file, sent);
    sent.catch(() => uploadIds.delete(file));
  }
  return uploadIds.get(file);
}

async function uploadFiles() {
  const files = {};
  for (const [role, { file }] of Object.entries(inputs)) {
    if (file === null) continue;
    showProgress(`uploading ${file.name}`, null, null);
    files[role] = await upload(file);
    // The job takes the file: its crop must be cut before. What has no face, the job says itself.
    if (role !== "lip") await cropOf(file).catch(() => {});
  }
  return files;
}

function showProgress(step, done, total) {
  byId("step").textContent = total ? `${step}: ${done} of ${total}` : done ? `${step}: ${done}` : step;
  const bar = byId("bar");
  if (total) { bar.max = total; bar.value = done; } else { bar.removeAttribute("value"); }
}

function setRunning(running) {
  byId("generate").disabled = running;
  for (const button of byId("examples").querySelectorAll("button")) button.disabled = running;
  if (running) document.querySelector(".result").scrollIntoView({ block: "nearest", behavior: "smooth" });
  setVisible("running", running);
  setVisible("empty", !running && byId("result").hidden && byId("error").hidden);
  setVisible("cancel", running && jobName !== null);
}

function showResult(name, report) {
  byId("video").src = `/videos/${name}/video.mp4`;
  byId("summary").textContent = report.summary;
  byId("path").textContent = report.output;
  byId("notes").replaceChildren(...report.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  setVisible("side-by-side", report.grid !== null);
  if (report.grid !== null) byId("grid-video").src = `/videos/${name}/grid.mp4`;
  setVisible("result", true);
  byId("video").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

async function waitForJob(name) {
  for (;;) {
    const job = await request(`/videos/${name}`);
    if (job.state === "done") return showResult(name, job.report);
    if (job.state === "failed") throw new Error(job.error);
    if (job.state === "cancelled") throw new Error("Cancelled. No video was saved.");
    if (job.progress) showProgress(job.progress.step, job.progress.done, job.progress.total);
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

async function generate(event) {
  event.preventDefault();
  await showVideo(async () => {
    const seconds = byId("seconds").value;
    const send = async () => {
      const body = { checkpoint: checkpoint(), strengths: selectedStrengths(), grid: byId("grid").checked,
        seconds: seconds === "" ? null : Number(seconds), files: await uploadFiles() };
      const headers = { "content-type": "application/json" };
      return (await request("/videos", { method: "POST", headers, body: JSON.stringify(body) })).name;
    };
    try {
      return await send();
    } catch (error) {
      if (!error.message.includes("has expired")) throw error;
      uploadIds = new Map();  // they were kept for some minutes only
      return await send();
    } finally {
      uploadIds = new Map();
    }
  });
}

async function runExample(example) {
  setVisible("empty", false);
  await showVideo(async () => {
    showProgress("rendering the example's heads", null, null);
    const names = [...new Set(Object.values(example.files))];
    const files = new Map();
    for (const name of names) {
      const response = await fetch(`/examples/${name}`);
      if (!response.ok) throw new Error(`pdfgc app responded with status ${response.status}`);
      const type = name.endsWith(".png") ? "image/png" : "video/mp4";
      files.set(name, new File([await response.blob()], name, { type }));
    }
    for (const role of Object.keys(inputs)) setFile(role, files.get(example.files[role]) || null);
    return null;
  });
  if (byId("error").hidden) byId("form").requestSubmit();
}

function addExample(example) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: example.title });
  button.addEventListener("click", () => runExample(example));
  byId("examples").append(button);
}

async function showVideo(start) {
  showError("");
  setVisible("result", false);
  setRunning(true);
  try {
    jobName = await start();
    setRunning(true);
    if (jobName !== null) await waitForJob(jobName);
  } catch (error) {
    showError(error.message);
  } finally {
    jobName = null;
    setRunning(false);
  }
}

async function start() {
  addInput("appearance", byId("portrait-input"));
  DRIVERS.forEach((role) => addInput(role, byId("drivers")));
  const options = await request("/options");
  largestUpload = options.largest_upload_bytes;
  options.strengths.filter(({ name }) => name in inputs).forEach((entry) => addStrength(entry, options.largest_strength));
  addSeparateGaze();
  options.strengths.filter(({ name }) => !(name in inputs)).forEach((entry) => addStrength(entry, options.largest_strength));
  for (const run of options.runs) byId("run").append(new Option(run, run));
  options.examples.forEach(addExample);
  byId("run").append(new Option("Released checkpoint folder…", CUSTOM_FOLDER));
  byId("run").title = `Training runs under ${options.root}`;
  byId("outputs").textContent = `Output folder: ${options.outputs}`;
  const onCheckpointChange = () => updateCheckpoint().catch((error) => showError(error.message));
  byId("run").addEventListener("change", onCheckpointChange);
  byId("folder").addEventListener("input", onCheckpointChange);
  byId("form").addEventListener("submit", generate);
  byId("cancel").addEventListener("click", () => request(`/videos/${jobName}`, { method: "DELETE" }).catch((error) => showError(error.message)));
  // Without this the browser navigates to a file that is dropped outside an input.
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  // Uploaded files of a page that is closed are removed.
  window.addEventListener("pagehide", () => fetch(`/pages/${PAGE_ID}`, { method: "DELETE", keepalive: true }).catch(() => {}));
  await updateCheckpoint();
  if (options.running) showVideo(async () => options.running);
}

start().catch((error) => showError(error.message));
