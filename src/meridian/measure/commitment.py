"""The commitment of an epoch: a tree of nodes over one tree of jobs for each node.

Law: jobs are sorted by (node key, job key), no pair twice; the committed root is
``SHA256(0x12 | epoch u64 | number of nodes u64 | root node of the node tree)``. Both layers carry counts and sums, so
whoever knows the root knows how many jobs there are and what they add up to. `commit_epoch` makes it; `load_epoch` and
`verify_epoch` are what everybody else does with a published epoch, from its artefacts alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, read_segment, segment_columns
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.forest import roots_of_rows
from meridian.measure.manifest import NODE_ROW_BYTES, Manifest, Nodes, SegmentRef
from meridian.measure.order import check_job_order, node_indices, node_runs
from meridian.measure.row import job_leaves, rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives.cid import digest_of
from meridian.primitives.codec import Writer
from meridian.primitives.hashing import (
    COMMITTED_ROOT,
    DIGEST_BYTES,
    JOB_NODE,
    NODE_LEAF,
    NODE_NODE,
    ByteMatrix,
    sha256_rows,
    tagged,
)
from meridian.primitives.ids import Address, node_key
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES, LaneKind, SumTree

T = TypeVar("T")

Fetch = Callable[[bytes], bytes]
"""Digest to the bytes that it names; whatever comes back is checked."""


@dataclass(frozen=True, slots=True)
class EpochCommitment:
    """What one epoch's jobs commit to."""

    epoch: int
    root: bytes
    """The committed root, 32 bytes."""
    annotation: bytes
    """Count and lanes of the whole epoch, 24 bytes."""
    nodes: Nodes

    @property
    def n_nodes(self) -> int:
        """The number of nodes."""
        return len(self.nodes.ids)


def committed_root(epoch: int, n_nodes: int, node_tree_root: bytes) -> bytes:
    """Return what stands on chain, from the 56-byte root node of the node tree."""
    head = Writer().u64(epoch).u64(n_nodes).fixed(node_tree_root, NODE_BYTES).bytes()
    return tagged(COMMITTED_ROOT, head)


def node_leaf(row: bytes) -> bytes:
    """Return the 56-byte tree node of one node row: its annotation is that of the job tree."""
    if len(row) != NODE_ROW_BYTES:
        raise InvalidInput("row", f"{len(row)} bytes where {NODE_ROW_BYTES} are needed")
    return tagged(NODE_LEAF, row) + row[-(NODE_BYTES - HASH_BYTES) :]


def node_tree(node_rows: ByteMatrix, lanes: LaneKind) -> SumTree:
    """Return the tree over node rows (L1)."""
    return SumTree(node_leaves(node_rows), NODE_NODE, lanes)


def node_leaves(node_rows: ByteMatrix) -> ByteMatrix:
    """Return the tree nodes of many node rows, shape (n, 56)."""
    leaves = np.empty((len(node_rows), NODE_BYTES), dtype=np.uint8)
    sha256_rows(node_rows, NODE_LEAF, leaves)
    leaves[:, HASH_BYTES:] = node_rows[:, NODE_ROW_BYTES - (NODE_BYTES - HASH_BYTES) :]
    return leaves


def node_tree_hash(nodes: Nodes, lanes: LaneKind) -> bytes:
    """Return what is committed: the hash of the root node of the node tree, from which the chain makes the root."""
    return node_tree(nodes.rows, lanes).root[:HASH_BYTES]


def job_tree(job_rows: ByteMatrix, lanes: LaneKind) -> SumTree:
    """Return the tree over one node's job rows (L2)."""
    return SumTree(job_leaves(job_rows), JOB_NODE, lanes)


def commit_epoch(
    schema: NetworkSchema, epoch: int, table: pa.Table, payees: Mapping[str, Address]
) -> EpochCommitment:
    """Commit to a table of segment columns, already sorted by (node key, job key).

    Args:
        schema: The network's schema.
        epoch: The epoch's number.
        table: The columns of `columns.segment_columns`.
        payees: Node id to payee.

    Raises:
        InvalidInput: If the order is wrong, a node has no payee, or a sum overflows.
    """
    return commit_rows(schema, epoch, table.column("node_id"), rebuild_rows(schema, table), payees)


