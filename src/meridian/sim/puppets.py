"""Byzantine members that run the real core and twist what it says, or add to it.

Each is one idea of an attack. None can forge a signature of others, and each may sign whatever it likes with
its own key, for any chain, contract, network or epoch.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, have_digest, required_members
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import (
    BODY,
    WANT_DECISION,
    Accusation,
    Ask,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.sim.hosts import ATTEMPT, LIMITS

Said = tuple[tuple[int, ...], bytes]
"""(participants, frame)."""

EXTRA_MAX = 400
"""Frames that a puppet adds in all, so that worlds end."""

KEPT_MAX = 200
"""Old frames that a replayer remembers."""

BURST = 12
"""Frames that a flooder adds to one that it hears."""


@dataclass(slots=True)
class Puppet:
    """A member that says what its core says."""

    participant: int
    key: PrivateKey
    contexts: dict[int, Context]
    """By number of the epoch, as in frames."""
    ids: dict[Address, int]
    rng: random.Random
    extra: int = 0

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:
        """What leaves in place of a frame of the core."""
        return [(to, frame)]

    def hears(self, sender: int, frame: bytes) -> list[Said]:
        """What it adds when a frame comes."""
        del sender, frame
        return []

    def read(self, frame: bytes) -> tuple[Context, Message] | None:
        """A frame with its context; None if it is none."""
        context = self.contexts.get(int.from_bytes(frame[2:10], "big"))
        if context is None:
            return None
        try:
            return context, frames.decode(frame, context)
        except InvalidInput:
            return None

    def own(self, context: Context) -> int:
        """The own index."""
        index = context.index_of(self.key.address)
        assert index is not None
        return index

    def others(self, context: Context) -> tuple[int, ...]:
        """Participants of an epoch without oneself."""
        return tuple(self.ids[m] for m in context.members if m != self.key.address)

    def sign(self, context: Context, kind: Kind, view: int, digest: bytes) -> bytes:
        """Sign anything."""
        return self.key.sign(context.statement(kind, view, digest))

    def reveal(self, context: Context, opening: Opening) -> Reveal:
        """Commit to anything."""
        digest = commitment_of(self.key.address, opening)
        signature = self.sign(context, Kind.ROW, 0, digest)
        return Reveal(self.own(context), digest, signature, opening)

    def spend(self, said: list[Said]) -> list[Said]:
        """Count what is added; nothing when there was too much already."""
        if self.extra > EXTRA_MAX:
            return []
        self.extra += len(said)
        return said


class Doubler(Puppet):
    """Echoes and votes for every block that it hears of, to all."""

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        match self.read(frame):
            case context, Propose(_, view, _, block, _):
                return self._ballots(context, view, block.hash)
            case context, Echo(_, view, block_hash, _) | Vote(_, view, block_hash, _):
                return self._ballots(context, view, block_hash)
            case _:
                return []

    def _ballots(self, context: Context, view: int, block_hash: bytes) -> list[Said]:
        own, to = self.own(context), self.others(context)
        echo = Echo(own, view, block_hash, self.sign(context, Kind.ECHO, view, block_hash))
        vote = Vote(own, view, block_hash, self.sign(context, Kind.VOTE, view, block_hash))
        return self.spend([(to, frames.encode(said, context.epoch)) for said in (echo, vote)])


class RowEquivocator(Puppet):
    """Commits to another row for every receiver, reveals them, and serves whatever body is asked for."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, Row(member) | Reveal(member) as row if member == self.own(context):
                revealed = isinstance(row, Reveal)
                return [((r,), self._row(context, revealed=revealed)) for r in to]
            case _:
                return [(to, frame)]

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, Fetch(thing, _, digest, offset) if thing == BODY:
                bodies = {row_root(body): body for body in self._bodies()}
                if digest not in bodies or offset >= len(bodies[digest]):
                    return []
                piece = bodies[digest][offset : offset + LIMITS.piece_bytes]
                reply = FetchReply(BODY, digest, len(bodies[digest]), offset, piece)
                return self.spend([((sender,), frames.encode(reply, context.epoch))])
            case _:
                return []

    def _bodies(self) -> list[bytes]:
        return [b"version %d " % number * 15 for number in range(3)]

    def _row(self, context: Context, *, revealed: bool) -> bytes:
        opening = Opening(bytes(32), row_root(self.rng.choice(self._bodies())), NO_TRACE)
        row = self.reveal(context, opening)
        message = row if revealed else Row(row.member, row.digest, row.signature)
        return frames.encode(message, context.epoch)


