"""Sessions that go on while nodes are killed and cut off, and answers are lost.

What was acknowledged is there in the end, and was made once.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from causeway_client import Client
from nodes import Relay, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nodes import Cluster

WRITERS = 4
# How many updates each writer makes, at least, before and after each fault.
STRIDE = 5


class Writer(threading.Thread):
    """One session, which adds numbers of its own to a set that all write to."""

    def __init__(self, urls: Sequence[str], name: str, ended: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.urls = urls
        self.ended = ended
        self.done: list[str] = []
        self.dots: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write until it is told to end."""
        try:
            with Client(self.urls, timeout=30, attempt_timeout=1, connect_timeout=0.5, wait=0.5) as client:
                session = client.session()
                while not self.ended.is_set():
                    item = f"{self.name}.{len(self.done)}"
                    written = session.update("set", _with(item))
                    self.done.append(item)
                    self.dots.append(written.dot)
                    seen = _merged(session.read("set").values)
                    assert seen >= set(self.done), "a session went back in time"
        except BaseException as error:  # noqa: BLE001
            self.error = error


def lose_answers(relays: Sequence[Relay]) -> None:
    """Lose all answers for a while: a few of each writer's. Reads come no further than that, so both are counted."""

    def asked() -> int:
        return sum(relay.requests.count(b" HTTP/1.1\r\n") for relay in relays)

    wanted = asked() + 3 * WRITERS
    for relay in relays:
        relay.lose_answers = True
    until(lambda: asked() >= wanted or None)
    for relay in relays:
        relay.lose_answers = False


def _merged(values: Sequence[str]) -> set[str]:
    return {item for value in values for item in json.loads(value)}


def _with(item: str) -> Callable[[Sequence[str]], str]:
    def merge(values: Sequence[str]) -> str:
        return json.dumps(sorted(_merged(values) | {item}))

    return merge


def test_nothing_acknowledged_is_lost_or_doubled(own: Cluster) -> None:
    ended = threading.Event()
    relays = [Relay(node.port) for node in own.nodes]
    urls = [relay.url for relay in relays]
    # Each prefers another node.
    orders = [[*urls[number % 3 :], *urls[: number % 3]] for number in range(WRITERS)]
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
            # Other nodes can't know the writes whose answers are lost.
            lose_answers(relays)
            go_on()
        own.nodes[node].kill()
        own.nodes[node].start()
        go_on()
    own.nodes[0].stop()
    own.nodes[0].start()
    lose_answers(relays)
    for relay in relays:
        relay.break_connections()
    go_on()
    ended.set()
    for writer in writers:
        writer.join()
    assert [writer.error for writer in writers] == [None] * WRITERS
    wanted = {item for writer in writers for item in writer.done}
    dots = [dot for writer in writers for dot in writer.dots]
    assert len(set(dots)) == len(dots)
    own.until_equal()
    for url in own.urls:
        with Client(url) as client:
            assert _merged(client.session().read("set").values) == wanted
    # The log has one write for each that was answered, whatever was sent again.
    with Client(own.urls[0]) as client, client.watch("set", cursor="0") as watch:
        client.session().set({"set/end": ""})
        assert next(watch).kind == "start"
        made = []
        while (event := next(watch)).entries[0].key == "set":
            made.append(event.dot)
    assert len(made) == len(dots)
    assert set(made) == set(dots)
    for relay in relays:
        relay.close()
