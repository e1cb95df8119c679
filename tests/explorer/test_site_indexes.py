"""Histories, nodes, addresses, jobs: what is put in is found, in whatever pieces it came."""

import hashlib

import numpy as np
import pytest

from meridian.explorer.columns import Numbers, read_columns
from meridian.explorer.gathered import JobColumns
from meridian.explorer.job_index import FAN, Run, cut, due, entries_of, merge, shards_of
from meridian.explorer.node_history import (
    NAMES,
    SHARD_NODES,
    HistoryRows,
    merged_rows,
    read_shard,
    shard_of,
    shards_for,
    updated_chunk,
)
from meridian.explorer.node_index import (
    KnownNode,
    address_files,
    node_files,
    read_nodes,
    seen,
)
from meridian.explorer.paid_epochs import paid_of
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, job_key, node_key


def key_of(number):
    return hashlib.sha256(b"%d" % number).digest()


def history(nodes, epoch, amount=5):
    keys = np.frombuffer(b"".join(map(key_of, nodes)), np.uint8).reshape(-1, 32)
    columns = {name: Numbers.of([amount + at for at in range(len(nodes))]) for name in NAMES}
    columns |= {"epoch": Numbers.of([epoch] * len(nodes))}
    columns |= {"weight": Numbers.of([None if at % 5 == 0 else 1 << 90 for at in nodes])}
    return HistoryRows(keys, columns)


def found(shards, files, node):
    """(epoch, amount, weight) of a node, as a page reads them."""
    key = np.frombuffer(key_of(node), np.uint8).reshape(1, 32)
    data = files.get(int(shard_of(key, shards)[0]))
    if data is None:
        return []
    rows = read_shard(data)
    mine = (rows.keys == key).all(axis=1)
    columns = [rows.columns[name].take(mine).values() for name in ("epoch", "amount", "weight")]
    return list(zip(*columns, strict=True))


def test_a_history_is_the_same_whether_epochs_come_one_by_one_or_at_once():
    files, shards = {}, 0
    for epoch in (3, 4, 5):
        shards, files = updated_chunk(files, shards, history(range(50), epoch, epoch * 100))
    assert found(shards, files, 7) == [(e, e * 100 + 7, 1 << 90) for e in (3, 4, 5)]
    assert found(shards, files, 10)[0][2] is None
    assert found(shards, files, 51) == []


def test_epochs_that_were_decided_later_leave_the_same_bytes():
    """First without weights, as epochs are before they are decided; then once more, with them."""
    nodes = [at for at in range(60) if at % 5]
    undecided = {"weight": Numbers.of([None] * len(nodes))}
    files, shards = {}, 0
    for epoch in (3, 4):
        rows = history(nodes, epoch)
        before = HistoryRows(rows.keys, {**rows.columns, **undecided})
        shards, files = updated_chunk(files, shards, before)
        shards, files = updated_chunk(files, shards, rows)
    at_once = merged_rows([history(nodes, epoch) for epoch in (3, 4)])
    assert updated_chunk({}, 0, at_once) == (shards, files)


def test_an_epoch_that_comes_again_replaces_what_was_there():
    shards, files = updated_chunk({}, 0, history(range(20), 3))
    shards, files = updated_chunk(files, shards, history(range(10), 4))
    shards, files = updated_chunk(files, shards, history(range(10), 3, 900))
    assert found(shards, files, 4) == [(3, 904, 1 << 90), (4, 9, 1 << 90)]
    assert found(shards, files, 15) == [], "it has no jobs in the epoch any more"


def test_a_chunk_is_cut_anew_when_the_network_has_grown():
    shards, files = updated_chunk({}, 0, history(range(10), 1))
    assert shards == 1
    many = range(SHARD_NODES * 5)
    shards, files = updated_chunk(files, shards, history(many, 2))
    assert shards == shards_for(len(many)) > 1
    assert [epoch for epoch, *_ in found(shards, files, 3)] == [1, 2]
    assert sum(len(read_shard(data)) for data in files.values()) == 10 + len(many)


