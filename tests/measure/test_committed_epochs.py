"""Rows, trees and roots: columns against the plain definition, and every published byte against the root."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_schemas import (
    SATURN,
    SEED_SPARK,
    SPARK,
    Published,
    lines,
    payee,
    publish,
    saturn_record,
    segment_table,
)

from meridian.errors import InvalidInput
from meridian.measure import forest
from meridian.measure.columns import read_segment, write_segment
from meridian.measure.commitment import commit_epoch, committed_root, load_epoch, verify_epoch
from meridian.measure.epoch import Calendar
from meridian.measure.forest import forest_roots
from meridian.measure.manifest import Manifest, NodeRow, Nodes
from meridian.measure.order import sort_order
from meridian.measure.record import decode_ndjson
from meridian.measure.row import (
    JobRow,
    job_keys,
    job_leaf,
    job_leaves,
    private_commitment,
    rebuild_rows,
)
from meridian.measure.schema import NetworkSchema
from meridian.primitives import hashing
from meridian.primitives.hashing import JOB_NODE, NODE_NODE
from meridian.primitives.ids import job_key, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, SumTree

SEED = bytes(range(32))


def plain_packed(schema: NetworkSchema, row: dict[str, Any]) -> bytes:
    """The packing of the private fields, written from its definition."""
    out = b""
    for field in schema.fields:
        value = row[field.name]
        if value is None:
            out += bytes(field.packed_bytes)
        elif isinstance(value, str):
            text = value.encode()
            out += b"\x01" + len(text).to_bytes(2, "big") + text.ljust(field.max_bytes, b"\0")
        elif isinstance(value, bool):
            out += b"\x01" + bytes([value])
        else:
            out += b"\x01" + value.to_bytes(8, "big", signed=True)
    return out


def plain_row(schema: NetworkSchema, row: dict[str, Any]) -> bytes:
    """A job's row, written from its definition with hashlib alone."""
    lanes = [row[name] or 0 for name in schema.lanes.fields]
    if schema.lanes.kind is LaneKind.U128:
        lane_bytes = sum(lanes).to_bytes(16, "big")
    else:
        lane_bytes = b"".join(v.to_bytes(8, "big") for v in [*lanes, 0, 0][:2])
    salt = hashlib.sha256(b"\x11" + row["batch_seed"] + row["job_id"].encode()).digest()
    private = hashlib.sha256(b"\x10" + salt + plain_packed(schema, row)).digest()
    return (
        schema.id.to_bytes(2, "big")
        + row["flags"].to_bytes(2, "big")
        + hashlib.sha256(row["job_id"].encode()).digest()
        + row["started_us"].to_bytes(8, "big")
        + row["ended_us"].to_bytes(8, "big")
        + lane_bytes
        + private
    )


def saturn_jobs(count: int) -> pa.Table:
    body = lines(*(saturn_record(at, job_id=f"é{at}") for at in range(count)))
    return segment_table(decode_ndjson(body, SATURN), SATURN, SEED)


@pytest.mark.parametrize("count", [1, 2, 57])
def test_rows_in_columns_are_the_rows_of_the_definition(count: int) -> None:
    table = saturn_jobs(count)
    rows = rebuild_rows(SATURN, table)
    assert [row.tobytes() for row in rows] == [plain_row(SATURN, row) for row in table.to_pylist()]


def test_rows_with_a_u128_lane_negative_numbers_and_long_strings() -> None:
    body = lines(
        SEED_SPARK, SEED_SPARK.replace(b'"value": 45', b'"value": -45').replace(b"abcdef", b"x")
    )
    table = segment_table(decode_ndjson(body, SPARK), SPARK)
    rows = rebuild_rows(SPARK, table)
    assert [row.tobytes() for row in rows] == [plain_row(SPARK, row) for row in table.to_pylist()]


def test_rows_do_not_depend_on_how_the_columns_are_cut() -> None:
    table = saturn_jobs(30)
    pieces = pa.concat_tables([table.slice(at, 7) for at in range(0, 30, 7)])
    assert (rebuild_rows(SATURN, pieces) == rebuild_rows(SATURN, table)).all()