def commit_rows(
    schema: NetworkSchema,
    epoch: int,
    node_ids: pa.ChunkedArray,
    rows: ByteMatrix,
    payees: Mapping[str, Address],
) -> EpochCommitment:
    """Commit to job rows that are already built, in order; `node_ids` names each row's node."""
    ids, sizes = node_runs(node_ids)
    check_job_order(rows, sizes)
    missing = [name for name in ids if name not in payees]
    if missing:
        raise InvalidInput("payees", f"no payee for {missing[0]!r} and {len(missing) - 1} others")
    node_rows = build_node_rows(
        schema, epoch, ids, [payees[name] for name in ids], job_roots(schema, rows, sizes)
    )
    nodes = Nodes(tuple(ids), node_rows)
    keys = nodes.keys
    if any(a >= b for a, b in pairwise(keys)):
        raise InvalidInput("node_id", "nodes are not sorted by node key")
    top = node_tree(node_rows, schema.lanes.kind).root
    return EpochCommitment(
        epoch=epoch,
        root=committed_root(epoch, len(ids), top),
        annotation=top[HASH_BYTES:],
        nodes=nodes,
    )


def job_roots(schema: NetworkSchema, rows: ByteMatrix, sizes: npt.NDArray[np.int64]) -> ByteMatrix:
    """Return the root node of each node's job tree, shape (n, 56)."""
    return roots_of_rows(rows, sizes, job_leaves, JOB_NODE, schema.lanes.kind)


def build_node_rows(
    schema: NetworkSchema,
    epoch: int,
    ids: list[str],
    payees: list[Address],
    roots: ByteMatrix,
) -> ByteMatrix:
    """Return the rows of the node tree, shape (n, 116)."""
    rows = np.zeros((len(ids), NODE_ROW_BYTES), dtype=np.uint8)
    head = Writer().u16(schema.id).u16(0).u32(epoch).bytes()
    rows[:, :8] = np.frombuffer(head, dtype=np.uint8)
    rows[:, 8:40] = _matrix([node_key(name) for name in ids], DIGEST_BYTES)
    rows[:, 40:60] = _matrix([bytes(payee) for payee in payees], 20)
    rows[:, 60:] = roots
    return rows


