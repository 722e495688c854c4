"""Reads, writes and merges at real nodes."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest

from causeway_client import (
    AsyncClient,
    BadAnswer,
    BadRequest,
    Client,
    ContextNotReached,
    IdempotencyKeyReused,
    Problem,
    SiblingsLeftOut,
    TooLarge,
    TooManySiblings,
)
from nodes import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodes import Cluster


def joined(values: Sequence[str]) -> str:
    return "+".join(sorted(values))


def test_a_session_reads_what_it_wrote_at_any_node(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as one, Client(shared.urls[1]) as other:
        session = one.session()
        assert session.context is None
        written = session.set({key: "tea", f"{key}/2": "jam"})
        assert (written.durable_on, written.enough, written.replayed) == ((0,), True, False)
        elsewhere = other.session(session.context)
        found = elsewhere.read(key)
        assert (found.value, found.values, found.in_conflict, len(found)) == ("tea", ["tea"], False, 1)
        assert (found[0].dot, found[0].node, found[0].written_at.tzinfo is not None) == (written.dot, 0, True)
        elsewhere.set({key: None})
        back = one.session(elsewhere.context).read_many([key, f"{key}/2", key])
        assert {name: siblings.value for name, siblings in back.items()} == {key: None, f"{key}/2": "jam"}
        assert not back[key]


def test_siblings_are_merged_with_the_context_of_their_read(shared: Cluster, key: str) -> None:
    with Client(shared.urls) as client:
        empty = client.session()
        empty.read(key)
        for value in ("b", "a"):
            client.session(empty.context).set({key: value})
        session = client.session()
        assert session.read(key).in_conflict
        assert [siblings.key for siblings in session.conflicts(key)] == [key]
        assert session.resolve(key, joined) == "a+b"
        assert session.resolve(key, lambda values: f"not called: {values}") == "a+b"
        assert list(session.conflicts(key)) == []
        assert session.update(key, lambda values: f"{joined(values)}+c").value == "a+b+c"
        assert session.read(key).values == ["a+b+c"]
        assert session.update(key, lambda values: None if values else "").value is None
        assert session.update(key, "".join, default="nothing yet").value == "nothing yet"


def test_who_writes_between_the_read_and_the_write_of_an_update_is_not_lost(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        client.session().set({key: "a"})

        def merge(values: Sequence[str]) -> str:
            client.session().set({key: "from elsewhere"})
            return joined([*values, "b"])

        session = client.session()
        session.update(key, merge)
        assert sorted(session.read(key).values) == ["a+b", "from elsewhere"]


def test_a_merge_function_that_uses_its_session_is_told(shared: Cluster, key: str) -> None:
    with Client(shared.urls) as client:
        session = client.session()
        with pytest.raises(RuntimeError, match="must not use its session"):
            session.update(key, lambda _: session.read(key).value)
        assert session.read(key).value is None


def test_threads_that_share_a_session_take_turns(shared: Cluster, key: str) -> None:
    with Client(shared.urls) as client:
        session = client.session()
        count = 20

        def add() -> None:
            session.update(key, lambda values: str(sum(map(int, values)) + 1))

        threads = [threading.Thread(target=add) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert session.read(key).values == [str(count)]


def test_acks_say_who_has_it(parted: Cluster, key: str) -> None:
    with Client(parted.urls[0]) as client:
        session = client.session()
        written = session.set({key: "v"}, acks="all")
        assert (written.durable_on, written.enough) == ((0, 1, 2), True)
        with parted.without(0):
            written = session.update(key, joined, acks="majority", wait=0.1)
            assert (written.durable_on, written.enough, written.value) == ((0,), False, "v")
        with pytest.raises(BadRequest) as caught:
            session.set({key: "v"}, acks=4)
        assert caught.value.type == "/problems/too-many-acks"


def test_nothing_goes_back_in_time(parted: Cluster, key: str) -> None:
    with Client(parted.urls[0]) as one, Client(parted.urls[1], wait=0.1, timeout=1) as other:
        session = one.session()
        with parted.without(1):
            session.set({key: "new"})
            elsewhere = other.session(session.context)
            with pytest.raises(ContextNotReached) as caught:
                elsewhere.read(key)
            assert caught.value.obtainable
            assert other.session().read(key).value is None
        assert until(lambda: elsewhere.read(key, timeout=10).value) == "new"


def test_what_a_write_replaces_can_be_said(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        session = client.session()
        session.read(key)
        client.session().set({key: "unseen"})
        session.set({key: "beside"})
        assert sorted(session.read(key).values) == ["beside", "unseen"]
        client.session().set({key: "unread"}, replaces="held")
        assert session.read(key).values == ["unread"]


def test_an_idempotency_key_is_one_write(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        session = client.session()
        first = session.set({key: "v"}, idempotency_key=key)
        again = session.set({key: "v"}, idempotency_key=key)
        assert (again.dot, again.replayed) == (first.dot, True)
        with pytest.raises(IdempotencyKeyReused) as caught:
            session.set({key: "w"}, idempotency_key=key)
        assert (caught.value.status, caught.value.members["dot"]) == (422, first.dot)


def test_keys_are_listed_page_by_page(shared: Cluster, key: str) -> None:
    wanted = [f"{key}/{number:04}" for number in range(1001)]
    with Client(shared.urls) as client:
        session = client.session()
        session.set(dict.fromkeys(wanted, "v"))
        assert list(session.keys(f"{key}/")) == wanted


def test_refusals_have_their_types(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        session = client.session()
        with pytest.raises(TooLarge) as large:
            session.set({"k" * 2000: "v"})
        assert (large.value.type, large.value.members["limit"]) == ("/problems/key-too-long", 1024)
        # It is refused before all of it is sent.
        with pytest.raises(TooLarge, match="/problems/request-too-large"):
            session.set({key: "x" * (16 << 20)})
        with pytest.raises(BadRequest, match="/problems/empty-key"):
            session.read("")
        with pytest.raises(BadRequest, match="/problems/no-entries"):
            session.set({})
        with pytest.raises(BadRequest, match="/problems/bad-context"):
            client.session("no token").read(key)
        with pytest.raises(ValueError, match="surrogates"):
            session.set({key: "\ud800"})
        # Any text is a value, and comes back as it was.
        text = '\x00\u2028\U0001f600\r\n"\\'
        session.set({key: text})
        assert session.read(key).value == text


def test_siblings_that_are_not_shown_are_not_merged_away(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        empty = client.session()
        empty.read(key)
        for number in range(9):
            client.session(empty.context).set({key: str(number) * (1 << 20)})
        session = client.session()
        found = session.read(key)
        assert len(found) + found.left_out == 9
        assert found.left_out > 0
        with pytest.raises(SiblingsLeftOut):
            session.update(key, joined)
        with pytest.raises(SiblingsLeftOut):
            session.resolve(key, joined)
        # Keys that do not fit into one answer with others are asked for again.
        several = [f"{key}/{number}" for number in range(10)]
        for name in several:
            session.set({name: "x" * (1 << 20)})
        assert [siblings.value == "x" * (1 << 20) for siblings in session.read_many(several).values()] == [True] * 10


def test_a_key_with_the_most_siblings_takes_one_that_covers_them(shared: Cluster, key: str) -> None:
    with Client(shared.urls[0]) as client:
        empty = client.session()
        empty.read(key)
        for number in range(64):
            client.session(empty.context).set({key: str(number)})
        with pytest.raises(TooManySiblings):
            client.session(empty.context).set({key: "one more"})
        assert json.loads(client.session().update(key, json.dumps).value or "")[0] == "63"


def test_what_is_no_node_is_told(shared: Cluster, key: str) -> None:
    with Client(f"{shared.urls[0]}/elsewhere") as client, pytest.raises(Problem, match="/problems/not-found"):
        client.session().read(key)
    with Client(shared.urls[0]) as client:
        client._settings.nodes.urls = (shared.urls[0] + "/livez?",)
        session = client.session()
        with pytest.raises(BadAnswer, match="no causal context"):
            list(session.keys())


def test_all_of_it_for_tasks(shared: Cluster, key: str) -> None:
    async def use() -> None:
        async with AsyncClient(shared.urls) as client:
            session = client.session()
            assert session.context is None
            written = await session.set({key: "a"}, acks="all")
            assert written.durable_on == (0, 1, 2)
            await client.session("").set({f"{key}/2": "b"})
            assert (await session.read(key)).value == "a"
            added = [session.update(key, lambda values: f"{joined(values)}+") for _ in range(5)]
            await asyncio.gather(*added)
            found = await client.session(session.context).read_many([key])
            assert found[key].values == ["a+++++"]
            assert await session.resolve(key, joined) == "a+++++"
            before = client.session()
            await before.read(key)
            contexts = [client.session(before.context) for _ in range(2)]
            await asyncio.gather(*(each.set({key: str(number)}) for number, each in enumerate(contexts)))
            assert [siblings.key async for siblings in client.session().conflicts(key)] == [key]
            assert await client.session().resolve(key, joined) == "0+1"
            assert [name async for name in client.session().keys(key)] == [key, f"{key}/2"]
            for size in (2, 16):
                with pytest.raises(TooLarge):
                    await session.set({key: "x" * (size << 20)})

    asyncio.run(use())
