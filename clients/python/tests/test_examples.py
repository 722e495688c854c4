"""The examples do what they say, as programs, against three nodes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

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
    run("shopping_cart.py", "add", "tea", *parted.urls)
    assert run("shopping_cart.py", "add", "milk", here) == "milk, tea"
    parted.until_equal()
    with parted.without(0):
        # What is removed on the one side is what is seen there: not the milk that the other side adds.
        run("shopping_cart.py", "remove", "tea", here)
        run("shopping_cart.py", "remove", "milk", here)
        assert run("shopping_cart.py", "add", "jam", here) == "jam"
        run("shopping_cart.py", "add", "bread", there)
        assert run("shopping_cart.py", "add", "milk", there) == "bread, milk, milk, tea"
    parted.until_equal()
    assert [run("shopping_cart.py", "show", url) for url in (here, far)] == ["bread, jam, milk"] * 2
    # Whoever changes it next settles it.
    assert run("shopping_cart.py", "remove", "bread", far) == "jam, milk"
    parted.until_equal()
    assert run("shopping_cart.py", "show", there) == "jam, milk"


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
