"""The client for asyncio: performs what the programs of the core ask for with `httpx.AsyncClient`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import httpx

from causeway_client import _http
from causeway_client._calls import Settings
from causeway_client._nodes import Nodes
from causeway_client._sessions import SessionCore, WriteOptions
from causeway_client._steps import Answer, Failure, Open, Pause, Piece, Send, Tell
from causeway_client._watches import WatchCore

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from types import TracebackType

    from causeway_client._sessions import Acks, Merge, Replaces
    from causeway_client._steps import Outcome, Program, Receive, Result, WatchProgram
    from causeway_client._values import Event, Siblings, Written


class AsyncClient:
    """A client of the nodes of one cluster, for tasks of one event loop; else as `Client` is."""

    def __init__(
        self,
        nodes: str | Sequence[str],
        *,
        token: str | None = None,
        verify: bool | str | ssl.SSLContext = True,
        timeout: float = 10.0,
        attempt_timeout: float = 3.0,
        connect_timeout: float = 1.0,
        wait: float = 2.0,
    ) -> None:
        self._settings = Settings(Nodes(nodes), token, timeout, attempt_timeout, connect_timeout, wait)
        self._http = httpx.AsyncClient(**_http.client_options(self._settings.nodes.urls, verify))

    def session(self, context: str | None = None) -> AsyncSession:
        """Begin a session, or go on with one by the `context` that it had."""
        return AsyncSession(self, context)

    def watch(
        self, prefix: str = "", *, cursor: str | None = None, timeout: float | None = None, silence: float = 45.0
    ) -> AsyncWatch:
        """Watch the keys that begin with `prefix`, as `Client.watch` does."""
        return AsyncWatch(self, WatchCore.begin(self._settings, prefix, cursor, silence, timeout))

    async def aclose(self) -> None:
        """End all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, program: Program[Result]) -> Result:
        outcome: Outcome = None
        while True:
            try:
                step = program.send(outcome)
            except StopIteration as end:
                result: Result = end.value
                return result
            outcome = await self._perform(step)

    async def _perform(self, step: Send | Pause) -> Answer | Failure | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        response: httpx.Response | None = None
        try:
            response = await self._http.send(_http.request_of(self._http, step.request), stream=True)
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if self._settings.clock() > step.request.deadline:
                    return _http.too_late()
            return _http.answer_of(response, bytes(body))
        except httpx.HTTPError as error:
            return _http.failure_of(error)
        finally:
            if response is not None:
                await response.aclose()


class AsyncSession:
    """One line of reads and writes, as `Session` is; tasks that share one take turns."""

    def __init__(self, client: AsyncClient, context: str | None) -> None:
        self._client = client
        self._core = SessionCore(client._settings, context or None)  # noqa: SLF001
        self._lock = asyncio.Lock()

    @property
    def context(self) -> str | None:
        """What the session has seen, as a text that is safe in URLs and cookies; `None` as long as it is nothing."""
        return self._core.context

    async def read(self, key: str, *, timeout: float | None = None) -> Siblings:
        """Read all siblings of a key."""
        return (await self.read_many([key], timeout=timeout))[key]

    async def read_many(self, keys: Iterable[str], *, timeout: float | None = None) -> dict[str, Siblings]:
        """Read all siblings of many keys, as of one instant unless these are more than 8 MiB."""
        return await self._run(self._core.read(list(keys), timeout))

    async def set(
        self,
        values: Mapping[str, str | None],
        *,
        acks: Acks | None = None,
        replaces: Replaces | None = None,
        wait: float | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Written:
        """Write keys, and delete those whose value is `None`, as `Session.set` does."""
        options = WriteOptions(acks, replaces, wait, timeout, idempotency_key)
        return await self._run(self._core.set(values, options))

    async def update(
        self,
        key: str,
        merge: Merge,
        *,
        default: str | None = None,
        acks: Acks | None = None,
        wait: float | None = None,
        timeout: float | None = None,
    ) -> Written:
        """Put what `merge` makes of a key's siblings into their place, as `Session.update` does."""
        return await self._run(self._core.update(key, merge, default, WriteOptions(acks, None, wait, timeout)))

    async def resolve(self, key: str, merge: Merge, *, timeout: float | None = None) -> str | None:
        """Merge a key's siblings if there are several; returns the value that the key has then."""
        return await self._run(self._core.resolve(key, merge, WriteOptions(timeout=timeout)))

    async def keys(self, prefix: str = "", *, timeout: float | None = None) -> AsyncIterator[str]:
        """List the keys that begin with `prefix`, in byte order; `timeout` is for each thousand of them."""
        after: str | None = None
        while True:
            page, after = await self._run(self._core.keys(prefix, after, timeout))
            for key in page:
                yield key
            if after is None:
                return

    async def conflicts(self, prefix: str = "", *, timeout: float | None = None) -> AsyncIterator[Siblings]:
        """List the keys that begin with `prefix` and have siblings, with them."""
        after: str | None = None
        while True:
            page, after = await self._run(self._core.conflicts(prefix, after, timeout))
            for siblings in page:
                yield siblings
            if after is None:
                return

    async def _run(self, program: Program[Result]) -> Result:
        async with self._lock:
            return await self._client._run(program)  # noqa: SLF001


class AsyncWatch:
    """Events, one after the other, as `Watch` has them. Whoever waits for one may be cancelled: none is lost."""

    def __init__(self, client: AsyncClient, core: WatchCore) -> None:
        self._client = client
        self._core = core
        self._program: WatchProgram | None = None
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._closed = False

    @property
    def cursor(self) -> str | None:
        """How far it has come; a watch that begins with it goes on from there."""
        return self._core.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._closed:
            raise StopAsyncIteration
        if self._program is None:
            self._program = self._core.run()
        outcome: Outcome = None
        try:
            while True:
                step = self._program.send(outcome)
                if isinstance(step, Tell):
                    return step.event
                outcome = await self._perform(step)
        except BaseException:
            await self._break_off()
            raise

    async def aclose(self) -> None:
        """End it."""
        self._closed = True
        await self._break_off()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _break_off(self) -> None:
        self._program = None
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            await response.aclose()

    async def _perform(self, step: Open | Receive | Pause) -> Outcome:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await (self._open(step) if isinstance(step, Open) else self._receive(step))
        except httpx.HTTPError as error:
            return _http.failure_of(error)

    async def _open(self, step: Open) -> Answer:
        if self._response is not None:
            await self._response.aclose()
        http = self._client._http  # noqa: SLF001
        self._response = await http.send(_http.request_of(http, step.request), stream=True)
        self._pieces = self._response.aiter_raw()
        body = b"" if self._response.is_success else b"".join([piece async for piece in self._pieces])
        return _http.answer_of(self._response, body)

    async def _receive(self, step: Receive) -> Piece:
        if self._response is None or self._pieces is None:
            raise RuntimeError("nothing was opened")
        _http.wait_for_pieces(self._response, step.within)
        return Piece(await anext(self._pieces, b""))