def test_one_job_is_opened_with_its_seed_alone() -> None:
    [row] = saturn_jobs(1).to_pylist()
    stated = JobRow.decode(plain_row(SATURN, row))
    assert stated.private == private_commitment(SEED, row["job_id"], plain_packed(SATURN, row))
    assert JobRow.decode(stated.encode()) == stated


@given(st.lists(st.integers(1, 21), min_size=1, max_size=12), st.sampled_from(LaneKind))
@settings(max_examples=60)
def test_a_forest_has_the_roots_of_its_trees(sizes: list[int], lanes: LaneKind) -> None:
    generator = np.random.default_rng(sum(sizes))
    leaves = generator.integers(0, 256, (sum(sizes), 56), dtype=np.uint8)
    leaves[:, 32:36] = leaves[:, 40:44] = leaves[:, 48:50] = 0  # no overflow
    roots = forest_roots(leaves, np.array(sizes), JOB_NODE, lanes)
    start = 0
    for size, root in zip(sizes, roots, strict=True):
        assert root.tobytes() == SumTree(leaves[start : start + size], JOB_NODE, lanes).root
        start += size


def test_jobs_are_sorted_by_node_key_then_job_key_and_ties_keep_their_order() -> None:
    names = [f"n{at % 3}" for at in range(40)]
    ids = [f"j{at % 17}" for at in range(40)]
    order = sort_order(pa.chunked_array([names]), job_keys(pa.chunked_array([ids]))).tolist()
    assert order == sorted(range(40), key=lambda at: (node_key(names[at]), job_key(ids[at]), at))


def plain_root(schema: NetworkSchema, epoch: int, table: pa.Table) -> bytes:
    """The committed root, tree by tree and row by row."""
    by_node: dict[str, list[bytes]] = {}
    for row in table.to_pylist():
        by_node.setdefault(row["node_id"], []).append(plain_row(schema, row))
    node_leaves = b""
    for name in sorted(by_node, key=node_key):
        rows = sorted(by_node[name], key=lambda row: row[4:36])
        leaves = np.frombuffer(b"".join(map(job_leaf, rows)), dtype=np.uint8).reshape(-1, 56)
        root = SumTree(leaves, JOB_NODE, schema.lanes.kind).root
        head = schema.id.to_bytes(2, "big") + bytes(2) + epoch.to_bytes(4, "big")
        node_row = head + node_key(name) + payee(name) + root
        node_leaves += hashlib.sha256(b"\x04" + node_row).digest() + root[32:]
    leaves = np.frombuffer(node_leaves, dtype=np.uint8).reshape(-1, 56)
    top = SumTree(leaves, NODE_NODE, schema.lanes.kind).root
    head = epoch.to_bytes(8, "big") + len(by_node).to_bytes(8, "big")
    return hashlib.sha256(b"\x12" + head + top).digest()


def test_the_committed_root_is_that_of_the_definition() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(123)])
    _, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    assert published.manifest.root == plain_root(SATURN, 3, jobs)
    count, total = published.manifest.annotation[:8], published.manifest.annotation[8:16]
    assert int.from_bytes(count, "big") == 123
    assert int.from_bytes(total, "big") == sum(range(123))


def test_an_epoch_without_jobs_has_its_own_root() -> None:
    published = publish(SATURN, [])
    head = (3).to_bytes(8, "big") + bytes(8)
    empty = hashlib.sha256(b"").digest() + bytes(24)
    assert published.manifest.root == hashlib.sha256(b"\x12" + head + empty).digest()
    assert published.manifest.root == committed_root(3, 0, EMPTY_ROOT)
    nodes, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    assert verify_epoch(published.manifest, SATURN, nodes, jobs) == []
    assert (nodes.ids, nodes.keys, nodes.payees, jobs.num_rows) == ((), (), (), 0)


def test_what_is_published_verifies_and_says_which_node_has_each_job() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(123)])
    nodes, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    calendar = Calendar(1_682_899_200 - 3 * 3600, 3600)
    assert verify_epoch(published.manifest, SATURN, nodes, jobs, calendar) == []
    assert list(nodes.keys) == sorted(map(node_key, nodes.ids))
    assert nodes.payees == tuple(map(payee, nodes.ids))
    assert sum(nodes.job_counts) == 123
    named = [nodes.ids[at] for at in jobs.column("node").to_pylist()]
    assert named == jobs.column("node_id").to_pylist()
    assert NodeRow.decode(nodes.rows[0].tobytes()).job_root == nodes.job_root(0)


