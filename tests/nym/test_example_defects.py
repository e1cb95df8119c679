"""The faults of the original's Nym example (4.4, and D13, D14): each against our contract, store, rules and distributor.

Which rule prevents which fault stands in docs/defects.md.
"""

import asyncio
import contextlib
import sqlite3
import sys

import pytest
from nym_world import KEYS, MIXNODES, STRANGER, network, submission
from test_contract import GENESIS_S, Contract, opened

from meridian.errors import NotFound
from meridian.evaluate.aggregate import AGGREGATES
from meridian.measure.epoch import Calendar
from meridian.nym import api_store, rows
from meridian.nym.acceptance import Mode
from meridian.nym.api_store import (
    APPLICATION,
    ApiStore,
    StoredDecision,
    read_decision,
    read_findings,
)
from meridian.nym.collector import TICKS, Collector, next_tick_ms, tick_ms
from meridian.nym.contract_client import ContractClient, ContractClock
from meridian.nym.database import ReadOnlyDatabase
from meridian.nym.distributor import Distributor
from meridian.nym.mixnodes import World
from meridian.nym.race_rules import rows_min
from meridian.nym.rewards import sign_submission
from meridian.nym.rows import SCALE, Row, aggregate
from meridian.nym.standalone import StandaloneWay
from meridian.primitives import quorum

GENESIS_MS = GENESIS_S * 1000


def mean_of(*readings: int) -> int | None:
    column = [Row(0, ((0, reading * SCALE),)) for reading in readings]
    return aggregate("mean", column, mixnodes=1, apis=len(column))[0]


@pytest.mark.parametrize(
    ("readings", "theirs"), [((90, 90, 90), 4), ((100, 100, 100), 14), ((100, 100, 56), 0)]
)
def test_D13_the_sum_of_a_column_is_no_byte(readings, theirs):
    """sum: u8 wrapped; the mean of three times 90 was 4."""
    assert sum(readings) % 256 // 3 == theirs
    assert mean_of(*readings) == sum(readings) * SCALE // 3


@pytest.mark.parametrize("members", [3, 4, 7, 10, 31])
def test_D14_one_row_of_many_is_no_result(members):
    """peers_rewards_threshold was the number of peers, compared with a percentage: n = 3 was 3 %."""
    assert rows_min(members) == members - quorum.faults_max(members)
    assert rows_min(members) > members // 2


def test_4_4_the_mean_does_not_overflow():
    assert mean_of(*[100] * 31) == 100 * SCALE


def test_4_4_the_mean_is_not_cut_to_whole_percents():
    """Of a column, and of the readings of one epoch."""
    assert mean_of(10, 11) == 10_500_000
    assert rows.average(0, [(0, 21, 2)]) == Row(0, ((0, 10_500_000),))


def test_4_4_what_is_missing_is_not_zero(tmp_path):
    """A mixnode without readings is absent from the row, and does not pull the mean down."""
    store = ApiStore(tmp_path / "api.sqlite")
    store.record([(GENESIS_MS, 0, 80)])
    row = store.average(0, GENESIS_MS, GENESIS_MS + 10_000)
    store.close()
    assert row == Row(0, ((0, 80 * SCALE),))
    matrix = [row, Row(0, ()), Row(0, ((0, 100 * SCALE),))]
    assert aggregate("mean", matrix, mixnodes=2, apis=3) == (90 * SCALE, None)


def test_4_4_the_window_is_the_epoch_that_ended(tmp_path):
    """Half-open: its first instant and not that of the next; the original averaged the epoch that had just begun."""
    store = ApiStore(tmp_path / "api.sqlite")
    edges = (GENESIS_MS - 1, GENESIS_MS, GENESIS_MS + 9_999, GENESIS_MS + 10_000)
    store.record([(at, 0, value) for at, value in zip(edges, (1, 10, 20, 100), strict=True)])
    assert store.average(0, GENESIS_MS, GENESIS_MS + 10_000).values == ((0, 15 * SCALE),)
    store.close()


async def test_4_4_the_epoch_is_counted_from_genesis_and_not_from_the_minute(tmp_path):
    """Equal contracts made at different minutes count alike; an hour later nothing starts anew."""
    async with Contract(tmp_path, after=0.0) as contract:
        for after_s in (0, 9, 10, 59, 60, 3_600, 86_400):
            contract.clock.now = GENESIS_MS + after_s * 1000
            _, said = await contract.get("/contract/epoch")
            assert said["epoch_id"] == after_s // 10
            assert said["start_time"] == GENESIS_S + after_s // 10 * 10


