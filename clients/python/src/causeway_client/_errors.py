"""Everything that can go wrong, as exceptions.

A refusal of a node is a `Problem`, made from its `application/problem+json`; its `type` is stable. What is no
refusal has a class of its own: nobody answered (`Unreachable`), somebody may have (`OutcomeUnknown`), or what
answered is no node (`BadAnswer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CausewayError(Exception):
    """What all errors of this package are."""


class Unreachable(CausewayError):
    """No node could be reached in time; nothing was changed.

    `reasons` has the last one for each node that was tried.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        told = "; ".join(f"{node}: {reason}" for node, reason in self.reasons.items())
        super().__init__(f"no node answers: {told}")


class OutcomeUnknown(CausewayError):
    """A write was sent, and whether it was made could not be learnt in time from the node that it was sent to.

    It was not sent to another node: that could have made it twice. Whoever accepts two equal siblings sends it again
    with `session.set(error.values, idempotency_key=error.idempotency_key)`. It then is one write wherever the first
    has arrived, and beside it where not.
    """

    def __init__(self, node: str, idempotency_key: str, values: Mapping[str, str | None], reason: str) -> None:
        self.node = node
        self.idempotency_key = idempotency_key
        self.values = dict(values)
        super().__init__(f"whether the write was made at {node} is unknown: {reason}")


class BadAnswer(CausewayError):
    """What answered is not a node of Causeway, or one that this package does not understand."""


class SiblingsLeftOut(CausewayError):
    """A key has siblings that a node did not show, because all are too large for one answer.

    Merging the others would drop these unread.
    """

    def __init__(self, key: str, left_out: int) -> None:
        self.key = key
        self.left_out = left_out
        super().__init__(f"{left_out} siblings of the key {key!r} are too large to be read with the others")


class Problem(CausewayError):
    """A refusal. Unless its class says otherwise, nothing was changed.

    `type` (such as `/problems/value-too-long`) and `status` are for programs, `title` and `detail` for people;
    `members` has all that came with them, `node` is who refused.
    """

    def __init__(self, node: str, status: int, members: Mapping[str, Any]) -> None:
        self.node = node
        self.status = status
        self.members = dict(members)
        self.type = str(members.get("type", "about:blank"))
        self.title = str(members.get("title", f"HTTP status {status}"))
        self.detail = str(members.get("detail", ""))
        told = f"{self.title}: {self.detail}" if self.detail else self.title
        super().__init__(f"{told} ({self.type}, {status} of {node})")

    @property
    def trace_id(self) -> str | None:
        """The trace in which a failure can be looked up, where there is one."""
        found = self.members.get("trace_id")
        return None if found is None else str(found)


class BadRequest(Problem):
    """The request is wrong, and will be at any time: a key that is empty, an unknown context, and the like."""


class NotAllowed(Problem):
    """The node wants a token, or another one."""


class TooLarge(Problem):
    """A key, a value or the whole request has too many bytes or keys; `members["limit"]` says how many may be."""


class TooManySiblings(Problem):
    """The write would add a sibling to a key that has the most: read it, and write with what was read."""


class IdempotencyKeyReused(Problem):
    """The idempotency key is that of another write."""


class Unavailable(Problem):
    """The nodes that answer can't do it now: too busy, stopping, about to be removed, read-only, or out of room."""


class ContextNotReached(Unavailable):
    """The nodes that answer don't have all that the session has seen.

    Another session is always answered, and may show an older state.
    """

    @property
    def lacking(self) -> Sequence[Mapping[str, Any]]:
        """What the node lacks: `origin`, `wanted`, `have`, `obtainable`."""
        found = self.members.get("lacking", [])
        return list(found)

    @property
    def obtainable(self) -> bool:
        """Whether waiting can help: not when no node of the cluster has it any more."""
        return all(bool(lack.get("obtainable", True)) for lack in self.lacking)


_BY_TYPE: dict[str, type[Problem]] = {
    "/problems/too-many-siblings": TooManySiblings,
    "/problems/idempotency-key-reused": IdempotencyKeyReused,
    "/problems/context-not-reached": ContextNotReached,
}

_BY_STATUS: dict[int, type[Problem]] = {
    400: BadRequest,
    401: NotAllowed,
    403: NotAllowed,
    413: TooLarge,
    415: BadRequest,
    422: BadRequest,
    429: Unavailable,
    503: Unavailable,
    507: Unavailable,
}


def problem(node: str, status: int, members: Mapping[str, Any]) -> Problem:
    """Make the error that fits best."""
    by_status = _BY_STATUS.get(status, Problem)
    return _BY_TYPE.get(str(members.get("type")), by_status)(node, status, members)
