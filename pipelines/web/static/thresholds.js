// Stored scores as histograms; a moved threshold shows what it keeps, the faces nearest to it, and starts runs.

import { anchorTriple } from "./anchors.js";
import { api, clipHash, graphql, h, hours, inkOf, number, sharp, thumbnail, words } from "./common.js";

const HEIGHT = 130;
const WAIT_MS = 40; // between two requests while a line is dragged
const POLL_MS = 1000;
const KINDS = { // title, what is counted, explanation, what is said where nothing was scored
  clips: ["Clips", "clips", "", "There are no clips yet."],
  speakers: ["Speakers", "clips", "Clips with other faces in the picture. Where a clip leaves it open, its whole shot decided; such clips stay as they are, and counts are estimates.", "No clip has another face in its picture."],
  lip_sync: ["Lip sync", "clips", "Accepted clips; the filter of shards drops those below. What it drops for the offset of a whole video stays dropped.", "No accepted clip has a lip sync score."],
  anchors: ["Anchors", "anchors", "", "There are no anchors yet."],
};
const NARROW = "(max-width: 1000px)";
const LAUNCH = `mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}`;
const REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } } }";
const RUN = "query Run($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }";
const PLAN = `{ assetOrError(assetKey: {path: ["reprocessing_plan"]}) { ... on Asset { assetMaterializations(limit: 1) { runId metadataEntries {
  label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intRepr } ... on FloatMetadataEntry { floatValue } } } } } }`;

export async function thresholdsPage(overview, query) {
  const kind = query.kind in KINDS ? query.kind : "clips";
  const explorer = new Explorer(overview, kind, await api(`histograms/${kind}`));
  await explorer.update();
  return { elements: explorer.elements, leave: () => { explorer.closed = true; } };
}

class Explorer {
  constructor(overview, kind, histograms) {
    Object.assign(this, { overview, kind, moved: {}, focus: histograms[0]?.setting || "", closed: false, asked: 0 });
    this.summary = h("div", { className: "summary" });
    this.near = h("div", { className: "near" });
    this.panels = histograms.map((histogram) => new Panel(this, histogram));
    this.actions = this.makeActions();
    const scored = histograms.some(({ accepted, refused }) => [...accepted, ...refused].some((count) => count));
    const tabs = Object.entries(KINDS).map(([name, [title]]) => h("a", { href: `#thresholds?kind=${name}`, className: name === kind ? "here" : "" }, title));
    this.elements = [h("p", { className: "links" }, tabs), ...(scored ? [
      h("p", { className: "faint" }, `Drag a line or type a number. Green: accepted now, red: refused now. ${KINDS[kind][2]}`),
      h("div", { className: "bar" }, this.summary, this.actions),
      h("div", { className: "explorer" }, h("div", { className: "panels" }, this.panels.map((panel) => panel.element)), this.near),
    ] : [h("p", {}, KINDS[kind][3])])];
    requestAnimationFrame(() => this.panels.forEach((panel) => panel.draw()));
    window.addEventListener("resize", () => { if (!this.closed) this.panels.forEach((panel) => panel.draw()); });
  }

