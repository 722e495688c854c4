"""What a session does, as programs: it reads, writes and merges, and carries its context from answer to answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlencode

from causeway_client import _errors as errors
from causeway_client._calls import Call, Settings, Write, perform
from causeway_client._values import Sibling, Siblings, Written

if TYPE_CHECKING:
    from causeway_client._steps import Answer, Program, Result

Acks: TypeAlias = int | Literal["majority", "all"]
Replaces: TypeAlias = Literal["seen", "held"]
Merge: TypeAlias = Callable[[Sequence[str]], str | None]

_CONTEXT = "causal-context"
# The status of a write that fewer nodes have than were asked for.
_NOT_ENOUGH = 202


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is made; `None` is the default of the node, or of the client."""

    acks: Acks | None = None
    replaces: Replaces | None = None
    wait: float | None = None
    timeout: float | None = None
    idempotency_key: str | None = None


@dataclass(slots=True)
class SessionCore:
    """A session: its context, and the node that answered last, which has all of it."""

    settings: Settings
    context: str | None
    home: str | None = None

    def read(self, keys: Iterable[str], timeout: float | None) -> Program[dict[str, Siblings]]:
        """Read all siblings of keys: as of one instant, if they fit into one answer."""
        deadline = self.settings.deadline(timeout)
        asked = list(dict.fromkeys(keys))
        found: dict[str, Siblings] = {}
        left = asked
        while left:
            shown = yield from self._read(left, deadline)
            if not shown:
                raise errors.BadAnswer(f"{self.home} shows none of the keys that it was asked for")
            found |= {siblings.key: siblings for siblings in shown}
            left = [key for key in left if key not in found]
        return {key: found[key] for key in asked}

    def set(self, values: Mapping[str, str | None], options: WriteOptions) -> Program[Written]:
        """Write and delete, all or nothing."""
        return (yield from self._set(values, options, self.settings.deadline(options.timeout)))

    def update(self, key: str, merge: Merge, default: str | None, options: WriteOptions) -> Program[Written]:
        """Put what `merge` makes of a key's siblings into their place."""
        deadline = self.settings.deadline(options.timeout)
        siblings = yield from self._read_to_merge(key, deadline)
        return (yield from self._merge(siblings, merge, default, options, deadline))

    def resolve(self, key: str, merge: Merge, options: WriteOptions) -> Program[str | None]:
        """Merge a key's siblings if there are several; returns what the key has then."""
        deadline = self.settings.deadline(options.timeout)
        siblings = yield from self._read_to_merge(key, deadline)
        if not siblings.in_conflict:
            return siblings.value
        written = yield from self._merge(siblings, merge, None, options, deadline)
        return written.value

    def keys(self, prefix: str, after: str | None, timeout: float | None) -> Program[tuple[list[str], str | None]]:
        """List keys: a page, and where the next one begins."""
        path = _page("/keys", prefix, after, 1000)

        def parse(body: Mapping[str, Any]) -> tuple[list[str], str | None]:
            return [entry["key"] for entry in body["keys"]], body["next"]

        return (yield from self._ask("GET", path, None, parse, self.settings.deadline(timeout)))

    def conflicts(
        self, prefix: str, after: str | None, timeout: float | None
    ) -> Program[tuple[list[Siblings], str | None]]:
        """List keys that have siblings, with them: a page, and where the next one begins."""
        path = _page("/conflicts", prefix, after, 100)

        def parse(body: Mapping[str, Any]) -> tuple[list[Siblings], str | None]:
            return _all_siblings(body), body["next"]

        return (yield from self._ask("GET", path, None, parse, self.settings.deadline(timeout)))

    def _read(self, keys: Sequence[str], deadline: float) -> Program[list[Siblings]]:
        return (yield from self._ask("POST", "/read?resolve=all", {"keys": keys}, _all_siblings, deadline))

    def _read_to_merge(self, key: str, deadline: float) -> Program[Siblings]:
        shown = yield from self._read([key], deadline)
        if len(shown) != 1:
            raise errors.BadAnswer(f"{self.home} shows {len(shown)} keys, asked for one")
        if shown[0].left_out:
            raise errors.SiblingsLeftOut(key, shown[0].left_out)
        return shown[0]

    def _merge(
        self, siblings: Siblings, merge: Merge, default: str | None, options: WriteOptions, deadline: float
    ) -> Program[Written]:
        while True:
            values = siblings.values
            if not values and default is not None:
                values = [default]
            try:
                return (yield from self._set({siblings.key: merge(values)}, options, deadline))
            except errors.TooManySiblings:
                # Others came since the read: what is read now covers them.
                if self.settings.clock() >= deadline:
                    raise
            siblings = yield from self._read_to_merge(siblings.key, deadline)

    def _set(self, values: Mapping[str, str | None], options: WriteOptions, deadline: float) -> Program[Written]:
        made = dict(values)
        name = options.idempotency_key or str(uuid.uuid4())
        path = _path("/set", {"acks": options.acks, "replaces": options.replaces})
        headers = {"idempotency-key": name}
        wait = self._wait(options.wait, needed=options.acks is not None)
        call = Call("PATCH", path, headers, _dumped({"values": made}), wait, Write(made, name))
        answer = yield from self._call(call, deadline)

        def parse(body: Mapping[str, Any]) -> Written:
            replayed = answer.headers.get("idempotency-replayed") == "true"
            return Written(made, body["dot"], tuple(body["durable_on"]), answer.status != _NOT_ENOUGH, replayed)

        return _parsed(answer, parse)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        parse: Callable[[Mapping[str, Any]], Result],
        deadline: float,
    ) -> Program[Result]:
        dumped = b"" if body is None else _dumped(body)
        call = Call(method, path, {}, dumped, self._wait(None, needed=False))
        return _parsed((yield from self._call(call, deadline)), parse)

    def _wait(self, wished: float | None, *, needed: bool) -> float:
        """Tell how long a node may wait, when it may have to."""
        wait = self.settings.wait if wished is None else wished
        return wait if needed or self.context is not None else 0.0

    def _call(self, call: Call, deadline: float) -> Program[Answer]:
        if self.context is not None:
            call = replace(call, headers={**call.headers, _CONTEXT: self.context})
        self.home, answer = yield from perform(self.settings, call, self.home, deadline)
        if _CONTEXT not in answer.headers:
            raise errors.BadAnswer(f"the answer of {self.home} has no causal context")
        self.context = answer.headers[_CONTEXT]
        return answer


def _path(path: str, query: Mapping[str, object]) -> str:
    chosen = urlencode({name: str(value) for name, value in query.items() if value is not None})
    return f"{path}?{chosen}" if chosen else path


def _page(path: str, prefix: str, after: str | None, limit: int) -> str:
    return _path(path, {"prefix": prefix or None, "after": after, "limit": limit})


def _dumped(body: Mapping[str, Any]) -> bytes:
    # What is not Unicode (half of a surrogate pair) is refused here.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _parsed(answer: Answer, parse: Callable[[Mapping[str, Any]], Result]) -> Result:
    try:
        return parse(json.loads(answer.body))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.BadAnswer(f"an answer is not as a node's: {error!r}") from error


def _all_siblings(body: Mapping[str, Any]) -> list[Siblings]:
    return [
        Siblings(entry["key"], tuple(_sibling(sibling) for sibling in entry["siblings"]), entry.get("left_out", 0))
        for entry in body["keys"]
    ]


def _sibling(members: Mapping[str, Any]) -> Sibling:
    return Sibling(
        value=members["value"],
        dot=members["dot"],
        node=members["node"],
        written_at=datetime.fromisoformat(members["written_at"]),
        arrival=members["arrival"],
    )
