// Training runs with links, and the training film: sample grids of a stage as a sequence.

import { api, h, hours, number, pathOf, words } from "./common.js";

const SECONDS_A_PICTURE = 0.6;

export async function runsPage() {
  const runs = await api("runs");
  if (!runs.length) return { elements: [h("p", {}, "No run has trained a stage yet.")] };
  return { elements: runs.map(runCard) };
}

function runCard(run) {
  const links = [
    run.report ? h("a", { href: run.report }, "Report") : null,
    h("a", { href: run.tensorboard }, "TensorBoard"),
    ...Object.entries(run.builds).map(([asset, url]) => h("a", { href: url }, words(asset))),
  ];
  const stages = h("table", {},
    h("tr", {}, ["Stage", "steps", "img/s", "time", "finished", "film"].map((title) => h("th", {}, title))),
    run.stages.map((stage) => h("tr", {},
      h("td", {}, h("a", { href: stage.folder }, words(stage.stage))),
      h("td", { className: "figure" }, number(stage.steps)),
      h("td", { className: "figure" }, number(stage.images_per_second)),
      h("td", { className: "figure" }, hours(stage.seconds)),
      h("td", {}, stage.finished_at.slice(0, 16).replace("T", " ")),
      h("td", {}, stage.samples.length ? h("a", { href: `#film/${pathOf(run.run, stage.stage)}` }, `${stage.samples.length} grids`) : ""))));
  const films = run.videos.slice(0, 4).map((src) => h("video", { src, controls: true, preload: "metadata", loop: true, playsInline: true }));
  return h("section", { className: "run" },
    h("h2", {}, run.run), h("p", { className: "links" }, links),
    h("div", { className: "scroll" }, stages), h("div", { className: "films" }, films));
}

export async function filmPage(name, stageName) {
  const run = (await api("runs")).find((each) => each.run === name);
  const stage = run?.stages.find((each) => each.stage === stageName);
  if (!stage?.samples.length) throw new Error(`${stageName} of ${name} has no sample grids`);
  const picture = h("img", { className: "film", alt: "sample grid" });
  const title = h("b", {});
  const slider = h("input", { type: "range", min: 0, max: stage.samples.length - 1, value: 0, title: "checkpoint" });
  const play = h("button", {}, "▶ Play");
  let timer = null;
  const show = (place) => {
    slider.value = place;
    picture.src = stage.samples[place].url;
    title.textContent = `step ${number(stage.samples[place].step, 9)} of ${number(stage.steps, 9)}`;
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "▶ Play"; };
  const start = () => {
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => show((Number(slider.value) + 1) % stage.samples.length), SECONDS_A_PICTURE * 1000);
  };
  play.addEventListener("click", () => (timer ? stop() : start()));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  for (const sample of stage.samples) new Image().src = sample.url; // so that the film does not flicker
  show(stage.samples.length - 1);
  return {
    elements: [
      h("p", {}, h("a", { href: "#runs" }, "← Runs")),
      h("h2", {}, `${name}: ${words(stageName)}`),
      h("div", { className: "controls" }, play, slider, title),
      picture,
    ],
    leave: stop,
  };
}