def test_4_4_ticks_stand_at_the_same_places_in_every_epoch():
    """Whenever a process starts, its next tick is one of the epoch's."""
    calendar = Calendar(GENESIS_S, 10)
    for started_ms in (0, 1, 137, 999, 9_999, 12_345):
        tick = next_tick_ms(calendar, GENESIS_MS + started_ms)
        assert (tick - GENESIS_MS) % tick_ms(calendar) == 0
        assert 0 <= tick - GENESIS_MS - started_ms < tick_ms(calendar) == 10_000 // TICKS


def test_4_4_a_start_wipes_no_database(tmp_path):
    """Storage::init deleted the file, on both sides."""
    store = ApiStore(tmp_path / "api.sqlite")
    store.record([(GENESIS_MS, 0, 80)])
    store.close()
    store = ApiStore(tmp_path / "api.sqlite")
    assert store.average(0, GENESIS_MS, GENESIS_MS + 1).values
    store.close()
    system = network(Mode.RACE)
    first = opened(tmp_path, system)
    first.settle(submission(system), GENESIS_MS + 10_000)
    first.close()
    again = opened(tmp_path, system)
    assert again.accepted(0).submission == submission(system)
    again.close()


def test_4_4_the_threshold_is_no_percentage():
    """See D14; the rule on blocks itself: test_d14_another_members_block_needs_rows_of_n_minus_f_distinct_members."""
    assert [rows_min(n) for n in (1, 3, 4, 100)] == [1, 3, 3, 67]


async def test_4_4_the_race_is_won_by_a_signature_and_not_by_a_header(tmp_path):
    """X-NYM-API-ID named anybody: a stranger, and a member's result sent by another, are 401; no signature is none."""
    async with Contract(tmp_path) as contract:
        system = contract.system
        stranger = sign_submission(system.realm, submission(system).report, STRANGER)
        stolen = submission(system)
        copied = type(stolen)(stolen.report, KEYS[1].address, stolen.signature)
        for sent in (stranger, copied):
            status, answer = await contract.post(contract.body(sent))
            assert status == 401, answer
        bare = contract.body(submission(system)) | {"signature": "0x" + "00" * 64}
        answer = await contract.client.post(
            "/contract/submit_rewards",
            json=bare,
            headers={"X-NYM-API-ID": "0x" + KEYS[0].address.hex()},
        )
        assert answer.status == 401
        assert (await contract.get("/contract/rewards/0"))[0] == 404


class Stuck(StandaloneWay):
    """Its work on epoch 0 never ends."""

    async def contribute(self, epoch, row):
        if epoch == 0:
            await asyncio.Event().wait()
        await super().contribute(epoch, row)


@contextlib.asynccontextmanager
async def distributing(tmp_path, contract: Contract, way=StandaloneWay, number: int = 1):
    """A Nym-Api's real distributor, store and clock beside a served contract; it saw epochs 0 and 1."""
    system = contract.system
    url = str(contract.client.make_url("")).rstrip("/")
    store = ApiStore(tmp_path / "api.sqlite")
    async with ContractClient(url, system.realm.network, MIXNODES) as client:
        clock = ContractClock(client)
        await clock.first_sync(0.01)
        world = World(1, MIXNODES)
        collector = Collector(number, world, store, clock, liar=False)
        collector.begin()
        for epoch in (0, 1):
            store.see(epoch)
            for tick in range(TICKS):
                at_ms = GENESIS_MS + epoch * 10_000 + tick * 1_000
                found = world.readings(number, epoch, tick)
                store.record([(at_ms, mixnode, value) for mixnode, value in found])
        distributor = Distributor(
            MIXNODES, store, client, clock, collector, way(system, number, KEYS[number - 1], client)
        )

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                await distributor.run(group)

        task = asyncio.create_task(run())
        try:
            yield store
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            store.close()


async def found(store: ApiStore, *epochs: int) -> None:
    async with asyncio.timeout(30):
        while not set(epochs) <= store.found():  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.02)


