"""All scenarios by name."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from meridian.errors import MeridianError, NotFound
from meridian.scenario.aggregator_stories import (
    double_receipts,
    drops_jobs,
    duplicates_job,
    inflates_sum,
    withholds_data,
)
from meridian.scenario.committee_stories import equivocates, lying_committee, made_up_weights
from meridian.scenario.framing import framing
from meridian.scenario.story import Story

Scenario = Callable[[Path, Story], None]

SCENARIOS: Final[dict[str, Scenario]] = {
    "drops-jobs": drops_jobs,
    "inflates-sum": inflates_sum,
    "duplicates-job": duplicates_job,
    "withholds-data": withholds_data,
    "double-receipts": double_receipts,
    "equivocates": equivocates,
    "lying-committee": lying_committee,
    "made-up-weights": made_up_weights,
    "framing": framing,
}


def describe(name: str) -> str:
    """Return a scenario's first line of documentation."""
    return (SCENARIOS[name].__doc__ or "").strip().splitlines()[0]


def play(name: str, show: Callable[[str], None], root: Path | None = None) -> dict[str, Any]:
    """Play a scenario, and return its story for machines; ``ended_well`` says whether it ended as it must.

    Args:
        name: Of the scenario.
        show: Hears every sentence.
        root: Where everything is kept; None: a temporary directory that is deleted.

    Raises:
        NotFound: If there is no such scenario.
    """
    if name not in SCENARIOS:
        raise NotFound(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    story = Story(name, show)
    try:
        if root is not None:
            SCENARIOS[name](root, story)
        else:
            with tempfile.TemporaryDirectory(prefix=f"meridian-{name}-") as directory:
                SCENARIOS[name](Path(directory), story)
    except MeridianError as problem:
        story.tell(f"✗ {problem}")
        return story.document(False, str(problem))
    return story.document(True)
