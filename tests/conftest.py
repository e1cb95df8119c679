"""Fixtures shared by all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# No time limit for one example: these machines are shared. In CI the same examples every time; elsewhere new ones.
settings.register_profile(
    "meridian", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
settings.load_profile("meridian")

# A shell ignores SIGINT in what it starts in the background, and children inherit that: then no test of Ctrl-C can work.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]

LONG = (
    "test_real_intervals.py",
    "test_faults.py",
    "test_contract_machine.py",
    "test_contract_artefacts.py",
    "test_mutants.py",
    "test_processes.py",
    "test_scenarios.py",
    "test_aims.py",
    "test_sender_crashes.py",
    "test_measure_service.py",
)
"""Files that take long with few tests, the longest first: one of them begun last would keep one core idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    place = {name: at for at, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data and outside vectors beside the checkout (or $MERIDIAN_SHARED)."""
    path = Path(os.environ.get("MERIDIAN_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(
            f"no real data: {path.name}/ is not beside the checkout and MERIDIAN_SHARED is not set"
        )
    return path
