"""The trace root: what only who evaluated the epoch can give, and everybody else who did can check.

Rows are compared as they are, so a row can be copied. A trace root cannot: it is made of the verdict leaves, of which
a row shows only the root, in a tree with tags of its own, and it is salted with the address of its member, so that
another member's is of no use. Whoever holds the leaves checks all members' trace roots with one hash for each; who
does not may ask for the verdicts of one node (`open_spot`, `check_spot`).

    work root = root over SHA256(TRACE_LEAF | verdict leaf), inner nodes tagged TRACE_NODE
    trace root = SHA256(TRACE_ROOT | member 20 | work root)

Law: a trace root is worth something only if it was committed before any work root could be learnt. So the protocol
takes a row's commitment, which binds the trace root, before it reveals one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meridian.evaluate.verdicts import root_of_path, verdict_leaf, verdict_path, verdict_root
from meridian.primitives.hashing import SEALED_VERDICTS, TRACE_LEAF, TRACE_NODE, TRACE_ROOT, tagged
from meridian.primitives.ids import Address


def work_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over an epoch's verdict leaves that stands behind every member's trace root."""
    return verdict_root(_trace_leaves(leaves), TRACE_NODE)


def trace_root(member: Address, work: bytes) -> bytes:
    """Return a member's trace root over a work root."""
    return tagged(TRACE_ROOT, member, work)


@dataclass(frozen=True, slots=True)
class Traces:
    """The trace roots in a decided block, and the own work to check them by."""

    roots: Mapping[Address, bytes]
    """By member whose row is in the block."""
    verdict_root: bytes
    """Of the own evaluation."""
    work: bytes
    """Its work root."""

    def unproved(self, members: Iterable[Address], decided: bytes) -> tuple[Address, ...]:
        """Return the members whose trace root does not follow from the decided verdicts: they copied, or judged otherwise.

        Args:
            members: Those to check.
            decided: The decided verdict root. If it is not our own, we cannot check anybody, and name nobody.
        """
        if decided != self.verdict_root:
            return ()
        return tuple(sorted(m for m in members if self.roots.get(m) != trace_root(m, self.work)))


@dataclass(frozen=True, slots=True)
class Spot:
    """The answer to a spot challenge: what a member says of one node, and that its trace root holds it."""

    codes: bytes
    """The verdict code of each job of the node, in the order of its job tree."""
    path: tuple[bytes, ...]
    """Siblings from the node's leaf up to the work root."""
    sealed: bytes = b""
    """Where a layer is sealed, the root over the node's true reasons; else empty."""


def open_spot(leaves: Sequence[bytes], index: int, codes: bytes, sealed: bytes = b"") -> Spot:
    """Answer a challenge about the node at `index`, from all verdict leaves and the node's codes.

    Raises:
        InvalidInput: If there is no such node.
    """
    return Spot(codes, tuple(verdict_path(_trace_leaves(leaves), index, TRACE_NODE)), sealed)


def check_spot(
    root: bytes, member: Address, node_key: bytes, index: int, size: int, spot: Spot
) -> bool:
    """Tell whether an answer is the one that a member had committed itself to.

    Args:
        root: The member's trace root, from the decided block.
        member: Its address.
        node_key: The node that was asked about.
        index: Its place among the committed nodes, ascending by key.
        size: The number of committed nodes.
        spot: The answer. Whether its codes are right is another question: compare them with one's own.
    """
    leaf = verdict_leaf(node_key, spot.codes)
    if spot.sealed:
        leaf = tagged(SEALED_VERDICTS, leaf, spot.sealed)
    work = root_of_path(tagged(TRACE_LEAF, leaf), index, size, spot.path, TRACE_NODE)
    return work is not None and trace_root(member, work) == root


def _trace_leaves(leaves: Sequence[bytes]) -> list[bytes]:
    return [tagged(TRACE_LEAF, leaf) for leaf in leaves]
