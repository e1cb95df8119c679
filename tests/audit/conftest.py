"""The audited world: made once, copied for each test that changes it."""

import pytest

from audit.audit_world import World, make_world


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def world(pristine: World, tmp_path) -> World:
    return pristine.copied_to(tmp_path / "run")
