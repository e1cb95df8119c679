"""One member's seat in one epoch: its key, what it says, and the effects that it gathers.

Law: everything that a seat signs goes through `sign`, and an observer signs nothing. Whoever calls `sign`
persists the statement before it sends it.
"""

from __future__ import annotations

from meridian.ephemera import evidence, journal
from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import (
    Broadcast,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Send,
)
from meridian.ephemera.ledger import Ledger
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import Accusation, Lock, Message
from meridian.ephemera.retrieval import Retrieval
from meridian.errors import InvalidInput
from meridian.primitives.hashing import ROW_SALT
from meridian.primitives.keys import PrivateKey


class Seat:
    """What the parts of an epoch's machine share."""

    def __init__(self, key: PrivateKey, context: Context, timing: Timing, limits: Limits) -> None:
        own = context.index_of(key.address)
        if own is None:
            raise InvalidInput("key", f"its address is not a member of epoch {context.epoch}")
        self._key = key
        self.context = context
        self.timing = timing
        self.limits = limits
        self.own = own
        self.observer = False
        self.ledger = Ledger(context)
        self.retrieval = Retrieval(context, own, timing, limits)
        self._others = tuple(member for member in context.members if member != key.address)
        self._effects: list[Effect] = []

    def sign(self, kind: Kind, view: int, digest: bytes) -> bytes:
        """Sign one statement of the protocol."""
        return self.sign_digest(self.context.statement(kind, view, digest))

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes as they are (the report for the chain)."""
        if self.observer:
            raise AssertionError("an observer signs nothing")
        return self._key.sign(digest)

    def salt(self, row_root: bytes, trace_root: bytes) -> bytes:
        """The salt of the own commitment: from the key, so nobody guesses it and a lost disk does not change it."""
        return self._key.derive(bytes((ROW_SALT,)), self.context.digest, row_root, trace_root)

    def note(
        self,
        kind: Kind,
        member: int,
        view: int,
        digest: bytes,
        signature: bytes,
        lock: Lock | None = None,
    ) -> None:
        """Enter a verified statement into the ledger and tell of any misbehaviour that it proves."""
        for guilt, proof in self.ledger.record(kind, member, view, digest, signature, lock):
            self.accuse(guilt, proof)

    def accuse(self, guilt: evidence.Guilt, proof: bytes) -> None:
        """Keep, report and spread new evidence."""
        self.keep_evidence(guilt, proof)
        self.broadcast(Accusation(proof))

    def keep_evidence(self, guilt: evidence.Guilt, proof: bytes) -> None:
        """Keep and report new evidence that others spread."""
        self.persist("evidence", journal.evidence_key(guilt.member, guilt.kind), proof)
        self.emit(Misbehaviour(self.context.epoch, guilt.member, guilt.kind, proof))

    def suspect_memory(self, member: int) -> None:
        """Observe from now on, if a valid statement of our own key is one that we do not remember.

        It proves that records were lost or that a second process signs with this key; signing on could
        contradict it. Callers leave out views before the current one: those are forgotten on purpose.
        """
        if member == self.own and not self.observer:
            self.observe()

    def observe(self) -> None:
        """Sign nothing more in this epoch, also after a restart."""
        self.observer = True
        self.persist_context()

    def persist_context(self) -> None:
        """Bind the records to this context and member."""
        value = journal.context_value(
            self.context, self.context.members[self.own], observer=self.observer
        )
        self.persist("context", b"", value)

    def persist(self, kind: str, key: bytes, value: bytes, *, lazy: bool = False) -> None:
        """Make a record durable before anything that follows, or soon if it is `lazy` (see `effects`)."""
        self._effects.append(Persist(Record(self.context.epoch, kind, key, value), lazy))

    def persist_message(self, kind: str, message: Message) -> None:
        """Make an own message durable before it is sent."""
        self.persist(kind, b"", self.encode(message))

    def send(self, member: int, message: Message, *, bulk: bool = False) -> None:
        """Send to one other member."""
        if member != self.own:
            frame = self.encode(message)
            self._effects.append(Send(self.context.members[member], frame, bulk))

    def broadcast(self, message: Message) -> None:
        """Send to all other members."""
        if self._others:
            self._effects.append(Broadcast(self._others, self.encode(message)))

    def encode(self, message: Message) -> bytes:
        """The frame of a message."""
        return frames.encode(message, self.context.epoch)

    def emit(self, effect: Effect) -> None:
        """Append any effect."""
        self._effects.append(effect)

    def request(self, now_ms: int) -> None:
        """Send the FETCHes that are due."""
        for member, fetch in self.retrieval.requests(now_ms):
            self.send(member, fetch)

    def take(self) -> list[Effect]:
        """Hand out the gathered effects."""
        effects, self._effects = self._effects, []
        return effects
