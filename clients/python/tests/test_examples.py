"""The examples do what they say, as programs, against three nodes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nodes import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Cluster

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    """Run an example, and return the line that it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def following(name: str, *arguments: str) -> Iterator[IO[str]]:
    """Run an example that goes on, and read what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def test_a_cart_survives_a_partition(parted: Cluster) -> None:
    here, there, far = parted.urls
    assert run("shopping_cart.py", "show", here) == "nothing"
    assert run("shopping_cart.py", "add", "tea", *parted.urls) == "tea"
    assert run("shopping_cart.py", "add", "milk", here) == "milk, tea"
    until(lambda: run("shopping_cart.py", "show", there) == "milk, tea" or None)
    with parted.without(0):
        # Tea is removed on the one side, and the same tea stays on the other, where more comes in.
        assert run("shopping_cart.py", "remove", "tea", here) == "milk"
        assert run("shopping_cart.py", "add", "jam", here) == "jam, milk"
        assert run("shopping_cart.py", "add", "bread", there) == "bread, milk, tea"
        assert run("shopping_cart.py", "add", "milk", there) == "bread, milk, milk, tea"
        # What is removed is what is seen: not the milk that the other side adds.
        assert run("shopping_cart.py", "remove", "milk", here) == "jam"
    for url in (here, there, far):
        until(lambda url=url: run("shopping_cart.py", "show", url) == "bread, jam, milk" or None)  # type: ignore[misc]
    assert run("shopping_cart.py", "remove", "bread", far) == "jam, milk"
    for url in (here, there):
        until(lambda url=url: run("shopping_cart.py", "show", url) == "jam, milk" or None)  # type: ignore[misc]


def test_presence_is_told(shared: Cluster) -> None:
    with following("presence.py", "follow", shared.urls[2]) as lines:
        assert lines.readline() == "there: nobody\n"
        run("presence.py", "say", "ada", shared.urls[0])
        assert lines.readline() == "ada is there\n"
        run("presence.py", "say", "grace", *shared.urls[1:])
        assert lines.readline() == "grace is there\n"
        assert run("presence.py", "who", shared.urls[2]) == "ada, grace"
        run("presence.py", "leave", "ada", shared.urls[2])
        assert lines.readline() == "ada leaves\n"
        assert run("presence.py", "who", shared.urls[2]) == "grace"


def test_flags_follow_and_off_wins(parted: Cluster) -> None:
    with following("feature_flags.py", "follow", *parted.urls[2:]) as lines:
        assert lines.readline() == "on: none\n"
        run("feature_flags.py", "set", "checkout", "on", parted.urls[0])
        assert lines.readline() == "on: checkout\n"
        run("feature_flags.py", "set", "search", "on", parted.urls[2])
        assert lines.readline() == "on: checkout, search\n"
        with parted.without(0):
            run("feature_flags.py", "set", "checkout", "off", parted.urls[0])
            run("feature_flags.py", "set", "checkout", "on", parted.urls[1])
            assert lines.readline() == "on: checkout, search\n"
        assert lines.readline() == "on: search\n"
        run("feature_flags.py", "set", "checkout", "on", parted.urls[2])
        assert lines.readline() == "on: checkout, search\n"