def _matrix(items: Sequence[bytes], width: int) -> ByteMatrix:
    return np.frombuffer(b"".join(items), dtype=np.uint8).reshape(len(items), width)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a published epoch."""

    link: str
    """Which artefact or layer: ``manifest``, ``schema``, ``segment 0``, ``nodes``, ``jobs``, ``root``."""
    reason: str

    def __str__(self) -> str:
        return f"{self.link}: {self.reason}"


def load_epoch(manifest: Manifest, schema: NetworkSchema, fetch: Fetch) -> tuple[Nodes, pa.Table]:
    """Fetch and read an epoch's artefacts; every digest, length and type is checked, the trees are not.

    Args:
        manifest: What the epoch consists of.
        schema: The schema that the manifest names.
        fetch: Gives the bytes of a digest.

    Returns:
        The nodes, and all jobs in order: segment columns and ``node``, the index into the nodes.

    Raises:
        InvalidInput: With the artefact (``schema``, ``nodes``, ``segment 3``) that is not what the manifest names.
    """
    if schema.digest != manifest.schema:
        raise InvalidInput("schema", "it is not the schema that the manifest names")
    nodes = load_nodes(manifest, fetch)
    tables = []
    for at, segment in enumerate(manifest.segments):
        tables.append(_named(f"segment {at}", partial(_read_segment, fetch, segment, schema)))
    return nodes, join_segments(schema, tables, nodes)


def load_nodes(manifest: Manifest, fetch: Fetch) -> Nodes:
    """Fetch and read the nodes artefact.

    Raises:
        InvalidInput: If it is not what the manifest names.
    """
    return _named("nodes", lambda: Nodes.decode(_fetched(fetch, manifest.nodes)))


def join_segments(schema: NetworkSchema, tables: Sequence[pa.Table], nodes: Nodes) -> pa.Table:
    """Return the jobs of an epoch from the tables of its segments, with ``node`` as `load_epoch` returns it.

    Raises:
        InvalidInput: If there are jobs of something that is not one of the nodes.
    """
    jobs = pa.concat_tables(tables) if tables else segment_columns(schema).empty_table()
    return _with_node_column(jobs, nodes)


def load_node_jobs(
    manifest: Manifest, schema: NetworkSchema, fetch: Fetch, nodes: Nodes, place: int
) -> pa.Table:
    """Fetch only the segments in which one node's jobs must stand, and return its jobs, in order.

    Where to look follows from the counts in the node rows and in the manifest. If those are wrong, jobs may be missing:
    whoever finds that the rows do not give the node's job tree must load the whole epoch before saying so.

    Args:
        manifest: What the epoch consists of.
        schema: The schema that the manifest names.
        fetch: Gives the bytes of a digest.
        nodes: The epoch's nodes.
        place: Of the node.

    Raises:
        InvalidInput: With the artefact that is not what the manifest names.
    """
    counts = nodes.job_counts
    first = sum(counts[:place])
    end, start = first + counts[place], 0
    tables = [segment_columns(schema).empty_table()]
    for at, segment in enumerate(manifest.segments):
        if start < end and first < start + segment.rows:
            tables.append(_named(f"segment {at}", partial(_read_segment, fetch, segment, schema)))
        start += segment.rows
    jobs = pa.concat_tables(tables)
    return jobs.filter(pc.equal(jobs.column("node_id"), nodes.ids[place]))


def _read_segment(fetch: Fetch, segment: SegmentRef, schema: NetworkSchema) -> pa.Table:
    data = _fetched(fetch, segment.digest)
    if len(data) != segment.bytes:
        raise InvalidInput("bytes", f"{len(data)}, not {segment.bytes}")
    table = read_segment(data, schema)
    if table.num_rows != segment.rows:
        raise InvalidInput("rows", f"{table.num_rows}, not {segment.rows}")
    return table


def _with_node_column(jobs: pa.Table, nodes: Nodes) -> pa.Table:
    names, at = node_indices(jobs.column("node_id"))
    position = {name: index for index, name in enumerate(nodes.ids)}
    unknown = [name for name in names if name not in position]
    if unknown:
        raise InvalidInput("nodes", f"jobs of {unknown[0]!r}, which is not one of the nodes")
    lookup = np.array([position[name] for name in names], dtype=np.int64)
    column = lookup[at] if len(names) else np.zeros(0, dtype=np.int64)
    return jobs.append_column(pa.field("node", pa.int64(), nullable=False), pa.array(column))


def _fetched(fetch: Fetch, digest: bytes) -> bytes:
    data = fetch(digest)
    if digest_of(data) != digest:
        raise InvalidInput("bytes", f"they do not hash to {digest.hex()}")
    return data


def _named(link: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except InvalidInput as error:
        raise InvalidInput(link, f"{error.field}: {error.reason}") from error


def verify_epoch(
    manifest: Manifest,
    schema: NetworkSchema,
    nodes: Nodes,
    jobs: pa.Table,
    calendar: Calendar | None = None,
) -> list[Problem]:
    """Rebuild rows, trees and root of an epoch from its columns, and compare with what was published.

    Args:
        manifest: What the aggregator says.
        schema: The schema that the manifest names.
        nodes: The nodes artefact.
        jobs: The jobs, as `load_epoch` returns them.
        calendar: If given, every job must have ended in the epoch, or in an earlier one and be marked late.

    Returns:
        What is wrong; nothing if the committed root is exactly that of these jobs.
    """
    problems: list[Problem] = []
    try:
        names, sizes = node_runs(jobs.column("node_id"))
        rows = rebuild_rows(schema, jobs)
        check_job_order(rows, sizes)
    except InvalidInput as error:
        return [Problem("jobs", str(error))]
    if tuple(names) != nodes.ids:
        return [Problem("nodes", "they are not the nodes of the jobs, sorted by node key")]
    try:
        roots = job_roots(schema, rows, sizes)
        top = node_tree(nodes.rows, schema.lanes.kind).root
    except InvalidInput as error:
        return [Problem("jobs", str(error))]
    expected = build_node_rows(schema, manifest.epoch, names, list(nodes.payees), roots)
    wrong = np.flatnonzero((expected != nodes.rows).any(axis=1))
    if len(wrong):
        problems.append(
            Problem(
                "nodes",
                f"the row of {names[int(wrong[0])]!r} and of {len(wrong) - 1} others is not that of its jobs",
            )
        )
    problems += _header_problems(manifest, len(names), top)
    problems += _job_problems(manifest, jobs, calendar)
    return problems


def _header_problems(manifest: Manifest, n_nodes: int, top: bytes) -> list[Problem]:
    stated = {
        "n_nodes": (manifest.n_nodes, n_nodes),
        "annotation": (manifest.annotation, top[HASH_BYTES:]),
        "root": (manifest.root, committed_root(manifest.epoch, n_nodes, top)),
    }
    return [
        Problem("manifest" if name == "n_nodes" else "root", f"{name} is not that of the nodes")
        for name, (said, found) in stated.items()
        if said != found
    ]


def _job_problems(manifest: Manifest, jobs: pa.Table, calendar: Calendar | None) -> list[Problem]:
    problems = []
    flags = column_values(jobs, "flags")
    late = (flags & LATE_FLAG) != 0
    if (flags & ~np.uint16(LATE_FLAG)).any():
        problems.append(Problem("jobs", "flags hold unknown bits"))
    if int(late.sum()) != manifest.late:
        problems.append(
            Problem("manifest", f"{int(late.sum())} jobs are late, not {manifest.late}")
        )
    if calendar is not None:
        own = calendar.epochs_of(column_values(jobs, "ended_us"))
        wrong = np.where(late, own >= manifest.epoch, own != manifest.epoch)
        if wrong.any():
            problems.append(
                Problem("jobs", f"{int(wrong.sum())} jobs do not belong to epoch {manifest.epoch}")
            )
    return problems
