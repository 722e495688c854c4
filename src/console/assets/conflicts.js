// The view "Conflicts": keys with more than one value, each with a form that settles it.

import * as api from "/console/api.js";
import { h, keyLink, problem, render, text, writeLink } from "/console/dom.js";
import { count, nodeName, when } from "/console/words.js";

const PAGE = 20;

export class Conflicts {
  #announce;
  #shown = false;
  #query = { prefix: "", after: "" };
  /** Key → what its form was made of and holds; a form that was touched keeps what it shows. */
  #cards = new Map();
  #page = { keys: [], next: null };
  #seen = "";
  #asking = false;
  #outdated = false;
  #error = null;
  #loaded = false;
  #list = h("div", { class: "cards" });
  #count = h("p", { class: "muted" });
  #pages = h("p");
  #prefix = h("input", { id: "conflict-prefix", type: "text", autocomplete: "off", spellcheck: "false" });

  constructor(announce) {
    this.#announce = announce;
    const submitted = (event) => {
      event.preventDefault();
      this.#go({ prefix: this.#prefix.value, after: "" });
    };
    this.element = h("div", { class: "view" }, h("h1", { tabindex: -1 }, "Conflicts"),
      h("p", { class: "lead" }, "These keys hold more than one value. Each was written without knowing of the others, so none was thrown away. ",
        "Choose what the key shall hold: the choice goes to all nodes, and replaces just the values you see here."),
      h("form", { class: "line", onsubmit: submitted }, h("label", { for: "conflict-prefix" }, "Keys that begin with"), this.#prefix,
        h("button", { type: "submit" }, "Show")),
      this.#count, this.#list, this.#pages);
  }

  show() {
    this.#shown = true;
    this.#load();
  }

  hide() {
    this.#shown = false;
  }

  /** Looks again when anything became visible on this node; always, where there are no news of that. */
  update(cluster) {
    const seen = cluster && JSON.stringify([cluster.self.facts.vector, cluster.self.facts.conflicts]);
    if (cluster && seen === this.#seen) return;
    this.#seen = seen;
    if (this.#shown) this.#load();
  }

  #go(query) {
    this.#query = query;
    this.#cards.clear();
    this.#load();
  }

  async #load() {
    // What changes while an answer is on its way may not be in it.
    this.#outdated = true;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#outdated) {
      this.#outdated = false;
      const query = this.#query;
      try {
        const page = await api.conflicts({ ...query, limit: PAGE });
        if (query === this.#query) this.#take(page);
        this.#error = null;
      } catch (error) {
        this.#error = error;
      }
      this.#loaded = true;
      this.#draw();
    }
    this.#asking = false;
  }

  #take(page) {
    this.#page = page;
    for (const found of page.keys) {
      const card = this.#cards.get(found.key);
      const dots = found.siblings.map((sibling) => sibling.dot).join(" ");
      if (!card) this.#cards.set(found.key, { ...found, context: page.context, dots });
      else if (card.dots === dots) continue;
      else if (card.touched) card.newer = { ...found, context: page.context, dots };
      else Object.assign(card, found, { context: page.context, dots });
    }
    const keys = new Set(page.keys.map((found) => found.key));
    for (const [key, card] of this.#cards) {
      if (!keys.has(key) && !card.touched) this.#cards.delete(key);
      else card.gone = !keys.has(key);
    }
  }

