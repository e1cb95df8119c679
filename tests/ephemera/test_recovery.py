"""Crash and restart at every boundary, late members, lost disks."""

from collections.abc import Callable

import pytest
from cluster import EPOCH, AcceptAll, Cluster, Voice, context, keys, ready

from meridian.ephemera import frame as frames
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Attested, Broadcast, Decided, Persist, Record, Rejected, Send
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    ROW,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    report_digest,
)
from meridian.ephemera.replica import Replica
from meridian.errors import StorageFailure

ATTEMPT, REPORT = b"\xaa" * 32, b"\xbb" * 32


def statements(cluster: Cluster, member: int) -> dict[tuple, set[bytes]]:
    """Digests that a member stated, by (kind, view or attempt)."""
    out: dict[tuple, set[bytes]] = {}
    for sender, _, kind, frame in cluster.sent:
        if sender != member:
            continue
        message = frames.decode(frame, cluster.context)
        if getattr(message, "member", None) != member:
            continue
        match message:
            case Row(_, digest, _) | Reveal(_, digest, _):
                key = (Kind.ROW,)
            case Have() as have:
                key, digest = (kind,), have.digest
            case Propose(_, view, _, block, _):
                key, digest = (kind, view), block.hash
            case Echo(_, view, digest, _) | Vote(_, view, digest, _):
                key = (kind, view)
            case ViewChange() as change:
                key, digest = (kind, change.view), lock_digest(change.lock)
            case ReportSignature(_, attempt, said, _, _):
                key, digest = (kind, attempt), report_digest(attempt, said)
            case _:
                continue
        out.setdefault(key, set()).add(digest)
    return out


class CrashAt(Cluster):
    """A cluster in which one member dies before its k-th effect and comes back 50 ms later."""

    def __init__(self, victim: int, boundary: int, **options):
        super().__init__(4, **options)
        self.victim, self.boundary, self.count = victim, boundary, 0
        self.back_ms: int | None = None

    def do(self, i, effects):
        if i in self.down:
            return
        if i == self.victim:
            room = self.boundary - self.count
            self.count += len(effects)
            if 0 <= room < len(effects):
                super().do(i, effects[:room])
                self.down.add(i)
                self.back_ms = self.now_ms + 50
                self.boundary = -1
                return
        super().do(i, effects)
        if any(isinstance(effect, Decided) for effect in effects):
            self.do(i, self.replicas[i].submit_report(EPOCH, ATTEMPT, REPORT, self.now_ms))

    def live(self, until_ms: int, done: Callable[[], bool]) -> None:
        if self.back_ms is None:
            self.run(until_ms, lambda: done() or self.back_ms is not None)
        if self.back_ms is not None:
            self.run(self.back_ms)
            self.now_ms = max(self.now_ms, self.back_ms)
            self.restart(self.victim)
            # It evaluates again and comes to another row: the first one must stand.
            self.submit(self.victim, b"another body")
            self.run(until_ms, done)


def crash_story(victim: int, boundary: int, *, lose_votes: bool) -> tuple[CrashAt, int]:
    cluster = CrashAt(victim, boundary)
    if lose_votes:
        cluster.allow = lambda i, j, kind: (
            not (kind in {Kind.VOTE, Kind.DECIDED} and cluster.now_ms < 3_000)
        )
    cluster.open()
    for i in range(4):
        if i not in cluster.down:
            cluster.submit(i, b"body %d" % i)

    def done() -> bool:
        return victim not in cluster.down and all(cluster.attested(i) for i in range(4))

    cluster.live(60_000, done)
    return cluster, cluster.count


@pytest.mark.parametrize("lose_votes", [False, True])
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_crash_between_any_two_effects_never_makes_a_member_contradict_itself(role, lose_votes):
    """For every boundary: no second statement, nobody accused, and everybody decides the same."""
    made = context(4)
    led = {made.leader(0), made.leader(1)}
    victim = made.leader(int(lose_votes)) if role == "leader" else min(set(range(4)) - led)
    _, effects = crash_story(victim, 1 << 30, lose_votes=lose_votes)
    assert effects > 15
    for boundary in range(effects):
        cluster, _ = crash_story(victim, boundary, lose_votes=lose_votes)
        assert cluster.back_ms is not None
        for member in range(4):
            twice = {k: v for k, v in statements(cluster, member).items() if len(v) > 1}
            assert not twice, f"boundary {boundary}: {twice}"
            assert not cluster.guilt(member), f"boundary {boundary}"
            assert cluster.decided(member), f"boundary {boundary}: member {member} undecided"
            assert cluster.attested(member), f"boundary {boundary}: member {member} unattested"
        assert len({cluster.decided(i).block.hash for i in range(4)}) == 1


