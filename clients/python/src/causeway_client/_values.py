"""What reads, writes and watches give: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Sibling:
    """One of the values of a key.

    `dot` is the name of the write that made it, `node` where that was accepted, and `written_at` when, by that
    node's clock. `arrival` is the place in the order in which values reached the node that was asked.
    """

    value: str
    dot: str
    node: int
    written_at: datetime
    arrival: int


@dataclass(frozen=True, slots=True)
class Siblings(Sequence[Sibling]):
    """All values of a key: none, one, or several whose writes did not know of each other.

    The one that reached the node last comes first. `left_out` counts those that were too large for one answer:
    `update` and `resolve` refuse to merge the others then.
    """

    key: str
    siblings: tuple[Sibling, ...]
    left_out: int = 0

    @property
    def value(self) -> str | None:
        """The first value, which a plain read shows; `None` when there is none."""
        return self.siblings[0].value if self.siblings else None

    @property
    def values(self) -> list[str]:
        """All values, the one that came last first."""
        return [sibling.value for sibling in self.siblings]

    @property
    def in_conflict(self) -> bool:
        """Whether there is more than one."""
        return len(self.siblings) + self.left_out > 1

    @overload
    def __getitem__(self, index: int) -> Sibling: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sibling]: ...
    def __getitem__(self, index: int | slice) -> Sibling | Sequence[Sibling]:
        return self.siblings[index]

    def __len__(self) -> int:
        return len(self.siblings)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is on the disk of at least one node, and will reach all.

    `dot` is its name. `durable_on` are nodes that are known to have it: all of them if `acks` was asked for, else the
    one that took it. `enough` says whether these are as many as were asked for. `replayed`: it was made before, under
    the same idempotency key, and this was only found out now.
    """

    values: Mapping[str, str | None]
    dot: str
    durable_on: tuple[int, ...]
    enough: bool
    replayed: bool

    @property
    def value(self) -> str | None:
        """What was written, when it was one key."""
        (value,) = self.values.values()
        return value


@dataclass(frozen=True, slots=True)
class Entry:
    """What a write did to one key.

    `value` is `None` when it deleted the key; `replaces` are the dots of the siblings whose place it takes.
    """

    key: str
    value: str | None
    replaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch tells.

    `start` comes first: `context` is what its node shows now, good for a session that reads what there is.
    `change` is one write: its `dot`, the `node` that accepted it, when, its trace, and what it did to the watched keys.
    `reset`: changes may have been missed. A `start` follows, at which the watched keys must be read anew.

    `cursor` is how far the watch has come with this event; `Client.watch` goes on behind it.
    """

    kind: Literal["start", "change", "reset"]
    cursor: str | None = None
    context: str | None = None
    dot: str | None = None
    node: int | None = None
    written_at: datetime | None = None
    trace_id: str | None = None
    entries: tuple[Entry, ...] = ()
