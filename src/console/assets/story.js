// What is going on, in sentences: the worst first. Each has what is so, since when, what it means, and what happens next.

import { FRESH_MS, since } from "/console/cluster.js";
import { h } from "/console/dom.js";
import { bytes, count, duration, list, progress, when } from "/console/words.js";

/** More peers than this that can't be reached are told together. */
const TOLD_ALONE = 2;

/** `{ verdict, level, statements: [{ key, level, title, body, peers }] }`; `peers` are those that something waits for. */
export function story(cluster) {
  const facts = cluster.self.facts;
  const others = cluster.nodes.filter((node) => !node.self);
  const cut = others.filter((node) => cluster.link(cluster.self, node).state === "cut");
  const statements = [
    ...readOnly(cluster),
    ...damaged(cluster),
    ...unreachable(cluster, cut),
    ...cutElsewhere(cluster, cut),
    ...catchingUp(cluster),
    ...waiting(cluster, cut),
    ...buffered(cluster),
    ...conflicts(facts),
    ...unheard(cluster, others, cut),
    ...versions(cluster),
  ];
  return { ...verdict(cluster, statements, cut), statements };
}

/** One line for the whole. Without durations: it is read aloud when it changes. */
function verdict(cluster, statements, cut) {
  const others = cluster.nodes.length - 1;
  const readonly = cluster.nodes.filter((node) => node.facts?.read_only);
  const parts = [];
  if (readonly.length) parts.push(`${list(readonly.map((node) => node.name))} can't take writes.`);
  const damage = cluster.nodes.filter((node) => node.facts?.damage);
  if (damage.length) parts.push(`Data of ${list(damage.map((node) => node.name))} is damaged.`);
  if (cut.length && cut.length === others) {
    parts.push(`${cluster.self.name}, this node, can't reach ${others === 1 ? cut[0].name : "any other node"}.`);
  } else if (cut.length) {
    const oneWay = cut.every((node) => cluster.link(node, cluster.self).state === "up");
    parts.push(`${list(cut.map((node) => node.name))} can't be reached from here${oneWay ? "; the way back works" : ""}.`);
  } else {
    const elsewhere = cluster.links.filter((link) => link.state === "cut");
    if (elsewhere.length) parts.push(`${count(elsewhere.length, "link")} between nodes ${elsewhere.length === 1 ? "is" : "are"} cut.`);
  }
  const level = parts.length ? "bad" : null;
  const conflicts = cluster.self.facts.conflicts;
  const more = conflicts
    ? [`${count(conflicts, "key")} ${conflicts === 1 ? "has" : "have"} conflicting values.`]
    : [];
  if (level) return { level, verdict: [...parts, ...more].join(" ") };
  const waits = statements.some((statement) => statement.kind === "waiting");
  const unknown = statements.some((statement) => statement.kind === "unheard");
  if (!more.length && !waits && !unknown) {
    const all = others ? `${count(cluster.nodes.length, "node")}, every link up, nothing waits.` : "This is the only node; nothing waits.";
    return { level: "good", verdict: `All is well. ${all}` };
  }
  const links = unknown ? "No link is known to be cut." : "Every link is up.";
  const sent = waits ? ["Writes are on their way."] : [];
  return { level: more.length || unknown ? "warn" : "good", verdict: [links, ...sent, ...more].join(" ") };
}

function readOnly(cluster) {
  return cluster.nodes.filter((node) => node.facts?.read_only).map((node) => ({
    key: `read-only ${node.key}`,
    level: "bad",
    title: `${node.name} takes no writes: its disk failed.`,
    body: [`A commit to its disk failed. It still answers reads. Look at its disk and its log, then restart it. ${asOf(node)}`],
  }));
}

function damaged(cluster) {
  return cluster.nodes.filter((node) => node.facts?.damage).map((node) => ({
    key: `damaged ${node.key}`,
    level: "bad",
    title: `Data of ${node.name} is damaged on its disk.`,
    body: [
      node.facts.damage.keys ? "Reads of some keys fail there until another node's whole state has taken their place, by itself. " : "",
      node.facts.damage.log ? "It gives up its log to where it can't be read, by itself. " : "",
      asOf(node),
    ],
  }));
}

