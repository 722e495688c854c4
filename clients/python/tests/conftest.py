"""Real nodes for the tests: three that reach each other, or over ways that can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes for all tests that do nothing to them; each takes keys of its own."""
    with Cluster(tmp_path_factory.mktemp("shared")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that can be cut off from each other, for all tests that heal them in the end."""
    with Cluster(tmp_path_factory.mktemp("parted"), linked=True) as cluster:
        yield cluster


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of one test, which may kill them."""
    with Cluster(tmp_path, linked=True) as cluster:
        yield cluster


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """Make a key that no other test has."""
    return f"{request.node.name}/key"
