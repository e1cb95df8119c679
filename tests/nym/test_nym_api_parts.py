"""Store, clock and collector of a Nym-Api: windows, restarts, and what is missing."""

import pytest

from meridian.errors import NotFound, RemoteFault, StorageFailure
from meridian.measure.epoch import Calendar
from meridian.nym import api_store
from meridian.nym.api_store import ApiStore, Finding, StoredDecision
from meridian.nym.collector import Collector, next_tick_ms, tick_ms
from meridian.nym.contract_client import ContractClock
from meridian.nym.database import Database, ReadOnlyDatabase
from meridian.nym.mixnodes import TICKS, World
from meridian.nym.rows import SCALE, Row
from meridian.primitives.ids import Address

CALENDAR = Calendar(1000, 2)
WINNER = Address(b"\x01" * 20)


@pytest.fixture
def store(tmp_path):
    opened = ApiStore(tmp_path / "api.sqlite")
    yield opened
    opened.close()


def test_the_window_is_half_open(store):
    """The original took both ends, and the epoch that had just begun."""
    store.record([(999, 0, 1), (1000, 0, 10), (1999, 0, 11), (2000, 0, 100), (1500, 1, 0)])
    assert store.average(0, 1000, 2000) == Row(0, ((0, 10_500_000), (1, 0)))
    assert store.average(1, 2000, 3000) == Row(1, ((0, 100 * SCALE),))
    assert store.average(2, 3000, 4000) == Row(2, ())  # missing is missing


def test_a_reading_is_kept_once(store):
    store.record([(1000, 0, 10)])
    store.record([(1000, 0, 99)])
    assert store.average(0, 0, 5000) == Row(0, ((0, 10 * SCALE),))


def test_a_restart_wipes_nothing(tmp_path):
    path = tmp_path / "api.sqlite"
    first = ApiStore(path)
    first.record([(1000, 0, 10)])
    first.see(3)
    first.see(4)
    assert first.keep_row(b"row", 3) == b"row"
    first.keep_decision(3, StoredDecision(b"block", b"certificate", (b"one", b"two")))
    first.keep_finding(Finding(3, WINNER, True, "fine"))
    first.close()
    again = ApiStore(path)
    assert again.average(0, 0, 5000).values
    assert again.unsettled() == [4]
    assert again.found() == {3}
    assert again.has_seen(3)
    assert not again.has_seen(5)
    assert again.keep_row(b"other", 3) == b"row"  # what was sent stands
    assert again.decided(8) == [3]
    again.close()
    seen = ReadOnlyDatabase(path, api_store.APPLICATION)
    assert api_store.read_decision(seen, 3).bodies == (b"one", b"two")
    assert api_store.read_findings(seen)[3].holds
    assert api_store.read_row(seen, 3) == b"row"
    for read in (api_store.read_decision, api_store.read_row):
        with pytest.raises(NotFound):
            read(seen, 9)
    seen.close()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no database, and long enough to be read as one" * 100)
    with pytest.raises(StorageFailure):
        ApiStore(tmp_path / "text")
    Database(tmp_path / "other", 7, "CREATE TABLE t (x);").close()
    with pytest.raises(StorageFailure, match="another database"):
        ApiStore(tmp_path / "other")
    with pytest.raises(StorageFailure, match="another database"):
        ReadOnlyDatabase(tmp_path / "other", api_store.APPLICATION)
    with pytest.raises(NotFound):
        ReadOnlyDatabase(tmp_path / "nothing", api_store.APPLICATION)


class FakeClient:
    """Answers GET /contract/epoch."""

    def __init__(self, now_ms: int, genesis: int = 1000) -> None:
        self.now_ms, self.genesis, self.asked = now_ms, genesis, 0

    async def epoch(self):
        self.asked += 1
        if self.asked == 1:
            raise RemoteFault("not there yet")
        return {"genesis": self.genesis, "duration": 2, "now_ms": self.now_ms}


async def test_the_clock_follows_the_contract_and_not_the_machine():
    client = FakeClient(now_ms=1_003_999)
    clock = ContractClock(client)
    await clock.first_sync(0.0)
    assert client.asked == 2
    assert 1_003_999 <= clock.now_ms() < 1_004_500
    client.now_ms = 1_009_000
    await clock.sync()  # asked for again, not once
    assert clock.epoch() == 4
    client.genesis = 1001
    with pytest.raises(RemoteFault, match="calendar"):
        await clock.sync()


class FakeClock:
    calendar = CALENDAR

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now


@pytest.mark.parametrize(
    ("at", "tick"),
    [(0, 1_000_000), (1_000_000, 1_000_000), (1_000_001, 1_000_200), (1_000_200, 1_000_200)],
)
def test_ticks_are_aligned_to_the_epoch(at, tick):
    assert tick_ms(CALENDAR) == 2000 // TICKS
    assert next_tick_ms(CALENDAR, at) == tick


async def test_the_collector_takes_every_tick_while_it_runs_and_none_from_before(store):
    world = World(1, 4)
    clock = FakeClock(1_001_000)  # started in the middle of epoch 0
    collector = Collector(2, world, store, clock, liar=False)
    collector.begin()
    clock.now = 1_004_000
    await collector.catch_up(1_004_000)
    await collector.catch_up(1_004_000)
    for epoch, ticks in ((0, range(5, 10)), (1, range(10))):
        expected = {}
        for tick in ticks:
            for mixnode, value in world.readings(2, epoch, tick):
                expected.setdefault(mixnode, []).append(value)
        start_ms, end_ms = CALENDAR.start_us(epoch) // 1000, CALENDAR.end_us(epoch) // 1000
        averages = tuple(
            (node, sum(values) * SCALE // len(values)) for node, values in sorted(expected.items())
        )
        assert store.average(epoch, start_ms, end_ms).values == averages
    assert store.average(2, 1_004_000, 1_006_000).values == ()


async def test_a_liar_writes_extremes_down(store):
    clock = FakeClock(1_000_000)
    collector = Collector(1, World(1, 4), store, clock, liar=True)
    collector.begin()
    await collector.catch_up(1_002_000)
    row = store.average(0, 1_000_000, 1_002_000)
    assert len(row.values) == 4
    assert {value for _, value in row.values} <= {0, 100 * SCALE}