function asOf(node) {
  return node.self || node.fresh ? "" : `(As of ${duration(node.age_ms)} ago.)`;
}

function unreachable(cluster, cut) {
  const all = cut.length > 1 && cut.length === cluster.nodes.length - 1;
  if (all || cut.length > TOLD_ALONE) return [unreachableTogether(cluster, cut)];
  return cut.map((node) => {
    const link = cluster.link(cluster.self, node);
    return {
      key: `away ${node.key}`,
      level: "bad",
      title: [`${node.name} can't be reached from here since `, ago(cluster, link.since), "."],
      body: [...waits(cluster, node, link.said), " ", ...around(cluster, node), h("br"), ...why(link.said)],
      peers: [node],
    };
  });
}

function ago(cluster, iso) {
  return [when(iso), ` (${duration(since(cluster, iso))})`];
}

function waits(cluster, node, said) {
  if (!said.ops_to_ship) return ["Nothing waits for it so far. What is written meanwhile will be sent by itself when it's back."];
  const amount = `${count(said.ops_to_ship, "write")} (${bytes(said.bytes_to_ship)})`;
  const one = said.ops_to_ship === 1;
  return [
    h("strong", {}, `${amount} ${one ? "waits" : "wait"} for it`),
    ...(said.oldest_waiting ? [`${one ? ", from " : ", the oldest from "}`, when(said.oldest_waiting)] : []),
    `. ${one ? "It" : "They"} will be sent by ${one ? "itself" : "themselves"} when it's back.`,
  ];
}

/** Whether others reach it, and whether it reaches this node. */
function around(cluster, node) {
  const others = cluster.nodes.filter((other) => !other.self && other !== node);
  const state = (other) => cluster.link(other, node).state;
  const reach = others.filter((other) => state(other) === "up").map((other) => other.name);
  const cut = others.filter((other) => state(other) === "cut").map((other) => other.name);
  const words = [];
  // They need a while to notice a cut, as this node did.
  const noticed = since(cluster, cluster.link(cluster.self, node).since) > FRESH_MS;
  if (reach.length && noticed) words.push(`${list(reach)} can reach it: writes get there that way.`);
  if (cut.length) words.push(`${list(cut)} can't reach it either.`);
  if (cluster.link(node, cluster.self).state === "up") {
    words.push(`The way back works: what ${node.name} sends arrives here. So the link is cut in one direction only.`);
  } else {
    words.push(`If ${node.name} runs, it goes on taking writes; keys written on both sides meanwhile can get two values.`);
  }
  return [words.join(" ")];
}

function why(said) {
  return said.why ? [h("span", { class: "muted" }, "What the last try met: ", h("bdi", {}, said.why))] : [];
}

function unreachableTogether(cluster, cut) {
  const links = cut.map((node) => cluster.link(cluster.self, node));
  const first = links.map((link) => link.since).sort()[0];
  const all = cut.length === cluster.nodes.length - 1;
  const waiting = links.filter((link) => link.said.ops_to_ship);
  return {
    key: "away many",
    level: "bad",
    title: [`${all ? `None of the ${cut.length} other nodes` : list(cut.map((node) => node.name), 12)} can${all ? "" : "'t"} be reached from here since `, ago(cluster, first), "."],
    body: [
      all ? "It looks as if this node is the one that is cut off. It goes on taking reads and writes; keys written on both sides meanwhile can get two values. " : "",
      waiting.length
        ? "What waits for them will be sent by itself when they are back."
        : "Nothing waits for them so far.",
    ],
    peers: waiting.map((link) => link.to),
  };
}

