"""Which node to ask: what is known of the nodes' health, and the tries of one call."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from causeway_client._errors import CausewayError, Problem, Unreachable
from causeway_client._steps import Pause

Clock = Callable[[], float]

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
FIRST_AWAY_SECONDS = 1.0
LONGEST_AWAY_SECONDS = 30.0


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a node, such as http://127.0.0.1:8000")
    return url.rstrip("/")


class Nodes:
    """The nodes of a client, in the order in which they were given, and which of them are thought to be away.

    That only decides whom a call tries first: it tries all before it gives up.
    """

    def __init__(self, urls: str | Sequence[str]) -> None:
        given = [urls] if isinstance(urls, str) else urls
        self.urls = tuple(dict.fromkeys(_base(url) for url in given))
        if not self.urls:
            raise ValueError("no node is given")
        self._away: dict[tuple[str, bool], tuple[float, int]] = {}

    def order(self, home: str | None, now: float, *, write: bool) -> list[str]:
        """All nodes: first those that are not away, `home` before others; then those that will be back soonest."""

        def rank(url: str) -> tuple[float, bool, int]:
            until = max(self._away.get((url, kind), (0.0, 0))[0] for kind in {False, write})
            return (until if until > now else 0.0, url != home, self.urls.index(url))

        return sorted(self.urls, key=rank)

    def failed(self, url: str, now: float, at_least: float = 0.0, *, writes_only: bool = False) -> None:
        """Note that a node can't be used, for longer each time."""
        times = self._away.get((url, writes_only), (0.0, 0))[1]
        away = min(FIRST_AWAY_SECONDS * 2.0 ** min(times, 10), LONGEST_AWAY_SECONDS)
        self._away[url, writes_only] = (now + max(away, at_least), times + 1)

    def works(self, url: str, *, write: bool) -> None:
        """Note that a node answered as it should."""
        self._away.pop((url, False), None)
        if write:
            self._away.pop((url, True), None)


@dataclass(slots=True)
class Tries:
    """The tries of one call: who is next, and when; and what to tell when time is up."""

    nodes: Nodes
    home: str | None
    deadline: float
    write: bool = False
    clock: Clock = time.monotonic
    jitter: Clock = random.random
    # The only node that may be asked, because it may have done already what is asked for.
    pinned: str | None = None
    _not_before: dict[str, float] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _reasons: dict[str, str] = field(default_factory=dict)
    _refused: Problem | None = None

    def next(self) -> str | Pause | None:
        """Choose a node, or a pause until there is one, or nothing when none is left in time."""
        now = self.clock()
        order = [self.pinned] if self.pinned else self.nodes.order(self.home, now, write=self.write)
        waits = {url: self._not_before.get(url, now) - now for url in order}
        ready = [url for url in order if waits[url] <= 0]
        pause = 0.0 if ready else min(waits.values())
        if self._counts and now + pause >= self.deadline:
            return None
        return ready[0] if ready else Pause(pause)

    def failed(self, url: str, why: str | Problem, at_least: float = 0.0) -> None:
        """Note that a node did not do it, to be asked again after a pause: longer each time, and at least so long."""
        count = self._counts.get(url, 0)
        self._counts[url] = count + 1
        longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(count, 10), LONGEST_PAUSE_SECONDS)
        pause = longest * (0.5 + self.jitter() / 2)
        self._not_before[url] = self.clock() + max(pause, at_least)
        self._reasons[url] = str(why)
        if isinstance(why, Problem):
            self._refused = why

    def error(self) -> CausewayError:
        """Make the error that tells most: a refusal if there was one."""
        if self._refused is None:
            return Unreachable(self._reasons)
        return self._refused

    def reason(self) -> str:
        """Tell why the node that alone may be asked does not say."""
        return self._reasons.get(self.pinned or "", "no answer in time")
