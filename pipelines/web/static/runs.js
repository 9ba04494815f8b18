// Training runs with links, and the training film: sample grids of a stage as a sequence.

import { api, h, hours, number, pathOf, words } from "./common.js";

const SECONDS_A_PICTURE = 0.6;

export async function runsPage() {
  const runs = await api("runs");
  if (!runs.length) return { elements: [h("p", {}, "No run has trained a stage yet.")] };
  return { elements: [curves(runs), ...runs.map(runCard)] };
}

/* The loss curves of all runs of a stage in one picture. */
function curves(runs) {
  const stages = [...new Set(runs.flatMap((run) => run.stages.map((stage) => stage.stage)))];
  const picture = h("img", { className: "film", alt: "loss curves" });
  const show = (stage) => { picture.src = `api/curves/${stage}`; };
  const choice = h("select", { ariaLabel: "Stage of the curves", onchange: () => show(choice.value) }, stages.map((stage) => h("option", { value: stage }, words(stage))));
  choice.value = stages.at(-1);
  return h("details", { className: "run", ontoggle: (event) => { if (event.target.open && !picture.src) show(choice.value); } },
    h("summary", {}, `Loss curves of ${runs.length === 1 ? "the run" : `all ${runs.length} runs`} in one picture`), h("p", {}, choice), picture);
}

function runCard(run) {
  const links = [
    run.report ? h("a", { href: run.report }, "Report") : null,
    h("a", { href: run.tensorboard }, "TensorBoard"),
    ...Object.entries(run.builds).map(([asset, url]) => h("a", { href: url }, words(asset))),
  ];
  const stages = h("table", {},
    h("tr", {}, ["Stage", "steps", "img/s", "time", "finished", "samples"].map((title) => h("th", {}, title))),
    run.stages.map((stage) => h("tr", {},
      h("td", {}, h("a", { href: stage.folder }, words(stage.stage))),
      h("td", { className: "figure" }, number(stage.steps)),
      h("td", { className: "figure" }, number(stage.images_per_second)),
      h("td", { className: "figure" }, hours(stage.seconds)),
      h("td", {}, stage.finished_at.slice(0, 16).replace("T", " ")),
      h("td", {}, stage.samples.length ? h("a", { href: `#film/${pathOf(run.run, stage.stage)}` }, `${stage.samples.length} ${stage.samples.length === 1 ? "grid" : "grids"}`) : ""))));
  const training = run.stages.filter((stage) => stage.film).map((stage) => h("figure", {},
    filmOf(stage),
    h("figcaption", { className: "faint" }, `One held-out person at every checkpoint of ${words(stage.stage)}, the same drivers, and the control matrix`)));
  const films = run.videos.slice(0, 4).map((src) => h("figure", {},
    h("video", { src, controls: true, preload: "metadata", loop: true, playsInline: true }),
    h("figcaption", {}, decodeURIComponent(src.split("/").at(-1)).replace(/\.mp4$/, ""))));
  return h("section", { className: "run" },
    h("h2", {}, run.run, h("span", { className: "faint" }, ` ${run.preset}${run.is_baseline ? ", baseline" : ""}`)),
    Object.keys(run.figures).length ? h("p", { className: "facts" }, Object.entries(run.figures).map(([name, value]) => h("span", {}, `${name} `, h("b", {}, value))), h("span", { className: "faint" }, "controls: r with the driver (gain)")) : null,
    h("p", { className: "links" }, links),
    training, h("div", { className: "scroll" }, stages), h("div", { className: "films" }, films));
}

/* The film with the matrix beside it; on a narrow page the animated picture, which has it below. */
function filmOf(stage) {
  if (window.matchMedia("(max-width: 760px)").matches) return h("img", { src: stage.film.replace(/mp4$/, "webp"), alt: "training film", className: "wide" });
  return h("video", { src: stage.film, controls: true, autoplay: true, muted: true, preload: "metadata", loop: true, playsInline: true, className: "wide" });
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