  #draw() {
    const cards = [...this.#cards.values()];
    const none = this.#query.prefix ? "No key that begins so has a conflict." : "No key has a conflict.";
    render(this.#count, this.#error ? problem(this.#error) : !this.#loaded ? "Asking." : cards.length ? "" : none);
    render(this.#list, cards.map((card, index) => this.#card(card, index)));
    const { next } = this.#page;
    render(this.#pages,
      this.#query.after ? h("button", { type: "button", onclick: () => this.#go({ ...this.#query, after: "" }) }, "First page") : null, " ",
      next !== null ? h("button", { type: "button", onclick: () => this.#go({ ...this.#query, after: next }) }, "Next page") : null);
  }

  #card(card, index) {
    const name = `choice-${index}`;
    const touched = () => (card.touched = true);
    const whole = !card.left_out;
    return h("form", { "data-key": card.key, class: "card", onsubmit: (event) => this.#settle(event, card), onchange: touched, oninput: touched },
      h("h2", {}, keyLink(card.key), h("small", {}, ` ${count(card.siblings.length + (card.left_out ?? 0), "value")}`)),
      h("fieldset", {}, h("legend", { class: "unseen" }, "What the key shall hold"),
        card.siblings.map((sibling, number) => option(name, `${index}-${number}`, sibling)),
        own(name, index)),
      card.newer ? h("p", { class: "notice", role: "status" }, "The key changed since. Settling replaces only what you see here. ",
        h("button", { type: "button", onclick: () => this.#renew(card) }, "Show what it holds now")) : null,
      card.gone && !card.newer ? h("p", { class: "notice", role: "status" }, "Somebody has settled this key meanwhile. ",
        h("button", { type: "button", onclick: () => this.#drop(card) }, "Put it away")) : null,
      whole ? null : h("p", { class: "notice" }, `${count(card.left_out, "value")} too many to show at once: settle this key by the API, where you can read all.`),
      h("p", { class: "line" }, h("button", { type: "submit", class: "main", disabled: !whole || card.saving }, card.saving ? "Settling…" : "Settle"),
        h("span", { class: "muted" }, card.siblings.length === 2 ? "replaces both values" : `replaces all ${card.siblings.length} values`)),
      card.error ? problem(card.error) : null);
  }

  #renew(card) {
    this.#cards.set(card.key, { ...card.newer });
    this.#draw();
  }

  #drop(card) {
    this.#cards.delete(card.key);
    this.#draw();
  }

  async #settle(event, card) {
    event.preventDefault();
    const form = event.currentTarget;
    const chosen = new FormData(form);
    const choice = [...chosen.entries()].find(([name]) => name.startsWith("choice-"))?.[1];
    if (choice === undefined) {
      card.error = new Error("Choose a value first, or type one.");
      this.#draw();
      return;
    }
    const value = choice === "own" ? chosen.get("own") : choice === "none" ? null : card.siblings.find((sibling) => sibling.dot === choice).value;
    Object.assign(card, { saving: true, error: null });
    this.#draw();
    try {
      const written = await api.write(card.key, value, card.context);
      this.#cards.delete(card.key);
      this.#page.keys = this.#page.keys.filter(({ key }) => key !== card.key);
      this.#announce(["Settled ", keyLink(card.key), " by the write ", writeLink(written.dot), ", which goes to all nodes."]);
      this.#draw();
      (this.#list.querySelector("input") ?? this.element.querySelector("h1")).focus();
      this.#load();
    } catch (error) {
      Object.assign(card, { saving: false, error });
      this.#draw();
    }
  }
}

function option(name, id, sibling) {
  return h("div", { class: "option", "data-key": sibling.dot },
    h("input", { type: "radio", name, value: sibling.dot, id: `value-${id}` }),
    h("div", {}, h("label", { for: `value-${id}` }, text(sibling.value)),
      h("p", { class: "muted" }, "written on ", h("b", {}, nodeName(sibling.node)), " at ", when(sibling.written_at), ", ", writeLink(sibling.dot))));
}

function own(name, index) {
  const chosen = (event) => {
    event.currentTarget.form.querySelector(`#own-${index}`).checked = true;
  };
  return [
    h("div", { class: "option", "data-key": "own" }, h("input", { type: "radio", name, value: "own", id: `own-${index}` }),
      h("div", {}, h("label", { for: `own-${index}` }, "another value: "),
        h("textarea", { name: "own", rows: 2, "aria-label": "another value", spellcheck: "false", oninput: chosen }))),
    h("div", { class: "option", "data-key": "none" }, h("input", { type: "radio", name, value: "none", id: `none-${index}` }),
      h("div", {}, h("label", { for: `none-${index}` }, "no value: delete the key"))),
  ];
}
