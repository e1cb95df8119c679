"""Byzantine members of aimed worlds: each does the one thing that a class of mutants lets pass.

Two know the protocol like `liar.Liar`; the others run the core and twist what it says (see `puppets`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, SignedHave, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import (
    BLOCK,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Justification,
    Message,
    Propose,
    ReportSignature,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey
from meridian.sim.forger import Forger
from meridian.sim.hosts import ATTEMPT, LIMITS
from meridian.sim.liar import SPOKEN_MAX, Cabal, Liar, Post
from meridian.sim.machine import REFUSED_BODY
from meridian.sim.puppets import Maker, Puppet, Said

HASTE, HASTE_MAX = 3, 600
"""How far ahead a hasty member wishes, and up to which view."""


class Pest(Liar):
    """Proposes again and again in the views that it leads: other blocks, two rows of its own, a row to be refused."""

    def __init__(
        self, member: int, context: Context, cabal: Cabal, rng: random.Random, post: Post
    ) -> None:
        super().__init__(member, context, cabal, rng, post)
        self._justified: dict[int, Justification | None] = {}
        refused = REFUSED_BODY + b" row"
        self._bodies[row_root(refused)] = refused
        self._spent = 0

    def wake(self) -> None:  # noqa: D102 - see Liar
        super().wake()
        for view in sorted(self._led):
            choices = self._choices(self._justified.get(view))
            for to in self._others():
                if choices and self._spent < SPOKEN_MAX:
                    self._spent += 1
                    self._propose(view, to, self._rng.choice(choices), self._justified.get(view))

    def _justify(self, changes: Mapping[int, ViewChange]) -> Justification:
        justification = super()._justify(changes)
        (view,) = {change.view for change in changes.values()}
        self._justified[view] = justification
        return justification

    def _choices(self, justification: Justification | None) -> list[Block]:
        blocks = super()._choices(justification)
        lock = None if justification is None else justification.certificate
        if not blocks or (lock is not None and blocks[0].hash == lock.block_hash):
            return blocks
        mine = [self._own_row(root) for root in sorted(self._bodies)]
        first = blocks[0]
        others = [row for row in first.rows if row.member != self._member]
        for chosen in ([mine[0]], [mine[1]], [mine[2]], mine[:2]):
            rows = sorted([*others, *chosen], key=lambda row: row.member)
            blocks.append(Block(first.epoch, tuple(rows), first.haves))
        return blocks

    def _propose(
        self, view: int, to: int, block: Block, justification: Justification | None
    ) -> None:
        signature = self._sign(Kind.PROPOSE, view, propose_digest(block.hash))
        self._tell(to, Propose(self._member, view, signature, block, justification))


class Usurper(Pest):
    """Proposes in view 0, which another leads."""

    def _lead(self, view: int) -> None:
        if view > 0 or view in self._led:
            return
        choices = self._choices(None)
        if choices:
            self._led.add(view)
            for to in self._others():
                self._propose(view, to, choices[0], None)


class Hasty(Puppet):
    """Wishes for a later view as soon as it hears of one."""

    wished: int = 0

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        match self.read(frame):
            case context, Propose() | Echo() | Vote() | Wish() as message:
                wish = message.view + HASTE
            case context, Have():
                wish = HASTE
            case _:
                return []
        if not self.wished < wish < HASTE_MAX:
            return []
        self.wished = wish
        signature = self.sign(context, Kind.WISH, wish, bytes(32))
        said = Wish(self.own(context), wish, signature)
        return [(self.others(context), frames.encode(said, context.epoch))]


class Swapper(Puppet):
    """Serves another valid block in the place of the one that is asked for."""

    blocks: tuple[Block, ...] = ()

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case _, Propose(_, _, _, block, _):
                self.blocks = (*self.blocks, block)[-4:]
            case context, Fetch(thing, _, digest, offset) if thing == BLOCK and self.blocks:
                data = self._other(self.blocks[-1]).encode()
                if offset < len(data):
                    piece = data[offset : offset + LIMITS.piece_bytes]
                    reply = FetchReply(BLOCK, digest, len(data), offset, piece)
                    return self.spend([((sender,), frames.encode(reply, context.epoch))])
            case _:
                pass
        return []

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case _, Propose(_, _, _, block, _):
                self.blocks = (*self.blocks, block)[-4:]
            case _, FetchReply(thing, _, _, _, _) if thing == BLOCK:
                return []
            case _:
                pass
        return [(to, frame)]

    def _other(self, block: Block) -> Block:
        """The same without its last HAVE, or with another order of members' rows than any block has."""
        context = self.contexts[block.epoch]
        if len(block.haves) > context.rows_min:
            return Block(block.epoch, block.rows, block.haves[:-1])
        own = self.own(context)
        entries = tuple((row.member, row.digest) for row in block.rows)
        signature = self.sign(context, Kind.HAVE, 0, have_digest(entries))
        haves = {have.member: have for have in block.haves}
        haves[own] = SignedHave(own, entries, signature)
        return Block(block.epoch, block.rows, tuple(haves[m] for m in sorted(haves)))


