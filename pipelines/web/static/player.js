// One clip: frames and sound by byte range out of the tar that holds them, labels drawn on demand.

import { anchorTriple } from "./anchors.js";
import { api, colour, fileUrl, h, inkOf, number, pathOf, sharp, words } from "./common.js";

const BLOCK = 512;
const OVERLAYS = { landmarks: "Landmarks", pose: "Pose axes", gaze: "Gaze and blink", sync: "Lip sync" };
const chosen = new Set(["landmarks", "pose", "gaze", "sync"]); // kept from clip to clip

/* Members of one sample by extension, out of the bytes of a tar. */
export function untar(buffer) {
  const bytes = new Uint8Array(buffer);
  const letters = new TextDecoder("ascii");
  const field = (start, size) => letters.decode(bytes.subarray(start, start + size)).replace(/\0.*$/s, "");
  const members = new Map();
  for (let at = 0; at + BLOCK <= bytes.length && bytes[at]; ) {
    const name = field(at, 100);
    const size = parseInt(field(at + 124, 12).trim(), 8);
    if (!Number.isInteger(size) || at + BLOCK + size > bytes.length) throw new Error(`the tar is damaged at ${name}`);
    members.set(name.slice(name.indexOf(".") + 1), bytes.subarray(at + BLOCK, at + BLOCK + size));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return members;
}

/* A float32 array of NumPy: its shape and values. */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const long = bytes[6] > 1;
  const start = (long ? 12 : 10) + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start));
  if (!header.includes("'<f4'")) throw new Error(`an array is not float32: ${header}`);
  const shape = header.match(/\(([\d, ]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  const from = bytes.byteOffset + start;
  return { shape, values: new Float32Array(bytes.buffer.slice(from, bytes.byteOffset + bytes.byteLength)) };
}

/* Values [T, N] as T arrays. */
function rowsOf(array) {
  const width = array.shape.slice(1).reduce((product, size) => product * size, 1);
  return Array.from({ length: array.shape[0] }, (_, row) => array.values.subarray(row * width, (row + 1) * width));
}

async function fetchRange(where) {
  const range = `bytes=${where.offset}-${where.offset + where.size - 1}`;
  const response = await fetch(fileUrl(where.location), { headers: { range } });
  if (response.status !== 206) throw new Error(`${where.location}: ${response.status} ${response.statusText}`);
  return untar(await response.arrayBuffer());
}

async function decodeSound(facts, members, audio) {
  const flac = members.get("audio.flac");
  let data = flac?.slice().buffer;
  if (!data) {
    const response = await fetch(`api/sound/${pathOf(facts.batch, facts.key)}`);
    if (!response.ok) return null;
    data = await response.arrayBuffer();
  }
  return audio.decodeAudioData(data);
}

export async function showClip(overview, batch, key, frame) {
  const facts = await api(`clip/${pathOf(batch, key)}`);
  const stage = h("div", { className: "stage" }, h("p", { className: "faint" }, facts.bytes ? "Reading the clip …" : "The pictures of this clip were not kept."));
  const elements = [
    h("p", {}, h("a", { href: "#clips", onclick: (event) => { if (history.length > 1) { event.preventDefault(); history.back(); } } }, "← Clips")),
    h("div", { className: "clip" }, stage, factsOf(facts)),
  ];
  if (facts.anchors.length) elements.push(h("h2", {}, "Anchors with this face"), h("div", { className: "triples" }, facts.anchors.map((row) => anchorTriple(overview.bounds.anchors, row))));
  if (!facts.bytes) return { elements };
  const player = new Player(overview.drawing, facts);
  player.open(frame).then(
    () => stage.replaceChildren(...player.elements),
    (error) => stage.replaceChildren(h("p", { className: "error" }, error.message)),
  );
  return { elements, leave: () => player.close() };
}

class Player {
  constructor(drawing, facts) {
    Object.assign(this, { drawing, facts, frame: 0, playing: false, closed: false });
    this.audio = new AudioContext();
    this.canvas = h("canvas", { className: "face", title: "Click to play or pause", onclick: () => this.toggle() });
    this.chart = h("canvas", { className: "chart" });
    this.playButton = h("button", { className: "play", onclick: () => this.toggle() }, "▶ Play");
    this.slider = h("input", { type: "range", min: 0, step: 1, value: 0, title: "frame", oninput: () => this.seek(Number(this.slider.value)) });
    this.readout = h("p", { className: "readout faint" });
    this.keys = (event) => this.onKey(event);
  }

  async open(frame) {
    const members = await fetchRange(this.facts.bytes);
    const names = [...members.keys()].filter((name) => /^\d+\.jpg$/.test(name)).sort();
    this.pictures = await Promise.all(names.map((name) => createImageBitmap(new Blob([members.get(name)], { type: "image/jpeg" }))));
    const array = (name) => (members.has(name) ? rowsOf(readNpy(members.get(name))) : null);
    this.landmarks = array("landmarks.npy");
    for (const name of ["pose", "gaze", "blink"]) this[name] = array(`${name}.npy`) || this.facts.labels[name] || null;
    this.sound = await decodeSound(this.facts, members, this.audio).catch(() => null);
    this.curves = this.measure();
    this.slider.max = this.pictures.length - 1;
    this.elements = [this.canvas, h("div", { className: "controls" }, this.playButton, this.slider), this.toggles(), this.readout, this.chart];
    document.addEventListener("keydown", this.keys);
    // Drawn once the elements have a width.
    requestAnimationFrame(() => this.seek(frame === null ? Math.floor(this.pictures.length / 2) : frame));
  }

  close() {
    this.closed = true;
    this.stop();
    document.removeEventListener("keydown", this.keys);
    this.audio.close();
    for (const picture of this.pictures || []) picture.close();
  }

  toggles() {
    const has = { landmarks: this.landmarks, pose: this.pose, gaze: this.gaze && this.landmarks, sync: this.curves };
    return h("p", { className: "toggles" }, Object.entries(OVERLAYS).map(([name, title]) => {
      const box = h("input", { type: "checkbox", checked: chosen.has(name) && Boolean(has[name]), disabled: !has[name], name });
      box.addEventListener("change", () => { box.checked ? chosen.add(name) : chosen.delete(name); this.draw(); });
      return h("label", { title: has[name] ? "" : "this clip has no such label" }, box, title);
    }));
  }

  onKey(event) {
    if (event.target.matches("input[type=text], input[type=number], select")) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key === " ") { event.preventDefault(); this.toggle(); }
    else if (event.key in steps && event.target !== this.slider) this.seek(this.frame + steps[event.key]);
  }

  toggle() { this.playing ? this.stop() : this.play(); }

  async play() {
    await this.audio.resume();
    if (this.closed) return;
    if (this.frame >= this.pictures.length - 1) this.frame = 0;
    this.playing = true;
    this.playButton.textContent = "❚❚ Pause";
    this.start();
    const tick = () => {
      if (!this.playing) return;
      const seconds = this.audio.currentTime - this.startedAt;
      const frame = Math.floor(seconds * this.drawing.frames_per_second);
      if (frame >= this.pictures.length) { this.frame = 0; this.start(); }
      else if (frame >= 0) this.frame = frame;
      this.draw();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  /* Sound and clock from the current frame on; without sound the clock alone. */
  start() {
    this.source?.stop();
    const offset = this.frame / this.drawing.frames_per_second;
    this.startedAt = this.audio.currentTime - offset;
    this.source = null;
    if (!this.sound || offset >= this.sound.duration) return;
    this.source = this.audio.createBufferSource();
    this.source.buffer = this.sound;
    this.source.connect(this.audio.destination);
    this.source.start(0, offset);
  }

  stop() {
    this.playing = false;
    this.playButton.textContent = "▶ Play";
    this.source?.stop();
    this.source = null;
  }

  seek(frame) {
    if (this.closed) return;
    this.stop();
    this.frame = Math.max(0, Math.min(frame, this.pictures.length - 1));
    this.draw();
  }

  draw() {
    const side = this.canvas.clientWidth || 448;
    const context = sharp(this.canvas, side, side);
    const scale = side / this.drawing.side_px;
    context.drawImage(this.pictures[this.frame], 0, 0, side, side);
    const at = (x, y) => [(x + 0.5) * scale, (y + 0.5) * scale];
    const landmarks = this.landmarks?.[this.frame];
    const point = (index) => at(landmarks[3 * index], landmarks[3 * index + 1]);
    if (chosen.has("landmarks") && landmarks) drawOutlines(context, this.drawing.outlines, point, scale);
    if (chosen.has("pose") && this.pose) drawAxes(context, this.drawing, this.pose[this.frame], at, scale);
    if (chosen.has("gaze") && this.gaze && landmarks) {
      if (this.pose) drawGaze(context, this.drawing, this.pose[this.frame], this.gaze[this.frame], point, scale);
      if (this.blink) drawBlink(context, this.blink[this.frame], side);
    }
    this.slider.value = this.frame;
    this.readout.textContent = this.numbers();
    this.chart.hidden = !(chosen.has("sync") && this.curves);
    if (!this.chart.hidden) drawCurves(this.chart, this.curves, this.frame, this.pictures.length);
  }

  numbers() {
    const degrees = (value) => `${Math.round((value * 180) / Math.PI)}°`;
    const parts = [`frame ${this.frame + 1} of ${this.pictures.length}, ${((this.facts.first_frame + this.frame) / this.drawing.frames_per_second).toFixed(2)} s of the file`];
    if (this.pose) parts.push(`head pitch ${degrees(this.pose[this.frame][0])}, yaw ${degrees(this.pose[this.frame][1])}, roll ${degrees(this.pose[this.frame][2])}`);
    if (this.gaze) parts.push(`gaze pitch ${degrees(this.gaze[this.frame][0])}, yaw ${degrees(this.gaze[this.frame][1])}`);
    if (this.blink) parts.push(`blink ${number(this.blink[this.frame][0], 2)} | ${number(this.blink[this.frame][1], 2)}`);
    return parts.join(" · ");
  }

  /* Mouth opening and loudness of every frame, each of its largest value; null without landmarks or sound. */
  measure() {
    if (!this.landmarks || !this.sound) return null;
    const { lips, eyes } = this.drawing;
    const mouth = this.landmarks.map((points) => {
      const distance = (one, other) => Math.hypot(...[0, 1, 2].map((axis) => one[axis] - other[axis]));
      const place = (index) => [0, 1, 2].map((axis) => points[3 * index + axis]);
      const middle = (corners) => [0, 1, 2].map((axis) => corners.reduce((sum, index) => sum + points[3 * index + axis], 0) / corners.length);
      const gap = lips[0].reduce((sum, upper, place_) => sum + distance(place(upper), place(lips[1][place_])), 0) / lips[0].length;
      return gap / distance(middle(eyes[0]), middle(eyes[1]));
    });
    const samples = this.sound.getChannelData(0);
    const length = this.sound.sampleRate / this.drawing.frames_per_second;
    const loudness = mouth.map((_, frame) => {
      let sum = 0;
      const [from, to] = [Math.round(frame * length), Math.min(samples.length, Math.round((frame + 1) * length))];
      for (let place = from; place < to; place++) sum += samples[place] ** 2;
      return Math.sqrt(sum / Math.max(1, to - from));
    });
    return { mouth, loudness };
  }
}

function drawOutlines(context, outlines, point, scale) {
  context.lineWidth = Math.max(1, 0.5 * scale);
  for (const { points, colour: rgb, closed } of outlines) {
    context.beginPath();
    points.forEach((index, place) => (place ? context.lineTo(...point(index)) : context.moveTo(...point(index))));
    if (closed) context.closePath();
    context.strokeStyle = colour(rgb);
    context.stroke();
  }
}

/* R = Rz(roll) Ry(yaw) Rx(pitch), as preprocessing.faces.frame_of_reference. */
function rotation([pitch, yaw, roll]) {
  const [sp, cp, sy, cy, sr, cr] = [Math.sin(pitch), Math.cos(pitch), Math.sin(yaw), Math.cos(yaw), Math.sin(roll), Math.cos(roll)];
  return [
    [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
    [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
    [-sy, cy * sp, cy * cp],
  ];
}

const turned = (matrix, vector) => matrix.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]);

function arrow(context, start, end, rgb, width) {
  const length = Math.hypot(end[0] - start[0], end[1] - start[1]);
  for (const [ink, extra] of [["rgb(0 0 0 / 0.8)", width * 0.7], [colour(rgb), 0]]) {
    context.strokeStyle = context.fillStyle = ink;
    context.lineWidth = width + extra;
    context.beginPath();
    context.moveTo(...start);
    context.lineTo(...end);
    context.stroke();
    context.beginPath();
    if (length > 4 * width) {
      const [x, y] = [(end[0] - start[0]) / length, (end[1] - start[1]) / length];
      const [along, side] = [2.5 * width + extra / 2, 1.6 * width + extra];
      context.moveTo(end[0] + x * (width + extra), end[1] + y * (width + extra));
      context.lineTo(end[0] - x * along - y * side, end[1] - y * along + x * side);
      context.lineTo(end[0] - x * along + y * side, end[1] - y * along - x * side);
    } else context.arc(...end, 1.2 * width + extra / 2, 0, 2 * Math.PI);
    context.fill();
  }
}

function drawAxes(context, drawing, pose, at, scale) {
  const matrix = rotation(pose);
  const project = (head) => {
    const [x, y, z] = turned(matrix, head).map((value, axis) => value + pose[3 + axis]);
    const depth = drawing.distance_cm - z;
    return at(drawing.centre_px + (drawing.focal_px * x) / depth, drawing.centre_px - (drawing.focal_px * y) / depth);
  };
  const origin = project([0, 0, 0]);
  const order = [0, 1, 2].sort((one, other) => matrix[2][one] - matrix[2][other]); // the nearest end last
  for (const axis of order) {
    const end = [0, 0, 0];
    end[axis] = drawing.axes[axis].length_cm;
    arrow(context, origin, project(end), drawing.axes[axis].colour, 2 * scale);
  }
}

function drawGaze(context, drawing, pose, [pitch, yaw], point, scale) {
  const direction = [Math.cos(pitch) * Math.sin(yaw), -Math.sin(pitch), Math.cos(pitch) * Math.cos(yaw)];
  const [x, y] = turned(rotation(pose), direction);
  const length = (drawing.gaze.length_cm * drawing.focal_px * scale) / (drawing.distance_cm - pose[5]);
  for (const iris of drawing.irises) {
    const start = point(iris);
    arrow(context, start, [start[0] + length * x, start[1] - length * y], drawing.gaze.colour, 1.5 * scale);
  }
}

/* A bar of each eye at its side of the picture: empty open, full shut. */
function drawBlink(context, blink, side) {
  const [width, height, top] = [side * 0.03, side * 0.22, side * 0.3];
  [[blink[0], side * 0.02], [blink[1], side * 0.95]].forEach(([value, left]) => {
    context.fillStyle = "rgb(0 0 0 / 0.55)";
    context.fillRect(left - 2, top - 2, width + 4, height + 4);
    context.fillStyle = "rgb(255 120 40)";
    context.fillRect(left, top + height * (1 - value), width, height * value);
  });
}

function drawCurves(canvas, curves, frame, count) {
  const [width, height] = [canvas.clientWidth || 448, 96];
  const context = sharp(canvas, width, height);
  context.clearRect(0, 0, width, height);
  const place = (index) => ((index + 0.5) / count) * width;
  for (const [values, ink] of [[curves.mouth, inkOf("--mouth")], [curves.loudness, inkOf("--sound")]]) {
    const largest = Math.max(...values, 1e-9);
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.beginPath();
    values.forEach((value, index) => context.lineTo(place(index), height - 6 - (value / largest) * (height - 24)));
    context.stroke();
  }
  context.fillStyle = inkOf("--ink");
  context.fillRect(place(frame) - 0.5, 16, 1, height - 16);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = inkOf("--mouth");
  context.fillText("mouth opening", 4, 12);
  context.fillStyle = inkOf("--sound");
  context.fillText("loudness", 100, 12);
}

function factsOf(facts) {
  const kinds = { sample: "a sample of the shards", clip: "an accepted clip that is in no shard", candidate: "a refused candidate" };
  const rows = [
    ["Person", h("a", { href: `#clips?person=${encodeURIComponent(facts.identity)}` }, facts.identity)],
    ["File", `${facts.relative_path} from ${number(facts.first_frame / 25, 4)} s, ${number(facts.frames / 25)} s`],
    ["Clip", facts.key],
    ["Batch", h("a", { href: `../assets/clips?view=partitions&partition=${encodeURIComponent(facts.batch)}` }, facts.batch)],
  ];
  if (facts.bytes) {
    const folder = facts.bytes.location.split("/").slice(0, -1).join("/");
    rows.push(["Kept as", h("a", { href: `${fileUrl(folder)}/` }, kinds[facts.bytes.kind])]);
  }
  const sync = facts.lip_sync;
  if (sync.scorer) {
    const score = sync.confidence === null || sync.confidence === undefined ? "not scored" : `confidence ${number(sync.confidence)}, sound ${number(sync.offset_frames)} frames late`;
    rows.push(["Lip sync", `${score} (${sync.scorer})${sync.refusal ? `; ${words(sync.refusal)}` : ""}`]);
  }
  const verdict = facts.accepted ? h("b", { className: "good" }, "accepted") : h("b", { className: "bad" }, words(facts.reason));
  const table = h("table", {}, rows.map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, value))));
  const bounds = h("table", { className: "bounds" },
    h("tr", {}, ["Score", "", "bound", ""].map((title) => h("th", {}, title))),
    facts.bounds.map((bound) => {
      const failed = bound.threshold !== null && (bound.is_minimum ? bound.score < bound.threshold : bound.score > bound.threshold);
      return h("tr", { className: failed ? "bad" : "" },
        h("td", {}, bound.title), h("td", { className: "figure" }, number(bound.score)),
        h("td", { className: "figure" }, `${bound.is_minimum ? "≥" : "≤"} ${number(bound.threshold)}`), h("td", { className: "faint" }, bound.unit));
    }));
  return h("div", { className: "facts" }, h("p", {}, verdict), table, facts.bounds.length ? bounds : null);
}
