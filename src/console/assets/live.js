// Server-sent events that come back by themselves: after a cut, after a silence, with another token, and when the page is
// looked at again. Read by fetch: the browser's own EventSource can't send a token, and does not say what it was refused for.

import * as api from "/console/api.js";
import * as token from "/console/token.js";

/** A pause between tries; and one after which a token may be for more than it was. */
const RETRY_MS = 1_000;
const FORBIDDEN_MS = 15_000;

export class Stream {
  #options;
  /** Ends the connection that there is, or the try to have one. */
  #stop = null;
  #timer = null;
  #heard = 0;
  #wanted = false;

  /**
   * `url()` is asked for each connection; `events` are handlers by name, given data and id; `quiet_ms` is the longest
   * silence that is no cut; `up()` and `down(error)` are called as it works or does not.
   */
  constructor(options) {
    this.#options = options;
    // A hidden page lets go of its connection: a browser has six for a node, over all its tabs.
    document.addEventListener("visibilitychange", () => this.#turn());
    token.listen(() => this.#turn());
    setInterval(() => {
      if (this.#stop && performance.now() - this.#heard > options.quiet_ms) this.#failed(new api.Refused("Nothing came for too long."));
    }, 500);
  }

  open() {
    this.#wanted = true;
    if (!this.#stop) this.#turn();
  }

  close() {
    this.#wanted = false;
    this.#disconnect();
  }

  /** Begins anew, by the `url()` of now. */
  reopen() {
    this.#disconnect();
    this.open();
  }

  #turn() {
    if (!this.#wanted) return;
    if (document.hidden || token.isWanted()) this.#disconnect();
    else this.#connect();
  }

  async #connect() {
    this.#disconnect();
    const stop = new AbortController();
    this.#stop = stop;
    this.#heard = performance.now();
    try {
      const body = await api.events(this.#options.url(), stop.signal);
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new Events();
      this.#heard = performance.now();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new api.Refused("The stream ended.");
        for (const event of events.of(value)) {
          if (stop !== this.#stop) return;
          this.#take(event);
        }
      }
    } catch (error) {
      if (stop === this.#stop) this.#failed(error);
    }
  }

  #take({ name, data, id }) {
    this.#heard = performance.now();
    const handler = this.#options.events[name];
    if (!handler) return;
    try {
      this.#options.up?.();
      handler(JSON.parse(data), id);
    } catch (error) {
      // A bug of this page, not a cut.
      reportError(error);
    }
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    this.#stop = null;
  }

  #failed(error) {
    this.#disconnect();
    this.#timer = setTimeout(() => this.#turn(), error.isForbidden ? FORBIDDEN_MS : RETRY_MS);
    this.#options.down?.(error);
  }
}

/** Events from a text that comes in pieces. Lines end with "\n", as this server writes them; an empty one ends an event. */
class Events {
  #line = "";
  #name = "";
  #data = null;
  #id = "";

  /** Those that a piece completes. */
  *of(piece) {
    const lines = piece.split("\n");
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop();
    for (const line of lines) {
      if (line !== "") this.#field(line);
      else if (this.#data !== null) {
        yield { name: this.#name || "message", data: this.#data, id: this.#id };
        this.#data = null;
        this.#name = "";
      }
    }
  }

  #field(line) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "event") this.#name = value;
    else if (name === "data") this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    // As of EventSource: an event without an id has that of the last with one.
    else if (name === "id") this.#id = value;
  }
}
