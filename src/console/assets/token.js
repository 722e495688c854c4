// The token of this tab, for nodes that want one: in the tab's session storage while it is good, and nowhere else. Each call
// carries it in a header; a call that it is not good for waits here until there is another. Knows no element of the page.

const NAME = "causeway-token";

/** Empty: there is none. */
let token = stored();
/** While the node wants another than what there is: what whoever needs one waits for. */
let wanted = null;
let listeners = [];

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    // Storage can be switched off: then it lasts as long as the page.
    return "";
  }
}

function set(to) {
  token = to;
  try {
    if (to) sessionStorage.setItem(NAME, to);
    else sessionStorage.removeItem(NAME);
  } catch {
    // As above.
  }
}

export const isThere = () => token !== "";
export const isWanted = () => wanted !== null;

/** Is called whenever a token is wanted, and when there is one: with whether that is so, and whether there was one before. */
export function listen(listener) {
  listeners.push(listener);
}

function tell(before) {
  for (const listener of listeners) listener(isWanted(), before);
}

/** The token to send now, or none; while another is wanted, waits for that. */
export async function ready() {
  await wanted?.promise;
  return token;
}

/** The header by which a token is sent. */
export const header = (sent) => (sent ? { Authorization: `Bearer ${sent}` } : {});

/** The node does not know what it was sent, nothing being a token too. */
export function refused(sent) {
  // Another may have taken its place meanwhile.
  if (wanted || sent !== token) return;
  wanted = Promise.withResolvers();
  set("");
  tell(sent !== "");
}

/** Goes on with a token that the node knows. */
export function use(given) {
  const waiting = wanted;
  wanted = null;
  set(given);
  waiting?.resolve();
  tell(false);
}

/** Forgets the token and all that was seen by it: nothing of a page is there after it was loaded anew. */
export function forget() {
  set("");
  location.reload();
}