def test_persist_comes_before_what_it_protects():
    """Every signed statement that leaves was made durable earlier in the same list."""
    cluster, _ = crash_story(0, 1 << 30, lose_votes=True)
    names = {
        Kind.ROW: "row",
        Kind.REVEAL: "closed",
        Kind.HAVE: "have",
        Kind.PROPOSE: "propose",
        Kind.ECHO: "echo",
        Kind.VOTE: "lock",
        Kind.VIEW_CHANGE: "view_change",
        Kind.WISH: "view",
        Kind.DECIDED: "decided",
        Kind.REPORT_SIG: "report",
    }
    for member in range(4):
        durable: set[str] = set()
        for effect in cluster.seen[member]:
            if isinstance(effect, Persist):
                durable.add(effect.record.kind)
            elif isinstance(effect, Broadcast | Send):
                kind = Kind(effect.frame[1])
                assert kind not in names or names[kind] in durable


def test_a_leader_proposes_the_same_block_after_a_restart():
    """PROPOSE is durable: with more HAVEs than before it would build another block."""
    cluster = Cluster(4)
    leader = cluster.context.leader(0)
    late = next(i for i in range(4) if i != leader)
    blocked = {Kind.ECHO, Kind.HAVE}
    cluster.allow = lambda i, j, kind: (
        not (kind in blocked and (kind is Kind.ECHO or (i, j) == (late, leader)))
    )
    cluster.open()
    for i in range(4):
        cluster.submit(i, b"body %d" % i)
    cluster.run(1_000, lambda: any(kind is Kind.PROPOSE for _, _, kind, _ in cluster.sent))
    blocked.remove(Kind.HAVE)
    cluster.restart(leader)
    cluster.run(cluster.now_ms + 1_000)
    assert cluster.replicas[leader].status(EPOCH).haves == 4
    blocked.clear()
    cluster.run(10_000, lambda: all(cluster.decided(i) for i in range(4)))
    assert {len(v) for k, v in statements(cluster, leader).items() if k[0] is Kind.PROPOSE} == {1}
    assert cluster.decided(leader).certificate.view == 0
    assert not any(cluster.guilt(i) for i in range(4))


def test_a_member_that_echoed_does_not_echo_another_block_after_a_restart():
    """The leader is a liar and sends a second block to the member that came back."""
    voice, cluster = Voice(4), Cluster(4)
    leader = voice.context.leader(0)
    me = next(i for i in range(4) if i != leader)
    bodies = dict.fromkeys(range(4), b"the same")
    cluster.open([me])
    cluster.submit(me, b"the same")
    first, second = voice.block(bodies), voice.block(bodies, holders=[0, 1, 2])
    cluster.do(me, cluster.inject(leader, me, voice.propose(0, first)))
    cluster.restart(me)
    cluster.do(me, cluster.inject(leader, me, voice.propose(0, second)))
    assert statements(cluster, me)[Kind.ECHO, 0] == {first.hash}


def test_a_restarted_member_serves_the_bodies_of_the_block_it_echoed():
    """Else a locked block could become impossible to echo (the prototype's second bug)."""
    voice, cluster = Voice(4), Cluster(4)
    leader = voice.context.leader(0)
    me = next(i for i in range(4) if i != leader)
    cluster.open([me])
    cluster.submit(me, b"the same")
    block = voice.block(dict.fromkeys(range(4), b"the same"))
    cluster.do(me, cluster.inject(leader, me, voice.propose(0, block)))
    cluster.restart(me)
    for thing, digest, data in (
        (BODY, row_root(b"the same"), b"the same"),
        (BLOCK, block.hash, block.encode()),
    ):
        [send] = cluster.inject(leader, me, Fetch(thing, 0, digest, 0))
        assert isinstance(send, Send)
        assert send.bulk
        reply = frames.decode(send.frame, cluster.context)
        assert isinstance(reply, FetchReply)
        assert reply.piece == data


def test_a_restarted_member_serves_the_rows_that_its_have_lists():
    """Else the inclusion rule could demand a row that is gone (simulator, four members, seed 3)."""
    cluster, voice, me = ready(4)
    other = next(i for i in range(4) if i != me)
    row = voice.row(other, b"body %d" % other)
    held = cluster.replicas[me].status(EPOCH).rows
    cluster.restart(me)
    assert cluster.replicas[me].status(EPOCH).rows == held > 1
    for thing, member, digest in ((BODY, 0, row.opening.row_root), (ROW, other, row.digest)):
        [send] = cluster.inject(other, me, Fetch(thing, member, digest, 0))
        assert isinstance(send, Send)
        reply = frames.decode(send.frame, cluster.context)
        assert reply == row if thing == ROW else reply.piece == b"body %d" % other