def test_nodes_are_found_by_key_and_by_every_address_of_theirs():
    table = {}
    own, payee = (Address(bytes([n]) * 20) for n in (7, 9))
    ids = ["node-1", "0x" + own.hex().upper(), fil_text(payee)]
    seen(table, 4, ids, [payee, payee, payee])
    seen(table, 2, ids[:1], [own])
    seen(table, 6, ids[:1], [own])
    assert table[node_key("node-1")] == KnownNode("node-1", ZERO_ADDRESS, own, 2, 6)
    files = node_files(table)
    assert {k: v for data in files.values() for k, v in read_nodes(data).items()} == table
    shards, addresses = address_files(table)
    pairs = set()
    for shard, data in addresses.items():
        columns = read_columns(data)
        assert set(shard_of(columns.fixed("address"), shards).tolist()) == {shard}
        rows = zip(columns.fixed("address"), columns.fixed("key"), strict=True)
        pairs |= {(address.tobytes(), key.tobytes()) for address, key in rows}
    assert pairs == {
        (own, node_key(ids[0])),
        (own, node_key(ids[1])),
        (payee, node_key(ids[1])),
        (payee, node_key(ids[2])),
    }


def jobs_of(epoch, count):
    names = sorted((f"job-{epoch}-{at}" for at in range(count)), key=job_key)
    rows = np.zeros((count, 100), np.uint8)
    rows[:, 4:36] = np.frombuffer(b"".join(map(job_key, names)), np.uint8).reshape(-1, 32)
    return JobColumns(tuple(names), rows, (count - 3, 3))


def merged(store, old, name):
    """The run that several become; its files are put into the store."""
    shards = merge(
        old,
        lambda run, shard: store.get((run.name, shard)),
        lambda shard, data: store.__setitem__((name, shard), data),
    )
    return Run(name, old[0].level + 1, shards, sum(run.rows for run in old))


def test_jobs_are_found_through_all_merges():
    store, runs = {}, []
    for epoch in range(FAN * FAN + 1):
        entries = entries_of(epoch, jobs_of(epoch, 60))
        run = Run(f"e{epoch}", 0, shards_of(len(entries)), len(entries))
        store |= {(run.name, s): d for s, d in cut(entries, 0, run.shards, run.shards).items()}
        runs.append(run)
        while old := due(runs):
            made = merged(store, old, f"m{len(store)}-{epoch}")
            runs = [made, *(run for run in runs if run not in old)]
    assert sorted(run.level for run in runs) == [0, 2]
    assert sum(run.rows for run in runs) == 60 * (FAN * FAN + 1)
    jobs = jobs_of(5, 60)
    for index, name in ((0, jobs.ids[0]), (2, jobs.ids[59])):
        wanted = int.from_bytes(job_key(name)[:8], "big")
        hits = []
        for run in runs:
            shard = wanted >> (64 - (run.shards.bit_length() - 1)) if run.shards > 1 else 0
            data = store.get((run.name, shard))
            if data is None:
                continue
            table = read_columns(data)
            for at in np.flatnonzero(table.numbers("hash").low == np.uint64(wanted)):
                names = ("epoch", "node", "index")
                hits.append(tuple(int(table.numbers(one).low[at]) for one in names))
        assert hits == [(5, 0 if index == 0 else 1, index)]


@pytest.mark.parametrize(
    ("then", "now", "more"), [(0, 70, 20), (0, 100, 50), (60, 100, 40), (100, 150, 0), (0, 40, 0)]
)
def test_a_claim_pays_epochs_oldest_first(then, now, more):
    """The node earned 50 up to the epoch before, and 50 in this one."""
    key, other = NodeKey(key_of(1)), NodeKey(key_of(2))
    assert paid_of([key, other], [50, 7], [100, 7], {key: then}, {key: now}) == more
