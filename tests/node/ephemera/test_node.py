"""Four embedded nodes over real links and disks: finalise, store, restart, catch up, change members, lose a disk."""

import asyncio
import shutil

import pytest
from members import KEYS, REALM, SETTINGS, Heard, Network, message
from mesh import NETWORK, until, within

from meridian.ephemera.broadcast.slot import verify_delivery
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Decided
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.ephemera.storage import BlockQuery, FinalisedBlock, StoredEntry
from meridian.node.ephemera.subscribers import Lost, Subscribers
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog


async def finalised(node: EphemeraNode, wanted: SignedMessage) -> FinalisedBlock:
    """Wait until a block with the message is final at the node."""
    while True:
        found = await node.find_message(wanted.hash(REALM))
        if found is not None:
            block = await node.block(found[0])
            assert block is not None
            return block
        await asyncio.sleep(0.01)


async def read(node: EphemeraNode, key: bytes, wanted: bytes) -> StoredEntry:
    """Wait until the key has this value at the node."""
    while True:
        entry = await node.get(key)
        if entry is not None and entry.value == wanted:
            return entry
        await asyncio.sleep(0.01)


@within(90)
async def test_a_message_is_finalised_everywhere_with_a_valid_certificate(tmp_path):
    network = Network(tmp_path)
    await network.start()
    try:
        with network.nodes[2].subscribe() as blocks:
            sent = message(0, b"hello")
            await network.nodes[0].submit(sent)
            pushed = await blocks.next()
        assert isinstance(pushed, FinalisedBlock)
        for node in network.nodes.values():
            block = await node.block((await finalised(node, sent)).block.hash)
            assert block is not None
            verify_delivery(block.context, block.certificate)
            block.block.verify(block.context)
            assert sent in block.block.messages
            assert node.health().reasons == ()
            assert node.status().member_sets[0].quorum == 3
        await until(lambda: all(heard.blocks for heard in network.heard.values()))
    finally:
        await network.stop()


@within(90)
async def test_a_value_put_at_one_is_read_at_all(tmp_path):
    network = Network(tmp_path)
    await network.start()
    try:
        await network.nodes[0].put(b"key", b"one")
        for node in network.nodes.values():
            assert (await read(node, b"key", b"one")).writer == KEYS[0].address
        await network.nodes[3].put(b"key", b"two")
        for node in network.nodes.values():
            assert (await read(node, b"key", b"two")).writer == KEYS[3].address
    finally:
        await network.stop()


@within(90)
async def test_a_node_that_was_away_catches_up_and_the_application_hears_in_order(tmp_path):
    network = Network(tmp_path)
    await network.start()
    try:
        first = message(1, b"with all four")
        await network.nodes[1].submit(first)
        await finalised(network.nodes[3], first)
        await network.stop(3)
        for i in range(3):
            sent = message(i, b"while one is away")
            await network.nodes[i].submit(sent)
            await finalised(network.nodes[0], sent)
        await network.start(3)
        await finalised(network.nodes[3], sent)
        await until(lambda: len(network.heard[3].blocks) >= len(network.heard[0].blocks))
        heights: dict[int, int] = {}
        for block in network.heard[3].blocks:
            header = block.header
            assert header.height == heights.get(header.creator, 0) + 1
            heights[header.creator] = header.height
    finally:
        await network.stop()


class Failing(Heard):
    """An application that cannot take its first block."""

    def deliver_block(self, block: object, certificate: object) -> None:
        raise RuntimeError("the application is broken")


@within(90)
async def test_a_block_that_the_application_could_not_take_comes_again(tmp_path):
    network = Network(tmp_path)
    network.heard[0] = Failing()
    await network.start()
    try:
        sent = message(1, b"taken later")
        await network.nodes[1].submit(sent)
        with pytest.raises(RuntimeError, match="broken"):
            await network.nodes[0].join()
        assert any("driver" in reason for reason in network.nodes[0].health().reasons)
        with pytest.raises(RuntimeError):
            await network.stop(0)
        network.heard[0] = Heard()
        await network.start(0)
        await until(lambda: bool(network.heard[0].blocks))
        assert sent in network.heard[0].blocks[0].messages
        await network.stop(0)
        await network.start(0)
        heard = [block.hash for block in network.heard[0].blocks]
        assert len(heard) == len(set(heard))  # what it has heard is remembered
    finally:
        await network.stop()


@within(90)
async def test_a_new_member_set_goes_on_with_another_member(tmp_path):
    network = Network(tmp_path, n=5)
    await network.start(0, 1, 2, 3)
    try:
        old = message(0, b"in the first set")
        await network.nodes[0].submit(old)
        for i in range(4):
            await finalised(network.nodes[i], old)
        present = network.member_set(2, 1, 2, 3, 4)
        for i in (1, 2, 3):
            assert await network.nodes[i].change_members(present)
            assert not await network.nodes[i].change_members(present)
        with pytest.raises(InvalidInput, match="does not hold our own address"):
            await network.nodes[0].change_members(present)
        with pytest.raises(InvalidInput, match="older"):
            await network.nodes[1].change_members(network.member_set(1))
        with pytest.raises(InvalidInput, match="had other members"):
            await network.nodes[1].change_members(network.member_set(2, 0, 1, 2))
        await network.start(4, present=present)
        new = message(4, b"in the second set")
        await network.nodes[4].submit(new)
        for i in (1, 2, 3, 4):
            block = await finalised(network.nodes[i], new)
            assert block.context.epoch == 2
            verify_delivery(block.context, block.certificate)
        earlier = await finalised(network.nodes[1], old)
        verify_delivery(earlier.context, earlier.certificate)
        await network.stop(1)
        await network.start(1, present=present)
        assert network.nodes[1].storage.member_sets() == (1, 2)
        assert [s.epoch for s in network.nodes[1].status().member_sets] == [1, 2]
        await network.stop(1)
        with pytest.raises(InvalidInput, match="1 is older than 2"):
            await network.start(1)
        del network.nodes[1]
    finally:
        await network.stop()


