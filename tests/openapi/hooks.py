"""What schemathesis needs to know of Causeway besides its document. NODE_URL says where the node is."""

import itertools
import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies


def writes():
    """Causal contexts and dots of this node, the first context long out of date: writing with it makes siblings."""
    contexts, dots = [], []
    for number in range(8):
        body = json.dumps({"values": {f"seen-{number % 3}": str(number)}}).encode()
        url = os.environ["NODE_URL"] + "/set"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PATCH")
        with urllib.request.urlopen(request) as answer:
            contexts.append(answer.headers["Causal-Context"])
            dots.append(json.load(answer)["dot"])
    return contexts, dots


TOKENS, DOTS = writes()
NAMES = itertools.count()

# A token has a checksum, so none can be made up.
schemathesis.openapi.format("causal-context", strategies.sampled_from(TOKENS))
# One that nobody made is a 404.
schemathesis.openapi.format("dot", strategies.sampled_from([*DOTS, "0.00c0ffee00c0ffee.7"]))
# Cursors of another log are told by the log that they name.
schemathesis.openapi.format("cursor", strategies.just("0"))
# A name stands for one write.
schemathesis.openapi.format("idempotency-key", strategies.builds(lambda: f"write-{next(NAMES)}"))


@schemathesis.hook
def before_call(context, case, kwargs):
    """What a document can't say of a request."""
    headers = case.headers or {}
    # `replaces=seen` needs a context: one parameter asks for another.
    if (case.query or {}).get("replaces") == "seen" and "Causal-Context" not in headers:
        case.headers["Causal-Context"] = TOKENS[0]
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # Cases at the bounds of a length pass formats by.
    if headers.get("Causal-Context", TOKENS[0]) not in TOKENS:
        case.headers["Causal-Context"] = TOKENS[0]
    # A name is good for one write; the same one is sent again with other values.
    if "Idempotency-Key" in headers:
        case.headers["Idempotency-Key"] = f"write-{next(NAMES)}"
