"""Steps S1 to S4: one block per epoch, by signed Bracha, which is single-shot PBFT with views and locks.

Guarantees, for n members of which at most f = (n - 1) // 3 are Byzantine (bft.md section 4):

- agreement: no two correct members decide different blocks, in whatever views;
- validity: the block holds at least n - f signed rows, one per member, and every row that f + 1 of its
  HAVEs list; rows of correct members are what they committed themselves to before any was revealed;
- totality: if one correct member decides, all do, for the certificate proves itself;
- termination: once messages arrive in time, within f + 1 views more;
- accountability: who breaks agreement leaves evidence, and a correct member never does.

Every statement is persisted before it is sent. A second, different statement of a kind in a view is never
signed, across restarts too. A VOTE needs no block in hand: a quorum of ECHOs says that at least f + 1
correct members hold the block and all its bodies.
"""

from __future__ import annotations

from meridian.ephemera import journal
from meridian.ephemera.announcement import Announcement
from meridian.ephemera.block import Block, Certificate, verify_block, verify_certificate
from meridian.ephemera.block_store import BlockStore
from meridian.ephemera.collection import Collection
from meridian.ephemera.context import Kind
from meridian.ephemera.journal import Memory
from meridian.ephemera.ledger import Finding
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    Echo,
    Justification,
    Propose,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
)
from meridian.ephemera.pacemaker import Pacemaker
from meridian.ephemera.proposal import justify, verify_justification
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput


