// The view "A write": its receipt. When it was accepted, which nodes have it since when, which lack it and why.

import * as api from "/console/api.js";
import { h, keyLink, problem, render, writeLink } from "/console/dom.js";
import { count, duration, nodeName, span, when } from "/console/words.js";

/** The receipt is asked for at most so often while a node lacks the write. */
const AGAIN_MS = 900;
/** What was said so long ago is as good as said now. */
const FRESH_MS = 5_000;

export class Receipt {
  #dot = null;
  #shown = false;
  #cluster = null;
  #answer = null;
  #error = null;
  #asked = 0;
  #asking = false;
  #input = h("input", { id: "dot", type: "text", autocomplete: "off", spellcheck: "false", size: 32, required: true });
  #body = h("div");

  constructor() {
    const submitted = (event) => {
      event.preventDefault();
      location.hash = `#/write/${encodeURIComponent(this.#input.value.trim())}`;
    };
    this.element = h("div", { class: "view" }, h("h1", { tabindex: -1 }, "A write"),
      h("form", { class: "line", onsubmit: submitted }, h("label", { for: "dot" }, "Its name"), this.#input, h("button", { type: "submit" }, "Show")),
      this.#body);
  }

  show({ dot = null } = {}) {
    this.#shown = true;
    if (dot !== this.#dot) {
      this.#answer = null;
      this.#error = null;
    }
    this.#dot = dot;
    this.#input.value = dot ?? "";
    if (dot !== null) this.#ask();
    this.#draw();
  }

  hide() {
    this.#shown = false;
  }

  /** Asks again while a node lacks it; `cluster` is null where there are no news. */
  update(cluster) {
    this.#cluster = cluster;
    const everywhere = this.#answer?.nodes.every((node) => node.has);
    // A refusal stays one, unless somebody could not be asked.
    const refused = this.#error?.status && !this.#error.problem.not_asked?.length;
    const due = performance.now() - this.#asked > AGAIN_MS;
    if (this.#shown && this.#dot !== null && !everywhere && due && !refused) this.#ask();
    if (this.#shown) this.#draw();
  }

  async #ask() {
    if (this.#asking) return;
    const dot = this.#dot;
    this.#asking = true;
    this.#asked = performance.now();
    let [answer, error] = [null, null];
    try {
      answer = await api.receipt(dot);
    } catch (caught) {
      error = caught;
    }
    this.#asking = false;
    if (dot !== this.#dot) return this.#ask();
    this.#answer = answer ?? this.#answer;
    this.#error = error;
    this.#draw();
  }

  #draw() {
    const answer = this.#answer;
    if (this.#dot === null) {
      render(this.#body, h("p", { class: "lead" }, "Every write has a name, which its answer, the feed and each value show. Give one to see where it has arrived."));
      return;
    }
    if (!answer) {
      render(this.#body, this.#error ? problem(this.#error) : h("p", { class: "muted" }, "Asking."));
      return;
    }
    render(this.#body, this.#error ? problem(this.#error) : null, this.#summary(answer), timeline(answer, this.#cluster?.at ?? Date.now()),
      h("p", { class: "muted" }, "Each time is by the clock of the node that it stands beside: small differences between nodes can be those of their clocks."));
  }

  #summary(answer) {
    const have = answer.nodes.filter((node) => node.has).length;
    const all = answer.nodes.length;
    const verdict = have === all ? (all === 1 ? "It is on this node, the only one." : `All ${all} nodes have it.`) : `${have} of ${all} nodes are known to have it.`;
    return [
      h("p", { class: `verdict-line ${have === all ? "good" : "warn"}` }, verdict),
      h("dl", { class: "facts" },
        h("dt", {}, "written on"), h("dd", {}, h("b", {}, nodeName(answer.node)), " at ", when(answer.written_at, { millis: true })),
        h("dt", {}, answer.keys.length === 1 && !answer.keys_left_out ? "key" : "keys"),
        h("dd", {}, answer.keys.length ? answer.keys.map((key, index) => [index ? ", " : "", keyLink(key)]) : "not known here any more",
          answer.keys_left_out ? ` and ${count(answer.keys_left_out, "more key")}` : ""),
        h("dt", {}, "trace"), h("dd", {}, this.#trace(answer.trace_id)),
        h("dt", {}, "name"), h("dd", {}, h("code", {}, answer.dot))),
    ];
  }

  #trace(id) {
    if (!id) return "this write was not traced";
    const template = this.#cluster?.traces_url;
    // Only what leads to a web page becomes a link.
    if (!template || !/^https?:\/\//.test(template)) return h("code", {}, id);
    return h("a", { href: template.replaceAll("{trace_id}", encodeURIComponent(id)), target: "_blank", rel: "noopener noreferrer" }, "see its trace");
  }
}

/** A row a node: from when it was written until it was visible there, or until now where it is not. */
function timeline(answer, now) {
  const start = Date.parse(answer.written_at ?? answer.nodes.map((node) => node.visible_at).filter(Boolean).sort()[0] ?? now);
  const arrivals = answer.nodes.map((node) => (node.visible_at ? Date.parse(node.visible_at) - start : 0));
  const missing = answer.nodes.some((node) => node.has !== true);
  const longest = Math.max(1, ...arrivals, missing ? now - start : 0);
  const end = missing ? ["now, ", duration(longest), " later"] : [span(longest), " later"];
  return [
    h("div", { class: "axis muted", "aria-hidden": "true" }, h("p", {}, h("span", {}, "written"), h("span", {}, end))),
    h("ol", { class: "timeline", "aria-label": "Its way to each node" }, answer.nodes.map((node, index) => row(node, index, arrivals[index], longest, answer, now))),
  ];
}

function row(node, index, took, longest, answer, now) {
  const name = nodeName(node.node, node.address);
  const state = node.has === true ? "has" : node.has === false ? "lacks" : "unknown";
  const share = node.has === true ? Math.max(0, took) / longest : 1;
  return h("li", { "data-key": node.node ?? node.address ?? index, class: state },
    h("b", {}, name),
    h("progress", { class: state, max: 1000, value: Math.round(1000 * share), "aria-hidden": "true" }),
    h("p", {}, node.has === true ? arrived(node, took, answer) : lacks(node, name, now)));
}

function arrived(node, took, answer) {
  const writer = node.node === answer.node;
  if (!node.visible_at) return [h("span", { class: "state up" }, "has it"), "; since when is not known any more."];
  const after = writer || took < 0 ? "" : `, ${span(took)} after it was written`;
  return [h("span", { class: "state up" }, writer ? "accepted it" : "has it"), writer ? " at " : " since ", when(node.visible_at, { millis: true }), after, "."];
}

function lacks(node, name, now) {
  const by = node.blocked_by;
  const state = node.has === false ? h("span", { class: "state cut" }, "lacks it") : h("span", { class: "state unknown" }, "not known");
  const age = node.as_of ? now - Date.parse(node.as_of) : 0;
  const asOf = age > FRESH_MS ? [" (as of ", duration(age), " ago)"] : "";
  if (!by) return [state, asOf, "."];
  const since = by.since ? [" since ", when(by.since), ` (${duration(now - Date.parse(by.since))})`] : "";
  const before = by.ops_before ? ` ${count(by.ops_before, "write")} ${by.ops_before === 1 ? "goes" : "go"} before it.` : "";
  const reason = {
    away: [`: ${name} can't be reached`, since, ". It will be sent by itself when it's back.", before],
    behind: [": it is on its way.", before],
    waits: [": it arrived there, and is shown as soon as the writes arrive that it was made after: ", by.waits_for.map((dot, index) => [index ? ", " : "", writeLink(dot)]), "."],
    unknown: [": ", name, " has not said", since, "."],
  }[by.kind] ?? "";
  // Of the others the sentence says it already.
  const detail = ["away", "unknown"].includes(by.kind) ? by.detail : "";
  return [state, asOf, reason, detail ? [h("br"), h("small", { class: "muted" }, detail)] : null];
}
