"""One order and the same bytes whatever the memory, and however the log is cut; what stands twice counts once."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measure_schemas import SATURN, payee

from meridian.measure.columns import read_segment, write_segment
from meridian.measure.commitment import commit_epoch
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import sort_order
from meridian.measure.row import job_keys, private_commitments
from meridian.measure.scatter import Scatter
from meridian.node.measure import external_sort, seal
from meridian.node.measure.external_sort import INDEX_BYTES, ExternalSort
from meridian.node.measure.frames import digest_column, digest_rows, log_columns, seed_column
from meridian.node.measure.publication import Publication
from meridian.node.measure.seal import publish_epoch
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.primitives.ids import Address

EPOCH = 5
SEEDS = [bytes([at]) * 32 for at in range(7)]


def jobs_of(count: int, nodes: int, *, first: int = 0) -> pa.Table:
    """Jobs in the columns of the log, most of them of the epoch, in no order."""
    draws = np.random.default_rng(count * 31 + nodes)
    node = np.minimum(draws.geometric(0.2, count), nodes)
    number = first + np.arange(count)
    columns: dict[str, Any] = {
        "epoch": np.where(draws.random(count) < 0.9, EPOCH, EPOCH + 1),
        "node_id": [f"node-{at}" for at in node],
        "job_id": [f"é{at}" * (1 + at % 3) for at in number],
        "flags": (number % 11 == 0).astype(np.uint16),
        "started_us": draws.integers(0, 1 << 40, count),
        "num_bytes_sent": draws.integers(0, 1 << 30, count),
        "request_duration_sec": draws.integers(0, 1 << 30, count),
        "ttfb_ms": [None if at % 4 == 0 else int(at) for at in number],
        "status code": draws.integers(100, 600, count),
        "cache_hit": draws.random(count) < 0.5,
        "client": [None if at % 3 == 0 else f"c{at % 50}" for at in number],
    }
    columns["ended_us"] = columns["started_us"] + 5
    table = pa.table(columns)
    at = np.sort(draws.integers(0, len(SEEDS), count))
    columns["job_key"] = digest_column(job_keys(table.column("job_id")))
    seeds = [SEEDS[place] for place in at]
    columns["private"] = digest_column(private_commitments(SATURN, table, seeds))
    columns["batch_seed"] = seed_column(seeds, np.ones(count, dtype=np.int64))
    schema = log_columns(SATURN)
    return pa.table([pa.array(columns[n], schema.field(n).type) for n in schema.names], schema)


def cut(table: pa.Table, sizes: list[int]) -> list[pa.Table]:
    groups, start = [], 0
    while start < table.num_rows:
        size = sizes[len(groups) % len(sizes)]
        groups.append(table.slice(start, size))
        start += size
    return groups


def published(folder: Path, groups: list[pa.Table], **facts: Any) -> tuple[Publication, Manifest]:
    publication = Publication(folder / "public")
    given_facts: dict[str, Any] = {
        "network": "saturn",
        "epoch": EPOCH,
        "aggregator": Address(bytes(20)),
        "frames": groups,
        "duplicates": 2,
        "payees": lambda names: {name: payee(name) for name in names},
        "inputs": {},
        "work": folder / "sealing",
        "memory_bytes": 1 << 30,
    }
    manifest = publish_epoch(publication, SATURN, **given_facts | facts)
    assert not (folder / "sealing").exists()
    return publication, manifest


def expected(table: pa.Table) -> pa.Table:
    """The epoch's jobs in order, by the plain definition."""
    own = table.filter(pa.array(np.asarray(table.column("epoch")) == EPOCH))
    return own.take(sort_order(own.column("node_id"), digest_rows(own.column("job_key"))))


JOBS = jobs_of(700, 12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Publication, Manifest]:
    return published(tmp_path_factory.mktemp("whole"), [JOBS])


