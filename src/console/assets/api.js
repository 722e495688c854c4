// The calls of this node's API that the console makes. What they answer is in docs/http-api.md.

/** A refusal, or no answer at all. `status` is 0 where there was none. */
export class Refused extends Error {
  constructor(message, status = 0, problem = {}) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

/** How long an answer may take; and one by which is seen whether the node is there: other nodes hold it up for a second. */
const PATIENCE_MS = 10_000;
const SHORT_PATIENCE_MS = 3_000;

async function ask(path, options = {}, patience = PATIENCE_MS) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(patience) });
  } catch {
    throw new Refused("This node does not answer.");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const words = body.detail ? `${body.title}: ${body.detail}` : `This node answered ${response.status}.`;
  throw new Refused(words, response.status, body);
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
