"""The kinds of commitment that the summary model can run with: contract, the node's side, and the check of an answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from meridian.errors import NotFound
from meridian.measure.epoch import Calendar
from meridian.models.summary import Summary
from meridian.models.summary_epoch import CheckAnswer, gap_of
from meridian.models.summary_kzg import KzgNodeJobs, check_kzg_answer, shown_of
from meridian.models.summary_tree import NodeJobs, check_answer
from meridian.node.kzg_setup import ethereum_setup
from meridian.primitives.hashing import ByteMatrix


class Shown(Protocol):
    """What a node shows for one point."""

    @property
    def words(self) -> Any:
        """As the contract takes it."""


class CommittedJobs(Protocol):
    """A node's jobs of an epoch, committed to."""

    @property
    def summary(self) -> Summary:
        """What the node says of them."""

    def answer(self, seed: bytes, samples: int) -> Sequence[Shown]:
        """Return what a challenge asks for."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """One kind."""

    contract: str
    """Name of the artefact."""
    commit: Callable[[ByteMatrix], CommittedJobs]
    """From weighed rows, ascending by job key."""
    decode: Callable[[Any, int], Any]
    """One entry of an answer's call data, and the summary's number of jobs, to what `check` takes."""
    check: CheckAnswer


def _committed(rows: ByteMatrix) -> CommittedJobs:
    return KzgNodeJobs(rows, ethereum_setup())


def _check_kzg(
    summary: Summary,
    shown: Sequence[Any],
    asked: Sequence[int],
    calendar: Calendar,
    epoch: int,
    value_max: int,
) -> None:
    check_kzg_answer(summary, shown, asked, calendar, epoch, value_max, ethereum_setup())


COMMITMENTS: Final = {
    "merkle": Commitment("Summaries", NodeJobs, lambda words, _: gap_of(words), check_answer),
    "kzg": Commitment("KzgSummaries", _committed, shown_of, _check_kzg),
}
"""By the names of `ModelOptions.commitment`."""


def commitment_named(name: str) -> Commitment:
    """Return a kind of commitment.

    Raises:
        NotFound: If this version does not have it.
    """
    if name not in COMMITMENTS:
        raise NotFound(f"no commitment {name!r}; there are {', '.join(COMMITMENTS)}")
    return COMMITMENTS[name]
