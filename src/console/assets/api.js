// The calls of this node's API that the console makes. What they answer is in docs/http-api.md.

import * as token from "/console/token.js";

/** A refusal, or no answer at all. `status` is 0 where there was none. */
export class Refused extends Error {
  constructor(message, status = 0, problem = {}) {
    super(message);
    this.status = status;
    this.problem = problem;
  }

  /** Whether this node does not know who asks. */
  get isUnknown() {
    return this.problem.type === "/problems/not-authenticated";
  }

  /** Whether the token is not for that. */
  get isForbidden() {
    return this.problem.type === "/problems/not-allowed";
  }
}

/** How long an answer may take; and one by which is seen whether the node is there: other nodes hold it up for a second. */
const PATIENCE_MS = 10_000;
const SHORT_PATIENCE_MS = 3_000;

/** What is answered to a request with this token. Nothing that could carry the token elsewhere is followed. */
async function send(path, options, sent) {
  const headers = { ...options.headers, ...token.header(sent) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch {
    throw new Refused("This node does not answer.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(words(response.status, body), response.status, body);
}

function words(status, { title, detail, prefix }) {
  if (!detail) return `This node answered ${status}.`;
  const advice = status === 403 && typeof prefix === "string" ? " Ask for keys that begin as the token's do." : "";
  return `${title}: ${detail}.${advice}`;
}

/** The same with this tab's token. Where the node wants another, it is sent again with that. */
async function call(path, options, signal) {
  for (;;) {
    const sent = await token.ready();
    try {
      return await send(path, { ...options, signal: signal() }, sent);
    } catch (error) {
      if (!error.isUnknown) throw error;
      token.refused(sent);
    }
  }
}

async function ask(path, options = {}, patience = PATIENCE_MS) {
  const response = await call(path, options, () => AbortSignal.timeout(patience));
  return response.json().catch(() => {
    throw new Refused("This node's answer broke off.");
  });
}

/** Whether this node knows a token. */
export async function knows(given) {
  try {
    await send("/latency", { signal: AbortSignal.timeout(PATIENCE_MS) }, given);
    return true;
  } catch (error) {
    if (error.isUnknown) return false;
    if (error.isForbidden) return true;
    throw error;
  }
}

/** The body of a stream of events, until `signal` ends it. */
export async function events(path, signal) {
  const response = await call(path, { headers: { Accept: "text/event-stream" } }, () => signal);
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) return response.body;
  throw new Refused("This node answered with something else than events.");
}

function path(base, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return query ? `${base}?${query}` : base;
}

export const cluster = () => ask("/cluster", {}, SHORT_PATIENCE_MS);
export const latency = () => ask("/latency");
export const pending = (peer) => ask(path("/pending", { peer }));
export const receipt = (dot) => ask(`/writes/${encodeURIComponent(dot)}`);
export const conflicts = (parameters) => ask(path("/conflicts", parameters));
export const keys = (parameters) => ask(path("/keys", parameters));
export const watchPath = (parameters) => path("/watch", parameters);

/** All siblings of one key, and the context of that; none is an answer too. */
export async function read(key) {
  const answer = await ask("/read?resolve=all", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ keys: [key] }),
  });
  return { ...answer.keys[0], context: answer.context };
}

/** Writes one key (null deletes it). With the context of a read, just what that read showed is replaced. */
export function write(key, value, context) {
  const headers = { "Content-Type": "application/json" };
  if (context) headers["Causal-Context"] = context;
  // A computed name is an own property whatever the key is, "__proto__" too.
  return ask("/set", { method: "PATCH", headers, body: JSON.stringify({ values: { [key]: value } }) });
}
