"""One member's seat in the broadcasts of one member set: its key, what it says, and the effects that it gathers.

Law: everything that a seat signs goes through `sign`, and an observer signs nothing. Whoever calls `sign` persists the
statement before it sends it.
"""

from __future__ import annotations

from meridian.ephemera import evidence, journal
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import Accusation, BroadcastMessage
from meridian.ephemera.broadcast.slot import Kind, Slot, statement
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Broadcast, Effect, Misbehaviour, Persist, Record, Send
from meridian.errors import InvalidInput
from meridian.primitives.keys import PrivateKey


class BroadcastSeat:
    """What the parts of one member set share."""

    def __init__(self, key: PrivateKey, context: Context) -> None:
        own = context.index_of(key.address)
        if own is None:
            raise InvalidInput("key", f"its address is not in member set {context.epoch}")
        self._key = key
        self.context = context
        self.own = own
        self.observer = False
        self.others = tuple(index for index in range(context.n) if index != own)
        self._proved: set[evidence.Guilt] = set()
        self._effects: list[Effect] = []

    def sign(self, kind: Kind, slot: Slot, digest: bytes) -> bytes:
        """Sign one statement."""
        if self.observer:
            raise AssertionError("an observer signs nothing")
        return self._key.sign(statement(self.context, kind, slot, digest))

    def persist(self, kind: str, key: bytes, value: bytes) -> None:
        """Make a record durable before anything that follows."""
        self._effects.append(Persist(Record(self.context.epoch, kind, key, value)))

    def persist_context(self) -> None:
        """Bind the records to this member set and member."""
        own = self.context.members[self.own]
        self.persist(
            "context", b"", journal.context_value(self.context, own, observer=self.observer)
        )

    def observe(self) -> None:
        """Sign nothing more in this member set, also after a restart."""
        if not self.observer:
            self.observer = True
            self.persist_context()

    def remember(self, proof: bytes) -> None:
        """Take back evidence that was kept; raises InvalidInput if it proves nothing."""
        self._proved.add(evidence.verify_evidence(self.context, proof))

    def accuse(self, proof: bytes, *, spread: bool) -> None:
        """Keep and report evidence that is new; raises InvalidInput if it proves nothing."""
        guilt = evidence.verify_evidence(self.context, proof)
        if guilt in self._proved:
            return
        self._proved.add(guilt)
        self.persist("evidence", journal.evidence_key(guilt.member, guilt.kind), proof)
        self.emit(Misbehaviour(self.context.epoch, guilt.member, guilt.kind, proof))
        if spread:
            self.broadcast(Accusation(proof))

    def send(self, member: int, message: BroadcastMessage, *, bulk: bool = False) -> None:
        """Send to one other member."""
        if member != self.own:
            frame = frames.encode(message, self.context.epoch)
            self._effects.append(Send(self.context.members[member], frame, bulk))

    def broadcast(self, message: BroadcastMessage) -> None:
        """Send to all other members."""
        if self.others:
            to = tuple(self.context.members[member] for member in self.others)
            self._effects.append(Broadcast(to, frames.encode(message, self.context.epoch)))

    def emit(self, effect: Effect) -> None:
        """Append any effect."""
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        """Hand out the gathered effects."""
        effects, self._effects = self._effects, []
        return effects
