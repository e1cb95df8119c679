"""A member that knows the protocol and says whatever may hurt.

It signs different rows and HAVEs for different receivers, echoes and votes for everything, never admits a
lock, and when it leads it proposes different blocks to different members, justified as thinly as possible or
against the highest lock. It cannot forge signatures of others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from meridian.ephemera import frame as frames
from meridian.ephemera.block import (
    Block,
    SignedHave,
    SignedRow,
    have_digest,
    required_members,
)
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import (
    BODY,
    Claim,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Justification,
    Message,
    Propose,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
)
from meridian.errors import InvalidInput
from meridian.primitives.keys import PrivateKey
from meridian.sim.hosts import LIMITS

RESEND_MS = 30
SPOKEN_MAX = 200
"""A liar falls silent after so many lies, so that worlds end."""


class Liar:
    """One lying member."""

    def __init__(
        self,
        member: int,
        key: PrivateKey,
        context: Context,
        rng: random.Random,
        post: Callable[[int, int | None, bytes], None],
    ) -> None:
        self.member = member
        self._key = key
        self._context = context
        self._rng = rng
        self._post = post
        self._bodies = {row_root(body): body for body in (b"lie a", b"lie b" * 30)}
        self._rows: dict[int, SignedRow] = {}
        self._haves: dict[int, SignedHave] = {}
        self._blocks: dict[bytes, Block] = {}
        self._changes: dict[int, dict[int, ViewChange]] = {}
        self._said: set[tuple[Kind, int, bytes]] = set()
        self._led: set[int] = set()
        self._wish = 0

    def wake(self) -> None:
        """Say the two rows, HAVEs and wishes again, at random to whom."""
        if len(self._said) > SPOKEN_MAX:
            return
        for to in self._others():
            digest = self._rng.choice(sorted(self._bodies))
            self._rows[self.member] = SignedRow(
                self.member, digest, self._sign(Kind.ROW, 0, digest)
            )
            self._tell(to, Row(self.member, digest, self._rows[self.member].signature))
            have = self._have()
            if have is not None:
                self._tell(to, Have(self.member, have.entries, have.signature))
        if self._wish:
            self._tell(
                None, Wish(self.member, self._wish, self._sign(Kind.WISH, self._wish, bytes(32)))
            )
        for view in sorted(self._changes):
            self._lead(view)

    def receive(self, sender: int, frame: bytes) -> None:
        """Learn, and answer with lies."""
        try:
            message = frames.decode(frame, self._context)
        except InvalidInput:
            return
        match message:
            case Row(member, digest, signature):
                self._rows.setdefault(member, SignedRow(member, digest, signature))
            case Have(member, entries, signature):
                self._haves.setdefault(member, SignedHave(member, entries, signature))
                self._lead(0)
            case Wish(_, view, _):
                self._wish = max(self._wish, view)
            case Propose(_, view, _, block, _):
                self._blocks[block.hash] = block
                self._support(view, block.hash)
            case Echo(_, view, block_hash, _) | Vote(_, view, block_hash, _):
                self._support(view, block_hash)
            case ViewChange(member, view, _, _):
                self._changes.setdefault(view, {})[member] = message
                self._lead(view)
            case Fetch(thing, _, digest, offset) if thing == BODY and digest in self._bodies:
                self._serve(sender, digest, offset)
            case _:
                pass

    def _support(self, view: int, block_hash: bytes) -> None:
        """Echo and vote for everything, to some."""
        if (Kind.ECHO, view, block_hash) in self._said or len(self._said) > SPOKEN_MAX:
            return
        self._said.add((Kind.ECHO, view, block_hash))
        echo = self._sign(Kind.ECHO, view, block_hash)
        vote = self._sign(Kind.VOTE, view, block_hash)
        for to in self._others():
            if self._rng.random() < 0.8:
                self._tell(to, Echo(self.member, view, block_hash, echo))
            if self._rng.random() < 0.8:
                self._tell(to, Vote(self.member, view, block_hash, vote))

    def _lead(self, view: int) -> None:
        if self._context.leader(view) != self.member or view in self._led:
            return
        justification = None
        if view > 0:
            changes = dict(self._changes.get(view, {}))
            digest = lock_digest(None)
            signature = self._sign(Kind.VIEW_CHANGE, view, digest)
            changes[self.member] = ViewChange(self.member, view, signature, None)
            if len(changes) < self._context.quorum:
                return
            justification = self._justify(changes)
        choices = self._choices(justification)
        if not choices:
            return
        self._led.add(view)
        for to in self._others():
            block = self._rng.choice(choices)
            self._blocks[block.hash] = block
            signature = self._sign(Kind.PROPOSE, view, propose_digest(block.hash))
            self._tell(to, Propose(self.member, view, signature, block, justification))

    def _justify(self, changes: Mapping[int, ViewChange]) -> Justification:
        """As few locks as the quorum allows."""
        free_first = sorted(changes, key=lambda member: (changes[member].lock is not None, member))
        chosen = sorted(free_first[: self._context.quorum])
        certificates = [c for m in chosen if (c := changes[m].certificate) is not None]
        best = max(certificates, key=lambda c: c.view, default=None)
        claims = tuple(Claim(m, changes[m].lock, changes[m].signature) for m in chosen)
        return Justification(claims, best)

    def _choices(self, justification: Justification | None) -> list[Block]:
        """Blocks to propose: valid ones that differ, and ones that leave out what is required."""
        lock = None if justification is None else justification.certificate
        if lock is not None and lock.block_hash in self._blocks and self._rng.random() < 0.4:
            return [self._blocks[lock.block_hash]]
        context = self._context
        have = self._have()
        if have is None:
            return []
        haves = dict(self._haves)
        haves[self.member] = have
        if len(haves) < context.rows_min or len(self._rows) < context.rows_min:
            return []
        every = tuple(haves[m] for m in sorted(haves))
        few = every[: context.rows_min]
        rows = tuple(self._rows[m] for m in sorted(self._rows))
        blocks = [Block(context.epoch, rows, every), Block(context.epoch, rows, few)]
        for haves_chosen in (every, few):
            needed = required_members(context, haves_chosen)
            optional = [row for row in rows if row.member not in needed]
            victim = self._rng.choice(optional or list(rows))
            fewer = tuple(row for row in rows if row is not victim)
            if len(fewer) >= context.rows_min:
                blocks.append(Block(context.epoch, fewer, haves_chosen))
        return blocks

    def _have(self) -> SignedHave | None:
        others = [row for row in self._rows.values() if row.member != self.member]
        self._rng.shuffle(others)
        least = self._context.rows_min - (self.member in self._rows)
        if len(others) < least:
            return None
        chosen = others[: self._rng.randint(least, len(others))]
        if self.member in self._rows:
            chosen.append(self._rows[self.member])
        entries = tuple(sorted((row.member, row.digest) for row in chosen))
        return SignedHave(self.member, entries, self._sign(Kind.HAVE, 0, have_digest(entries)))

    def _serve(self, to: int, digest: bytes, offset: int) -> None:
        body = self._bodies[digest]
        piece = body[offset : offset + LIMITS.piece_bytes]
        if self._rng.random() < 0.2:
            piece = bytes(len(piece))
        self._tell(to, FetchReply(BODY, digest, len(body), offset, piece))

    def _others(self) -> list[int]:
        return [member for member in range(self._context.n) if member != self.member]

    def _sign(self, kind: Kind, view: int, digest: bytes) -> bytes:
        return self._key.sign(self._context.statement(kind, view, digest))

    def _tell(self, to: int | None, message: Message) -> None:
        self._post(self.member, to, frames.encode(message, self._context.epoch))
