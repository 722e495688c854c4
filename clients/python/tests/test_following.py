"""How a watch goes on: the core alone, with a clock of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from causeway_client import BadAnswer, BadRequest, Event, Unavailable, Unreachable
from causeway_client._calls import Settings
from causeway_client._nodes import Nodes
from causeway_client._steps import Answer, Failure, Open, Outcome, Pause, Piece, Tell
from causeway_client._watches import WatchCore

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B = NODES = ("http://a", "http://b")
OPENED = Answer(200, {"content-type": "text/event-stream"}, b"")
GONE = Answer(410, {"content-type": "application/problem+json"}, b'{"type":"/problems/cursor-gone"}')
REFUSED = Failure(sent=False, reason="refused")
CUT = Failure(sent=True, reason="cut")
END = Piece(b"")


def said(name: str, identity: str | None = None, **data: object) -> Piece:
    """Make an event as a node sends it."""
    first = f"event: {name}\n" + (f"id: {identity}\n" if identity else "")
    return Piece(f"{first}data: {json.dumps(data)}\n\n".encode())


def start(identity: str) -> Piece:
    return said("start", identity, node=0, context="token")


def change(identity: str) -> Piece:
    at = "2026-11-24T14:08:11.532Z"
    return said("change", identity, dot=identity, node=0, written_at=at, trace_id=None, entries=[])


class Follower:
    """Performs the steps of a watch: outcomes come in order, and time passes in pauses only."""

    def __init__(self, cursor: str | None = None, nodes: Sequence[str] = NODES) -> None:
        self.now = 1000.0
        settings = Settings(Nodes(nodes), clock=lambda: self.now, jitter=lambda: 1.0)
        self.core = WatchCore.begin(settings, "p/", cursor, 45, None)
        self.opened: list[tuple[str, float]] = []

    def follow(self, outcomes: Sequence[Outcome], *, then: Outcome = None) -> list[Event]:
        """Perform it until all outcomes are used up; `then` is the outcome of whatever comes behind."""
        events: list[Event] = []
        left = list(outcomes)
        program = self.core.run()
        outcome: Outcome = None
        while True:
            step = program.send(outcome)
            outcome = None
            if isinstance(step, Tell):
                events.append(step.event)
            elif isinstance(step, Pause):
                self.now += step.seconds
            elif not left and then is None:
                return events
            else:
                if isinstance(step, Open):
                    self.opened.append((step.request.url.replace("/watch?prefix=p%2F", " "), round(self.now - 1000, 2)))
                outcome = left.pop(0) if left else then


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.cursor or event.kind for event in events]


def test_it_goes_on_behind_what_came_last_and_tells_its_start_once() -> None:
    follower = Follower()
    outcomes: list[Outcome] = [OPENED, start("1"), change("2"), said("cursor", "3"), CUT]
    outcomes += [REFUSED, OPENED, start("3"), change("4"), END]
    for reason in ("too-slow", "stopping"):
        outcomes += [OPENED, start("4"), said("closed", reason=reason)]
    events = follower.follow([*outcomes, OPENED, start("4"), said("something new"), change("5")])
    assert kinds(events) == [f"{number}@{A}" for number in (1, 2, 4, 5)]
    assert [event.kind for event in events] == ["start", "change", "change", "change"]
    urls = [url for url, _ in follower.opened]
    assert urls == [f"{A} ", f"{A} &after=3", f"{A} &after=3", f"{A} &after=4", f"{A} &after=4", f"{A} &after=4"]
    assert follower.core.cursor == f"5@{A}"


def test_only_its_own_node_is_asked_for_a_while() -> None:
    follower = Follower(f"7@{B}")
    with pytest.raises(Unreachable):
        follower.follow([OPENED, start("7"), change("8"), CUT], then=REFUSED)
    own = [at for url, at in follower.opened if url == f"{B} &after=8"]
    others = [at for url, at in follower.opened if url == f"{A} "]
    assert min(own) < 1
    assert 5 <= min(others) < 5.1
    assert max(own + others) < 10
    # Whoever goes on afterwards is where they were.
    assert kinds(follower.follow([OPENED, start("8"), change("9")])) == [f"9@{B}"]


def test_at_another_node_it_begins_anew() -> None:
    follower = Follower(f"7@{A}")
    lost: list[Outcome] = [REFUSED] * 7
    events = follower.follow([*lost, OPENED, start("100"), change("101"), CUT, OPENED, start("101"), change("102")])
    assert [event.kind for event in events] == ["reset", "start", "change", "change"]
    assert kinds(events) == ["reset", f"100@{B}", f"101@{B}", f"102@{B}"]
    assert follower.opened[-2][0] == f"{B} "


def test_a_reset_and_a_cursor_that_is_gone_begin_anew() -> None:
    follower = Follower("0")
    events = follower.follow(
        [OPENED, start("0"), change("1"), said("reset"), OPENED, start("90"), CUT, GONE, OPENED, start("95")]
    )
    assert kinds(events) == [f"0@{A}", f"1@{A}", "reset", f"90@{A}", "reset", f"95@{A}"]
    assert [url for url, _ in follower.opened] == [f"{A} &after=0", f"{A} ", f"{A} &after=90", f"{A} "]
    # A node that this client does not know can't be asked.
    stranger = Follower("7@http://elsewhere")
    assert kinds(stranger.follow([OPENED, start("1")])) == ["reset", f"1@{A}"]


def test_who_has_too_many_watches_is_asked_later_or_not() -> None:
    busy = Answer(
        503, {"content-type": "application/problem+json", "retry-after": "1"}, b'{"type":"/problems/overloaded"}'
    )
    follower = Follower()
    assert kinds(follower.follow([busy, OPENED, start("1")])) == [f"1@{B}"]
    alone = Follower(f"7@{A}", [A])
    assert kinds(alone.follow([busy, busy, OPENED, start("7"), change("8")])) == [f"8@{A}"]
    assert [at for _, at in alone.opened] == [0, 1, 2]
    with pytest.raises(Unavailable):
        Follower().follow([], then=busy)


def test_what_is_wrong_is_told() -> None:
    for wrong in (said("start", "1"), said("change", None), Piece(b"event: change\nid: 1\ndata: no JSON\n\n")):
        with pytest.raises(BadAnswer):
            Follower().follow([OPENED, wrong])
    with pytest.raises(BadAnswer, match="does not send events"):
        Follower().follow([Answer(200, {"content-type": "text/html"}, b"")])
    bad = Answer(400, {"content-type": "application/problem+json"}, b'{"type":"/problems/bad-cursor"}')
    with pytest.raises(BadRequest):
        Follower("nothing").follow([bad])
