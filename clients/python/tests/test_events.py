"""Server-sent events are read however they are cut into pieces."""

from __future__ import annotations

import pytest

from causeway_client import BadAnswer
from causeway_client._sse import EventParser, RawEvent

TEXT = (
    'event: start\nid: 1-x\ndata: {"a":"\u2028 \u00e9 \\r"}\n\n'
    ": a comment\n\n"
    "data: one\ndata:two\n\n"
    "event: change\nretry: 5\nid\ndata: {}\n\n"
).encode()
EVENTS = [
    RawEvent("start", "1-x", '{"a":"\u2028 \u00e9 \\r"}'),
    RawEvent("message", None, "one\ntwo"),
    RawEvent("change", "", "{}"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_come_whole_out_of_pieces(size: int) -> None:
    parser = EventParser()
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_what_is_not_text_is_no_event() -> None:
    with pytest.raises(BadAnswer, match="UTF-8"):
        EventParser().feed(b"data: \xff\n\n")
