"""Fixtures shared by all tests."""

import gc
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

# The modules and worlds of a whole run stay: looking through all of them for garbage, as often as in a small programme,
# takes a sixth of the time of what makes many objects (compilers, the virtual machine).
gc.set_threshold(50_000, 20, 100)

ROOT = Path(__file__).resolve().parents[1]

LONG = (
    "test_real_intervals.py",
    "test_contract_machine.py",
    "test_scenarios.py",
    "test_faults.py",
    "test_contract_artefacts.py",
    "test_deployed_network.py",
    "test_crashes.py",
    "test_tampering.py",
    "test_explorer_browser.py",
    "test_mutants.py",
    "test_chaos.py",
    "test_summary_model.py",
    "test_explorer_pages.py",
    "test_models_agree.py",
    "test_broadcast_worlds.py",
    "test_real_logs.py",
    "test_spark.py",
    "test_result.py",
    "test_offchain_model.py",
    "test_explorer_site.py",
    "test_subnet_model.py",
    "test_servers.py",
    "test_commands_run.py",
    "test_naive_model.py",
    "test_measure_service.py",
    "test_worlds.py",
    "test_library_page.py",
    "test_chain_page.py",
    "test_chain_commands.py",
    "test_processes.py",
    "test_aims.py",
    "test_sender_crashes.py",
    "test_npm_client.py",
    "test_sim_command.py",
    "test_sharded_evaluation.py",
)
"""Files that take long, the longest first, whole systems among tests that compute: a long file begun last would keep
the other cores idle."""


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
