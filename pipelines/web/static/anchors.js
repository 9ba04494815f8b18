// An anchor beside the frames that it is made of.

import { clipHash, h, pathOf, number, thumbnail, words } from "./common.js";

export function anchorTriple(bounds, row) {
  const eyes = { batch: row.batch, key: row.eyes_key, identity: row.eyes_identity };
  const units = { degrees: "°", px: " px" };
  const errors = bounds.map((bound) =>
    `${bound.title.toLowerCase()} ${number(row.scores[bound.score] * bound.scale, 2)}${units[bound.unit] || ""}`);
  const part = (title, picture, href) => h("figure", {}, href ? h("a", { href }, picture) : picture, h("figcaption", {}, title));
  const composite = h("img", { src: `api/anchor/${pathOf(row.batch, String(row.place))}`, alt: "anchor", loading: "lazy", width: 224, height: 224 });
  return h("article", { className: "triple" },
    h("div", { className: "pictures" },
      part(`v1: eyes of ${row.eyes_identity}`, thumbnail(eyes, row.eyes_frame), clipHash(eyes, row.eyes_frame)),
      part(`v2: face of ${row.identity}`, thumbnail(row, row.base_frame), clipHash(row, row.base_frame)),
      part("anchor", composite)),
    h("p", {}, row.accepted ? h("span", { className: "good" }, "accepted") : h("span", { className: "bad" }, words(row.reason)),
      h("span", { className: "faint" }, ` ${errors.join(", ")}`)));
}
