// The form that asks for a token when this node wants one, and the button that forgets it.

import * as api from "/console/api.js";
import * as token from "/console/token.js";

const byId = (id) => document.getElementById(id);

/** What a token can be sent as; that it is of some other form the node says. */
const SENDABLE = /^[!-~]+$/;

/** `resume()` is called when there is a token again, behind all who waited for one. */
export function askForTokens(resume) {
  const [form, field, button] = [byId("token"), byId("token-field"), byId("token-use")];

  const say = (problem) => {
    byId("token-problem").textContent = problem;
    field.setAttribute("aria-invalid", String(Boolean(problem)));
  };

  const changed = (isWanted, before) => {
    form.hidden = !isWanted;
    byId("forget").hidden = !token.isThere();
    if (!isWanted) return;
    say(before ? "This node does not know the token any more that this page had. Another may have taken its place." : "");
    // Who is typing somewhere goes on there.
    if (document.activeElement === document.body) field.focus();
  };

  const refuse = (problem) => {
    say(problem);
    field.focus();
    field.select();
  };

  form.onsubmit = async (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (!SENDABLE.test(given)) return refuse("A token has no blanks, and no letters but those of ASCII.");
    button.disabled = true;
    try {
      if (!(await api.knows(given))) return refuse("This node does not know that token.");
    } catch (error) {
      return refuse(error.message);
    } finally {
      button.disabled = false;
    }
    field.value = "";
    token.use(given);
    resume();
  };

  byId("forget").onclick = () => token.forget();
  byId("forget").hidden = !token.isThere();
  token.listen(changed);
}
