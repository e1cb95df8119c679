"""The storage keeps what follows from a delivery together, belongs to one process, and stops at the first error."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from members import KEYS, REALM, message
from mesh import NETWORK

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Delivered, Persist, Record
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock, make_block
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry
from meridian.errors import StorageFailure
from meridian.node.ephemera.sqlite_storage import SqliteStorage
from meridian.node.ephemera.storage import BlockQuery
from meridian.primitives.ids import Address

MEMBERS = tuple(key.address for key in KEYS[:4])
CONTEXT = Context(REALM.domain, NETWORK, 3, MEMBERS)


def opened(folder: Path, **changes: object) -> SqliteStorage:
    arguments = {"network": NETWORK, "member": MEMBERS[0]} | changes
    storage = SqliteStorage(folder / "ephemera.sqlite", **arguments)  # type: ignore[arg-type]
    storage.remember_member_set(CONTEXT)
    return storage


def block(creator: int, height: int, *data: bytes) -> MessageBlock:
    messages = [message(creator, item) for item in data]
    return make_block(CONTEXT, creator, height, bytes(32), 1_000 + height, messages)


def delivered(value: MessageBlock) -> Delivered:
    slot = Slot(BLOCK_CHANNEL, value.header.creator, value.header.height)
    votes = tuple((i, bytes([i]) * 64) for i in range(3))
    return Delivered(3, slot, value.encode(), DeliveryCertificate(slot, value.hash, votes))


def written(sender: int, number: int, entry: StoreEntry) -> Delivered:
    slot = Slot(STORE_CHANNEL, sender, number)
    return Delivered(3, slot, entry.encode(), DeliveryCertificate(slot, bytes(32), ()))


def test_a_delivered_block_is_found_by_everything_that_names_it(tmp_path):
    storage = opened(tmp_path)
    first, second, other = block(1, 1, b"a", b"b"), block(1, 2, b"c"), block(2, 1, b"d")
    blocks = storage.commit([delivered(first), delivered(other)], 0)
    blocks += storage.commit([delivered(second)], 0)
    storage.close()

    storage = opened(tmp_path)
    assert [b.sequence for b in blocks] == [1, 2, 3]
    assert storage.block(first.hash) == blocks[0]
    assert storage.block(b"\0" * 32) is None
    assert storage.block_at(3, MEMBERS[1], 2) == blocks[2]
    assert storage.block_at(4, MEMBERS[1], 2) is None
    assert storage.last_block() == blocks[2]
    assert storage.last_block(MEMBERS[2]) == blocks[1]
    assert storage.last_block(MEMBERS[3]) is None
    assert storage.blocks(BlockQuery(after=1)) == blocks[1:]
    assert storage.blocks(BlockQuery(creator=MEMBERS[1], limit=1)) == blocks[:1]
    assert storage.blocks(BlockQuery(creator=MEMBERS[1], from_height=2)) == blocks[2:]
    assert storage.blocks(BlockQuery(epoch=4)) == ()
    assert storage.find_message(other.messages[0].hash(REALM)) == (other.hash, 0)
    assert storage.find_message(first.messages[1].hash(REALM)) == (first.hash, 1)
    assert storage.contains_message(3, 1, first.messages[0].hash(REALM))
    assert not storage.contains_message(3, 2, first.messages[0].hash(REALM))
    assert storage.frontiers(3) == {(BLOCK_CHANNEL, 1): 2, (BLOCK_CHANNEL, 2): 1}
    assert storage.delivery(3, first.header.slot) == (first.encode(), blocks[0].certificate)
    assert storage.delivery(3, Slot(BLOCK_CHANNEL, 3, 1)) is None
    assert storage.counts().blocks_by_creator == {MEMBERS[1]: 2, MEMBERS[2]: 1}
    storage.close()


def test_frontiers_follow_commits_while_it_is_open(tmp_path):
    storage = opened(tmp_path)
    assert storage.frontiers(3) == {}
    storage.commit([delivered(block(1, 1))], 0)
    assert storage.frontiers(3) == {(BLOCK_CHANNEL, 1): 1}
    storage.close()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_key_keeps_its_highest_clock_then_its_highest_writer_in_any_order(tmp_path, order):
    storage = opened(tmp_path)
    writes = [
        written(3, 1, StoreEntry(b"k", b"early", 1)),
        written(1, 1, StoreEntry(b"k", b"late, low", 2)),
        written(2, 1, StoreEntry(b"k", b"late, high", 2)),
    ]
    storage.commit([writes[i] for i in order], 0)
    entry = storage.entry(b"k")
    assert entry is not None
    assert (entry.value, entry.clock, entry.writer) == (b"late, high", 2, MEMBERS[2])
    assert storage.store_clock() == 2
    assert storage.entry(b"other") is None
    storage.commit([written(0, 1, StoreEntry(b"k", b"", 3))], 0)
    assert storage.entry(b"k") is None
    assert storage.store_clock() == 3
    storage.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_writes_with_one_clock_and_writer_are_settled_by_the_value(tmp_path, order):
    """A Byzantine writer may make such a pair; without a total order members would keep what came first."""
    storage = opened(tmp_path)
    writes = [written(2, n + 1, StoreEntry(b"k", value, 2)) for n, value in enumerate((b"b", b"a"))]
    storage.commit([writes[i] for i in order], 0)
    entry = storage.entry(b"k")
    assert entry is not None
    assert entry.value == b"b"
    storage.close()


def test_records_of_a_delivered_slot_go_and_others_stay(tmp_path):
    storage = opened(tmp_path)
    slot = Slot(BLOCK_CHANNEL, 1, 1)
    kept = Record(3, "vote", Slot(BLOCK_CHANNEL, 2, 1).key(), b"kept")
    storage.commit([Persist(Record(3, "vote", slot.key(), b"gone")), Persist(kept)], 0)
    storage.commit([delivered(block(1, 1))], 0)
    assert storage.load(3) == (kept,)
    storage.forget_records(3)
    assert storage.load(3) == ()
    storage.close()


def test_what_the_application_has_heard_is_remembered(tmp_path):
    storage = opened(tmp_path)
    blocks = storage.commit([delivered(block(1, 1)), delivered(block(1, 2))], 0)
    assert storage.untold(10) == blocks
    assert storage.untold(1) == blocks[:1]
    storage.commit([delivered(block(1, 3))], 1)
    storage.note_told(2)
    storage.note_told(1)
    storage.close()
    storage = opened(tmp_path)
    assert [b.sequence for b in storage.untold(10)] == [3]
    storage.close()


def test_member_sets_stay_and_contradict_each_other_loudly(tmp_path):
    opened(tmp_path).close()
    storage = opened(tmp_path)
    assert storage.member_set(3) == CONTEXT
    assert storage.member_sets() == (3,)
    with pytest.raises(StorageFailure, match="another one is stored"):
        storage.remember_member_set(Context(REALM.domain, NETWORK, 3, MEMBERS[:3]))
    storage.close()


def test_one_process_one_member_one_network(tmp_path):
    storage = opened(tmp_path)
    with pytest.raises(StorageFailure, match="locked"):
        opened(tmp_path)
    storage.close()
    with pytest.raises(StorageFailure, match="of 0x"):
        opened(tmp_path, member=MEMBERS[1])
    with pytest.raises(StorageFailure, match="of network"):
        opened(tmp_path, network=bytes(32))


def test_another_database_or_schema_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "ephemera.sqlite") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StorageFailure, match="some other database"):
        opened(tmp_path)
    (tmp_path / "ephemera.sqlite").unlink()
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "ephemera.sqlite") as ours:
        ours.execute("PRAGMA user_version=9")
    ours.close()
    with pytest.raises(StorageFailure, match="schema 9"):
        opened(tmp_path)


def test_after_the_first_error_nothing_works_any_more(tmp_path):
    storage = opened(tmp_path)
    storage.commit([delivered(block(1, 1))], 0)
    with pytest.raises(StorageFailure, match="UNIQUE"):
        storage.commit([delivered(block(1, 1))], 0)
    assert storage.failure is not None
    for call in (
        lambda: storage.commit([], 0),
        lambda: storage.load(3),
        lambda: storage.block(bytes(32)),
    ):
        with pytest.raises(StorageFailure, match="unusable after"):
            call()
    storage.close()


CHILD = """
import sys
from pathlib import Path
from test_sqlite_storage import block, delivered, opened
from meridian.ephemera.effects import Persist, Record
storage = opened(Path(sys.argv[1]))
height = 1
while True:
    value = block(1, height, b"message %d" % height)
    storage.commit([Persist(Record(3, "vote", b"x", b"%d" % height)), delivered(value)], height - 1)
    print(height, flush=True)
    height += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 20])
