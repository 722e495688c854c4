// How long this node's writes take to reach each peer, over the last 15 minutes: one plot a peer, all of one scale.

import * as api from "/console/api.js";
import { h, render, s } from "/console/dom.js";
import { count, nodeName, span, when } from "/console/words.js";

const WINDOW_MS = 15 * 60_000;
/** Steps this far apart are joined by a line. */
const JOINED_MS = 16_000;
const [WIDTH, HEIGHT] = [420, 132];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 8, 8, 20];

export class Latency {
  #shown = false;
  #timer = null;
  #cluster = null;
  #answer = null;
  #error = null;
  /** The point that the pointer is at, by peer. */
  #at = new Map();
  element = h("section", { "aria-labelledby": "latency-title" });

  show() {
    this.#shown = true;
    this.#ask();
  }

  hide() {
    this.#shown = false;
    clearTimeout(this.#timer);
  }

  update(cluster) {
    this.#cluster = cluster;
    this.#draw();
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (!document.hidden) {
      try {
        this.#answer = await api.latency();
        this.#error = null;
      } catch (error) {
        this.#error = error;
      }
      this.#draw();
    }
    const step = this.#answer?.step_ms ?? 5_000;
    if (this.#shown) this.#timer = setTimeout(() => this.#ask(), Math.min(step, 5_000));
  }

  #draw() {
    if (!this.#cluster) {
      render(this.element);
      return;
    }
    const peers = [...(this.#answer?.peers ?? [])].sort((a, b) => (a.node ?? Infinity) - (b.node ?? Infinity));
    const scale = scaleOf(peers);
    render(this.element, h("h2", { id: "latency-title" }, "How long writes take to arrive"),
      h("p", { class: "muted" }, "From when this node accepted a write until the other node said that it has it, last 15 minutes. ",
        h("span", { class: "key p50" }, "half of them within"), " ", h("span", { class: "key p99" }, "99 of 100 within")),
      this.#error ? h("p", { class: "problem" }, this.#error.message) : null,
      h("div", { class: "plots" }, peers.map((peer) => this.#plot(peer, scale))));
  }

  #plot(peer, scale) {
    const now = this.#cluster.at;
    const points = peer.points.filter(({ at }) => Date.parse(at) > now - WINDOW_MS);
    const x = (at) => LEFT + (1 - (now - Date.parse(at)) / WINDOW_MS) * (WIDTH - LEFT - RIGHT);
    const key = String(peer.node);
    const point = this.#at.get(key) ?? points.at(-1);
    const moved = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const wanted = ((event.clientX - box.left) / box.width) * WIDTH;
      const nearest = points.reduce((best, other) => (Math.abs(x(other.at) - wanted) < Math.abs(x(best.at) - wanted) ? other : best), points[0]);
      this.#at.set(key, nearest);
      this.#draw();
    };
    const left = () => {
      this.#at.delete(key);
      this.#draw();
    };
    const name = nodeName(peer.node, peer.address);
    return h("figure", { "data-key": key }, h("figcaption", {}, h("b", {}, `to ${name}`), " ", words(point)),
      s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot", "aria-label": spoken(name, points),
        onpointermove: points.length ? moved : null, onpointerleave: left },
        this.#cut(peer, x), scale.marks.map((ms) => grid(scale, ms)), times(),
        curve(points, x, scale, "p99"), curve(points, x, scale, "p50"),
        point && this.#at.has(key) ? s("path", { class: "pointer", d: `M${x(point.at)} ${TOP}V${HEIGHT - BOTTOM}` }) : null,
        points.length ? null : s("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT / 2, class: "none" }, "no writes arrived there")));
  }

  /** Since when the link is cut, as a band. */
  #cut(peer, x) {
    const link = this.#cluster.self.facts.links.find(({ to }) => to === peer.node);
    if (!link?.away_since) return null;
    const from = Math.max(LEFT, x(link.away_since));
    const width = WIDTH - RIGHT - from;
    return s("g", { class: "band" }, s("rect", { x: from, y: TOP, width, height: HEIGHT - TOP - BOTTOM }),
      width > 30 ? s("text", { x: from + width / 2, y: TOP + 12 }, "cut") : null);
  }
}

function words(point) {
  if (!point) return "";
  return h("span", { class: "muted" }, when(point.at), `: ${count(point.ops, "write")}, half within ${span(point.p50)}, 99 of 100 within ${span(point.p99)}`);
}

function spoken(name, points) {
  if (!points.length) return `No writes of this node arrived at ${name} in the last 15 minutes.`;
  const slowest = points.reduce((worst, point) => (point.max > worst.max ? point : worst));
  return `Writes to ${name}: last, half within ${span(points.at(-1).p50)}, 99 of 100 within ${span(points.at(-1).p99)}; the slowest took ${span(slowest.max)}.`;
}

/** Powers of ten around what there is: a cut of minutes and milliseconds fit one picture. */
function scaleOf(peers) {
  const values = peers.flatMap((peer) => peer.points.flatMap(({ p50, p99 }) => [p50, p99]));
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(1, ...values))));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(10, ...values))));
  const marks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  const y = (ms) => TOP + (1 - (Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  return { marks, y };
}

function grid(scale, ms) {
  const y = scale.y(ms).toFixed(1);
  const label = ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
  return [s("path", { class: "grid", d: `M${LEFT} ${y}H${WIDTH - RIGHT}` }), s("text", { x: LEFT - 6, y, class: "y" }, label)];
}

function times() {
  const at = (minutes) => LEFT + (1 - minutes / 15) * (WIDTH - LEFT - RIGHT);
  return [15, 10, 5, 0].map((minutes) => s("text", { x: at(minutes), y: HEIGHT - 5, class: minutes === 0 ? "x end" : minutes === 15 ? "x start" : "x" }, minutes ? `${minutes} min ago` : "now"));
}

/** A line through the points; where steps had no writes, none. A point without neighbours is a dot. */
function curve(points, x, scale, which) {
  const runs = [];
  for (const point of points) {
    const last = runs.at(-1);
    if (last && Date.parse(point.at) - Date.parse(last.at(-1).at) <= JOINED_MS) last.push(point);
    else runs.push([point]);
  }
  const place = (point) => `${x(point.at).toFixed(1)} ${scale.y(point[which]).toFixed(1)}`;
  const lines = runs.filter((run) => run.length > 1).map((run) => `M${run.map(place).join("L")}`);
  const dots = runs.filter((run) => run.length === 1).map(([point]) => `M${place(point)}h0.01`);
  return [s("path", { class: which, d: lines.join("") }), s("path", { class: `${which} dots`, d: dots.join("") })];
}
