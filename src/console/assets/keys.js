// The view "Keys": which there are, what one holds, and setting and deleting it.

import * as api from "/console/api.js";
import { h, keyLink, problem, render, text, writeLink } from "/console/dom.js";
import { count, nodeName, when } from "/console/words.js";

const PAGE = 100;

export class Keys {
  #announce;
  #go;
  #shown = false;
  #prefix = "";
  #found = [];
  #next = null;
  /** How often the list was asked for: only the last answer counts. */
  #asked = 0;
  #key = null;
  #held = null;
  #error = null;
  /** What came of the last try to write; that a read went well does not take it back. */
  #unwritten = null;
  #seen = "";
  #changed = false;
  #confirming = false;
  #input = h("input", { id: "key-prefix", type: "text", autocomplete: "off", spellcheck: "false" });
  #list = h("div");
  #one = h("section", { "aria-label": "One key", class: "one" });
  #field = h("textarea", { id: "key-value", rows: 3, spellcheck: "false" });

  constructor(announce, go) {
    this.#announce = announce;
    this.#go = go;
    const newKey = h("input", { id: "new-key", type: "text", autocomplete: "off", spellcheck: "false", required: true });
    const open = (event) => {
      event.preventDefault();
      go({ prefix: this.#prefix, key: newKey.value });
    };
    const search = (event) => {
      event.preventDefault();
      go({ prefix: this.#input.value, key: this.#key });
    };
    this.element = h("div", { class: "view" }, h("h1", { tabindex: -1 }, "Keys"),
      h("div", { class: "columns keys-columns" },
        h("section", { "aria-label": "All keys" },
          h("form", { class: "line", onsubmit: search }, h("label", { for: "key-prefix" }, "Keys that begin with"), this.#input,
            h("button", { type: "submit" }, "Show")),
          this.#list,
          h("form", { class: "line", onsubmit: open }, h("label", { for: "new-key" }, "Open or make the key"), newKey,
            h("button", { type: "submit" }, "Open"))),
        this.#one));
  }

  show({ prefix = "", key = null } = {}) {
    this.#shown = true;
    const sameKey = key === this.#key;
    this.#prefix = prefix;
    this.#key = key;
    this.#input.value = prefix;
    if (!sameKey) {
      Object.assign(this.#field, { value: "" });
      this.#held = null;
      this.#unwritten = null;
      this.#confirming = false;
    }
    this.#load();
    if (key !== null) this.#read();
    this.#drawOne();
  }

  hide() {
    this.#shown = false;
  }

  /** Looks again when anything became visible on this node; always, where there are no news of that. */
  update(cluster) {
    const seen = cluster && JSON.stringify(cluster.self.facts.vector);
    const changed = !cluster || seen !== this.#seen;
    this.#seen = seen;
    if (this.#shown && changed && this.#key !== null && !this.#confirming) this.#read();
  }

  async #load(after = "") {
    const prefix = this.#prefix;
    const asked = ++this.#asked;
    let error = null;
    try {
      const page = await api.keys({ prefix, after, limit: PAGE });
      // A page belongs behind those that were there when it was asked for.
      if (asked !== this.#asked) return;
      this.#found = after ? [...this.#found, ...page.keys] : page.keys;
      this.#next = page.next;
    } catch (caught) {
      if (asked !== this.#asked) return;
      error = caught;
      // What the token was for before, or with another prefix, is not what was asked for.
      if (error.isForbidden) [this.#found, this.#next] = [[], null];
    }
    const none = prefix ? "No key begins so." : "There is no key yet.";
    render(this.#list, error ? problem(error) : this.#found.length ? null : h("p", { class: "muted" }, none),
      this.#found.length ? h("ul", { class: "keys" }, this.#found.map((found) => this.#item(found))) : null,
      this.#next === null ? null : h("p", {}, h("button", { type: "button", onclick: () => this.#load(this.#next) }, "Show more")));
  }

  #item({ key, siblings }) {
    const link = keyLink(key);
    if (this.#prefix) link.href = `${link.getAttribute("href")}&prefix=${encodeURIComponent(this.#prefix)}`;
    if (key === this.#key) link.setAttribute("aria-current", "true");
    return h("li", { "data-key": key }, link, siblings > 1 ? h("small", { class: "warn" }, ` ${count(siblings, "value")}`) : null);
  }

  async #read() {
    const key = this.#key;
    if (key === "") {
      this.#error = new Error("A key must not be empty.");
      this.#drawOne();
      return;
    }
    try {
      const held = await api.read(key);
      if (key !== this.#key) return;
      // What was typed belongs to what was seen: show that something else is there now, but don't take it as seen.
      const dots = (of) => of.siblings.map((sibling) => sibling.dot).join(" ");
      const first = this.#held === null;
      this.#changed = !first && this.#field.value !== this.#shownValue() && dots(held) !== dots(this.#held);
      if (!this.#changed) {
        const untouched = first || this.#field.value === this.#shownValue();
        this.#held = held;
        if (untouched) this.#field.value = this.#shownValue();
      }
      this.#error = null;
    } catch (error) {
      this.#error = error;
    }
    this.#drawOne();
  }

  /** As a field shows it: there a line ends in one way only. */
  #shownValue() {
    return (this.#held?.siblings[0]?.value ?? "").replace(/\r\n?/g, "\n");
  }

  #drawOne() {
    const [key, held] = [this.#key, this.#held];
    if (key === null) {
      render(this.#one, h("p", { class: "muted" }, "Choose a key to see what it holds."));
      return;
    }
    const save = (event) => {
      event.preventDefault();
      this.#write(this.#field.value);
    };
    render(this.#one, h("h2", { "data-key": `title ${key}`, tabindex: -1 }, text(key, "key")),
      this.#error ? problem(this.#error) : null,
      held ? this.#values(held) : null,
      this.#changed ? h("p", { class: "notice", role: "status" }, "The key holds something else by now. Saving replaces only what you see here. ",
        h("button", { type: "button", onclick: () => this.#renew() }, "Show what it holds now")) : null,
      held ? h("form", { onsubmit: save }, h("label", { for: "key-value" }, held.siblings.length ? "New value" : "Value"), this.#mounted(),
        h("p", { class: "line" }, h("button", { type: "submit", class: "main" }, "Save"), this.#deletion())) : null,
      this.#unwritten ? problem(this.#unwritten) : null);
  }

  /** The field is made once: `render` finds it in place. */
  #mounted() {
    return this.#field.isConnected ? this.#field.cloneNode(false) : this.#field;
  }

  #values(held) {
    if (!held.siblings.length) return h("p", { class: "muted" }, "It has no value.");
    const several = held.siblings.length > 1
      ? h("p", { class: "notice" }, `It has ${count(held.siblings.length, "value")}: they were written without knowing of each other. Saving replaces all of them.`)
      : null;
    return [several, held.siblings.map((sibling) => h("div", { class: "held", "data-key": sibling.dot }, text(sibling.value),
      h("p", { class: "muted" }, "written on ", h("b", {}, nodeName(sibling.node)), " at ", when(sibling.written_at), ", ", writeLink(sibling.dot))))];
  }

  /** Asked once more, with the focus on what changes nothing: a key pressed twice deletes nothing. */
  #deletion() {
    if (!this.#held.siblings.length) return null;
    const ask = (confirming) => () => {
      this.#confirming = confirming;
      this.#drawOne();
      this.#one.querySelector(confirming ? "[data-key=keep]" : "[data-key=delete]").focus();
    };
    if (!this.#confirming) return h("button", { type: "button", "data-key": "delete", onclick: ask(true) }, "Delete…");
    return [h("span", { "data-key": "sure" }, "Delete it on all nodes?"),
      h("button", { type: "button", "data-key": "sure-delete", class: "danger", onclick: () => this.#write(null) }, "Delete"),
      h("button", { type: "button", "data-key": "keep", onclick: ask(false) }, "Keep")];
  }

  #renew() {
    this.#held = null;
    this.#changed = false;
    this.#read();
  }

  async #write(value) {
    const key = this.#key;
    this.#unwritten = null;
    try {
      const written = await api.write(key, value, this.#held.context);
      this.#announce([value === null ? "Deleted " : "Saved ", keyLink(key), " by the write ", writeLink(written.dot), ", which goes to all nodes."]);
      this.#load();
      // Another key may have been chosen meanwhile.
      if (key !== this.#key) return;
      this.#confirming = false;
      this.#held = null;
      this.#changed = false;
      await this.#read();
      if (value === null) this.#one.querySelector("h2").focus();
    } catch (error) {
      if (key !== this.#key) return;
      this.#unwritten = error;
      this.#drawOne();
    }
  }
}
