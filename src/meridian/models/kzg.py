"""KZG commitments to a node's jobs: the other form of a `summary` node's own commitment, beside the Merkle tree.

Jobs are cut into chunks of `SLOTS`. A chunk is two polynomials of degree below `SLOTS` over the scalar field of BLS12-381, given
by their values at the `SLOTS`-th roots of unity, in the bit-reversed order of EIP-4844: *names* (a hash of each job's row) and
*values* (each job's value; 0 in slots without a job). Three openings of one point each show one job and its chunk's total:

    names(w_i) = H(row_i)      values(w_i) = value_i      values(0) = total / SLOTS

The last one holds because the values of such a polynomial at all roots of unity add up to `SLOTS` times its value at 0.
Chunks are the leaves of a sum tree (`primitives.sumtree`), so that the root and its annotation (jobs, total) have the form of
the Merkle commitment: only an answer to a challenge looks different. `contracts/KzgProofs.vy` checks the same by the point
evaluation precompile (EIP-4844).

What it does not show: a value in a slot that nobody opens may be any field element, so the total may hide an inflation in one
slot. A sum tree over single jobs has no such slots, and lets a challenge fall on jobs in proportion to what they claim.

The trusted setup is an argument: reading it is not of the core. Source: EIP-4844; Kate, Zaverucha, Goldberg 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import ckzg
import numpy as np

from meridian.errors import InvalidInput
from meridian.primitives import sumtree
from meridian.primitives.hashing import KZG_CHUNK, KZG_JOB, KZG_NODE, tagged
from meridian.primitives.sumtree import LaneKind, SumTree

Setup = Any
"""What `ckzg.load_trusted_setup` returns."""

SLOTS: Final = 4096
MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The order of BLS12-381's groups, so of the field that values are in."""
ROOT_OF_UNITY: Final = pow(7, (MODULUS - 1) // SLOTS, MODULUS)
"""A primitive one; 7 generates the field's multiplicative group."""
POINT_BYTES: Final = 48
FIELD_BYTES: Final = 32
VALUE_END: Final = 1 << 64
CHUNKS_MAX: Final = 4096
"""Jobs of one node in one epoch: at most `SLOTS` times this."""
_NAME_BYTES: Final = 31
"""A hash is cut to what is always below the modulus."""
_SLOT_BITS: Final = SLOTS.bit_length() - 1
_LANES: Final = LaneKind.U128


def job_element(row: bytes) -> int:
    """Return the field element that names a job's row."""
    return int.from_bytes(tagged(KZG_JOB, row)[:_NAME_BYTES], "big")


def domain_point(slot: int) -> int:
    """Return where a chunk's polynomials have the values of a slot: the slot's bits reversed, as a power of the root."""
    if not 0 <= slot < SLOTS:
        raise InvalidInput("slot", f"{slot} is outside a chunk of {SLOTS}")
    return pow(ROOT_OF_UNITY, int(f"{slot:0{_SLOT_BITS}b}"[::-1], 2), MODULUS)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is committed of up to `SLOTS` jobs."""

    names: bytes
    values: bytes
    jobs: int
    total: int

    @property
    def leaf(self) -> bytes:
        """Its leaf of the sum tree."""
        return sumtree.leaf_node(
            tagged(KZG_CHUNK, self.names, self.values), self.jobs, _LANES.join((self.total,))
        )


@dataclass(frozen=True, slots=True)
class JobOpening:
    """What shows one job of a commitment, and that its chunk adds up."""

    chunk: Chunk
    path: tuple[bytes, ...]
    """From the chunk to the root."""
    name_proof: bytes
    value_proof: bytes
    total_proof: bytes

    @property
    def size(self) -> int:
        """Bytes on the wire, without row and index."""
        return 2 * POINT_BYTES + sumtree.ANNOTATION_BYTES + 3 * POINT_BYTES + 56 * len(self.path)


class NodeCommitment:
    """A node's jobs of one epoch, committed to; the node keeps it to answer challenges.

    Args:
        rows: The jobs' rows in committed order.
        values: Their values, below 2^64.
        setup: The trusted setup.

    Raises:
        InvalidInput: If there are no jobs or too many, or a value is out of range.
    """

    def __init__(self, rows: Sequence[bytes], values: Sequence[int], setup: Setup) -> None:
        if not 0 < len(rows) <= SLOTS * CHUNKS_MAX:
            raise InvalidInput(
                "rows", f"{len(rows)} jobs, 1..{SLOTS * CHUNKS_MAX} can be committed"
            )
        if len(rows) != len(values):
            raise InvalidInput("values", f"{len(values)} for {len(rows)} jobs")
        if not all(0 <= value < VALUE_END for value in values):
            raise InvalidInput("values", "one is outside 0..2^64-1")
        self._setup = setup
        self._blobs: list[tuple[bytes, bytes]] = []
        self.chunks: list[Chunk] = []
        for first in range(0, len(rows), SLOTS):
            part = values[first : first + SLOTS]
            blobs = _blob([job_element(row) for row in rows[first : first + SLOTS]]), _blob(part)
            names, sums = (ckzg.blob_to_kzg_commitment(blob, setup) for blob in blobs)
            self._blobs.append(blobs)
            self.chunks.append(Chunk(names, sums, len(part), sum(part)))
        leaves = b"".join(chunk.leaf for chunk in self.chunks)
        matrix = np.frombuffer(leaves, np.uint8).reshape(-1, sumtree.NODE_BYTES)
        self._tree = SumTree(matrix, KZG_NODE, _LANES)

    @property
    def root(self) -> bytes:
        """The root's hash."""
        return self._tree.root[: sumtree.HASH_BYTES]

    @property
    def annotation(self) -> tuple[int, int]:
        """Number of jobs and their total."""
        count, (total,) = sumtree.annotation(self._tree.root, _LANES)
        return count, total

    def open(self, index: int) -> JobOpening:
        """Return what shows job `index`.

        Raises:
            InvalidInput: If there is no such job.
        """
        if not 0 <= index < self.annotation[0]:
            raise InvalidInput("index", f"{index} is outside {self.annotation[0]} jobs")
        at, slot = divmod(index, SLOTS)
        names, values = self._blobs[at]
        point, zero = _field(domain_point(slot)), _field(0)
        return JobOpening(
            self.chunks[at],
            tuple(self._tree.path(at)),
            ckzg.compute_kzg_proof(names, point, self._setup)[0],
            ckzg.compute_kzg_proof(values, point, self._setup)[0],
            ckzg.compute_kzg_proof(values, zero, self._setup)[0],
        )


def verify_job(
    root: bytes,
    annotation: tuple[int, int],
    index: int,
    row: bytes,
    value: int,
    opening: JobOpening,
    setup: Setup,
) -> None:
    """Check that a commitment holds a job at a place, with a value, in a chunk that adds up.

    Args:
        root: The committed root's hash.
        annotation: The committed number of jobs, and total.
        index: The job's place.
        row: Its row.
        value: Its value.
        opening: What the node answered.
        setup: The trusted setup.

    Raises:
        InvalidInput: If it does not; `field` names what fails: ``index``, ``path``, ``root``, ``name``, ``value`` or ``total``.
    """
    jobs, _ = annotation
    if not 0 <= index < jobs:
        raise InvalidInput("index", f"{index} is outside {jobs} jobs")
    at, slot = divmod(index, SLOTS)
    chunks = -(-jobs // SLOTS)
    if opening.chunk.jobs != min(SLOTS, jobs - at * SLOTS):
        raise InvalidInput("path", f"chunk {at} has another number of jobs")
    top = sumtree.fold(opening.chunk.leaf, at, chunks, opening.path, KZG_NODE, _LANES)
    count, (total,) = sumtree.annotation(top, _LANES)
    if (top[: sumtree.HASH_BYTES], count, total) != (root, *annotation):
        raise InvalidInput("root", "the chunk does not hang below the commitment")
    point = domain_point(slot)
    for field, commitment, z, y, proof in (
        ("name", opening.chunk.names, point, job_element(row), opening.name_proof),
        ("value", opening.chunk.values, point, value, opening.value_proof),
        ("total", opening.chunk.values, 0, mean(opening.chunk.total), opening.total_proof),
    ):
        if not opens(commitment, z, y, proof, setup):
            raise InvalidInput(field, "the polynomial has another value there")


def mean(total: int) -> int:
    """Return a chunk's total divided by `SLOTS` in the field: the value of its polynomial at 0."""
    return total * pow(SLOTS, -1, MODULUS) % MODULUS


def opens(commitment: bytes, z: int, y: int, proof: bytes, setup: Setup) -> bool:
    """Tell whether a committed polynomial has the value y at z; bytes that are no curve points prove nothing."""
    try:
        return bool(ckzg.verify_kzg_proof(commitment, _field(z), _field(y), proof, setup))
    except (RuntimeError, ValueError):  # not points of the group
        return False


def _field(value: int) -> bytes:
    return value.to_bytes(FIELD_BYTES, "big")


def _blob(values: Sequence[int]) -> bytes:
    return b"".join(map(_field, values)).ljust(SLOTS * FIELD_BYTES, b"\x00")
