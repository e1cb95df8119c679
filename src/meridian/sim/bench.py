"""Four members with real keys on a bench, for probes: frames are handed over one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate, SignedHave, SignedRow, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import (
    Broadcast,
    Effect,
    Persist,
    Record,
    Rejected,
    Send,
)
from meridian.ephemera.limits import Timing
from meridian.ephemera.message import (
    Fetch,
    Justification,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    ViewChange,
    Vote,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.ephemera.replica import Replica
from meridian.primitives import hashing
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.sim.hosts import ATTEMPT, LIMITS
from meridian.sim.machine import Rows
from meridian.sim.signatures import key_of

N = 4
EPOCH = 5
DIGEST = b"\x0d" * 32
OTHER = b"\x0e" * 32
LATE_MS = 5_000

Sign = Callable[[int, Kind, int, bytes], bytes]
"""(member, kind, view, digest) -> signature."""


class Bench:
    """Four members and a queue of frames."""

    def __init__(self) -> None:
        keys = [key_of(number, modelled=False) for number in range(N)]
        self.keys: list[PrivateKey] = sorted(keys, key=lambda key: key.address)
        members = tuple(key.address for key in self.keys)
        self.context = Context(Domain(1, Address(bytes(20))), network_id("probe"), EPOCH, members)
        self.disks: list[dict[tuple[str, bytes], Record]] = [{} for _ in range(N)]
        self.replicas = [self.new(i) for i in range(N)]
        self.seen: list[list[Effect]] = [[] for _ in range(N)]
        self.now_ms = 0
        self._queue: deque[tuple[int, int, bytes]] = deque()

    def new(self, i: int) -> Replica:
        """A member with no epoch open."""
        return Replica(self.keys[i], Timing(), LIMITS, Rows())

    def open(self, members: Sequence[int] = range(N), *, submit: bool = True) -> None:
        """Open the epoch and contribute the rows."""
        for i in members:
            self.do(i, self.replicas[i].open(self.context, [], self.now_ms))
        for i in members if submit else ():
            self.do(i, self.replicas[i].submit_row(EPOCH, body_of(i), self.now_ms))

    def restart(self, i: int, *, observer: bool = False) -> list[Effect]:
        """Come back from the disk, hearing nobody."""
        self.replicas[i] = self.new(i)
        records = list(self.disks[i].values())
        return self.replicas[i].open(self.context, records, self.now_ms, observer=observer)

    def do(self, i: int, effects: list[Effect]) -> None:
        """Carry effects out."""
        for effect in effects:
            self.seen[i].append(effect)
            if isinstance(effect, Persist):
                self.disks[i][effect.record.kind, effect.record.key] = effect.record
            elif isinstance(effect, Send | Broadcast):
                to = effect.to if isinstance(effect, Broadcast) else (effect.to,)
                for address in to:
                    self._queue.append((i, self.context.members.index(address), effect.frame))

    def run(self, lost: frozenset[int] = frozenset()) -> None:
        """Deliver until nothing is under way, but no frame of these kinds."""
        while self._queue:
            i, j, frame = self._queue.popleft()
            if frame[1] not in lost:
                self.do(j, self.tell(i, j, frame))

    def tell(self, i: int, j: int, message: Message | bytes) -> list[Effect]:
        """Hand member j a frame of member i; its effects are not carried out."""
        frame = message if isinstance(message, bytes) else frames.encode(message, EPOCH)
        return self.replicas[j].receive(self.context.members[i], frame, self.now_ms)

    def sign(self, i: int, kind: Kind, view: int, digest: bytes) -> bytes:
        """Sign as a member."""
        return self.keys[i].sign(self.context.statement(kind, view, digest))

    def wrong(self, i: int, kind: Kind, view: int, digest: bytes) -> bytes:
        """Another member's signature where this one's belongs."""
        return self.sign((i + 1) % N, kind, view, digest)


def body_of(i: int) -> bytes:
    """The body of a member's row."""
    return b"body %d" % i


def wait(bench: Bench, me: int, ms: int) -> None:
    """Let time pass."""
    bench.now_ms += ms
    bench.do(me, bench.replicas[me].tick(bench.now_ms))


