"""The summary model with KZG commitments in place of the job tree: what a node commits to, shows, and how that is checked.

Jobs are the weighed rows of `summary_tree`, cut into chunks of `kzg.SLOTS`. A chunk is two columns: *names*, a hash of each
row, and *sums*, what all jobs of the chunk up to this one weigh. Chunks are the leaves of a sum tree, so a summary has the
same form (root, jobs, weight). A challenge asks for the same points of the weight (`summary_sampling`); the row that owns a
point is shown by opening its name, its sum and the sum before it, and the name of the row behind it, which must have a
higher key. So weight without a row behind it is met as often as in the tree.

What is weaker than the tree: the order is not seen across the border of two chunks. What it costs: `benchmarks`,
``commitments_compared``. The contract is ``contracts/KzgSummaries.vy``.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from meridian.disputes.ways import sides_of
from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.models.kzg import POINT_BYTES, SLOTS, Column, Setup, job_element, opens
from meridian.models.summary import Summary
from meridian.models.summary_sampling import points
from meridian.models.summary_tree import Owned, check_owned, value_of
from meridian.primitives.hashing import KZG_CHUNK, KZG_NODE, ByteMatrix, tagged
from meridian.primitives.sumtree import (
    HASH_BYTES,
    NODE_BYTES,
    LaneKind,
    SumTree,
    annotation,
    fold,
    leaf_node,
)

_LANES: Final = LaneKind.U128
ShownWords = tuple[
    int, bytes, bytes, int, tuple[bytes, bytes, int], list[tuple[bytes, int]], bytes, bytes, bytes, bytes
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is committed of up to `SLOTS` jobs."""

    names: bytes
    sums: bytes
    jobs: int
    weight: int

    @property
    def leaf(self) -> bytes:
        """Its leaf of the sum tree."""
        digest = tagged(KZG_CHUNK, self.names, self.sums)
        return leaf_node(digest, self.jobs, _LANES.join((self.weight,)))


@dataclass(frozen=True, slots=True)
class Shown:
    """The row that owns a point of the weight, and why it does."""

    index: int
    row: bytes
    behind: bytes
    """The next row of the same chunk; empty for the chunk's last."""
    before: int
    """What the rows of its chunk before it weigh."""
    chunk: Chunk
    path: tuple[bytes, ...]
    """From the chunk to the root."""
    name_proof: bytes
    behind_proof: bytes
    """Empty where nothing is behind."""
    sum_proof: bytes
    before_proof: bytes
    """Empty for the chunk's first row."""

    @property
    def words(self) -> ShownWords:
        """As the contract takes it."""
        chunk = self.chunk
        return (
            self.index,
            self.row,
            self.behind,
            self.before,
            (chunk.names, chunk.sums, chunk.weight),
            [(node[:32], int.from_bytes(node[32:], "big") << 64) for node in self.path],
            self.name_proof,
            self.behind_proof,
            self.sum_proof,
            self.before_proof,
        )

    @property
    def size(self) -> int:
        """Bytes on the wire, without the rows."""
        openings = (self.name_proof, self.behind_proof, self.sum_proof, self.before_proof)
        return 2 * POINT_BYTES + 2 * 24 + NODE_BYTES * len(self.path) + sum(map(len, openings))


