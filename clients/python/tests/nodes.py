"""Nodes as processes of the real binary, and ways between them that can be cut."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterator

ROOT = Path(__file__).resolve().parents[3]
# Longer than anything takes: who waits so long has found something.
PATIENCE_SECONDS = 30.0
# A way is looked at so often.
LOOK_SECONDS = 0.02

Found = TypeVar("Found")


def binary() -> str:
    """Find the program under test."""
    found = Path(os.environ.get("CAUSEWAY_BINARY", ROOT / "target/release/causeway"))
    if not found.exists():
        raise FileNotFoundError(f"{found} is not there: cargo build --release, or set CAUSEWAY_BINARY")
    return str(found.resolve())


def until(what: Callable[[], Found | None]) -> Found:
    """Wait until something is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := what()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it never comes: {what}")
        time.sleep(LOOK_SECONDS)
    return found


# Below those that the system gives to whoever asks for any: of these, another connection could have one before it is
# listened on. Processes that run at the same time begin at different ones.
_PORTS = itertools.count(os.getpid() * 101)


def free_ports(count: int) -> list[int]:
    """Find ports that nobody has, and that no other test gets."""
    ports: list[int] = []
    while len(ports) < count:
        port = 20_000 + next(_PORTS) % 10_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


class Relay:
    """A way to a port that can be cut: it falls silent, and goes on after the heal with what was sent before.

    `lose_answers` carries what is asked and not what is answered, and breaks the connection instead.
    `requests` is all that was asked. With `tls`, it is what clients speak to it.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.requests = bytearray()
        self.lose_answers = False
        self._target = target
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._stranded: set[asyncio.StreamWriter] = set()
        if Relay._loop is None:
            Relay._loop = asyncio.new_event_loop()
            threading.Thread(target=Relay._loop.run_forever, daemon=True).start()
        self._do(self._begin())

    def cut(self) -> None:
        """Carry nothing from now on."""
        self._do(self._set(opened=False))

    def heal(self) -> None:
        """Go on."""
        self._do(self._set(opened=True))

    def break_connections(self) -> None:
        """Reset what is connected."""
        self._do(self._break())

    def strand(self) -> None:
        """Leave what is connected silent for ever, without a reset. New connections work."""
        self._do(self._strand())

    def close(self) -> None:
        """End it."""
        self._do(self._end())

    def _do(self, what: Coroutine[None, None, None]) -> None:
        assert Relay._loop is not None
        asyncio.run_coroutine_threadsafe(what, Relay._loop).result(PATIENCE_SECONDS)

    async def _begin(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def _set(self, *, opened: bool) -> None:
        if opened:
            self._open.set()
        else:
            self._open.clear()

    async def _end(self) -> None:
        self._server.close()
        self._open.set()
        await self._break()

    async def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _strand(self) -> None:
        self._stranded |= self._writers

    async def _connect(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            # A node that is down refuses: so does this end, by closing.
            near_writer.close()
            return
        self._writers |= {near_writer, far_writer}
        try:
            await asyncio.gather(
                self._carry(near_reader, far_writer, asks=True), self._carry(far_reader, near_writer, asks=False)
            )
        finally:
            self._writers -= {near_writer, far_writer}

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, asks: bool) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._open.wait()
                if target in self._stranded:
                    continue
                if asks:
                    self.requests += data
                elif self.lose_answers:
                    break
                target.write(data)
                await target.drain()
        except OSError:
            # One end is gone: so is the other.
            pass
        target.close()


class Node:
    """A node that can be started again on its data."""

    def __init__(self, directory: Path, node: int, port: int, peers: dict[int, int], settings: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.data = directory / str(node)
        self._log = directory / f"{node}.log"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("CAUSEWAY_")} | {
            "CAUSEWAY_NODE_ID": str(node),
            "CAUSEWAY_LISTEN": f"127.0.0.1:{port}",
            "CAUSEWAY_PEERS": ",".join(f"{peer}=http://127.0.0.1:{at}" for peer, at in peers.items()),
            "CAUSEWAY_DATA_DIR": str(self.data),
            # Tests need little room.
            "CAUSEWAY_MIN_FREE_BYTES": "0",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.launch()
        self.until_ready()

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([binary()], env=self._environment, stdout=log, stderr=log)

    def until_ready(self) -> None:
        """Wait until it takes requests."""

        def ready() -> bool | None:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the node ended:\n{self._log.read_text()}")
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False).is_success or None
            except httpx.TransportError:
                return None

        until(ready)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def log_bytes(self) -> float:
        """Tell how much its op log takes."""
        metrics = httpx.get(f"{self.url}/metrics", trust_env=False).text
        (line,) = (line for line in metrics.splitlines() if line.startswith("causeway_log_bytes "))
        return float(line.split()[1])

    def drain(self, draining: bool) -> None:  # noqa: FBT001
        """Let it take no writes, or take them again."""
        httpx.put(f"{self.url}/draining", json={"draining": draining}, trust_env=False).raise_for_status()


class Cluster:
    """Three nodes with these settings; when `linked`, over ways that can be cut."""

    def __init__(self, directory: Path, *, linked: bool = False, **settings: str) -> None:
        ports = free_ports(3)
        self.links: dict[tuple[int, int], Relay] = {}
        self.nodes: list[Node] = []
        for node, own in enumerate(ports):
            peers = {}
            for peer, port in enumerate(ports):
                if linked and peer != node:
                    self.links[node, peer] = Relay(port)
                    peers[peer] = self.links[node, peer].port
                else:
                    peers[peer] = port
            self.nodes.append(Node(directory, node, own, peers, settings))
        self.urls = [node.url for node in self.nodes]

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
        for link in self.links.values():
            link.close()

    def until_equal(self) -> None:
        """Wait until all nodes have the same."""

        def vectors() -> list[object]:
            return [httpx.get(f"{url}/status", trust_env=False).json()["vector"] for url in self.urls]

        until(lambda: (found := vectors()).count(found[0]) == len(found) or None)

    @contextmanager
    def without(self, node: int) -> Iterator[None]:
        """Cut a node off from the others, for a while."""
        of_node = [link for pair, link in self.links.items() if node in pair]
        for link in of_node:
            link.cut()
        try:
            yield
        finally:
            for link in of_node:
                link.heal()
