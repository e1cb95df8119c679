"""The replicated store: one spelling of a write, one value for any order of deliveries, a clock that nobody uses up."""

import itertools
from dataclasses import replace

import pytest
from cluster import context, keys
from hypothesis import given
from hypothesis import strategies as st

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import Send
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Broadcast, Delivered, Persist
from meridian.ephemera.messages.hooks import AcceptAll
from meridian.ephemera.messages.message import Realm
from meridian.ephemera.messages.replica import BlockReplica
from meridian.ephemera.messages.settings import BlockSettings
from meridian.ephemera.messages.store_channel import (
    CLOCK_AHEAD_MAX,
    CLOCK_MAX,
    KEY_BYTES_MAX,
    STORE_CHANNEL,
    VALUE_BYTES_MAX,
    StoreChannel,
    StoreEntry,
    entry_digest,
)
from meridian.errors import InvalidInput, StorageFailure
from meridian.primitives.hashing import sha256
from meridian.sim.broadcast_hosts import MemoryArchive

CONTEXT = context(4)
ENTRIES = st.builds(
    StoreEntry,
    st.binary(min_size=1, max_size=20),
    st.binary(max_size=40),
    st.integers(1, CLOCK_MAX),
)


def delivery(sender: int, number: int, entry: StoreEntry, made: Context = CONTEXT) -> Delivered:
    slot, payload = Slot(STORE_CHANNEL, sender, number), entry.encode()
    return Delivered(
        made.epoch, slot, payload, DeliveryCertificate(slot, entry_digest(payload), ())
    )


def store_of(deliveries: list[Delivered]) -> dict[bytes, tuple[int, bytes, bytes]]:
    archive = MemoryArchive(CONTEXT)
    for delivered in deliveries:
        archive.add(delivered)
    return archive.values


# ------------------------------------------------------------------------------------- the bytes


@given(ENTRIES)
def test_a_write_has_one_spelling(entry):
    data = entry.encode()
    assert StoreEntry.decode(data) == entry
    assert entry_digest(data) == sha256(b"\x1d" + data)
    for other in (data[:-1], data + b"\x00", b""):
        with pytest.raises(InvalidInput):
            StoreEntry.decode(other)


@given(ENTRIES, st.data())
def test_a_changed_bit_is_another_write_or_none(entry, data):
    encoded = entry.encode()
    at = data.draw(st.integers(0, 8 * len(encoded) - 1))
    changed = bytearray(encoded)
    changed[at // 8] ^= 1 << at % 8
    try:
        other = StoreEntry.decode(bytes(changed))
    except InvalidInput:
        return
    assert other != entry
    assert other.encode() == changed


def test_the_largest_write_passes_and_one_byte_more_does_not():
    key, value = bytes(KEY_BYTES_MAX), bytes(VALUE_BYTES_MAX)
    largest = StoreEntry(key, value, CLOCK_MAX)
    assert StoreEntry.decode(largest.encode()) == largest
    for field, wrong in (
        ("key", (key + b"\x00", value, 1)),
        ("key", (b"", value, 1)),
        ("value", (key, value + b"\x00", 1)),
        ("clock", (key, value, 0)),
        ("clock", (key, value, CLOCK_MAX + 1)),
    ):
        with pytest.raises(InvalidInput) as refusal:
            StoreEntry(*wrong)
        assert refusal.value.field == field


# --------------------------------------------------------------------------------- the last write


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([b"a", b"b"]),
            st.binary(max_size=2),
            st.integers(1, 4),
        ),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_of_deliveries_gives_the_same_store(writes, order):
    """Also with equal clocks, equal writers and both: the rank is a total order."""
    deliveries = [
        delivery(sender, at + 1, StoreEntry(key, value, clock))
        for at, (sender, key, value, clock) in enumerate(writes)
    ]
    shuffled = list(deliveries)
    order.shuffle(shuffled)
    assert store_of(shuffled) == store_of(deliveries)


