"""One call of the API: its request, what its answer means, and whether and where it is tried again.

A read is tried at any node until one answers. A write has an idempotency key, and goes to another node only as long as
it is sure that none before has taken it. Otherwise it is sent to the same one again, which knows it by its key.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from causeway_client import _errors as errors
from causeway_client._nodes import Clock, Nodes, Tries
from causeway_client._steps import Answer, Failure, Outcome, Program, Request, Send

if TYPE_CHECKING:
    from collections.abc import Mapping

# A node forgets idempotency keys after ten minutes; what is sent later would be another write.
LONGEST_TIMEOUT_SECONDS = 300.0
# What is left for the way back, when a node may wait.
WAY_BACK_SECONDS = 1.0
USER_AGENT = "causeway-client/0.1.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client asks. Times are in seconds."""

    nodes: Nodes
    token: str | None = None
    timeout: float = 10.0
    attempt_timeout: float = 3.0
    connect_timeout: float = 1.0
    wait: float = 2.0
    clock: Clock = time.monotonic
    jitter: Clock = random.random

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if min(self.attempt_timeout, self.connect_timeout) <= 0 or self.wait < 0:
            raise ValueError("timeouts must be more than nothing, and wait not less")

    def deadline(self, timeout: float | None) -> float:
        """Tell when a call that begins now must have ended."""
        if timeout is not None:
            check_timeout(timeout)
        return self.clock() + (self.timeout if timeout is None else timeout)

    def tries(self, home: str | None, deadline: float, *, write: bool) -> Tries:
        """Begin the tries of a call."""
        return Tries(self.nodes, home, deadline, write, self.clock, self.jitter)

    def headers(self) -> dict[str, str]:
        """Make the headers that every request has."""
        headers = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        return headers


def check_timeout(timeout: float) -> None:
    """Refuse what is no overall timeout."""
    if not 0 < timeout <= LONGEST_TIMEOUT_SECONDS:
        raise ValueError(f"a timeout must be more than 0 and at most {LONGEST_TIMEOUT_SECONDS:.0f} seconds")


@dataclass(frozen=True, slots=True)
class Write:
    """What makes a call a write: its values and the name that it goes by."""

    values: Mapping[str, str | None]
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call, whichever node it goes to. `wait`: how long a node may wait for what the call asks for."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: float = 0.0
    write: Write | None = None

    def request(self, settings: Settings, url: str, deadline: float) -> Request:
        """Make its request to one node."""
        left = max(deadline - settings.clock(), 0.0)
        wait = max(min(self.wait, left - min(WAY_BACK_SECONDS, left / 4)), 0.0)
        headers = settings.headers() | dict(self.headers)
        if self.wait > 0:
            headers["prefer"] = f"wait={wait:.3f}"
        if self.body:
            headers["content-type"] = "application/json"
        answer_within = max(min(max(settings.attempt_timeout, wait + WAY_BACK_SECONDS), left), 0.001)
        connect_within = min(settings.connect_timeout, answer_within)
        return Request(self.method, url + self.path, headers, self.body, connect_within, answer_within, deadline)


class Verdict(Enum):
    """What to do after an answer."""

    DONE = auto()
    # It will be refused anywhere, at any time.
    REFUSED = auto()
    # Nothing was done; this node may do it later, another one now.
    TRY_AGAIN = auto()
    # It may have been done.
    UNKNOWN = auto()


# Problems of these statuses say that nothing was done, but for one.
_NOT_MADE = (503, 507)
_MAYBE_MADE = "/problems/stopping"
_UNREADABLE = "/problems/storage-unreadable"
_NO_WRITES = {"/problems/draining", "/problems/read-only", "/problems/too-many-incarnations"}
_OK = (200, 202)
_SERVER_ERROR = 500
_PASSING = (408, 429)


def members_of(answer: Answer) -> Mapping[str, Any]:
    """Read the members of a problem; none when it is not one."""
    if answer.headers.get("content-type", "").partition(";")[0].strip() != "application/problem+json":
        return {}
    try:
        members = json.loads(answer.body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def judge(answer: Answer, problem: errors.Problem, *, write: bool) -> Verdict:
    """Decide by an answer, and the problem that it would be."""
    if answer.status in _OK:
        return Verdict.DONE
    if answer.status < _SERVER_ERROR and answer.status not in _PASSING:
        return Verdict.REFUSED
    if isinstance(problem, errors.ContextNotReached) and not problem.obtainable:
        return Verdict.REFUSED
    # What has no type comes from something before the node.
    is_told = problem.type.startswith("/problems/") and answer.status in _NOT_MADE and problem.type != _MAYBE_MADE
    is_passing = answer.status in _PASSING or problem.type == _UNREADABLE
    return Verdict.TRY_AGAIN if is_told or is_passing or not write else Verdict.UNKNOWN


def retry_after(answer: Answer) -> float:
    """Read how long to wait at least; dates are not looked at, and nothing is too long to be told."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def perform(settings: Settings, call: Call, home: str | None, deadline: float) -> Program[tuple[str, Answer]]:
    """Make a call, at `home` first; returns who answered it."""
    tries = settings.tries(home, deadline, write=call.write is not None)
    while (choice := tries.next()) is not None:
        if not isinstance(choice, str):
            yield choice
            continue
        outcome = yield Send(call.request(settings, choice, deadline))
        answer = _judged(settings, tries, call, choice, outcome)
        if answer is not None:
            return choice, answer
    raise _unknown(tries, call) or tries.error()


def _unknown(tries: Tries, call: Call) -> errors.OutcomeUnknown | None:
    if tries.pinned is None or call.write is None:
        return None
    return errors.OutcomeUnknown(tries.pinned, call.write.idempotency_key, call.write.values, tries.reason())


def _judged(settings: Settings, tries: Tries, call: Call, node: str, outcome: Outcome) -> Answer | None:
    """Return an answer that is good, raise one that is final, and note anything else."""
    is_write = call.write is not None
    if isinstance(outcome, Failure):
        settings.nodes.failed(node, settings.clock())
        tries.failed(node, outcome.reason)
        if is_write and outcome.sent:
            tries.pinned = node
        return None
    if not isinstance(outcome, Answer):
        raise TypeError(f"an answer was expected, not {outcome!r}")
    problem = errors.problem(node, outcome.status, members_of(outcome))
    verdict = judge(outcome, problem, write=is_write)
    if verdict is Verdict.DONE:
        settings.nodes.works(node, write=is_write)
        return outcome
    if verdict is Verdict.REFUSED:
        # Had the one that may have been made been made, siblings would not be in its way. Else that is still unknown.
        unknown = None if isinstance(problem, errors.TooManySiblings) else _unknown(tries, call)
        if unknown is not None:
            raise unknown from problem
        raise problem
    later = retry_after(outcome)
    # That it lacks what this session has seen says nothing of a node.
    if not isinstance(problem, errors.ContextNotReached):
        settings.nodes.failed(node, settings.clock(), later, writes_only=problem.type in _NO_WRITES)
    tries.failed(node, problem, later)
    if verdict is Verdict.UNKNOWN:
        tries.pinned = node
    return None