def reveal_of(
    bench: Bench, i: int, body: bytes, rows: Sign | None = None, salt: bytes | None = None
) -> Reveal:
    """A member's row, as it makes it itself; or with another salt."""
    root = row_root(body)
    key, context = bench.keys[i], bench.context
    salt = salt or key.derive(bytes((hashing.ROW_SALT,)), context.digest, root, NO_TRACE)
    opening = Opening(salt, root, NO_TRACE)
    digest = commitment_of(key.address, opening)
    return Reveal(i, digest, (rows or bench.sign)(i, Kind.ROW, 0, digest), opening)


def block_of(
    bench: Bench,
    rows: Sign | None = None,
    haves: Sign | None = None,
    bodies: Sequence[bytes] = (),
) -> Block:
    """A block of all rows and HAVEs; signed rightly unless told otherwise."""
    revealed = [
        reveal_of(bench, i, body, rows)
        for i, body in enumerate(bodies or [body_of(i) for i in range(N)])
    ]
    entries = tuple((reveal.member, reveal.digest) for reveal in revealed)
    told, haves = have_digest(entries), haves or bench.sign
    return Block(
        EPOCH,
        tuple(SignedRow(r.member, r.digest, r.signature, r.opening) for r in revealed),
        tuple(SignedHave(i, entries, haves(i, Kind.HAVE, 0, told)) for i in range(N)),
    )


def certificate_of(sign: Sign, kind: Kind, view: int, digest: bytes) -> Certificate:
    """Three signatures of members 0 to 2."""
    return Certificate(view, digest, tuple((i, sign(i, kind, view, digest)) for i in range(3)))


def propose_of(
    bench: Bench, view: int, block: Block, justification: Justification | None = None
) -> Propose:
    """The leader's proposal."""
    leader = bench.context.leader(view)
    signature = bench.sign(leader, Kind.PROPOSE, view, propose_digest(block.hash))
    return Propose(leader, view, signature, block, justification)


def change_of(
    bench: Bench, i: int, view: int, lock: Certificate | None, sign: Sign | None = None
) -> ViewChange:
    """A VIEW_CHANGE."""
    claim = None if lock is None else (lock.view, lock.block_hash)
    signature = (sign or bench.sign)(i, Kind.VIEW_CHANGE, view, lock_digest(claim))
    return ViewChange(i, view, signature, lock)


def report_of_bench(bench: Bench, i: int, said: Sign, digest: bytes) -> ReportSignature:
    """A report signature."""
    signature = said(i, Kind.REPORT_SIG, 0, report_digest(ATTEMPT, digest))
    return ReportSignature(i, ATTEMPT, digest, bench.keys[i].sign(digest), signature)


def refused(effects: list[Effect], what: str) -> None:
    """Assert that a frame was refused."""
    assert [type(effect) for effect in effects] == [Rejected], f"{what} was taken"


def alone(view: int = 0) -> tuple[Bench, int, int]:
    """A bench on which one member that does not lead `view` is open; the member and another one."""
    bench = Bench()
    leader = bench.context.leader(view)
    me = next(i for i in range(N) if i != leader)
    bench.open([me])
    return bench, me, next(i for i in range(N) if i not in {me, leader})


def said_by(effects: list[Effect]) -> set[int]:
    """Kinds of the frames that leave."""
    return {effect.frame[1] for effect in effects if isinstance(effect, Broadcast | Send)}


def served(bench: Bench, me: int, other: int, thing: int, member: int, digest: bytes) -> Message:
    """What a member answers to a FETCH."""
    answers = bench.tell(other, me, Fetch(thing, member, digest, 0))
    assert [type(answer) for answer in answers] == [Send], "what it promised is lost"
    assert isinstance(answers[0], Send)
    return frames.decode(answers[0].frame, bench.context)


def decided(reporters: Sequence[int] = range(N)) -> Bench:
    """A bench on which everybody has decided and these have signed the report."""
    bench = Bench()
    bench.open()
    bench.run()
    for i in reporters:
        bench.do(i, bench.replicas[i].submit_report(EPOCH, ATTEMPT, DIGEST, bench.now_ms))
    bench.run()
    return bench


def decided_on_haves() -> Bench:
    """A bench on which member 0 has sent its HAVE and heard no proposal."""
    bench = Bench()
    bench.open()
    bench.run(frozenset({Kind.PROPOSE}))
    assert ("have", b"") in bench.disks[0], "no HAVE"
    return bench


def vote_of(bench: Bench, i: int, digest: bytes) -> Vote:
    """A VOTE in view 0."""
    return Vote(i, 0, digest, bench.sign(i, Kind.VOTE, 0, digest))
