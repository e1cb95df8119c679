"""One small finished network, shared by the tests that only look at it or copy it."""

import pytest

from journey.system import small_demo


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(data directory, result document) of a finished small run."""
    data_dir = tmp_path_factory.mktemp("finished")
    return data_dir, small_demo(data_dir).document
