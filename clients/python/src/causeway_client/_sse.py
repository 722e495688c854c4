"""Server-sent events, out of bytes that come in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field

from causeway_client._errors import BadAnswer

# The largest write, with every byte of it escaped, and room to spare.
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as it came."""

    name: str
    id: str | None
    data: str


@dataclass(slots=True)
class EventParser:
    """What came and is no whole event yet."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[RawEvent]:
        """Take a piece; returns the events that it ends."""
        # An end may have come in part.
        start = max(len(self._buffer) - 1, 0)
        self._buffer += data
        events = []
        while (end := self._buffer.find(b"\n\n", start)) >= 0:
            event = _event(self._buffer[:end])
            del self._buffer[: end + 2]
            start = 0
            if event is not None:
                events.append(event)
        if len(self._buffer) > MOST_BYTES:
            raise BadAnswer(f"an event of a watch has more than {MOST_BYTES} bytes")
        return events


def _event(text: bytearray) -> RawEvent | None:
    """Read the lines of an event; comments are none."""
    fields: dict[str, list[str]] = {}
    # Only line feeds end lines here: texts in JSON may have other separators.
    for line in text.split(b"\n"):
        name, _, value = line.partition(b":")
        if name:
            fields.setdefault(_text(name), []).append(_text(value.removeprefix(b" ")))
    if "data" not in fields:
        return None
    name_of, id_of = fields.get("event", ["message"]), fields.get("id")
    return RawEvent(name_of[-1], id_of[-1] if id_of else None, "\n".join(fields["data"]))


def _text(line: bytearray) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadAnswer(f"an event of a watch is not UTF-8: {error}") from error
