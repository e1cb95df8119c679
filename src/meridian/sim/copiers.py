"""Byzantine members that abuse the two halves of a row: the commitment, and what opens it.

They run the core and twist what it says (see `puppets`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, SignedRow, have_digest
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Have, Propose, Reveal, Row, propose_digest
from meridian.ephemera.opening import NO_TRACE, Opening
from meridian.sim.puppets import Maker, Puppet, Said


class Mute(Puppet):
    """Commits itself and never reveals."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        return [] if frame[1] == Kind.REVEAL else [(to, frame)]


class Turncoat(Puppet):
    """Reveals something else than it had committed itself to."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, Reveal(member, _, _, opening) as row if member == self.own(context):
                other = replace(opening, row_root=bytes((self.rng.randrange(256),)) * 32)
                return [(to, frames.encode(replace(row, opening=other, body=None), context.epoch))]
            case _:
                return [(to, frame)]


class Tardy(Puppet):
    """Reveals to every second member only, and to the others when somebody proposes."""

    kept: bytes = b""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        if frame[1] != Kind.REVEAL:
            return [(to, frame)]
        self.kept = frame
        chosen = tuple(receiver for receiver in to if (receiver + self.participant) % 2)
        return [(chosen, frame)] if chosen else []

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        match self.read(frame):
            case context, Propose() if self.kept and self.kept[2:10] == frame[2:10]:
                return self.spend([(self.others(context), self.kept)])
            case _:
                return []


@dataclass(slots=True)
class _Copied:
    """What a copycat has of one epoch."""

    revealed: set[int] = field(default_factory=set)
    """Participants whose rows it has learnt."""
    row: Reveal | None = None
    """Its copy."""


class Copycat(Puppet):
    """Evaluates nothing: commits itself to a row that others have revealed, and smuggles it in where it leads.

    It waits for everybody in `waits_for`, so that no correct member can take its commitment for one in time.
    """

    waits_for: frozenset[int] = frozenset()
    """Participants."""
    epochs: dict[int, _Copied]

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        read = self.read(frame)
        if read is None:
            return [(to, frame)]
        context, message = read
        own, row = self.own(context), self.copied(context).row
        match message:
            case Row(member) | Reveal(member) if member == own:
                said: Row | Reveal | Have | Propose | None = row
            case Have(member, entries, _) if member == own and row is not None:
                twisted = tuple(sorted({**dict(entries), own: row.digest}.items()))
                signature = self.sign(context, Kind.HAVE, 0, have_digest(twisted))
                said = Have(own, twisted, signature)
            case Have(member) if member == own:
                said = None
            case Propose(member, _, _, _, None) as propose if member == own and row is not None:
                said = self._smuggled(context, propose, row)
            case _:
                return [(to, frame)]
        return [] if said is None else [(to, frames.encode(said, context.epoch))]

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        match self.read(frame):
            case context, Reveal(member, _, _, opening, body) if member != self.own(context):
                return self._learn(context, member, opening, body)
            case _:
                return []

    def copied(self, context: Context) -> _Copied:
        """What it has of an epoch."""
        if not hasattr(self, "epochs"):
            self.epochs = {}
        return self.epochs.setdefault(context.epoch, _Copied())

    def _learn(
        self, context: Context, member: int, opening: Opening, body: bytes | None
    ) -> list[Said]:
        copied = self.copied(context)
        copied.revealed.add(self.ids[context.members[member]])
        members = {self.ids[address] for address in context.members}
        enough = self.waits_for & members <= copied.revealed
        if copied.row is not None or not enough:
            return []
        salt = self.rng.randbytes(32)
        copied.row = self.reveal(context, Opening(salt, opening.row_root, NO_TRACE))
        row = Row(copied.row.member, copied.row.digest, copied.row.signature)
        both = (row, replace(copied.row, body=body))
        to = self.others(context)
        return self.spend([(to, frames.encode(said, context.epoch)) for said in both])

    def _smuggled(self, context: Context, propose: Propose, row: Reveal) -> Propose:
        block = propose.block
        rows = {each.member: each for each in block.rows}
        rows[row.member] = SignedRow(row.member, row.digest, row.signature, row.opening)
        twisted = Block(block.epoch, tuple(rows[m] for m in sorted(rows)), block.haves)
        signature = self.sign(context, Kind.PROPOSE, propose.view, propose_digest(twisted.hash))
        return replace(propose, block=twisted, signature=signature)


class Hasty(Copycat):
    """A copycat that takes the first row that it learns."""


COPIERS: dict[str, Maker] = {
    "mute": Mute,
    "turncoat": Turncoat,
    "tardy": Tardy,
    "copycat": Copycat,
    "hasty copycat": Hasty,
}
"""By the names that a plan uses."""
