// The view "Cluster": what is going on in sentences, the graph, nodes and links as tables, latency.

import * as api from "/console/api.js";
import { since } from "/console/cluster.js";
import { h, keyLink, render, writeLink } from "/console/dom.js";
import { graph } from "/console/graph.js";
import { Latency } from "/console/latency.js";
import { story } from "/console/story.js";
import { bytes, count, duration, plain, progress, span, when } from "/console/words.js";

/** Past so many links only those are listed at first of which there is something to say. */
const LISTED = 12;
/** A cell that has nothing to say. */
const NOTHING = "–";

export class Overview {
  #cluster = null;
  #all = false;
  /** What a heal would bring to each peer of which that was asked: `{ answer }` or `{ error }`. */
  #pending = new Map();
  #latency = new Latency();
  #statements = h("section", { "aria-label": "What is going on", class: "statements" });
  #graph = h("section", { "aria-labelledby": "graph-title" });
  #nodes = h("section", { "aria-labelledby": "nodes-title" });
  #links = h("section", { "aria-labelledby": "links-title" });

  constructor() {
    this.element = h("div", { class: "view" }, h("h1", { class: "unseen", tabindex: -1 }, "Cluster"), this.#statements,
      h("div", { class: "columns" }, this.#graph, this.#nodes), this.#links, this.#latency.element);
  }

  show() {
    this.#latency.show();
  }

  hide() {
    this.#latency.hide();
  }

  /** Shows a cluster, or nothing while none is known. */
  update(cluster) {
    this.#cluster = cluster;
    this.#draw();
    this.#latency.update(cluster);
    if (!cluster) this.#pending.clear();
    for (const [peer, state] of this.#pending) this.#refresh(peer, state);
  }

  #draw() {
    const cluster = this.#cluster;
    if (!cluster) {
      for (const part of [this.#statements, this.#graph, this.#nodes, this.#links]) render(part);
      return;
    }
    const { statements } = story(cluster);
    render(this.#statements, statements.map((statement) => this.#statement(statement)));
    render(this.#graph, h("h2", { id: "graph-title" }, "Who reaches whom"), graph(cluster), legend());
    render(this.#nodes, h("h2", { id: "nodes-title" }, "Nodes"), nodesTable(cluster));
    render(this.#links, h("h2", { id: "links-title" }, "Links"), this.#linksTable());
  }

  #statement({ key, level, title, body, peers = [] }) {
    return h("article", { "data-key": key, class: `statement ${level}` }, h("h2", {}, title), h("p", {}, body),
      peers.filter((peer) => peer.node !== null).map((peer) => this.#heal(peer, peers.length > 1)));
  }

  /** What the peer would get if the link were up now. Asked when it is opened, and again as it changes. */
  #heal(peer, oneOfMany) {
    const state = this.#pending.get(peer.node);
    const toggled = (event) => {
      if (!event.currentTarget.open) this.#pending.delete(peer.node);
      else if (!this.#pending.has(peer.node)) {
        const state = {};
        this.#pending.set(peer.node, state);
        this.#refresh(peer.node, state);
      }
    };
    const { said, state: way } = this.#cluster.link(this.#cluster.self, peer);
    const waits = oneOfMany ? `${count(said.ops_to_ship, "write")} (${bytes(said.bytes_to_ship)}) for ${peer.name}. ` : "";
    const question = way === "up" ? `What does ${peer.name} still get?` : `What would ${peer.name} get, if it were back now?`;
    return h("details", { "data-key": peer.key, ontoggle: toggled, class: "heal" }, h("summary", {}, `${waits}${question}`),
      h("div", {}, state ? healed(peer, state) : null));
  }

  async #refresh(peer, state) {
    const ops = this.#cluster.self.facts.links.find((link) => link.to === peer)?.ops_to_ship;
    if (state.asking || state.ops === ops) return;
    Object.assign(state, { asking: true, ops });
    try {
      Object.assign(state, { answer: await api.pending(peer), error: null });
    } catch (error) {
      Object.assign(state, { error, ops: null });
    }
    state.asking = false;
    this.#draw();
  }

  #linksTable() {
    const cluster = this.#cluster;
    const order = { cut: 0, unknown: 1, up: 2 };
    const sorted = [...cluster.links].sort((a, b) => order[a.state] - order[b.state] || b.from.self - a.from.self);
    const many = sorted.length > LISTED;
    // That others don't reach what this node doesn't reach is said above.
    const told = (to) => cluster.link(cluster.self, to)?.state === "cut";
    const telling = (link) => link.from.self || (!told(link.to) && (link.state === "cut" || link.said?.ops_to_ship));
    const rows = many && !this.#all ? sorted.filter(telling) : sorted;
    const head = ["From", "To", "State", "Waits there for it", "Oldest", "Half of its writes arrive in", "99 of 100 in", "As of"];
    const toggle = () => {
      this.#all = !this.#all;
      this.#draw();
    };
    return [
      table(head, rows.map((link) => linkRow(cluster, link))),
      many ? h("p", {}, h("button", { type: "button", onclick: toggle, "aria-expanded": String(this.#all) },
        this.#all ? "Show fewer" : `Show all ${sorted.length} links`)) : null,
    ];
  }
}

function table(head, rows) {
  const labelled = rows.map(({ key, cells, level }) => h("tr", { "data-key": key, class: level },
    cells.map((cell, index) => h(index === 0 ? "th" : "td",
      { "data-label": head[index], class: cell === NOTHING ? "nothing" : null, scope: index === 0 ? "row" : null }, cell))));
  return h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, labelled));
}

function asOf(node) {
  if (node.self) return "now";
  return node.age_ms === null ? "nothing known" : node.fresh ? "now" : `${duration(node.age_ms)} ago`;
}

function nodesTable(cluster) {
  const head = ["Node", "Keys", "In conflict", "Data on disk", "Running since", "As of"];
  return table(head, cluster.nodes.map((node) => {
    const facts = node.facts;
    const name = h("span", { title: node.address }, node.name, node.self ? h("small", {}, " this node") : null,
      facts?.read_only ? h("small", { class: "bad" }, " takes no writes") : null,
      facts?.draining ? h("small", { class: "bad" }, " is being drained") : null);
    const cells = facts
      ? [name, plain(facts.keys), plain(facts.conflicts), bytes(facts.disk_bytes), when(facts.started), asOf(node)]
      : [name, NOTHING, NOTHING, NOTHING, NOTHING, asOf(node)];
    return { key: node.key, level: node.fresh ? "" : "stale", cells };
  }));
}

function linkRow(cluster, link) {
  const said = link.said;
  const old = link.state === "unknown" || link.inferred;
  const latency = said?.latency_ms;
  const cells = [
    link.from.name, link.to.name, linkState(cluster, link),
    said?.state_transfer ? `whole state, ${progress(said.state_transfer)}`
      : said ? (said.ops_to_ship ? `${count(said.ops_to_ship, "write")}, ${bytes(said.bytes_to_ship)}` : "nothing") : NOTHING,
    said?.oldest_waiting ? when(said.oldest_waiting) : NOTHING,
    latency ? span(latency.p50) : NOTHING, latency ? span(latency.p99) : NOTHING, asOf(link.from),
  ];
  return { key: link.key, cells, level: old ? "stale" : link.state === "cut" ? "bad" : "" };
}

function linkState(cluster, link) {
  const mark = (state, words) => h("span", { class: `state ${state}` }, words);
  const back = cluster.link(link.to, link.from);
  if (link.state === "cut") {
    const oneWay = back.state === "up" ? ", one way only" : "";
    return [mark("cut", "cut"), " since ", when(link.since), ` (${duration(since(cluster, link.since))})${oneWay}`];
  }
  if (link.state === "up") return mark("up", link.inferred ? "up: heard here" : "up");
  if (link.last === null) return mark("unknown", "not known");
  const heard = link.heard ? [", nothing heard since ", when(link.heard)] : "";
  return [mark("unknown", "not known"), heard || `, was ${link.last}`];
}

function legend() {
  return h("p", { class: "legend muted" },
    h("span", { class: "key up" }, "up"), h("span", { class: "key cut" }, "cut"), h("span", { class: "key unknown" }, "not known"),
    h("span", { class: "note" }, "An arrow points to where writes arrive."));
}

function healed(peer, { answer, error }) {
  if (error) return h("p", { class: "problem" }, error.message);
  if (!answer) return h("p", { class: "muted" }, "Asking.");
  if (!answer.ops) return h("p", {}, `Nothing: ${peer.name} has all that is written here.`);
  const few = answer.ops_looked_at < answer.ops;
  return [
    h("p", {}, `${count(answer.ops, "write")}, ${bytes(answer.bytes)}`, answer.oldest ? [", the oldest from ", when(answer.oldest)] : "",
      `. They write ${answer.keys.length === 1 ? "this key" : `these ${answer.keys.length} keys`}; only there can it get a second value, where both sides wrote:`,
      few ? ` (Keys of the first ${count(answer.ops_looked_at, "write")}.)` : ""),
    h("ul", { class: "keys" }, answer.keys.map(({ key, dot }) => h("li", { "data-key": key }, keyLink(key), " ", writeLink(dot)))),
    answer.keys_left_out ? h("p", { class: "muted" }, `and ${count(answer.keys_left_out, "more key")}`) : null,
  ];
}
