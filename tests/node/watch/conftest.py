"""The village of the watcher's tests, founded once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chain_endpoint import served
from watch_world import WatchWorld


@pytest.fixture(scope="session")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("village") / "template"
    WatchWorld.found(root)
    return root


@pytest.fixture
def world(village: Path, tmp_path: Path) -> Iterator[WatchWorld]:
    made = WatchWorld.copy(village, tmp_path / "village")
    yield made
    made.close()


@pytest.fixture
def endpoint(world: WatchWorld) -> Iterator[str]:
    """The village's chain behind a port, for commands."""
    with served(world.chain) as url:
        replace(world.network, rpc_url=url, measure_url=url).save(world.data)
        yield url
