"""The machine of one epoch: collection, agreement, attestation, and answers to members that catch up.

Law: input is taken whole or refused whole. A handler checks everything before it changes anything; what
fits is followed by all steps that became possible, until none is left.

Checks come in the order size, version and kind, member, form, window, known already, signature, content: what
costs little comes first, and repeated messages never cost a signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.ephemera import evidence, journal
from meridian.ephemera import frame as frames
from meridian.ephemera.agreement import Agreement
from meridian.ephemera.application import Application
from meridian.ephemera.attestation import Attestation
from meridian.ephemera.block import Block
from meridian.ephemera.collection import Collection, row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Decided, Effect, Record, Rejected
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    ROW,
    WANT_DECISION,
    WANT_REPORTS,
    Accusation,
    Ask,
    Decision,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
)
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

BACKOFF_MAX = 16
"""After the decision resending slows down to at most this many times `resend_ms`."""

SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class EpochStatus:
    """What an epoch has and what it waits for; for the operator, not for the protocol."""

    epoch: int
    phase: str
    """collect, propose, echo, vote, retrieve, decided (report open) or attested."""
    observer: bool
    members: int
    quorum: int
    view: int
    wish: int
    committed: int
    """Members that have committed themselves to a row."""
    rows: int
    """Revealed rows held and accepted."""
    haves: int
    echoes: int
    """In the current view."""
    votes: int
    """In the current view."""
    bodies_missing: int
    reports: int
    heard: tuple[int, ...]
    """Other members from whom something acceptable came since `open`, by index."""


class EpochMachine:
    """One member's part in one epoch."""

    def __init__(
        self,
        key: PrivateKey,
        context: Context,
        timing: Timing,
        limits: Limits,
        application: Application,
    ) -> None:
        self._seat = Seat(key, context, timing, limits)
        self._context = context
        self._collection = Collection(self._seat, application)
        self._agreement = Agreement(self._seat, self._collection)
        self._attestation = Attestation(self._seat)
        self._complete = False
        self._resend_ms = 0
        self._backoff = 1
        self._heard: set[int] = set()
        self._answered: dict[tuple[int, int], int] = {}
        self._served: dict[int, tuple[int, int]] = {}

    @property
    def context(self) -> Context:
        """What the epoch is about."""
        return self._context

    def start(self, records: Sequence[Record], now_ms: int, *, observer: bool) -> list[Effect]:
        """Begin, or go on from what was persisted; raises StorageFailure on unreadable records."""
        seat = self._seat
        memory = journal.remember(self._context, self._context.members[seat.own], records)
        seat.observer = observer or (memory is not None and memory.observer)
        if memory is None or seat.observer != memory.observer:
            seat.persist_context()
        if memory is not None:
            for guilt, proof in memory.evidence:
                seat.ledger.prove(guilt, proof)
            self._collection.restore(memory)
            self._agreement.restore(memory, now_ms)
            self._attestation.restore(memory.reports, memory.attested)
        self._advance(now_ms)
        if self._complete:
            self._attestation.announce_all()
        self._resend(now_ms)
        return seat.take()

    def submit_row(self, body: bytes, trace_root: bytes, now_ms: int) -> list[Effect]:
        """See `Replica.submit_row`."""
        if self._agreement.certificate is None:
            self._collection.submit(body, trace_root)
            self._advance(now_ms)
        return self._seat.take()

    def submit_report(self, attempt: bytes, digest: bytes, now_ms: int) -> list[Effect]:
        """See `Replica.submit_report`."""
        if not self._complete:
            raise InvalidInput("epoch", f"{self._context.epoch} is not decided here yet")
        self._attestation.submit(attempt, digest)
        self._backoff = 1
        self._resend_ms = now_ms + self._seat.timing.resend_ms
        self._advance(now_ms)
        return self._seat.take()

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        """See `Replica.receive`; size, version and kind are checked already."""
        member = self._context.index_of(sender)
        if member is None or member == self._seat.own:
            return [Rejected(sender, "sender", "is not another member of the epoch")]
        try:
            message = frames.decode(frame, self._context)
            self._handle(member, message, now_ms)
            self._agreement.announcement.hear(member, message)
        except InvalidInput as refusal:
            return [Rejected(sender, refusal.field, refusal.reason)]
        self._heard.add(member)
        if not isinstance(message, Ask | Fetch):  # answering makes no step possible
            self._advance(now_ms)
        return self._seat.take()

    def tick(self, now_ms: int) -> list[Effect]:
        """Do what is due."""
        if self._resending() and now_ms >= self._resend_ms:
            self._resend(now_ms)
        self._agreement.announcement.tick(now_ms)
        self._agreement.time_out(now_ms)
        self._advance(now_ms)
        return self._seat.take()

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do."""
        deadlines = [self._seat.retrieval.next_deadline_ms(), self._agreement.announcement.due_ms]
        if self._resending():
            deadlines.append(self._resend_ms)
        if not self._seat.observer:
            deadlines.append(self._collection.deadline_ms())
            deadlines.append(self._agreement.grace_ms)
            deadlines.append(self._agreement.pacemaker.deadline_ms)
        return min((due for due in deadlines if due is not None), default=None)

    def status(self) -> EpochStatus:
        """A snapshot for the operator."""
        agreement, ledger, context = self._agreement, self._seat.ledger, self._context
        return EpochStatus(
            epoch=context.epoch,
            phase=self._phase(),
            observer=self._seat.observer,
            members=context.n,
            quorum=context.quorum,
            view=agreement.view,
            wish=agreement.pacemaker.wish,
            committed=self._collection.commitments.members(),
            rows=len(self._collection.held()),
            haves=len(self._collection.haves),
            echoes=len(ledger.said(Kind.ECHO, agreement.view)),
            votes=len(ledger.said(Kind.VOTE, agreement.view)),
            bodies_missing=agreement.missing_bodies(),
            reports=self._attestation.count(),
            heard=tuple(sorted(self._heard)),
        )

    def _phase(self) -> str:
        agreement = self._agreement
        if agreement.certificate is not None:
            if not self._complete:
                return "retrieve"
            return "attested" if self._attestation.attested() else "decided"
        if agreement.lock is not None and agreement.lock.view == agreement.view:
            return "vote"
        if agreement.own_echo is not None and agreement.own_echo.view == agreement.view:
            return "echo"
        return "collect" if self._collection.own_have is None else "propose"

    def _handle(self, sender: int, message: Message, now_ms: int) -> None:
        match message:
            case Decision(certificate):
                self._agreement.on_decision(certificate)
            case ReportSignature():
                self._attestation.on_report(message, sender)
            case Fetch():
                self._serve(sender, message, now_ms)
            case FetchReply():
                self._take_piece(sender, message)
            case Accusation(proof):
                guilt = evidence.verify_evidence(self._context, proof)
                for new_guilt, new_proof in self._seat.ledger.prove(guilt, proof):
                    self._seat.keep_evidence(new_guilt, new_proof)
            case Ask(want):
                self._answer(sender, want, now_ms)
            case _:
                # Decided: who still argues gets the decision when it asks for it.
                if self._agreement.certificate is None:
                    self._argue(sender, message)

    def _argue(self, sender: int, message: Message) -> None:
        match message:
            case Row():
                self._collection.on_row(message)
            case Reveal():
                self._collection.on_reveal(sender, message)
            case Have():
                self._collection.on_have(message)
            case Propose():
                self._agreement.on_propose(message)
            case Echo():
                self._agreement.on_ballot(Kind.ECHO, message, sender)
            case Vote():
                self._agreement.on_ballot(Kind.VOTE, message, sender)
            case Wish():
                self._agreement.on_wish(message)
            case ViewChange():
                self._agreement.on_view_change(message)

    def _advance(self, now_ms: int) -> None:
        """Take every step that is possible."""
        while self._step(now_ms):
            pass
        self._agreement.announcement.schedule(now_ms)
        self._seat.request(now_ms)

    def _step(self, now_ms: int) -> bool:
        if self._agreement.certificate is not None:
            if not self._complete:
                return self._try_complete(now_ms)
            return self._attestation.step()
        if self._collection.try_commit(now_ms):
            return True
        if self._collection.try_have(now_ms, self._context.leader(self._agreement.view)):
            self._agreement.pacemaker.arm(now_ms)
            return True
        return self._agreement.step(now_ms)

    def _try_complete(self, now_ms: int) -> bool:
        """With the block and all bodies in hand, tell the driver; else fetch what is missing."""
        certificate = self._agreement.certificate
        assert certificate is not None
        voters = [member for member, _ in certificate.votes]
        block = self._agreement.blocks.get(certificate.block_hash)
        wanted = {(BLOCK, certificate.block_hash)}
        if block is not None:
            bodies = self._collection.bodies
            roots = {row.opening.row_root for row in block.rows}
            wanted = {(BODY, root) for root in roots if root not in bodies}
        self._seat.retrieval.keep_only(wanted)
        if block is None:
            self._seat.retrieval.want(BLOCK, certificate.block_hash, voters)
            return False
        if wanted:
            self._collection.want_bodies(block, voters)
            return False
        self._agreement.blocks.persist(block)
        self._complete = True
        self._resend_ms = now_ms + self._seat.timing.resend_ms
        self._agreement.blocks.keep_only(block)
        self._emit_decided(block)
        return True

    def _emit_decided(self, block: Block) -> None:
        certificate = self._agreement.certificate
        assert certificate is not None
        bodies = tuple(self._collection.bodies[row.opening.row_root] for row in block.rows)
        self._seat.emit(Decided(self._context.epoch, block, certificate, bodies))

    def _resending(self) -> bool:
        if self._agreement.certificate is None:
            return True
        return self._complete and self._attestation.pending()

    def _resend(self, now_ms: int) -> None:
        seat, decided = self._seat, self._agreement.certificate is not None
        if not decided:
            if not seat.observer:
                self._collection.send_own_row()
                if self._collection.own_have is not None:
                    seat.broadcast(self._collection.own_have)
                self._agreement.resend()
            self._collection.ask_for_rows()
            seat.broadcast(Ask(WANT_DECISION))
        elif self._complete and self._attestation.pending():
            self._attestation.resend()
            seat.broadcast(Ask(WANT_REPORTS))
            self._backoff = min(2 * self._backoff, BACKOFF_MAX)
        self._resend_ms = now_ms + seat.timing.resend_ms * (self._backoff if decided else 1)

    def _answer(self, member: int, want: int, now_ms: int) -> None:
        """Answer an ASK, at most twice per `resend_ms` and member."""
        last_ms = self._answered.get((member, want))
        if last_ms is not None and now_ms - last_ms < self._seat.timing.resend_ms // 2:
            return
        certificate = self._agreement.certificate
        if want == WANT_DECISION and certificate is not None:
            self._seat.send(member, Decision(certificate))
        elif want == WANT_REPORTS:
            self._attestation.answer(member)
        elif not self._seat.observer and (row := self._collection.commitments.said(member)):
            # Should it have lost its records, it learns that it had committed itself.
            self._seat.send(member, row)
        else:
            return
        self._answered[member, want] = now_ms

    def _serve(self, member: int, fetch: Fetch, now_ms: int) -> None:
        """Send a piece of what we hold; nothing if we do not hold it."""
        if fetch.object == ROW:
            row = self._collection.commitments.row(fetch.member, fetch.digest)
            if row is not None:
                self._seat.send(member, row)
            return
        data = self._held(fetch)
        if data is None or fetch.offset > len(data) or (fetch.offset == len(data) and data):
            return
        piece = data[fetch.offset : fetch.offset + self._seat.limits.piece_bytes]
        since_ms, served = self._served.get(member, (now_ms, 0))
        if now_ms - since_ms >= SECOND_MS:
            since_ms, served = now_ms, 0
        if served + len(piece) > self._seat.limits.served_bytes_per_s_max:
            raise InvalidInput("rate", "too many bytes asked for in one second")
        self._served[member] = (since_ms, served + len(piece))
        reply = FetchReply(fetch.object, fetch.digest, len(data), fetch.offset, piece)
        self._seat.send(member, reply, bulk=True)

    def _held(self, fetch: Fetch) -> bytes | None:
        if fetch.object == BODY:
            return self._collection.bodies.get(fetch.digest)
        block = self._agreement.blocks.get(fetch.digest)
        return None if block is None else block.encode()

    def _take_piece(self, sender: int, reply: FetchReply) -> None:
        retrieval = self._seat.retrieval
        data = retrieval.accept(sender, reply)
        if data is None:
            return
        key = (reply.object, reply.digest)
        if reply.object == BODY:
            good = row_root(data) == reply.digest
            if good:
                self._collection.take_body(reply.digest, data)
        else:
            good = self._agreement.blocks.take(reply.digest, data)
        if good:
            retrieval.done(key)
        else:
            retrieval.spoiled(key)