def test_kill_9_leaves_every_acknowledged_transaction_whole(tmp_path, acknowledged):
    here = Path(__file__).parent
    path = os.pathsep.join([*sys.path, str(here)])
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
    )
    assert child.stdout is not None
    seen = 0
    while seen < acknowledged:
        seen = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    rest = child.stdout.read().split()
    child.stdout.close()
    last = int(rest[-1]) if rest else seen

    storage = opened(tmp_path)
    blocks = storage.blocks(BlockQuery())
    assert len(blocks) in {last, last + 1}  # the one under way is there whole, or not at all
    for finalised in blocks:
        name = finalised.block.messages[0].hash(REALM)
        assert storage.find_message(name) == (finalised.block.hash, 0)
    assert storage.load(3)[0].value == b"%d" % len(blocks)
    assert [b.sequence for b in storage.untold(5)] == [len(blocks)]
    storage.close()


def test_addresses_come_back_as_addresses(tmp_path):
    storage = opened(tmp_path)
    (finalised,) = storage.commit([delivered(block(2, 1))], 0)
    assert finalised.creator == Address(MEMBERS[2])
    storage.close()


def test_large_blocks_make_short_pages(tmp_path):
    storage = opened(tmp_path)
    storage.commit([delivered(block(1, i, bytes(1_000))) for i in range(1, 6)], 0)
    assert [len(storage.blocks(BlockQuery(bytes_max=n))) for n in (1, 1_500, 10_000)] == [1, 2, 5]
    storage.close()
