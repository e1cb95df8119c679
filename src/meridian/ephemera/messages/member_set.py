"""One member's part in one member set: its blocks, its writes to the store, and the gossip of messages.

Law: input is taken whole or refused whole, and what fits is followed by all steps that became possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.ephemera import journal
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.broadcaster import Broadcaster, read_key
from meridian.ephemera.broadcast.channel import Pace
from meridian.ephemera.broadcast.frame import (
    Accusation,
    BroadcastMessage,
    Certified,
    Echo,
    Fetch,
    Frontier,
    Gossip,
    Payload,
    Send,
    Vote,
)
from meridian.ephemera.broadcast.seat import BroadcastSeat
from meridian.ephemera.broadcast.slot import Kind, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Effect, Forget, Record, Rejected
from meridian.ephemera.messages.block import BLOCK_CHANNEL
from meridian.ephemera.messages.block_channel import BlockChannel
from meridian.ephemera.messages.hooks import Hooks
from meridian.ephemera.messages.intake import Intake
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.messages.producer import Producer
from meridian.ephemera.messages.settings import BlockSettings
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreChannel, StoreEntry
from meridian.errors import InvalidInput, Overloaded, StorageFailure
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

TOLD_MAX = 10
"""How often an own submission is told to the others."""


@dataclass(frozen=True, slots=True)
class MemberSetStatus:
    """What a member set has and what it waits for; for the operator, not for the protocol."""

    epoch: int
    observer: bool
    members: int
    quorum: int
    frontiers: dict[tuple[int, int], int]
    """(channel, sender index) -> last delivered number."""
    unfinished: tuple[Slot, ...]
    refusal: str
    """Why the application did not want the last own block."""
    heard: tuple[int, ...]
    """Other members from whom something acceptable came, by index."""


class MemberSet:
    """Blocks, store and gossip among one set of members."""

    def __init__(
        self,
        key: PrivateKey,
        context: Context,
        settings: BlockSettings,
        hooks: Hooks,
        archive: Archive,
        intake: Intake,
    ) -> None:
        self.context = context
        self._settings = settings
        self._hooks = hooks
        self._intake = intake
        self._seat = BroadcastSeat(key, context)
        self._store = StoreChannel(archive)
        self._blocks = BlockChannel(
            context,
            self._seat.own,
            hooks,
            archive,
            settings.clients | set(context.members),
            self._forget,
            producer=settings.producer,
        )
        pace = Pace(
            settings.resend_ms, settings.fetch_ms, settings.sync_ms, settings.slots_ahead_max
        )
        self._broadcaster = Broadcaster(self._seat, (self._blocks, self._store), archive, pace)
        self._producer: Producer | None = None
        self._heard: set[int] = set()
        self._gossip: dict[bytes, tuple[int, int]] = {}
        """Own submissions that are told again: hash -> (when, how often told)."""
        self._submitted: set[bytes] = set()
        """Own submissions that are on disk: an acknowledged message outlives a crash."""

    def start(self, records: Sequence[Record], now_ms: int, *, observer: bool) -> list[Effect]:
        """Begin, or go on from what was persisted; raises StorageFailure on unreadable records."""
        seat = self._seat
        try:
            remembered = self._remember(records)
        except InvalidInput as error:
            raise StorageFailure(f"records of member set {self.context.epoch}: {error}") from error
        seat.observer = observer or bool(remembered)
        if remembered is None or seat.observer != remembered:
            seat.persist_context()
        self._producer = Producer(
            self.context,
            seat.own,
            self._settings,
            self._hooks,
            self._intake.mempool,
            self._blocks,
            now_ms,
        )
        self._broadcaster.start(records, now_ms)
        for record in records:
            if record.kind == "message":
                self._submit_again(record, now_ms)
        return seat.take()

    def submit(self, message: SignedMessage, now_ms: int) -> list[Effect]:
        """Take an own submission into the mempool and tell the others; see `BlockReplica.submit`."""
        self._blocks.begin()
        message_hash = message.hash(self._blocks.realm)
        if self._blocks.delivered_message(self._seat.own, message_hash):
            raise InvalidInput("replay", "the message stands in a block of this node already")
        self._intake.admit(message_hash, message, self._senders(), now_ms)
        self._seat.persist("message", message_hash, message.encode())
        self._submitted.add(message_hash)
        self._tell(message_hash, message, now_ms)
        return self._seat.take()

    def put(self, key: bytes, value: bytes, now_ms: int) -> list[Effect]:
        """Write to the store; see `BlockReplica.put`."""
        self._blocks.begin()
        entry = self._store.next_entry(key, value)
        slot = self._broadcaster.next_own(STORE_CHANNEL)
        self._store.see(entry)
        self._broadcaster.submit(slot, entry.encode(), now_ms)
        return self._seat.take()

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        """Take a frame; size, version and kind are checked already."""
        self._blocks.begin()
        member = self.context.index_of(sender)
        if member is None or member == self._seat.own:
            return [Rejected(sender, "sender", "is not another member of the set")]
        try:
            self._handle(member, frames.decode(frame, self.context), now_ms)
        except InvalidInput as refusal:
            return [*self._seat.take(), Rejected(sender, refusal.field, refusal.reason)]
        except Overloaded as refusal:
            return [*self._seat.take(), Rejected(sender, "mempool", str(refusal))]
        self._heard.add(member)
        return self._seat.take()

    def tick(self, now_ms: int, wall_ms: int, *, produce: bool) -> list[Effect]:
        """Do what is due; only the newest member set produces."""
        self._blocks.begin()
        self._broadcaster.tick(now_ms)
        self._tell_again(now_ms)
        self._forget_submitted()
        if produce:
            self._produce(now_ms, wall_ms)
        return self._seat.take()

    def next_deadline_ms(self, *, produce: bool) -> int | None:
        """When `tick` has something to do."""
        deadlines = [self._broadcaster.next_deadline_ms()]
        deadlines += [due_ms for due_ms, _ in self._gossip.values()]
        if produce and self._may_produce():
            assert self._producer is not None
            deadlines.append(self._producer.due_ms)
        return min((due for due in deadlines if due is not None), default=None)

    def status(self) -> MemberSetStatus:
        """A snapshot for the operator."""
        return MemberSetStatus(
            epoch=self.context.epoch,
            observer=self._seat.observer,
            members=self.context.n,
            quorum=self.context.quorum,
            frontiers=self._broadcaster.frontiers(),
            unfinished=self._broadcaster.unfinished(),
            refusal="" if self._producer is None else self._producer.refusal,
            heard=tuple(sorted(self._heard)),
        )

    def _remember(self, records: Sequence[Record]) -> bool | None:
        """Take back evidence and own writes; return whether this member observed, None if it is new here."""
        observed = None
        for record in records:
            if record.kind == "context":
                own = self.context.members[self._seat.own]
                observed = journal.read_context(self.context, own, record.value)
            elif record.kind == "evidence":
                self._seat.remember(record.value)
            elif record.kind == "send" and read_key(record.key).channel == STORE_CHANNEL:
                # It may be under way still; the next own write must be later.
                self._store.see(StoreEntry.decode(record.value))
        if records and observed is None:
            raise InvalidInput("context", "the record is missing")
        return observed

    def _handle(self, member: int, message: BroadcastMessage, now_ms: int) -> None:
        broadcaster = self._broadcaster
        match message:
            case Send():
                broadcaster.on_send(message, now_ms)
            case Echo():
                broadcaster.on_ballot(Kind.ECHO, message, now_ms)
            case Vote():
                broadcaster.on_ballot(Kind.VOTE, message, now_ms)
            case Certified(certificate):
                broadcaster.on_certified(member, certificate, now_ms)
            case Fetch():
                broadcaster.on_fetch(member, message, now_ms)
            case Payload():
                broadcaster.on_payload(message, now_ms)
            case Frontier():
                broadcaster.on_frontier(member, message, now_ms)
            case Accusation():
                broadcaster.on_accusation(message)
            case Gossip(data):
                self._hear(SignedMessage.decode(data), now_ms)

    def _hear(self, message: SignedMessage, now_ms: int) -> None:
        """Another member's submission; one that is known is no news."""
        message_hash = message.hash(self._blocks.realm)
        if message_hash in self._intake.mempool:
            return
        if self._blocks.delivered_message(self._seat.own, message_hash):
            return
        self._intake.admit(message_hash, message, self._senders(), now_ms)

    def _senders(self) -> frozenset[Address]:
        return self._settings.clients | set(self.context.members)

    def _may_produce(self) -> bool:
        return (
            self._settings.producer
            and not self._seat.observer
            and not self._broadcaster.own_under_way(BLOCK_CHANNEL)
        )

    def _produce(self, now_ms: int, wall_ms: int) -> None:
        if not self._may_produce():
            return
        assert self._producer is not None
        slot = self._broadcaster.next_own(BLOCK_CHANNEL)
        block = self._producer.try_block(slot.number, now_ms, wall_ms)
        if block is not None:
            self._broadcaster.submit(slot, block.encode(), now_ms)

    def _submit_again(self, record: Record, now_ms: int) -> None:
        """Take back a submission that was acknowledged before a restart, unless it has found its block."""
        message = SignedMessage.decode(record.value)
        message_hash = message.hash(self._blocks.realm)
        self._submitted.add(message_hash)
        if self._blocks.delivered_message(self._seat.own, message_hash):
            return
        try:
            self._intake.admit(message_hash, message, self._senders(), now_ms)
        except (InvalidInput, Overloaded):
            return  # what may enter has changed since, with the configuration or the member set
        self._tell(message_hash, message, now_ms)

    def _forget_submitted(self) -> None:
        """Records of submissions that have left the mempool: in a block, expired or removed."""
        for message_hash in [h for h in self._submitted if h not in self._intake.mempool]:
            self._submitted.remove(message_hash)
            self._seat.emit(Forget(self.context.epoch, "message", message_hash))

    def _forget(self, hashes: frozenset[bytes]) -> None:
        self._intake.mempool.remove(hashes)

    def _tell(self, message_hash: bytes, message: SignedMessage, now_ms: int) -> None:
        self._seat.broadcast(Gossip(message.encode()))
        self._gossip[message_hash] = (now_ms + self._settings.resend_ms, 1)

    def _tell_again(self, now_ms: int) -> None:
        """Own submissions are told again, ever more seldom, while they wait: frames may be lost."""
        waiting = {w.hash: w.message for w in self._intake.mempool.oldest()} if self._gossip else {}
        for message_hash, (due_ms, times) in list(self._gossip.items()):
            message = waiting.get(message_hash)
            if message is None or times >= TOLD_MAX:
                del self._gossip[message_hash]
            elif now_ms >= due_ms:
                self._seat.broadcast(Gossip(message.encode()))
                pause_ms = self._settings.resend_ms << times
                self._gossip[message_hash] = (now_ms + pause_ms, times + 1)