def shown_of(words: Sequence[Any], jobs: int) -> Shown:
    """Return what one entry of an answer's call data shows.

    Args:
        words: As `Shown.words`.
        jobs: The summary's: from it follows how many the chunk has.

    Raises:
        InvalidInput: If it is not of that form.
    """
    try:
        index, row, behind, before, (names, sums, weight), path, *proofs = words
        chunk = Chunk(names, sums, min(SLOTS, jobs - index // SLOTS * SLOTS), weight)
        way = tuple(bytes(node) + sums_.to_bytes(32, "big")[:24] for node, sums_ in path)
        return Shown(index, row, behind, before, chunk, way, *proofs)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput("answer", f"not a row with its columns: {error}") from error


class KzgNodeJobs:
    """A node's jobs of one epoch as it commits to them in KZG form.

    Args:
        rows: Weighed rows, shape (n, 100), ascending by job key; at least one weighs more than nothing.
        setup: The trusted setup.
    """

    def __init__(self, rows: ByteMatrix, setup: Setup) -> None:
        self._setup = setup
        self._rows = [row.tobytes() for row in rows]
        values = [value_of(row) for row in self._rows]
        self._ends = list(accumulate(values))
        self._columns: list[tuple[Column, Column]] = []
        self._chunks: list[Chunk] = []
        for first in range(0, len(values), SLOTS):
            part = slice(first, first + SLOTS)
            names = Column.of([job_element(row) for row in self._rows[part]], setup)
            sums = Column.of(list(accumulate(values[part])), setup)
            self._columns.append((names, sums))
            jobs, weight = len(values[part]), sum(values[part])
            self._chunks.append(Chunk(names.commitment, sums.commitment, jobs, weight))
        leaves = np.frombuffer(b"".join(chunk.leaf for chunk in self._chunks), np.uint8)
        self._tree = SumTree(leaves.reshape(-1, NODE_BYTES), KZG_NODE, _LANES)

    @property
    def summary(self) -> Summary:
        """What the node commits to."""
        jobs, (weight,) = annotation(self._tree.root, _LANES)
        return Summary(self._tree.root[:HASH_BYTES], jobs, weight)

    def show(self, index: int) -> Shown:
        """Return a row with all that shows what it owns."""
        at, slot = divmod(index, SLOTS)
        chunk, (names, sums) = self._chunks[at], self._columns[at]
        is_last = slot + 1 == chunk.jobs
        before = self._ends[index - 1] - (self._ends[at * SLOTS - 1] if at else 0) if slot else 0
        return Shown(
            index=index,
            row=self._rows[index],
            behind=b"" if is_last else self._rows[index + 1],
            before=before,
            chunk=chunk,
            path=tuple(self._tree.path(at)),
            name_proof=names.open(slot, self._setup),
            behind_proof=b"" if is_last else names.open(slot + 1, self._setup),
            sum_proof=sums.open(slot, self._setup),
            before_proof=sums.open(slot - 1, self._setup) if slot else b"",
        )

    def answer(self, seed: bytes, samples: int) -> list[Shown]:
        """Return what a challenge asks for."""
        asked = points(seed, self._ends[-1], samples)
        return [self.show(bisect_right(self._ends, point)) for point in asked]


def check_kzg_answer(
    summary: Summary,
    shown: Sequence[Shown],
    asked: Sequence[int],
    calendar: Calendar,
    epoch: int,
    value_max: int,
    setup: Setup,
) -> None:
    """Check an answer as the contract does.

    Args:
        summary: What the node has committed to.
        shown: The answer.
        asked: The points of the challenge.
        calendar: The network's epochs.
        epoch: The epoch.
        value_max: The most that one job may weigh.
        setup: The trusted setup.

    Raises:
        InvalidInput: With what is wrong: ``samples``, ``row``, ``order``, ``root``, ``value``, ``point``, ``times``, or the
            column that does not open: ``name``, ``behind``, ``sum`` or ``before``.
    """
    owned = [Owned(one.index, one.row, _chunk_start(summary, one) + one.before) for one in shown]
    check_owned(owned, asked, calendar, epoch, value_max)
    for one in shown:
        _check_columns(one, value_of(one.row), setup)


def _chunk_start(summary: Summary, one: Shown) -> int:
    """Check that the chunk hangs below the summary; return what all chunks before it weigh."""
    at = one.index // SLOTS
    if not 0 <= one.index < summary.jobs or one.chunk.jobs != min(SLOTS, summary.jobs - at * SLOTS):
        raise InvalidInput("row", f"there is none at {one.index}, or its chunk has other jobs")
    chunks = -(-summary.jobs // SLOTS)
    root = fold(one.chunk.leaf, at, chunks, one.path, KZG_NODE, _LANES)
    if (root[:HASH_BYTES], *annotation(root, _LANES)) != (
        summary.root,
        summary.jobs,
        (summary.weight,),
    ):
        raise InvalidInput("root", f"the chunk of {one.index} does not lead to it")
    sides = sides_of(at, chunks)
    return sum(
        annotation(node, _LANES)[1][0] for level, node in enumerate(one.path) if sides >> level & 1
    )


def _check_columns(one: Shown, value: int, setup: Setup) -> None:
    slot, chunk = one.index % SLOTS, one.chunk

    def check(field: str, column: bytes, place: int, said: int, proof: bytes) -> None:
        if not opens(column, place, said, proof, setup):
            raise InvalidInput(field, f"the column has something else at {one.index}")

    check("name", chunk.names, slot, job_element(one.row), one.name_proof)
    check("sum", chunk.sums, slot, one.before + value, one.sum_proof)
    if slot:
        check("before", chunk.sums, slot - 1, one.before, one.before_proof)
    elif one.before:
        raise InvalidInput("before", "nothing weighs before the chunk's first row")
    if (one.behind == b"") != (slot + 1 == chunk.jobs):
        raise InvalidInput("row", "exactly the chunk's last row has none behind it")
    if one.behind:
        if one.row[4:36] >= one.behind[4:36]:
            raise InvalidInput("order", f"the rows at {one.index} and behind it")
        check("behind", chunk.names, slot + 1, job_element(one.behind), one.behind_proof)