def settle(cluster: Cluster, members) -> None:
    cluster.run(cluster.now_ms + 30_000, lambda: all(cluster.decided(i) for i in members))
    for i in members:
        cluster.do(i, cluster.replicas[i].submit_report(EPOCH, ATTEMPT, REPORT, cluster.now_ms))
    cluster.run(cluster.now_ms + 30_000, lambda: all(cluster.attested(i) for i in members))


def without_one() -> tuple[Cluster, int]:
    """Three of four decided, attested and fell silent; the fourth was away."""
    cluster = Cluster(4, limits=Limits(piece_bytes=100))
    late = 3
    cluster.down = {late}
    cluster.open(range(3))
    for i in range(3):
        cluster.submit(i, b"body %d " % i * 100)
    settle(cluster, range(3))
    cluster.run(cluster.now_ms + cluster.timing.resend_ms)
    assert all(r.next_deadline_ms() is None for r in cluster.replicas[:3])
    return cluster, late


def test_a_late_member_catches_up_by_decided_and_fetch():
    """It asks, gets the certificate, fetches block and bodies in pieces, and learns the signatures."""
    cluster, late = without_one()
    cluster.restart(late)
    cluster.run(cluster.now_ms + 30_000, lambda: bool(cluster.attested(late)))
    assert cluster.decided(late) == cluster.decided(0)
    assert cluster.attested(late)[0].signatures == cluster.attested(0)[0].signatures
    cluster.restart(0)
    assert cluster.decided(0) == cluster.decided(late)


def test_a_late_member_needs_only_one_peer_that_knows():
    cluster, late = without_one()
    cluster.down = {1, 2}
    cluster.restart(late)
    cluster.run(cluster.now_ms + 60_000, lambda: bool(cluster.attested(late)))
    assert cluster.decided(late) == cluster.decided(0)
    assert cluster.attested(late)


def test_an_observer_follows_and_signs_nothing():
    """Lost disk: no statement of its own leaves, and it still gets decision and signatures."""
    cluster = Cluster(4)
    lost = 3
    cluster.open(range(3))
    cluster.restart(lost, lost=True)
    for i in range(4):
        cluster.submit(i, b"body %d" % i)
    settle(cluster, range(4))
    assert cluster.decided(lost) == cluster.decided(0)
    assert cluster.attested(lost)
    signed = set(Kind) - {Kind.ASK, Kind.FETCH, Kind.FETCH_REPLY, Kind.DECIDED, Kind.EVIDENCE}
    assert not [kind for i, _, kind, _ in cluster.sent if i == lost and kind in signed]
    assert cluster.replicas[lost].status(EPOCH).observer


def test_an_observer_stays_one_after_another_restart():
    cluster = Cluster(4)
    cluster.restart(3, lost=True)
    cluster.restart(3)
    assert cluster.replicas[3].status(EPOCH).observer
    cluster.submit(3, b"body")
    assert not [kind for i, _, kind, _ in cluster.sent if i == 3 and kind is not Kind.ASK]


def test_a_member_restored_from_an_old_backup_observes_until_the_next_epoch():
    """Its records stop before its HAVE; what it signed after them it would say again, and differently."""
    cluster, me = Cluster(4), 3
    cluster.open(range(4))
    cluster.submit(me, b"the first body")
    backup = dict(cluster.disks[me])
    assert any(record.kind == "row" for record in backup.values())
    for i in range(3):
        cluster.submit(i, b"body %d" % i)
    cluster.run(cluster.now_ms + 350)
    assert any(record.kind == "have" for record in cluster.disks[me].values())
    cluster.disks[me] = dict(backup)
    cluster.replicas[me] = cluster.new(me)
    records = list(backup.values())
    cluster.sent.clear()
    cluster.seen[me].clear()
    restored = cluster.replicas[me].open(cluster.context, records, cluster.now_ms, observer=True)
    cluster.do(me, restored)
    cluster.submit(me, b"another body")
    settle(cluster, range(4))
    cluster.restart(me)
    assert cluster.replicas[me].status(EPOCH).observer
    assert cluster.decided(me) == cluster.decided(0)
    signed = set(Kind) - {Kind.ASK, Kind.FETCH, Kind.FETCH_REPLY, Kind.DECIDED, Kind.EVIDENCE}
    assert not [kind for i, _, kind, _ in cluster.sent if i == me and kind in signed]
    # The next epoch is one in which it signed nothing before: it is a member again.
    later = context(4, EPOCH + 1)
    told = cluster.replicas[me].open(later, [], cluster.now_ms)
    told += cluster.replicas[me].submit_row(EPOCH + 1, b"next", cluster.now_ms)
    assert not cluster.replicas[me].status(EPOCH + 1).observer
    assert any(isinstance(e, Broadcast) and e.frame[1] == Kind.ROW for e in told)


