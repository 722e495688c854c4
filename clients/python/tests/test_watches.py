"""Watches at real nodes: every change once, over cuts and restarts; and told when that can't be."""

from __future__ import annotations

import asyncio
import threading
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from causeway_client import AsyncClient, BadRequest, Client, Entry, Event, Unreachable
from nodes import Cluster, Relay, until

if TYPE_CHECKING:
    from pathlib import Path


def values(events: list[Event]) -> list[str | None]:
    """Tell what the keys of changes became."""
    assert [event.kind for event in events] == ["change"] * len(events)
    return [entry.value for event in events for entry in event.entries]


def test_changes_are_told_as_they_come(shared: Cluster, key: str) -> None:
    with Client(shared.urls) as client, client.watch(key) as watch:
        session = client.session()
        start = next(watch)
        assert (start.kind, start.node, start.cursor) == ("start", 0, watch.cursor)
        client.session(start.context).read(key)
        first = session.set({f"{key}/1": "a", "elsewhere": "b"})
        second = session.set({f"{key}/1": None})
        one, two = islice(watch, 2)
        assert one.entries == (Entry(f"{key}/1", "a", ()),)
        assert two.entries == (Entry(f"{key}/1", None, (first.dot,)),)
        assert (two.kind, two.dot, two.node, two.trace_id) == ("change", second.dot, 0, None)
        assert two.written_at is not None
        # Behind any event, and from the beginning.
        with client.watch(key, cursor=one.cursor) as again:
            assert next(again) == two
        with client.watch(key, cursor="0") as all_of_it:
            assert [event.dot for event in islice(all_of_it, 3)] == [None, first.dot, second.dot]
    assert list(watch) == []


def test_a_watch_goes_on_over_cuts_and_restarts(own: Cluster) -> None:
    relay = Relay(own.nodes[0].port)
    with Client([relay.url, *own.urls[1:]], timeout=20) as client, Client(own.urls) as writer:
        watch = client.watch("k")
        assert next(watch).kind == "start"
        session = writer.session()
        session.set({"k": "1"})
        assert values([next(watch)]) == ["1"]
        relay.break_connections()
        session.set({"k": "2"})
        assert values([next(watch)]) == ["2"]
        session.set({"k": "3"}, acks="all")
        own.nodes[0].kill()
        session.set({"k": "4"})
        own.nodes[0].start()
        assert values(list(islice(watch, 2))) == ["3", "4"]
        session.set({"k": "5"}, acks="all")
        own.nodes[0].stop()
        own.nodes[0].launch()
        session.set({"k": "6"})
        assert values(list(islice(watch, 2))) == ["5", "6"]
        watch.close()
    relay.close()


def test_a_watch_whose_node_stays_away_begins_anew_and_says_so(own: Cluster) -> None:
    with Client(own.urls) as client:
        watch = client.watch("k", timeout=6)
        assert next(watch).node == 0
        session = client.session()
        session.set({"k": "1"}, acks="all")
        assert values([next(watch)]) == ["1"]
        own.nodes[0].kill()
        reset, start = islice(watch, 2)
        assert (reset.kind, reset.cursor, start.kind, start.node) == ("reset", None, "start", 1)
        assert client.session(start.context).read("k").value == "1"
        session.set({"k": "2"})
        event = next(watch)
        assert values([event]) == ["2"]
        # Nobody is there: it is told, and goes on from there when somebody is.
        for node in own.nodes:
            node.kill()
        with pytest.raises(Unreachable):
            next(watch)
        assert watch.cursor == event.cursor
        own.nodes[1].start()
        session = client.session()
        session.set({"k": "3"})
        assert values([next(watch)]) == ["3"]
        # Such a cursor is of node1's log, wherever it is used.
        with Client(own.urls[1]) as other, other.watch("k", cursor=event.cursor) as again:
            assert values([next(again)]) == ["3"]
        own.nodes[0].start()
        with Client(own.urls[0]) as other, other.watch("k", cursor=event.cursor) as elsewhere:
            assert [event.kind for event in islice(elsewhere, 2)] == ["reset", "start"]