class Culprit(Puppet):
    """Says one kind twice to everybody, the twisted one first; or denies the lock of its VOTE."""

    kind: Kind | None = Kind.VOTE

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        read = self.read(frame)
        if read is None or frame[1] != (Kind.VIEW_CHANGE if self.kind is None else self.kind):
            return [(to, frame)]
        context, message = read
        twisted = self._twisted(context, message)
        if twisted is None:
            return [(to, frame)]
        said = [(to, frames.encode(twisted, context.epoch))]
        return said if self.kind is None else [*said, (to, frame)]

    def _twisted(self, context: Context, message: Message) -> Message | None:
        own, digest = self.own(context), bytes((7,)) * 32
        match message:
            case ViewChange(member, view, _, _) if member == own:
                signature = self.sign(context, Kind.VIEW_CHANGE, view, lock_digest(None))
                return ViewChange(own, view, signature, None)
            case Row(member, _, _) if member == own:
                return Row(own, digest, self.sign(context, Kind.ROW, 0, digest))
            case Have(member, entries, _) if member == own:
                other = tuple((m, d if m != own else digest) for m, d in entries)
                signature = self.sign(context, Kind.HAVE, 0, have_digest(other))
                return Have(own, other, signature)
            case Echo(member, view, _, _) if member == own:
                return Echo(own, view, digest, self.sign(context, Kind.ECHO, view, digest))
            case Vote(member, view, _, _) if member == own:
                return Vote(own, view, digest, self.sign(context, Kind.VOTE, view, digest))
            case ReportSignature(member, _, _, _, _) if member == own:
                return self.report(context, digest)
            case _:
                return None

    def report(self, context: Context, digest: bytes) -> ReportSignature:
        """Sign any report."""
        said = self.sign(context, Kind.REPORT_SIG, 0, report_digest(ATTEMPT, digest))
        return ReportSignature(self.own(context), ATTEMPT, digest, self.key.sign(digest), said)


class DoubleReporter(Culprit):
    """Signs another report for one member than for the rest, and passes nothing on."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, ReportSignature(member, _, _, _, _):
                return self._reports(context, member, to, frame)
            case _:
                return [(to, frame)]

    def _reports(
        self, context: Context, member: int, to: tuple[int, ...], frame: bytes
    ) -> list[Said]:
        if member != self.own(context):
            return []
        victim = (self.participant + 1) % len(self.ids)
        wrong = frames.encode(self.report(context, bytes((9,)) * 32), context.epoch)
        return [((p,), wrong if p == victim else frame) for p in to]


def _culprit(kind: Kind | None) -> Maker:
    def make(
        participant: int,
        key: PrivateKey,
        contexts: dict[int, Context],
        ids: dict[Address, int],
        rng: random.Random,
    ) -> Puppet:
        made = Culprit(participant, key, contexts, ids, rng)
        made.kind = kind
        return made

    return make


GUILTY: dict[str, Kind | None] = {
    "double_row": Kind.ROW,
    "double_have": Kind.HAVE,
    "double_echo": Kind.ECHO,
    "double_vote": Kind.VOTE,
    "double_report_sig": Kind.REPORT_SIG,
    "amnesia": None,
}
"""What a culprit says twice, by the misbehaviour that this proves."""

AIMED_ROLES: dict[str, Maker] = {
    "hasty": Hasty,
    "swapper": Swapper,
    "double-reporter": DoubleReporter,
    "forger": Forger,
    **{f"culprit {guilt}": _culprit(kind) for guilt, kind in GUILTY.items()},
}
"""Puppets, by the names that a plan uses."""

LIARS: dict[str, Callable[[int, Context, Cabal, random.Random, Post], Liar]] = {
    "pest": Pest,
    "usurper": Usurper,
}
"""Liars, by the names that a plan uses."""
