"""One order and the same bytes whatever the memory, and however the log is cut; what stands twice counts once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measure_schemas import SATURN, payee

from meridian.measure import tuple_moves
from meridian.measure.columns import read_segment, write_segment
from meridian.measure.commitment import commit_epoch
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import sort_order
from meridian.measure.row import job_keys, private_commitments
from meridian.node.measure import external_sort, node_numbers, seal, sorted_columns
from meridian.node.measure.external_sort import ExternalSort
from meridian.node.measure.frames import digest_column, digest_rows, log_columns, seed_column
from meridian.node.measure.node_numbers import NodeNumbers
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
BLOCK_BYTES = 1_000


def small_memory(patch: pytest.MonkeyPatch, blocks: int, block_bytes: int = BLOCK_BYTES) -> None:
    """Let a sort hold so many blocks of jobs, 250 bytes a job."""
    patch.setattr(external_sort, "FANOUT_BITS", 2)
    patch.setattr(external_sort, "BLOCK_BYTES", block_bytes)
    patch.setattr(external_sort, "STRETCH_BYTES", blocks * block_bytes // 4)
    patch.setattr(seal, "sort_bytes", lambda _: blocks * block_bytes)


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
    st.sampled_from([4, 80, 4000]),
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
    blocks: int,
    gather_rows: int,
    compiled: bool,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        small_memory(patch, blocks)
        patch.setattr(external_sort, "GATHER_ROWS", gather_rows)
        if compiled:
            patch.setattr(tuple_moves, "bulk", lambda _: True)
            patch.setattr(node_numbers, "bulk", lambda _: True)
        _, manifest = published(folder, cut(JOBS, sizes), sealed=folder / "sealed")
    assert manifest == whole[1]
    stored = SealedStore(folder / "sealed").epoch(EPOCH, manifest.root)
    assert stored is not None
    stored.check()


def test_segments_end_at_the_same_jobs_whatever_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_columns, "SEGMENT_ROWS_MAX", 64)
    manifests = []
    for at, (blocks, text) in enumerate([(4000, 1 << 20), (40, 1 << 20), (4000, 500), (10, 500)]):
        monkeypatch.setattr(sorted_columns, "SEGMENT_TEXT_BYTES_MAX", text)
        small_memory(monkeypatch, blocks)
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
    for blocks in (4000, 20):
        small_memory(monkeypatch, blocks)
        _, manifest = published(tmp_path / str(blocks), [*cut(JOBS, [90]), again])
        assert manifest == replace(whole[1], duplicates=2 + own)


def test_an_epoch_without_jobs(tmp_path: Path) -> None:
    for groups in ([], [JOBS.filter(pa.array(np.asarray(JOBS.column("epoch")) != EPOCH))]):
        _, manifest = published(tmp_path, groups, sealed=tmp_path / "sealed")
        assert (manifest.jobs, manifest.n_nodes, manifest.segments) == (0, 0, ())


def test_giving_up_leaves_nothing_and_beginning_again_gives_the_same(
    tmp_path: Path, whole: tuple[Publication, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_memory(monkeypatch, 30)

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


@pytest.mark.parametrize("block_bytes", [BLOCK_BYTES, 4096])
def test_one_large_node_is_cut_by_its_job_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    """Blocks of whole sectors go past the page cache, where the file system can."""
    jobs = jobs_of(900, 1)
    small_memory(monkeypatch, 8, block_bytes)
    memory_bytes = 8 * block_bytes
    sort = ExternalSort(SATURN, EPOCH, [jobs], spill=tmp_path / "s", memory_bytes=memory_bytes)
    with sort:
        sort.scan(lambda _: None)
        keys = []
        stretches = []
        for stretch in sort.stretches():
            assert stretch.sizes.sum() <= memory_bytes // 2
            keys.append(sort.mover.keys(stretch.memory, stretch.places))
            stretches.append(len(stretch))
    assert len(stretches) > 8
    assert sum(stretches) == sort.jobs
    own = expected(jobs)
    assert (np.concatenate(keys) == digest_rows(own.column("job_key"))).all()


def test_numbers_of_nodes_do_not_depend_on_who_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'n' * (at % 40)}{at % 3_000}" for at in range(9_000)]
    columns = [pa.array(texts[at : at + 1_000]) for at in range(0, 9_000, 500)]
    found = NodeNumbers()
    for at, column in enumerate(columns):
        monkeypatch.setattr(node_numbers, "bulk", lambda _, at=at: at % 3 or None)
        numbers = found.of(column, len(column))
        assert [found.names[number] for number in numbers.tolist()] == column.to_pylist()
    assert len(set(found.names)) == len(found.names)