  move(setting, threshold) {
    this.focus = setting;
    if (threshold === null) delete this.moved[setting];
    else this.moved[setting] = threshold;
    for (const panel of this.panels) panel.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(), WAIT_MS);
  }

  async update() {
    const mine = ++this.asked;
    try {
      const result = await api(`thresholds/${this.kind}`, { ...this.moved, focus: this.focus });
      if (mine === this.asked && !this.closed) this.show(result);
    } catch (error) {
      if (mine === this.asked) { this.settings = {}; this.summary.replaceChildren(h("b", { className: "bad" }, error.message)); this.enable(); }
    }
  }

  show(result) {
    this.settings = result.changes;
    const what = KINDS[this.kind][1];
    const time = (value) => (what === "clips" ? ` (${hours(value * 3600)})` : "");
    this.summary.replaceChildren(
      h("b", {}, `${result.kept.toLocaleString("en")} ${what} kept${time(result.kept_hours)}`),
      h("span", { className: result.lost ? "bad" : "faint" }, `−${result.lost.toLocaleString("en")}${time(result.lost_hours)} lost`),
      h("span", { className: result.gained ? "good" : "faint" }, `+${result.gained.toLocaleString("en")}${time(result.gained_hours)} gained`),
      h("span", { className: "faint" }, `now ${result.before.toLocaleString("en")}${time(result.before_hours)}`));
    this.showChanges(result.changes);
    this.showNear(result);
    this.enable();
  }

  showChanges(changes) {
    const lines = Object.entries(changes).map(([name, value]) => `${name}: ${number(value, 5)}`);
    this.changes.textContent = lines.length ? `Settings of the run: ${lines.join(", ")}` : "Nothing to change: these settings count for all batches.";
  }

  showNear(result) {
    const panel = this.panels.find((each) => each.histogram.setting === this.focus);
    // On a narrow page the faces follow the line that is moved, else they stand beside all of them.
    if (window.matchMedia(NARROW).matches) panel.element.after(this.near);
    const card = (row) => h("a", { className: "card", href: clipHash(row) }, thumbnail(row),
      h("b", {}, number(row.shown_score)), h("span", { className: "faint" }, `${row.identity}, ${row.accepted ? "accepted now" : words(row.reason)}`));
    const side = (title, rows, make) => h("section", {}, h("h3", {}, title),
      rows.length ? h("div", { className: this.kind === "anchors" ? "triples" : "grid small" }, rows.map(make)) : h("p", { className: "faint" }, "none"));
    const make = this.kind !== "anchors" ? card : (row) => anchorTriple(this.overview.bounds.anchors, row);
    this.near.replaceChildren(h("h2", {}, `Nearest to the line of ${panel.histogram.title.toLowerCase()}`),
      side("Just kept", result.kept_side, make), side("Just refused", result.refused_side, make));
  }

  makeActions() {
    this.changes = h("p", { className: "faint" });
    this.status = h("p", { className: "status" });
    this.buttons = {
      dry: h("button", { onclick: () => this.plan(true) }, "Dry run"),
      go: h("button", { className: "main", onclick: () => this.plan(false) }, "Reprocess"),
      adopt: h("button", { onclick: () => this.adopt(), title: "These settings count for all batches, also new ones" }, "Adopt for all batches"),
    };
    return h("div", { className: "actions" }, h("p", {}, Object.values(this.buttons)), this.changes, this.status);
  }

  enable() {
    const usable = Object.keys(this.settings || {}).length > 0 && !this.running;
    for (const button of Object.values(this.buttons)) button.disabled = !usable;
  }

  plan(dry) {
    const question = "Reprocess all stale batches with these settings? Earlier builds stay until they are collected.";
    if (!dry && !window.confirm(question)) return;
    this.launch("reprocess_stale", { ops: { reprocessing_plan: { config: { dry_run: dry, settings: this.settings } } } });
  }

  adopt() {
    if (!window.confirm("Let these settings count for all batches from now on?")) return;
    this.launch("adopt_settings", { ops: { adopt_settings: { config: { note: "threshold explorer", settings: this.settings } } } });
  }

  async launch(job, config) {
    this.running = true;
    this.enable();
    try {
      const run = await launched(job, config);
      const link = h("a", { href: `../runs/${run}` }, `run ${run.slice(0, 8)}`);
      let status = "";
      while (!["SUCCESS", "FAILURE", "CANCELED"].includes(status) && !this.closed) {
        status = (await graphql(RUN, { run })).runOrError.status;
        this.status.replaceChildren(`${words(job)}: ${status.toLowerCase()}, `, link);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      if (status === "SUCCESS" && job === "reprocess_stale") this.status.append(`: ${await planText(run)}`);
    } catch (error) {
      this.status.replaceChildren(h("b", { className: "bad" }, error.message));
    }
    this.running = false;
    this.enable();
  }
}

/* Launch a job of the code location that has it; returns the run's id. */
async function launched(job, config) {
  const { nodes } = (await graphql(REPOSITORIES)).repositoriesOrError;
  const repository = nodes?.find((node) => node.jobs.some((each) => each.name === job));
  if (!repository) throw new Error(`no code location has the job ${job}; see Deployment in Dagster`);
  const selector = { repositoryName: repository.name, repositoryLocationName: repository.location.name, jobName: job };
  const { launchRun } = await graphql(LAUNCH, { params: { selector, runConfigData: config, mode: "default" } });
  if (launchRun.run) return launchRun.run.runId;
  throw new Error(launchRun.message || launchRun.errors?.map((error) => error.message).join("; ") || launchRun.__typename);
}