class Agreement:
    """The single decision of one epoch, as one member sees it."""

    def __init__(self, seat: Seat, collection: Collection) -> None:
        self._seat = seat
        self._context = seat.context
        self._collection = collection
        self._proposals: dict[int, Propose] = {}
        self._changes: dict[int, dict[int, ViewChange]] = {}
        self.pacemaker = Pacemaker(seat.context, seat.own, seat.timing)
        self.blocks = BlockStore(seat, collection)
        self.announcement = Announcement(seat)
        self.own_propose: Propose | None = None
        self.own_echo: Echo | None = None
        self.own_change: ViewChange | None = None
        self.lock: Certificate | None = None
        """ECHO certificate of the own latest VOTE."""
        self.certificate: Certificate | None = None
        """VOTE certificate: decided."""
        self.grace_ms: int | None = None
        self._grace_over = False

    @property
    def view(self) -> int:
        """The current view."""
        return self.pacemaker.view

    def restore(self, memory: Memory, now_ms: int) -> None:
        """Take back what was persisted, and finish what a crash cut off."""
        self.blocks.restore(memory.blocks)
        self.certificate = memory.decided
        if self._seat.observer:
            return
        self.pacemaker.view, self.pacemaker.wish = memory.view, memory.wish
        self.own_echo, self.lock = memory.echo, memory.lock
        self.own_propose, self.own_change = memory.propose, memory.view_change
        own, note = self._seat.own, self._seat.note
        if self.own_propose is not None:
            self._keep_propose(self.own_propose)
        if self.own_echo is not None:
            echo = self.own_echo
            note(Kind.ECHO, own, echo.view, echo.block_hash, echo.signature)
        vote = self.own_vote()
        if vote is not None:
            note(Kind.VOTE, own, vote.view, vote.block_hash, vote.signature)
        if self.own_change is not None and self.own_change.view == self.view:
            self._keep_change(self.own_change)
        elif self.view > 0 and self.certificate is None:
            self._change_view()
        if (self.view > 0 or self._collection.own_have is not None) and self.certificate is None:
            self.pacemaker.arm(now_ms)

    # ---- what others say

    def on_propose(self, propose: Propose) -> None:
        """The leader's block for a view (S2)."""
        if not self._in_window(propose.view, stale_matters=False):
            return
        block = propose.block
        if propose.member != self._context.leader(propose.view):
            raise InvalidInput("member", "does not lead this view")
        finding = self._seat.ledger.examine(
            Kind.PROPOSE,
            propose.member,
            propose.view,
            propose_digest(block.hash),
            propose.signature,
        )
        if finding is Finding.KNOWN:
            return
        if self.blocks.get(block.hash) is None:
            verify_block(self._context, block)
        verify_justification(self._context, propose.view, block.hash, propose.justification)
        self._seat.suspect_memory(propose.member)
        if finding is Finding.NEW:
            self._keep_propose(propose)
            self._collection.commitments.compare(self._proposals[propose.view].block.rows)
            self._note_claims(propose.view, propose.justification)
        else:
            self._seat.note(
                Kind.PROPOSE,
                propose.member,
                propose.view,
                propose_digest(block.hash),
                propose.signature,
            )

    def on_ballot(self, kind: Kind, ballot: Echo | Vote, sender: int) -> None:
        """An ECHO (S3) or a VOTE (S4)."""
        if not self._in_window(ballot.view, stale_matters=True):
            return
        said = (kind, ballot.member, ballot.view, ballot.block_hash, ballot.signature)
        if sender == ballot.member and self._seat.ledger.set_aside(*said):
            return
        if self._seat.ledger.examine(*said) is Finding.KNOWN:
            return
        if ballot.view >= self.view:
            self._seat.suspect_memory(ballot.member)
        self._seat.note(*said)

    def on_wish(self, wish: Wish) -> None:
        """Another member wants to leave for a view."""
        known = self.pacemaker.wish if wish.member == self._seat.own else 0
        if wish.view <= max(known, self.pacemaker.wish_of(wish.member)):
            return
        signed = self._context.signed(wish.member, Kind.WISH, wish.view, bytes(32), wish.signature)
        if not signed:
            raise InvalidInput("signature", f"is not that of member {wish.member}")
        self._seat.suspect_memory(wish.member)
        self.pacemaker.hear(wish.member, wish.view)

    def on_view_change(self, change: ViewChange) -> None:
        """A member entered a view that we lead, with its lock."""
        if not self._in_window(change.view, stale_matters=True):
            return
        if change.view == 0 or self._context.leader(change.view) != self._seat.own:
            raise InvalidInput("view", "is not one that we lead")
        ledger, digest = self._seat.ledger, lock_digest(change.lock)
        said = (Kind.VIEW_CHANGE, change.member, change.view, digest, change.signature)
        finding = ledger.examine(*said)
        if finding is Finding.KNOWN and change.member in self._changes.get(change.view, {}):
            return
        certificate = change.certificate
        if certificate is not None:
            if certificate.view >= change.view:
                raise InvalidInput("lock", "must be of an earlier view")
            verify_certificate(self._context, certificate, Kind.ECHO)
        if finding is not Finding.KNOWN:
            if change.view >= self.view:
                self._seat.suspect_memory(change.member)
            self._seat.note(*said, lock=change.lock)
        if finding is not Finding.CONFLICT and change.view >= self.view:
            # The signature that was checked, not one that came with a repetition.
            signature = ledger.said(Kind.VIEW_CHANGE, change.view)[change.member][1]
            checked = ViewChange(change.member, change.view, signature, certificate)
            self._changes.setdefault(change.view, {})[change.member] = checked

    def on_decision(self, certificate: Certificate) -> None:
        """DECIDED, from anybody."""
        known = self.certificate
        if known is not None and known.block_hash == certificate.block_hash:
            return
        verify_certificate(self._context, certificate)
        for member, signature in certificate.votes:
            # Two different decisions of one view name f + 1 double voters.
            if self._in_window(certificate.view, stale_matters=True, ahead_too=True):
                self._seat.note(
                    Kind.VOTE, member, certificate.view, certificate.block_hash, signature
                )
        if known is None:
            self._decide(certificate)

    # ---- what we do

    def step(self, now_ms: int) -> bool:
        """Do one thing that is possible now; False if there is none."""
        if self.certificate is not None:
            return False
        return (
            self._try_decide()
            or self._try_join()
            or self._try_enter(now_ms)
            or self._try_propose(now_ms)
            or self._try_echo()
            or self._try_vote()
        )

    def time_out(self, now_ms: int) -> None:
        """Wish for the next view if the timeout of this one is due."""
        if self._seat.observer:
            self.pacemaker.stop()
        elif self.pacemaker.time_out(now_ms):
            self._say_wish()

    def own_vote(self) -> Vote | None:
        """The own latest VOTE; it follows from the lock."""
        if self.lock is None or self._seat.observer:
            return None
        view, block_hash = self.lock.view, self.lock.block_hash
        signature = self._seat.sign(Kind.VOTE, view, block_hash)
        return Vote(self._seat.own, view, block_hash, signature)

    def resend(self) -> None:
        """Send the own latest messages again: loss is repaired by repetition, not by acknowledgement."""
        seat, view = self._seat, self.view
        if self.pacemaker.wish > 0:
            seat.broadcast(self._own_wish())
        if self.own_change is not None and self.own_change.view == view:
            seat.send(self._context.leader(view), self.own_change)
        if self.own_propose is not None and self.own_propose.view == view:
            seat.broadcast(self.own_propose)
        if self.own_echo is not None and self.own_echo.view == view:
            seat.broadcast(self.own_echo)
        vote = self.own_vote()
        if vote is not None:
            seat.broadcast(vote)

    def missing_bodies(self) -> int:
        """Bodies that the current proposal, or the decided block, still waits for."""
        block: Block | None = None
        if self.certificate is not None:
            block = self.blocks.get(self.certificate.block_hash)
        elif self.view in self._proposals:
            block = self._proposals[self.view].block
        if block is None:
            return 0
        held = self._collection.bodies
        roots = {row.opening.row_root for row in block.rows}
        return sum(root not in held for root in roots)

    def _try_decide(self) -> bool:
        ledger = self._seat.ledger
        for view in ledger.decided_views(Kind.VOTE):
            found = ledger.quorum(Kind.VOTE, view)
            if found is not None:
                self._decide(Certificate(view, *found))
                return True
        return False

    def _decide(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.pacemaker.stop()
        self.grace_ms = None
        self._collection.stop()
        self._seat.persist("decided", b"", certificate.encode(), lazy=True)
        self.announcement.begin(certificate)

    def _try_join(self) -> bool:
        if self._seat.observer or not self.pacemaker.join():
            return False
        self._say_wish()
        return True

    def _try_enter(self, now_ms: int) -> bool:
        view = self.pacemaker.due_view()
        if view is None:
            return False
        self.pacemaker.enter(view, now_ms)
        self.grace_ms = None
        self._forget()
        if self._seat.observer:
            self.pacemaker.stop()
            return True
        self._persist_view()
        self._change_view()
        return True

    def _change_view(self) -> None:
        lock = None if self.lock is None else (self.lock.view, self.lock.block_hash)
        signature = self._seat.sign(Kind.VIEW_CHANGE, self.view, lock_digest(lock))
        change = ViewChange(self._seat.own, self.view, signature, self.lock)
        self._seat.persist_message("view_change", change)
        self._keep_change(change)
        self._seat.send(self._context.leader(self.view), change)
        if (
            self._collection.own_have is not None
        ):  # The leaders before had it; this one needs it now.
            self._seat.send(self._context.leader(self.view), self._collection.own_have)

    def _try_propose(self, now_ms: int) -> bool:
        view, seat = self.view, self._seat
        if seat.observer or self._context.leader(view) != seat.own:
            return False
        if self.own_propose is not None and self.own_propose.view >= view:
            return False
        justification: Justification | None = None
        if view > 0:
            changes = self._changes.get(view, {})
            if len(changes) < self._context.quorum:
                return False
            justification = justify(self._context, changes)
        block = self._block_to_propose(justification, now_ms)
        if block is None:
            return False
        signature = seat.sign(Kind.PROPOSE, view, propose_digest(block.hash))
        propose = Propose(seat.own, view, signature, block, justification)
        seat.persist_message("propose", propose)
        self.own_propose = propose
        self._keep_propose(propose)
        seat.broadcast(propose)
        return True

    def _block_to_propose(self, justification: Justification | None, now_ms: int) -> Block | None:
        lock = None if justification is None else justification.certificate
        if lock is not None:
            if self.blocks.get(lock.block_hash) is None:
                holders = [member for member, _ in lock.votes]
                self._seat.retrieval.want(BLOCK, lock.block_hash, holders)
            return self.blocks.get(lock.block_hash)
        haves = len(self._collection.haves)
        if haves < self._context.rows_min:
            return None
        # Only the first leader waits: later views come after timeouts anyway.
        if justification is None and haves < self._context.n and not self._grace_over:
            if self.grace_ms is None:
                self.grace_ms = now_ms + self._seat.timing.grace_ms
            if now_ms < self.grace_ms:
                return None
            self._grace_over = True
        self.grace_ms = None
        return self._collection.build_block()

    def _try_echo(self) -> bool:
        view, seat = self.view, self._seat
        propose = self._proposals.get(view)
        if seat.observer or propose is None:
            return False
        if self.own_echo is not None and self.own_echo.view >= view:
            return False
        block = propose.block
        verdicts = [
            self._collection.verdict(row.member, row.opening.row_root) for row in block.rows
        ]
        if False in verdicts:
            return False
        if None in verdicts:
            self._collection.want_bodies(block, [propose.member])
            return False
        self.blocks.persist(block)
        echo = Echo(seat.own, view, block.hash, seat.sign(Kind.ECHO, view, block.hash))
        seat.persist_message("echo", echo)
        self.own_echo = echo
        seat.note(Kind.ECHO, seat.own, view, block.hash, echo.signature)
        seat.broadcast(echo)
        return True

    def _try_vote(self) -> bool:
        view, seat = self.view, self._seat
        if seat.observer or (self.lock is not None and self.lock.view >= view):
            return False
        found = seat.ledger.quorum(Kind.ECHO, view)
        if found is None:
            return False
        self.lock = Certificate(view, *found)
        seat.persist("lock", b"", self.lock.encode())
        vote = self.own_vote()
        assert vote is not None
        seat.note(Kind.VOTE, seat.own, view, vote.block_hash, vote.signature)
        seat.broadcast(vote)
        return True

    # ---- keeping

    def _in_window(self, view: int, *, stale_matters: bool, ahead_too: bool = False) -> bool:
        limits = self._seat.limits
        if view > self.view + limits.views_ahead_max:
            if ahead_too:
                return False
            raise InvalidInput("view", f"{view} is too far ahead of {self.view}")
        behind = limits.views_behind_max if stale_matters else 0
        return view >= self.view - behind

    def _keep_propose(self, propose: Propose) -> None:
        block = self.blocks.keep(propose.block)
        self._proposals[propose.view] = Propose(
            propose.member, propose.view, propose.signature, block, propose.justification
        )
        digest = propose_digest(block.hash)
        self._seat.note(Kind.PROPOSE, propose.member, propose.view, digest, propose.signature)

    def _keep_change(self, change: ViewChange) -> None:
        self.own_change = change
        digest = lock_digest(change.lock)
        self._seat.note(
            Kind.VIEW_CHANGE, change.member, change.view, digest, change.signature, change.lock
        )
        if self._context.leader(change.view) == self._seat.own:
            self._changes.setdefault(change.view, {})[change.member] = change

    def _note_claims(self, view: int, justification: Justification | None) -> None:
        # Every member sees which locks were claimed, so that a forgotten VOTE comes to light.
        if justification is not None:
            for claim in justification.claims:
                digest = lock_digest(claim.lock)
                self._seat.note(
                    Kind.VIEW_CHANGE, claim.member, view, digest, claim.signature, claim.lock
                )

    def _own_wish(self) -> Wish:
        wish = self.pacemaker.wish
        return Wish(self._seat.own, wish, self._seat.sign(Kind.WISH, wish, bytes(32)))

    def _say_wish(self) -> None:
        self._persist_view()
        self._seat.broadcast(self._own_wish())

    def _persist_view(self) -> None:
        value = journal.view_value(self.view, self.pacemaker.wish)
        self._seat.persist("view", b"", value)

    def _forget(self) -> None:
        """On entering a view: drop what can no longer matter."""
        view, seat = self.view, self._seat
        seat.ledger.forget_before(view - seat.limits.views_behind_max)
        self._proposals = {v: p for v, p in self._proposals.items() if v >= view}
        self._changes = {v: c for v, c in self._changes.items() if v >= view}
        kept = {propose.block.hash for propose in self._proposals.values()}
        if self.lock is not None:
            kept.add(self.lock.block_hash)
        self.blocks.trim(kept)
        wanted = {(BODY, digest) for digest in self._collection.wanted_bodies()}
        for propose in self._proposals.values():
            wanted.update((BODY, row.opening.row_root) for row in propose.block.rows)
        seat.retrieval.keep_only(wanted)
