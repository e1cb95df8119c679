"""The files of one epoch: nodes in groups, the matrix, jobs in groups, and what proofs are built from.

A group holds 1,024 neighbours of the node tree, so it is a whole subtree but for the last; `top-K.col` holds the nodes of
the tree one above the groups. Group and top together are all paths of commitment K.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.explorer.columns import Column, Numbers, write_columns
from meridian.explorer.gathered import Decided, JobColumns, Measured, Tree
from meridian.measure.commitment import node_leaves
from meridian.primitives.hashing import (
    CLAIM_LEAF,
    CLAIM_NODE,
    NODE_NODE,
    ByteMatrix,
    sha256_rows,
    tag_rows,
)
from meridian.primitives.sumtree import LaneKind, parent_level
from meridian.reward.claims import ClaimsState

GROUP_LEVELS: Final = 10
GROUP: Final = 1 << GROUP_LEVELS
"""Leaves in one group."""
JOBS_GROUP: Final = 4_096
"""A file of jobs ends with the first node that brings it to so many; all jobs of a node are in one file."""
SHARE_UNIT: Final = 10**18
"""Proportions are in units of one part of this."""

Files = dict[str, bytes]


def group_tops(leaves: ByteMatrix, tag: int, lanes: LaneKind) -> ByteMatrix:
    """Return the nodes of a tree above its groups: one for each group, the last promoted where it is short."""
    level = leaves
    for _ in range(GROUP_LEVELS):
        if len(level) <= 1:
            break
        level = parent_level(level, tag, lanes)
    return level


def measured_files(measured: Measured, decided: Decided | None) -> Files:
    """Return all files of an epoch but `epoch.json`, by their names in its directory."""
    files = _node_files(measured, decided)
    several = has_own_trees(measured)
    for number, tree in enumerate(measured.trees):
        files |= _tree_files(number, tree, measured.lanes, several=several)
        if several and tree.jobs is not None:
            files |= job_files(f"tree-{number}-jobs", tree.jobs, measured, None)
    if measured.jobs is not None:
        codes = None if decided is None else decided.codes
        files |= job_files("jobs", measured.jobs, measured, codes)
    if decided is not None:
        files["matrix.col"] = matrix_file(decided)
    return files


def has_own_trees(measured: Measured) -> bool:
    """Tell whether leaves stand in files of their own, because several commitments count."""
    return len(measured.trees) != 1 or measured.trees[0].nodes is not measured.nodes


def shares(weights: Sequence[int | None]) -> list[int]:
    """Return each weight's share of their sum, rounded down, in units of 1 / `SHARE_UNIT`."""
    total = sum(weight or 0 for weight in weights)
    return [SHARE_UNIT * (weight or 0) // total if total else 0 for weight in weights]


def earned(measured: Measured, decided: Decided) -> tuple[list[int], list[int]]:
    """Return what each node earned in the epoch and in all, atto: by the claims before and after."""
    before, after = decided.before.claims, decided.claims.claims
    cumulative = [after[key].cumulative if key in after else 0 for key in measured.nodes.keys]
    earlier = [before[key].cumulative if key in before else 0 for key in measured.nodes.keys]
    return [now - then for now, then in zip(cumulative, earlier, strict=True)], cumulative


def node_columns(measured: Measured, decided: Decided | None) -> dict[str, Column]:
    """Return the columns of all nodes of an epoch, in order."""
    rows = measured.nodes.rows
    columns: dict[str, Column] = {
        "id": measured.nodes.ids,
        "key": rows[:, 8:40],
        "payee": rows[:, 40:60],
        "jobs": Numbers.of(measured.nodes.job_counts),
        "late": Numbers.array(measured.late),
    }
    if not has_own_trees(measured):
        columns["job_root"] = rows[:, 60:]
    if decided is not None:
        amounts, cumulative = earned(measured, decided)
        for at in range(len(decided.reasons)):
            columns[f"verdict-{at}"] = Numbers.array(decided.verdicts[:, at])
        columns["weight"] = Numbers.of(decided.weights)
        columns["share"] = Numbers.of(shares(decided.weights))
        columns["amount"] = Numbers.of(amounts)
        columns["cumulative"] = Numbers.of(cumulative)
    if measured.jobs is not None:
        files, first = job_groups(measured.jobs.counts)
        columns["job_file"], columns["job_at"] = Numbers.array(files), Numbers.array(first)
    return columns


def sliced(columns: Mapping[str, Column], rows: slice) -> dict[str, Column]:
    """Return some rows of all columns."""
    places = np.arange(rows.start, rows.stop)
    return {
        name: column.take(places) if isinstance(column, Numbers) else column[rows]
        for name, column in columns.items()
    }


def _node_files(measured: Measured, decided: Decided | None) -> Files:
    columns = node_columns(measured, decided)
    facts = {"epoch": measured.epoch, "schema": measured.schema_id}
    return node_files(columns, measured.nodes.rows[:, 8:40], facts)


def node_files(columns: Mapping[str, Column], keys: ByteMatrix, facts: Mapping[str, int]) -> Files:
    """Return the files of an epoch's nodes, and which key each begins with."""
    return {
        "groups.col": write_columns({"first": keys[::GROUP]}),
        **_grouped("nodes", columns, len(keys), facts),
    }


def _grouped(
    name: str, columns: Mapping[str, Column], rows: int, facts: Mapping[str, int]
) -> Files:
    files = {}
    for group, start in enumerate(range(0, rows, GROUP)):
        part = sliced(columns, slice(start, min(start + GROUP, rows)))
        files[f"{name}-{group:04}.col"] = write_columns(part, {**facts, "first": start})
    return files


def _tree_files(number: int, tree: Tree, lanes: LaneKind, *, several: bool) -> Files:
    rows = tree.nodes.rows
    files = {f"top-{number}.col": top_file(rows, lanes)}
    if several:
        columns: dict[str, Column] = {
            "key": rows[:, 8:40],
            "payee": rows[:, 40:60],
            "job_root": rows[:, 60:],
        }
        if tree.jobs is not None:
            at, first = job_groups(tree.jobs.counts)
            columns["job_file"], columns["job_at"] = Numbers.array(at), Numbers.array(first)
        files |= _grouped(f"tree-{number}", columns, len(rows), {})
    return files


def top_file(node_rows: ByteMatrix, lanes: LaneKind) -> bytes:
    """Return the nodes of a node tree above its groups, and the first key of each group."""
    tops = group_tops(node_leaves(node_rows), NODE_NODE, lanes)
    return write_columns({"node": tops, "first": node_rows[::GROUP, 8:40]})


def job_groups(
    counts: Sequence[int],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for each node, the file that has its jobs and the first of them there."""
    files, first, file, held = [], [], 0, 0
    for count in counts:
        if held >= JOBS_GROUP:
            file, held = file + 1, 0
        files.append(file)
        first.append(held)
        held += count
    return np.array(files, np.int64), np.array(first, np.int64)


def job_files(name: str, jobs: JobColumns, measured: Measured, codes: bytes | None) -> Files:
    """Return jobs in files of whole nodes.

    A row of a job tree is schema, flags, the key of `id`, the two times, the sums and `private`.
    """
    rows = jobs.rows
    columns: dict[str, Column] = {
        "id": jobs.ids,
        "flags": Numbers.array(_big_endian(rows[:, 2:4])),
        "started_us": Numbers.array(_big_endian(rows[:, 36:44])),
        "ended_us": Numbers.array(_big_endian(rows[:, 44:52])),
        "private": rows[:, 68:100],
    }
    high, low = _big_endian(rows[:, 52:60]), _big_endian(rows[:, 60:68])
    if measured.lanes is LaneKind.U128:
        columns["sum-0"] = Numbers(low, high if high.any() else None)
    else:
        columns["sum-0"], columns["sum-1"] = Numbers(high), Numbers(low)
    if codes is not None:
        columns["verdict"] = Numbers.array(np.frombuffer(codes, dtype=np.uint8))
    file_of, _ = job_groups(jobs.counts)
    ends = np.cumsum(jobs.counts, dtype=np.int64)
    files, start = {}, 0
    for number in range(int(file_of.max()) + 1 if len(file_of) else 0):
        end = int(ends[int(np.searchsorted(file_of, number, side="right")) - 1])
        part = sliced(columns, slice(start, end))
        files[f"{name}-{number:04}.col"] = write_columns(part, {"schema": measured.schema_id})
        start = end
    return files


def _big_endian(data: ByteMatrix) -> npt.NDArray[np.uint64]:
    wide = np.zeros((len(data), 8), dtype=np.uint8)
    wide[:, 8 - data.shape[1] :] = data
    return wide.view(">u8").ravel().astype(np.uint64)


def matrix_file(decided: Decided) -> bytes:
    """Return the matrix: decided weights, and every cell that says something else, or nothing, or is out of line."""
    member, node, value, outlier = [], [], list[int | None](), []
    for at, voice in enumerate(decided.voices):
        if voice.body is None:
            continue
        far = set(voice.outliers)
        pairs = zip(voice.weights, decided.weights, strict=True)
        for place, (said, right) in enumerate(pairs):
            if said != right or place in far:
                member.append(at)
                node.append(place)
                value.append(said)
                outlier.append(int(place in far))
    columns: dict[str, Column] = {
        "weight": Numbers.of(decided.weights),
        "present": Numbers.of([int(voice.body is not None) for voice in decided.voices]),
        "member": Numbers.of(member),
        "node": Numbers.of(node),
        "said": Numbers.of(value),
        "outlier": Numbers.of(outlier),
    }
    return write_columns(columns, {"members": ["0x" + one.member.hex() for one in decided.voices]})


def claim_files(claims: ClaimsState) -> Files:
    """Return the claim tree of a report, in groups as the node tree."""
    items = list(claims.claims.items())
    row = [key + claim.payee + claim.cumulative.to_bytes(16, "big") for key, claim in items]
    rows = np.frombuffer(b"".join(row), dtype=np.uint8).reshape(len(row), 68)
    leaves = np.zeros((len(row), 56), dtype=np.uint8)
    if row:
        leaves[:, :32] = sha256_rows(tag_rows(CLAIM_LEAF, rows))
        leaves[:, 39] = 1  # the count, a big-endian u64
        leaves[:, 40:] = rows[:, 52:]
    tops = group_tops(leaves, CLAIM_NODE, LaneKind.U128)
    top: dict[str, Column] = {"node": tops, "first": rows[::GROUP, :32]}
    files = {"top.col": write_columns(top, {"size": len(row)})}
    for group, start in enumerate(range(0, len(row), GROUP)):
        part = rows[start : start + GROUP]
        columns: dict[str, Column] = {
            "key": part[:, :32],
            "payee": part[:, 32:52],
            "cumulative": Numbers.of(
                [claim.cumulative for _, claim in items[start : start + GROUP]]
            ),
        }
        files[f"claims-{group:04}.col"] = write_columns(columns, {"first": start})
    return files
