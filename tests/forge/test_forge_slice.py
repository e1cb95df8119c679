"""A thousand calls of the forge invariants where forge is installed, so that the optional command stays runnable."""

import pytest
from forge_run import main
from forge_tools import INSTALL, forge


def test_the_invariants_of_rewards_hold_for_some_calls():
    if forge() is None:
        pytest.skip(f"no forge; install it with: {INSTALL}")
    assert main(["--calls", "1000"]) == 0
