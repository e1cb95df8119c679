"""What runs of the summary model deploy their contract with, and how often they ask."""

from fractions import Fraction
from typing import Final

from meridian.journey.models.data_dir import ModelFile
from meridian.models.plain_sums import VALUE_MAX
from meridian.models.summary import Terms
from meridian.models.summary_sampling import samples_for
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import network_id

MISSING: Final = Fraction(1, 4)
FOUND: Final = Fraction(95, 100)
"""A challenged node that cannot show `MISSING` of its weight is found with at least this probability."""
SAMPLES: Final = samples_for(MISSING, FOUND)
CHALLENGED_PERCENT: Final = 5
"""How many of an epoch's nodes a run's challenger asks; at least one."""
STAKE_ATTO: Final = 10 * ATTO
BOND_ATTO: Final = ATTO // 100
COMMIT_SECONDS: Final = 3_600
"""In a run all nodes commit, which closes the epoch at once."""
CHALLENGE_SECONDS: Final = 10
ANSWER_SECONDS: Final = 30
EXIT_SECONDS: Final = 7 * 86_400


def run_terms(file: ModelFile) -> Terms:
    """Return what a run deploys."""
    return Terms(
        network=network_id(file.network),
        genesis_s=file.genesis_s,
        epoch_seconds=file.epoch_seconds,
        first_epoch=file.first_epoch,
        commit_seconds=COMMIT_SECONDS,
        challenge_seconds=CHALLENGE_SECONDS,
        answer_seconds=ANSWER_SECONDS,
        exit_seconds=EXIT_SECONDS,
        stake_min_atto=STAKE_ATTO,
        bond_atto=BOND_ATTO,
        samples=SAMPLES,
        value_max=VALUE_MAX,
    )


def asked_of(nodes: int) -> int:
    """Return how many of so many nodes are challenged in an epoch."""
    return max(1, -(-nodes * CHALLENGED_PERCENT // 100))
