"""One small network for all tests that only read it, and copies for those that change it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.evaluator.evaluator_world import Net, make_net


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = make_net(tmp_path_factory.mktemp("net"))
    yield net
    net.endpoint.chain.close()


@pytest.fixture
def net(pristine: Net, tmp_path: Path) -> Iterator[Net]:
    copied = pristine.copied_to(tmp_path / "net")
    yield copied
    copied.endpoint.chain.close()
