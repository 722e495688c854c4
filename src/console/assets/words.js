// Numbers, times and names as people say them. A number and its unit stay on one line.

import { h } from "/console/dom.js";

const number = new Intl.NumberFormat("en");

/** "1 write", "1,024 writes". */
export function count(amount, one, many = `${one}s`) {
  return `${number.format(amount)} ${amount === 1 ? one : many}`;
}

export function plain(amount) {
  return number.format(amount);
}

/** "812 B", "12 kB", "4.1 MB". */
export function bytes(amount) {
  if (amount < 1000) return `${amount}\u00a0B`;
  for (const unit of ["kB", "MB", "GB"]) {
    amount /= 1000;
    if (amount < 999.5) return `${amount < 9.95 ? amount.toFixed(1) : Math.round(amount)}\u00a0${unit}`;
  }
  return `${(amount / 1000).toFixed(1)}\u00a0TB`;
}

/** How long, in the two units that matter at most. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}\u00a0s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours}\u00a0h ${minutes % 60}\u00a0min` : `${hours}\u00a0h`;
  return `${Math.floor(hours / 24)} days`;
}

/** A short span, such as the latency of a write. */
export function span(ms) {
  if (ms < 0.995) return `${ms.toFixed(2)}\u00a0ms`;
  if (ms < 9.95) return `${ms.toFixed(1)}\u00a0ms`;
  if (ms < 999.5) return `${Math.round(ms)}\u00a0ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)}\u00a0s`;
  return duration(ms);
}

const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });

/** A time of day, with the date where that is not today's; `title` has all of it. */
export function when(iso, { millis = false } = {}) {
  if (!iso) return h("span", { class: "muted" }, "unknown");
  const at = new Date(iso);
  const shown = clock.format(at) + (millis ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "");
  const now = new Date();
  const year = at.getFullYear() === now.getFullYear() ? "" : ` ${at.getFullYear()}`;
  const today = !year && day.format(at) === day.format(now);
  return h("time", { datetime: iso, title: `${iso.replace("T", " ").replace("Z", "")} UTC` },
    today ? shown : `${day.format(at)}${year} ${shown}`);
}

/** How far a node's whole state on its way to another is: "25 %, about 2 min left". How many keys there are is about right. */
export function progress({ keys, all_keys, left_seconds }) {
  const percent = all_keys ? Math.min(99, Math.floor((100 * keys) / all_keys)) : 0;
  return `${percent}\u00a0%${left_seconds === null ? "" : `, about ${duration(left_seconds * 1000)} left`}`;
}

/** "node0, node1 and node2"; past `most`, "and 4 more". */
export function list(words, most = 4) {
  if (words.length > most) return `${words.slice(0, most - 1).join(", ")} and ${words.length - most + 1} more`;
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** A node's name: its id, or its address while it has never said its id. */
export function nodeName(id, address) {
  return id === null || id === undefined ? (address ?? "an unknown node").replace(/^https?:\/\//, "") : `node${id}`;
}
