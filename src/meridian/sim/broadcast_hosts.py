"""Correct members of a broadcast world: the machine, the disk and the archive around a `BlockReplica`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.broadcaster import read_key
from meridian.ephemera.broadcast.frame import Echo, Send, Vote
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.effects import (
    Broadcast,
    Delivered,
    Effect,
    Forget,
    Misbehaviour,
    Persist,
    Record,
)
from meridian.ephemera.effects import Send as SendEffect
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock
from meridian.ephemera.messages.hooks import AcceptAll
from meridian.ephemera.messages.message import Realm, sign_message
from meridian.ephemera.messages.replica import BlockReplica
from meridian.ephemera.messages.settings import BlockSettings
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry
from meridian.errors import InvalidInput, Overloaded
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

Post = Callable[[int, int, bytes], None]
Delivery = tuple[bytes, DeliveryCertificate]


class MemoryArchive:
    """Deliveries in dictionaries."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._realm = Realm(context.domain, context.network)
        self.deliveries: dict[Slot, Delivery] = {}
        self._messages: set[tuple[int, bytes]] = set()
        self.values: dict[bytes, tuple[int, Address, bytes]] = {}
        """key -> (clock, writer, value)."""

    def add(self, delivered: Delivered) -> None:
        """Take a delivery, as the storage does."""
        slot = delivered.slot
        self.deliveries[slot] = (delivered.payload, delivered.certificate)
        if slot.channel == BLOCK_CHANNEL:
            for message in MessageBlock.decode(delivered.payload).message_hashes(self._realm):
                self._messages.add((slot.sender, message))
        elif slot.channel == STORE_CHANNEL:
            entry = StoreEntry.decode(delivered.payload)
            value = entry.rank(self._context.members[slot.sender])
            self.values[entry.key] = max(value, self.values.get(entry.key, value))

    def frontiers(self, epoch: int) -> Mapping[tuple[int, int], int]:
        """See `Archive`."""
        del epoch
        found: dict[tuple[int, int], int] = {}
        for slot in sorted(self.deliveries):
            found[slot.channel, slot.sender] = slot.number
        return found

    def delivery(self, epoch: int, slot: Slot) -> Delivery | None:
        """See `Archive`."""
        del epoch
        return self.deliveries.get(slot)

    def contains_message(self, epoch: int, creator: int, message_hash: bytes) -> bool:
        """See `Archive`."""
        del epoch
        return (creator, message_hash) in self._messages

    def store_clock(self) -> int:
        """See `Archive`."""
        return max((clock for clock, _, _ in self.values.values()), default=0)


class BroadcastHost:
    """A correct member."""

    def __init__(
        self,
        member: int,
        key: PrivateKey,
        context: Context,
        settings: BlockSettings,
        rng: random.Random,
        post: Post,
    ) -> None:
        self.member = member
        self.up = False
        self.wiped = False
        self.crash = 0
        """Per thousand calls: crash between two effects."""
        self.stamp = 0
        self.sent: set[Slot] = set()
        """Slots in which this member ever broadcast, or was about to broadcast, something."""
        self.evidence: list[bytes] = []
        self.violations: list[str] = []
        self._key = key
        self._context = context
        self._settings = settings
        self._rng = rng
        self._post = post
        self._realm = Realm(context.domain, context.network)
        self._disk: dict[tuple[str, bytes], Record] = {}
        self._archive = MemoryArchive(context)
        self._said: dict[tuple[str, Slot], bytes] = {}
        self._replica = self._new_replica()

    @property
    def delivered(self) -> Mapping[Slot, Delivery]:
        """What this member has delivered."""
        return self._archive.deliveries

    def store(self) -> dict[bytes, tuple[int, Address, bytes]]:
        """The key-value store as this member sees it."""
        return self._archive.values

    def start(self, now_ms: int, *, observer: bool) -> None:
        """Open the member set with what the disk holds."""
        self.up = True
        self._replica = self._new_replica()
        records = list(self._disk.values())
        self._do(self._replica.open(self._context, records, now_ms, observer=observer))

    def lose_disk(self) -> None:
        """The machine comes back with an empty disk and knows it."""
        self._disk.clear()
        self._archive = MemoryArchive(self._context)
        self.wiped = True
        self.up = False

    def submit(self, now_ms: int, label: str) -> None:
        """Submit a message of this member."""
        data = self._rng.randbytes(self._rng.randint(1, 40))
        message = sign_message(
            self._realm, self._key, number=1, created_ms=now_ms, label=label, data=data
        )
        self._do(self._replica.submit(message, now_ms))

    def put(self, now_ms: int, key: bytes, value: bytes) -> None:
        """Write to the store, unless this member observes or is too busy."""
        try:
            self._do(self._replica.put(key, value, now_ms))
        except (InvalidInput, Overloaded):
            return

    def receive(self, now_ms: int, sender: int, frame: bytes) -> None:
        """Take a frame."""
        self._do(self._replica.receive(self._context.members[sender], frame, now_ms))

    def wake(self, now_ms: int) -> None:
        """Do what is due."""
        self._do(self._replica.tick(now_ms, now_ms))

    def wake_ms(self) -> int | None:
        """When to be woken."""
        return self._replica.next_deadline_ms() if self.up else None

    def _new_replica(self) -> BlockReplica:
        return BlockReplica(self._key, self._realm, self._settings, AcceptAll(), self._archive)

    def _do(self, effects: list[Effect]) -> None:
        if self.crash and effects and self._rng.randrange(1000) < self.crash:
            effects = effects[: self._rng.randint(0, len(effects))]
            self.up = False
        for effect in effects:
            match effect:
                case Persist(record):
                    self._disk[record.kind, record.key] = record
                    if record.kind == "send":
                        self.sent.add(read_key(record.key))
                case Forget(_, kind, key):
                    self._disk.pop((kind, key), None)
                case Delivered():
                    self._archive.add(effect)
                    for kind in ("send", "payload", "echo", "vote"):
                        self._disk.pop((kind, effect.slot.key()), None)
                case SendEffect(to, frame, _):
                    self._send(self._context.members.index(to), frame)
                case Broadcast(members, frame):
                    for to in members:
                        self._send(self._context.members.index(to), frame)
                case Misbehaviour():
                    self.evidence.append(effect.evidence)
                case _:
                    pass

    def _send(self, to: int, frame: bytes) -> None:
        """A correct member says one thing per kind and slot, in all its lives."""
        message = frames.decode(frame, self._context)
        match message:
            case Send(slot, signature, payload):
                said = payload if slot.channel == STORE_CHANNEL else signature
            case Echo(_, slot, said, _) | Vote(_, slot, said, _):
                pass
            case _:
                self._post(self.member, to, frame)
                return
        if self._said.setdefault((type(message).__name__, slot), said) != said:
            self.violations.append(f"equivocation: {type(message).__name__} in {slot}")
        self._post(self.member, to, frame)
