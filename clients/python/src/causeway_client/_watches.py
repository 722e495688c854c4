"""What a watch does, as a program: it follows one node, resumes there, and begins anew where it can't.

A cursor is good only at the node that gave it. So a watch that is cut off asks that node again for a while, and only
then another one, where it begins anew and says so by `reset`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

from causeway_client import _errors as errors
from causeway_client._calls import Call, Settings, Verdict, judge, members_of, retry_after
from causeway_client._sse import EventParser, RawEvent
from causeway_client._steps import Answer, Failure, Open, Outcome, Pause, Piece, Receive, Request, Tell, WatchProgram
from causeway_client._values import Entry, Event

if TYPE_CHECKING:
    from causeway_client._nodes import Tries

# The first op of any node's log.
BEGINNING = "0"
_GONE = 410


class Ended(Enum):
    """How a node ended what it said."""

    RESET = auto()
    # The connection was cut, or the node said that it closes it.
    BROKEN = auto()
    # The same, before it said anything.
    SILENT = auto()


_Parts: TypeAlias = Generator[Open | Receive | Pause | Tell, Outcome, Ended]


@dataclass(slots=True)
class WatchCore:
    """A watch: how far it is, at which node.

    `silence` is how long a node may say nothing: it speaks every 15 seconds. `timeout` is how long a watch that was cut
    off may take to go on; for the first half only its own node is asked.
    """

    settings: Settings
    prefix: str
    id: str | None
    node: str | None
    silence: float
    timeout: float
    # Whether its start is still to be told.
    fresh: bool
    # The node that it was at last, where it also begins anew.
    home: str | None = None

    @classmethod
    def begin(
        cls, settings: Settings, prefix: str, cursor: str | None, silence: float, timeout: float | None
    ) -> WatchCore:
        """Make a watch that goes on behind a cursor, or begins now."""
        settings.deadline(timeout)
        within = settings.timeout if timeout is None else timeout
        identity, _, node = (cursor or "").partition("@")
        fresh = not node and identity in ("", BEGINNING)
        return cls(settings, prefix, identity or None, node or None, silence, within, fresh)

    @property
    def cursor(self) -> str | None:
        """How far it is: an event's id, and the node that gave it."""
        if self.id is None:
            return None
        return f"{self.id}@{self.node}" if self.node else self.id

    def run(self) -> WatchProgram:
        """Watch for ever, or until no node answers."""
        tries = self._tries()
        while True:
            node = self._next(tries)
            if not isinstance(node, str):
                yield node
                continue
            outcome = yield Open(self._request(node, tries.deadline))
            if isinstance(outcome, Answer) and outcome.status == 200:  # noqa: PLR2004
                if not outcome.headers.get("content-type", "").startswith("text/event-stream"):
                    raise errors.BadAnswer(f"{node} does not send events")
                self.settings.nodes.works(node, write=False)
                self.home = node
                ended = yield from self._events(node)
                if ended is not Ended.SILENT:
                    tries = self._tries()
                if ended is not Ended.RESET:
                    # A pause keeps it from asking again and again.
                    tries.failed(node, "the watch broke off")
            elif isinstance(outcome, Answer) and outcome.status == _GONE:
                yield from self._reset()
            else:
                self._refused(tries, node, outcome)

    def _tries(self) -> Tries:
        return self.settings.tries(self.node or self.home, self.settings.clock() + self.timeout, write=False)

    def _next(self, tries: Tries) -> str | Pause:
        """Choose who is asked: its own node, and after a while any."""
        patient = self.settings.clock() < tries.deadline - self.timeout / 2
        alone = len(self.settings.nodes.urls) == 1
        tries.pinned = self.node if self.id is not None and (patient or alone) and self._is_known() else None
        choice = tries.next()
        if choice is None:
            raise tries.error()
        if isinstance(choice, Pause) and tries.pinned and not alone:
            until_others = tries.deadline - self.timeout / 2 - self.settings.clock()
            return Pause(max(min(choice.seconds, until_others), 0.0))
        return choice

    def _is_known(self) -> bool:
        return self.node in self.settings.nodes.urls

    def _request(self, node: str, deadline: float) -> Request:
        query = {"prefix": self.prefix} if self.prefix else {}
        if self.id is not None and node == (self.node or node):
            query["after"] = self.id
        path = f"/watch?{urlencode(query)}" if query else "/watch"
        return Call("GET", path, {"accept": "text/event-stream"}).request(self.settings, node, deadline)

    def _refused(self, tries: Tries, node: str, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self.settings.nodes.failed(node, self.settings.clock())
            tries.failed(node, outcome.reason)
            return
        if not isinstance(outcome, Answer):
            raise TypeError(f"an answer was expected, not {outcome!r}")
        problem = errors.problem(node, outcome.status, members_of(outcome))
        if judge(outcome, problem, write=False) is Verdict.REFUSED:
            raise problem
        later = retry_after(outcome)
        self.settings.nodes.failed(node, self.settings.clock(), later)
        tries.failed(node, problem, later)

    def _reset(self) -> _Parts:
        """Say that what comes next does not go on from what came."""
        self.id = self.node = None
        self.fresh = True
        yield Tell(Event("reset"))
        return Ended.RESET

    def _events(self, node: str) -> _Parts:
        """Tell what a node says until it ends; returns how it ended."""
        if self.id is not None and self.node is not None and node != self.node:
            yield from self._reset()
        ended = Ended.SILENT
        parser = EventParser()
        while True:
            outcome = yield Receive(self.silence)
            if not isinstance(outcome, Piece) or not outcome.data:
                return ended
            for raw in parser.feed(outcome.data):
                ended = Ended.BROKEN
                if raw.name == "reset":
                    return (yield from self._reset())
                if raw.name == "closed":
                    return ended
                event = self._taken(raw, node)
                if event is not None:
                    yield Tell(event)

    def _taken(self, raw: RawEvent, node: str) -> Event | None:
        """Go on to an event's cursor; returns what there is to tell of it."""
        try:
            members = json.loads(raw.data)
            if raw.name in ("start", "change", "cursor"):
                if raw.id is None:
                    raise errors.BadAnswer(f"an event of {node} has no id")
                told = _event(raw, members, f"{raw.id}@{node}")
                self.id, self.node = raw.id, node
                if raw.name != "start":
                    return told
                was_fresh, self.fresh = self.fresh, False
                return told if was_fresh else None
        except (ValueError, KeyError, TypeError) as error:
            raise errors.BadAnswer(f"an event of {node} is not as a node's: {error!r}") from error
        # Others may come with a later version.
        return None


def _event(raw: RawEvent, members: Mapping[str, Any], cursor: str) -> Event | None:
    if raw.name == "start":
        return Event("start", cursor, context=members["context"], node=members["node"])
    if raw.name == "change":
        entries = (Entry(entry["key"], entry["value"], tuple(entry["replaces"])) for entry in members["entries"])
        written_at = datetime.fromisoformat(members["written_at"])
        return Event(
            "change",
            cursor,
            dot=members["dot"],
            node=members["node"],
            written_at=written_at,
            trace_id=members["trace_id"],
            entries=tuple(entries),
        )
    return None
