"""The sealed store: its paths are those of the whole trees, it stands whole or not at all, and damage is an error."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.commitment import (
    EpochCommitment,
    build_node_rows,
    committed_root,
    job_tree,
    node_tree,
)
from meridian.measure.manifest import Nodes
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.stored_tree import GROUP, JOB_ROWS, level_above
from meridian.node.measure import sealed_store
from meridian.node.measure.sealed_epoch import SealedEpoch, SealedStore
from meridian.node.measure.sealed_store import FILES, SealedWriter, epoch_directory, job_places
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, SumTree

LANES = LaneKind.PAIR_U64
SCHEMA = NetworkSchema(
    id=1,
    name="stored",
    evaluation_fields=(Field.integer("a"), Field.integer("b")),
    additional_fields=(),
    lanes=Lanes(LANES, ("a", "b")),
)
EPOCH = 60
EDGES = [1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025]


def rows_of(count: int, seed: int) -> ByteMatrix:
    """Job rows with ascending keys and sums that cannot overflow."""
    rows = np.random.default_rng(seed).integers(0, 256, (count, 100), dtype=np.uint8)
    rows[:, 52:68] = 0
    rows[:, 59] = rows[:, 67] = 7
    words = np.ascontiguousarray(rows[:, 4:12]).view(">u8").ravel()
    return rows[np.argsort(words, kind="stable")]


class Epoch:
    """Rows of some nodes, their whole trees, and the commitment over them."""

    def __init__(self, sizes: Sequence[int]) -> None:
        ids = sorted((f"node-{at}" for at in range(len(sizes))), key=node_key)
        self.jobs = [rows_of(size, at) for at, size in enumerate(sizes)]
        self.trees = [job_tree(rows, LANES) for rows in self.jobs]
        roots = np.frombuffer(b"".join(tree.root for tree in self.trees), np.uint8)
        payees = [Address(bytes(20))] * len(ids)
        self.node_rows = build_node_rows(SCHEMA, EPOCH, ids, payees, roots.reshape(-1, 56))
        self.top = node_tree(self.node_rows, LANES)
        root = committed_root(EPOCH, len(ids), self.top.root)
        nodes = Nodes(tuple(ids), self.node_rows)
        annotation = (self.top.root if ids else EMPTY_ROOT)[32:]
        self.commitment = EpochCommitment(EPOCH, root, annotation, nodes)

    def level8(self, at: int) -> ByteMatrix:
        return level_above(JOB_ROWS.leaves(self.jobs[at]), JOB_ROWS.tag, LANES)

    def write(self, directory: Path, chunk: int = 1000) -> SealedEpoch:
        with SealedWriter(directory, EPOCH, LANES) as writer:
            for at, rows in enumerate(self.jobs):
                for first in range(0, len(rows), chunk):
                    writer.rows(rows[first : first + chunk])
                writer.subtrees(self.level8(at))
            writer.finish(self.commitment)
        return SealedEpoch(epoch_directory(directory, EPOCH))


def check_paths(epoch: Epoch, sealed: SealedEpoch, place: int, indices: Sequence[int]) -> None:
    tree, rows = sealed.jobs(place), epoch.jobs[place]
    assert tree.size == len(rows)
    for index in indices:
        assert tree.path(index) == epoch.trees[place].path(index), (place, index)
        row = rows[index].tobytes()
        assert tree.row(index) == row
        assert tree.find(row[4:36]) == (index, True)


@given(sizes=st.lists(st.sampled_from(EDGES) | st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=12, deadline=None)
def test_paths_rows_and_places_are_those_of_the_whole_trees(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    epoch = Epoch(sizes)
    sealed = epoch.write(tmp_path_factory.mktemp("sealed"), chunk=123)
    for place, size in enumerate(sizes):
        near = {0, size - 1, size // 2, 254, 255, 256, 257, 511, 512, size - 2}
        check_paths(epoch, sealed, place, [at for at in sorted(near) if 0 <= at < size])
        assert sealed.nodes.path(place) == epoch.top.path(place)
        assert sealed.nodes.row(place) == epoch.node_rows[place].tobytes()
        key = epoch.node_rows[place, 8:40].tobytes()
        assert sealed.nodes.find(key) == (place, True)
    sealed.check()


def test_a_node_of_300_000_jobs_has_a_level_16(tmp_path: Path) -> None:
    epoch = Epoch([300, 300_000, 70_000])
    sealed = epoch.write(tmp_path, chunk=100_000)
    assert sealed.header.levels == (2 + 1172 + 274, 5 + 2, 0)
    check_paths(epoch, sealed, 1, [0, 255, 256, 65_535, 65_536, 123_456, 299_999])
    check_paths(epoch, sealed, 2, [0, 65_535, 65_536, 69_999])
    assert sealed.jobs(1).path(299_999) == epoch.trees[1].path(299_999)


def test_a_thousand_nodes_are_a_stored_tree_themselves(tmp_path: Path) -> None:
    epoch = Epoch([1] * 1000)
    sealed = epoch.write(tmp_path)
    for place in range(0, 1000, 37):
        assert sealed.nodes.path(place) == epoch.top.path(place)
        assert sealed.jobs(place).path(0) == []


def test_absent_keys_are_found_between_their_neighbours(tmp_path: Path) -> None:
    epoch = Epoch([2000])
    tree = epoch.write(tmp_path).jobs(0)
    keys = [row[4:36].tobytes() for row in epoch.jobs[0]]
    for at in (0, 1, 999, 1999):
        above = (int.from_bytes(keys[at], "big") + 1).to_bytes(32, "big")
        assert tree.find(above) == (at + 1, False)
    assert tree.find(bytes(32)) == (0, False)
    assert tree.find(b"\xff" * 32) == (2000, False)


def test_keys_that_somebody_ground_out_are_found_by_halving(tmp_path: Path) -> None:
    epoch = Epoch([20_000])
    rows = epoch.jobs[0]
    rows[:, 4:20] = 0  # all keys begin alike: guesses by value are far off
    rows[-1, 4:36] = 0xFF
    rows[:-1] = rows[:-1][np.argsort(np.ascontiguousarray(rows[:-1, 20:28]).view(">u8").ravel())]
    epoch = Epoch([1])
    epoch.jobs, epoch.trees = [rows], [job_tree(rows, LANES)]
    root = np.frombuffer(epoch.trees[0].root, np.uint8).reshape(1, 56)
    epoch.commitment.nodes.rows[0, 60:] = root
    top = node_tree(epoch.commitment.nodes.rows, LANES).root
    commitment = EpochCommitment(
        EPOCH, committed_root(EPOCH, 1, top), top[32:], epoch.commitment.nodes
    )
    epoch.commitment = commitment
    sealed = epoch.write(tmp_path)
    check_paths(epoch, sealed, 0, [0, 1, 5000, 12_345, 19_998, 19_999])


def test_an_epoch_without_jobs(tmp_path: Path) -> None:
    sealed = Epoch([]).write(tmp_path)
    assert sealed.nodes.size == 0
    assert sealed.nodes.find(bytes(32)) == (0, False)
    sealed.check()


def test_where_job_trees_begin() -> None:
    places, totals = job_places(np.array([1, 256, 257, 65_536, 65_537, 1 << 25]))
    assert totals == (
        1 + 256 + 257 + 65_536 + 65_537 + (1 << 25),
        1 + 1 + 2 + 256 + 257 + (1 << 17),
        2 + 512,
        2,
    )
    assert places[5].tolist() == [131_587, 517, 2, 0]


def test_what_is_not_the_commitments_is_not_written(tmp_path: Path) -> None:
    epoch = Epoch([300, 5])
    with (
        pytest.raises(InvalidInput, match="not as many"),
        SealedWriter(tmp_path, EPOCH, LANES) as w,
    ):
        w.rows(epoch.jobs[0])
        w.finish(epoch.commitment)
    wrong = epoch.level8(0).copy()
    wrong[1, 0] ^= 1
    with pytest.raises(InvalidInput, match="lead"), SealedWriter(tmp_path, EPOCH, LANES) as w:
        w.rows(np.concatenate(epoch.jobs))
        w.subtrees(np.concatenate([wrong, epoch.level8(1)]))
        w.finish(epoch.commitment)
    assert list(tmp_path.iterdir()) == []


def test_rows_reach_the_disk_while_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(sealed_store, "SYNC_BYTES", 1 << 16)
    Epoch([2000]).write(tmp_path, chunk=100)
    assert synced == [at * 70_000 for at in (1, 2)]  # 65,536 in chunks of 10,000; not the rest


def test_writing_again_replaces_and_a_torn_store_is_none(tmp_path: Path) -> None:
    epoch = Epoch([300, 5])
    epoch.write(tmp_path)
    torn = SealedWriter(tmp_path, EPOCH, LANES)
    torn.rows(epoch.jobs[0])  # and then the process is killed
    assert epoch.write(tmp_path).header.jobs == 305
    assert [path.name for path in tmp_path.iterdir()] == ["000060"]


def test_stores_of_old_epochs_are_deleted_and_the_others_stay(tmp_path: Path) -> None:
    Epoch([3]).write(tmp_path)
    for number in (58, 59):
        shutil.copytree(epoch_directory(tmp_path, EPOCH), epoch_directory(tmp_path, number))
    store = SealedStore(tmp_path)
    assert store.remove_before(EPOCH) == [58, 59]
    assert store.remove_before(EPOCH) == []
    assert [path.name for path in tmp_path.iterdir()] == ["000060"]


def test_damage_is_an_error_and_never_a_wrong_tree(tmp_path: Path) -> None:
    epoch = Epoch([300, 5, 9])
    directory = epoch_directory(tmp_path, EPOCH)
    for name in (*FILES, "header"):
        epoch.write(tmp_path)
        path = directory / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x20
        path.write_bytes(data)
        with pytest.raises(StorageFailure, match=name if name in FILES else "CRC"):
            SealedEpoch(directory).check()
        epoch.write(tmp_path)
        os.truncate(path, len(data) - 1)
        with pytest.raises(StorageFailure):
            SealedEpoch(directory)


def test_a_file_that_shrinks_under_an_open_epoch_is_an_error(tmp_path: Path) -> None:
    sealed = Epoch([300]).write(tmp_path)
    os.truncate(epoch_directory(tmp_path, EPOCH) / "rows", 5000)
    with pytest.raises(StorageFailure, match="shorter"):
        sealed.jobs(0).path(299)


def test_few_epochs_stay_open_and_another_root_is_not_given(tmp_path: Path) -> None:
    epoch = Epoch([3])
    root = epoch.commitment.root
    epoch.write(tmp_path)
    store = SealedStore(tmp_path, kept=1)
    first = store.epoch(EPOCH, root)
    assert store.epoch(EPOCH, root) is first
    with pytest.raises(NotFound):
        store.epoch(EPOCH, bytes(32))
    with pytest.raises(NotFound):
        store.epoch(EPOCH + 1, root)
    store.remove(EPOCH)
    with pytest.raises(NotFound):
        store.epoch(EPOCH, root)
    assert first.jobs(0).path(0) == epoch.trees[0].path(0)
    open_before = len([*Path("/proc/self/fd").iterdir()])
    del first
    assert len([*Path("/proc/self/fd").iterdir()]) == open_before - 3


def test_the_group_is_eight_levels() -> None:
    leaves = JOB_ROWS.leaves(rows_of(GROUP, 1))
    assert level_above(leaves, JOB_ROWS.tag, LANES)[0].tobytes() == SumTree(leaves, 3, LANES).root