class Revealer(Puppet):
    """Shows its row, and serves bodies, to some members only."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        if frame[1] not in {Kind.ROW, Kind.REVEAL, Kind.FETCH_REPLY}:
            return [(to, frame)]
        chosen = tuple(receiver for receiver in to if (receiver + self.participant) % 2)
        return [(chosen, frame)] if chosen else []


class Censor(Puppet):
    """Leads without a victim's row: against the rule, or with HAVEs chosen so that the rule allows it."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, Propose() as propose if propose.justification is None:
                block = self._without(context, propose.block)
                digest = propose_digest(block.hash)
                signature = self.sign(context, Kind.PROPOSE, propose.view, digest)
                twisted = replace(propose, block=block, signature=signature)
                return [(to, frames.encode(twisted, context.epoch))]
            case _:
                return [(to, frame)]

    def _without(self, context: Context, block: Block) -> Block:
        victims = [row.member for row in block.rows if row.member != self.own(context)]
        victim = victims[block.epoch % len(victims)] if victims else -1
        lacking = [h for h in block.haves if all(m != victim for m, _ in h.entries)]
        others = [have for have in block.haves if have not in lacking]
        chosen = (lacking + others)[: context.rows_min]
        haves = tuple(sorted(chosen, key=lambda have: have.member))
        rows = tuple(row for row in block.rows if row.member != victim)
        if len(rows) < context.rows_min:
            return block
        allowed = victim not in required_members(context, haves)
        return Block(block.epoch, rows, haves if allowed else block.haves)


class HaveLiar(Puppet):
    """Claims rows that nobody signed and leaves out rows that it holds, differently to each receiver."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        match self.read(frame):
            case context, Have(member, entries, _) if member == self.own(context):
                return [((receiver,), self._have(context, member, entries)) for receiver in to]
            case _:
                return [(to, frame)]

    def _have(self, context: Context, own: int, entries: tuple[tuple[int, bytes], ...]) -> bytes:
        twisted = dict(entries)
        if len(twisted) > context.rows_min and self.rng.random() < 0.5:
            del twisted[self.rng.choice(sorted(twisted))]
        if self.rng.random() < 0.6:
            twisted[self.rng.randrange(context.n)] = self.rng.randbytes(32)
        vector = tuple(sorted(twisted.items()))
        have = Have(own, vector, self.sign(context, Kind.HAVE, 0, have_digest(vector)))
        return frames.encode(have, context.epoch)


class Replayer(Puppet):
    """Sends what was said long ago, by anybody: of old views and, with another number, of old epochs."""

    kept: list[bytes]

    def __init__(
        self,
        participant: int,
        key: PrivateKey,
        contexts: dict[int, Context],
        ids: dict[Address, int],
        rng: random.Random,
    ) -> None:
        super().__init__(participant, key, contexts, ids, rng)
        self.kept = []

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        del sender
        if frame[1] == Kind.FETCH_REPLY:
            return []
        if len(self.kept) < KEPT_MAX:
            self.kept.append(frame)
        if self.rng.random() > 0.2:
            return []
        old = self.rng.choice(self.kept)
        if self.rng.random() < 0.5:
            old = old[:2] + frame[2:10] + old[10:]
        context = self.contexts.get(int.from_bytes(frame[2:10], "big"))
        return [] if context is None else self.spend([(self.others(context), old)])


class Flooder(Puppet):
    """Answers with bursts: made-up blocks in many views, far wishes, many attempts, requests, false evidence.

    It also passes proposals of others off as its own.
    """

    def hears(self, sender: int, frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        read = self.read(frame)
        if read is None:
            return []
        context, message = read
        if isinstance(message, Propose):
            digest = propose_digest(message.block.hash)
            signature = self.sign(context, Kind.PROPOSE, message.view, digest)
            usurped = replace(message, member=self.own(context), signature=signature)
            return self.spend([(self.others(context), frames.encode(usurped, context.epoch))])
        if self.rng.random() > 0.1:
            return []
        burst = [self._nonsense(context) for _ in range(BURST)]
        return self.spend([((sender,), frames.encode(m, context.epoch)) for m in burst])

    def _nonsense(self, context: Context) -> Message:
        own, rng = self.own(context), self.rng
        view, digest = rng.choice((0, 1, 2, 5, 9, 1_000_000)), rng.randbytes(32)
        match rng.randrange(7):
            case 0:
                return Echo(own, view, digest, self.sign(context, Kind.ECHO, view, digest))
            case 1:
                return Vote(own, view, digest, self.sign(context, Kind.VOTE, view, digest))
            case 2:
                return Wish(own, view, self.sign(context, Kind.WISH, view, bytes(32)))
            case 3:
                attempt = rng.choice((ATTEMPT, rng.randbytes(32)))
                said = report_digest(attempt, digest)
                signature = self.sign(context, Kind.REPORT_SIG, 0, said)
                return ReportSignature(own, attempt, digest, self.key.sign(digest), signature)
            case 4:
                return Row(own, digest, self.sign(context, Kind.ROW, 0, digest))
            case 5:
                return Accusation(self._false_evidence(context))
            case _:
                return rng.choice((Ask(WANT_DECISION), Fetch(BODY, 0, digest, 0)))

    def _false_evidence(self, context: Context) -> bytes:
        """Noise, or a proof with one thing wrong: epoch, kind, view, two digests that are one, or a lock kept."""
        own, block_hash = self.own(context), bytes(32)
        wish = (block_hash, self.sign(context, Kind.WISH, 1, block_hash))
        row = (block_hash, self.sign(context, Kind.ROW, 1, block_hash))
        vote = (block_hash, self.sign(context, Kind.VOTE, 0, block_hash))
        kept = (0, block_hash)
        change = self.sign(context, Kind.VIEW_CHANGE, 1, lock_digest(kept))
        elsewhere = replace(context, epoch=context.epoch + 1)
        return self.rng.choice(
            (
                self.rng.randbytes(self.rng.randint(1, 200)),
                evidence.double(elsewhere, own, Kind.ECHO, 0, wish, vote),
                evidence.double(context, own, Kind.WISH, 1, wish, (bytes(31) + b"\x01", wish[1])),
                evidence.double(context, own, Kind.ROW, 1, row, (bytes(31) + b"\x01", row[1])),
                evidence.double(context, own, Kind.VOTE, 0, vote, vote),
                evidence.amnesia(context, own, (0, *vote), (1, kept, change)),
            )
        )


class Foreigner(Puppet):
    """Signs everything for another chain, contract, network, epoch or member set."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        read = self.read(frame)
        if read is None:
            return [(to, frame)]
        context, message = read
        foreign = self._elsewhere(context)
        match message:
            case Row(member, digest, _) | Reveal(member, digest, _) if member == self.own(context):
                signed: Message = replace(
                    message, signature=self.sign(foreign, Kind.ROW, 0, digest)
                )
            case Have() as have:
                signature = self.sign(foreign, Kind.HAVE, 0, have.digest)
                signed = replace(have, signature=signature)
            case Echo(_, view, digest, _):
                signature = self.sign(foreign, Kind.ECHO, view, digest)
                signed = replace(message, signature=signature)
            case Vote(_, view, digest, _):
                signature = self.sign(foreign, Kind.VOTE, view, digest)
                signed = replace(message, signature=signature)
            case _:
                return [(to, frame)]
        return [(to, frames.encode(signed, context.epoch))]

    def _elsewhere(self, context: Context) -> Context:
        domain = context.domain
        match self.rng.randrange(5):
            case 0:
                return replace(context, domain=Domain(domain.chain_id + 1, domain.contract))
            case 1:
                return replace(context, domain=Domain(domain.chain_id, Address(bytes(20))))
            case 2:
                return replace(context, network=network_id("another network"))
            case 3:
                return replace(context, epoch=context.epoch + 1)
            case _:
                return replace(context, members=context.members[:-1])


