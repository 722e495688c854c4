"""Nodes that go away, answers that are lost: nothing is made twice, and what can go on goes on."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from causeway_client import AsyncClient, Client, OutcomeUnknown, Unavailable, Unreachable
from nodes import Relay, free_ports, until

if TYPE_CHECKING:
    from pathlib import Path

    from nodes import Cluster


def test_a_session_goes_on_when_its_node_is_killed(own: Cluster) -> None:
    with Client(own.urls) as client:
        session = client.session()
        session.set({"k": "1"}, acks="all")
        own.nodes[0].kill()
        assert session.read("k").value == "1"
        assert session.set({"k": "2"}).durable_on == (1,)
        # Others begin where somebody is.
        assert client.session(session.context).read("k").value == "2"
        own.nodes[1].kill()
        own.nodes[2].kill()
        with pytest.raises(Unreachable) as caught:
            session.read("k", timeout=0.5)
        assert set(caught.value.reasons) == set(own.urls)
        own.nodes[1].start()
        assert session.read("k").values == ["2"]

    async def use() -> None:
        async with AsyncClient(own.urls) as client:
            session = client.session()
            assert (await session.read("k")).value == "2"
            own.nodes[0].start()
            await session.set({"k": "3"}, acks=2)
            own.nodes[1].kill()
            assert (await session.read("k")).value == "3"
            own.nodes[0].kill()
            with pytest.raises(Unreachable):
                await session.read("k", timeout=0.3)

    asyncio.run(use())


def test_a_write_whose_answer_was_lost_is_made_once(shared: Cluster, key: str) -> None:
    relay = Relay(shared.nodes[0].port)
    with Client([relay.url, shared.urls[1]]) as client:
        session = client.session()
        session.read(key)
        relay.lose_answers = True
        threading.Thread(target=_heal_after, args=(relay, 2)).start()
        written = session.set({key: "v"})
        assert written.replayed
        assert written.durable_on == (0,)
        found = session.read(key)
        assert [sibling.dot for sibling in found] == [written.dot]
    relay.close()


def _heal_after(relay: Relay, writes: int) -> None:
    until(lambda: relay.requests.count(b"PATCH /set") >= writes or None)
    relay.lose_answers = False


def test_a_write_whose_outcome_stays_unknown_is_told_and_can_be_sent_elsewhere(shared: Cluster, key: str) -> None:
    relay = Relay(shared.nodes[0].port)
    with Client([relay.url, shared.urls[1]], timeout=1) as client:
        session = client.session()
        session.read(key)
        relay.lose_answers = True
        with pytest.raises(OutcomeUnknown) as caught:
            session.set({key: "v"})
        error = caught.value
        assert (error.node, error.values) == (relay.url, {key: "v"})
        written = session.set(error.values, idempotency_key=error.idempotency_key)
        # node1 may have got it already, from node0.
        assert set(session.read(key).values) == {"v"}
        assert written.durable_on == (1,)
    relay.close()


def test_a_silent_node_is_left_in_time(shared: Cluster, key: str) -> None:
    relay = Relay(shared.nodes[0].port)
    with Client([relay.url, shared.urls[1]], attempt_timeout=0.2, wait=0.1) as client:
        session = client.session()
        session.set({key: "v"}, acks="all")
        relay.cut()
        assert session.read(key).value == "v"
    relay.heal()
    relay.close()


def test_a_node_that_is_drained_is_left_for_writes_only(own: Cluster) -> None:
    with Client(own.urls) as client:
        own.nodes[0].drain(draining=True)
        assert client.session().set({"k": "v"}).durable_on == (1,)
        with Client(own.urls[0], timeout=0.5) as alone:
            session = alone.session()
            session.read("k")
            with pytest.raises(Unavailable) as caught:
                session.set({"k": "v"})
            assert caught.value.type == "/problems/draining"


def test_tokens_are_sent_and_certificates_are_checked(shared: Cluster, key: str, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    relay = Relay(shared.nodes[0].port, tls=context)
    url = f"https://127.0.0.1:{relay.port}"
    with Client(url, verify=str(path), token="secret") as client:  # noqa: S106
        client.session().set({key: "v"})
        assert b"\r\nauthorization: bearer secret\r\n" in bytes(relay.requests).lower()
        event = next(client.watch())
        assert event.kind == "start"

    async def use() -> None:
        async with AsyncClient(url, verify=str(path), token="another") as client:  # noqa: S106
            assert (await client.session().read(key)).value == "v"

    asyncio.run(use())
    assert b"\r\nauthorization: bearer another\r\n" in bytes(relay.requests).lower()
    with Client(url, timeout=0.3) as client, pytest.raises(Unreachable, match="certificate"):
        client.session().read(key)
    relay.close()


def test_nobody_there_is_told(key: str) -> None:
    (port,) = free_ports(1)
    with Client(f"http://127.0.0.1:{port}", timeout=0.2) as client, pytest.raises(Unreachable, match="refused"):
        client.session().set({key: "v"})
