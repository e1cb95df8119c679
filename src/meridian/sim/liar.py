"""A member that knows the protocol and says whatever may hurt.

It signs different rows and HAVEs for different receivers, echoes and votes for everything, never admits a
lock, and when it leads it proposes different blocks to different members, justified as thinly as possible or
against the highest lock. It cannot forge signatures of others. Liars that collude share what they hear, and echo
and vote to each receiver for the block that it was shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
)
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.errors import InvalidInput
from meridian.primitives.keys import PrivateKey
from meridian.sim.hosts import LIMITS

Post = Callable[[int, tuple[int, ...], bytes], None]
"""Say something in the name of a member to members, by index in the epoch."""

NO_SALT = bytes(32)
REVEALED = 0.8
"""How often a liar reveals what it just committed itself to."""

RESEND_MS = 30
SPOKEN_MAX = 200
"""A liar falls silent after so many lies, so that worlds end."""


@dataclass(slots=True)
class Cabal:
    """What colluding liars of one epoch share: all that each has heard, and their keys."""

    keys: dict[int, PrivateKey]
    """By index in the epoch."""
    rows: dict[int, SignedRow] = field(default_factory=dict)
    haves: dict[int, SignedHave] = field(default_factory=dict)
    blocks: dict[bytes, Block] = field(default_factory=dict)
    changes: dict[int, dict[int, ViewChange]] = field(default_factory=dict)
    sides: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """Which block each receiver is to believe in, by (view, receiver)."""


class Liar:
    """One lying member of one epoch."""

    def __init__(
        self, member: int, context: Context, cabal: Cabal, rng: random.Random, post: Post
    ) -> None:
        self.context = context
        self._member = member
        self._cabal = cabal
        self._rng = rng
        self._post = post
        self._bodies = {row_root(body): body for body in (b"lie a", b"lie b" * 30)}
        self._said: set[tuple[Kind, int, bytes]] = set()
        self._led: set[int] = set()
        self._wish = 0

    def wake(self) -> None:
        """Say the two rows, HAVEs and wishes again, at random to whom."""
        if len(self._said) > SPOKEN_MAX:
            return
        for to in self._others():
            row = self._own_row(self._rng.choice(sorted(self._bodies)))
            self._cabal.rows[self._member] = row
            self._tell(to, Row(row.member, row.digest, row.signature))
            if self._rng.random() < REVEALED:
                self._tell(to, Reveal(row.member, row.digest, row.signature, row.opening))
            have = self._have()
            if have is not None:
                self._tell(to, Have(self._member, have.entries, have.signature))
        if self._wish:
            self._tell(
                None, Wish(self._member, self._wish, self._sign(Kind.WISH, self._wish, bytes(32)))
            )
        for view in sorted(self._cabal.changes):
            self._lead(view)

    def receive(self, sender: int, frame: bytes) -> None:
        """Learn, and answer with lies."""
        try:
            message = frames.decode(frame, self.context)
        except InvalidInput:
            return
        match message:
            case Reveal(member, digest, signature, opening):
                row = SignedRow(member, digest, signature, opening)
                self._cabal.rows.setdefault(member, row)
            case Have(member, entries, signature):
                self._cabal.haves.setdefault(member, SignedHave(member, entries, signature))
                self._lead(0)
            case Wish(_, view, _):
                self._wish = max(self._wish, view)
            case Propose(_, view, _, block, _):
                self._cabal.blocks[block.hash] = block
                self._support(view, block.hash)
            case Echo(_, view, block_hash, _) | Vote(_, view, block_hash, _):
                self._support(view, block_hash)
            case ViewChange(member, view, _, _):
                self._cabal.changes.setdefault(view, {})[member] = message
                self._lead(view)
            case Fetch(thing, _, digest, offset) if thing == BODY and digest in self._bodies:
                self._serve(sender, digest, offset)
            case _:
                pass

    def _own_row(self, root: bytes) -> SignedRow:
        """Commit to one of the own bodies."""
        opening = Opening(NO_SALT, root, NO_TRACE)
        digest = commitment_of(self.context.members[self._member], opening)
        return SignedRow(self._member, digest, self._sign(Kind.ROW, 0, digest), opening)

    def _support(self, view: int, block_hash: bytes) -> None:
        """Echo and vote for everything, to some."""
        if (Kind.ECHO, view, block_hash) in self._said or len(self._said) > SPOKEN_MAX:
            return
        self._said.add((Kind.ECHO, view, block_hash))
        if len(self._cabal.keys) > 1:
            for to in self._others():
                if self._cabal.sides.get((view, to), block_hash) == block_hash:
                    self._back(view, to, block_hash)
            return
        echo = self._sign(Kind.ECHO, view, block_hash)
        vote = self._sign(Kind.VOTE, view, block_hash)
        for to in self._others():
            if self._rng.random() < 0.8:
                self._tell(to, Echo(self._member, view, block_hash, echo))
            if self._rng.random() < 0.8:
                self._tell(to, Vote(self._member, view, block_hash, vote))

    def _lead(self, view: int) -> None:
        if self.context.leader(view) != self._member or view in self._led:
            return
        justification = None
        if view > 0:
            changes = dict(self._cabal.changes.get(view, {}))
            digest = lock_digest(None)
            for member in self._cabal.keys:
                signature = self._sign(Kind.VIEW_CHANGE, view, digest, member)
                changes[member] = ViewChange(member, view, signature, None)
            if len(changes) < self.context.quorum:
                return
            justification = self._justify(changes)
        choices = self._choices(justification)
        if not choices:
            return
        self._led.add(view)
        for to in self._others():
            block = self._rng.choice(choices)
            self._cabal.blocks[block.hash] = block
            signature = self._sign(Kind.PROPOSE, view, propose_digest(block.hash))
            self._tell(to, Propose(self._member, view, signature, block, justification))
            if len(self._cabal.keys) > 1:
                self._cabal.sides[view, to] = block.hash
                self._back(view, to, block.hash)

    def _back(self, view: int, to: int, block_hash: bytes) -> None:
        """Every colluder echoes and votes to one receiver for its block."""
        for member in self._cabal.keys:
            for kind, ballot in ((Kind.ECHO, Echo), (Kind.VOTE, Vote)):
                signature = self._sign(kind, view, block_hash, member)
                frame = frames.encode(
                    ballot(member, view, block_hash, signature), self.context.epoch
                )
                self._post(member, (to,), frame)

    def _justify(self, changes: Mapping[int, ViewChange]) -> Justification:
        """As few locks as the quorum allows."""
        free_first = sorted(changes, key=lambda member: (changes[member].lock is not None, member))
        chosen = sorted(free_first[: self.context.quorum])
        certificates = [c for m in chosen if (c := changes[m].certificate) is not None]
        best = max(certificates, key=lambda c: c.view, default=None)
        claims = tuple(Claim(m, changes[m].lock, changes[m].signature) for m in chosen)
        return Justification(claims, best)

    def _choices(self, justification: Justification | None) -> list[Block]:
        """Blocks to propose: valid ones that differ, and ones that leave out what is required."""
        lock = None if justification is None else justification.certificate
        if lock is not None and lock.block_hash in self._cabal.blocks and self._rng.random() < 0.4:
            return [self._cabal.blocks[lock.block_hash]]
        context = self.context
        have = self._have()
        if have is None:
            return []
        haves = dict(self._cabal.haves)
        haves[self._member] = have
        if len(haves) < context.rows_min or len(self._cabal.rows) < context.rows_min:
            return []
        every = tuple(haves[m] for m in sorted(haves))
        few = every[: context.rows_min]
        rows = tuple(self._cabal.rows[m] for m in sorted(self._cabal.rows))
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
        others = [row for row in self._cabal.rows.values() if row.member != self._member]
        self._rng.shuffle(others)
        least = self.context.rows_min - (self._member in self._cabal.rows)
        if len(others) < least:
            return None
        chosen = others[: self._rng.randint(least, len(others))]
        if self._member in self._cabal.rows:
            chosen.append(self._cabal.rows[self._member])
        entries = tuple(sorted((row.member, row.digest) for row in chosen))
        return SignedHave(self._member, entries, self._sign(Kind.HAVE, 0, have_digest(entries)))

    def _serve(self, to: int, digest: bytes, offset: int) -> None:
        body = self._bodies[digest]
        piece = body[offset : offset + LIMITS.piece_bytes]
        if self._rng.random() < 0.2:
            piece = bytes(len(piece))
        self._tell(to, FetchReply(BODY, digest, len(body), offset, piece))

    def _others(self) -> list[int]:
        return [member for member in range(self.context.n) if member not in self._cabal.keys]

    def _sign(self, kind: Kind, view: int, digest: bytes, member: int | None = None) -> bytes:
        key = self._cabal.keys[self._member if member is None else member]
        return key.sign(self.context.statement(kind, view, digest))

    def _tell(self, to: int | None, message: Message) -> None:
        receivers = tuple(self._others()) if to is None else (to,)
        self._post(self._member, receivers, frames.encode(message, self.context.epoch))
