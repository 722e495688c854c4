// Puts the page together: the news of the cluster, which view is shown, and what is said when this node is lost.

import * as api from "/console/api.js";
import { askForTokens } from "/console/ask.js";
import { model } from "/console/cluster.js";
import { Conflicts } from "/console/conflicts.js";
import { h, render } from "/console/dom.js";
import { Feed } from "/console/feed.js";
import { Keys } from "/console/keys.js";
import { Stream } from "/console/live.js";
import { Overview } from "/console/overview.js";
import { Receipt } from "/console/receipt.js";
import { story } from "/console/story.js";
import * as token from "/console/token.js";
import { plain, when } from "/console/words.js";

const byId = (id) => document.getElementById(id);

/** News comes at least every 2 s: after this long without any, the node is asked whether it is there. */
const QUIET_MS = 5_000;
/** Where the token is not for news, what is shown is asked for again so often. */
const AGAIN_MS = 5_000;

const views = {
  overview: new Overview(),
  conflicts: new Conflicts(announce),
  keys: new Keys(announce, (where) => {
    const parameters = Object.entries(where).filter(([, value]) => value !== null && value !== "");
    location.hash = `#/keys?${parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
  }),
  feed: new Feed(),
  write: new Receipt(),
};

let current = null;
let cluster = null;
/** When the last news came; and since when the node is lost, by the page's clock. */
let heard = null;
let lost = null;
/** Why this page gets no news: its token is not for them. */
let forbidden = null;

/** Tells everybody, also who does not see the page, what came of something that was done. */
function announce(words) {
  const element = byId("announcement");
  element.className = "announcement";
  render(element, words, " ", h("button", { type: "button", onclick: () => {
    element.replaceChildren();
    element.className = "unseen";
  } }, "OK"));
}

function take(report) {
  heard = new Date();
  forbidden = null;
  if (lost) {
    lost = null;
    announce(`${nameOf(report)} answers again.`);
  }
  cluster = model(report);
  draw();
}

const nameOf = (report) => `node${report.node}`;

function draw() {
  drawLiveness();
  drawVerdict();
  if (!cluster) return;
  const self = cluster.self;
  byId("node").textContent = self.name;
  byId("cluster").textContent = cluster.cluster;
  byId("version").textContent = self.facts ? `Causeway ${self.facts.version}.` : "";
  const conflicts = self.facts.conflicts;
  byId("conflict-count").hidden = !conflicts;
  byId("conflict-count").textContent = plain(conflicts);
  const mark = { bad: "✕ ", warn: "! " }[byId("verdict").dataset.level] ?? "";
  document.title = lost ? `? ${self.name} lost – Causeway` : `${mark}${self.name} – Causeway`;
  for (const view of Object.values(views)) {
    if (view === current || view === views.conflicts) view.update(cluster);
  }
}

function drawVerdict() {
  const { level, verdict } = verdictNow();
  const line = byId("verdict");
  line.hidden = !verdict;
  line.dataset.level = level;
  if (line.textContent !== verdict) line.textContent = verdict;
}

/** What was so when the node was lost, or its news, is not what is. */
function verdictNow() {
  const unknown = (verdict) => ({ level: "unknown", verdict });
  // The form says it.
  if (!cluster && token.isWanted()) return unknown("");
  if (!cluster) return unknown(forbidden ? `No news of the cluster. ${forbidden.message}` : "Asking this node what it knows.");
  const { level, verdict } = story(cluster);
  return lost || token.isWanted() ? unknown(`Last known: ${verdict}`) : { level, verdict };
}

function drawLiveness() {
  const state = lost ? "lost" : token.isWanted() ? "wanting" : forbidden ? "forbidden" : heard ? "live" : "connecting";
  const words = { lost: "no connection", wanting: "no token", forbidden: "no news", live: "live", connecting: "connecting" }[state];
  const element = byId("liveness");
  element.dataset.state = state;
  if (element.textContent !== words) element.textContent = words;
  byId("lost").hidden = !lost;
  document.body.classList.toggle("is-lost", Boolean(lost) || token.isWanted());
}

/** The stream failed. Perhaps only it: then the page asks again and again instead. */
async function down(refused) {
  try {
    if (refused.isForbidden) throw refused;
    take(await api.cluster());
  } catch (error) {
    if (error.isForbidden) forbid(error);
    else if (!lost) {
      lost = heard ?? new Date();
      const name = cluster?.self.name ?? "this node";
      render(byId("lost"), h("strong", {}, `This page has lost ${name}.`),
        ` It has not answered since `, when(lost.toISOString()), ". ",
        cluster ? "What you see below was so then; it is not news of the cluster. " : "",
        "The other nodes, and their pages, go on. Trying again each second.");
    }
    draw();
  }
}

/** What is shown of the cluster would look like what is: it goes. */
function forbid(error) {
  lost = null;
  forbidden = error;
  cluster = null;
  views.overview.update(null);
  byId("conflict-count").hidden = true;
  document.title = "Causeway";
}

const news = new Stream({
  url: () => "/cluster/events",
  events: { cluster: take },
  quiet_ms: QUIET_MS,
  down,
});

/** `#/conflicts`, `#/keys?key=K`, `#/write/DOT`. */
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, dot] = path.split("/");
  const parameters = Object.fromEntries(query.split("&").filter(Boolean).map((pair) => {
    const [key, value = ""] = pair.split("=");
    return [key, decode(value)];
  }));
  if (name === "write") return ["write", { dot: dot ? decode(dot) : null }];
  return [Object.hasOwn(views, name) ? name : "overview", parameters];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function navigate(event) {
  const [name, parameters] = route();
  const next = views[name];
  const moved = next !== current;
  if (moved) {
    current?.hide();
    current?.element.remove();
    current = next;
    byId("main").append(next.element);
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  next.show(parameters);
  if (cluster) next.update(cluster);
  if (event && moved) {
    next.element.querySelector("h1").focus();
    scrollTo(0, 0);
  }
}

byId("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
byId("skip").onclick = (event) => {
  event.preventDefault();
  byId("main").focus();
};
addEventListener("hashchange", navigate);
token.listen((isWanted) => {
  // Who asks for a token is there.
  if (isWanted) lost = null;
  draw();
});
askForTokens(() => {
  navigate();
  current.element.querySelector("h1").focus();
});
setInterval(() => {
  if (forbidden && !document.hidden) current.update(null);
}, AGAIN_MS);
navigate();
news.open();
