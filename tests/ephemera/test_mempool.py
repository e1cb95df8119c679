"""The mempool: limits, order, time to live and accounts that always add up."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.messages.mempool import Mempool
from meridian.ephemera.messages.message import DATA_BYTES_MAX, MESSAGE_BYTES_MAX, SignedMessage
from meridian.ephemera.messages.settings import BlockSettings, MempoolLimits
from meridian.errors import InvalidInput, Overloaded
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address

ROOMY = MempoolLimits()


def message(number: int, sender: int = 0, size: int = 10) -> SignedMessage:
    """A message that only the mempool looks at: it checks no signature."""
    address = Address(bytes(19) + bytes((sender,)))
    return SignedMessage(address, 0, number, "label", bytes(size), bytes(64))


def add(mempool: Mempool, item: SignedMessage, now_ms: int = 0) -> bytes:
    name = sha256(item.encode())
    mempool.add(name, item, now_ms)
    return name


def labels(mempool: Mempool) -> list[int]:
    return [waiting.message.created_ms for waiting in mempool.oldest()]


def test_messages_wait_in_the_order_of_their_arrival():
    mempool = Mempool(ROOMY)
    names = [add(mempool, message(number)) for number in (3, 1, 2)]
    assert labels(mempool) == [3, 1, 2]
    mempool.remove(names[1:2])
    assert labels(mempool) == [3, 2]
    add(mempool, message(1))
    assert labels(mempool) == [3, 2, 1]


@pytest.mark.parametrize("limit", ["messages_max", "per_sender_max"])
def test_a_full_mempool_takes_no_more_until_one_leaves(limit):
    mempool = Mempool(replace(ROOMY, **{limit: 3}))
    names = [add(mempool, message(number)) for number in range(3)]
    with pytest.raises(Overloaded) as refusal:
        add(mempool, message(3))
    assert refusal.value.retry_after_s > 0
    assert labels(mempool) == [0, 1, 2]
    mempool.remove(names[:1])
    add(mempool, message(3))
    assert labels(mempool) == [1, 2, 3]


def test_one_sender_leaves_room_for_others():
    mempool = Mempool(replace(ROOMY, per_sender_max=2))
    for sender in (1, 2):
        for number in range(2):
            add(mempool, message(number, sender))
        with pytest.raises(Overloaded, match="this sender"):
            add(mempool, message(9, sender))
    assert len(mempool) == 4


def test_large_messages_of_one_sender_leave_room_for_those_of_127_others():
    """256 messages of 256 KiB would be all the bytes there are; 128 shares fit together."""
    mempool = Mempool(ROOMY)
    share = ROOMY.per_sender_bytes_max
    assert MEMBERS_MAX * share <= ROOMY.bytes_max
    most = DATA_BYTES_MAX - 200
    for sender in range(MEMBERS_MAX):
        for number in range(2):
            add(mempool, message(number, sender, most))
        with pytest.raises(Overloaded, match="this sender"):
            add(mempool, message(2, sender, most))
    assert len(mempool) == 2 * MEMBERS_MAX
    mempool.remove([mempool.oldest()[0].hash])
    add(mempool, message(3, 0, most))


def test_the_largest_message_fits_whatever_the_limits_are():
    for bytes_max in (1, 1 << 20, 64 << 20):
        assert MempoolLimits(bytes_max=bytes_max).per_sender_bytes_max >= MESSAGE_BYTES_MAX


def test_bytes_are_those_of_the_encoded_messages_up_to_the_last_one():
    size = len(message(0).encode())
    mempool = Mempool(replace(ROOMY, bytes_max=3 * size))
    names = [add(mempool, message(number)) for number in range(2)]
    with pytest.raises(Overloaded, match="full"):
        add(mempool, message(2, size=11))
    add(mempool, message(2))
    assert mempool.bytes == 3 * size
    mempool.remove(names)
    assert mempool.bytes == size


def test_data_beyond_its_limit_is_refused_for_good():
    mempool = Mempool(replace(ROOMY, data_bytes_max=10))
    add(mempool, message(0, size=10))
    with pytest.raises(InvalidInput, match="data"):
        add(mempool, message(1, size=11))


def test_what_waits_too_long_is_dropped_at_its_time():
    mempool = Mempool(replace(ROOMY, ttl_ms=100))
    assert mempool.next_expiry_ms() is None
    add(mempool, message(0), 0)
    add(mempool, message(1), 50)
    assert mempool.next_expiry_ms() == 100
    assert mempool.expire(99) == 0
    assert mempool.expire(100) == 1
    assert (labels(mempool), mempool.next_expiry_ms()) == ([1], 150)
    assert mempool.expire(10_000) == 1
    assert (len(mempool), mempool.bytes, mempool.next_expiry_ms()) == (0, 0, None)


def test_unknown_messages_are_passed_over():
    mempool = Mempool(ROOMY)
    name = add(mempool, message(0))
    mempool.remove([bytes(32), name, name])
    assert (len(mempool), mempool.bytes) == (0, 0)
    assert name not in mempool


def test_asking_for_room_takes_none():
    mempool = Mempool(replace(ROOMY, messages_max=1))
    for _ in range(3):
        mempool.check_room(message(0))
    add(mempool, message(0))
    with pytest.raises(Overloaded):
        mempool.check_room(message(1))


@pytest.mark.parametrize(
    "name", ["messages_max", "bytes_max", "per_sender_max", "data_bytes_max", "ttl_ms"]
)
def test_limits_that_allow_nothing_are_refused(name):
    with pytest.raises(InvalidInput) as refusal:
        MempoolLimits(**{name: 0})
    assert refusal.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("interval_ms", "resend_ms", "fetch_ms", "sync_ms")),
        ("slots_ahead_max", 0),
        ("member_sets_max", 0),
        ("block_messages_max", 0),
        ("block_messages_max", 8_193),
        ("block_bytes_max", 0),
        ("block_bytes_max", (1 << 20) + 1),
    ],
)
def test_settings_outside_their_bounds_are_refused(name, value):
    with pytest.raises(InvalidInput) as refusal:
        BlockSettings(**{name: value})
    assert refusal.value.field == name


# ----------------------------------------------------------------------------- against a model


@dataclass(frozen=True)
class Entry:
    """A waiting message, as the model knows it."""

    name: bytes
    sender: int
    number: int
    size: int
    expires_ms: int


class MempoolMachine(RuleBasedStateMachine):
    """Any sequence of arrivals, removals and time, against a list."""

    SENDERS = 3

    @initialize(
        messages=st.integers(1, 8),
        per_sender=st.integers(1, 4),
        bytes_=st.integers(200, 1_200),
        ttl_ms=st.integers(1, 50),
    )
    def begin(self, messages, per_sender, bytes_, ttl_ms):
        self.limits = MempoolLimits(messages, bytes_, per_sender, 40, ttl_ms)
        self.mempool = Mempool(self.limits)
        self.model: list[Entry] = []
        self.gone: list[bytes] = []
        self.now_ms = self.number = 0

    @rule(sender=st.integers(0, SENDERS - 1), size=st.integers(0, 45))
    def arrive(self, sender, size):
        self.number += 1
        item = message(self.number, sender, size)
        encoded = len(item.encode())
        if size > self.limits.data_bytes_max:
            expected: type[Exception] | None = InvalidInput
        elif (
            len(self.model) == self.limits.messages_max
            or sum(e.sender == sender for e in self.model) == self.limits.per_sender_max
            or sum(e.size for e in self.model) + encoded > self.limits.bytes_max
        ):
            expected = Overloaded
        else:
            expected = None
        if expected is None:
            name = add(self.mempool, item, self.now_ms)
            expires_ms = self.now_ms + self.limits.ttl_ms
            self.model.append(Entry(name, sender, self.number, encoded, expires_ms))
        else:
            with pytest.raises(expected):
                add(self.mempool, item, self.now_ms)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data):
        names = [entry.name for entry in self.model] + self.gone[-2:]
        chosen = data.draw(st.lists(st.sampled_from(names), max_size=4))
        self.mempool.remove(chosen)
        self._keep([entry for entry in self.model if entry.name not in chosen])

    @rule(ms=st.integers(0, 40))
    def wait(self, ms):
        self.now_ms += ms
        kept = [entry for entry in self.model if entry.expires_ms > self.now_ms]
        assert self.mempool.expire(self.now_ms) == len(self.model) - len(kept)
        self._keep(kept)

    def _keep(self, kept: list[Entry]) -> None:
        self.gone += [entry.name for entry in self.model if entry not in kept]
        self.model = kept

    @invariant()
    def it_is_the_model(self):
        waiting = self.mempool.oldest()
        assert [w.hash for w in waiting] == [entry.name for entry in self.model]
        assert [w.size_bytes for w in waiting] == [entry.size for entry in self.model]
        assert labels(self.mempool) == [entry.number for entry in self.model]
        assert len(self.mempool) == len(self.model)
        assert self.mempool.bytes == sum(entry.size for entry in self.model)
        first = min((entry.expires_ms for entry in self.model), default=None)
        assert self.mempool.next_expiry_ms() == first
        assert all(entry.name in self.mempool for entry in self.model)
        assert not any(name in self.mempool for name in self.gone)

    @invariant()
    def it_is_bounded(self):
        assert len(self.mempool) <= self.limits.messages_max
        assert self.mempool.bytes <= self.limits.bytes_max
        senders = {entry.sender for entry in self.model}
        assert len(self.mempool._per_sender) == len(self.mempool._bytes_per_sender) == len(senders)


TestMempoolAgainstAModel = MempoolMachine.TestCase
TestMempoolAgainstAModel.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
