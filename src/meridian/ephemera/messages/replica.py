"""One member's blocks, mempool and store: the member sets that are open, behind one face.

Pure, as the agreement's `Replica`: time is an argument, what has to be done comes back as effects in order, and input that
is refused changes nothing. The newest open member set produces blocks and takes messages and writes; earlier ones stay open
so that slower members can catch up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Effect, Record, Rejected
from meridian.ephemera.messages.hooks import Hooks
from meridian.ephemera.messages.intake import Intake
from meridian.ephemera.messages.member_set import MemberSet, MemberSetStatus
from meridian.ephemera.messages.mempool import Mempool
from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.ephemera.messages.settings import BlockSettings
from meridian.errors import InvalidInput, NotFound
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class BlockStatus:
    """A snapshot for the operator."""

    messages: int
    """In the mempool."""
    bytes: int
    """Of all messages in the mempool."""
    expired: int
    """Messages dropped because they waited too long, since the start."""
    member_sets: tuple[MemberSetStatus, ...]
    """Ascending by number."""


class BlockReplica:
    """All open member sets of one member."""

    def __init__(
        self,
        key: PrivateKey,
        realm: Realm,
        settings: BlockSettings,
        hooks: Hooks,
        archive: Archive,
    ) -> None:
        self._key = key
        self._realm = realm
        self._settings = settings
        self._hooks = hooks
        self._archive = archive
        self._intake = Intake(realm, hooks, Mempool(settings.mempool))
        self._sets: dict[int, MemberSet] = {}
        self._expired = 0

    @property
    def epochs(self) -> tuple[int, ...]:
        """Numbers of the open member sets, ascending."""
        return tuple(sorted(self._sets))

    def open(
        self,
        context: Context,
        records: Sequence[Record],
        now_ms: int,
        *,
        observer: bool = False,
    ) -> list[Effect]:
        """Open a member set: new (no records) or restored from every record persisted for it.

        Args:
            context: Members and domain; `context.epoch` is the number of the member set.
            records: All its records, in any order.
            now_ms: Any monotonic clock.
            observer: True if records of a member that had taken part may be lost (new disk, old backup): it then
                signs nothing in this set, also after later restarts.

        Raises:
            InvalidInput: Own key not a member, another network, set already open, or too many open.
            StorageFailure: The records belong to another member set or cannot be read. Stop the node.
        """
        if (context.domain, context.network) != (self._realm.domain, self._realm.network):
            raise InvalidInput("context", "is of another network")
        if context.epoch in self._sets:
            raise InvalidInput("epoch", f"member set {context.epoch} is already open")
        if len(self._sets) >= self._settings.member_sets_max:
            raise InvalidInput("epoch", f"{self._settings.member_sets_max} member sets are open")
        opened = MemberSet(
            self._key, context, self._settings, self._hooks, self._archive, self._intake
        )
        effects = opened.start(records, now_ms, observer=observer)
        self._sets[context.epoch] = opened
        return effects

    def close(self, epoch: int) -> None:
        """Forget a member set that nobody has to catch up with. Unknown: nothing."""
        self._sets.pop(epoch, None)

    def submit(self, message: SignedMessage, now_ms: int) -> list[Effect]:
        """Take a message into the mempool, durably, and tell the other members.

        Raises:
            NotFound: No member set is open.
            InvalidInput: `replay`: it stands in an own block; or as `Intake.admit`.
            Overloaded: The mempool, or the sender's share of it, is full.
        """
        return self._newest().submit(message, now_ms)

    def put(self, key: bytes, value: bytes, now_ms: int) -> list[Effect]:
        """Write a value to the replicated store; it stands when its broadcast is delivered.

        Raises:
            NotFound: No member set is open.
            InvalidInput: A size is wrong, or this node observes.
            Overloaded: Too many own writes are under way.
        """
        return self._newest().put(key, value, now_ms)

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        """Take one frame from an authenticated link peer. Never raises because of the frame."""
        try:
            epoch = frames.epoch_of(frame)
        except InvalidInput as refusal:
            return [Rejected(sender, refusal.field, refusal.reason)]
        member_set = self._sets.get(epoch)
        if member_set is None:
            return [Rejected(sender, "epoch", "not open")]
        return member_set.receive(sender, frame, now_ms)

    def tick(self, now_ms: int, wall_ms: int) -> list[Effect]:
        """Do what is due; call it at `next_deadline_ms` or later.

        Args:
            now_ms: The monotonic clock of all deadlines.
            wall_ms: Unix time in milliseconds, for the headers of own blocks.
        """
        self._expired += self._intake.mempool.expire(now_ms)
        effects: list[Effect] = []
        for epoch in self.epochs:
            produce = epoch == self.epochs[-1]
            effects += self._sets[epoch].tick(now_ms, wall_ms, produce=produce)
        return effects

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do, on the clock of `now_ms`; None if never without new input."""
        deadlines = [self._intake.mempool.next_expiry_ms()]
        for epoch in self.epochs:
            produce = epoch == self.epochs[-1]
            deadlines.append(self._sets[epoch].next_deadline_ms(produce=produce))
        return min((due for due in deadlines if due is not None), default=None)

    def status(self) -> BlockStatus:
        """What waits where."""
        mempool = self._intake.mempool
        sets = tuple(self._sets[epoch].status() for epoch in self.epochs)
        return BlockStatus(len(mempool), mempool.bytes, self._expired, sets)

    def _newest(self) -> MemberSet:
        if not self._sets:
            raise NotFound("no member set is open")
        return self._sets[self.epochs[-1]]
