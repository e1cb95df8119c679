"""A puppet that changes one thing in what its core says and signs it again: valid signatures over wrong content.

Method of ByzzFuzz's small-scope mutations (Winter and others, OOPSLA 2023): one field, one step. It is what reaches
the checks behind the signature check, which flipped bits never pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate, SignedHave, SignedRow, have_digest
from meridian.ephemera.context import VIEW_MAX, Context, Kind
from meridian.ephemera.message import (
    Accusation,
    Claim,
    Decision,
    Have,
    Justification,
    Message,
    Propose,
    ReportSignature,
    ViewChange,
    lock_digest,
    propose_digest,
)
from meridian.ephemera.opening import Opening
from meridian.sim.puppets import Puppet, Said

T = TypeVar("T")

NO_SIGNATURE = bytes(64)
NOTHING = Opening(bytes(32), bytes(32), bytes(32))
STRANGER = 120
"""An index that no member of a world has, and that a frame can carry."""

SPARED = 0.3
"""Share of the frames that stay as they are, so that it takes part at all."""


class Mangler(Puppet):
    """Changes one thing and signs again."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        read = self.read(frame)
        if read is None or self.rng.random() < SPARED:
            return [(to, frame)]
        context, message = read
        return [(to, frames.encode(self._mangled(context, message), context.epoch))]

    def _mangled(self, context: Context, message: Message) -> Message:
        match message:
            case Propose():
                return self._propose(context, message)
            case Have(member, entries, _) if member == self.own(context):
                wrong = tuple(self._list(entries, (STRANGER, bytes(32))))
                signature = self.sign(context, Kind.HAVE, 0, have_digest(wrong))
                return Have(member, wrong, signature)
            case Decision(certificate):
                return Decision(self._certificate(certificate))
            case ViewChange():
                return self._change(context, message)
            case ReportSignature():
                if self.rng.random() < 0.5:
                    return replace(message, report_signature=NO_SIGNATURE)
                return replace(message, signature=NO_SIGNATURE)
            case Accusation(proof):
                return Accusation(self._proof(proof))
            case _:
                return message

    def _propose(self, context: Context, propose: Propose) -> Propose:
        block, justification = propose.block, propose.justification
        if justification is not None and self.rng.random() < 0.6:
            justification = self._justification(context, propose, justification)
        else:
            block = self._block(block)
        view = propose.view
        signature = self.sign(context, Kind.PROPOSE, view, propose_digest(block.hash))
        return Propose(propose.member, view, signature, block, justification)

    def _block(self, block: Block) -> Block:
        match self.rng.randrange(6):
            case 0:
                rows = self._list(block.rows, SignedRow(STRANGER, bytes(32), NO_SIGNATURE, NOTHING))
                return Block(block.epoch, tuple(rows), block.haves)
            case 1:
                entries = block.haves[0].entries
                stranger = SignedHave(STRANGER, entries, NO_SIGNATURE)
                return Block(block.epoch, block.rows, tuple(self._list(block.haves, stranger)))
            case 2:
                row = replace(block.rows[0], signature=NO_SIGNATURE)
                return Block(block.epoch, (row, *block.rows[1:]), block.haves)
            case 3:
                have = replace(block.haves[0], signature=NO_SIGNATURE)
                return Block(block.epoch, block.rows, (have, *block.haves[1:]))
            case 4:
                at = self.rng.randrange(len(block.rows))
                row = replace(block.rows[at], opening=block.rows[at - 1].opening)
                return Block(
                    block.epoch, (*block.rows[:at], row, *block.rows[at + 1 :]), block.haves
                )
            case _:
                return Block(block.epoch + 1, block.rows, block.haves)

    def _justification(
        self, context: Context, propose: Propose, justification: Justification
    ) -> Justification:
        claims, certificate = justification.claims, justification.certificate
        match self.rng.randrange(6):
            case 0:
                wrong = self._list(claims, Claim(STRANGER, None, NO_SIGNATURE))
                return Justification(tuple(wrong), certificate)
            case 1:
                claim = replace(claims[0], signature=NO_SIGNATURE)
                return Justification((claim, *claims[1:]), certificate)
            case 2:
                return Justification(claims, None)
            case 3:
                digest = propose.block.hash
                return Justification(claims, certificate or Certificate(0, digest, ()))
            case 4:
                lock = (propose.view + self.rng.randrange(2), propose.block.hash)
                signature = self.sign(context, Kind.VIEW_CHANGE, propose.view, lock_digest(lock))
                own = self.own(context)
                wrong = [Claim(own, lock, signature) if c.member == own else c for c in claims]
                return Justification(tuple(wrong), certificate)
            case _:
                if certificate is None:
                    return Justification(claims[:-1], None)
                return Justification(claims, self._certificate(certificate))

    def _change(self, context: Context, change: ViewChange) -> ViewChange:
        certificate = change.certificate
        if certificate is None:
            certificate = Certificate(change.view, bytes(32), ())
        elif self.rng.random() < 0.5:
            certificate = self._certificate(certificate)
        else:
            certificate = replace(certificate, view=change.view)
        lock = (certificate.view, certificate.block_hash)
        signature = self.sign(context, Kind.VIEW_CHANGE, change.view, lock_digest(lock))
        return ViewChange(change.member, change.view, signature, certificate)

    def _certificate(self, certificate: Certificate) -> Certificate:
        if self.rng.random() < 0.2:
            return replace(certificate, view=self.rng.choice((0, certificate.view + 1, VIEW_MAX)))
        votes = certificate.votes
        if votes and self.rng.random() < 0.3:
            votes = ((votes[0][0], NO_SIGNATURE), *votes[1:])
        else:
            votes = tuple(self._list(votes, (STRANGER, NO_SIGNATURE)))
        return replace(certificate, votes=votes)

    def _proof(self, proof: bytes) -> bytes:
        """One field of evidence: version, form, epoch, context, member, kind or view, or a byte anywhere."""
        at = self.rng.choice((1, 2, 10, 20, 43, 44, 45, 46, 50, self.rng.randrange(len(proof))))
        at = min(at, len(proof) - 1)
        return proof[:at] + bytes((proof[at] ^ self.rng.choice((1, 2, 3, 255)),)) + proof[at + 1 :]

    def _list(self, items: Sequence[T], stranger: T) -> list[T]:
        """One step away from an ascending list of members that is long enough."""
        match self.rng.randrange(5):
            case 0:
                return list(items[: len(items) // 2])
            case 1:
                return list(reversed(items))
            case 2:
                return [*items[:1], *items]
            case 3:
                return [*items, stranger]
            case _:
                return []
