// The cluster drawn: nodes on a circle, a line for each pair, two arrows where the directions differ.

import { pairs } from "/console/cluster.js";
import { s } from "/console/dom.js";
import { bytes, duration, plain } from "/console/words.js";

const WIDTH = 460;
const MIDDLE = WIDTH / 2;
/** In larger clusters lines tell nothing one by one: what waits there is in the table. */
const LABELLED = 5;

export function graph(cluster) {
  const number = cluster.nodes.length;
  const height = number < 3 ? 130 : number === 3 ? 310 : 400;
  const places = place(number, height);
  const radius = number > 6 ? 20 : 27;
  const at = new Map(cluster.nodes.map((node, index) => [node, places[index]]));
  const lines = pairs(cluster);
  // What is wrong is drawn over what is right.
  const order = ["up", "unknown", "cut", "one-way"];
  lines.sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const labels = number > LABELLED ? [] : lines.flatMap((pair) => [label(pair.there, at, radius), label(pair.back, at, radius)]);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: `graph ${number > LABELLED ? "large" : ""}`, "aria-label": summary(lines) },
    s("defs", {}, ["up", "cut", "unknown"].map(arrowhead)),
    lines.map((pair) => line(pair, at.get(pair.a), at.get(pair.b), radius)), labels,
    cluster.nodes.map((node) => circle(node, at.get(node), radius, number)));
}

/** Where the nodes are; `out` is the way from the middle of the drawing, where there is room for words. */
function place(number, height) {
  if (number === 1) return [{ x: MIDDLE, y: height / 2, out: { x: 0, y: 1 } }];
  if (number === 2) return [{ x: 90, y: height / 2, out: { x: 0, y: 1 } }, { x: WIDTH - 90, y: height / 2, out: { x: 0, y: 1 } }];
  const [rx, ry] = number === 3 ? [165, 135] : [145, 148];
  // A triangle sits lower than its circle's middle.
  const y = number === 3 ? height / 2 + 32 : height / 2;
  return Array.from({ length: number }, (_, index) => {
    const angle = (2 * Math.PI * index) / number - Math.PI / 2;
    const out = { x: Math.cos(angle), y: Math.sin(angle) };
    return { x: MIDDLE + rx * out.x, y: y + ry * out.y, out };
  });
}

function summary(lines) {
  const words = { up: "up", cut: "cut", "one-way": "cut one way", unknown: "not known" };
  const bad = lines.filter((pair) => pair.state !== "up");
  if (!bad.length) return "The nodes and their links. All links are up.";
  return `The nodes and their links. ${bad.map((pair) => `${pair.a.name} and ${pair.b.name}: ${words[pair.state]}`).join("; ")}. The table says the same.`;
}

function arrowhead(state) {
  return s("marker", { id: `arrow-${state}`, class: `arrow ${state}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
    s("path", { d: "M0 1 8 4 0 7z" }));
}

/** The line between two circles, `aside` to its right, from edge to edge. */
function segment(from, to, radius, aside) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const [ux, uy] = [dx / length, dy / length];
  const gap = radius + 5;
  const point = (along) => ({ x: from.x + ux * along - uy * aside, y: from.y + uy * along + ux * aside });
  return { start: point(gap), end: point(length - gap), middle: point(length / 2), point, length };
}

function line(pair, a, b, radius) {
  if (pair.state === "one-way") {
    return s("g", { "data-key": `${pair.a.key}-${pair.b.key}` }, [[pair.there, a, b], [pair.back, b, a]].map(([link, from, to]) => {
      const { start, end, middle } = segment(from, to, radius, 9);
      return s("g", { class: `link ${link.state}` }, path(start, end, link.state, true), link.state === "cut" ? cross(middle) : null);
    }));
  }
  const { start, end, middle } = segment(a, b, radius, 0);
  return s("g", { "data-key": `${pair.a.key}-${pair.b.key}`, class: `link ${pair.state}` },
    path(start, end, pair.state, pair.there.state === "up", pair.back.state === "up"),
    pair.state === "cut" ? cross(middle) : null,
    pair.state === "unknown" ? s("text", { x: middle.x, y: middle.y, class: "mark" }, "?") : null);
}

function path(start, end, state, ahead, behind = false) {
  return s("path", {
    d: `M${start.x.toFixed(1)} ${start.y.toFixed(1)}L${end.x.toFixed(1)} ${end.y.toFixed(1)}`,
    "marker-end": ahead ? `url(#arrow-${state})` : null,
    "marker-start": behind ? `url(#arrow-${state})` : null,
  });
}

function cross({ x, y }) {
  return s("g", { class: "cross" }, s("circle", { cx: x, cy: y, r: 10 }),
    s("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` }));
}

/** What waits at the start of a link: beside it, on its outer side. */
function label(link, at, radius) {
  if (!link.said?.ops_to_ship || link.state === "unknown") return null;
  const [from, to] = [at.get(link.from), at.get(link.to)];
  const { point, length } = segment(from, to, radius, 0);
  const beside = point(Math.min(radius + 52, length / 2));
  const out = { x: from.out.x + to.out.x, y: from.out.y + to.out.y };
  const size = Math.hypot(out.x, out.y) || 1;
  const [x, y] = [beside.x + (14 * out.x) / size, beside.y + (22 * out.y) / size];
  const anchor = out.x / size < -0.4 ? "end" : out.x / size > 0.4 ? "start" : "middle";
  return s("g", { "data-key": `label ${link.key}`, class: `waits ${link.state}` },
    s("text", { x, y: y - 6, "text-anchor": anchor }, `${plain(link.said.ops_to_ship)} ${link.said.ops_to_ship === 1 ? "waits" : "wait"}`),
    s("text", { x, y: y + 8, "text-anchor": anchor }, bytes(link.said.bytes_to_ship)));
}

function circle(node, { x, y, out }, radius, number) {
  const words = node.self ? "this node" : node.facts === null ? "nothing known" : node.fresh ? "" : `${number > LABELLED ? "" : "as of "}${duration(node.age_ms)} ago`;
  const name = node.node === null ? "?" : number > 6 ? String(node.node) : node.name;
  const state = `${node.self ? "self" : ""} ${node.fresh ? "" : "stale"} ${node.facts?.read_only ? "failed" : ""}`;
  const anchor = out.x < -0.6 && number > 3 ? "end" : out.x > 0.6 && number > 3 ? "start" : "middle";
  const away = anchor === "middle" ? { x, y: y + (radius + 13) * Math.sign(out.y) } : { x: x + (radius + 8) * Math.sign(out.x), y: y + 6 * out.y };
  return s("g", { "data-key": `node ${node.key}`, class: `node ${state}` },
    s("title", {}, node.name), s("circle", { cx: x, cy: y, r: radius }), s("text", { x, y }, name),
    words ? s("text", { ...away, class: "aside", "text-anchor": anchor }, words) : null);
}
