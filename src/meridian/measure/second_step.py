"""The second step: what a node summed up itself beside what was committed about it.

The first step is the node's own: it counts its jobs and adds up their lanes (its summary, the annotation of its own job
tree). The second compares that with the sums of its leaf in every commitment of the epoch. Both sides are integers, so a
difference is exact, and a node whose summary is equal needs no proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meridian.errors import InvalidInput
from meridian.primitives.ids import Address
from meridian.primitives.sumtree import ANNOTATION_BYTES, LaneKind

NO_JOBS = bytes(ANNOTATION_BYTES)
"""The summary of a node without jobs: what a commitment says of a node that has no leaf in it."""


@dataclass(frozen=True, slots=True)
class SumDifference:
    """A node's own summary minus what one aggregator committed about it."""

    aggregator: Address
    committed: tuple[int, ...]
    """Number of jobs, then each lane, as committed."""
    difference: tuple[int, ...]
    """The same, own minus committed: above zero, something of the node was not counted."""

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not any(self.difference)


def sums_of(annotation: bytes, lanes: LaneKind) -> tuple[int, ...]:
    """Return the number of jobs and each lane of an annotation of 24 bytes.

    Raises:
        InvalidInput: If it has another length.
    """
    if len(annotation) != ANNOTATION_BYTES:
        raise InvalidInput(
            "annotation", f"{len(annotation)} bytes where {ANNOTATION_BYTES} are needed"
        )
    return int.from_bytes(annotation[:8], "big"), *lanes.split(annotation[8:])


def compare_sums(
    own: bytes, committed: Mapping[Address, bytes | None], lanes: LaneKind
) -> tuple[SumDifference, ...]:
    """Compare a node's own summary with the committed sums of every aggregator, ascending by aggregator.

    Args:
        own: The annotation of the node's own job tree: number of jobs u64 and 16 bytes of lanes.
        committed: Aggregator -> the annotation of the node's leaf in its commitment; None: it has no leaf there.
        lanes: What the lanes mean.

    Raises:
        InvalidInput: If an annotation has another length.
    """
    mine = sums_of(own, lanes)
    found = []
    for aggregator, said in sorted(committed.items()):
        theirs = sums_of(NO_JOBS if said is None else said, lanes)
        minus = tuple(a - b for a, b in zip(mine, theirs, strict=True))
        found.append(SumDifference(aggregator, theirs, minus))
    return tuple(found)


def sum_names(fields: Sequence[str], lanes: LaneKind) -> tuple[str, ...]:
    """Return what the numbers of `sums_of` are called: ``jobs``, then the schema's lane fields; ``-`` for an empty lane."""
    width = 1 if lanes is LaneKind.U128 else 2
    return ("jobs", *fields, *["-"] * (width - len(fields)))