def test_a_job_outside_of_its_epoch_is_found() -> None:
    published = publish(SATURN, [saturn_record(1)])
    nodes, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    [problem] = verify_epoch(published.manifest, SATURN, nodes, jobs, Calendar(0, 3600))
    assert problem.link == "jobs"


def test_every_flipped_byte_of_an_artefact_is_found_and_the_artefact_named() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(60)], rows_max=25)
    links = {published.manifest.nodes: "nodes"}
    links |= {ref.digest: f"segment {at}" for at, ref in enumerate(published.manifest.segments)}
    assert len(links) == 4
    for digest, link in links.items():
        data = published.store[digest]
        for at in range(0, len(data), 97):
            published.store[digest] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(InvalidInput) as refusal:
                load_epoch(published.manifest, SATURN, published.fetch)
            assert refusal.value.field == link
        published.store[digest] = data


def changed_problems(published: Published, **changes: Any) -> set[str]:
    from dataclasses import replace

    manifest = replace(published.manifest, **changes)
    nodes, jobs = load_epoch(manifest, published.schema, published.fetch)
    return {problem.link for problem in verify_epoch(manifest, published.schema, nodes, jobs)}


def test_a_manifest_that_states_something_else_is_found() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(60)])
    assert changed_problems(published) == set()
    assert changed_problems(published, root=bytes(32)) == {"root"}
    assert changed_problems(published, annotation=bytes(24)) == {"root"}
    assert changed_problems(published, n_nodes=4) == {"manifest"}
    assert changed_problems(published, late=1) == {"manifest"}
    assert changed_problems(published, epoch=4) == {"nodes", "root"}
    with pytest.raises(InvalidInput, match="schema"):
        changed_problems(published, schema=bytes(32))


def test_every_flipped_bit_of_a_manifest_makes_another_digest_or_none() -> None:
    manifest = publish(SATURN, [saturn_record(at) for at in range(9)]).manifest
    data = manifest.encode()
    assert Manifest.decode(data) == manifest
    for at in range(len(data)):
        for bit in range(8):
            other = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            try:
                assert Manifest.decode(other).digest != manifest.digest
            except InvalidInput:
                continue


def republished(table: pa.Table, published: Published) -> list[str]:
    """Verify other jobs under the same nodes: what an aggregator that cheats would publish."""
    nodes = Nodes.decode(published.store[published.manifest.nodes])
    names = {name: at for at, name in enumerate(nodes.ids)}
    node = pa.array([names[name] for name in table.column("node_id").to_pylist()], pa.int64())
    jobs = table.append_column("node", node)
    return [problem.link for problem in verify_epoch(published.manifest, SATURN, nodes, jobs)]


def test_changed_missing_doubled_and_unsorted_jobs_are_found() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(60)])
    _, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    table = jobs.drop_columns(["node"])
    assert republished(table, published) == []
    assert republished(table.slice(1), published) == ["nodes"]
    assert republished(table.take([*range(59), 58]), published) == ["jobs"]
    assert republished(table.take([1, 0, *range(2, 60)]), published) == ["jobs"]
    for name in ("num_bytes_sent", "ttfb_ms", "client", "started_us", "flags"):
        column = table.column(name).to_pylist()
        column[5] = "other" if name == "client" else 1 if column[5] != 1 else 2
        at = table.schema.get_field_index(name)
        other = table.set_column(
            at, table.schema.field(at), pa.array(column, table.schema.field(at).type)
        )
        assert "nodes" in republished(other, published), name


