"""What the core asks of the shells, and what they answer.

All that this package does is written once, as *programs*: generators that yield steps, get the outcome of each, and
return a result. They decide on requests, retries and waits, and do no I/O. `_sync` and `_async` perform the steps.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from causeway_client._values import Event


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one node. Times are in seconds; `deadline` is by the core's clock."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    connect_within: float
    answer_within: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Send:
    """Make a request and read its whole answer."""

    request: Request


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Make a request; of a good answer read the head, of another all."""

    request: Request


@dataclass(frozen=True, slots=True)
class Receive:
    """Read on in the answer that was opened last, for at most so many seconds."""

    within: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Hand an event to whoever watches."""

    event: Event


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, or no whole one. Unless it was `sent`, the node has not seen the request."""

    sent: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an answer that was opened; none at its end."""

    data: bytes


Outcome: TypeAlias = Answer | Failure | Piece | None

Result = TypeVar("Result")

Program: TypeAlias = Generator[Send | Pause, Outcome, Result]
WatchProgram: TypeAlias = Generator[Open | Receive | Pause | Tell, Outcome, None]
