"""The commitment of an epoch built piece by piece, in memory that does not grow with the number of jobs.

Jobs come in order of (node key, job key), cut anywhere. Of a node that is not complete there stay its nodes of level 8
(56 bytes for every 256 jobs) and the leaves of its last group, at most 256; of a complete one its root.

Law: the commitment is that of `commit_rows` of all the pieces together, however they were cut. A group of 256 leaves is
a whole subtree of the tree of RFC 9162, and the rest behind the last whole group is promoted as it stands, so the tree
over the nodes of level 8 has the root of the tree over the leaves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import array_values
from meridian.measure.commitment import (
    EpochCommitment,
    build_node_rows,
    committed_root,
    node_tree,
)
from meridian.measure.forest import forest_roots
from meridian.measure.manifest import NODES_MAX, Nodes
from meridian.measure.order import cached_node_key, check_job_order
from meridian.measure.row import job_leaves, row_keys
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import JOB_NODE, ByteMatrix
from meridian.primitives.ids import Address
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES, LaneKind

GROUP: Final = 256
"""Leaves below one node of level 8."""
SLICE_ROWS: Final = 1 << 16
"""Rows that are hashed at a time: about 20 MB in all."""

Integers = npt.NDArray[np.int64]


def _keep_nothing(nodes: ByteMatrix) -> None:
    """Drop nodes of level 8."""


class EpochBuilder:
    """Commits to rows that are added in order.

    Args:
        schema: The network's schema.
        epoch: The epoch's number.
        sink: Given the nodes of level 8 of every job tree, shape (n, 56), in order; a node's last may stand over fewer
            than 256 jobs.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        epoch: int,
        sink: Callable[[ByteMatrix], None] = _keep_nothing,
    ) -> None:
        self._schema, self._epoch, self._sink = schema, epoch, sink
        self._ids: list[str] = []
        self._roots: list[ByteMatrix] = []  # of the complete nodes: all of `_ids` but the last
        self._level8: list[ByteMatrix] = []  # of the last node
        self._leaves = np.zeros((0, NODE_BYTES), dtype=np.uint8)  # of its last group, never none
        self._last_key = b""
        self.jobs = 0
        """Rows that were added."""

    def add(self, node_ids: pa.ChunkedArray | pa.Array, rows: ByteMatrix) -> None:
        """Add rows, each behind all that were added before.

        Args:
            node_ids: The node of each row: strings, or a dictionary of strings.
            rows: Shape (n, 100).

        Raises:
            InvalidInput: If the order is wrong, there are too many nodes, or a node's sum overflows (the field is the
                lane's). Nothing can be added after that.
        """
        assert len(node_ids) == len(rows), "a node for each row"
        for start in range(0, len(rows), SLICE_ROWS):
            part = rows[start : start + SLICE_ROWS]
            ids, sizes = _runs(node_ids.slice(start, SLICE_ROWS))
            self._check_order(ids, sizes, part)
            self._add(ids, sizes, job_leaves(part))
            self.jobs += len(part)

    def finish(self, payees: Mapping[str, Address]) -> EpochCommitment:
        """Return the commitment to all rows.

        Args:
            payees: Node id to payee, of every node that has jobs.

        Raises:
            InvalidInput: If a node has no payee, or the sum of all nodes overflows.
        """
        if self._ids:
            self._close_last()
        missing = [name for name in self._ids if name not in payees]
        if missing:
            raise InvalidInput(
                "payees", f"no payee for {missing[0]!r} and {len(missing) - 1} others"
            )
        roots = np.concatenate([np.zeros((0, NODE_BYTES), dtype=np.uint8), *self._roots])
        accounts = [payees[name] for name in self._ids]
        node_rows = build_node_rows(self._schema, self._epoch, self._ids, accounts, roots)
        lanes = self._schema.lanes.kind
        try:
            top = node_tree(node_rows, lanes).root
        except InvalidInput:
            self._name_overflow(["all nodes together"], np.array([len(roots)]), roots)
            raise
        return EpochCommitment(
            epoch=self._epoch,
            root=committed_root(self._epoch, len(self._ids), top),
            annotation=top[HASH_BYTES:],
            nodes=Nodes(tuple(self._ids), node_rows),
        )

    def _check_order(self, ids: Sequence[str], sizes: Integers, rows: ByteMatrix) -> None:
        """Refuse nodes and jobs that do not ascend, also from the piece before."""
        same_node = bool(self._ids) and ids[0] == self._ids[-1]
        names = ids if same_node or not self._ids else [self._ids[-1], *ids]
        keys = [cached_node_key(name) for name in names]
        if any(a >= b for a, b in pairwise(keys)):
            raise InvalidInput("node_id", "nodes are not sorted by node key, each once")
        if len(self._ids) + len(ids) - same_node > NODES_MAX:
            raise InvalidInput("node_id", f"more than {NODES_MAX} nodes")
        if same_node and row_keys(rows[:1]).tobytes() <= self._last_key:
            raise InvalidInput("job_id", f"row {self.jobs} does not follow the one before it")
        try:
            check_job_order(rows, sizes)
        except InvalidInput as error:
            raise InvalidInput(error.field, f"from row {self.jobs} on: {error.reason}") from error
        self._last_key = row_keys(rows[-1:]).tobytes()

    def _add(self, ids: list[str], sizes: Integers, leaves: ByteMatrix) -> None:
        """Add the leaves of some nodes, of which the first may be the last one of before."""
        if self._ids:
            if ids[0] == self._ids[-1]:
                sizes[0] += len(self._leaves)
            else:
                sizes = np.concatenate([[len(self._leaves)], sizes])
                ids = [self._ids[-1], *ids]
            leaves = np.concatenate([self._leaves, leaves])
            self._ids.pop()
        groups = -(-sizes // GROUP)
        ends = np.cumsum(groups)
        of_group = np.full(int(ends[-1]), GROUP, dtype=np.int64)
        of_group[ends - 1] = sizes - GROUP * (groups - 1)
        kept = int(of_group[-1])  # more leaves of the last node may follow
        self._leaves = leaves[len(leaves) - kept :].copy()
        groups[-1] -= 1
        names = np.repeat(np.arange(len(ids)), groups)
        level8 = self._reduce(
            leaves[: len(leaves) - kept], of_group[:-1], [ids[at] for at in names]
        )
        self._sink(level8)
        if len(ids) == 1:
            self._level8.append(level8)
        else:
            self._close(ids, groups, level8)
        self._ids += ids

    def _close(self, ids: list[str], groups: Integers, level8: ByteMatrix) -> None:
        """Make roots of the nodes of level 8 of all nodes but the last."""
        before = sum(map(len, self._level8))
        groups[0] += before
        level8 = np.concatenate([*self._level8, level8])
        end = len(level8) - int(groups[-1])
        self._roots.append(self._reduce(level8[:end], groups[:-1], ids))
        self._level8 = [level8[end:].copy()]

    def _close_last(self) -> None:
        """Complete the last node, of which nothing more comes."""
        name = self._ids[-1:]
        rest = self._reduce(self._leaves, np.array([len(self._leaves)]), name)
        self._sink(rest)
        level8 = np.concatenate([*self._level8, rest])
        self._roots.append(self._reduce(level8, np.array([len(level8)]), name))

    def _reduce(self, nodes: ByteMatrix, sizes: Integers, names: Iterable[str]) -> ByteMatrix:
        """Return the root of each tree; `names` says whose they are."""
        if not len(sizes):
            return np.zeros((0, NODE_BYTES), dtype=np.uint8)
        try:
            return forest_roots(nodes, sizes, JOB_NODE, self._schema.lanes.kind)
        except InvalidInput:
            self._name_overflow(names, sizes, nodes)
            raise

    def _name_overflow(self, names: Iterable[str], sizes: Integers, nodes: ByteMatrix) -> None:
        """Raise for the first tree whose sum does not fit, with the lane."""
        lanes = self._schema.lanes
        parts = lanes.kind.split
        fields = lanes.fields + ("lanes",) * (lanes.slots - len(lanes.fields))
        bits = 128 if lanes.kind is LaneKind.U128 else 64
        start = 0
        for name, size in zip(names, sizes.tolist(), strict=False):
            each = [parts(node[40:].tobytes()) for node in nodes[start : start + size]]
            for field, values in zip(fields, zip(*each, strict=True), strict=True):
                if sum(values) >> bits:
                    raise InvalidInput(field, f"the sum of {name!r} passes {bits} bits") from None
            start += size


def _runs(node_ids: pa.ChunkedArray | pa.Array) -> tuple[list[str], Integers]:
    """Return the node of each run of equal ones, and how long the runs are."""
    array = pa.concat_arrays(node_ids.chunks) if isinstance(node_ids, pa.ChunkedArray) else node_ids
    encoded = array if pa.types.is_dictionary(array.type) else pc.dictionary_encode(array)
    at = array_values(encoded.indices)
    starts = np.concatenate([[0], np.flatnonzero(at[1:] != at[:-1]) + 1])
    ids: list[str] = encoded.dictionary.take(pa.array(at[starts])).to_pylist()
    return ids, np.diff(np.append(starts, len(at))).astype(np.int64)
