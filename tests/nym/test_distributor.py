"""The reward distributor: order, places, and what it does when the contract or an epoch does not answer."""

import asyncio
import contextlib

import pytest
from nym_world import KEYS, MIXNODES, network, submission

from meridian.audit.evidence import Link, State
from meridian.errors import NotFound, RemoteFault
from meridian.measure.epoch import Calendar
from meridian.nym import distributor
from meridian.nym.acceptance import Mode
from meridian.nym.api_store import ApiStore, Finding
from meridian.nym.distributor import AT_ONCE_MAX, Distributor

SYSTEM = network(Mode.RACE)
NOW_EPOCH = 40


class Clock:
    calendar = Calendar(1000, 1)

    async def sync(self):
        pass

    def now_ms(self):
        return (1000 + NOW_EPOCH) * 1000

    def epoch(self):
        return NOW_EPOCH


class Client:
    """A contract that has results of some epochs."""

    def __init__(self, settled):
        self.results = set(settled)
        self.asked = 0

    async def settled(self, first):
        return sorted(epoch for epoch in self.results if epoch >= first)

    async def rewards(self, epoch):
        self.asked += 1
        if self.asked % 3 == 0:
            raise RemoteFault("away")  # passes
        if epoch not in self.results:
            raise NotFound("nothing")
        return submission(SYSTEM, epoch=epoch)


class Nothing:
    async def catch_up(self, until_ms):
        pass


class Way:
    def __init__(self, client, hopeless=()):
        self.client, self.hopeless, self.rows = client, set(hopeless), {}

    async def contribute(self, epoch, row):
        self.rows[epoch] = row
        if epoch in self.hopeless:
            await asyncio.Event().wait()
        self.client.results.add(epoch)

    async def check(self, accepted):
        return [Link("result", State.HOLDS, "fine")]


async def settle(store, client, way, done):
    made = Distributor(MIXNODES, store, client, Clock(), Nothing(), way)
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(made.run(group))
            while not done(store.found()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            task.cancel()
            for running in made._tasks.values():
                running.cancel()


@pytest.fixture
def store(tmp_path):
    opened = ApiStore(tmp_path / "api.sqlite")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(distributor, "POLL_S", 0.01)
    monkeypatch.setattr(distributor, "RESYNC_S", 0.02)
    monkeypatch.setattr(distributor, "TURN_S", 0.1)


async def test_every_epoch_that_was_seen_gets_a_row_and_others_are_only_checked(store):
    for epoch in (3, 5):
        store.see(epoch)
    client = Client(settled=[4])
    way = Way(client)
    await settle(store, client, way, lambda found: found == {3, 4, 5})
    assert (
        way.rows[3].values == way.rows[5].values == ()
    )  # it ran and measured nothing: an empty row
    assert way.rows.get(4) is None


async def test_the_running_epoch_waits_and_what_was_found_is_not_done_again(store):
    for epoch in (3, NOW_EPOCH):
        store.see(epoch)
    store.keep_finding(Finding(3, KEYS[0].address, holds=True, detail="before"))
    store.see(7)
    client = Client(settled=[3])
    way = Way(client)
    await settle(store, client, way, lambda found: 7 in found)
    assert set(way.rows) == {7}


async def test_epochs_that_cannot_be_settled_do_not_hold_up_the_others(store):
    """More than all places are taken by hopeless epochs, which are older."""
    hopeless = range(AT_ONCE_MAX + 4)
    others = range(AT_ONCE_MAX + 4, AT_ONCE_MAX + 8)
    for epoch in (*hopeless, *others):
        store.see(epoch)
    client = Client(settled=[])
    way = Way(client, hopeless)
    await settle(store, client, way, lambda found: found == set(others))
    assert set(way.rows) >= set(others)
    # Somebody else settles a hopeless one: it gets its place again, and is found.
    client.results.add(0)
    await settle(store, client, way, lambda found: 0 in found)