/** Cut links that other nodes tell of, a statement for each node that they lead to. */
function cutElsewhere(cluster, cut) {
  return cluster.nodes.filter((node) => !cut.includes(node)).flatMap((to) => {
    const links = cluster.links.filter((link) => link.to === to && link.state === "cut" && !link.from.self);
    // That this node can't reach them says it: then the way back is not worth a statement.
    const news = links.filter((link) => !(to.self && cut.includes(link.from)));
    if (!news.length) return [];
    const first = news.map((link) => link.since).sort()[0];
    const waiting = news.reduce((sum, link) => sum + link.said.ops_to_ship, 0);
    const oneWay = news.every((link) => cluster.link(to, link.from).state === "up");
    return [{
      key: `cut ${to.key}`,
      level: "bad",
      title: [`${list(news.map((link) => link.from.name))} can't reach ${to.name}${to.self ? " (this node)" : ""} since `, ago(cluster, first), "."],
      body: [
        oneWay ? "The other direction works: cut one way only. " : "",
        waiting ? `${count(waiting, "write")} ${waiting === 1 ? "waits" : "wait"} there for it. ` : "",
        "Writes take any way that works, also through a third node.",
      ],
    }];
  });
}

/** Nodes that lack what is in no log any more, and get another's whole state. */
function catchingUp(cluster) {
  return cluster.nodes.filter((node) => node.fresh && node.facts.catching_up).map((node) => ({
    key: `catching up ${node.key}`,
    kind: "waiting",
    level: "info",
    title: `${node.name} is being caught up by node${node.facts.catching_up.peer}: ${progress(node.facts.catching_up)}.`,
    body: ["It lacked writes that no log has any more, so it gets all keys. Until then it shows what it had, and takes writes."],
  }));
}

/** Ops that are on their way over links that work. A few are always under way. */
function waiting(cluster, cut) {
  const links = cluster.links.filter((link) => link.from.self && link.state === "up" && link.said?.ops_to_ship);
  const old = links.filter((link) => link.said.oldest_waiting && since(cluster, link.said.oldest_waiting) > 2_000);
  return old.filter((link) => !cut.includes(link.to)).map((link) => ({
    key: `waiting ${link.key}`,
    kind: "waiting",
    level: "info",
    title: `${count(link.said.ops_to_ship, "write")} (${bytes(link.said.bytes_to_ship)}) ${link.said.ops_to_ship === 1 ? "is" : "are"} on the way to ${link.to.name}.`,
    body: ["The link is up. The oldest is from ", ago(cluster, link.said.oldest_waiting), "."],
    peers: [link.to],
  }));
}

function buffered(cluster) {
  return cluster.nodes.filter((node) => node.fresh && node.facts.delivery_buffer).map((node) => ({
    key: `buffer ${node.key}`,
    level: "info",
    title: `${count(node.facts.delivery_buffer, "write")} arrived at ${node.name} before what ${node.facts.delivery_buffer === 1 ? "it follows" : "they follow"}.`,
    body: ["They are shown there as soon as the writes arrive that they were made after. Nobody has to do anything."],
  }));
}

function conflicts(facts) {
  const number = facts.conflicts;
  if (!number) return [];
  return [{
    key: "conflicts",
    level: "warn",
    title: `${count(number, "key")} ${number === 1 ? "has" : "have"} more than one value.`,
    body: [
      "They were written without knowing of each other. Nothing is lost: all values are kept until somebody chooses. ",
      h("a", { href: "#/conflicts" }, number === 1 ? "See and settle it" : "See and settle them"), ".",
    ],
  }];
}

/** Nodes whose facts are old or were never had, though the link to them is up. */
function unheard(cluster, others, cut) {
  const silent = others.filter((node) => !node.fresh && !cut.includes(node));
  return silent.map((node) => ({
    key: `unheard ${node.key}`,
    kind: "unheard",
    level: "warn",
    title: node.facts ? `${node.name} has told nothing of itself for ${duration(node.age_ms)}.` : node.node === null ? `${node.name} has not been heard from yet.` : `${node.name} has told nothing of itself yet.`,
    body: [node.node !== null
      ? `What this page shows of it is ${node.facts ? "as old as that" : "what this node knows"}. Writes go there all the same.`
      : "Has it been started, and is its address right? What is written here will be sent by itself once it answers."],
  }));
}

function versions(cluster) {
  const known = cluster.nodes.filter((node) => node.facts);
  const different = new Set(known.map((node) => node.facts.version));
  if (different.size < 2) return [];
  return [{
    key: "versions",
    level: "info",
    title: "The nodes run different versions.",
    body: [`${list(known.map((node) => `${node.name}: ${node.facts.version}`), 12)}. Good during an update; not for long.`],
  }];
}
