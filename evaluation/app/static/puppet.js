"use strict";

// The live puppet: pads and sliders move the portrait. One request is under way at a time, with the position of
// the moment it starts, so the latest position wins.
const LARGEST = { yaw: 30, pitch: 25, gaze_yaw: 30, gaze_pitch: 25 };  // degrees at a pad's edge
const position = { yaw: 0, pitch: 0, roll: 0, gaze_yaw: 0, gaze_pitch: 0, lids: 0, strength: 1 };
const frameTimes = [];
let framesDrawn = 0;
let puppetIsBusy = false;
let positionIsNew = false;

async function startPuppet() {
  showError("");
  const portrait = inputs.appearance.file;
  if (portrait === null) return showError("portrait is missing: add an image with one face");
  byId("start-puppet").disabled = true;
  byId("puppet-rate").textContent = "encoding the portrait…";
  try {
    const body = JSON.stringify({ file: await upload(portrait), checkpoint: checkpoint() });
    const started = await request("/puppet", { method: "POST", headers: { "content-type": "application/json" }, body });
    setVisible("puppet-stage", true);
    framesDrawn = 0;
    byId("puppet-rate").textContent = `${started.side_px} × ${started.side_px} px: drag on the pads`;
    movePuppet({});
  } catch (error) {
    byId("puppet-rate").textContent = "";
    uploadIds.delete(portrait);  // it may have expired
    showError(error.message);
  } finally {
    byId("start-puppet").disabled = false;
  }
}

function movePuppet(change) {
  Object.assign(position, change);
  positionIsNew = true;
  if (!puppetIsBusy) renderPuppet();
}

async function renderPuppet() {
  puppetIsBusy = true;
  try {
    while (positionIsNew) {
      positionIsNew = false;
      const response = await fetch("/puppet/frame", {
        method: "POST", headers: { "content-type": "application/json", "page-id": PAGE_ID }, body: JSON.stringify(position),
      });
      if (!response.ok) throw new Error((await response.json()).error);
      await drawFrame(await response.blob());
    }
  } catch (error) {
    showError(error.message);
  } finally {
    puppetIsBusy = false;
  }
}

async function drawFrame(blob) {
  const picture = await createImageBitmap(blob);
  const canvas = byId("puppet");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  const now = performance.now();
  frameTimes.push(now);
  while (frameTimes[0] < now - 1000) frameTimes.shift();
  framesDrawn += 1;
  if (framesDrawn === 1) return;  // the portrait before it moves
  const count = frameTimes.length;
  byId("puppet-rate").textContent = `${count} ${count === 1 ? "frame" : "frames"} in the last second`;
}

function addPad(id, horizontal, vertical) {
  const pad = byId(id);
  const dot = pad.querySelector("i");
  const place = (x, y) => {
    [dot.style.left, dot.style.top] = [`${50 + 50 * x}%`, `${50 + 50 * y}%`];
    movePuppet({ [horizontal]: x * LARGEST[horizontal], [vertical]: y * LARGEST[vertical] });
  };
  const within = (value) => Math.max(-1, Math.min(1, value));
  const drag = (event) => {
    const box = pad.getBoundingClientRect();
    place(within(2 * (event.clientX - box.left) / box.width - 1), within(2 * (event.clientY - box.top) / box.height - 1));
  };
  pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); drag(event); });
  pad.addEventListener("pointermove", (event) => { if (pad.hasPointerCapture(event.pointerId)) drag(event); });
  pad.addEventListener("dblclick", () => place(0, 0));
  pad.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!step) return;
    event.preventDefault();
    place(within(position[horizontal] / LARGEST[horizontal] + step[0]), within(position[vertical] / LARGEST[vertical] + step[1]));
  });
}

addPad("head-pad", "yaw", "pitch");
addPad("gaze-pad", "gaze_yaw", "gaze_pitch");
for (const name of ["roll", "lids", "strength"]) {
  byId(`puppet-${name}`).addEventListener("input", (event) => movePuppet({ [name]: event.target.valueAsNumber }));
}
byId("start-puppet").addEventListener("click", startPuppet);
