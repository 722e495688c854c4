// What the answer of GET /cluster means: nodes, and links between them in each direction. Computes only.

import { nodeName } from "/console/words.js";

/** Facts that are older are not what is, but what was. */
export const FRESH_MS = 5_000;

/**
 * The cluster as this node knows it.
 *
 * A link's `state` is "up" or "cut" where the node at its start says so or where it follows from what is heard here,
 * and "unknown" where that node's facts are too old: then `last` is what it said. `as_of_ms` is their age.
 */
export function model(report) {
  const at = Date.parse(report.at);
  const nodes = report.nodes.map((node) => ({
    ...node,
    key: node.node === null ? node.address : String(node.node),
    name: nodeName(node.node, node.address),
  }));
  const self = nodes.find((node) => node.self);
  // Only this node's links name addresses as this node knows them.
  const find = (id, address) => nodes.find((node) => node.node !== null && node.node === id) ?? nodes.find((node) => address && node.address === address);
  for (const node of nodes) {
    // What a node told just before it was cut off is not what is.
    const cut = self.facts.links.find((link) => find(link.to, link.address) === node)?.away_since;
    node.cut_at = cut ? Date.parse(cut) : -Infinity;
    node.fresh = node.facts !== null && node.age_ms <= FRESH_MS && at - node.age_ms > node.cut_at;
  }
  const links = [];
  for (const from of nodes) {
    for (const to of nodes) {
      if (from !== to) links.push(link(from, to, self, at, find));
    }
  }
  return { ...report, at, nodes, self, links, link: (from, to) => links.find((link) => link.from === from && link.to === to) };
}

function link(from, to, self, at, find) {
  const said = (node, target) =>
    node.facts?.links.find((link) => find(link.to, node.self ? link.address : null) === target);
  const its = said(from, to);
  const base = { from, to, key: `${from.key}>${to.key}`, said: its, as_of_ms: from.age_ms };
  if (from.fresh && its) return { ...base, state: its.away_since ? "cut" : "up", since: its.away_since };
  // The start of this link is not heard of; but what comes from it arrives here.
  const heard = to === self ? said(self, from)?.heard : null;
  const heardAt = heard ? Date.parse(heard) : -Infinity;
  if (at - heardAt <= FRESH_MS && heardAt > from.cut_at) return { ...base, state: "up", inferred: true };
  return { ...base, state: "unknown", last: its ? (its.away_since ? "cut" : "up") : null, heard };
}

/** Pairs of nodes with both their links, each pair once. */
export function pairs(cluster) {
  const found = [];
  cluster.nodes.forEach((a, index) => {
    for (const b of cluster.nodes.slice(index + 1)) {
      const there = cluster.link(a, b);
      const back = cluster.link(b, a);
      found.push({ a, b, there, back, state: together(there.state, back.state) });
    }
  });
  return found;
}

function together(there, back) {
  const states = [there, back];
  if (states.includes("cut")) return states.includes("up") ? "one-way" : "cut";
  if (states.includes("up")) return "up";
  return "unknown";
}

/** Milliseconds from a time of the cluster's answer until it was made, by this node's clock. */
export function since(cluster, iso) {
  return cluster.at - Date.parse(iso);
}