def test_an_aggregator_cannot_commit_to_unsorted_or_doubled_jobs_or_without_payees() -> None:
    table = saturn_jobs(20)
    payees = {name: payee(name) for name in table.column("node_id").to_pylist()}
    commit_epoch(SATURN, 1, table, payees)
    for order in ([0, 0, 1], [1, 0]):
        with pytest.raises(InvalidInput, match="job_id"):
            commit_epoch(SATURN, 1, table.take(order), payees)
    with pytest.raises(InvalidInput, match="node_id"):
        commit_epoch(SATURN, 1, table.take([19, 0]), payees)
    with pytest.raises(InvalidInput, match="payees"):
        commit_epoch(SATURN, 1, table, {})


def test_a_segment_is_the_same_bytes_for_the_same_jobs_and_refuses_what_no_record_can_hold() -> (
    None
):
    table = saturn_jobs(20)
    data = write_segment(table)
    assert data == write_segment(pa.concat_tables([table.slice(0, 9), table.slice(9)]))
    assert read_segment(data, SATURN).equals(table)
    for bad, field in (
        (b"PAR1 but not really", "segment"),
        (data[:-10], "segment"),
        (write_segment(table.drop_columns(["cache_hit"])), "segment"),
        (write_segment(table.set_column(2, "flags", pa.array([0] * 20, pa.uint32()))), "flags"),
        (
            write_segment(table.set_column(6, "num_bytes_sent", pa.array([-1] * 20))),
            "num_bytes_sent",
        ),
        (write_segment(table.set_column(0, "node_id", pa.array([""] * 20))), "node_id"),
        (
            write_segment(table.set_column(6, "num_bytes_sent", pa.array([None] * 20, pa.int64()))),
            "num_bytes_sent",
        ),
        (write_segment(table.set_column(4, "ended_us", pa.array([5] * 20))), "ended_us"),
        (write_segment(table.set_column(11, "client", pa.array(["x" * 17] * 20))), "client"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            read_segment(bad, SATURN)
        assert refusal.value.field == field


def test_nodes_with_wrong_keys_or_order_are_refused() -> None:
    published = publish(SATURN, [saturn_record(at) for at in range(9)])
    nodes = Nodes.decode(published.store[published.manifest.nodes])
    for bad in (
        Nodes(("x", *nodes.ids[1:]), nodes.rows),
        Nodes(nodes.ids[::-1], nodes.rows[::-1]),
        Nodes(nodes.ids[:-1], nodes.rows),
    ):
        with pytest.raises(InvalidInput):
            Nodes.decode(bad.encode())


def test_what_lies_under_a_null_does_not_change_a_row() -> None:
    """Arrow may keep any bytes in a null's slot; a row must not depend on them."""
    table = saturn_jobs(1)
    at = table.schema.get_field_index("client")
    text = pa.array(["junk"])
    _, offsets, data = text.buffers()
    hidden = pa.StringArray.from_buffers(1, offsets, data, pa.py_buffer(b"\x00"), 1)
    assert hidden.to_pylist() == [None]
    plain = table.set_column(at, table.schema.field(at), pa.array([None], pa.string()))
    other = table.set_column(at, table.schema.field(at), hidden)
    assert (rebuild_rows(SATURN, other) == rebuild_rows(SATURN, plain)).all()


@pytest.mark.parametrize("kernel", ["hashlib", "lanes-8"])
def test_trees_built_in_pieces_have_the_roots_of_whole_trees(kernel, monkeypatch):
    """Pieces end at multiples of a power of two, so a tree of any size is cut into whole subtrees and a rest."""
    hashing.force(kernel)
    hashing.prepare()
    try:
        monkeypatch.setattr(forest, "PIECE", 16)
        sizes = np.array([1, 15, 16, 17, 3, 47, 48, 49, 1, 200, 2])
        rows = np.random.default_rng(1).integers(0, 256, (int(sizes.sum()), 100), dtype=np.uint8)
        rows[:, 52:68] &= 0x3F
        rows[:, [52, 60]] = 0
        found = forest.roots_of_rows(rows, sizes, job_leaves, JOB_NODE, LaneKind.PAIR_U64)
        starts = np.cumsum(sizes) - sizes
        for root, start, size in zip(found, starts, sizes, strict=True):
            leaves = job_leaves(rows[start : start + size])
            assert root.tobytes() == SumTree(leaves, JOB_NODE, LaneKind.PAIR_U64).root
    finally:
        hashing.force(None)
