// Elements, made from data and brought up to date in place. Text stays text: nothing in the console turns a string
// into markup, and the page's policy would not let it.

/** An HTML element. Properties that start with "on" are handlers; null, undefined and false are left out. */
export function h(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/**
 * Makes the content of an element what `children` say, keeping what is already right: so the focus, a selection, an
 * open <details> and what was typed survive an update. Elements with `data-key` are told apart by it.
 */
export function render(element, ...children) {
  const fresh = document.createDocumentFragment();
  fresh.append(...flat(children));
  updateChildren(element, fresh);
}

function updateChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) {
    if (child.dataset.key !== undefined) keyed.set(child.dataset.key, child);
  }
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key;
    const candidate = key === undefined ? at : keyed.get(key);
    const fits = candidate && candidate.nodeName === wanted.nodeName && candidate.dataset?.key === key;
    if (!fits) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (candidate === at) at = at.nextSibling;
    else old.insertBefore(candidate, at);
    update(candidate, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput", "ontoggle", "onpointermove", "onpointerleave"];

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const handler of HANDLERS) {
    if (old[handler] !== fresh[handler]) old[handler] = fresh[handler];
  }
  if (old.dataset.keep === undefined) updateChildren(old, fresh);
}

/** What sets a direction and may leave it open: that ends at no element's end but at that of a box of its own. */
const DIRECTED = /[\u202a-\u202e\u2066-\u2069]/;

function bdi(kind, ...shown) {
  return h("bdi", { class: shown.some((part) => DIRECTED.test(part)) ? `${kind} apart` : kind }, shown);
}

/** How many characters of a text are shown at once. */
const SHOWN = 160;

/**
 * A text that came from a client: shown as it is, whatever it holds. A long one is cut, and opens. Elements that show
 * another text must have another `data-key` above them.
 */
export function text(value, kind = "value") {
  if (value === "") return h("i", { class: "muted" }, "(empty)");
  if (value.length <= SHOWN) return bdi(kind, value);
  const all = h("bdi", { class: `${kind} all`, "data-keep": true });
  // An emoji is two of these characters: don't cut through one.
  const end = value.codePointAt(SHOWN - 1) > 0xffff ? SHOWN - 1 : SHOWN;
  return h("details", { class: "long", ontoggle: (event) => {
    const shown = event.currentTarget.lastElementChild;
    if (event.currentTarget.open && !shown.textContent) shown.textContent = value;
  } }, h("summary", {}, bdi(kind, value.slice(0, end), "…"), " ",
    h("span", { class: "more" }, `all ${value.length.toLocaleString("en")} characters`)), all);
}

/** A key, as a link to its page. */
export function keyLink(key) {
  const shown = key.length > SHOWN ? `${key.slice(0, SHOWN)}…` : key;
  return h("a", { href: `#/keys?key=${encodeURIComponent(key)}`, class: "key", title: key.length > SHOWN ? key : null },
    bdi("", shown));
}

/** A write's name, as a link to its receipt. The middle part, the run of its node, is cut. */
export function writeLink(dot) {
  const [node, run, number] = dot.split(".");
  return h("a", { href: `#/write/${encodeURIComponent(dot)}`, class: "dot", title: dot, "aria-label": `write ${dot}` },
    `${node}.${run.slice(0, 4)}….${number}`);
}

/** Words of an error for the reader. */
export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, error.message);
}