async def test_4_4_losers_learn_and_keep_the_official_result_and_check_it(tmp_path):
    """Another one was faster, with a result that does not follow: the loser knows who it was, and that it is wrong."""
    async with Contract(tmp_path, Mode.STANDALONE) as contract:
        winner = submission(contract.system, KEYS[1], rewards=(1, 2, 3))
        assert (await contract.post(contract.body(winner)))[0] == 200
        async with distributing(tmp_path, contract) as store:
            await found(store, 0, 1)
        seen = ReadOnlyDatabase(tmp_path / "api.sqlite", APPLICATION)
        findings = read_findings(seen)
        seen.close()
        assert (findings[0].winner, findings[0].holds) == (KEYS[1].address, False)
        assert "do not follow" in findings[0].detail
        assert (findings[1].winner, findings[1].holds) == (KEYS[0].address, True)


def test_4_4_the_block_behind_a_result_is_kept(tmp_path):
    """epoch_blocks was never written. What was decided is read back, by an outsider too (all of it: test_runs.py)."""
    store = ApiStore(tmp_path / "api.sqlite")
    decision = StoredDecision(b"block", b"certificate", (b"row one", b"row two"))
    store.keep_decision(7, decision)
    store.close()
    seen = ReadOnlyDatabase(tmp_path / "api.sqlite", APPLICATION)
    assert read_decision(seen, 7) == decision
    seen.close()


async def test_4_4_work_that_lasts_holds_up_no_other_epoch(tmp_path):
    """The original polled for 60 s in an epoch of 20 s: here epoch 1 is settled while epoch 0 still hangs."""
    async with Contract(tmp_path, Mode.STANDALONE) as contract:
        async with distributing(tmp_path, contract, Stuck) as store:
            await found(store, 1)
            assert 0 not in store.found()
        assert contract.store.settled() == [1]


async def test_4_4_the_epoch_is_served_while_the_database_is_busy(tmp_path):
    """The original slept with the contract's lock held. Here a writer that waits delays no reader of the clock."""
    async with Contract(tmp_path) as contract:
        blocker = sqlite3.connect(tmp_path / "contract.sqlite", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        sending = asyncio.create_task(contract.post(contract.body(submission(contract.system))))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(3):
            for _ in range(5):
                assert (await contract.get("/contract/epoch"))[0] == 200
        assert not sending.done()
        blocker.execute("ROLLBACK")
        blocker.close()
        async with asyncio.timeout(10):
            assert (await sending)[0] == 200


def wrapping(rows, n):
    """The original's aggregator."""
    return [sum(column) % (256 * SCALE) // len(column) for column in zip(*rows, strict=True)]


def whole_percents(epoch, sums):
    return Row(epoch, tuple((node, total // count * SCALE) for node, total, count in sums))


def both_ends(store, epoch, start_ms, end_ms):
    return api_store.read_average(store._database, epoch, start_ms, end_ms + 1)


MUTANTS = {
    "u8 sums": (AGGREGATES, "mean", wrapping, lambda _: test_4_4_the_mean_does_not_overflow()),
    "cut means": (
        rows,
        "average",
        whole_percents,
        lambda _: test_4_4_the_mean_is_not_cut_to_whole_percents(),
    ),
    "missing is 0": (
        Row,
        "spread",
        lambda row, mixnodes: tuple(dict(row.values).get(i, 0) for i in range(mixnodes)),
        test_4_4_what_is_missing_is_not_zero,
    ),
    "closed window": (ApiStore, "average", both_ends, test_4_4_the_window_is_the_epoch_that_ended),
    "ticks from the start": (
        sys.modules[__name__],
        "next_tick_ms",
        lambda calendar, at: at,
        lambda _: test_4_4_ticks_stand_at_the_same_places_in_every_epoch(),
    ),
    "nothing kept": (
        ApiStore,
        "keep_decision",
        lambda *_: None,
        test_4_4_the_block_behind_a_result_is_kept,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_that_returns_is_seen(name, monkeypatch, tmp_path):
    target, attribute, mutant, test = MUTANTS[name]
    with monkeypatch.context() as patch:
        if isinstance(target, dict):
            patch.setitem(target, attribute, mutant)
        else:
            patch.setattr(target, attribute, mutant)
        with pytest.raises((AssertionError, NotFound, ValueError)):
            test(tmp_path)