@within(90)
async def test_a_lost_disk_observes_until_the_next_member_set(tmp_path):
    network = Network(tmp_path)
    await network.start()
    try:
        first = message(0, b"before")
        await network.nodes[0].submit(first)
        await finalised(network.nodes[3], first)
        await network.stop(3)
        shutil.rmtree(network.home(3))
        await network.start(3, set_up=False)
        await finalised(network.nodes[3], first)  # it follows ...
        assert network.nodes[3].status().member_sets[0].observer
        with pytest.raises(InvalidInput):  # ... and says nothing, also after another restart
            await network.nodes[3].put(b"k", b"v")
        await network.stop(3)
        await network.start(3)
        assert network.nodes[3].status().member_sets[0].observer
        present = network.member_set(2)
        for node in network.nodes.values():
            await node.change_members(present)
        assert [s.observer for s in network.nodes[3].status().member_sets] == [True, False]
        again = message(3, b"after")
        await network.nodes[3].submit(again)
        block = await finalised(network.nodes[0], again)
        assert block.context.epoch == 2
    finally:
        await network.stop()


@within(90)
async def test_unhealthy_below_a_quorum(tmp_path):
    network = Network(tmp_path)
    await network.start(0, 1)
    try:
        await until(lambda: network.nodes[0].connected() == {KEYS[1].address})
        assert network.nodes[0].health().reasons == ("2 of 4 members connected, 3 needed",)
    finally:
        await network.stop()


@within(90)
async def test_frames_of_the_agreement_go_nowhere_without_one(tmp_path):
    network = Network(tmp_path)
    await network.start(0)
    try:
        node = network.nodes[0]
        for frame in (b"", b"\1", b"\1\1"):
            node._on_frame(KEYS[1].address, frame)
        assert node.statistics()["node"]["frames_unknown"] == 3
        node._on_frame(KEYS[1].address, b"\1\x21garbage")
        await until(lambda: node.statistics()["blocks"]["frames_rejected"] == 1)
        assert sum(node.statistics()["rejects"].values()) == 1
    finally:
        await network.stop()


class AnyRow:
    """The application of the agreement: takes every row."""

    def check_row(self, epoch: int, member: object, body: bytes) -> str | None:
        return None


@within(90)
async def test_the_agreement_shares_the_links(tmp_path):
    network = Network(tmp_path)
    context = Context(REALM.domain, NETWORK, 7, tuple(key.address for key in KEYS[:4]))
    decided: list[Decided] = []
    drivers, logs = [], []
    for i in range(4):
        logs.append(SafetyLog(tmp_path / f"log-{i}", network=NETWORK, member=KEYS[i].address))
        drivers.append(
            ReplicaDriver(
                Replica(KEYS[i], Timing(), Limits(), AnyRow()),
                logs[i],
                on_decided=decided.append,
                on_attested=print,
                on_misbehaviour=print,
            )
        )
        await network.start(i, agreement=drivers[i])
    try:
        for i, driver in enumerate(drivers):
            await driver.open_epoch(context)
            await driver.submit_row(7, b"row of %d" % i)
        sent = message(0, b"meanwhile")
        await network.nodes[0].submit(sent)
        await finalised(network.nodes[3], sent)
        await until(lambda: len(decided) == 4)
        assert len({effect.block.encode() for effect in decided}) == 1
        assert network.nodes[0].statistics()["agreement"]["frames_taken"] > 0
    finally:
        await network.stop()
        for log in logs:
            log.close()


@within(90)
async def test_a_slow_subscriber_is_told_how_many_it_lost(tmp_path):
    network = Network(tmp_path)
    await network.start()
    try:
        with network.nodes[0].subscribe(blocks_max=2) as slow:
            for i in range(4):
                sent = message(i, b"block")
                await network.nodes[i].submit(sent)
                await finalised(network.nodes[0], sent)
            blocks = await network.nodes[0].blocks(BlockQuery())
            lost = await slow.next()
            assert lost == Lost(len(blocks) - 2)
            assert [await slow.next(), await slow.next()] == list(blocks[-2:])
    finally:
        await network.stop()


@within(90)
async def test_a_subscriber_hears_the_end():
    subscribers = Subscribers()
    with subscribers.subscribe() as subscription:
        subscribers.end()
        assert await subscription.next() is None
    assert len(subscribers) == 0


@within(90)
async def test_a_stranger_does_not_start(tmp_path):
    network = Network(tmp_path, n=5)
    with pytest.raises(InvalidInput, match="own address"):
        await network.start(4)
    assert network.nodes.pop(4).storage.failure == "closed"


def test_setting_up_again_changes_nothing(tmp_path):
    for _ in range(2):
        Home.set_up(tmp_path / "home", network=NETWORK, member=KEYS[0].address)
    home = Home(tmp_path / "home", network=NETWORK, member=KEYS[0].address)
    assert home.observe_through(7) == -1
    home.storage.close()
    assert SETTINGS.producer
