// Server-sent events that come back by themselves: after a cut, after a silence, and when the page is looked at again.

/** A pause between tries. */
const RETRY_MS = 1_000;

export class Stream {
  #options;
  #source = null;
  #timer = null;
  #heard = 0;
  #wanted = false;

  /**
   * `url()` is asked for each connection; `events` are handlers by name, given data and id; `quiet_ms` is the longest
   * silence that is no cut; `up()` and `down()` are called as it works or does not.
   */
  constructor(options) {
    this.#options = options;
    // A hidden page lets go of its connection: a browser has six for a node, over all its tabs.
    document.addEventListener("visibilitychange", () => {
      if (!this.#wanted) return;
      if (document.hidden) this.#disconnect();
      else this.#connect();
    });
    setInterval(() => {
      if (this.#source && performance.now() - this.#heard > options.quiet_ms) this.#failed();
    }, 500);
  }

  open() {
    this.#wanted = true;
    if (!this.#source && !document.hidden) this.#connect();
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

  #connect() {
    this.#disconnect();
    const source = new EventSource(this.#options.url());
    this.#source = source;
    this.#heard = performance.now();
    source.onerror = () => source === this.#source && this.#failed();
    source.onopen = () => (this.#heard = performance.now());
    for (const [name, handler] of Object.entries(this.#options.events)) {
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#heard = performance.now();
        this.#options.up?.();
        handler(JSON.parse(event.data), event.lastEventId);
      });
    }
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #failed() {
    this.#disconnect();
    this.#timer = setTimeout(() => this.#connect(), RETRY_MS);
    this.#options.down?.();
  }
}