/* What the plan of a run found. */
async function planText(run) {
  const [plan] = (await graphql(PLAN)).assetOrError.assetMaterializations || [];
  if (plan?.runId !== run) return "its plan is on the run's page";
  const values = Object.fromEntries(plan.metadataEntries.map((entry) => [entry.label, entry.text ?? entry.intRepr ?? entry.floatValue]));
  const time = values["estimated seconds"] === undefined ? "" : `, about ${number(values["estimated seconds"])} s`;
  return `${values["stale batches"]} of ${values["batches examined"]} batches stale, ${values["steps to run"]} steps${time}. ${values.next}.`;
}

class Panel {
  constructor(explorer, histogram) {
    Object.assign(this, { explorer, histogram });
    const sign = histogram.is_minimum ? "≥" : "≤";
    const step = histogram.unit.startsWith("frames") ? 1 : "any";
    this.canvas = h("canvas", { title: "Drag the line" });
    this.input = h("input", { type: "number", step, title: histogram.setting, ariaLabel: histogram.title });
    this.reset = h("button", { title: "As it was", onclick: () => explorer.move(histogram.setting, null) }, "↺");
    this.element = h("section", { className: "panel", dataset: { setting: histogram.setting } },
      h("h3", {}, histogram.title, h("span", { className: "faint" }, ` ${histogram.unit}`)), this.canvas,
      h("p", { className: "controls" }, sign, this.input, this.reset));
    this.input.addEventListener("input", () => { const value = this.input.valueAsNumber; if (Number.isFinite(value)) explorer.move(histogram.setting, value); });
    this.input.addEventListener("focus", () => { if (explorer.focus !== histogram.setting) { explorer.focus = histogram.setting; explorer.move(histogram.setting, explorer.moved[histogram.setting] ?? null); } });
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); this.drag(event); });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.drag(event); });
  }

  threshold() { return this.explorer.moved[this.histogram.setting] ?? this.histogram.threshold; }

  drag(event) {
    const { edges, unit } = this.histogram;
    const share = Math.max(0, Math.min(1, event.offsetX / this.canvas.clientWidth));
    const value = edges[0] + share * (edges.at(-1) - edges[0]);
    this.explorer.move(this.histogram.setting, unit.startsWith("frames") ? Math.max(0, Math.round(value)) : Number(value.toPrecision(3)));
  }

  draw() {
    const { edges, accepted, refused, setting } = this.histogram;
    const width = this.canvas.clientWidth || 300;
    const context = sharp(this.canvas, width, HEIGHT);
    const largest = Math.max(1, ...accepted.map((count, place) => count + refused[place]));
    const bar = width / accepted.length;
    const floor = HEIGHT - 16;
    // Heights are square roots of counts, so that a single clip is seen beside thousands.
    accepted.forEach((count, place) => {
      const total = Math.sqrt((count + refused[place]) / largest) * (floor - 6);
      const green = count + refused[place] ? total * (count / (count + refused[place])) : 0;
      context.fillStyle = inkOf("--kept");
      context.fillRect(place * bar, floor - green, Math.max(1, bar - 1), green);
      context.fillStyle = inkOf("--lost");
      context.fillRect(place * bar, floor - total, Math.max(1, bar - 1), total - green);
    });
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = inkOf("--faint");
    context.fillText(number(edges[0]), 0, HEIGHT - 3);
    const right = number(edges.at(-1));
    context.fillText(right, width - context.measureText(right).width, HEIGHT - 3);
    this.drawLine(context, width, this.histogram.threshold, inkOf("--faint"));
    this.drawLine(context, width, this.threshold(), inkOf("--accent"));
    this.element.classList.toggle("focus", this.explorer.focus === setting);
    this.reset.disabled = !(setting in this.explorer.moved);
    const threshold = this.threshold();
    if (document.activeElement !== this.input && threshold !== null) this.input.value = Number(threshold.toPrecision(5));
  }

  drawLine(context, width, threshold, ink) {
    if (threshold === null) return;
    const { edges } = this.histogram;
    const x = ((threshold - edges[0]) / (edges.at(-1) - edges[0])) * width;
    context.fillStyle = ink;
    context.fillRect(Math.max(0, Math.min(width - 2, x - 1)), 0, 2, HEIGHT - 16);
  }
}