class Withholder(Puppet):
    """Serves nothing."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        return [] if frame[1] == Kind.FETCH_REPLY else [(to, frame)]


class Spoiler(Puppet):
    """Flips, cuts or lengthens frames now and then."""

    def says(self, to: tuple[int, ...], frame: bytes) -> list[Said]:  # noqa: D102 - see Puppet
        return [(to, self._spoil(frame))]

    def _spoil(self, frame: bytes) -> bytes:
        luck = self.rng.random()
        if luck < 0.3:
            at = self.rng.randrange(len(frame))
            flipped = frame[at] ^ (1 << self.rng.randrange(8))
            return frame[:at] + bytes((flipped,)) + frame[at + 1 :]
        if luck < 0.4:
            return frame[: self.rng.randrange(len(frame))]
        if luck < 0.45:
            return frame + self.rng.randbytes(self.rng.randint(1, 80))
        return frame


Maker = Callable[[int, PrivateKey, dict[int, Context], dict[Address, int], random.Random], Puppet]

ROLES: dict[str, Maker] = {
    "doubler": Doubler,
    "row-equivocator": RowEquivocator,
    "revealer": Revealer,
    "censor": Censor,
    "have-liar": HaveLiar,
    "replayer": Replayer,
    "flooder": Flooder,
    "foreigner": Foreigner,
    "withhold": Withholder,
    "garbage": Spoiler,
}
"""By the names that a plan uses."""
