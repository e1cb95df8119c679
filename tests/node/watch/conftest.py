"""The village of the watcher's tests, founded once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
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
