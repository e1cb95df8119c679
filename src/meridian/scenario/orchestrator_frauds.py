"""The ten frauds against the orchestrator, each played with its real parts."""

from pathlib import Path

from meridian.errors import NotFound
from meridian.journey.models.model import FraudOutcome


def play_fraud(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    del root
    raise NotFound(f"the fraud {name!r} is not played against the orchestrator yet")