def test_clock_then_writer_then_value_decide():
    low, high = StoreEntry(b"k", b"z", 1), StoreEntry(b"k", b"a", 2)
    same, larger = StoreEntry(b"k", b"x", 2), StoreEntry(b"k", b"y", 2)
    for deliveries, value in (
        ([delivery(3, 1, low), delivery(0, 1, high)], b"a"),
        ([delivery(1, 1, high), delivery(0, 1, same)], b"a"),
        ([delivery(1, 1, same), delivery(1, 2, larger)], b"y"),
    ):
        for order in itertools.permutations(deliveries):
            assert store_of(list(order))[b"k"][2] == value


# --------------------------------------------------------------------------------------- the clock


def test_a_write_is_later_than_all_that_its_writer_has_seen():
    archive = MemoryArchive(CONTEXT)
    channel = StoreChannel(archive)
    assert channel.next_entry(b"k", b"v").clock == 1
    seen = delivery(2, 1, StoreEntry(b"other", b"", 7))
    channel.deliver(seen.slot, seen.payload, seen.certificate)
    assert channel.next_entry(b"k", b"v").clock == 8


def test_a_write_delivered_in_another_member_set_counts():
    """The archive is that of all member sets: a newer set does not fall behind an older one."""
    archive = MemoryArchive(CONTEXT)
    channel = StoreChannel(archive)
    archive.add(delivery(2, 1, StoreEntry(b"other", b"", 7)))
    assert channel.next_entry(b"k", b"v").clock == 8


def test_nobody_can_use_up_the_clock():
    """One write with the last clock would forbid all later ones for ever; no correct member echoes it."""
    channel = StoreChannel(MemoryArchive(CONTEXT))
    slot = Slot(STORE_CHANNEL, 3, 1)
    for clock, accepted in (
        (1, True),
        (CLOCK_AHEAD_MAX, True),
        (CLOCK_AHEAD_MAX + 1, False),
        (CLOCK_MAX, False),
    ):
        assert channel.accepts(slot, StoreEntry(b"k", b"", clock).encode()) is accepted
    channel.see(StoreEntry(b"k", b"", 1))
    assert channel.accepts(slot, StoreEntry(b"k", b"", CLOCK_AHEAD_MAX + 1).encode())


def test_after_a_restart_a_write_is_later_than_the_own_one_under_way():
    key = keys(4)[0]
    own = CONTEXT.index_of(key.address)

    def opened(records):
        realm = Realm(CONTEXT.domain, CONTEXT.network)
        replica = BlockReplica(key, realm, BlockSettings(), AcceptAll(), MemoryArchive(CONTEXT))
        return replica, replica.open(CONTEXT, records, 0)

    replica, effects = opened([])
    effects += replica.put(b"k", b"first", 0)
    records = [effect.record for effect in effects if isinstance(effect, Persist)]
    replica, _ = opened(records)
    sends = [
        frames.decode(effect.frame, CONTEXT)
        for effect in replica.put(b"k", b"second", 0)
        if isinstance(effect, Broadcast)
    ]
    (send,) = [message for message in sends if isinstance(message, Send)]
    assert send.slot == Slot(STORE_CHANNEL, own, 2)
    assert StoreEntry.decode(send.payload) == StoreEntry(b"k", b"second", 2)


def test_records_of_writes_that_cannot_be_read_stop_the_node():
    key = keys(4)[0]
    realm = Realm(CONTEXT.domain, CONTEXT.network)
    first = BlockReplica(key, realm, BlockSettings(), AcceptAll(), MemoryArchive(CONTEXT))
    effects = first.open(CONTEXT, [], 0) + first.put(b"k", b"v", 0)
    records = [effect.record for effect in effects if isinstance(effect, Persist)]
    damaged = [replace(r, value=r.value[:-1]) if r.kind == "send" else r for r in records]
    again = BlockReplica(key, realm, BlockSettings(), AcceptAll(), MemoryArchive(CONTEXT))
    with pytest.raises(StorageFailure):
        again.open(CONTEXT, damaged, 0)
