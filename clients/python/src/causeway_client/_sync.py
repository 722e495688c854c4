"""The client for threads: performs what the programs of the core ask for with `httpx.Client`."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from causeway_client._sessions import Acks, Merge, Replaces
    from causeway_client._steps import Outcome, Program, Receive, Result, WatchProgram
    from causeway_client._values import Event, Siblings, Written


class Client:
    """A client of the nodes of one cluster; may be used by many threads.

    `nodes` are the nodes' URLs, the one that is preferred first. They must name nodes, not something that chooses one.
    `token` is sent as a bearer token. `verify` is the path of the certificates that nodes are trusted by, an
    `ssl.SSLContext`, or `False`. Times are in seconds: `timeout` for a call with all its tries, `attempt_timeout` for a
    node to answer, `connect_timeout` to be connected, `wait` for a node to wait for what a session has seen.
    """

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
        self._http = httpx.Client(**_http.client_options(self._settings.nodes.urls, verify))

    def session(self, context: str | None = None) -> Session:
        """Begin a session, or go on with one by the `context` that it had."""
        return Session(self, context)

    def watch(
        self, prefix: str = "", *, cursor: str | None = None, timeout: float | None = None, silence: float = 45.0
    ) -> Watch:
        """Watch the keys that begin with `prefix`: from now on, or behind the `cursor` of an event.

        `"0"` is the cursor before everything that a node still remembers. `timeout` is how long a watch that was cut
        off may take to go on, `silence` after how long without a word it counts as cut off.
        """
        return Watch(self, WatchCore.begin(self._settings, prefix, cursor, silence, timeout))

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, program: Program[Result]) -> Result:
        outcome: Outcome = None
        while True:
            try:
                step = program.send(outcome)
            except StopIteration as end:
                result: Result = end.value
                return result
            outcome = self._perform(step)

    def _perform(self, step: Send | Pause) -> Answer | Failure | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        response: httpx.Response | None = None
        try:
            response = self._http.send(_http.request_of(self._http, step.request), stream=True)
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if self._settings.clock() > step.request.deadline:
                    return _http.too_late()
            return _http.answer_of(response, bytes(body))
        except httpx.HTTPError as error:
            return _http.failure_of(error)
        finally:
            if response is not None:
                response.close()


class Session:
    """One line of reads and writes, of which each comes after those before it, whichever node it goes to.

    Threads that share a session take turns. `context` is what it has seen: hand it to `Client.session` to go on
    elsewhere.
    """

    def __init__(self, client: Client, context: str | None) -> None:
        self._client = client
        self._core = SessionCore(client._settings, context or None)  # noqa: SLF001
        self._lock = threading.RLock()
        self._busy = False

    @property
    def context(self) -> str | None:
        """What the session has seen, as a text that is safe in URLs and cookies; `None` as long as it is nothing."""
        return self._core.context

    def read(self, key: str, *, timeout: float | None = None) -> Siblings:
        """Read all siblings of a key."""
        return self.read_many([key], timeout=timeout)[key]

    def read_many(self, keys: Iterable[str], *, timeout: float | None = None) -> dict[str, Siblings]:
        """Read all siblings of many keys, as of one instant unless these are more than 8 MiB."""
        return self._run(self._core.read(list(keys), timeout))

    def set(
        self,
        values: Mapping[str, str | None],
        *,
        acks: Acks | None = None,
        replaces: Replaces | None = None,
        wait: float | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Written:
        """Write keys, and delete those whose value is `None`: all or nothing, visible at once.

        It replaces what the session has seen, or (in a session without a context, or with `replaces="held"`) what its
        node holds. With `acks`, it waits for so many nodes, for `wait` seconds.
        """
        options = WriteOptions(acks, replaces, wait, timeout, idempotency_key)
        return self._run(self._core.set(values, options))

    def update(
        self,
        key: str,
        merge: Merge,
        *,
        default: str | None = None,
        acks: Acks | None = None,
        wait: float | None = None,
        timeout: float | None = None,
    ) -> Written:
        """Read a key's siblings, and put what `merge` makes of their values into their place.

        `merge` gets at least one value if there is a `default`, which stands in for a key that has none; `None` from it
        deletes the key. It may be called again, and must not use the session.
        """
        return self._run(self._core.update(key, merge, default, WriteOptions(acks, None, wait, timeout)))

    def resolve(self, key: str, merge: Merge, *, timeout: float | None = None) -> str | None:
        """Merge a key's siblings if there are several; returns the value that the key has then."""
        return self._run(self._core.resolve(key, merge, WriteOptions(timeout=timeout)))

    def keys(self, prefix: str = "", *, timeout: float | None = None) -> Iterator[str]:
        """List the keys that begin with `prefix`, in byte order; `timeout` is for each thousand of them."""
        after: str | None = None
        while True:
            page, after = self._run(self._core.keys(prefix, after, timeout))
            yield from page
            if after is None:
                return

    def conflicts(self, prefix: str = "", *, timeout: float | None = None) -> Iterator[Siblings]:
        """List the keys that begin with `prefix` and have siblings, with them."""
        after: str | None = None
        while True:
            page, after = self._run(self._core.conflicts(prefix, after, timeout))
            yield from page
            if after is None:
                return

    def _run(self, program: Program[Result]) -> Result:
        with self._turn():
            return self._client._run(program)  # noqa: SLF001

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            if self._busy:
                raise RuntimeError("a merge function must not use its session")
            self._busy = True
            try:
                yield
            finally:
                self._busy = False


class Watch:
    """Events, one after the other, for as long as a node answers.

    It ends by an exception only. After one, iterating again goes on where it was, as a new watch from `cursor` does. It
    is for one thread.
    """

    def __init__(self, client: Client, core: WatchCore) -> None:
        self._client = client
        self._core = core
        self._program: WatchProgram | None = None
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._closed = False

    @property
    def cursor(self) -> str | None:
        """How far it has come; a watch that begins with it goes on from there."""
        return self._core.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if self._closed:
            raise StopIteration
        if self._program is None:
            self._program = self._core.run()
        outcome: Outcome = None
        try:
            while True:
                step = self._program.send(outcome)
                if isinstance(step, Tell):
                    return step.event
                outcome = self._perform(step)
        except BaseException:
            self._break_off()
            raise

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._break_off()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _break_off(self) -> None:
        self._program = None
        response, self._response, self._pieces = self._response, None, iter(())
        if response is not None:
            response.close()

    def _perform(self, step: Open | Receive | Pause) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._open(step) if isinstance(step, Open) else self._receive(step)
        except httpx.HTTPError as error:
            return _http.failure_of(error)

    def _open(self, step: Open) -> Answer:
        if self._response is not None:
            self._response.close()
        http = self._client._http  # noqa: SLF001
        self._response = http.send(_http.request_of(http, step.request), stream=True)
        self._pieces = self._response.iter_raw()
        body = b"" if self._response.is_success else b"".join(self._pieces)
        return _http.answer_of(self._response, body)

    def _receive(self, step: Receive) -> Piece:
        if self._response is not None:
            _http.wait_for_pieces(self._response, step.within)
        return Piece(next(self._pieces, b""))
