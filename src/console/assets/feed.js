// The view "Live feed": what becomes visible on this node, as it does.

import * as api from "/console/api.js";
import { h, keyLink, render, text, writeLink } from "/console/dom.js";
import { Stream } from "/console/live.js";
import { count, nodeName, when } from "/console/words.js";

/** Changes that are kept; the oldest go first. */
const KEPT = 200;
/** Entries of one write that are shown. */
const ENTRIES = 20;
/** The page is drawn anew at most so often. */
const DRAW_MS = 250;
const STOPPING = "This node is stopping.";
const WITHDRAWN = "The token is not good for this any more.";
/** What is answered to a cursor that is no more: of another node, or too old. */
const GONE = [400, 410];

export class Feed {
  #changes = [];
  #total = 0;
  #cursor = null;
  #prefix = "";
  #paused = false;
  #timer = null;
  #note = "";
  /** Why the stream was refused. */
  #refused = null;
  #up = false;
  #stream;
  #input = h("input", { id: "feed-prefix", type: "text", autocomplete: "off", spellcheck: "false" });
  #pause = h("button", { type: "button" }, "Pause");
  #state = h("p", { class: "muted", role: "status" });
  #list = h("ol", { class: "feed", "aria-label": "Writes, the newest first" });

  constructor() {
    const filter = (event) => {
      event.preventDefault();
      this.#prefix = this.#input.value;
      this.#begin();
    };
    this.#pause.onclick = () => this.#toggle();
    this.element = h("div", { class: "view" }, h("h1", { tabindex: -1 }, "Feed"),
      h("p", { class: "lead" }, "Writes as they become visible on this node: its own, and those that arrive from others."),
      h("form", { class: "line", onsubmit: filter }, h("label", { for: "feed-prefix" }, "Only keys that begin with"), this.#input,
        h("button", { type: "submit" }, "Show"), this.#pause),
      this.#state, this.#list);
    this.#stream = new Stream({
      url: () => api.watchPath({ prefix: this.#prefix, after: this.#cursor }),
      // A word comes at least each 15 s.
      quiet_ms: 40_000,
      events: {
        start: (_, cursor) => this.#at(cursor, [STOPPING, WITHDRAWN].includes(this.#note) ? "" : this.#note),
        change: (change, cursor) => this.#add(change, cursor),
        cursor: (_, cursor) => this.#at(cursor, this.#note),
        reset: () => {
          this.#cursor = null;
          this.#note = "This node was caught up by another's whole state; what changed with it is not in the feed, which goes on from now.";
        },
        closed: ({ reason }) => {
          if (reason === "too-slow") this.#note = "This page was too slow; it goes on where it was.";
          else this.#note = reason === "token-withdrawn" ? WITHDRAWN : STOPPING;
        },
      },
      up: () => {
        this.#up = true;
        this.#refused = null;
      },
      down: (error) => this.#down(error),
    });
  }

  show() {
    if (!this.#paused) this.#stream.open();
    this.#draw();
  }

  hide() {
    this.#stream.close();
    this.#up = false;
  }

  update() {}

  #begin() {
    Object.assign(this.#list, { scrollTop: 0 });
    this.#changes = [];
    this.#total = 0;
    this.#cursor = null;
    this.#note = "";
    this.#refused = null;
    if (!this.#paused) this.#stream.reopen();
    this.#draw();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#pause.textContent = this.#paused ? "Go on" : "Pause";
    if (this.#paused) this.#stream.close();
    else this.#stream.open();
    this.#draw();
  }

  #at(cursor, note) {
    if (cursor) this.#cursor = cursor;
    this.#note = note;
    this.#later();
  }

  #add(change, cursor) {
    this.#changes.unshift(change);
    this.#changes.length = Math.min(this.#changes.length, KEPT);
    this.#total += 1;
    this.#at(cursor, "");
  }

  #down(error) {
    this.#up = false;
    this.#refused = error.status ? error : null;
    // Trying again does not mend a cursor that is gone.
    if (this.#cursor !== null && GONE.includes(error.status)) {
      this.#cursor = null;
      this.#refused = null;
      this.#note = "What came meanwhile is too long ago to be shown: the feed goes on from now.";
    }
    this.#later();
  }

  #later() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#draw();
    }, DRAW_MS);
  }

  #draw() {
    const state = this.#paused
      ? "Paused. What comes meanwhile is shown when you go on."
      : this.#refused ? this.#refused.message
      : !this.#up ? "Connecting to the feed."
      : this.#total ? `${count(this.#total, "write")} since the feed began${this.#total > KEPT ? `, the last ${KEPT} are shown` : ""}.` : "Nothing yet. Writes appear here as they come.";
    this.#state.className = this.#refused && !this.#paused ? "problem" : "muted";
    render(this.#state, [this.#note, state].filter(Boolean).join(" "));
    render(this.#list, this.#changes.map(item));
  }
}

function item({ dot, node, written_at, entries }) {
  const shown = entries.slice(0, ENTRIES);
  return h("li", { "data-key": dot }, h("p", { class: "muted" }, when(written_at, { millis: true }), " on ", h("b", {}, nodeName(node)), ", ", writeLink(dot)),
    shown.map(({ key, value, replaces }) => h("p", { class: "entry" }, keyLink(key), value === null ? h("i", { class: "muted" }, " deleted") : [" = ", text(value)],
      replaces.length > 1 ? h("small", { class: "muted" }, ` replaces ${count(replaces.length, "value")}`) : null)),
    entries.length > ENTRIES ? h("p", { class: "muted" }, `and ${count(entries.length - ENTRIES, "more key")}`) : null);
}
