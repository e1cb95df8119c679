"""The kinds of commitment that the summary model can run with: contract, the node's side, and the check of an answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from meridian.errors import NotFound
from meridian.models.summary import Summary
from meridian.models.summary_epoch import CheckAnswer, gap_of
from meridian.models.summary_tree import NodeJobs, check_answer
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
    decode: Callable[[Any], Any]
    """One entry of an answer's call data to what `check` takes."""
    check: CheckAnswer


COMMITMENTS: Final = {"merkle": Commitment("Summaries", NodeJobs, gap_of, check_answer)}
"""By the names of `ModelOptions.commitment`."""


def commitment_named(name: str) -> Commitment:
    """Return a kind of commitment.

    Raises:
        NotFound: If this version does not have it.
    """
    if name not in COMMITMENTS:
        raise NotFound(f"no commitment {name!r}; there are {', '.join(COMMITMENTS)}")
    return COMMITMENTS[name]
