"""Who is there: everybody says so now and then, at whatever node is near, also when it is cut off.

    python presence.py say ada http://127.0.0.1:8000
    python presence.py leave ada http://127.0.0.1:8000
    python presence.py who http://127.0.0.1:8001
    python presence.py follow http://127.0.0.1:8002

Everybody has a key of their own, with the time when they were last seen. Of siblings (one person at two nodes that do
not reach each other) the latest time counts, so nothing has to be settled.
"""

from __future__ import annotations

import sys
import time

from causeway_client import Client

PREFIX = "presence/"
AWAY_SECONDS = 60.0


def say(client: Client, name: str) -> None:
    """Tell that somebody is there. What was said before is replaced, seen or not."""
    client.session().set({PREFIX + name: str(time.time())}, replaces="held")


def leave(client: Client, name: str) -> None:
    """Tell that somebody is not there any more."""
    client.session().set({PREFIX + name: None}, replaces="held")


def who(client: Client) -> list[str]:
    """Find who was seen lately."""
    session = client.session()
    seen = session.read_many(session.keys(PREFIX))
    now = time.time()
    return [
        key.removeprefix(PREFIX)
        for key, times in seen.items()
        if any(now - float(value) < AWAY_SECONDS for value in times.values)
    ]


def follow(client: Client) -> None:
    """Print who comes and goes."""
    for event in client.watch(PREFIX):
        if event.kind == "start":
            print("there:", ", ".join(who(client)) or "nobody", flush=True)
        for entry in event.entries:
            what = "leaves" if entry.value is None else "is there"
            print(entry.key.removeprefix(PREFIX), what, flush=True)


def main(action: str, *arguments: str) -> None:
    """Do what the command line says."""
    name, urls = (arguments[0], arguments[1:]) if action in ("say", "leave") else ("", arguments)
    with Client(urls) as client:
        if action == "say":
            say(client, name)
        elif action == "leave":
            leave(client, name)
        elif action == "who":
            print(", ".join(who(client)) or "nobody")
        else:
            follow(client)


if __name__ == "__main__":
    main(*sys.argv[1:])
