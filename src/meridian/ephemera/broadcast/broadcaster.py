"""Bracha's reliable broadcast for all slots of one member set, with catch-up.

Rules, for n members of which at most f are Byzantine (Bracha 1987; bft.md section 2):

- SEND: the sender of a slot sends its payload, one per slot for ever;
- ECHO: the first SEND of a slot, once it is acceptable and all earlier numbers of the sender are delivered;
- VOTE: a digest that a quorum echoed, or that f + 1 members voted for;
- deliver: a digest that a quorum voted for, with its payload, in the order of the sender's numbers.

Guarantees: validity (what a correct member sends is delivered), agreement and integrity (one payload per slot, at
most once), totality (what one correct member delivers, all deliver), transferable proof (the quorum of votes is the
certificate). Loss is repaired by resending; a member that was away tells others its frontier and gets certificates,
which prove themselves, and payloads. A delivery waits for q votes, which is at least the 2f + 1 of Bracha, so that
whatever is delivered can be proved at once. Every statement is persisted before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meridian.ephemera import evidence
from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.catch_up import CatchUp, Chain
from meridian.ephemera.broadcast.channel import Channel, Pace
from meridian.ephemera.broadcast.frame import (
    Accusation,
    Echo,
    Fetch,
    Frontier,
    Payload,
    Send,
    Vote,
)
from meridian.ephemera.broadcast.instance import Instance
from meridian.ephemera.broadcast.seat import BroadcastSeat
from meridian.ephemera.broadcast.serving import Serving
from meridian.ephemera.broadcast.slot import DeliveryCertificate as Certificate
from meridian.ephemera.broadcast.slot import Kind, Slot, signed, verify_delivery
from meridian.ephemera.effects import Delivered, Record
from meridian.errors import InvalidInput, Overloaded, StorageFailure
from meridian.primitives.codec import Reader

BACKOFF_MAX = 16
"""Resending slows down to at most this many times `resend_ms`."""


class Broadcaster:
    """All unfinished slots of one member set, as one member sees them."""

    def __init__(
        self, seat: BroadcastSeat, channels: Sequence[Channel], archive: Archive, pace: Pace
    ) -> None:
        self._seat = seat
        self._channels = {channel.number: channel for channel in channels}
        self._archive = archive
        self._pace = pace
        self._instances: dict[Slot, Instance] = {}
        self._frontiers: dict[Chain, int] = {}
        self._delivered_ms: dict[Chain, int] = {}
        self._serving = Serving(seat, archive, pace)
        self._catch_up = CatchUp(seat, pace, self._frontiers)

    # ---- state

    def start(self, records: Iterable[Record], now_ms: int) -> None:
        """Go on from what was delivered and persisted; raises StorageFailure on unreadable records."""
        for chain, number in self._archive.frontiers(self._seat.context.epoch).items():
            if chain[0] in self._channels:
                self._frontiers[chain] = number
        self._catch_up.due_ms = now_ms
        try:
            for record in records:
                self._restore(record, now_ms)
        except InvalidInput as error:
            raise StorageFailure(f"broadcast records: {error}") from error
        for instance in list(self._instances.values()):
            instance.resend_ms = now_ms
            self._advance(instance.slot, now_ms)

    def frontier(self, channel: int, sender: int) -> int:
        """The last delivered number of a channel and sender; 0 if none."""
        return self._frontiers.get((channel, sender), 0)

    def frontiers(self) -> dict[Chain, int]:
        """(channel, sender) -> last delivered number."""
        return dict(self._frontiers)

    def unfinished(self) -> tuple[Slot, ...]:
        """Slots that are under way, ascending."""
        return tuple(sorted(self._instances))

    def own_under_way(self, channel: int) -> int:
        """Own slots of a channel that are sent and not delivered."""
        own = self._seat.own
        return sum(
            1
            for slot, instance in self._instances.items()
            if (slot.channel, slot.sender) == (channel, own) and instance.send is not None
        )

    def next_own(self, channel: int) -> Slot:
        """The next own slot of a channel.

        Raises:
            Overloaded: The window is full of own slots that are not delivered yet.
            InvalidInput: This member observes.
        """
        own, under_way = self._seat.own, self.own_under_way(channel)
        if self._seat.observer:
            raise InvalidInput("member", "this node observes: it signs nothing in this member set")
        if under_way >= self._pace.slots_ahead_max:
            raise Overloaded(self._pace.resend_ms / 1000, f"{under_way} own slots are under way")
        return Slot(channel, own, self.frontier(channel, own) + under_way + 1)

    # ---- what we send

    def submit(self, slot: Slot, payload: bytes, now_ms: int) -> None:
        """Broadcast an own payload in `next_own`; the channel has made it and accepts it."""
        digest = self._channels[slot.channel].digest(slot, payload)
        instance = self._open(slot, now_ms)
        self._seat.persist("send", slot.key(), payload)
        signature = self._seat.sign(Kind.SEND, slot, digest)
        instance.record(Kind.SEND, slot.sender, digest, signature)
        instance.payloads[digest] = payload
        self._seat.broadcast(Send(slot, signature, payload))
        self._advance(slot, now_ms)

    # ---- what others say

    def on_send(self, send: Send, now_ms: int) -> None:
        """The sender's payload, from it or passed on."""
        slot = send.slot
        if not self._in_window(slot, slot.sender, now_ms):
            return
        channel = self._channels[slot.channel]
        if slot.number > self.frontier(slot.channel, slot.sender) + channel.sends_ahead_max:
            return  # It comes again; payloads are held for the next slots only.
        digest = channel.digest(slot, send.payload)
        if self._said(Kind.SEND, slot.sender, slot, digest, send.signature):
            channel.verify(slot, send.payload)
            instance = self._open(slot, now_ms)
            instance.record(Kind.SEND, slot.sender, digest, send.signature)
            instance.payloads[digest] = send.payload
        self._advance(slot, now_ms)

    def on_ballot(self, kind: Kind, ballot: Echo | Vote, now_ms: int) -> None:
        """An ECHO or a VOTE."""
        slot = ballot.slot
        if not self._in_window(slot, ballot.member, now_ms):
            return
        if self._said(kind, ballot.member, slot, ballot.digest, ballot.signature):
            instance = self._open(slot, now_ms)
            instance.record(kind, ballot.member, ballot.digest, ballot.signature)
            self._advance(slot, now_ms)

    def on_certified(self, member: int, certificate: Certificate, now_ms: int) -> None:
        """A certificate, passed on by any member."""
        slot = certificate.slot
        if not self._in_window(slot, None, now_ms):
            return
        known = self._instances.get(slot)
        if known is not None and known.certificate is not None:
            return
        verify_delivery(self._seat.context, certificate)
        self._catch_up.helper = member
        self._open(slot, now_ms).certificate = certificate
        self._advance(slot, now_ms)

    def on_payload(self, reply: Payload, now_ms: int) -> None:
        """A payload that we asked for."""
        instance = self._instances.get(reply.slot)
        wanted = None if instance is None else instance.certificate
        if instance is None or wanted is None or instance.certified_payload() is not None:
            raise InvalidInput("payload", "was not asked for")
        channel = self._channels[reply.slot.channel]
        if (
            wanted.digest != reply.digest
            or channel.digest(reply.slot, reply.payload) != wanted.digest
        ):
            raise InvalidInput("payload", "is not the one that was asked for")
        channel.verify(reply.slot, reply.payload)
        instance.payloads[reply.digest] = reply.payload
        self._advance(reply.slot, now_ms)

    def on_fetch(self, member: int, fetch: Fetch, now_ms: int) -> None:
        """Another member lacks a payload."""
        instance = self._instances.get(fetch.slot)
        held = None if instance is None else instance.payloads.get(fetch.digest)
        self._serving.payload(member, fetch, held, now_ms)

    def on_frontier(self, member: int, frontier: Frontier, now_ms: int) -> None:
        """How far another member is: send what it lacks, and ask for what we lack."""
        theirs = {(channel, sender): number for channel, sender, number in frontier.entries}
        self._serving.certificates(member, theirs, self._frontiers, now_ms)
        self._catch_up.hear(member, {c: n for c, n in theirs.items() if c[0] in self._channels})
        self._ask(now_ms)

    def on_accusation(self, accusation: Accusation) -> None:
        """Evidence that another member spreads."""
        self._seat.accuse(accusation.evidence, spread=False)

    # ---- time

    def tick(self, now_ms: int) -> None:
        """Send again, fetch again, tell one member how far we are."""
        for slot in self.unfinished():
            instance = self._instances.get(slot)
            if instance is None:
                continue
            if now_ms >= instance.resend_ms:
                instance.refused = False
                self._advance(slot, now_ms)
                self._resend(instance, now_ms)
            if instance.fetch_ms is not None and now_ms >= instance.fetch_ms:
                self._fetch(instance, now_ms)
        self._catch_up.tick(now_ms)

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do."""
        deadlines = [self._catch_up.due_ms] if self._seat.others else []
        for instance in self._instances.values():
            deadlines.append(instance.resend_ms)
            if instance.fetch_ms is not None:
                deadlines.append(instance.fetch_ms)
        return min(deadlines, default=None)

    # ---- steps

    def _advance(self, slot: Slot, now_ms: int) -> None:
        """Take every step that became possible in a slot, and then in those after it."""
        instance = self._instances.get(slot)
        while instance is not None:
            if not self._seat.observer:
                self._try_echo(instance)
                self._try_vote(instance)
            instance.try_certify()
            if not self._try_deliver(instance, now_ms):
                return
            slot = Slot(slot.channel, slot.sender, slot.number + 1)
            instance = self._instances.get(slot)

    def _try_echo(self, instance: Instance) -> None:
        slot, own = instance.slot, self._seat.own
        if instance.send is None or instance.refused or own in instance.said[Kind.ECHO]:
            return
        digest, _ = instance.send
        payload = instance.payloads[digest]
        if slot.number != self.frontier(slot.channel, slot.sender) + 1:
            return
        if not self._channels[slot.channel].accepts(slot, payload):
            instance.refused = True
            return
        if slot.sender != own:
            self._seat.persist("payload", slot.key(), payload)
        self._say(instance, Kind.ECHO, digest)

    def _try_vote(self, instance: Instance) -> None:
        if self._seat.own not in instance.said[Kind.VOTE]:
            digest = instance.digest_to_vote()
            if digest is not None:
                self._say(instance, Kind.VOTE, digest)

    def _say(self, instance: Instance, kind: Kind, digest: bytes) -> None:
        seat, slot = self._seat, instance.slot
        seat.persist(kind.name.lower(), slot.key(), digest)
        signature = seat.sign(kind, slot, digest)
        instance.record(kind, seat.own, digest, signature)
        seat.broadcast(_ballot(kind, seat.own, slot, digest, signature))

    def _try_deliver(self, instance: Instance, now_ms: int) -> bool:
        slot, certificate = instance.slot, instance.certificate
        chain = (slot.channel, slot.sender)
        if certificate is None:
            return False
        payload = instance.certified_payload()
        if payload is None:
            if instance.fetch_ms is None:
                self._fetch(instance, now_ms)
            return False
        instance.fetch_ms = None
        if slot.number != self.frontier(*chain) + 1:
            return False
        del self._instances[slot]
        self._frontiers[chain] = slot.number
        self._delivered_ms[chain] = now_ms
        self._seat.emit(Delivered(self._seat.context.epoch, slot, payload, certificate))
        self._channels[slot.channel].deliver(slot, payload, certificate)
        self._ask(now_ms)
        return True

    def _resend(self, instance: Instance, now_ms: int) -> None:
        """Say the own statements of a slot again to those whose vote is missing."""
        seat, slot = self._seat, instance.slot
        instance.backoff = min(2 * instance.backoff, BACKOFF_MAX)
        instance.resend_ms = now_ms + self._pace.resend_ms * instance.backoff
        echoes, votes = instance.said[Kind.ECHO], instance.said[Kind.VOTE]
        for member in seat.others:
            if member in votes:
                continue
            if slot.sender == seat.own and instance.send is not None and member not in echoes:
                digest, signature = instance.send
                payload = instance.payloads[digest]
                seat.send(member, Send(slot, signature, payload), bulk=True)
            for kind, said in ((Kind.ECHO, echoes), (Kind.VOTE, votes)):
                if seat.own in said:
                    seat.send(member, _ballot(kind, seat.own, slot, *said[seat.own]))

    def _fetch(self, instance: Instance, now_ms: int) -> None:
        assert instance.certificate is not None
        holders = [member for member in instance.holders() if member != self._seat.own]
        instance.fetch_ms = now_ms + self._pace.fetch_ms
        if holders:
            member = holders[instance.fetch_turn % len(holders)]
            instance.fetch_turn += 1
            self._seat.send(member, Fetch(instance.slot, instance.certificate.digest))

    def _ask(self, now_ms: int) -> None:
        """Ask for more as soon as nothing that was proved is left to deliver."""
        waiting = {
            (slot.channel, slot.sender)
            for slot, instance in self._instances.items()
            if instance.certificate is not None
        }
        self._catch_up.ask(waiting, now_ms)

    # ---- checks

    def _in_window(self, slot: Slot, member: int | None, now_ms: int) -> bool:
        """False if the slot is finished here; `member` may then need its certificate."""
        if slot.channel not in self._channels:
            raise InvalidInput("channel", "unknown")
        chain = (slot.channel, slot.sender)
        frontier = self.frontier(*chain)
        if slot.number > frontier + self._pace.slots_ahead_max:
            raise InvalidInput("slot", f"{slot.number} is too far ahead of {frontier}")
        if slot.number > frontier:
            return True
        # Right after a delivery the others' last votes still come in; later they come from one who lags.
        settled = now_ms - self._delivered_ms.get(chain, 0) >= self._pace.resend_ms
        if member is not None and member != self._seat.own and settled:
            self._serving.certificate(member, slot, now_ms)
        return False

    def _said(self, kind: Kind, member: int, slot: Slot, digest: bytes, signature: bytes) -> bool:
        """Check a statement: True if it is the member's first, False if it is known or evidence.

        Raises:
            InvalidInput: The signature is not the member's.
        """
        instance = self._instances.get(slot)
        first = None if instance is None else instance.first(kind, member)
        if first is not None and first[0] == digest:
            return False
        context = self._seat.context
        if not signed(context, member, kind, slot, digest, signature):
            raise InvalidInput("signature", f"is not that of member {member}")
        if first is not None:
            proof = evidence.double_broadcast(
                context, member, kind, slot, first, (digest, signature)
            )
            self._seat.accuse(proof, spread=True)
            return False
        if member == self._seat.own:
            # We said it and do not remember: records are lost, or a second process signs with our key.
            self._seat.observe()
        return True

    def _open(self, slot: Slot, now_ms: int) -> Instance:
        instance = self._instances.get(slot)
        if instance is None:
            instance = Instance(slot, self._seat.context, now_ms, self._pace.resend_ms)
            self._instances[slot] = instance
        return instance

    def _restore(self, record: Record, now_ms: int) -> None:
        """Take back one record of a slot; those of delivered slots are of no use any more."""
        if record.kind not in {"send", "payload", "echo", "vote"}:
            return
        slot = read_key(record.key)
        if slot.channel not in self._channels or slot.number <= self.frontier(
            slot.channel, slot.sender
        ):
            return
        instance, own = self._open(slot, now_ms), self._seat.own
        if record.kind in {"send", "payload"}:
            digest = self._channels[slot.channel].digest(slot, record.value)
            instance.payloads[digest] = record.value
            if record.kind == "send" and not self._seat.observer:
                instance.record(Kind.SEND, own, digest, self._seat.sign(Kind.SEND, slot, digest))
        elif not self._seat.observer:
            kind = Kind[record.kind.upper()]
            instance.record(kind, own, record.value, self._seat.sign(kind, slot, record.value))


def _ballot(kind: Kind, member: int, slot: Slot, digest: bytes, signature: bytes) -> Echo | Vote:
    if kind is Kind.ECHO:
        return Echo(member, slot, digest, signature)
    return Vote(member, slot, digest, signature)


def read_key(key: bytes) -> Slot:
    """The slot of a record's key; raises InvalidInput."""
    reader = Reader(key)
    slot = Slot.read(reader)
    reader.finish()
    return slot
