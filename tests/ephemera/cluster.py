"""A tiny cluster for aimed tests: replicas, one queue of frames, a virtual clock."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate, SignedHave, SignedRow, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Rejected,
    Send,
)
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import (
    BODY,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Justification,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.ephemera.proposal import justify
from meridian.ephemera.replica import Replica
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

DOMAIN = Domain(31337, Address(bytes(19) + b"\x07"))
EPOCH = 5
_KEYS: list[PrivateKey] = []


def keys(n: int) -> list[PrivateKey]:
    """n fixed keys, ascending by address."""
    while len(_KEYS) < n:
        _KEYS.append(PrivateKey((len(_KEYS) + 1).to_bytes(32, "big")))
    return sorted(_KEYS[:n], key=lambda key: key.address)


def context(n: int, epoch: int = EPOCH) -> Context:
    return Context(DOMAIN, network_id("test"), epoch, tuple(key.address for key in keys(n)))


class AcceptAll:
    """Accepts every body but those that start with b"bad"."""

    def __init__(self) -> None:
        self.asked: list[tuple[Address, bytes]] = []

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        self.asked.append((member, body))
        return "bad" if body.startswith(b"bad") else None


class DiskArchive:
    """A member's disk as the archive of its replica."""

    def __init__(self, disk: Mapping[tuple[int, str, bytes], Record]) -> None:
        self.disk = disk
        self.reads = 0

    def records(self, epoch: int, kind: str, key: bytes | None = None) -> list[Record]:
        self.reads += 1
        if key is not None:
            found = self.disk.get((epoch, kind, key))
            return [] if found is None else [found]
        keys = sorted(k for e, name, k in self.disk if (e, name) == (epoch, kind))
        return [self.disk[epoch, kind, k] for k in keys]


class Cluster:
    """n replicas; frames pass `allow(sender, receiver, kind)`; crashed members take part in nothing."""

    def __init__(
        self,
        n: int,
        *,
        timing: Timing | None = None,
        limits: Limits | None = None,
        pushed_body_bytes: int = 0,
    ):
        self.context = context(n)
        self.keys = keys(n)
        self.timing = timing or Timing()
        self.limits = replace(limits or Limits(), pushed_body_bytes=pushed_body_bytes)
        self.now_ms = 0
        self.queue: deque[tuple[int, int, bytes]] = deque()
        self.disks: list[dict[tuple[int, str, bytes], Record]] = [{} for _ in range(n)]
        self.seen: list[list[Effect]] = [[] for _ in range(n)]
        self.down: set[int] = set()
        self.allow: Callable[[int, int, Kind], bool] = lambda a, b, kind: True
        self.sent: list[tuple[int, int, Kind, bytes]] = []
        self.replicas: list[Replica] = [self.new(i) for i in range(n)]

    def new(self, i: int) -> Replica:
        return Replica(self.keys[i], self.timing, self.limits, AcceptAll())

    def open(self, members: Sequence[int] | None = None) -> None:
        for i in range(self.context.n) if members is None else members:
            self.do(i, self.replicas[i].open(self.context, [], self.now_ms))

    def restart(self, i: int, *, lost: bool = False) -> None:
        if lost:
            self.disks[i] = {}
        self.down.discard(i)
        self.replicas[i] = self.new(i)
        records = list(self.disks[i].values())
        self.do(i, self.replicas[i].open(self.context, records, self.now_ms, observer=lost))

    def submit(self, i: int, body: bytes) -> None:
        self.do(i, self.replicas[i].submit_row(self.context.epoch, body, self.now_ms))

    def do(self, i: int, effects: list[Effect]) -> None:
        for effect in effects:
            self.seen[i].append(effect)
            match effect:
                case Persist(record):
                    self.disks[i][record.epoch, record.kind, record.key] = record
                case Send(to, frame, _):
                    self.post(i, self.context.members.index(to), frame)
                case Broadcast(to, frame):
                    for address in to:
                        self.post(i, self.context.members.index(address), frame)

    def post(self, i: int, j: int, frame: bytes) -> None:
        kind = Kind(frame[1])
        if self.allow(i, j, kind):
            self.sent.append((i, j, kind, frame))
            self.queue.append((i, j, frame))

    def inject(self, i: int, j: int, message: Message | bytes) -> list[Effect]:
        """Hand one frame of member i straight to member j and return its effects, not carried out."""
        frame = message if isinstance(message, bytes) else frames.encode(message, EPOCH)
        return self.replicas[j].receive(self.context.members[i], frame, self.now_ms)

    def deliver(self) -> None:
        while self.queue:
            i, j, frame = self.queue.popleft()
            if i not in self.down and j not in self.down:
                address = self.context.members[i]
                self.do(j, self.replicas[j].receive(address, frame, self.now_ms))

    def run(self, until_ms: int, done: Callable[[], bool] = lambda: False) -> None:
        """Deliver everything, then go to the next deadline, until `until_ms` or `done`."""
        while not done():
            self.deliver()
            deadlines = {
                i: r.next_deadline_ms() for i, r in enumerate(self.replicas) if i not in self.down
            }
            due = min((d for d in deadlines.values() if d is not None), default=None)
            if done() or due is None or due > until_ms:
                return
            self.now_ms = max(self.now_ms, due)
            for i, deadline in deadlines.items():
                if deadline is not None and deadline <= self.now_ms:
                    self.do(i, self.replicas[i].tick(self.now_ms))

    def effects(self, i: int, kind: type) -> list:
        return [effect for effect in self.seen[i] if isinstance(effect, kind)]

    def decided(self, i: int) -> Decided | None:
        found = self.effects(i, Decided)
        return found[-1] if found else None

    def attested(self, i: int) -> list[Attested]:
        return self.effects(i, Attested)

    def rejected(self, i: int) -> list[Rejected]:
        return self.effects(i, Rejected)

    def guilt(self, i: int) -> list[Misbehaviour]:
        return self.effects(i, Misbehaviour)