def test_a_cursor_that_its_node_does_not_know_begins_anew(shared: Cluster, key: str) -> None:
    with Client(shared.urls) as client:
        identity = "1-0.00c0ffee00c0ffee.7-5be0cd19137e2179"
        with client.watch(key, cursor=f"{identity}@{shared.urls[0]}") as watch:
            assert [event.kind for event in islice(watch, 2)] == ["reset", "start"]
        with client.watch(key, cursor="no cursor") as watch, pytest.raises(BadRequest, match="/problems/bad-cursor"):
            next(watch)


def test_a_silent_watch_is_not_cut_and_a_dead_one_is_noticed(shared: Cluster, key: str) -> None:
    relay = Relay(shared.nodes[0].port)
    with Client(relay.url, attempt_timeout=0.2) as client, Client(shared.urls) as writer:
        patient, short = client.watch(key), client.watch(key, silence=0.5)
        assert [next(watch).kind for watch in (patient, short)] == ["start", "start"]

        def opened() -> int:
            return relay.requests.count(b"GET /watch")

        before = opened()
        late = threading.Timer(0.4, lambda: writer.session().set({key: "late"}))
        late.start()
        assert values([next(patient)]) == ["late"]
        assert values([next(short)]) == ["late"]
        assert opened() == before

        async def wait() -> None:
            async with AsyncClient(relay.url, attempt_timeout=0.2) as tasks, tasks.watch(key) as watch:
                assert (await anext(watch)).kind == "start"
                before = opened()
                # Longer than a node may take to answer. Who waits may be cancelled, and nothing is lost.
                waiting = asyncio.ensure_future(anext(watch))
                await asyncio.sleep(0.6)
                assert opened() == before
                waiting.cancel()
                await asyncio.wait([waiting])
                await tasks.session().set({key: "after"})
                assert values([await anext(watch)]) == ["after"]

        asyncio.run(wait())
        assert values([next(patient)]) == ["after"]
        relay.strand()
        writer.session().set({key: "to nobody"})
        assert values(list(islice(short, 2))) == ["after", "to nobody"]
        for watch in (patient, short):
            watch.close()
    relay.close()


def test_a_node_that_is_caught_up_by_a_whole_state_resets_its_watches(tmp_path: Path) -> None:
    # As little as a log can be; of a write with such a value, four fill a part of it.
    value = "v" * (256 << 10)
    with (
        Cluster(tmp_path, linked=True, CAUSEWAY_LOG_MAX_BYTES=str(4 << 20)) as cluster,
        Client(cluster.urls[0]) as client,
        Client(cluster.urls[1]) as writer,
    ):
        watch = client.watch("k/")
        assert next(watch).kind == "start"
        with cluster.without(0):
            session = writer.session()
            for number in range(40):
                session.set({f"k/{number}": value})
            # Once they are trimmed, no log has all of it.
            until(lambda: all(node.log_bytes() <= 5 << 20 for node in cluster.nodes[1:]) or None)
        # What was on its way when it was cut off still comes.
        while (event := next(watch)).kind == "change":
            pass
        start = next(watch)
        assert (event.kind, start.kind, start.node) == ("reset", "start", 0)
        assert len(list(client.session(start.context).keys("k/"))) == 40
        session.set({"k/40": "told"})
        assert values([next(watch)]) == ["told"]
        watch.close()


def test_a_watch_for_tasks_goes_on(own: Cluster) -> None:
    async def use() -> None:
        async with AsyncClient(own.urls) as client:
            watch = client.watch("k", timeout=6)
            assert (await anext(watch)).kind == "start"
            session = client.session()
            await session.set({"k": "1"}, acks="all")
            assert values([await anext(watch)]) == ["1"]
            own.nodes[0].kill()
            await session.set({"k": "2"})
            assert [(await anext(watch)).kind for _ in range(2)] == ["reset", "start"]
            await watch.aclose()
            assert [event async for event in watch] == []

    asyncio.run(use())
