"""A forger: claims in the names of others what they never signed, for mutants that do not look at signatures."""

from __future__ import annotations

from dataclasses import replace

from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate, SignedHave
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import (
    Accusation,
    Decision,
    Echo,
    Message,
    Propose,
    ReportSignature,
    Row,
    Vote,
    Wish,
    propose_digest,
    report_digest,
)
from meridian.sim.hosts import ATTEMPT
from meridian.sim.puppets import Puppet, Said

MADE_UP = bytes((6,)) * 32
FAR = 7
"""A view that nobody else wishes for."""


class Forger(Puppet):
    """Answers what it hears with forgeries of one sort, drawn once; what it signs for others is signed by itself."""

    sort: str = ""
    echoes: tuple[Echo, ...] = ()

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        read = self.read(frame)
        if read is None:
            return []
        context, message = read
        if isinstance(message, Echo):
            self.echoes = (*self.echoes, message)[-16:]
        self.sort = self.sort or self.rng.choice(tuple(SORTS))
        forged = SORTS[self.sort](self, context, message)
        to = self.others(context)
        return self.spend([(to, frames.encode(each, context.epoch)) for each in forged])

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        self.sort = self.sort or self.rng.choice(tuple(SORTS))
        match self.read(frame):
            case context, Propose(own, view, _, block, None) as propose if self.sort in {
                "rows",
                "haves",
            }:
                twisted = self._twisted(own, block)
                signature = self.sign(context, Kind.PROPOSE, view, propose_digest(twisted.hash))
                forged = replace(propose, block=twisted, signature=signature)
                return [(to, frames.encode(forged, context.epoch))]
            case context, ReportSignature() as report if self.sort == "chain":
                report = replace(report, report_signature=bytes(64))
                return [(to, frames.encode(report, context.epoch))]
            case _:
                return [(to, frame)]

    def statements(self, context: Context, message: Message) -> list[Message]:
        """ROW, HAVE, ECHO and VOTE of every other member, for something made up."""
        own, out = self.own(context), list[Message]()
        view = message.view if isinstance(message, Propose | Echo | Vote) else 0
        for member in range(context.n):
            if member != own:
                row = self.sign(context, Kind.ROW, 0, MADE_UP)
                echo = self.sign(context, Kind.ECHO, view, MADE_UP)
                vote = self.sign(context, Kind.VOTE, view, MADE_UP)
                out += [Row(member, MADE_UP, row), Echo(member, view, MADE_UP, echo)]
                out.append(Vote(member, view, MADE_UP, vote))
        return out

    def wishes(self, context: Context, message: Message) -> list[Message]:
        """Everybody wishes for a far view."""
        del message
        signature = self.sign(context, Kind.WISH, FAR, bytes(32))
        return [Wish(member, FAR, signature) for member in range(context.n)]

    def decisions(self, context: Context, message: Message) -> list[Message]:
        """Everybody voted for something made up."""
        del message
        signature = self.sign(context, Kind.VOTE, 0, MADE_UP)
        votes = tuple((member, signature) for member in range(context.quorum))
        return [Decision(Certificate(0, MADE_UP, votes))]

    def repeated(self, context: Context, message: Message) -> list[Message]:
        """The own VOTE, as often as a quorum needs."""
        del message
        own = self.own(context)
        vote = (own, self.sign(context, Kind.VOTE, 0, MADE_UP))
        return [Decision(Certificate(0, MADE_UP, (vote,) * context.quorum))]

    def echoed(self, context: Context, message: Message) -> list[Message]:
        """ECHOs in the place of VOTEs."""
        if not isinstance(message, Echo):
            return []
        view, block_hash = message.view, message.block_hash
        own = Echo(
            self.own(context), view, block_hash, self.sign(context, Kind.ECHO, view, block_hash)
        )
        same = [e for e in (*self.echoes, own) if (e.view, e.block_hash) == (view, block_hash)]
        votes = sorted({echo.member: echo.signature for echo in same}.items())
        if len(votes) < context.quorum:
            return []
        return [Decision(Certificate(view, block_hash, tuple(votes[: context.quorum])))]

    def reports(self, context: Context, message: Message) -> list[Message]:
        """Another report of everybody."""
        if not isinstance(message, ReportSignature):
            return []
        said = self.sign(context, Kind.REPORT_SIG, 0, report_digest(ATTEMPT, MADE_UP))
        chain = self.key.sign(MADE_UP)
        return [ReportSignature(m, ATTEMPT, MADE_UP, chain, said) for m in range(context.n)]

    def proofs(self, context: Context, message: Message) -> list[Message]:
        """Evidence against somebody who signed nothing."""
        del message
        victim = (self.own(context) + 1) % context.n
        pairs = [(d, self.sign(context, Kind.ECHO, 0, d)) for d in (MADE_UP, bytes(32))]
        return [Accusation(evidence.double(context, victim, Kind.ECHO, 0, pairs[0], pairs[1]))]

    def nothing(self, context: Context, message: Message) -> list[Message]:
        """Only what its core says is twisted (see `says`)."""
        del context, message
        return []

    def _twisted(self, own: int, block: Block) -> Block:
        """A block with a row, or a HAVE, of another member that this did not sign."""
        victim = next(row.member for row in block.rows if row.member != own)
        if self.sort == "rows":
            rows = tuple(
                replace(row, signature=bytes(64)) if row.member == victim else row
                for row in block.rows
            )
            return Block(block.epoch, rows, block.haves)
        haves = tuple(
            SignedHave(have.member, have.entries, bytes(64)) if have.member == victim else have
            for have in block.haves
        )
        return Block(block.epoch, block.rows, haves)


SORTS = {
    "statements": Forger.statements,
    "wishes": Forger.wishes,
    "decisions": Forger.decisions,
    "repeated": Forger.repeated,
    "echoed": Forger.echoed,
    "reports": Forger.reports,
    "proofs": Forger.proofs,
    "rows": Forger.nothing,
    "haves": Forger.nothing,
    "chain": Forger.nothing,
}
"""Sorts of forgeries."""