class Voice:
    """Says anything in the name of any member of a context: what real signatures allow a member to say."""

    def __init__(self, n: int, epoch: int = EPOCH) -> None:
        self.context = context(n, epoch)
        self.keys = keys(n)

    def sign(self, i: int, kind: Kind, view: int, digest: bytes) -> bytes:
        return self.keys[i].sign(self.context.statement(kind, view, digest))

    def row(self, i: int, body: bytes) -> Reveal:
        """A revealed row, as the member makes it itself."""
        root = row_root(body)
        salt = self.keys[i].derive(b"\x23", self.context.digest, root, NO_TRACE)
        opening = Opening(salt, root, NO_TRACE)
        digest = commitment_of(self.context.members[i], opening)
        return Reveal(i, digest, self.sign(i, Kind.ROW, 0, digest), opening)

    def committed(self, i: int, body: bytes) -> Row:
        """The commitment to it alone."""
        row = self.row(i, body)
        return Row(i, row.digest, row.signature)

    def have(self, i: int, entries: Sequence[tuple[int, bytes]]) -> Have:
        digest = have_digest(entries)
        return Have(i, tuple(entries), self.sign(i, Kind.HAVE, 0, digest))

    def block(
        self,
        bodies: dict[int, bytes],
        holders: Sequence[int] | None = None,
        listed: Sequence[int] | None = None,
    ) -> Block:
        """A block of rows; `holders` sign HAVEs that list the rows of `listed` (default: all)."""
        rows = {i: self.row(i, body) for i, body in sorted(bodies.items())}
        entries = [(i, rows[i].digest) for i in (listed if listed is not None else rows)]
        haves = [self.have(i, entries) for i in (holders or range(self.context.n))]
        return Block(
            self.context.epoch,
            tuple(SignedRow(r.member, r.digest, r.signature, r.opening) for r in rows.values()),
            tuple(SignedHave(h.member, h.entries, h.signature) for h in haves),
        )

    def echo(self, i: int, view: int, block_hash: bytes) -> Echo:
        return Echo(i, view, block_hash, self.sign(i, Kind.ECHO, view, block_hash))

    def vote(self, i: int, view: int, block_hash: bytes) -> Vote:
        return Vote(i, view, block_hash, self.sign(i, Kind.VOTE, view, block_hash))

    def wish(self, i: int, view: int) -> Wish:
        return Wish(i, view, self.sign(i, Kind.WISH, view, bytes(32)))

    def change(self, i: int, view: int, lock: Certificate | None = None) -> ViewChange:
        claim = None if lock is None else (lock.view, lock.block_hash)
        signature = self.sign(i, Kind.VIEW_CHANGE, view, lock_digest(claim))
        return ViewChange(i, view, signature, lock)

    def certificate(
        self, kind: Kind, view: int, block_hash: bytes, members: Sequence[int]
    ) -> Certificate:
        votes = tuple((i, self.sign(i, kind, view, block_hash)) for i in members)
        return Certificate(view, block_hash, votes)

    def propose(
        self, view: int, block: Block, justification: Justification | None = None
    ) -> Propose:
        leader = self.context.leader(view)
        signature = self.sign(leader, Kind.PROPOSE, view, propose_digest(block.hash))
        return Propose(leader, view, signature, block, justification)

    def justification(
        self, view: int, members: Sequence[int], locks: dict[int, Certificate] | None = None
    ) -> Justification:
        locks = locks or {}
        return justify(self.context, {i: self.change(i, view, locks.get(i)) for i in members})

    def report(self, i: int, attempt: bytes, digest: bytes) -> ReportSignature:
        said = self.sign(i, Kind.REPORT_SIG, 0, report_digest(attempt, digest))
        return ReportSignature(i, attempt, digest, self.keys[i].sign(digest), said)


