"""Feature flags that a service has in memory, always, and that follow what is set anywhere.

    python feature_flags.py set new-checkout on http://127.0.0.1:8000
    python feature_flags.py follow http://127.0.0.1:8001 http://127.0.0.1:8002

The copy in memory is kept by a watch. It asks nobody when a flag is looked at, stays as it is while no node answers,
and is made anew when the watch begins and when changes may have been missed. Where two settings did not know of each
other, `off` wins: that is the safe side here.
"""

from __future__ import annotations

import asyncio
import sys

from causeway_client import AsyncClient, Event, Unavailable, Unreachable

PREFIX = "flags/"


class Flags:
    """All flags, as this process knows them: the siblings of each key by their dots."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._siblings: dict[str, dict[str, str]] = {}

    def is_on(self, name: str) -> bool:
        """Tell whether a flag is on; unknown ones are off."""
        values = self._siblings.get(PREFIX + name, {}).values()
        return bool(values) and all(value == "on" for value in values)

    def on(self) -> list[str]:
        """List the flags that are on."""
        names = (key.removeprefix(PREFIX) for key in self._siblings)
        return sorted(name for name in names if self.is_on(name))

    async def take(self, event: Event) -> None:
        """Take in what a watch tells."""
        if event.kind == "start":
            # No older than the watch: what it includes comes once more, and changes nothing.
            session = self._client.session(event.context)
            found = await session.read_many([key async for key in session.keys(PREFIX)])
            self._siblings = {key: {each.dot: each.value for each in siblings} for key, siblings in found.items()}
        for entry in event.entries:
            siblings = self._siblings.setdefault(entry.key, {})
            for dot in entry.replaces:
                siblings.pop(dot, None)
            if entry.value is not None and event.dot is not None:
                siblings[event.dot] = entry.value


async def follow(client: AsyncClient) -> None:
    """Print the flags that are on, whenever something changes."""
    flags = Flags(client)
    while True:
        try:
            async for event in client.watch(PREFIX):
                await flags.take(event)
                if event.kind != "reset":
                    print("on:", ", ".join(flags.on()) or "none", flush=True)
        except (Unreachable, Unavailable) as error:
            print("the flags stay as they are:", error, file=sys.stderr)
            await asyncio.sleep(1)


async def main(action: str, *arguments: str) -> None:
    """Do what the command line says."""
    if action == "set":
        name, value, *urls = arguments
        async with AsyncClient(urls) as client:
            await client.session().set({PREFIX + name: value}, replaces="held")
    else:
        async with AsyncClient(arguments) as client:
            await follow(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