@pytest.mark.parametrize("what", ["row", "echo", "wish", "propose"])
def test_an_own_statement_that_is_not_remembered_makes_an_observer(what):
    """Somebody signs with this key, or the disk is an old one: stop signing before it becomes two."""
    voice, cluster = Voice(4), Cluster(4)
    me = voice.context.leader(0)
    cluster.open([me])
    block = voice.block(dict.fromkeys(range(4), b"the same"))
    message = {
        "row": voice.row(me, b"not remembered"),
        "echo": voice.echo(me, 0, bytes(32)),
        "wish": voice.wish(me, 1),
        "propose": voice.propose(0, block),
    }[what]
    effects = cluster.inject((me + 1) % 4, me, message)
    assert [e.record.kind for e in effects if isinstance(e, Persist)] == ["context"]
    assert cluster.replicas[me].status(EPOCH).observer


def test_replayed_own_statements_are_harmless():
    """Everything a member ever sent comes back to it after a restart: it stays a member."""
    cluster, _ = crash_story(0, 1 << 30, lose_votes=True)
    own = [frame for i, _, _, frame in cluster.sent if i == 0]
    cluster.restart(0)
    for frame in own:
        cluster.do(0, cluster.inject(1, 0, frame))
    assert not cluster.replicas[0].status(EPOCH).observer
    assert not cluster.guilt(0)


def test_an_own_echo_of_an_earlier_view_is_no_lost_memory():
    voice, cluster = Voice(4), Cluster(4)
    me = 0
    cluster.open([me])
    for i in (1, 2, 3):
        cluster.do(me, cluster.inject(i, me, voice.wish(i, 2)))
    for message in (voice.echo(me, 1, bytes(32)), voice.vote(me, 0, bytes(32))):
        cluster.do(me, cluster.inject(1, me, message))
    assert not cluster.replicas[me].status(EPOCH).observer


def damaged(records: list[Record]) -> list[list[Record]]:
    by_kind = {record.kind: record for record in records}
    cut = [Record(r.epoch, r.kind, r.key, r.value[:-1]) for r in by_kind.values()]
    cases = [
        [*[r for r in records if r.kind != bad.kind], bad] for bad in cut if bad.kind != "body"
    ]
    cases.append([r for r in records if r.kind != "context"])
    cases.append([*records, Record(EPOCH, "unknown", b"", b"")])
    # Found by fuzzing: it came up as a refused command, and the node went on.
    cases.append([*records, Record(EPOCH, "evidence", b"\0\1double_echo", b"damaged")])
    cases.append([*records, Record(EPOCH + 1, "view", b"", bytes(8))])
    return cases


def test_a_damaged_or_foreign_memory_stops_the_node():
    """Never sign on records that cannot be read, or that are another's."""
    cluster, _ = crash_story(0, 1 << 30, lose_votes=True)
    records = list(cluster.disks[0].values())
    for case in damaged(records):
        with pytest.raises(StorageFailure):
            cluster.new(0).open(cluster.context, case, 0)
    with pytest.raises(StorageFailure):
        cluster.new(1).open(cluster.context, records, 0)
    larger = Replica(keys(4)[0], Timing(), Limits(), AcceptAll())
    with pytest.raises(StorageFailure):
        larger.open(context(5), records, 0)


def test_decided_and_attested_are_told_again_after_a_restart():
    cluster, _ = without_one()
    before = cluster.decided(1), cluster.attested(1)[0]
    effects = cluster.new(1).open(cluster.context, list(cluster.disks[1].values()), 0)
    told = [effect for effect in effects if isinstance(effect, Decided | Attested)]
    assert told == [before[0], before[1]]
    assert not [e for e in effects if isinstance(e, Rejected)]


def test_a_wish_is_remembered():
    cluster = Cluster(4)
    cluster.open([0])
    voice = Voice(4)
    for i in (1, 2):
        cluster.do(0, cluster.inject(i, 0, voice.wish(i, 5)))
    cluster.restart(0)
    assert cluster.replicas[0].status(EPOCH).wish == 5
    wishes = [
        frames.decode(frame, cluster.context)
        for i, _, kind, frame in cluster.sent
        if kind is Kind.WISH
    ]
    assert all(isinstance(wish, Wish) and wish.view == 5 for wish in wishes)
