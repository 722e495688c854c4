"""Sessions that go on while their nodes are killed and cut off: what was acknowledged is there in the end, once."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from causeway_client import Client, OutcomeUnknown
from nodes import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodes import Cluster

WRITERS = 4
# How many updates each writer makes, at least, before and after each fault.
STRIDE = 5


class Writer(threading.Thread):
    """One session, which adds numbers of its own to a set that all write to."""

    def __init__(self, urls: Sequence[str], name: str, ended: threading.Event) -> None:
        super().__init__(name=name)
        self.urls = urls
        self.ended = ended
        self.done: list[str] = []
        self.dots: list[str] = []
        self.lost = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write until it is told to end."""
        try:
            with Client(self.urls, timeout=30, attempt_timeout=1, connect_timeout=0.5, wait=0.5) as client:
                session = client.session()
                while not self.ended.is_set():
                    item = f"{self.name}.{len(self.done)}"
                    try:
                        written = session.update("set", _with(item), timeout=30)
                    except OutcomeUnknown as unknown:
                        self.lost += 1
                        written = session.set(unknown.values, idempotency_key=unknown.idempotency_key)
                    self.done.append(item)
                    self.dots.append(written.dot)
                    seen = _merged(session.read("set").values)
                    assert seen >= set(self.done), "a session went back in time"
        except BaseException as error:  # noqa: BLE001
            self.error = error


def _merged(values: Sequence[str]) -> set[str]:
    return {item for value in values for item in json.loads(value)}


def _with(item: str):  # type: ignore[no-untyped-def]
    def merge(values: Sequence[str]) -> str:
        return json.dumps(sorted(_merged(values) | {item}))

    return merge


def test_nothing_acknowledged_is_lost_or_doubled(own: Cluster) -> None:
    ended = threading.Event()
    # Each prefers another node.
    orders = [[*own.urls[number % 3 :], *own.urls[: number % 3]] for number in range(WRITERS)]
    writers = [Writer(order, f"w{number}", ended) for number, order in enumerate(orders)]
    for writer in writers:
        writer.start()

    def go_on(among: Sequence[Writer] = writers) -> None:
        wanted = {writer: len(writer.done) + STRIDE for writer in among}

        def enough() -> bool | None:
            assert not [writer.error for writer in writers if writer.error]
            return all(len(writer.done) >= count for writer, count in wanted.items()) or None

        until(enough)

    go_on()
    for node in (0, 1, 2):
        with own.without(node):
            go_on()
        own.nodes[node].kill()
        own.nodes[node].start()
        go_on()
    own.nodes[0].stop()
    own.nodes[0].start()
    go_on()
    ended.set()
    for writer in writers:
        writer.join()
    assert [writer.error for writer in writers] == [None] * WRITERS
    wanted = {item for writer in writers for item in writer.done}
    dots = [dot for writer in writers for dot in writer.dots]
    assert len(set(dots)) == len(dots)
    for url in own.urls:
        with Client(url) as client:
            until(lambda client=client: _merged(client.session().read("set").values) == wanted or None)  # type: ignore[misc]
