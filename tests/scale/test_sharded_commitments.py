"""Committing shard by shard gives the bytes of committing at once, and finds what is wrong as `verify_epoch` does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measure.measure_schemas import SATURN, publish, saturn_record

from meridian.errors import InvalidInput, NotFound
from meridian.measure.columns import segment_columns
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Nodes
from meridian.primitives.cid import cid_text
from meridian.scale.committing import commit_shard, commit_sharded, problems
from meridian.scale.pool import InlinePool
from meridian.scale.readers import SegmentFolder
from meridian.scale.shards import ShardJobs, cut

POOL = InlinePool()


@pytest.fixture(scope="module")
def published():
    return publish(SATURN, [saturn_record(at) for at in range(123)], rows_max=17)


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    made = tmp_path_factory.mktemp("segments")
    for digest, data in published.store.items():
        (made / cid_text(digest)).write_bytes(data)
    return made


def shards_of(published, folder, rows_max):
    manifest, nodes = published.manifest, published.commitment.nodes
    digests = tuple(segment.digest for segment in manifest.segments)
    reader = SegmentFolder(folder, digests, published.schema)
    listed = list(zip(nodes.ids, nodes.payees, nodes.job_counts, strict=True))
    rows = [segment.rows for segment in manifest.segments]
    columns = segment_columns(published.schema)
    return [
        ShardJobs(manifest.epoch, shard, columns, reader) for shard in cut(listed, rows, rows_max)
    ]


@given(rows_max=st.integers(1, 130))
@settings(max_examples=12, deadline=None)
def test_any_cut_gives_the_root_of_the_whole(published, folder, rows_max):
    shards = shards_of(published, folder, rows_max)
    assert all(one.shard.rows <= rows_max or len(one.shard.ids) == 1 for one in shards)
    made, parts = commit_sharded(published.schema, shards, POOL)
    whole = published.commitment
    assert (made.root, made.annotation, made.nodes.ids) == (
        whole.root,
        whole.annotation,
        whole.nodes.ids,
    )
    assert (made.nodes.rows == whole.nodes.rows).all()
    assert problems(published.manifest, whole.nodes, made, parts) == []


def test_what_is_wrong_is_what_is_found_on_the_whole(published, folder):
    calendar = Calendar(0, 3_600, 1)  # no job is of epoch 3 of this one
    rows = published.commitment.nodes.rows.copy()
    rows[1, 70] ^= 1
    lying = Nodes(published.commitment.nodes.ids, rows)
    manifest = replace(published.manifest, late=2, root=bytes(32))
    made, parts = commit_sharded(SATURN, shards_of(published, folder, 20), POOL, calendar)
    _, jobs = load_epoch(published.manifest, SATURN, published.fetch)
    found = problems(manifest, lying, made, parts)
    expected = verify_epoch(manifest, SATURN, lying, jobs, calendar)
    assert sorted(map(str, found)) == sorted(map(str, expected))
    assert len(found) == 4
    other = Nodes(("x",), published.commitment.nodes.rows[:1])
    assert [one.link for one in problems(published.manifest, other, made, parts)] == ["nodes"]


def test_a_shard_of_other_nodes_and_a_damaged_segment_are_refused(published, folder, tmp_path):
    shards = shards_of(published, folder, 200)
    first = shards[0].shard
    wrong = replace(first, counts=(first.counts[0] - 1, first.counts[1] + 1, *first.counts[2:]))
    with pytest.raises(InvalidInput, match="not those of its nodes"):
        commit_shard(SATURN, None, replace(shards[0], shard=wrong))
    digest = published.manifest.segments[0].digest
    lost = SegmentFolder(tmp_path, (digest,), SATURN)
    with pytest.raises(NotFound, match="segment 0 is not here"):
        lost.read(0, ["flags"])
    (tmp_path / cid_text(digest)).write_bytes(published.store[digest][:-1] + b"x")
    with pytest.raises(InvalidInput, match="does not hash"):
        lost.read(0, ["flags"])


def test_the_number_of_jobs_must_be_that_of_the_parts():
    with pytest.raises(InvalidInput, match="parts"):
        cut([("a", bytes(20), 3)], [2], 10)
    assert [shard.ids for shard in cut([("a", bytes(20), 0)], [], 10)] == [("a",)]
    assert (
        np.sum([shard.rows for shard in cut([("a", bytes(20), 5), ("b", bytes(20), 1)], [4, 2], 2)])
        == 6
    )
