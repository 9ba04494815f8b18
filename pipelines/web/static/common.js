// Elements, requests and texts that every page uses. Texts are set as text, never as HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export async function api(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const response = await fetch(`api/${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`);
  const answer = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export async function graphql(query, variables = {}) {
  const response = await fetch("../graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json();
  if (!response.ok || answer.errors) throw new Error(answer.error || answer.errors[0].message);
  return answer.data;
}

export const pathOf = (...parts) => parts.map(encodeURIComponent).join("/");
export const fileUrl = (location) => `../files/${location.split("/").map(encodeURIComponent).join("/")}`;
export const frameUrl = (row, frame = null) =>
  `api/frame/${pathOf(row.batch, row.key)}${frame === null ? "" : `?frame=${frame}`}`;
export const clipHash = (row, frame = null) => `#clip/${pathOf(row.batch, row.key)}${frame === null ? "" : `?frame=${frame}`}`;
export const words = (name) => name.replaceAll("_", " ");

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

export function hours(seconds) {
  if (seconds < 120) return `${number(seconds)} s`;
  return seconds < 7200 ? `${number(seconds / 60)} min` : `${number(seconds / 3600)} h`;
}

export const colour = (rgb, alpha = 1) => `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]} / ${alpha})`;

/* A canvas sharp on its screen; draw in CSS pixels. */
export function sharp(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/* A colour of the style sheet as a canvas takes it, light or dark as the page is. */
export function inkOf(name) {
  const probe = h("span", {});
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/* The middle frame of a clip, or another; of pieces that are too short no pictures were kept. */
export function thumbnail(row, frame = null, alt = "") {
  const kept = row.accepted !== false || "sharpness" in row.scores || "gaze_error_rad" in row.scores;
  if (!kept) return h("div", { className: "no-picture" }, "pictures not kept");
  return h("img", { src: frameUrl(row, frame), alt: alt || row.identity, loading: "lazy", width: 224, height: 224 });
}