def test_an_epoch_is_what_its_definition_says(whole: tuple[Publication, Manifest]) -> None:
    publication, manifest = whole
    jobs = expected(JOBS)
    [segment] = manifest.segments
    table = read_segment(publication.get(segment.digest), SATURN)
    for name in table.column_names:
        assert table.column(name).to_pylist() == jobs.column(name).to_pylist(), name
    plain = table.replace_schema_metadata(None)
    assert write_segment(plain) == publication.get(segment.digest)
    names = set(table.column("node_id").to_pylist())
    committed = commit_epoch(SATURN, EPOCH, table, {name: payee(name) for name in names})
    nodes = Nodes.decode(publication.get(manifest.nodes))
    assert (manifest.root, nodes.ids) == (committed.root, committed.nodes.ids)
    assert manifest.late == sum(flag & 1 for flag in table.column("flags").to_pylist())
    assert manifest.duplicates == 2


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
    st.integers(1, 200),
    st.sampled_from([1, 20, 1000]),
    st.booleans(),
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_neither_memory_nor_the_cut_of_the_log_changes_a_byte(
    tmp_path_factory: pytest.TempPathFactory,
    whole: tuple[Publication, Manifest],
    sizes: list[int],
    bucket_rows: int,
    run_rows_min: int,
    compiled: bool,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "RUN_ROWS_MIN", run_rows_min)
        patch.setattr(external_sort, "GATHER_ROWS", 100)
        patch.setattr(external_sort, "PREFIX_BITS", 4)
        patch.setattr(external_sort, "Scatter", lambda **_: Scatter(compiled=compiled))
        patch.setattr(seal, "sort_bytes", lambda _: bucket_rows * 300)
        _, manifest = published(folder, cut(JOBS, sizes), sealed=folder / "sealed")
    assert manifest == whole[1]
    stored = SealedStore(folder / "sealed").epoch(EPOCH, manifest.root)
    assert stored is not None
    stored.check()


def test_segments_end_at_the_same_jobs_whatever_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "SEGMENT_ROWS_MAX", 64)
    manifests = []
    for at, (rows, text) in enumerate([(10_000, 1 << 20), (90, 1 << 20), (10_000, 500), (33, 500)]):
        monkeypatch.setattr(seal, "SEGMENT_TEXT_BYTES_MAX", text)
        monkeypatch.setattr(seal, "sort_bytes", lambda _, rows=rows: rows * 300)
        manifests.append(published(tmp_path / str(at), cut(JOBS, [50]))[1])
    assert manifests[0] == manifests[1]
    assert manifests[2] == manifests[3]
    assert [one.rows for one in manifests[0].segments[:-1]] == [64] * (manifests[0].jobs // 64)
    assert len(manifests[2].segments) > len(manifests[0].segments)


def test_a_job_that_stands_twice_counts_once_and_the_first_stays(
    tmp_path: Path, whole: tuple[Publication, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = JOBS.slice(10, 40)
    other = pa.array(np.asarray(again.column("started_us")) + 1)
    at = again.column_names.index("started_us")
    again = again.set_column(at, again.schema.field(at), other)
    own = int((np.asarray(again.column("epoch")) == EPOCH).sum())
    for rows in (10_000, 60):
        monkeypatch.setattr(seal, "sort_bytes", lambda _, rows=rows: rows * 300)
        _, manifest = published(tmp_path / str(rows), [*cut(JOBS, [90]), again])
        assert manifest == replace(whole[1], duplicates=2 + own)


def test_an_epoch_without_jobs(tmp_path: Path) -> None:
    for groups in ([], [JOBS.filter(pa.array(np.asarray(JOBS.column("epoch")) != EPOCH))]):
        _, manifest = published(tmp_path, groups, sealed=tmp_path / "sealed")
        assert (manifest.jobs, manifest.n_nodes, manifest.segments) == (0, 0, ())


def test_giving_up_leaves_nothing_and_beginning_again_gives_the_same(
    tmp_path: Path, whole: tuple[Publication, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "sort_bytes", lambda _: 100 * 300)

    class GaveUp(Exception):
        pass

    def give_up(phase: str, done: int) -> None:
        if phase == "written" and done > 300:
            raise GaveUp

    with pytest.raises(GaveUp):
        published(tmp_path, [JOBS], sealed=tmp_path / "sealed", on_progress=give_up)
    assert not (tmp_path / "sealing").exists()
    assert not list((tmp_path / "sealed").iterdir())
    assert published(tmp_path, [JOBS], sealed=tmp_path / "sealed")[1] == whole[1]


def test_buckets_fit_the_memory_and_follow_each_other(tmp_path: Path) -> None:
    sort = ExternalSort(SATURN, EPOCH, [JOBS], spill=tmp_path / "s", memory_bytes=60 * 300)
    with sort:
        sort.scan(lambda _: None)
        stretches = [len(columns) for columns in sort.stretches()]
        assert sum(stretches) == sort.jobs
        assert max(stretches) <= 60 * 300 // (INDEX_BYTES + JOBS.nbytes // JOBS.num_rows)
        bounds = [(one.first, one.low, one.end - 1, one.high) for one in sort.buckets()]
    assert all(a[2:] < b[:2] for a, b in pairwise(bounds))
