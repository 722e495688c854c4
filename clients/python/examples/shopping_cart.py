"""A shopping cart that survives a partition: what was added on either side is in it after the heal.

    python shopping_cart.py show http://127.0.0.1:8000 http://127.0.0.1:8001
    python shopping_cart.py add tea http://127.0.0.1:8000
    python shopping_cart.py remove tea http://127.0.0.1:8001

A cart is one value. Each thing that is put into it is an entry with a name of its own, and removing a thing removes the
entries that are seen: an equal thing that was added elsewhere meanwhile stays. So carts that did not know of each other
have one way to be merged: all entries of both, without those that either has removed.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from causeway_client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "carts/7"


@dataclass
class Cart:
    """The entries in a cart, and those that were.

    Removed ones are remembered: a cart of another node may still have them, and come when nobody thinks of it any more.
    """

    entries: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    @classmethod
    def merged(cls, values: Sequence[str]) -> Cart:
        """Make one cart of any number."""
        cart = cls()
        for value in values:
            stored = json.loads(value)
            cart.entries |= stored["entries"]
            cart.removed |= set(stored["removed"])
        cart.entries = {entry: item for entry, item in cart.entries.items() if entry not in cart.removed}
        return cart

    def add(self, item: str) -> None:
        """Put a thing in."""
        self.entries[str(uuid.uuid4())] = item

    def remove(self, item: str) -> None:
        """Take out all that is seen of a thing."""
        seen = {entry for entry, found in self.entries.items() if found == item}
        self.removed |= seen
        self.entries = {entry: found for entry, found in self.entries.items() if entry not in seen}

    def stored(self) -> str:
        """Make the value that is stored."""
        return json.dumps({"entries": self.entries, "removed": sorted(self.removed)}, sort_keys=True)


def main(action: str, *arguments: str) -> None:
    """Do one thing with the cart, and show it."""
    item, urls = ("", arguments) if action == "show" else (arguments[0], arguments[1:])

    def change(values: Sequence[str]) -> str:
        cart = Cart.merged(values)
        if action == "add":
            cart.add(item)
        elif action == "remove":
            cart.remove(item)
        return cart.stored()

    with Client(urls) as client:
        session = client.session()
        values = session.read(KEY).values if action == "show" else [session.update(KEY, change).value or ""]
    print(", ".join(sorted(Cart.merged(values).entries.values())) or "nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
