// The pages by the address's hash: #clips, #clip/BATCH/KEY, #anchors, #thresholds, #runs, #film/RUN/STAGE.

import { anchorTriple } from "./anchors.js";
import { api, clipHash, h, hours, number, thumbnail, words } from "./common.js";
import { showClip } from "./player.js";
import { filmPage, runsPage } from "./runs.js";
import { thresholdsPage } from "./thresholds.js";

const ROWS = 48;
const page = document.getElementById("page");
let overview = null;
let turn = 0; // the page that was asked for last counts
let leave = () => {};

function parsed() {
  const [path, query] = location.hash.slice(1).split("?");
  const [name, ...rest] = (path || "clips").split("/").map(decodeURIComponent);
  return { name, rest, query: Object.fromEntries(new URLSearchParams(query || "")) };
}

const go = (name, query) => {
  const pairs = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  location.hash = pairs.length ? `${name}?${new URLSearchParams(pairs)}` : name;
};

async function show() {
  const mine = ++turn;
  leave();
  leave = () => {};
  const { name, rest, query } = parsed();
  for (const link of document.querySelectorAll("#tabs a")) {
    const tab = link.hash.slice(1);
    const current = tab === name || (name === "clip" && tab === "clips") || (name === "film" && tab === "runs");
    link.toggleAttribute("aria-current", current);
  }
  try {
    overview ??= await api("overview");
    document.getElementById("totals").textContent =
      `${number(overview.accepted)} of ${number(overview.clips)} clips kept, ${hours(overview.hours * 3600)}, ${number(overview.anchors)} anchors`;
    document.getElementById("damaged").replaceChildren(...overview.damaged.map((line) => h("p", { className: "error" }, line)));
    const pages = {
      clips: () => clipsPage(query),
      clip: () => showClip(overview, rest[0], rest[1], query.frame === undefined ? null : Number(query.frame)),
      anchors: () => anchorsPage(query),
      thresholds: () => thresholdsPage(overview, query),
      runs: () => runsPage(),
      film: () => filmPage(rest[0], rest[1]),
    };
    const made = await (pages[name] || pages.clips)();
    if (mine !== turn) return made.leave?.();
    leave = made.leave || leave;
    page.replaceChildren(...made.elements);
    window.scrollTo(0, 0);
  } catch (error) {
    if (mine === turn) page.replaceChildren(h("p", { className: "error" }, error.message));
  }
}

function field(title, control) {
  return h("label", { className: "field" }, h("span", {}, title), control);
}

function select(name, query, options) {
  const control = h("select", { name });
  for (const [value, text] of options) control.append(h("option", { value, selected: (query[name] || "") === value }, text));
  return control;
}

function text(name, query, properties = {}) {
  return h("input", { name, value: query[name] || "", type: "text", ...properties });
}

const counted = (counts) => Object.entries(counts).map(([name, count]) => [name, `${words(name)} (${number(count)})`]);

function filterForm(name, query, kind) {
  const counts = overview.counts[kind];
  const people = h("datalist", { id: "people" }, Object.keys(counts.identity).map((value) => h("option", { value })));
  const batches = Object.keys(counts.batch).map((batch) => [batch, `${overview.batches[batch] || batch} (${number(counts.batch[batch])}, ${batch})`]);
  const scores = [...new Map(overview.bounds[kind].map((bound) => [bound.score, bound.title.toLowerCase()]))];
  const orders = scores.flatMap(([score, title]) => [[score, `${title}, smallest first`], [`-${score}`, `${title}, largest first`]]);
  const fields = [
    field("State", select("state", query, [["", "all"], ["accepted", "accepted"], ["refused", "refused"]])),
    field("Person", text("person", query, { placeholder: "part of the name", list: "people" })),
    field("Reason", select("reason", query, [["", "any"], ...counted(counts.reason)])),
    field("Batch", select("batch", query, [["", "all"], ...batches])),
  ];
  if (kind === "clips") {
    const labels = overview.labels.map((label) => [label.name, `${label.title}${label.unit ? `, ${label.unit}` : ""}`]);
    fields.push(
      field("File", text("file", query, { placeholder: "part of the path" })),
      field("Some frame's", select("label", query, [["", "any label"], ...labels])),
      field("from", text("low", query, { type: "number", step: "any" })),
      field("to", text("high", query, { type: "number", step: "any" })),
    );
  }
  fields.push(field("Order", select("order", query, [["", "by batch and clip"], ...orders])));
  const form = h("form", { className: "filters" }, people, fields, h("button", { type: "reset" }, "Clear"));
  const apply = () => go(name, Object.fromEntries(new FormData(form)));
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("change", apply);
  form.addEventListener("reset", (event) => { event.preventDefault(); go(name, {}); });
  return form;
}

function pager(name, query, slice) {
  const offset = Number(query.offset || 0);
  const move = (to) => () => go(name, { ...query, offset: to || "" });
  const last = Math.min(offset + slice.rows.length, slice.total);
  const range = slice.total ? `${number(offset + 1, 9)}–${number(last, 9)} of ${slice.total.toLocaleString("en")}` : "none";
  return h("p", { className: "pager" },
    h("button", { disabled: !offset, onclick: move(Math.max(0, offset - ROWS)) }, "← Previous"),
    h("span", {}, range, slice.seconds ? `, ${hours(slice.seconds)}` : ""),
    h("button", { disabled: last >= slice.total, onclick: move(offset + ROWS) }, "Next →"));
}

const limits = new Map(); // reason -> its bound

function verdict(row) {
  if (row.accepted) return h("span", { className: "good" }, "accepted");
  const bound = limits.get(row.reason);
  const scale = bound ? bound.scale : 1;
  const against = row.threshold === null || row.threshold === undefined ? "" : `: ${number(row.score * scale)}, bound ${number(row.threshold * scale)}`;
  return h("span", { className: "bad" }, `${words(row.reason)}${against}`);
}

async function clipsPage(query) {
  for (const bound of overview.bounds.clips) limits.set(bound.reason, bound);
  const slice = await api("clips", { ...query, limit: ROWS });
  const cards = slice.rows.map((row) =>
    h("a", { className: "card", href: clipHash(row) },
      thumbnail(row),
      h("b", {}, row.identity),
      h("span", { className: "faint" }, `${row.relative_path} at ${number(row.first_frame / 25, 4)} s`),
      verdict(row)));
  const nothing = overview.clips ? "No clip fits these filters." : "There are no clips yet. Add a folder of videos in Dagster: job add_videos.";
  return {
    elements: [
      filterForm("clips", query, "clips"),
      pager("clips", query, slice),
      slice.total ? h("div", { className: "grid" }, cards) : h("p", {}, nothing),
      slice.total > ROWS ? pager("clips", query, slice) : null,
    ].filter(Boolean),
  };
}

async function anchorsPage(query) {
  const slice = await api("anchors", { ...query, limit: ROWS });
  return {
    elements: [
      filterForm("anchors", query, "anchors"),
      h("p", { className: "faint" }, "v2 with the eyes of v1. Refused anchors are made again to be shown."),
      pager("anchors", query, slice),
      slice.total ? h("div", { className: "triples" }, slice.rows.map((row) => anchorTriple(overview.bounds.anchors, row))) : h("p", {}, "No anchor fits."),
      slice.total > ROWS ? pager("anchors", query, slice) : null,
    ].filter(Boolean),
  };
}

window.addEventListener("hashchange", show);
show();