def filled(n: int, **options) -> Cluster:
    cluster = Cluster(n, **options)
    cluster.open()
    for i in range(n):
        cluster.submit(i, b"body %d" % i)
    return cluster


def said(effects, kind: type) -> list:
    """Messages of a type among the broadcasts and sends."""
    decoded = [
        frames.decode(effect.frame, Voice(4).context)
        for effect in effects
        if isinstance(effect, Broadcast | Send)
    ]
    return [message for message in decoded if isinstance(message, kind)]


def said_votes(effects, n: int) -> list[Vote]:
    out = []
    for effect in effects:
        if isinstance(effect, Broadcast):
            message = frames.decode(effect.frame, Voice(n).context)
            if isinstance(message, Vote):
                out.append(message)
    return out


def ready(n: int = 4, me: int | None = None) -> tuple[Cluster, Voice, int]:
    """A member that is not leader 0 with all rows, HAVE signed, alone with voices of the others."""
    voice = Voice(n)
    leader = voice.context.leader(0)
    me = me if me is not None else next(i for i in range(n) if i != leader)
    cluster = Cluster(n)
    cluster.open([me])
    cluster.submit(me, b"body %d" % me)
    for i in range(n):
        if i != me:
            cluster.do(me, cluster.inject(i, me, voice.row(i, b"body %d" % i)))
    feed(cluster, me)
    return cluster, voice, me


def feed(cluster: Cluster, me: int) -> None:
    """Answer the member's FETCHes of `body i`."""
    bodies = {row_root(b"body %d" % i): b"body %d" % i for i in range(cluster.context.n)}
    while cluster.queue:
        i, j, frame = cluster.queue.popleft()
        message = frames.decode(frame, cluster.context)
        if i == me and isinstance(message, Fetch) and message.digest in bodies:
            body = bodies[message.digest]
            reply = FetchReply(BODY, message.digest, len(body), 0, body)
            cluster.do(me, cluster.inject(j, me, reply))
