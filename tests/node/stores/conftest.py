"""Every kind of store as one fixture."""

from collections.abc import Iterator

import pytest

from node.stores.store_kinds import KINDS, Kind, kind_of_store


@pytest.fixture(scope="module", params=KINDS)
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    with kind_of_store(request.param, tmp_path_factory.mktemp(request.param)) as one:
        yield one
